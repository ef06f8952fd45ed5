package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
)

// ledger is what the world writes down for itself. Promises are judged by it: what Step remembers
// of its own doing proves nothing.
type ledger struct {
	inForce map[string]reconciler.Rules // pool -> the rules of the last commit that it landed, or that brought nothing else
	landed  map[string][]machine.Digest // pool -> what it has landed, newest last
	judged  map[string]string           // pool -> the commit that its head was when it was last looked at
	gone    []string                    // nodes that were deleted
	clocks  bool                        // the controller's clock has been wrong: what is timed by it proves nothing
}

// record is what the world writes down of one node.
type record struct {
	under    string           // the commit that was the head when it was given its order
	turn     bool             // it was begun, and has not landed since
	lost     loss             // what it last failed at
	landedAt time.Time        // when its config last changed
	rules    []policy.Rollout // those that its order was judged by; nil where they cannot be held against it
	boots    map[loss]uint64  // what it rebooted for, and under which generation
	idle     int              // ticks for which it was kept drained without cause
	meddled  bool             // somebody gave it work back that we had taken from it
	drain    draining         // while it is being emptied
	decided  int              // the tick in which its order was decided
	forgot   int              // the tick after which its agent lost its memory
}

// loss is one config under one commit.
type loss struct {
	commit string
	config machine.Digest
}

// account notes what has landed, from what the controller can see; what it now decides is next.
func (w *World) account(seen reconciler.Observed, next reconciler.State) {
	if w.judged == nil {
		w.judged = map[string]string{}
	}
	for _, p := range seen.Head.Pools {
		rules := reconciler.Rules{Rollout: p.Policy, MaxUnavailable: p.Strategy.MaxUnavailable}
		_, known := w.inForce[p.Name]
		whole, empty := true, true
		for _, n := range seen.Nodes {
			if q, ok := poolIn(seen.Head.Pools, n.Labels); ok && q.Name == p.Name {
				empty = false
				whole = whole && at(n, p.Target()) && n.Cordon != reconciler.Ours
			}
		}
		if empty && next.Pools[p.Name].Target != p.Target() {
			whole = false // nobody is there to land what was taken back; any other commit has landed when it is seen
		}
		unchanged := w.judged[p.Name] != seen.Head.Revision.Commit && w.State.Pools[p.Name].Target == p.Target()
		if !known || whole || unchanged {
			w.inForce[p.Name] = rules
		}
		if l := w.landed[p.Name]; whole && (len(l) == 0 || l[len(l)-1] != p.Target()) {
			w.landed[p.Name] = append(slices.Clone(l), p.Target())
		}
		w.judged[p.Name] = seen.Head.Revision.Commit
	}
	for name := range w.judged { // a pool that was taken away and put back is a new one
		if !slices.ContainsFunc(seen.Head.Pools, func(p render.Pool) bool { return p.Name == name }) {
			delete(w.judged, name)
			delete(w.inForce, name)
			delete(w.landed, name)
		}
	}
}

// at says that a node has come to a config, and is whole.
func at(n reconciler.Node, d machine.Digest) bool {
	return n.Order.Config == d && n.Order.Generation == n.Report.Generation && n.Report.Phase == nodeops.Done && n.Report.Config == d
}

// yard is the fleet at the moment of a decision: as it could be seen, and as it is.
type yard struct {
	seen  reconciler.Observed
	next  reconciler.State
	nodes map[string]reconciler.Node // as they could be seen
	crew  map[string][]*node
	pool  map[string]render.Pool // by node
	away  map[string]bool        // off work, or being taken there by what was judged before
	count map[string]int         // of those, by pool
	votes map[string]bool        // etcd's members, and whether each can be counted on
}

func (w *World) yard(seen reconciler.Observed, next reconciler.State) *yard {
	y := &yard{
		seen: seen, next: next, nodes: map[string]reconciler.Node{}, crew: map[string][]*node{},
		pool: map[string]render.Pool{}, away: map[string]bool{}, count: map[string]int{},
		votes: map[string]bool{},
	}
	for _, s := range seen.Nodes {
		y.nodes[s.Name] = s
		if votes(s) {
			y.votes[s.Name] = !w.offWork(w.node(s.Name), s)
		}
		p, ok := poolIn(seen.Head.Pools, s.Labels)
		if !ok {
			continue
		}
		n := w.node(s.Name)
		y.pool[s.Name], y.crew[p.Name] = p, append(y.crew[p.Name], n)
		if w.offWork(n, s) {
			y.away[s.Name] = true
			y.count[p.Name]++
		}
	}
	return y
}

// target is where the controller says that it takes a pool.
func (y *yard) target(p render.Pool) machine.Digest { return y.next.Pools[p.Name].Target }

// zoneBefore says that the first of two nodes is in an earlier zone; those of no zone come last.
func zoneBefore(a, b reconciler.Node) bool {
	its, mine := a.Labels[zone], b.Labels[zone]
	return its != "" && (mine == "" || its < mine)
}

// doneWith says that a node is at the target, or has failed at it within the budget, or was left out:
// nobody waits for it.
func (y *yard) doneWith(n *node, p render.Pool) bool {
	answered := n.Order.Config == y.target(p) && n.Order.Generation == n.Report.Generation && n.Report.Phase != nodeops.Working
	return answered && (n.Report.Phase != nodeops.Done || n.Report.Config == y.target(p)) || y.next.Pools[p.Name].Skipped[n.Name] != ""
}

// rules are those that a pool is held to: those in force, those of the head, and the operator's,
// which say nothing of maxUnavailable, nor of failures where they name no budget.
func (w *World) rules(p render.Pool) []reconciler.Rules {
	out := []reconciler.Rules{w.inForce[p.Name], {Rollout: p.Policy, MaxUnavailable: p.Strategy.MaxUnavailable}}
	if g := w.outside.guard; g != nil {
		own := *g
		if own.FailureBudget == nil {
			own.FailureBudget = &policy.FailureBudget{Nodes: "100%"}
		}
		out = append(out, reconciler.Rules{Rollout: own, MaxUnavailable: w.inForce[p.Name].MaxUnavailable})
	}
	return out
}

func (w *World) poolOf(labels map[string]string) (render.Pool, bool) {
	return poolIn(w.head.Pools, labels)
}

func poolIn(pools []render.Pool, labels map[string]string) (render.Pool, bool) {
	name, err := render.Member(pools, labels)
	at := slices.IndexFunc(pools, func(p render.Pool) bool { return p.Name == name })
	if err != nil || at < 0 {
		return render.Pool{}, false
	}
	return pools[at], true
}

// costs says whether an order would disturb a node.
func (w *World) costs(n *node, o nodeops.Order) bool {
	return impact.Diff(w.configs[n.Report.Config], w.configs[o.Config], o.Rules) != nil
}

// move gives a node other labels. Whom people move to another pool becomes what that is, also if it
// was that before under the same commit and left again: it went away and came back by their hand.
// What it goes down for from now on counts as ever.
func (w *World) move(n *node, labels map[string]string) {
	from, _ := w.poolOf(n.Labels)
	n.Labels = labels
	if to, ok := w.poolOf(labels); ok && to.Name != from.Name {
		maps.DeleteFunc(n.boots, func(l loss, _ uint64) bool {
			return l.config == to.Target() || l.config == w.State.Pools[to.Name].Target
		})
	}
}

// keepsToCeilings: what an order was said to cost is what it costs, from wherever the node was when
// that was decided. An agent that has lost its memory since then may cost more by its own reckoning;
// it refuses, as it should, and nothing is touched.
func (w *World) keepsToCeilings(n *node) {
	if n.decided > n.forgot {
		w.violate("%s was ordered to do worse than it was told: %s", n.Name, n.Report.Why)
	}
}

// lose notes what a node has failed at.
func (w *World) lose(n *node) { n.lost = loss{n.under, n.Order.Config} }
