package reconciler

import (
	"maps"
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/impact"
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
	starts, sent := map[string]bool{}, map[string]machine.Digest{}
	for _, f := range effects {
		switch f := f.(type) {
		case Drain:
			starts[f.Node] = true
		case Send:
			starts[f.Order.Node], sent[f.Order.Node] = true, f.Order.Config
		}
	}
	for _, e := range errands {
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
		if d := sent[e.Name]; d != "" && !slices.Contains(b.Sent, d) {
			b.Sent = append(slices.Clone(b.Sent), d)
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
