package sim

import (
	"fmt"
	"html"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// summary is a lane in one line.
func (l Lane) summary() string {
	switch {
	case len(l.Rows) == 0 && len(l.Waiting) == 0:
		return fmt.Sprintf("pool %s: %d nodes, none is disturbed", l.Name, l.Nodes)
	case len(l.Rows) == 0:
		return fmt.Sprintf("pool %s: none of %d nodes is begun: %s", l.Name, l.Nodes, strings.Join(l.Waiting, "; "))
	}
	first, last := l.Rows[0].From, l.Rows[0].To
	for _, r := range l.Rows {
		if r.To.After(last) {
			last = r.To
		}
	}
	waves := "1 wave"
	if l.Waves != 1 {
		waves = fmt.Sprintf("%d waves", l.Waves)
	}
	out := fmt.Sprintf("pool %s: %d of %d nodes in %s, %s to %s (%s)", l.Name, len(l.Rows), l.Nodes, waves, clock(first), clock(last), length(last.Sub(first)))
	if len(l.Waiting) > 0 {
		out += "; not finished: " + strings.Join(l.Waiting, "; ")
	}
	return out
}

// clock is in UTC, whatever zone a time came in: one picture has one clock.
func clock(t time.Time) string { return t.UTC().Format("Mon 2006-01-02 15:04") }

func length(d time.Duration) string {
	d = d.Round(time.Minute)
	if h := int(d.Hours()); h > 0 {
		return fmt.Sprintf("%d h %02d min", h, int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d min", int(d.Minutes()))
}

const columns = 64

// Text is the timeline for a terminal: a line for each node, or for each wave of a large pool.
func (t Timeline) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s, all times in UTC\n", clock(t.Start), clock(t.End))
	for _, l := range t.Pools {
		fmt.Fprintf(&b, "\n%s\n", l.summary())
		if len(l.Rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "  %-24s |%s|\n", "", t.backdrop(l, "soak"))
		if len(l.Rows) > 40 {
			t.waves(&b, l)
			continue
		}
		for _, r := range l.Rows {
			line := []rune(t.backdrop(l, ""))
			t.draw(line, r)
			fmt.Fprintf(&b, "  %-24s |%s| %s %s\n", short(r.Node+" "+r.Zone), string(line), r.From.UTC().Format("Mon 15:04"), length(r.To.Sub(r.From)))
		}
	}
	b.WriteString("\n  ░ drained  █ its order is done  · nothing may start  ~ soak\n")
	return b.String()
}

func (t Timeline) waves(b *strings.Builder, l Lane) {
	for at := 0; at < len(l.Rows); {
		line, from := []rune(t.backdrop(l, "")), at
		for ; at < len(l.Rows) && l.Rows[at].Wave == l.Rows[from].Wave; at++ {
			t.draw(line, l.Rows[at])
		}
		name := fmt.Sprintf("wave %d: %d nodes", l.Rows[from].Wave, at-from)
		if at-from == 1 {
			name = fmt.Sprintf("wave %d: %s", l.Rows[from].Wave, l.Rows[from].Node)
		}
		fmt.Fprintf(b, "  %-24s |%s| %s\n", short(name), string(line), l.Rows[from].From.UTC().Format("Mon 15:04"))
	}
}

func short(s string) string {
	if r := []rune(strings.TrimSpace(s)); len(r) > 24 {
		return string(r[:23]) + "…"
	}
	return strings.TrimSpace(s)
}

// at is the place of a moment on a line of so many columns.
func (t Timeline) at(m time.Time, columns float64) float64 {
	all := t.End.Sub(t.Start)
	if all <= 0 {
		return 0
	}
	return columns * float64(m.Sub(t.Start)) / float64(all)
}

func (t Timeline) backdrop(l Lane, what string) string {
	line := []rune(strings.Repeat(" ", columns))
	fill := func(s Span, with rune) {
		for i := int(t.at(s.From, columns)); i < min(columns, int(t.at(s.To, columns))); i++ {
			line[i] = with
		}
	}
	for _, s := range l.Closed {
		fill(s, '·')
	}
	if what == "soak" {
		for _, s := range l.Soaks {
			fill(Span{From: s.From, To: s.To.Add(time.Minute)}, '~')
		}
	}
	return string(line)
}

func (t Timeline) draw(line []rune, r Row) {
	from, work, to := int(t.at(r.From, columns)), int(t.at(r.Work, columns)), int(t.at(r.To, columns))
	for i := from; i < columns && i <= max(to-1, from); i++ {
		line[i] = '█'
		if i < work {
			line[i] = '░'
		}
	}
}

// SVG is the timeline as a picture that stands alone: no script, no font, nothing from elsewhere.
func (t Timeline) SVG() string {
	const left, right, width = 190.0, 24.0, 1160.0
	rows := 0
	for _, l := range t.Pools {
		rows += len(l.Rows)
	}
	row := min(24.0, max(9.0, 2400.0/float64(max(rows, 1))))
	height := 108.0
	for _, l := range t.Pools {
		height += 54 + row*float64(len(l.Rows))
	}
	p := &picture{t: t, left: left, span: width - left - right, row: row}
	fmt.Fprintf(&p.b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img">`+"\n", width, height, width, height)
	p.b.WriteString(style)
	fmt.Fprintf(&p.b, "<title>Rollout from %s to %s</title>\n<rect class=\"paper\" width=\"%.0f\" height=\"%.0f\"/>\n", clock(t.Start), clock(t.End), width, height)
	fmt.Fprintf(&p.b, `<text class="head" x="16" y="30">Rollout: %s to %s UTC (%s)</text>`+"\n", clock(t.Start), clock(t.End), length(t.End.Sub(t.Start)))
	p.legend(56)
	y := 80.0
	for _, l := range t.Pools {
		y = p.lane(l, y)
	}
	p.b.WriteString("</svg>\n")
	return p.b.String()
}

const style = `<style>
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;font-size:12px;fill:#24303c}
.head{font-size:17px;font-weight:600}.pool{font-size:13px;font-weight:600}.quiet{fill:#6b7785;font-size:11px}.warn{fill:#a33a1d;font-size:11px}
.paper{fill:#fff}.open{fill:#f4f8f5}.shut{fill:#dfe3e8}.soak{fill:#f2c14e}.drain{fill:#9cc3e6}.reboot{fill:#2b6cb0}.light{fill:#4fa37a}.line{stroke:#c9d0d8;stroke-width:1}.stripe{fill:#000;opacity:.025}
</style>
`

type picture struct {
	b               strings.Builder
	t               Timeline
	left, span, row float64
}

func (p *picture) x(m time.Time) float64 { return p.left + p.t.at(m, p.span) }

func (p *picture) box(class string, from, to time.Time, y, height float64, title string) {
	fmt.Fprintf(&p.b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s</title></rect>`+"\n",
		class, p.x(from), y, max(1, p.x(to)-p.x(from)), height, html.EscapeString(title))
}

func (p *picture) legend(y float64) {
	x := 16.0
	for _, k := range []struct{ class, word string }{{"drain", "draining"}, {"reboot", "reboot"}, {"light", "no drain"}, {"soak", "soak"}, {"shut", "closed"}} {
		fmt.Fprintf(&p.b, `<rect class="%s" x="%.0f" y="%.0f" width="12" height="12" rx="2"/><text x="%.0f" y="%.0f">%s</text>`+"\n", k.class, x, y-11, x+17, y, k.word)
		x += 94
	}
}

func (p *picture) lane(l Lane, y float64) float64 {
	class := "quiet"
	if len(l.Waiting) > 0 {
		class = "warn"
	}
	words := []rune(l.summary())
	if len(words) > 170 {
		words = append(words[:169], '…')
	}
	name, rest, _ := strings.Cut(string(words), ": ")
	fmt.Fprintf(&p.b, `<text class="pool" x="16" y="%.1f">%s</text><text class="%s" x="%.0f" y="%.1f">%s</text>`+"\n", y+12, html.EscapeString(name), class, p.left, y+12, html.EscapeString(rest))
	top, height := y+24, p.row*float64(len(l.Rows))
	if len(l.Rows) == 0 {
		return y + 30
	}
	p.box("open", p.t.Start, p.t.End, top, height, "open")
	for _, s := range l.Closed {
		p.box("shut", s.From, s.To, top, height, s.Why)
	}
	for i, r := range l.Rows {
		if r.Wave%2 == 0 {
			fmt.Fprintf(&p.b, `<rect class="stripe" x="0" y="%.1f" width="%.1f" height="%.1f"/>`, top+p.row*float64(i), p.left+p.span, p.row)
		}
	}
	p.hours(top, height)
	for _, s := range l.Soaks {
		p.box("soak", s.From, s.To, top, 4, "soak")
	}
	for i, r := range l.Rows {
		p.bar(r, top+p.row*float64(i))
	}
	return top + height + 30
}

func (p *picture) bar(r Row, y float64) {
	size := min(12, p.row-1)
	label := r.Node
	if r.Zone != "" && p.row >= 14 {
		label += " · " + r.Zone
	}
	if n := []rune(label); len(n) > 28 {
		label = string(n[:27]) + "…"
	}
	fmt.Fprintf(&p.b, `<text x="%.0f" y="%.1f" text-anchor="end" style="font-size:%.1fpx">%s</text>`, p.left-8, y+p.row/2+size*.36, size, html.EscapeString(label))
	title := fmt.Sprintf("%s, wave %d: %s from %s for %s", r.Node, r.Wave, r.Kind, clock(r.From), length(r.To.Sub(r.From)))
	class := "light"
	if impact.Drains(r.Kind) {
		class = "reboot"
	}
	pad := min(4, p.row*.15)
	if r.Work.After(r.From) {
		p.box("drain", r.From, r.Work, y+pad, p.row-2*pad, title)
	}
	p.box(class, r.Work, r.To, y+pad, p.row-2*pad, title)
}

// hours draws a line at each round moment, some six to fourteen of them.
func (p *picture) hours(y, height float64) {
	all, step := p.t.End.Sub(p.t.Start), 5*time.Minute
	for _, s := range []time.Duration{10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour} {
		if all/step > 14 {
			step = s
		}
	}
	for at := p.t.Start.Truncate(step).Add(step); at.Before(p.t.End); at = at.Add(step) {
		label := at.Format("15:04")
		if step >= 6*time.Hour || at.Hour() == 0 && at.Minute() == 0 {
			label = at.Format("Mon 15:04")
		}
		fmt.Fprintf(&p.b, `<line class="line" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><text class="quiet" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n",
			p.x(at), p.x(at), y, y+height, p.x(at), y+height+14, label)
	}
}
