package sim

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Replay plays a story again, up to the first broken promise. A line that makes no sense any more,
// since another was taken out, does nothing.
func Replay(story []string, opt Options) Result {
	s := NewScript()
	if opt.Step != nil {
		s.World.Step = opt.Step
	}
	for i, line := range story {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		_ = s.run(line, words)
		if len(s.World.violated) > 0 {
			r := result(s)
			r.Story = story[:i+1]
			return r
		}
	}
	r := result(s)
	r.Story = story
	return r
}

// Shrink makes the story of a broken promise as short as it finds it can: the same promise is
// still broken, and no line can be spared. A story that breaks nothing stays as it is. It throws no
// dice: the same story always shrinks to the same one.
func Shrink(story []string, opt Options) Result {
	first := Replay(story, opt)
	if len(first.Violations) == 0 {
		return first
	}
	promise := kind(first.Violations[0])
	lines, ending := slices.Clone(first.Story), []string(nil)
	for i := len(lines) - 1; i >= 0; i-- { // that nothing comes to rest says something of a calm world only
		if lines[i] == "calm" {
			lines, ending = lines[:i], lines[i:]
			break
		}
	}
	broken := func(lines []string) bool {
		r := Replay(slices.Concat(lines, ending), opt)
		return len(r.Violations) > 0 && kind(r.Violations[0]) == promise
	}
	for before := -1; before != len(lines); {
		before = len(lines)
		lines = simplify(drop(lines, broken), broken)
	}
	r := Replay(slices.Concat(lines, ending), opt)
	r.Story = folded(r.Story)
	return r
}

// kind is a broken promise without who, when and how often.
func kind(violation string) string {
	if _, text, ok := strings.Cut(violation, ": "); ok {
		violation = text
	}
	if rest, ok := strings.CutPrefix(violation, "did not converge"); ok {
		_, why, _ := strings.Cut(rest, "; ")
		return "did not converge; " + why
	}
	return names.ReplaceAllString(violation, "#")
}

var names = regexp.MustCompile(`[a-z]+-[0-9]+|[a-z]+:[a-z0-9,:]+|\bz?c?[0-9]+\b|worker|edge`)

// drop takes out lines while the promise stays broken: first large pieces, then single lines.
func drop(lines []string, broken func([]string) bool) []string {
	for size := len(lines) / 2; size > 0; size /= 2 {
		for from := 0; from < len(lines); {
			to := min(from+size, len(lines))
			if shorter := slices.Concat(lines[:from], lines[to:]); broken(shorter) {
				lines = shorter
			} else {
				from = to
			}
		}
	}
	return lines
}

// simplify makes pools smaller and their rules fewer.
func simplify(lines []string, broken func([]string) bool) []string {
	for i := 0; i < len(lines); i++ {
		for _, simpler := range simpler(lines[i]) {
			changed := slices.Clone(lines)
			changed[i] = simpler
			if broken(changed) {
				lines = changed
				i--
				break
			}
		}
	}
	return lines
}

var nodesOption = regexp.MustCompile(` nodes=([0-9]+)`)

// simpler are ways to say less in one line.
func simpler(line string) (out []string) {
	words := strings.Fields(line)
	switch words[0] {
	case "pool":
		if m := nodesOption.FindStringSubmatch(line); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil && n > 1 {
				out = append(out, strings.Replace(line, m[0], fmt.Sprint(" nodes=", n/2), 1), strings.Replace(line, m[0], fmt.Sprint(" nodes=", n-1), 1))
			}
		}
		for _, w := range words[2:] {
			if !strings.HasPrefix(w, "nodes=") {
				out = append(out, strings.Replace(line, " "+w, "", 1))
			}
		}
	case "push":
		if len(words) > 3 {
			out = append(out, strings.Join(words[:3], " "), strings.Join(slices.Delete(slices.Clone(words), 2, 3), " "))
		}
	}
	return out
}

// folded says "tick 3" for three ticks.
func folded(lines []string) (out []string) {
	ticks := 0
	flush := func() {
		switch {
		case ticks == 1:
			out = append(out, "tick")
		case ticks > 1:
			out = append(out, fmt.Sprint("tick ", ticks))
		}
		ticks = 0
	}
	for _, line := range lines {
		if line == "tick" {
			ticks++
			continue
		}
		flush()
		out = append(out, line)
	}
	flush()
	return out
}
