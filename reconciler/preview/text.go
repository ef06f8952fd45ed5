package preview

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/sluice-gitops/sluice/source"
)

// Text is the report for a terminal.
func (r Report) Text() string {
	var b strings.Builder
	fmt.Fprintln(&b, printable(r.Sentence()))
	for _, p := range r.byDisturbance() {
		fmt.Fprintf(&b, "\npool %s: %s, %s nodes\n", printable(p.Name), p.action(), p.count())
		for i, a := range p.Actions {
			if i == shown {
				fmt.Fprintf(&b, "  and %d more causes\n", len(p.Actions)-shown)
				break
			}
			fmt.Fprintf(&b, "  %-8s %s", a.Kind, printable(a.Cause))
			if a.Unit != "" {
				fmt.Fprintf(&b, " -> %s", printable(a.Unit))
			}
			if a.File != "" {
				fmt.Fprintf(&b, " (%s)", printable(a.File))
			}
			fmt.Fprintln(&b)
		}
		for i, wave := range p.Waves {
			fmt.Fprintf(&b, "  wave %d: %s\n", i+1, printable(strings.Join(wave, ", ")))
		}
		if p.Estimate != nil {
			fmt.Fprintf(&b, "  takes%s\n", strings.TrimPrefix(p.howLong(), ","))
		}
		if !p.Start.IsZero() {
			fmt.Fprintf(&b, "  starts %s\n", p.Start.Format("Mon 2 Jan 2006 15:04 MST"))
		}
		if p.Cheaper != nil {
			fmt.Fprintf(&b, "  without %s it would be: %s\n", printable(strings.Join(p.Cheaper.Without, ", ")), p.Cheaper.Kind)
		}
		for _, c := range p.Changes {
			fmt.Fprintf(&b, "  %s %s\n", c.How, printable(c.Name))
			for line := range strings.Lines(c.Diff) {
				fmt.Fprintf(&b, "    %s", line)
			}
		}
		if p.RollbackOf != "" {
			fmt.Fprintf(&b, "  goes back to what %s was\n", source.Short(p.RollbackOf))
		}
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "\n%s (%s): %s\n", f.Outcome, printable(f.Check), printable(f.Reason))
	}
	return b.String()
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
