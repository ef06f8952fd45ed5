package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// WindowState says whether a rollout is open at a moment, and when that changes.
type WindowState struct {
	Open   bool      `json:"open"`
	Until  time.Time `json:"until,omitzero"`   // the end of this state; zero: never, or not within a year
	Next   time.Time `json:"next,omitzero"`    // the next opening after the moment; zero: none within a year
	Reason string    `json:"reason,omitempty"` // why it is closed; "" when it is open
}

// Problem is a mistake in a Rollout. While it has one, the rollout is closed.
type Problem struct {
	Field string // as in windows[0].schedule
	Why   string
}

// In sight is what comes within a year and after so many starts and ends at most: a schedule of
// every minute must not cost the controller a year of minutes.
const (
	horizon    = 366 * 24 * time.Hour
	maxChanges = 2000
)

// window is closed for everything but the repair of a node that an order of ours has broken. In
// an open one a node starts only if it is expected to be back before the end, unless the author
// lets it overrun or no window is long enough, which is said; one that was begun has used up a part
// of its time already, and goes on.
func window(r Request) (Outcome, string) {
	if r.Failing {
		return Allow, ""
	}
	state := r.Rollout.State(r.Now)
	switch {
	case !state.Open:
		return Wait, state.Reason
	case r.Begun, state.Until.IsZero():
		return Allow, ""
	}
	need := r.Expected
	if need <= 0 {
		need = Unmeasured(impact.Worst(r.Actions))
	}
	if !r.Now.Add(need).After(state.Until) {
		return Allow, ""
	}
	c, _ := r.Rollout.calendar()
	if r.Rollout.Overrun == "allow" {
		return Warn, fmt.Sprintf("a node is expected to take %s, and may run past the window's end at %s: overrun allows it", need.Round(time.Second), c.format(state.Until))
	}
	next, found := c.room(state.Until, need)
	if !found { // to wait would be for ever, and what was measured once may have been an outage
		return Warn, fmt.Sprintf("a node is expected to take %s, and no window within a year is as long: it may overrun; lengthen one", need.Round(time.Second))
	}
	return Wait, fmt.Sprintf("a node is expected to take %s, and the window ends %s; there is room from %s", need.Round(time.Second), c.format(state.Until), c.format(next))
}

// Unmeasured is how long a node is taken to be away where none of its pool has shown it yet.
func Unmeasured(kind impact.Kind) time.Duration {
	switch {
	case kind >= impact.Reboot:
		return 12 * time.Minute
	case impact.Drains(kind):
		return 10 * time.Minute
	}
	return time.Minute
}

// room is the first opening from t on that lasts as long as need.
func (c calendar) room(t time.Time, need time.Duration) (time.Time, bool) {
	first := t
	var opened time.Time
	for range maxChanges {
		if t.IsZero() || t.Sub(first) > horizon {
			break
		}
		open, end := c.look(t)
		switch {
		case !open:
			opened = time.Time{}
		case opened.IsZero():
			opened = t
		}
		if open && (end.IsZero() || end.Sub(opened) >= need) {
			return opened, true
		}
		t = end
	}
	return time.Time{}, false
}

// Problems are the mistakes of the author, in the order of the fields; none means that State can
// be believed. The database of time zones must be there (the binaries carry it).
func (r Rollout) Problems() []Problem {
	_, problems := r.calendar()
	problems = append(problems, r.orderProblems()...)
	problems = append(problems, r.gateProblems()...)
	return append(problems, r.impactProblems()...)
}

// State is open when at lies in a window (or there are none) and in no freeze. A mistake in any
// field closes it.
func (r Rollout) State(at time.Time) WindowState {
	c, problems := r.calendar()
	if len(problems) > 0 {
		return WindowState{Reason: fmt.Sprintf("closed, since %s: %s", problems[0].Field, problems[0].Why)}
	}
	open, t := c.look(at)
	s := WindowState{Open: open}
	for range maxChanges {
		if t.IsZero() || t.Sub(at) > horizon {
			break
		}
		now, end := c.look(t)
		if now != open && s.Until.IsZero() {
			s.Until = t.UTC()
		}
		if now && !s.Until.IsZero() {
			s.Next = t.UTC()
			break
		}
		t = end
	}
	if !open {
		s.Reason = c.reason(at, s.Next)
	}
	return s
}

// calendar is a rollout, read.
type calendar struct {
	windows, freezes []span
	zone             *time.Location // of the words that people read
}

func (r Rollout) calendar() (c calendar, problems []Problem) {
	for i, w := range r.Windows {
		s, bad := w.span(fmt.Sprintf("windows[%d]", i))
		c.windows, problems = append(c.windows, s), append(problems, bad...)
	}
	for i, f := range r.Freezes {
		s, bad := f.span(fmt.Sprintf("freezes[%d]", i))
		c.freezes, problems = append(c.freezes, s), append(problems, bad...)
	}
	c.zone = time.UTC
	for _, s := range slices.Concat(c.windows, c.freezes) {
		if s.zone != nil {
			c.zone = s.zone
			break
		}
	}
	return c, problems
}

// look says whether t is open, and up to when that is certain; zero = for ever. What comes then
// may be the same again.
func (c calendar) look(t time.Time) (open bool, until time.Time) {
	if end, frozen := cover(c.freezes, t); frozen {
		return false, end
	}
	if len(c.windows) == 0 {
		return true, start(c.freezes, t)
	}
	if end, in := cover(c.windows, t); in {
		return true, earlier(end, start(c.freezes, t))
	}
	return false, start(c.windows, t)
}

func (c calendar) reason(at, next time.Time) string {
	opens := "no opening is in sight"
	if !next.IsZero() {
		opens = "next opens " + c.format(next)
	}
	if end, by := c.frozen(at); end.IsZero() {
		return fmt.Sprintf("frozen, with no end in sight, by %s; %s", by, opens)
	} else if by != "" {
		return fmt.Sprintf("frozen until %s by %s; %s", c.format(end), by, opens)
	}
	return "outside every window; " + opens
}

// frozen says until when freezes cover every moment from at on, and which: one may begin before
// another ends. A zero time is no end in sight; no name is no freeze.
func (c calendar) frozen(at time.Time) (end time.Time, by string) {
	end = at
	var names []string
	for range maxChanges {
		last := end
		for _, f := range c.freezes {
			if ends, in := f.covers(end); in && ends.After(last) {
				last = ends
				if name := f.named(); !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
		if last.Equal(end) {
			return end, strings.Join(names, ", ")
		}
		if end.Sub(at) > horizon {
			break
		}
		end = last
	}
	return time.Time{}, strings.Join(names, ", ")
}

// named is where a span stands, with the words of its author.
func (s span) named() string {
	if s.reason == "" {
		return s.field
	}
	return s.field + " (" + s.reason + ")"
}

func (c calendar) format(t time.Time) string { return t.In(c.zone).Format("2006-01-02 15:04 MST") }

func cover(spans []span, t time.Time) (end time.Time, covered bool) {
	for _, s := range spans {
		if end, ok := s.covers(t); ok {
			return end, true
		}
	}
	return time.Time{}, false
}

// start is the first start after t, of any span.
func start(spans []span, t time.Time) (first time.Time) {
	for _, s := range spans {
		first = earlier(first, s.after(t))
	}
	return first
}

// earlier takes the zero time as never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// span reads a freeze: a window's fields, or From and To.
func (f Freeze) span(field string) (span, []Problem) {
	dated := !f.From.IsZero() || !f.To.IsZero()
	cyclic := f.Schedule != "" || f.Duration != ""
	switch {
	case !dated && !cyclic:
		return span{}, []Problem{{field, "says no time: give schedule and duration, or from and to"}}
	case !dated:
		return f.Window.span(field)
	case cyclic || f.TimeZone != "":
		return span{}, []Problem{{field, "gives from or to beside schedule, duration or timeZone: choose one form"}}
	case f.From.IsZero():
		return span{}, []Problem{{field + ".from", "is missing"}}
	case f.To.IsZero():
		return span{}, []Problem{{field + ".to", "is missing"}}
	case !f.From.Before(f.To):
		return span{}, []Problem{{field + ".to", "does not lie after from"}}
	}
	return span{field: field, reason: strings.TrimSpace(f.Reason), from: f.From, to: f.To}, nil
}
