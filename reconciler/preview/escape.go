package preview

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Every string below may come from a repository, and so from anybody who may open a pull request.
// A comment shows it and is steered by none: no markdown, no HTML, no link, image or mention, no
// reference to an issue or a commit, and nothing that moves or hides what stands beside it.

// code is a string in fixed width. A forge makes nothing of what stands there: it is literal. What
// could end the span, or a cell of a table, is written another way.
func code(s string) string {
	s = visible(s)
	if s == "" || strings.ContainsAny(s, "`|") {
		return "<code>" + escape(s) + "</code>"
	}
	if strings.TrimSpace(s) == "" {
		s = "(blank)"
	}
	return "`" + s + "`"
}

// summary is a string in fixed width where markdown does not reach: in the summary of a fold.
func summary(s string) string {
	var b strings.Builder
	for _, r := range visible(s) {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" /.,;()_-", r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "&#%d;", r)
		}
	}
	return "<code>" + b.String() + "</code>"
}

// escape is a string as plain text. A forge looks for mentions, references and links in the text
// after it has read the entities, so those are also cut by a space without width.
func escape(s string) string {
	var b strings.Builder
	runes := []rune(strings.TrimSpace(visible(s))) // two spaces would break the line
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		if n := hash(runes, i); n > 0 {
			for part := range slices.Chunk(runes[i:i+n], 6) { // seven make a commit
				b.WriteString(string(part) + cut)
			}
			i += n - 1
			continue
		}
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" ,;()/→·", r):
			b.WriteRune(r)
		case strings.ContainsRune(".-:%", r) && !tied(runes, i):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "&#%d;", r)
			if strings.ContainsRune("@#!$%&~^.-:", r) {
				b.WriteString(cut)
			}
		}
	}
	return b.String()
}

// cut is a space without width, as an entity.
const cut = "&#8203;"

// hash says how long the word that begins here is, if a forge may take it for a commit; else 0.
func hash(runes []rune, i int) int {
	word := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	if i > 0 && word(runes[i-1]) {
		return 0
	}
	n := 0
	for i+n < len(runes) && word(runes[i+n]) {
		if !strings.ContainsRune("0123456789abcdefABCDEF", runes[i+n]) {
			return 0
		}
		n++
	}
	if n < 7 {
		return 0
	}
	return n
}

// tied says that a mark may bind its neighbours into something that a forge acts on: a link
// (https:, www.), a short name of a picture (:name:), an issue (GH-1), a milestone (%1).
func tied(runes []rune, i int) bool {
	var before, after rune
	if i > 0 {
		before = unicode.ToLower(runes[i-1])
	}
	if i+1 < len(runes) {
		after = runes[i+1]
	}
	switch runes[i] {
	case ':':
		return after != ' ' && after != 0
	case '.':
		return before == 'w'
	case '-':
		return before == 'h' && unicode.IsDigit(after) || before == 0 || before == ' '
	case '%':
		return after != ' ' && after != 0 && after != ',' && after != ')'
	}
	return false
}

// visible is what can be seen of a string, at most a line of it.
func visible(s string) string {
	marks := 0
	s = strings.Map(func(r rune) rune {
		if !unicode.Is(unicode.M, r) {
			marks = 0
		} else if marks++; marks > 2 {
			return unicode.ReplacementChar // more would be drawn over its neighbours
		}
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r), strings.ContainsRune(blanks, r):
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return short(s)
}

// blanks are letters and signs that show nothing.
const blanks = "\u034F\u115F\u1160\u3164\uFFA0\u2800"

// short keeps one string from filling the comment.
func short(s string) string {
	const most = 300
	if utf8.RuneCountInString(s) > most {
		return string([]rune(s)[:most]) + " ..."
	}
	return s
}

// fenceFor is a fence longer than any run of backticks inside, so that nothing breaks out.
func fenceFor(text string) string {
	longest, run := 2, 0
	for _, r := range text {
		if r == '`' {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	return strings.Repeat("`", longest+1)
}
