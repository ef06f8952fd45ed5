package preview

import (
	"reflect"
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// world is the fleet on a virtual clock, in which every order is done at once and well.
type world struct {
	state reconciler.State
	seen  reconciler.Observed

	assumed int               // nodes that were put at the base
	member  map[string]string // node -> pool after the merge
	index   map[string]int    // node -> its place in seen.Nodes
	taken   map[string]bool   // nodes that are in a wave
}

// rest is the world as it is before the merge.
func rest(in Input) *world {
	w := &world{state: in.State, seen: reconciler.Observed{Now: in.Now, Known: map[machine.Digest]machine.Config{}, Rules: in.Rules, Gate: in.Gate}}
	for d, c := range in.Known {
		w.seen.Known[d] = c
	}
	for _, p := range slices.Concat(in.Before, in.After) {
		w.seen.Known[p.Target()] = p.Config
	}
	w.seen.Head = reconciler.Head{Revision: source.Revision{Commit: in.Head}, Pools: in.After}
	w.seen.Nodes = slices.Clone(in.Nodes)
	if w.state.Pools == nil {
		w.state.Generation, w.state.Pools = 1, map[string]reconciler.Pool{}
		for _, p := range in.Before {
			d := p.Target()
			w.state.Pools[p.Name] = reconciler.Pool{
				Phase: reconciler.Updated, Target: d, Generation: 1, Revision: source.Revision{Commit: in.MergeBase},
				Rules:   reconciler.Rules{Rollout: p.Policy, MaxUnavailable: p.Strategy.MaxUnavailable},
				History: []reconciler.Landing{{Commit: in.MergeBase, Config: d}},
			}
		}
	}
	w.member, w.index, w.taken = map[string]string{}, map[string]int{}, map[string]bool{}
	for i, n := range w.seen.Nodes {
		w.index[n.Name] = i
		if pool, err := render.Member(in.After, n.Labels); err == nil {
			w.member[n.Name] = pool
		}
		pool, err := render.Member(in.Before, n.Labels)
		if n.Order.Generation > 0 || n.Report.Config != "" || err != nil || pool == "" {
			continue
		}
		w.assumed++
		d := find(in.Before, pool).Target()
		w.seen.Nodes[i].Order = nodeops.Order{Node: n.Name, Generation: 1, Config: d}
		w.seen.Nodes[i].Report = nodeops.Report{Generation: 1, Config: d, Phase: nodeops.Done}
	}
	return w
}

// steps bounds a run: a fleet that needs more is continued by arithmetic, in the same order.
const steps = 400

// run lets the rollout happen and notes in the pools who is taken when.
func (w *world) run(pools []Pool) {
	start := w.seen.Now
	first := true
	for range steps {
		next, effects := reconciler.Step(w.state, w.seen)
		moved := !reflect.DeepEqual(w.state.Pools, next.Pools) // a pool may wait for what another has come to
		w.state = next
		if first {
			w.hold(pools)
			first = false
		}
		wave := map[string][]string{}
		for _, e := range effects {
			moved = w.do(e, wave) || moved
		}
		for i := range pools {
			if wave := wave[pools[i].Name]; len(wave) > 0 {
				if len(pools[i].Waves) == 0 && w.seen.Now.Sub(start) > time.Hour {
					pools[i].Start = w.seen.Now
				}
				pools[i].Waves = append(pools[i].Waves, wave)
			}
		}
		w.seen.Now = w.seen.Now.Add(time.Second)
		if !moved && !w.leap() {
			w.remain(pools, false)
			return
		}
	}
	w.remain(pools, true)
}

// hold notes what the gate says at the moment of the merge. That a wave waits for the one before
// it is no finding: it is the plan.
func (w *world) hold(pools []Pool) {
	for i := range pools {
		st := w.state.Pools[pools[i].Name]
		pools[i].RollbackOf = st.RollbackOf
		if st.Halt != "" {
			pools[i].Held = append(pools[i].Held, policy.Finding{Check: "halt", Outcome: policy.Deny, Reason: st.Halt})
		}
		for _, f := range st.Waiting {
			if f.Check != "maxUnavailable" || st.Phase == reconciler.Waiting {
				pools[i].Held = append(pools[i].Held, f)
			}
		}
		if pools[i].blocked != "" && st.Halt == "" {
			pools[i].Held = append(pools[i].Held, policy.Finding{Check: "inPlace", Outcome: policy.Deny,
				Reason: "pool " + pools[i].Name + ": " + pools[i].blocked + " cannot be changed in place"})
		}
	}
}

// do is a machine that always succeeds. It says whether anything moved, and notes in the wave the
// nodes that are taken now.
func (w *world) do(e reconciler.Effect, wave map[string][]string) bool {
	switch e := e.(type) {
	case reconciler.Drain:
		n := w.node(e.Node)
		w.take(n.Name, wave)
		n.Cordon, n.Drained = reconciler.Ours, true
	case reconciler.Uncordon:
		n := w.node(e.Node)
		n.Cordon, n.Drained = reconciler.Uncordoned, false
	case reconciler.Send:
		n := w.node(e.Order.Node)
		if n.Report.Config != e.Order.Config {
			w.take(n.Name, wave)
		}
		n.Order = e.Order
		if !n.Ready {
			return true // nobody is there to answer
		}
		n.Report = nodeops.Report{Generation: e.Order.Generation, Config: e.Order.Config, Phase: nodeops.Done}
	case reconciler.Post:
		w.state = w.state.Heard(e.Status)
		return false
	case reconciler.Remark:
		return false
	}
	return true
}

// take notes a node once: drained first, it gets its order a step later.
func (w *world) take(name string, wave map[string][]string) {
	if !w.taken[name] {
		w.taken[name] = true
		pool := w.member[name]
		wave[pool] = append(wave[pool], name)
	}
}

func (w *world) node(name string) *reconciler.Node {
	return &w.seen.Nodes[w.index[name]] // Step speaks of nodes that it was shown
}

// leap moves the clock to the next moment that a waiting pool waits for: a window opens, or a soak
// is over.
func (w *world) leap() bool {
	var next time.Time
	for _, p := range w.seen.Head.Pools {
		st := w.state.Pools[p.Name]
		for _, f := range st.Waiting {
			for _, r := range []policy.Rollout{p.Policy, st.Rules.Rollout} {
				if at := w.until(f.Check, r, st); !at.Before(w.seen.Now) && (next.IsZero() || at.Before(next)) {
					next = at
				}
			}
		}
	}
	if next.IsZero() {
		return false
	}
	w.seen.Now = next
	return true
}

// until is when what a check waits for will have come; in the past where that is no moment.
func (w *world) until(check string, r policy.Rollout, st reconciler.Pool) time.Time {
	switch {
	case check == "window":
		return r.State(w.seen.Now).Next
	case check == "soak":
		return over(st.LastAt, r.Soak)
	case check == "canary" && r.Canary != nil:
		return over(st.CanaryAt, r.Canary.Soak)
	}
	return time.Time{}
}

// over is when a soak that began then is over; zero where there is none.
func over(since time.Time, soak string) time.Time {
	d, err := time.ParseDuration(soak)
	if err != nil || since.IsZero() {
		return time.Time{}
	}
	return since.Add(d)
}

// remain puts the nodes that no wave has reached where they belong: behind the last wave when only
// the bound on steps ended the run, else among those that are left.
func (w *world) remain(pools []Pool, bounded bool) {
	for i := range pools {
		p := &pools[i]
		var left []string
		for _, n := range slices.SortedFunc(slices.Values(w.seen.Nodes), reconciler.Before) {
			if w.member[n.Name] == p.Name && n.Report.Config != w.state.Pools[p.Name].Target {
				left = append(left, n.Name)
			}
		}
		st := w.state.Pools[p.Name]
		if !bounded || st.Phase != reconciler.Progressing {
			p.Left = left
			continue
		}
		limit, err := policy.Limit(find(w.seen.Head.Pools, p.Name).Strategy.MaxUnavailable, st.Counts.Nodes)
		if err == nil {
			p.Waves = slices.AppendSeq(p.Waves, slices.Chunk(left, limit))
		}
	}
}
