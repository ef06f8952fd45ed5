package sim

import (
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/machine"
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
		if w.offWork(n) {
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
			n.sound = n.sound && n.Ready // what was down when it was begun has nothing to lose
			continue
		}
		if b, ok := w.State.Pools[p.Name].Begun[name]; !ok || b.At.Equal(seen.Now) { // else it has had its turn
			w.judgeOrder(p, n, away)
		}
		away[name], n.sound = true, true
		gone[p.Name]++
		if limit, err := policy.Limit(p.Strategy.MaxUnavailable, size[p.Name]); err != nil || gone[p.Name] > limit {
			w.violate("%s was started as number %d of at most %d unavailable in pool %s", name, gone[p.Name], limit, p.Name)
		}
	}
}

// judgeOrder holds a node that is begun against the order that the policy asks for.
func (w *World) judgeOrder(p render.Pool, n *node, away map[string]bool) {
	zone, o := n.Labels["topology.kubernetes.io/zone"], p.Policy.Order
	target := w.State.Pools[p.Name].Target
	sameZone, earlier := 0, ""
	for _, other := range w.nodes {
		if q, ok := w.poolOf(other); !ok || q.Name != p.Name {
			continue
		}
		z := other.Labels["topology.kubernetes.io/zone"]
		if z == zone && away[other.Name] {
			sameZone++
		}
		failed := other.Order.Config == target && other.Order.Generation == other.Report.Generation && other.Report.Phase != nodeops.Done && other.Report.Phase != nodeops.Working
		if z < zone && other.Report.Config != target && !failed { // a failure within the budget holds no zone
			earlier = other.Name
		}
	}
	canary := p.Policy.Canary != nil && p.Policy.Canary.Labels["topology.kubernetes.io/zone"] == zone
	if o != nil && o.Zones == "barrier" && earlier != "" && !canary {
		w.violate("%s was begun in zone %s before %s was done", n.Name, zone, earlier)
	}
	if o != nil && o.MaxUnavailablePerZone > 0 && sameZone >= o.MaxUnavailablePerZone {
		w.violate("%s was begun as number %d of zone %s", n.Name, sameZone+1, zone)
	}
	if p.Policy.Soak != "" && w.Now.Sub(w.State.Pools[p.Name].LastAt) < time.Minute {
		w.violate("%s was begun while the last node soaks", n.Name)
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

// offWork is the truth, which the controller can only infer: a node that is told to stay as it is
// goes on working, unless it is changing for an order that came before.
func (w *World) offWork(n *node) bool {
	changes := func(to machine.Digest) bool {
		return impact.Diff(w.configs[n.Report.Config], w.configs[to], nil) != nil
	}
	heard := n.Order.Generation == n.Report.Generation
	return !n.Ready || n.dead || n.Cordon != reconciler.Uncordoned || n.Report.Phase == nodeops.Failed ||
		n.work > 0 && changes(n.taken.Config) || !heard && changes(n.Order.Config)
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
			most := limit + p.Policy.Stops(len(w.nodes)) - 1 // those that were under way at the last straw
			if st := w.State.Pools[p.Name]; err == nil && st.Generation == generation && len(lost) > most {
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
