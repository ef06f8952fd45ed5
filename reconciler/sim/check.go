package sim

import (
	"strings"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
)

// patience is how many ticks a node may stay drained without cause: a few get lost to faults.
const patience = 40

// judge holds the decided effects against the world as it is: budgets, windows and pauses. It
// counts for itself and asks Step nothing.
func (w *World) judge(seen reconciler.Observed, effects []reconciler.Effect) {
	away := map[string]bool{}
	pool := map[string]render.Pool{}
	size := map[string]int{}
	gone := map[string]int{}
	for _, n := range w.nodes {
		p, ok := w.poolOf(n)
		if !ok {
			continue
		}
		pool[n.Name] = p
		size[p.Name]++
		if offWork(n) {
			away[n.Name] = true
			gone[p.Name]++
		}
	}
	for _, e := range effects {
		name, disturbs := starts(e, w)
		n := w.node(name)
		p, ok := pool[name]
		if !disturbs || !ok {
			continue
		}
		if n.Cordon == reconciler.Foreign {
			w.violate("%s was taken although somebody else has cordoned it", name)
		}
		w.judgeDrain(e, n)
		if n.Report.Phase == nodeops.Failed && n.Report.Generation == n.Order.Generation {
			continue // a repair waits for nothing but a pause
		}
		if p.Strategy.Paused {
			w.violate("%s was started while pool %s is paused", name, p.Name)
		}
		if st := p.Policy.State(seen.Now); !st.Open {
			w.violate("%s was started outside the windows of pool %s", name, p.Name)
		}
		if away[name] {
			continue
		}
		away[name], n.sound = true, true
		gone[p.Name]++
		if limit, err := policy.Limit(p.Strategy.MaxUnavailable, size[p.Name]); err != nil || gone[p.Name] > limit {
			w.violate("%s was started as number %d of at most %d unavailable in pool %s", name, gone[p.Name], limit, p.Name)
		}
	}
}

// judgeDrain wants a node empty before it is ordered to reboot.
func (w *World) judgeDrain(e reconciler.Effect, n *node) {
	if send, ok := e.(reconciler.Send); ok && impact.Drains(send.Order.Ceiling) && !n.Drained {
		w.violate("%s was ordered to reboot while it has work", n.Name)
	}
}

// starts says which node an effect disturbs, if any.
func starts(e reconciler.Effect, w *World) (string, bool) {
	switch e := e.(type) {
	case reconciler.Drain:
		return e.Node, true
	case reconciler.Send:
		n := w.node(e.Order.Node)
		return n.Name, impact.Diff(w.configs[n.Report.Config], w.configs[e.Order.Config], nil) != nil
	case reconciler.Uncordon, reconciler.Post, reconciler.Remark:
	}
	return "", false
}

func offWork(n *node) bool {
	return !n.Ready || n.dead || n.Cordon != reconciler.Uncordoned || n.Order.Generation != n.Report.Generation || !n.Report.Phase.Whole()
}

func (w *World) poolOf(n *node) (render.Pool, bool) {
	name, err := render.Member(w.head.Pools, n.Labels)
	if err != nil {
		return render.Pool{}, false
	}
	for _, p := range w.head.Pools {
		if p.Name == name {
			return p, true
		}
	}
	return render.Pool{}, false
}

// check holds the world itself against the promises, at the end of each tick.
func (w *World) check() {
	for _, n := range w.nodes {
		settled := n.Cordon == reconciler.Ours && n.Order.Generation == n.Report.Generation && n.Report.Phase.Whole()
		if settled && !n.dead && !n.silent {
			w.idle[n.Name]++
		} else {
			w.idle[n.Name] = 0
		}
		if w.idle[n.Name] == patience {
			w.violate("%s is kept drained for %v without cause", n.Name, patience*Period)
		}
	}
	for generation, lost := range w.ill {
		for _, p := range w.head.Pools {
			limit, err := policy.Limit(p.Strategy.MaxUnavailable, len(w.nodes))
			if st := w.State.Pools[p.Name]; err == nil && st.Generation == generation && len(lost) > limit {
				w.violate("attempt %d of pool %s went on after it had cost %d nodes", generation, p.Name, len(lost))
				delete(w.ill, generation)
			}
		}
	}
}

// Settled says that the fleet is what the head asks, and that the forge says so.
func (w *World) Settled() (bool, string) {
	for _, n := range w.nodes {
		p, ok := w.poolOf(n)
		if !ok {
			continue
		}
		if n.Report.Config != p.Target() || n.Report.Phase != nodeops.Done || n.Cordon == reconciler.Ours {
			return false, n.Name + " is " + string(n.Report.Phase) + " at " + w.name(n.Report.Config) + ", cordon " + string(n.Cordon)
		}
	}
	for _, commit := range w.pushed {
		for _, p := range w.head.Pools {
			st, ok := w.Shown[commit+"/"+p.Name]
			if ok && !st.State.Terminal() || !ok && commit == w.head.Revision.Commit {
				return false, "the forge shows " + strings.TrimSpace(commit+"/"+p.Name+" "+string(st.State)+" "+st.Summary)
			}
		}
	}
	return true, ""
}
