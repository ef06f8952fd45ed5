package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/preview"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// Timeline is what a rollout would look like on these nodes, if every machine did as it is told.
type Timeline struct {
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"` // when the last node is back
	Finished bool      `json:"finished"`
	Pools    []Lane    `json:"pools"`
}

// Lane is one pool of a timeline.
type Lane struct {
	Name    string   `json:"pool"`
	Nodes   int      `json:"nodes"`
	Waves   int      `json:"waves"`
	Rows    []Row    `json:"rows"` // the nodes that are disturbed, in the order in which they are begun
	Closed  []Span   `json:"closed,omitempty"`
	Soaks   []Span   `json:"soaks,omitempty"`
	Waiting []string `json:"waiting,omitempty"` // why it is not finished
}

// Row is one node.
type Row struct {
	Node string      `json:"node"`
	Zone string      `json:"zone,omitempty"`
	Kind impact.Kind `json:"kind"`
	Wave int         `json:"wave"`
	From time.Time   `json:"from"`
	Work time.Time   `json:"work"` // when it is empty, and gets its order
	To   time.Time   `json:"to"`
}

// Span is a stretch of time, and what it is.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Why  string    `json:"why,omitempty"`
}

// Pace is how long a node takes.
type Pace struct {
	Node  time.Duration // from its drain to its return, where it reboots or is drained
	Drain time.Duration // of that, until it is empty
	Quick time.Duration // for what needs no drain
}

func (p Pace) work(kind impact.Kind) time.Duration {
	if impact.Drains(kind) {
		return max(time.Second, p.Node-p.Drain)
	}
	return p.Quick
}

// limits of a forecast: in virtual time, and in steps.
const (
	farthest = 30 * 24 * time.Hour
	mostStep = 50_000
)

// Forecast lets the rollout of a change happen on a virtual clock, with the real Step.
func Forecast(in preview.Input, pace Pace) Timeline {
	f := &forecast{in: in, pace: pace, rows: map[string]*Row{}, due: map[string]time.Time{}, drains: map[string]time.Time{}, lanes: map[string]*Lane{}}
	f.rest()
	for range mostStep {
		next, effects := reconciler.Step(f.state, f.seen)
		f.state = next
		for _, e := range effects {
			f.do(e)
		}
		f.soaks()
		if f.landed() || f.seen.Now.Sub(in.Now) > farthest {
			break
		}
		f.advance()
	}
	return f.timeline()
}

type forecast struct {
	in     preview.Input
	pace   Pace
	state  reconciler.State
	seen   reconciler.Observed
	rows   map[string]*Row
	order  []string             // nodes as they are begun
	due    map[string]time.Time // when a node is done
	drains map[string]time.Time // when a node is empty
	lanes  map[string]*Lane
}

// rest is the fleet before the change: every node at the base.
func (f *forecast) rest() {
	in := f.in
	f.state = in.State
	f.seen = reconciler.Observed{
		Now: in.Now, Known: map[machine.Digest]machine.Config{}, Gate: in.Gate, Nodes: slices.Clone(in.Nodes), Guardrail: in.Guardrail,
		Head: reconciler.Head{Revision: source.Revision{Commit: in.Head}, Pools: in.After}, Holds: in.Holds, Facts: in.Facts, Self: in.Self,
	}
	maps.Copy(f.seen.Known, in.Known)
	for _, p := range slices.Concat(in.Before, in.After) {
		f.seen.Known[p.Target()] = p.Config
	}
	if f.state.Pools == nil {
		f.state.Generation, f.state.Pools = 1, map[string]reconciler.Pool{}
		for _, p := range in.Before {
			f.state.Pools[p.Name] = reconciler.Pool{
				Phase: reconciler.Updated, Target: p.Target(), Generation: 1, Revision: source.Revision{Commit: in.Base},
				Rules:   reconciler.Rules{Rollout: p.Policy, MaxUnavailable: p.Strategy.MaxUnavailable},
				History: []reconciler.Landing{{Commit: in.Base, Config: p.Target()}},
			}
		}
	}
	for i := range f.seen.Nodes {
		n := &f.seen.Nodes[i]
		if p, ok := poolIn(in.Before, n.Labels); ok && n.Order.Generation == 0 && n.Report.Config == "" {
			n.Order = nodeops.Order{Node: n.Name, Generation: 1, Config: p.Target()}
			n.Report = nodeops.Report{Generation: 1, Config: p.Target(), Phase: nodeops.Done}
		}
	}
	for _, p := range in.After {
		f.lanes[p.Name] = &Lane{Name: p.Name}
	}
	slices.SortFunc(f.seen.Nodes, func(a, b reconciler.Node) int { return strings.Compare(a.Name, b.Name) })
}

func (f *forecast) node(name string) *reconciler.Node {
	at, _ := slices.BinarySearchFunc(f.seen.Nodes, name, func(n reconciler.Node, name string) int { return strings.Compare(n.Name, name) })
	return &f.seen.Nodes[at]
}

// do is a machine that does as it is told, in its time.
func (f *forecast) do(e reconciler.Effect) {
	switch e := e.(type) {
	case reconciler.Drain:
		n := f.node(e.Node)
		if n.Cordon != reconciler.Ours {
			n.Cordon = reconciler.Ours
			f.drains[n.Name] = f.seen.Now.Add(f.pace.Drain)
			f.begin(n, impact.Drain)
		}
	case reconciler.Uncordon:
		n := f.node(e.Node)
		n.Cordon, n.Drained = reconciler.Uncordoned, false
		if r := f.rows[n.Name]; r != nil && r.To.IsZero() { // its window closed while it was emptied: it begins anew
			delete(f.drains, n.Name)
			delete(f.rows, n.Name)
			f.order = slices.DeleteFunc(f.order, func(name string) bool { return name == n.Name })
		}
	case reconciler.Send:
		n := f.node(e.Order.Node)
		n.Order = e.Order
		if n.Report.Config == e.Order.Config || e.Order.Ceiling == impact.Nothing || !n.Ready {
			if n.Ready {
				n.Report = nodeops.Report{Generation: e.Order.Generation, Config: e.Order.Config, Phase: nodeops.Done}
			}
			return
		}
		f.begin(n, e.Order.Ceiling)
		f.due[n.Name] = f.seen.Now.Add(f.pace.work(e.Order.Ceiling))
	case reconciler.Post:
		f.state = f.state.Heard(e.Status)
	}
}

func (f *forecast) begin(n *reconciler.Node, kind impact.Kind) {
	r := f.rows[n.Name]
	if r == nil {
		r = &Row{Node: n.Name, Zone: n.Labels[zone], From: f.seen.Now}
		f.rows[n.Name] = r
		f.order = append(f.order, n.Name)
	}
	r.Kind, r.Work = max(r.Kind, kind), f.seen.Now
}

// advance goes to the next moment at which something can change.
func (f *forecast) advance() {
	next := f.seen.Now.Add(30 * time.Second)
	busy := len(f.due)+len(f.drains) > 0
	for _, at := range f.due {
		next = sooner(next, at)
	}
	for _, at := range f.drains {
		next = sooner(next, at)
	}
	if !busy {
		next = f.leap(next)
	}
	f.seen.Now = next
	for name, at := range f.drains {
		if !at.After(next) {
			f.node(name).Drained = true
			delete(f.drains, name)
		}
	}
	for name, at := range f.due {
		if !at.After(next) {
			n := f.node(name)
			n.Report = nodeops.Report{Generation: n.Order.Generation, Config: n.Order.Config, Phase: nodeops.Done}
			f.rows[name].To = at
			delete(f.due, name)
		}
	}
}

func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// leap passes over a time in which every pool that has something left to do is closed.
func (f *forecast) leap(next time.Time) time.Time {
	var opens time.Time
	for _, p := range f.in.After {
		st := p.Policy.State(f.seen.Now)
		if p.Strategy.Paused || !f.moves(p.Name) {
			continue
		}
		if st.Open {
			return next
		}
		if !st.Next.IsZero() && (opens.IsZero() || st.Next.Before(opens)) {
			opens = st.Next
		}
	}
	if opens.IsZero() {
		return f.in.Now.Add(farthest + time.Second) // nothing will ever change
	}
	return opens
}

// moves says that a pool has something left to do that time alone may bring.
func (f *forecast) moves(pool string) bool {
	phase := f.state.Pools[pool].Phase
	return phase == reconciler.Progressing || phase == reconciler.Waiting
}

// soaks notes when a pool waits for nothing but time.
func (f *forecast) soaks() {
	at := map[string]bool{} // pools with a node that is away
	for i := range f.seen.Nodes {
		n := &f.seen.Nodes[i]
		_, works := f.due[n.Name]
		_, drains := f.drains[n.Name]
		if p, ok := poolIn(f.in.After, n.Labels); ok && (works || drains) {
			at[p.Name] = true
		}
	}
	for name, lane := range f.lanes {
		for _, w := range f.state.Pools[name].Waiting {
			if w.Check != "soak" && w.Check != "canary" || at[name] {
				continue
			}
			if n := len(lane.Soaks); n > 0 && f.seen.Now.Sub(lane.Soaks[n-1].To) <= 31*time.Second {
				lane.Soaks[n-1].To = f.seen.Now
			} else {
				lane.Soaks = append(lane.Soaks, Span{f.seen.Now, f.seen.Now, "soak"})
			}
		}
	}
}

func (f *forecast) landed() bool {
	if len(f.due)+len(f.drains) > 0 {
		return false
	}
	for _, p := range f.in.After {
		if f.moves(p.Name) {
			return false
		}
	}
	return true
}

func (f *forecast) timeline() Timeline {
	t := Timeline{Start: f.in.Now.UTC(), End: f.in.Now.UTC(), Finished: true}
	for _, name := range f.order {
		r := f.rows[name]
		p, ok := poolIn(f.in.After, f.node(name).Labels)
		if !ok || r.To.IsZero() {
			continue
		}
		lane := f.lanes[p.Name]
		if n := len(lane.Rows); n == 0 || !r.From.Equal(lane.Rows[n-1].From) {
			lane.Waves++
		}
		r.Wave = lane.Waves
		lane.Rows = append(lane.Rows, *r)
		if r.To.After(t.End) {
			t.End = r.To
		}
	}
	for _, p := range f.in.After {
		lane, st := f.lanes[p.Name], f.state.Pools[p.Name]
		lane.Nodes = st.Counts.Nodes
		if st.Phase != reconciler.Updated && st.Phase != reconciler.Degraded {
			t.Finished = false
			if st.Halt != "" {
				lane.Waiting = append(lane.Waiting, st.Halt)
			}
			for _, w := range st.Waiting {
				lane.Waiting = append(lane.Waiting, w.Reason)
			}
			if days := min(f.seen.Now.Sub(f.in.Now), farthest) / (24 * time.Hour); days > 0 && f.moves(p.Name) { // or steps ran out
				lane.Waiting = append(lane.Waiting, fmt.Sprintf("not within %d days", days))
			}
		}
		lane.Closed = closed(p, t.Start, t.End)
		t.Pools = append(t.Pools, *lane)
	}
	return t
}

// closed are the times in which the pool's policy lets nothing start.
func closed(p render.Pool, from, to time.Time) (out []Span) {
	for at := from; at.Before(to) && len(out) < 1000; {
		st := p.Policy.State(at)
		end := to
		if !st.Until.IsZero() && st.Until.Before(to) {
			end = st.Until
		}
		if !st.Open {
			out = append(out, Span{at, end, st.Reason})
		}
		at = end
	}
	return out
}
