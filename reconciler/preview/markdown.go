package preview

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/reconciler/blockers"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// How much of a comment may be what. A forge takes 65,536 characters, some of them ours; the
// sentence, the table and the findings are never cut by runes, so each is bounded by itself.
const (
	limit      = 60000
	tableRoom  = 20000
	notesRoom  = 15000
	mostRows   = 30
	mostNotes  = 12
	sentence   = 2000
	shown      = 50 // waves, nodes or causes that stand in a fold by name
	mostCaused = 3  // causes that stand in a line by name
)

// Markdown is the comment below a pull request: the answer first, one row per pool, what stands
// in the way; then, folded and as far as there is room, what each pool's nodes do and the changes.
func (r Report) Markdown() string {
	var b strings.Builder
	b.WriteString("### Sluice: " + clamp(escape(r.Sentence()), sentence) + "\n\n")
	r.table(&b)
	r.notes(&b)
	tail := r.compared()
	room := limit - utf8.RuneCountInString(b.String()) - utf8.RuneCountInString(tail) - 200
	left := 0
	for _, section := range r.sections() {
		if n := utf8.RuneCountInString(section); n <= room {
			b.WriteString(section)
			room -= n
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

// clamp cuts escaped text where no entity is cut.
func clamp(s string, runes int) string {
	if utf8.RuneCountInString(s) <= runes {
		return s
	}
	s = string([]rune(s)[:runes])
	if at := strings.LastIndexByte(s, '&'); at >= 0 && !strings.Contains(s[at:], ";") {
		s = s[:at]
	}
	return s + " ..."
}

// table has a row for each pool that changes or moves, and one for all others.
func (r Report) table(b *strings.Builder) {
	b.WriteString("| pool | nodes | action | why | waves |\n|---|---|---|---|---|\n")
	var calm []Pool
	rows, room := 0, tableRoom
	more := 0
	for _, p := range r.byDisturbance() {
		if p.calm() {
			calm = append(calm, p)
			continue
		}
		row := fmt.Sprintf("| %s | %s | %s | %s | %s |\n", code(p.Name), r.crew(p), p.action(), p.why(), p.waves(r.Inventory))
		if n := utf8.RuneCountInString(row); rows < mostRows && n <= room {
			b.WriteString(row)
			rows, room = rows+1, room-n
		} else {
			more++
		}
	}
	if more > 0 {
		fmt.Fprintf(b, "| %s | | | | |\n", plural(more, "more pool", "more pools"))
	}
	switch {
	case len(calm) == 1:
		fmt.Fprintf(b, "| %s | %s | unchanged | | |\n", code(calm[0].Name), r.crew(calm[0]))
	case len(calm) > 1:
		fmt.Fprintf(b, "| %d other pools | %s | unchanged | | |\n", len(calm), r.crew(calm...))
	}
}

// notes are what a reader must not miss, one line each.
func (r Report) notes(b *strings.Builder) {
	var all []string
	for _, f := range r.Findings {
		if f.Check == "drift" {
			continue // said below, of all that have drifted at once
		}
		all = append(all, fmt.Sprintf("**%s** (%s): %s", f.Outcome, code(f.Check), escape(f.Reason)))
	}
	pools := r.byDisturbance()
	for _, p := range pools {
		for _, x := range p.Blockers {
			if x.Severity == blockers.Blocks {
				all = append(all, "**blocked** "+blocker(p.Name, x))
			}
		}
	}
	for _, p := range pools {
		if p.Also != nil && p.Also.Worse {
			all = append(all, "**warn** "+p.also(code))
		}
		if len(p.Drifted) > 0 {
			all = append(all, fmt.Sprintf("**%s** (`drift`): %s", p.driftOutcome(), p.drifted(code)))
		}
	}
	for _, p := range pools {
		all = append(all, p.joining(code)...)
		if p.RollbackOf != "" {
			all = append(all, fmt.Sprintf("Pool %s goes back to what %s was.", code(p.Name), code(source.Short(p.RollbackOf))))
		}
		if p.Cheaper != nil {
			all = append(all, p.cheaper(code))
		}
	}
	room := notesRoom
	for i, line := range all {
		n := utf8.RuneCountInString(line)
		if i == mostNotes || n > room {
			fmt.Fprintf(b, "\nand %s: `sluice preview` shows them\n", plural(len(all)-i, "more remark", "more remarks"))
			break
		}
		fmt.Fprintf(b, "\n%s\n", line)
		room -= n
	}
}

// blocker is one thing that stands in the way, as it is said of a pool.
func blocker(pool string, x blockers.Blocker) string {
	at := ""
	if x.Wave > 0 {
		at = fmt.Sprintf(", wave %d", x.Wave)
	}
	about := ""
	if x.Object() != "" {
		about = code(x.Object()) + ": "
	}
	return fmt.Sprintf("(%s, %s%s): %s%s [%s]", code(pool), code(string(x.Kind)), at, about, escape(x.Reason), x.Mark)
}

// sections are the folded parts, the most useful first.
func (r Report) sections() []string {
	var out []string
	pools := r.byDisturbance()
	for _, p := range pools {
		if p.calm() {
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "\n<details><summary>Pool %s: what its nodes do</summary>\n\n", summary(p.Name))
		for _, line := range p.story(code) {
			fmt.Fprintf(&b, "- %s\n", line)
		}
		if p.Pods != nil {
			fmt.Fprintf(&b, "- %s [snapshot]\n", p.Pods)
		}
		for _, x := range p.Blockers {
			if x.Severity != blockers.Blocks {
				fmt.Fprintf(&b, "- %s\n", blocker(p.Name, x))
			}
		}
		p.list(&b)
		b.WriteString("\n</details>\n")
		out = append(out, b.String())
	}
	for _, p := range pools {
		for _, c := range p.Changes {
			fence := fenceFor(c.Diff)
			from := ""
			if c.File != "" {
				from = ", from " + summary(c.File)
			}
			out = append(out, fmt.Sprintf("\n<details><summary>%s in %s: %s%s</summary>\n\n%sdiff\n%s%s\n\n</details>\n",
				c.How, summary(p.Name), summary(c.Name), from, fence, c.Diff, fence))
		}
	}
	return out
}

// list is the waves by name.
func (p Pool) list(b *strings.Builder) {
	for i, wave := range p.Waves {
		if i == shown {
			fmt.Fprintf(b, "- %d more waves\n", len(p.Waves)-shown)
			break
		}
		fmt.Fprintf(b, "- wave %d: %s\n", i+1, some(wave, shown, code))
	}
	if same := p.Nodes["unchanged"]; len(same) > 0 {
		fmt.Fprintf(b, "- unchanged: %s\n", nodes(len(same)))
	}
	if len(p.Left) > 0 {
		fmt.Fprintf(b, "- waiting: %s\n", some(p.Left, shown, code))
	}
}

// compared says what the report was made from.
func (r Report) compared() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nCompared %s with %s", code(source.Short(r.MergeBase)), code(source.Short(r.Head)))
	if r.Base != r.MergeBase {
		fmt.Fprintf(&b, ", on top of what the branch has since (%s)", code(source.Short(r.Base)))
	}
	if told := r.Inventory - r.Assumed - r.Outside; told > 0 {
		fmt.Fprintf(&b, ", and with what %s of themselves", plural(told, "node reports", "nodes report"))
	}
	if r.Assumed > 0 {
		fmt.Fprintf(&b, "; %s taken to be at the base", plural(r.Assumed, "node of the inventory is", "nodes of the inventory are"))
	}
	if r.Outside > 0 {
		fmt.Fprintf(&b, "; %s in no pool", plural(r.Outside, "node is", "nodes are"))
	}
	if !r.Recorded.IsZero() {
		fmt.Fprintf(&b, "; workloads as of %s", moment(r.Recorded))
	}
	b.WriteString(".\n")
	return b.String()
}

func (r Report) byDisturbance() []Pool {
	return slices.SortedStableFunc(slices.Values(r.Pools), func(a, b Pool) int {
		return cmp.Or(cmp.Compare(b.Kind, a.Kind), cmp.Compare(a.Name, b.Name))
	})
}

// calm says that the proposal has nothing to do with a pool, and that none of its nodes moves.
func (p Pool) calm() bool { return !p.Changed && len(p.Waves) == 0 && len(p.Left) == 0 && p.Was == "" }

// crew is how many nodes pools have; "?" where no nodes are known at all.
func (r Report) crew(pools ...Pool) string {
	if r.Inventory == 0 {
		return "?"
	}
	total := 0
	for _, p := range pools {
		total += p.count()
	}
	return fmt.Sprint(total)
}

func (p Pool) count() int {
	total := 0
	for _, names := range p.Nodes {
		total += len(names)
	}
	return total
}

func (p Pool) action() string {
	switch {
	case p.calm():
		return "unchanged"
	case p.Kind == impact.Impossible:
		return "**not possible in place**"
	case p.Drain && p.Kind != impact.Drain:
		return "drain, " + p.Kind.String()
	}
	return p.Kind.String()
}

// why is the action that makes the kind; what else is asked for is counted.
func (p Pool) why() string {
	at := slices.IndexFunc(p.Actions, func(c Cause) bool { return c.Kind == p.Kind })
	if at < 0 {
		return p.besides()
	}
	out := code(p.Actions[at].Cause)
	if unit := p.Actions[at].Unit; unit != "" {
		out += " → " + code(unit)
	}
	if more := len(p.Actions) - 1; more > 0 {
		out += fmt.Sprintf(", %d more", more)
	}
	return out
}

// besides is what makes the kind where the request does not.
func (p Pool) besides() string {
	for _, j := range p.Joining {
		if j.Kind == p.Kind {
			return plural(len(j.Nodes), "node comes", "nodes come") + ": " + code(j.Cause)
		}
	}
	switch {
	case p.Also == nil:
		return ""
	case p.Also.Cause == "":
		return "earlier commits"
	}
	return "earlier commits: " + code(p.Also.Cause)
}

func (p Pool) waves(inventory int) string {
	switch {
	case len(p.Waves) > 0:
		return p.when() + p.howLong()
	case inventory == 0:
		return ""
	case len(p.Left) > 0:
		return "held"
	}
	return "none"
}

func (p Pool) when() string {
	out := fmt.Sprint(len(p.Waves))
	if !p.Start.IsZero() {
		out += ", from " + moment(p.Start)
	}
	if n := len(p.Windows); n > 1 {
		out += fmt.Sprintf(" in %d windows", n)
	}
	if len(p.Left) > 0 {
		out += ", and " + plural(len(p.Left), "node waits", "nodes wait")
	}
	return out
}

func (p Pool) howLong() string {
	if p.Estimate == nil {
		return ", no history to say how long"
	}
	return fmt.Sprintf(", about %v (slow %v, n=%d)", round(p.Estimate.Typical), round(p.Estimate.Slow), p.Estimate.Samples)
}

// round writes a duration as people say it.
func round(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm", d.Round(time.Minute)/time.Minute)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
}

func moment(t time.Time) string { return t.UTC().Format("Mon 2 Jan 2006 15:04 UTC") }

// Merged is what a comment says last. A forge makes a link of the whole commit.
func Merged(commit string) string {
	return fmt.Sprintf("\nMerged: how the rollout goes is told by the statuses of commit %s.\n", commit)
}

// Mistakes is the comment below a pull request that does not render.
func Mistakes(head string, mistakes render.Errors) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Sluice: %s does not render, and would change no node\n\n", code(source.Short(head)))
	room := notesRoom
	for i, m := range mistakes {
		where := m.File
		if m.Line > 0 {
			where += fmt.Sprint(":", m.Line)
		}
		line := "- " + code(where)
		if m.Field != "" {
			line += " " + code(m.Field)
		}
		line += ": " + escape(m.Why) + "\n"
		if room -= utf8.RuneCountInString(line); i == shown || room < 0 {
			fmt.Fprintf(&b, "- and %d more\n", len(mistakes)-i)
			break
		}
		b.WriteString(line)
	}
	b.WriteString("\nThe last good configuration stays in force.\n")
	return b.String()
}
