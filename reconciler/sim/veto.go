package sim

import (
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
)

// holdsHold: under an operator's hold nothing begins, not even a repair.
func (w *World) holdsHold(y *yard, n *node, p render.Pool) {
	for _, h := range w.outside.holds {
		over := !h.Until.IsZero() && !y.seen.Now.Before(h.Until)
		if (h.Pool == "" || h.Pool == p.Name) && !over {
			w.violate("%s was taken under the hold of %s", n.Name, h.By)
			return
		}
	}
}

// rewoundHeadsWait (I20): while the branch does not descend from what is in force, nothing begins,
// for neither.
func (w *World) rewoundHeadsWait(n *node) {
	if w.outside.rewound != nil {
		w.violate("%s was taken while the branch was rewritten and nobody had allowed it", n.Name)
	}
}

// peopleHaveAgreed: nothing begins for a commit that fewer have approved than must, or that no
// trusted key has signed. To go back to what had passed needs nobody.
func (w *World) peopleHaveAgreed(y *yard, n *node, p render.Pool) {
	if y.target(p) != p.Target() {
		return
	}
	commit, people := y.seen.Head.Revision.Commit, map[string]bool{}
	if r := w.outside.reviews[commit]; r != nil {
		for _, a := range r.Approvals {
			people[a.By] = a.By != r.Author
		}
	}
	yes := 0
	for _, counts := range people {
		if counts {
			yes++
		}
	}
	key := w.outside.signed[commit]
	for _, r := range w.rules(p) {
		if a := r.Rollout.Approvals; a != nil && yes < a.Count {
			w.violate("%s was taken for a commit with %d of %d approvals", n.Name, yes, a.Count)
			return
		}
		if r.Rollout.Signed && (key == nil || key.By == "") {
			w.violate("%s was taken for a commit that nobody has signed", n.Name)
			return
		}
	}
}

// gatesHold: while a health gate is closed, or nobody answers, nothing begins. What was begun goes
// on, what an attempt brought down is reached, and a pool goes back without asking.
func (w *World) gatesHold(y *yard, n *node, p render.Pool) {
	seen := y.nodes[n.Name]
	begun := seen.Cordon == reconciler.Ours || underWay(n) && (n.turn || y.away[n.Name])
	landed := w.landed[p.Name]
	fell := !seen.Ready && n.Order.Generation > 0 && (len(landed) == 0 || n.Order.Config != landed[len(landed)-1])
	if begun || fell || y.target(p) != p.Target() {
		return
	}
	for _, r := range w.rules(p) {
		for _, g := range r.Rollout.Health {
			if g.Expression != "" {
				if open := expressions[g.Expression]; !open(w, y) {
					w.violate("%s was begun while %s was not true", n.Name, g.Expression)
					return
				}
				continue
			}
			if g.Nodes == "" && w.outside.sick != "ok" {
				w.violate("%s was begun while a health gate was closed", n.Name)
				return
			}
			if g.Nodes == "" {
				continue
			}
			for _, other := range y.crew[p.Name] {
				if at(other.Node, p.Target()) && !y.nodes[other.Name].Ready {
					w.violate("%s was begun while %s is at the target and not ready", n.Name, other.Name)
					return
				}
			}
		}
	}
}

// expressions are gates that worlds ask for, and what each comes to, said a second time. One of them
// cannot be evaluated now and then, which is a no, and one asks for what nobody may have answered.
var expressions = map[string]func(w *World, y *yard) bool{
	"now.getMinutes() % 10 < 7":       func(_ *World, y *yard) bool { return y.seen.Now.Minute()%10 < 7 },
	"10 / (now.getMinutes() % 5) > 0": func(_ *World, y *yard) bool { return y.seen.Now.Minute()%5 != 0 },
	"probes['shop'].healthy":          func(w *World, _ *yard) bool { return w.outside.sick == "ok" },
	"revision.signedBy in ['ann', 'eve']": func(w *World, y *yard) bool {
		s := w.outside.signed[y.seen.Head.Revision.Commit]
		return s != nil && s.By == "ann"
	},
}

// previewsMatch: no node pays more than its pool's preview said, nor anything without a preview,
// where that is asked for. To go back to what had passed needs none.
func (w *World) previewsMatch(y *yard, n *node, p render.Pool, e reconciler.Effect) {
	if y.target(p) != p.Target() {
		return
	}
	cost := impact.Drain // the least that a drain is for
	if send, ok := e.(reconciler.Send); ok {
		cost = impact.Worst(impact.Diff(w.configs[n.Report.Config], w.configs[send.Order.Config], send.Order.Rules))
	}
	said, shown := w.outside.shown[y.seen.Head.Revision.Commit]
	for _, r := range w.rules(p) {
		if r.Rollout.RequirePreviewMatch && (!shown || cost > said[p.Name]) {
			w.violate("%s was taken at the cost of a %s, and its preview had said %s", n.Name, cost, said[p.Name])
			return
		}
	}
}

// underWay says that a node has an order that it has not answered, or works on one.
func underWay(n *node) bool {
	return n.Order.Generation > n.Report.Generation || n.Report.Phase == nodeops.Working
}

// quorumHolds (I2): of etcd's members that are up, none is taken that leaves no majority. Where there
// is none to lose, one member at a time may still go.
func (w *World) quorumHolds(y *yard, n *node) {
	if up := y.votes[n.Name]; !up && !y.nodes[n.Name].Ready {
		return // nobody counts on it
	}
	if _, member := y.votes[n.Name]; !member {
		return
	}
	y.votes[n.Name] = false
	up, down := 0, 0
	for _, counts := range y.votes {
		if counts {
			up++
		} else {
			down++
		}
	}
	if up < len(y.votes)/2+1 && down > 1 {
		w.violate("%s was taken, and left %d of %d members of etcd", n.Name, up, len(y.votes))
	}
}

// votes says that a node carries a member of etcd.
func votes(n reconciler.Node) bool {
	_, plane := n.Labels[role("control-plane")]
	_, master := n.Labels[role("master")]
	return plane || master
}

// draining is a node that is being emptied. Times are by the controller's clock.
type draining struct {
	first time.Time // when that was first asked for
	since time.Time // since when nothing but its pods stands in the way
	pool  string
	late  int // turns for which it has lasted too long
}

// forceIsAgreed: a pod that may not be evicted is deleted only where everybody who has a word in it
// says so, and not before the drain's time is over.
func (w *World) forceIsAgreed(y *yard, e reconciler.Effect) {
	d, ok := e.(reconciler.Drain)
	if !ok {
		return
	}
	n, p := w.node(d.Node), y.pool[d.Node]
	if y.nodes[n.Name].Cordon != reconciler.Ours {
		n.drain.first = y.seen.Now
	}
	if !d.Force {
		return
	}
	word, least := w.afterDrain(p)
	if word != "force" {
		w.violate("%s was emptied by force, and not everybody had agreed", n.Name)
	}
	if took := y.seen.Now.Sub(n.drain.first); !w.clocks && took < least {
		w.violate("%s was emptied by force after %v of %v", n.Name, took, least)
	}
}

// nodesAreLeftOutInTime: a pool goes on without a node only where everybody who has a word in it
// agrees to that, and not before the node's drain has had its time.
func (w *World) nodesAreLeftOutInTime(y *yard) {
	for _, p := range y.seen.Head.Pools {
		for _, n := range y.crew[p.Name] {
			if y.next.Pools[p.Name].Skipped[n.Name] == "" || w.State.Pools[p.Name].Skipped[n.Name] != "" {
				continue
			}
			word, least := w.afterDrain(p)
			if word != "skipNode" {
				w.violate("%s was left out, and not everybody had agreed", n.Name)
			}
			if took := y.seen.Now.Sub(n.drain.first); !w.clocks && took < least {
				w.violate("%s was left out after %v of %v", n.Name, took, least)
			}
		}
	}
}

// afterDrain is the most careful word for what follows a drain that does not end, and the shortest
// time that anybody gives it.
func (w *World) afterDrain(p render.Pool) (word string, least time.Duration) {
	word, least = "force", lasts(w.inForce[p.Name].Rollout.Drain)
	for i, r := range w.rules(p) {
		drain := r.Rollout.Drain
		switch {
		case drain == nil && i == 2: // the operator leaves it to the repository
			continue
		case drain == nil || drain.OnTimeout == "" || drain.OnTimeout == "halt":
			word = "halt"
		case drain.OnTimeout == "skipNode" && word == "force":
			word = "skipNode"
		}
		least = min(least, lasts(drain))
	}
	return word, least
}

// drainsEnd: a node that cannot be emptied is given back when its time is over, or emptied by force.
// It is judged where clocks were right.
func (w *World) drainsEnd(y *yard) {
	for _, seen := range y.seen.Nodes {
		n, p := w.node(seen.Name), y.pool[seen.Name]
		settled := n.Order.Generation == n.Report.Generation && n.Report.Phase.Whole()
		if seen.Cordon != reconciler.Ours || seen.Drained || !seen.Ready || !settled || n.drain.pool != p.Name {
			n.drain.since, n.drain.pool = y.seen.Now, p.Name
		}
		longest := lasts(p.Policy.Drain)
		longest = max(longest, lasts(w.inForce[p.Name].Rollout.Drain))
		if y.seen.Now.Sub(n.drain.since) <= longest || w.clocks {
			n.drain.late = 0
			continue
		}
		if n.drain.late++; n.drain.late == patience {
			w.violate("%s is being drained since %v", n.Name, y.seen.Now.Sub(n.drain.since))
		}
	}
}

// lasts is how long a drain may take.
func lasts(d *policy.Drain) time.Duration {
	if d == nil || d.Timeout == "" {
		return 30 * time.Minute
	}
	t, err := time.ParseDuration(d.Timeout)
	if err != nil {
		panic(err) // a script's policy was read before
	}
	return t
}

// asItComes are the rules of order for one node: who is a canary by stronger ones is held back by
// neither the canaries nor the barrier of weaker ones. The operator's are the strongest, and those
// in force are stronger than the head's. A canary of weaker ones is not held back by a barrier, as
// long as it keeps to the zones among its like: still one zone is disturbed after the other.
func (w *World) asItComes(y *yard, n reconciler.Node, p render.Pool) []reconciler.Rules {
	rules := w.rules(p)
	strength := []int{1, 0, 2} // in force, of the head, the operator's
	canary := func(i int) bool { return i < len(rules) && isCanary(n, rules[i].Rollout) }
	out := slices.Clone(rules)
	for i, r := range rules {
		free := false
		for j := range rules {
			switch {
			case j == i || !canary(j):
			case strength[j] > strength[i]:
				free, out[i].Rollout.Canary = true, nil
			case strength[j] < strength[i]:
				free = free || w.firstOfItsLike(y, n, p, rules[j].Rollout)
			}
		}
		if o := r.Rollout.Order; free && o != nil {
			own := *o
			own.Zones = ""
			out[i].Rollout.Order = &own
		}
	}
	return out
}

// firstOfItsLike says that no canary of some rules is to go in a zone before the node's.
func (w *World) firstOfItsLike(y *yard, n reconciler.Node, p render.Pool, r policy.Rollout) bool {
	return !slices.ContainsFunc(y.crew[p.Name], func(other *node) bool {
		seen := y.nodes[other.Name]
		return other.Name != w.outside.self && isCanary(seen, r) && zoneBefore(seen, n) && !y.doneWith(other, p)
	})
}
