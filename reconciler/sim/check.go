package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// judge holds what was decided against the world as it is, one promise after the other.
func (w *World) judge(seen reconciler.Observed, next reconciler.State, effects []reconciler.Effect) {
	y := w.yard(seen, next)
	for _, e := range effects {
		if post, ok := e.(reconciler.Post); ok {
			w.successIsTrue(y, post.Status)
			continue
		}
		w.onlyTheLivingAreMoved(y, e)
		w.theUnheardAreLeftAlone(y, e)
		w.foreignCordonsStay(y, e)
		w.emptyBeforeItReboots(e)
		w.neverToWhatNobodyAsked(y, e)
		w.forceIsAgreed(y, e)
		name, disturbs := w.disturbs(e)
		n := w.node(name)
		p, ok := y.pool[name]
		if ok {
			w.remembersTheWindow(n, p, e)
		}
		if !disturbs || !ok {
			continue
		}
		w.pausesHold(n, p)
		w.holdsHold(y, n, p)
		w.peopleHaveAgreed(y, n, p)
		w.poisonStops(y, n, p)
		if toRepair(n) {
			continue // a repair waits for nothing but a person's stop
		}
		w.rewoundHeadsWait(n)
		w.gatesHold(y, n, p)
		w.previewsMatch(y, n, p, e)
		w.quorumHolds(y, n)
		w.windowsHold(y, n, p, e)
		w.driftHolds(y, n)
		if y.away[name] {
			n.turn = true
			continue // it takes no slot, and keeps its turn
		}
		if !n.turn || n.Report.Generation == n.Order.Generation && n.Report.Phase != nodeops.Working {
			for _, r := range w.asItComes(y, y.nodes[name], p) {
				w.zonesKeepTheirOrder(y, n, p, r.Rollout)
				w.canariesGoFirst(y, n, p, r.Rollout)
				w.soaksHold(y, n, p, r.Rollout)
				w.poolsKeepTheirOrder(y, n, p, r.Rollout)
			}
		}
		n.turn, y.away[name] = true, true
		y.count[p.Name]++
		w.budgetHolds(y, n, p)
	}
	w.theDeletedHoldNothing(next)
	w.drainsEnd(y)
	w.nodesAreLeftOutInTime(y)
}

// toRepair says that a node has failed an order, and is not whole.
func toRepair(n *node) bool {
	return n.Report.Phase == nodeops.Failed && n.Report.Generation == n.Order.Generation
}

// disturbs says which node an effect takes from its work, if any.
func (w *World) disturbs(e reconciler.Effect) (string, bool) {
	switch e := e.(type) {
	case reconciler.Drain:
		return e.Node, true
	case reconciler.Send:
		n := w.node(e.Order.Node)
		return n.Name, w.costs(n, e.Order)
	}
	return "", false
}

// budgetHolds (I1): no node is taken beyond maxUnavailable; those that others took away count.
func (w *World) budgetHolds(y *yard, n *node, p render.Pool) {
	for _, r := range w.rules(p) {
		limit, err := policy.Limit(r.MaxUnavailable, len(y.crew[p.Name]))
		if err != nil || y.count[p.Name] > limit {
			w.violate("%s was taken as number %d of at most %d unavailable in pool %s", n.Name, y.count[p.Name], limit, p.Name)
			return
		}
	}
}

// windowsHold (I3): nothing is begun outside the windows, by the controller's clock, and the order
// says when its time is over.
func (w *World) windowsHold(y *yard, n *node, p render.Pool, e reconciler.Effect) {
	for _, r := range w.rules(p) {
		st := r.Rollout.State(y.seen.Now)
		if !st.Open {
			w.violate("%s was begun outside the windows of pool %s", n.Name, p.Name)
			return
		}
		if send, ok := e.(reconciler.Send); ok && !st.Until.IsZero() && (send.Order.NotAfter.IsZero() || send.Order.NotAfter.After(st.Until)) {
			w.violate("%s was given until %v, and the window of pool %s ends at %v", n.Name, send.Order.NotAfter, p.Name, st.Until)
		}
	}
}

// remembersTheWindow notes the rules that an order is judged by, also where the order looks as if
// it cost nothing: the node may be on the way to something else, from where it does.
func (w *World) remembersTheWindow(n *node, p render.Pool, e reconciler.Effect) {
	if _, ok := e.(reconciler.Send); !ok {
		return
	}
	n.rules = nil
	if w.skew != 0 || toRepair(n) {
		return
	}
	for _, r := range w.rules(p) {
		n.rules = append(n.rules, r.Rollout)
	}
}

// nodesBeginInTime (I3, I12) is asked when the node itself begins, by the true clock: the order may
// have been on its way for long. It holds while the controller's clock was right when it ordered.
func (w *World) nodesBeginInTime(n *node) {
	for _, r := range n.rules {
		if !r.State(w.Now).Open && !r.State(w.Now.Add(-time.Second)).Open { // the last moment counts
			w.violate("%s began its order outside the window that it was given for", n.Name)
			return
		}
	}
}

// pausesHold: a person's stop stops everything but what gives nodes back.
func (w *World) pausesHold(n *node, p render.Pool) {
	if p.Strategy.Paused {
		w.violate("%s was taken while pool %s is paused", n.Name, p.Name)
	}
}

// driftHolds: a node that somebody has changed is not disturbed.
func (w *World) driftHolds(y *yard, n *node) {
	if len(y.nodes[n.Name].Report.Drift) > 0 {
		w.violate("%s was taken although it has drifted", n.Name)
	}
}

// zonesKeepTheirOrder: a barrier is a barrier, and no zone has more away than it may.
func (w *World) zonesKeepTheirOrder(y *yard, n *node, p render.Pool, r policy.Rollout) {
	if r.Order == nil {
		return
	}
	mine := y.nodes[n.Name].Labels[zone]
	sameZone, earlier := 0, ""
	for _, other := range y.crew[p.Name] {
		its := y.nodes[other.Name].Labels[zone]
		if its == mine && y.away[other.Name] {
			sameZone++
		}
		own := other.Name == w.outside.self // the controller's own comes last, wherever it is
		if !own && zoneBefore(y.nodes[other.Name], y.nodes[n.Name]) && other.Report.Config != y.target(p) && !y.doneWith(other, p) {
			earlier = other.Name
		}
	}
	if r.Order.Zones == "barrier" && earlier != "" && !isCanary(y.nodes[n.Name], r) {
		w.violate("%s was begun in zone %s before %s was done", n.Name, mine, earlier)
	}
	if most := r.Order.MaxUnavailablePerZone; most > 0 && sameZone >= most {
		w.violate("%s was begun as number %d of zone %s", n.Name, sameZone+1, mine)
	}
}

const zone = "topology.kubernetes.io/zone"

func isCanary(n reconciler.Node, r policy.Rollout) bool {
	if r.Canary == nil || len(r.Canary.Labels) == 0 {
		return false
	}
	for key, value := range r.Canary.Labels {
		if n.Labels[key] != value {
			return false
		}
	}
	return true
}

// canariesGoFirst: while they are not at the target, nobody else is begun.
func (w *World) canariesGoFirst(y *yard, n *node, p render.Pool, r policy.Rollout) {
	if r.Canary == nil || isCanary(y.nodes[n.Name], r) {
		return
	}
	target := y.target(p)
	first, err := policy.Limit(r.Canary.Nodes, len(y.crew[p.Name]))
	reached, begun := 0, 0
	for _, other := range y.crew[p.Name] {
		there := at(other.Node, target)
		if there {
			reached++
		}
		if there || other != n && other.Order.Config == target && other.Report.Generation < other.Order.Generation {
			begun++
		}
		if isCanary(y.nodes[other.Name], r) && !there {
			w.violate("%s was begun before the canary %s was done", n.Name, other.Name)
			return
		}
	}
	if len(r.Canary.Labels) == 0 && err == nil && reached < first && begun >= first {
		w.violate("%s was begun while %d of %d canaries are done", n.Name, reached, first)
	}
}

// soaksHold: between two nodes lies the time that the policy asks for, where clocks were right.
func (w *World) soaksHold(y *yard, n *node, p render.Pool, r policy.Rollout) {
	rest, err := time.ParseDuration(r.Soak)
	if err != nil || w.clocks {
		return
	}
	target, attempt := y.target(p), y.next.Pools[p.Name].Generation
	for _, other := range y.crew[p.Name] {
		if at(other.Node, target) && other.Order.Generation >= attempt && w.Now.Sub(other.landedAt) < rest {
			w.violate("%s was begun while %s soaks", n.Name, other.Name)
			return
		}
	}
}

// poolsKeepTheirOrder: a pool that comes after another waits until that has the commit's content.
func (w *World) poolsKeepTheirOrder(y *yard, n *node, p render.Pool, r policy.Rollout) {
	if r.Order == nil || slices.Contains(r.Order.After, p.Name) { // a guardrail is every pool's, also of those that it names
		return
	}
	for _, q := range y.seen.Head.Pools {
		if !slices.Contains(r.Order.After, q.Name) {
			continue
		}
		for _, other := range y.crew[q.Name] {
			if !at(other.Node, q.Target()) {
				w.violate("%s was begun before %s of pool %s was done", n.Name, other.Name, q.Name)
				return
			}
		}
	}
}

// emptyBeforeItReboots: nobody's work is on a node that is ordered to go away.
func (w *World) emptyBeforeItReboots(e reconciler.Effect) {
	if send, ok := e.(reconciler.Send); ok && impact.Drains(send.Order.Ceiling) && !w.node(send.Order.Node).Drained {
		w.violate("%s was ordered to reboot while it has work", send.Order.Node)
	}
}

// poisonStops (I7): as soon as as many nodes have failed at a target as the failure budget has, no
// other node is given it under this commit.
func (w *World) poisonStops(y *yard, n *node, p render.Pool) {
	cause := loss{y.seen.Head.Revision.Commit, y.target(p)}
	failed := 0
	for _, other := range y.crew[p.Name] {
		broken := other.Report.Phase == nodeops.Failed || other.Report.Phase == nodeops.Restored || other.Report.Phase == nodeops.Refused
		if other != n && broken && other.lost == cause && other.Order.Config == cause.config && other.Report.Generation == other.Order.Generation {
			failed++
		}
	}
	for _, r := range w.rules(p) {
		if most := r.Rollout.Stops(len(y.crew[p.Name])); failed >= most {
			w.violate("%s was taken to what had cost pool %s %d nodes of at most %d", n.Name, p.Name, failed, most)
			return
		}
	}
}

// rebootsOnce (I9, I17): for one commit and one config a node goes down once.
func (w *World) rebootsOnce(n *node) {
	cause := loss{n.under, n.Order.Config}
	before, again := n.boots[cause]
	if again && before != n.Order.Generation {
		w.violate("%s rebooted twice for one commit, %s", n.Name, n.under)
	}
	if n.boots == nil {
		n.boots = map[loss]uint64{}
	}
	n.boots[cause] = n.Order.Generation
}

// foreignCordonsStay (I11): what somebody else has cordoned is neither taken nor given back.
func (w *World) foreignCordonsStay(y *yard, e reconciler.Effect) {
	if n := y.nodes[about(e)]; n.Cordon == reconciler.Foreign {
		if _, back := e.(reconciler.Uncordon); back {
			w.violate("%s was uncordoned although somebody else has cordoned it", n.Name)
		} else if _, disturbs := w.disturbs(e); disturbs {
			w.violate("%s was taken although somebody else has cordoned it", n.Name)
		}
	}
}

// ourCordonsEnd (I11): nobody stays drained without cause.
func (w *World) ourCordonsEnd() {
	for _, n := range w.nodes {
		settled := n.Cordon == reconciler.Ours && n.Order.Generation == n.Report.Generation && n.Report.Phase.Whole()
		switch {
		case w.apiAway || len(w.pending) > 0: // nobody could release it
		case settled && !n.dead && !n.silent && n.Blocked == "":
			n.idle++
		default:
			n.idle = 0
		}
		if n.idle == patience {
			w.violate("%s is kept drained for %v without cause", n.Name, patience*Period)
		}
	}
}

// patience is how many ticks a node may stay drained without cause: a few get lost to faults.
const patience = 40

// onlyTheLivingAreMoved (I8): an effect is for a node that could be seen.
func (w *World) onlyTheLivingAreMoved(y *yard, e reconciler.Effect) {
	if _, ok := y.nodes[about(e)]; !ok && about(e) != "forge" {
		w.violate("%s was disturbed, and there is no such node", about(e))
	}
}

// theDeletedHoldNothing (I8): the slot of a node is free as soon as the node is.
func (w *World) theDeletedHoldNothing(next reconciler.State) {
	for name, p := range next.Pools {
		for _, gone := range w.gone {
			for _, f := range p.Waiting {
				if strings.Contains(f.Reason, gone+" (") {
					w.violate("pool %s waits for %s, which was deleted: %s", name, gone, f.Reason)
				}
			}
		}
	}
}

// neverToWhatNobodyAsked (I20): an order is for the head, or for what the pool had landed before:
// nothing older returns by itself.
func (w *World) neverToWhatNobodyAsked(y *yard, e reconciler.Effect) {
	send, ok := e.(reconciler.Send)
	p, member := y.pool[about(e)]
	if !ok || !member || send.Order.Config == p.Target() {
		return
	}
	landed := w.landed[p.Name]
	if len(landed) == 0 || landed[len(landed)-1] != send.Order.Config {
		w.violate("%s was ordered to %s, which is neither the head nor what pool %s had", about(e), w.name(send.Order.Config), p.Name)
	}
}

// successIsTrue (I6): what the forge calls a success is what every node of the pool is.
func (w *World) successIsTrue(y *yard, st source.Status) {
	if st.State != source.Success || st.Commit != y.seen.Head.Revision.Commit {
		return
	}
	for _, n := range y.crew[st.Pool] {
		if p := y.pool[n.Name]; !at(n.Node, p.Target()) || n.Cordon == reconciler.Ours {
			w.violate("%s/%s was called a success while %s is %s at %s", st.Commit, st.Pool, n.Name, n.Report.Phase, w.name(n.Report.Config))
		}
	}
}

// check holds the world itself against the promises, at the end of each tick.
func (w *World) check() { w.ourCordonsEnd() }

// Settled says that the fleet is what the head asks, and that the forge says so.
func (w *World) Settled() (bool, string) {
	for _, n := range w.nodes {
		p, ok := w.poolOf(n.Labels)
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
