package preview

import (
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/russross/blackfriday/v2"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/blockers"
	"github.com/sluice-gitops/sluice/render"
)

// words are what somebody may put where a comment shows it.
var words = []string{
	"</code></details>@everyone #1 `x` | a |\n\n# **APPROVED** [x](http://evil) <!-- sluice:other --> \u202e\x1b[2J",
	"@acme/admins", "root@example.com", "getty@tty1.service", "#1", "acme/fleet#12", "GH-7", "!3", "%4", "~bug", "$5",
	"0123456789abcdef0123456789abcdef01234567", "deadbeef", "acme/fleet@deadbeef",
	"https://evil.example.com", "www.evil.example.com", "mailto:a@b.co", "xmpp:a@b.co", "<http://evil>", "ftp://evil",
	"![x](http://evil/x.png)", "[a]: http://evil", "[^1]", "<img src=x onerror=y>", "<script>alert(1)</script>", "<!-- sluice:preview -->", "-->",
	"a|b", "a\\|b", "a\\", "|", "``", "```", "~~~", "`", "` `", "``` diff", "*x*", "**x**", "__x__", "~~x~~", "_x_", "# x", "- x", "> x", "---", "===",
	"\n| x | y |\n", "a\r\n\r\n# b", "x\u2028y\u2029z", "\u202eevil\u202c", "a\u200bb", "a\u00adb", "\ufeff", "\u3164", "e\u0301\u0301\u0301\u0301\u0301", "\x00", "\xff\xfe",
	":white_check_mark:", "&lt;b&gt;", "&#64;everyone", "&copy;", "$$x$$", " ", "  ", "\t", "</summary>", "</details>", "\n</details>\n",
	strings.Repeat("@", 5000), strings.Repeat("|", 5000), strings.Repeat("a", 70000),
}

// TestHostileNamesCannotSpeakInTheComment holds the comment of a hostile repository against that
// of a harmless one: it has the same headings, rows, lists and folds, and nothing that acts.
func TestHostileNamesCannotSpeakInTheComment(t *testing.T) {
	for i, w := range words {
		t.Run(fmt.Sprint(i), func(t *testing.T) { holdHarmless(t, w) })
	}
}

func FuzzComment(f *testing.F) {
	for _, w := range words {
		if len(w) < 1000 {
			f.Add(w)
		}
	}
	f.Fuzz(func(t *testing.T, w string) {
		if len(w) < 2000 && w != "" {
			holdHarmless(t, w)
		}
	})
}

func holdHarmless(t *testing.T, word string) {
	t.Helper()
	plain, evil := hostile("x"), hostile(word)
	for what, texts := range map[string][2]string{
		"report":   {plain.Markdown(), evil.Markdown()},
		"mistakes": {mistakes("x"), mistakes(word)},
	} {
		want, got := read(t, texts[0]), read(t, texts[1])
		if !slices.Equal(got, want) && len(word) < 1000 { // else some of it is left out
			t.Errorf("%s of %q has another shape:\n%v\nwant\n%v\n%s", what, word, got, want, texts[1])
		}
		if n := utf8.RuneCountInString(texts[1]); n > limit+1000 {
			t.Errorf("%s has %d runes", what, n)
		}
		if !utf8.ValidString(texts[1]) {
			t.Errorf("%s is no text", what)
		}
	}
	if strings.ContainsAny(evil.Text(), "\x1b\u202e\u2028\x00") {
		t.Error("the terminal is steered")
	}
}

// hostile is a report in which every string that a repository or a cluster brings is the word.
func hostile(word string) Report {
	before := pool(word, "", machine.Config{})
	after := pool(word, "", machine.Config{
		Files:      []machine.File{{Path: "/etc/" + word, Mode: 0o644, Contents: []byte(word + "\n")}},
		Units:      []machine.Unit{{Name: word, Contents: word, DropIns: []machine.DropIn{{Name: word, Contents: word}}}},
		KernelArgs: []string{word},
	})
	after.Origins = map[string]string{"/etc/" + word: word, word: word, "kernelArguments": word}
	in := input(one(before), one(after))
	r := Make(in)
	p := &r.Pools[0]
	p.Kind, p.Waves, p.Left = 4, [][]string{{word}, {word}}, []string{word}
	p.Nodes = map[string][]string{"reboot": {word, word}, "unchanged": {word}}
	p.Also = &Also{Nodes: []string{word}, Commits: []string{head}, Kind: 4, Worse: true, Cause: word}
	p.Revert = &Revert{Kind: 4, Cause: word}
	p.After, p.RollbackOf = []string{word}, base
	p.Drifted = []Drifted{{Node: word, Drift: []nodeops.Drift{{Path: word, Kind: nodeops.DriftContent, Why: word}}, Waits: true}}
	p.Blockers = []blockers.Blocker{
		{Kind: blockers.BarePod, Severity: blockers.Blocks, Mark: blockers.Exact, Node: word, Namespace: word, Name: word, Reason: word, Wave: 1},
		{Kind: blockers.BarePod, Severity: blockers.Warns, Mark: blockers.Exact, Node: word, Namespace: word, Name: word, Reason: word, Wave: 1},
	}
	r.Findings = []policy.Finding{{Check: "window", Outcome: policy.Warn, Reason: word}, {Check: "render", Outcome: policy.Deny, Reason: "pool " + word + " goes"}}
	r.Inventory = 3
	return r
}

func mistakes(word string) string {
	return Mistakes(head, render.Errors{{File: word, Line: 3, Field: word, Why: word}, {File: "a/" + word, Why: "is " + word}})
}

var (
	opening = regexp.MustCompile(`^<details><summary>[^<>@]*(<code>[^<>@]*</code>[^<>@]*)*</summary>$`)
	acts    = regexp.MustCompile(`(?i)@[\pL\pN]|#\pN|\bgh-\pN|[!%$]\pN|~\pL|\b[0-9a-f]{7,40}\b|[a-z]+://|www\.\pL|mailto:\pL|:[a-z_]+:|[\x00-\x08\x0b-\x1f\x7f]|[\x{202a}-\x{202e}\x{2066}-\x{2069}\x{2028}\x{2029}\x{feff}\x{3164}]`)
)

// read takes a comment apart as a forge does, and fails where something in it acts. It returns
// the kinds of its blocks, in order.
func read(t *testing.T, text string) (shape []string) {
	t.Helper()
	var open []string // lines of the present piece
	flush := func() {
		shape = append(shape, blocks(t, strings.Join(open, "\n"))...)
		open = nil
	}
	fence := ""
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case fence != "":
			if line == fence {
				shape, fence = append(shape, "fence"), ""
			}
		case strings.HasSuffix(line, "diff") && strings.Trim(line, "`") == "diff":
			fence = strings.TrimSuffix(line, "diff")
		case strings.HasPrefix(line, "<details>"):
			if !opening.MatchString(line) {
				t.Errorf("the fold %q says more than a summary", line)
			}
			flush()
			shape = append(shape, "fold")
		case line == "</details>":
			flush()
			shape = append(shape, "end")
		default:
			open = append(open, line)
		}
	}
	if fence != "" {
		t.Error("a fence stays open")
	}
	flush()
	return shape
}

// blocks parses markdown without folds.
func blocks(t *testing.T, text string) (out []string) {
	t.Helper()
	parser := blackfriday.New(blackfriday.WithExtensions(blackfriday.Tables | blackfriday.FencedCode | blackfriday.Autolink |
		blackfriday.Strikethrough | blackfriday.SpaceHeadings | blackfriday.NoIntraEmphasis | blackfriday.Footnotes | blackfriday.BackslashLineBreak))
	inCode := false
	var plain strings.Builder
	parser.Parse([]byte(text)).Walk(func(n *blackfriday.Node, entering bool) blackfriday.WalkStatus {
		if !entering {
			return blackfriday.GoToNext
		}
		switch n.Type {
		case blackfriday.Text:
			if !inCode {
				plain.Write(n.Literal)
			}
		case blackfriday.Code:
			plain.WriteByte(' ')
		case blackfriday.HTMLSpan:
			switch tag := string(n.Literal); {
			case tag == "<code>", tag == "</code>":
				inCode = tag == "<code>"
			case strings.HasPrefix(tag, "&#"):
				if !inCode {
					plain.WriteString(html.UnescapeString(tag))
				}
			default:
				t.Errorf("there is HTML: %q", tag)
			}
		case blackfriday.Link, blackfriday.Image, blackfriday.HTMLBlock, blackfriday.Emph, blackfriday.Del, blackfriday.HorizontalRule, blackfriday.BlockQuote, blackfriday.Hardbreak:
			t.Errorf("there is a %v: %q %q\n%s", n.Type, n.Literal, n.LinkData.Destination, text)
		default:
			out = append(out, n.Type.String())
		}
		return blackfriday.GoToNext
	})
	if found := acts.FindString(html.UnescapeString(plain.String())); found != "" {
		t.Errorf("outside of code a forge acts on %q:\n%s", found, text)
	}
	return out
}

// A comment about everything at once still has its sentence, its table and its verdict.
func TestALargeCommentStaysWithinTheLimit(t *testing.T) {
	big := machine.Config{KernelArgs: []string{"x"}}
	for i := range 2000 {
		big.Files = append(big.Files, machine.File{Path: fmt.Sprintf("/etc/%s-%d", strings.Repeat("@|`", 80), i), Mode: 0o644, Contents: []byte(strings.Repeat("grüße\n", 50))})
	}
	var before, after []render.Pool
	var all []reconciler.Node
	for i := range 40 {
		name := fmt.Sprintf("pool-%d", i)
		before, after = append(before, pool(name, "50%", machine.Config{})), append(after, pool(name, "50%", big))
		if i > 0 {
			after[i].Config = machine.Config{FIPS: true}
		}
		all = append(all, fleet(name, 125)...)
	}
	r := Make(input(before, after, all...))
	text := r.Markdown()
	if n := utf8.RuneCountInString(text); n > limit {
		t.Errorf("the comment has %d runes", n)
	}
	read(t, text)
	for _, want := range []string{"### Sluice: 4875 nodes cannot change in place (", "| pool | nodes |", "more pools", "**deny**", "more remarks", "Compared `"} {
		if !strings.Contains(text, want) {
			t.Errorf("the comment has no %q:\n%s", want, text[:2000])
		}
	}
	unfolded := regexp.MustCompile(`(?s)<details>.*?</details>`).ReplaceAllString(text, "")
	if n := len(regexp.MustCompile(`(?m)^.+$`).FindAllString(unfolded, -1)); n > 60 {
		t.Errorf("%d lines are not folded", n)
	}
}
