package preview

import (
	"fmt"
	"strings"
	"unicode"
)

// Text is the report for a terminal.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintln(&b, printable(r.Sentence()))
	for _, p := range r.byDisturbance() {
		if p.calm() {
			fmt.Fprintf(&b, "\npool %s: unchanged%s\n", printable(p.Name), r.nodes(p))
			continue
		}
		fmt.Fprintf(&b, "\npool %s: %s%s\n", printable(p.Name), strings.Trim(p.action(), "*"), r.nodes(p))
		p.text(&b)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "\n%s (%s): %s\n", f.Outcome, printable(f.Check), printable(f.Reason))
	}
	if r.Assumed > 0 {
		fmt.Fprintf(&b, "\n%s taken to be at the base\n", plural(r.Assumed, "node of the inventory is", "nodes of the inventory are"))
	}
	if r.Outside > 0 {
		fmt.Fprintf(&b, "\n%s in no pool\n", plural(r.Outside, "node is", "nodes are"))
	}
	fmt.Fprintf(&b, "\nverdict: %s\n", r.Verdict)
	return b.String()
}

// nodes counts those of a pool, where any are known.
func (r Report) nodes(p Pool) string {
	if r.Inventory == 0 {
		return ""
	}
	return ", " + nodes(p.count())
}

// text is the section of one pool.
func (p Pool) text(b *strings.Builder) {
	for i, a := range p.Actions {
		if i == shown {
			fmt.Fprintf(b, "  and %d more causes\n", len(p.Actions)-shown)
			break
		}
		fmt.Fprintf(b, "  %-8s %s", a.Kind, printable(a.Cause))
		if a.Unit != "" {
			fmt.Fprintf(b, " -> %s", printable(a.Unit))
		}
		if a.File != "" {
			fmt.Fprintf(b, " (%s)", printable(a.File))
		}
		fmt.Fprintln(b)
	}
	for _, line := range p.story(printable)[1:] { // the causes say what the request is
		fmt.Fprintf(b, "  %s\n", line)
	}
	if p.Cheaper != nil {
		fmt.Fprintf(b, "  without %s it would be: %s\n", some(p.Cheaper.Without, shown, printable), p.Cheaper.Kind)
	}
	if p.RollbackOf != "" {
		fmt.Fprintf(b, "  goes back to what %s was\n", printable(p.RollbackOf[:min(7, len(p.RollbackOf))]))
	}
	if p.Pods != nil {
		fmt.Fprintf(b, "  %s (snapshot)\n", p.Pods)
	}
	for _, x := range p.Blockers {
		fmt.Fprintf(b, "  %s (%s, %s): %s\n", x.Severity, x.Kind, x.Mark, printable(strings.TrimPrefix(x.Object()+": ", ": ")+x.Reason))
	}
	for i, wave := range p.Waves {
		fmt.Fprintf(b, "  wave %d: %s\n", i+1, printable(strings.Join(wave, ", ")))
	}
	if len(p.Left) > 0 {
		fmt.Fprintf(b, "  waiting: %s\n", printable(strings.Join(p.Left, ", ")))
	}
	if len(p.Waves) > 0 {
		fmt.Fprintf(b, "  time:%s\n", strings.TrimPrefix(p.howLong(), ","))
	}
	for _, c := range p.Changes {
		fmt.Fprintf(b, "  %s %s\n", c.How, printable(c.Name))
		for line := range strings.Lines(c.Diff) {
			fmt.Fprintf(b, "    %s", line)
		}
	}
}

// printable keeps a hostile string from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
