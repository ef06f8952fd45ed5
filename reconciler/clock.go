package reconciler

import (
	"maps"
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
)

// clock times nodes, from the first effect to the end of the last: that is how a preview can say
// how long a rollout will take. A node that did not get there tells nothing.
func (p Pool) clock(errands []errand, effects []Effect, now time.Time) Pool {
	var begun map[string]Begun
	note := func(name string, b Begun) {
		if begun == nil {
			begun = map[string]Begun{}
		}
		begun[name] = b
	}
	p.Lately = recent(p.Lately, effects, now)
	starts, drains := map[string]bool{}, map[string]bool{}
	for _, f := range effects {
		switch f := f.(type) {
		case Drain:
			starts[f.Node], drains[f.Node] = true, true
		case Send:
			starts[f.Order.Node] = true
		}
	}
	for i := range errands {
		e := &errands[i]
		b, ok := p.Begun[e.Name]
		switch {
		case ok && e.reached && e.Cordon != Ours:
			p.Pace = timed(p.Pace, b.Kind, now.Sub(b.At))
			continue
		case ok && !busy(e.Node) && (p.Halt != "" || !e.asked && e.Cordon != Ours): // stopped, or handed back
			ok = false
		}
		if !ok && (!starts[e.Name] || len(e.cost) == 0 || p.Halt != "") {
			continue
		}
		if !ok {
			b = Begun{At: now, Kind: impact.Worst(e.cost).String()}
		}
		switch {
		case !e.Ready:
			b.Drain = time.Time{} // no pod can leave it: its time begins when it is back
		case drains[e.Name] && (b.Drain.IsZero() || e.Cordon != Ours):
			b.Drain = now
		}
		note(e.Name, b)
	}
	p.Begun = begun
	return p
}

// timed adds how long a node took to the pace of its kind.
func timed(pace map[string][]time.Duration, kind string, took time.Duration) map[string][]time.Duration {
	pace = maps.Clone(pace)
	if pace == nil {
		pace = map[string][]time.Duration{}
	}
	all := append(slices.Clone(pace[kind]), took)
	pace[kind] = all[max(0, len(all)-paces):]
	return pace
}

// expected is how long a step of this kind takes a node of the pool: the 95th percentile of those
// that it remembers; 0 when it remembers none. A node that was out of order on its way took as long
// as its repair, and says nothing of the others: no more than four times the median is believed,
// else one bad night would keep every later one too short.
func (p *Pool) expected(kind impact.Kind) time.Duration {
	pace := slices.Sorted(slices.Values(p.Pace[kind.String()]))
	if len(pace) == 0 {
		return 0
	}
	return min(pace[(len(pace)*95+99)/100-1], 4*pace[(len(pace)-1)/2])
}

// overrun is when the window ends that a node which is under way may not be back in; zero is never.
// An order says itself until when it may begin.
func (p *Pool) overrun(e *errand, b *bench) time.Time {
	begun, ok := p.Begun[e.Name]
	if !ok || e.reached || len(e.held) > 0 || failing(e.Node) {
		return time.Time{}
	}
	ends := b.permit(e)
	if e.asked {
		ends = e.Order.NotAfter
	}
	kind, err := impact.ParseKind(begun.Kind)
	if err != nil {
		kind = impact.Reboot
	}
	need := p.expected(kind)
	if need <= 0 {
		need = policy.Unmeasured(kind)
	}
	if ends.IsZero() || !begun.At.Add(need).After(ends) {
		return time.Time{}
	}
	return ends
}

// warn notes which windows what is under way may not be back in.
func (p Pool) warn(errands []errand, b *bench) Pool {
	p.Warned = nil
	for i := range errands {
		ends := p.overrun(&errands[i], b)
		f := policy.Finding{Check: "window", Outcome: policy.Warn, Reason: "what is under way " + late(ends)}
		if !ends.IsZero() && !slices.Contains(p.Warned, f) {
			p.Warned = append(p.Warned, f)
		}
	}
	return p
}

func late(ends time.Time) string {
	return "may run past the window's end at " + minute(ends)
}

// A node that has rebooted for a commit which was overtaken before it had landed waits for the
// next to stay the newest for as long as calm, so that many pushes in a row reboot it once for what
// it had begun and once for the last of them. After memory it waits no more: a branch that never rests must not starve anybody.
const (
	calm   = time.Minute
	memory = 10 * time.Minute
)

// restless says that a node would reboot again for an attempt that may be superseded soon. What
// failed is repaired at once, and a rollback of our own has nothing to wait for. An attempt that
// began in the future is one of a clock that was wrong: nobody waits for that.
func (p *Pool) restless(e *errand, now time.Time) bool {
	at, lately := p.Lately[e.Name]
	return lately && at.Before(p.AttemptAt) && now.Sub(p.AttemptAt).Abs() < calm && now.Sub(at) < memory &&
		p.Spurned == "" && !failing(e.Node) && impact.Drains(impact.Worst(e.cost))
}

// recent notes the nodes that are ordered to reboot, and forgets those of long ago.
func recent(lately map[string]time.Time, effects []Effect, now time.Time) map[string]time.Time {
	var out map[string]time.Time
	note := func(name string, at time.Time) {
		if out == nil {
			out = map[string]time.Time{}
		}
		out[name] = at
	}
	for name, at := range lately {
		if now.Sub(at) < memory {
			note(name, at)
		}
	}
	for _, f := range effects {
		if s, ok := f.(Send); ok && impact.Drains(s.Order.Ceiling) {
			note(s.Order.Node, now)
		}
	}
	return out
}
