package preview

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// Sentence is the answer in one line.
func (r Report) Sentence() string {
	if len(r.Pools) == 0 {
		return "No pool is rendered from this change."
	}
	var parts []string
	for _, kind := range []impact.Kind{impact.Impossible, impact.Reboot, impact.Drain, impact.Restart, impact.Reload} {
		count := 0
		var pools []string
		for _, p := range r.Pools {
			if n := len(p.Nodes[kind.String()]); n > 0 {
				count += n
				pools = append(pools, p.Name)
			}
		}
		if count > 0 {
			parts = append(parts, fmt.Sprintf("%s (%s)", plural(count, "node "+singular[kind], "nodes "+verbs[kind]), strings.Join(pools, ", ")))
		}
	}
	changed := 0
	for _, p := range r.Pools {
		if p.Changed {
			changed++
		}
	}
	switch {
	case r.Inventory == 0:
		return r.withoutNodes()
	case len(parts) == 0 && changed == 0:
		return "No node changes."
	case len(parts) == 0:
		return "No node is disturbed."
	}
	return strings.Join(parts, " · ") + "."
}

// withoutNodes is the answer when no inventory is known: what any node would pay.
func (r Report) withoutNodes() string {
	var parts []string
	for _, p := range r.Pools {
		if p.Changed {
			parts = append(parts, fmt.Sprintf("each node of %s %s", p.Name, singular[p.Kind]))
		}
	}
	if len(parts) == 0 {
		return "No pool changes."
	}
	return strings.Join(parts, " · ") + "."
}

var verbs = map[impact.Kind]string{
	impact.Impossible: "cannot change in place", impact.Reboot: "reboot", impact.Drain: "are drained and reload",
	impact.Restart: "restart a service", impact.Reload: "reload only",
}

var singular = map[impact.Kind]string{
	impact.Impossible: "cannot change in place", impact.Reboot: "reboots", impact.Drain: "is drained and reloads",
	impact.Restart: "restarts a service", impact.Reload: "reloads only", impact.Nothing: "changes without disturbance",
}

func nodes(n int) string { return plural(n, "node", "nodes") }

// limit is how many runes a comment may have. A forge takes 65,536 characters, some of them ours.
const limit = 60000

// Markdown is the comment below a pull request: the answer first, one row per pool, what stands
// in the way; then, folded and as far as there is room, the nodes and the changes. Every string
// that comes from the repository is escaped.
func (r Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Sluice: %s\n\n", escape(r.Sentence()))
	r.table(&b)
	r.notes(&b)
	tail := r.compared()
	room := limit - utf8.RuneCountInString(b.String()) - utf8.RuneCountInString(tail) - 200
	var folded, left int
	for _, section := range r.sections() {
		if n := utf8.RuneCountInString(section); n <= room {
			b.WriteString(section)
			room -= n
			folded++
		} else {
			left++
		}
	}
	if left > 0 {
		fmt.Fprintf(&b, "\n%s not shown here for want of room: `sluice preview` shows them.\n", plural(left, "section is", "sections are"))
	}
	b.WriteString(tail)
	return b.String()
}

// mostRows bounds the table: it is never cut by runes, so it must be small by itself.
const mostRows = 100

func (r Report) table(b *strings.Builder) {
	b.WriteString("| pool | nodes | action | why | waves |\n|---|---|---|---|---|\n")
	for i, p := range r.byDisturbance() {
		if i == mostRows {
			fmt.Fprintf(b, "| %d more pools | | | | |\n", len(r.Pools)-mostRows)
			break
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", code(p.Name), p.count(), p.action(), p.why(), p.waves(r.Inventory))
	}
}

func (r Report) notes(b *strings.Builder) {
	for i, f := range r.Findings {
		if i == mostRows {
			fmt.Fprintf(b, "\nand %d more findings\n", len(r.Findings)-mostRows)
			break
		}
		fmt.Fprintf(b, "\n**%s** (%s): %s\n", f.Outcome, code(f.Check), escape(short(f.Reason)))
	}
	for _, p := range r.Pools[:min(len(r.Pools), mostRows)] {
		if p.Cheaper != nil {
			fmt.Fprintf(b, "\nOnly %s the %s of pool %s; without, this change is: %s.\n", p.cheaperCauses(), p.Kind, code(p.Name), p.Cheaper.Kind)
		}
		if p.RollbackOf != "" {
			fmt.Fprintf(b, "\nPool %s goes back to what %s was.\n", code(p.Name), code(source.Short(p.RollbackOf)))
		}
	}
}

func (p Pool) cheaperCauses() string {
	var names []string
	for _, c := range p.Cheaper.Without[:min(3, len(p.Cheaper.Without))] {
		names = append(names, code(short(c)))
	}
	out := strings.Join(names, ", ")
	if more := len(p.Cheaper.Without) - len(names); more > 0 {
		return fmt.Sprintf("%s and %d more cost", out, more)
	}
	if len(names) > 1 {
		return out + " cost"
	}
	return out + " costs"
}

// short keeps one string from filling the comment.
func short(s string) string {
	if utf8.RuneCountInString(s) > 300 {
		return string([]rune(s)[:300]) + " ..."
	}
	return s
}

// sections are the folded parts, the most useful first.
func (r Report) sections() []string {
	var out []string
	pools := r.byDisturbance()
	for _, p := range pools {
		if len(p.Waves)+len(p.Left) > 0 {
			var b strings.Builder
			fmt.Fprintf(&b, "\n<details><summary>Nodes of %s</summary>\n\n", code(p.Name))
			p.list(&b)
			b.WriteString("\n</details>\n")
			out = append(out, b.String())
		}
	}
	for _, p := range pools {
		for _, c := range p.Changes {
			fence := fenceFor(c.Diff)
			from := ""
			if c.File != "" {
				from = ", from " + code(short(c.File))
			}
			out = append(out, fmt.Sprintf("\n<details><summary>%s in %s: %s%s</summary>\n\n%sdiff\n%s%s\n\n</details>\n",
				c.How, code(p.Name), code(short(c.Name)), from, fence, c.Diff, fence))
		}
	}
	return out
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

// compared says what the report was made from.
func (r Report) compared() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nCompared %s with %s", code(source.Short(r.MergeBase)), code(source.Short(r.Head)))
	if r.Base != r.MergeBase {
		fmt.Fprintf(&b, "; the branch has moved to %s since", code(source.Short(r.Base)))
	}
	if told := r.Inventory - r.Assumed; told > 0 {
		fmt.Fprintf(&b, ", and with what %s of themselves", plural(told, "node reports", "nodes report"))
	}
	if r.Assumed > 0 {
		fmt.Fprintf(&b, "; %s taken to be at the base", plural(r.Assumed, "node of the inventory is", "nodes of the inventory are"))
	}
	b.WriteString(".\n")
	return b.String()
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// shown is how many waves or causes stand in a comment by name.
const shown = 50

func (p Pool) list(b *strings.Builder) {
	for i, wave := range p.Waves {
		if i == shown {
			fmt.Fprintf(b, "- %s: %d more waves\n", code(p.Name), len(p.Waves)-shown)
			break
		}
		names := make([]string, 0, len(wave))
		for _, n := range wave[:min(len(wave), shown)] {
			names = append(names, code(n))
		}
		if more := len(wave) - len(names); more > 0 {
			names = append(names, fmt.Sprintf("%d more", more))
		}
		fmt.Fprintf(b, "- %s wave %d: %s\n", code(p.Name), i+1, strings.Join(names, ", "))
	}
	if same := p.Nodes["unchanged"]; len(same) > 0 {
		fmt.Fprintf(b, "- %s unchanged: %s\n", code(p.Name), nodes(len(same)))
	}
	if len(p.Left) > 0 {
		fmt.Fprintf(b, "- %s waiting: %s\n", code(p.Name), nodes(len(p.Left)))
	}
}

func (r Report) byDisturbance() []Pool {
	return slices.SortedStableFunc(slices.Values(r.Pools), func(a, b Pool) int {
		return cmp.Or(cmp.Compare(b.Kind, a.Kind), cmp.Compare(a.Name, b.Name))
	})
}

func (p Pool) count() string {
	total := 0
	for _, names := range p.Nodes {
		total += len(names)
	}
	return fmt.Sprint(total)
}

func (p Pool) action() string {
	if !p.Changed && len(p.Waves) == 0 && len(p.Left) == 0 {
		return "unchanged"
	}
	if p.Drain && p.Kind != impact.Drain {
		return "drain, " + p.Kind.String()
	}
	return p.Kind.String()
}

func (p Pool) why() string {
	if len(p.Actions) == 0 && len(p.Waves) > 0 {
		return "the nodes are not yet at the base"
	}
	if len(p.Actions) == 0 {
		return ""
	}
	out := code(short(p.Actions[0].Cause))
	if unit := p.Actions[0].Unit; unit != "" {
		out += " → " + code(unit)
	}
	if more := len(p.Actions) - 1; more > 0 {
		out += fmt.Sprintf(", %d more", more)
	}
	return out
}

func (p Pool) waves(inventory int) string {
	if len(p.Waves) > 0 {
		return p.when() + p.howLong()
	}
	switch {
	case inventory == 0:
		return ""
	case len(p.Left) > 0:
		return "held"
	}
	return "none"
}

func (p Pool) when() string {
	if p.Start.IsZero() {
		return fmt.Sprint(len(p.Waves))
	}
	return fmt.Sprintf("%d, from %s", len(p.Waves), p.Start.UTC().Format("Mon 2 Jan 15:04 UTC"))
}

func (p Pool) howLong() string {
	if p.Estimate == nil {
		return ", no history to say how long"
	}
	return fmt.Sprintf(", about %v (slow %v, n=%d)", round(p.Estimate.Typical), round(p.Estimate.Slow), p.Estimate.Samples)
}

func round(d time.Duration) time.Duration {
	if d < time.Minute {
		return d.Round(time.Second)
	}
	return d.Round(time.Minute)
}

// escape makes text out of a string that anybody may have written: no markdown, no HTML, no
// mention, no reference, no control that changes the direction of what is read.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar:
			b.WriteString("\uFFFD")
		case unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" ,;()/%·→'", r):
			b.WriteRune(r)
		case strings.ContainsRune(".-:", r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "&#%d;", r)
		}
	}
	return b.String()
}

// code is an escaped string in fixed width. In a code element a forge links no mention.
func code(s string) string { return "<code>" + escape(s) + "</code>" }

// Merged is what a comment says last.
func Merged(commit string) string {
	return fmt.Sprintf("\nMerged: the rollout is told by the statuses of %s.\n", source.Short(commit))
}

// Mistakes is the comment below a pull request that does not render.
func Mistakes(head string, mistakes render.Errors) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Sluice: %s does not render, and would change no node\n\n", code(source.Short(head)))
	for i, m := range mistakes {
		if i == shown {
			fmt.Fprintf(&b, "- and %d more\n", len(mistakes)-shown)
			break
		}
		where := m.File
		if m.Line > 0 {
			where += fmt.Sprint(":", m.Line)
		}
		fmt.Fprintf(&b, "- %s", code(where))
		if m.Field != "" {
			fmt.Fprintf(&b, " %s", code(m.Field))
		}
		fmt.Fprintf(&b, ": %s\n", escape(m.Why))
	}
	b.WriteString("\nThe last good configuration stays in force.\n")
	return b.String()
}
