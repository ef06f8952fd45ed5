package sim

import (
	"fmt"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/reconciler"
)

// do is the cluster and the forge. They keep what their adapters promise: an older order changes
// nothing, and a cordon of somebody else's is neither taken nor released.
func (w *World) do(e reconciler.Effect) {
	switch e := e.(type) {
	case reconciler.Send:
		w.say("send %s %s gen=%d ceiling=%s%s", e.Order.Node, w.name(e.Order.Config), e.Order.Generation, e.Order.Ceiling, until(e.Order.NotAfter))
		w.note(e.Order.Node, e.Order.Ceiling)
		if n := w.node(e.Order.Node); e.Order.Generation >= n.Order.Generation {
			n.Order, n.under, n.meddled = e.Order, w.head.Revision.Commit, n.meddled && !n.Drained
		}
	case reconciler.Drain:
		if n := w.node(e.Node); n.Cordon != reconciler.Ours || e.Force {
			w.say("drain %s%s", e.Node, forced(e)) // else it goes on
		}
		w.note(e.Node, impact.Drain)
		if n := w.node(e.Node); n.Cordon != reconciler.Foreign {
			w.empty(n, e)
		}
	case reconciler.Uncordon:
		w.say("uncordon %s", e.Node)
		if n := w.node(e.Node); n.Cordon == reconciler.Ours {
			n.Cordon, n.Drained, n.Blocked = reconciler.Uncordoned, false, ""
		}
	case reconciler.Post:
		w.say("post %s/%s %s: %s", e.Status.Commit, e.Status.Pool, e.Status.State, e.Status.Summary)
		w.Shown[e.Status.Commit+"/"+e.Status.Pool] = e.Status
		w.Posts++
		if !w.mute { // else: crashed before the receipt was saved
			w.State = w.State.Heard(e.Status)
			w.version++
		}
	case reconciler.Remark:
		w.State = w.State.HeardComment(e.Comment)
	}
}

// note keeps the order in which nodes are disturbed, and what it comes to cost them.
func (w *World) note(name string, kind impact.Kind) {
	n := w.node(name)
	p, ok := w.poolOf(n.Labels)
	if !ok || n.Report.Config == p.Target() {
		return
	}
	for i, b := range w.log {
		if b.node == name {
			w.log[i].kind = max(b.kind, kind)
			return
		}
	}
	w.log = append(w.log, begun{name, p.Name, kind})
}

// agent is what a correct agent does with its order, one tick at a time.
func (w *World) agent(n *node) {
	if n.dead || n.silent || w.slow[n.Name] {
		return
	}
	w.hear(n)
	if n.sours > 0 && n.work == 0 {
		n.sours--
		if n.sours == 0 {
			n.Ready, n.sours = false, -1
			w.say("%s was ready, and is not any more", n.Name)
		}
	}
	if n.work > 0 {
		n.work--
		if n.work == 0 {
			w.finish(n)
		}
		return
	}
	if w.apiAway {
		return // it hears of no order
	}
	if n.Order.Generation > 0 && n.Order.Generation < n.Report.Generation {
		w.violate("%s was given generation %d after %d", n.Name, n.Order.Generation, n.Report.Generation)
		return
	}
	if n.Order.Generation > n.Report.Generation || n.Report.Phase == nodeops.Failed && n.Order.Generation > 0 {
		w.take(n)
	}
}

// take begins an order, or refuses it.
func (w *World) take(n *node) {
	cost := impact.Worst(impact.Diff(w.configs[n.Report.Config], w.configs[n.Order.Config], n.Order.Rules))
	repair := n.Report.Phase == nodeops.Failed
	n.Report = nodeops.Report{Generation: n.Order.Generation, Config: n.Report.Config, Phase: nodeops.Working, Drift: n.Report.Drift}
	switch {
	case cost > n.Order.Ceiling:
		n.Report.Phase, n.Report.Why = nodeops.Refused, fmt.Sprintf("costs %s, allowed is %s", cost, n.Order.Ceiling)
		w.keepsToCeilings(n)
	case cost > impact.Nothing && !n.Order.NotAfter.IsZero() && w.Now.After(n.Order.NotAfter):
		n.Report.Phase, n.Report.Why = nodeops.Expired, "its time had passed"
	case w.poison[n.Order.Config] == "validate":
		n.Report.Phase, n.Report.Why = nodeops.Refused, "validate: the new config cannot be"
		w.lose(n)
	default:
		n.taken, n.work = n.Order, 1
		if cost > impact.Nothing && !repair {
			w.nodesBeginInTime(n)
		}
		if impact.Drains(cost) {
			if !n.Drained && !n.meddled {
				w.violate("%s disturbs its work without being drained", n.Name)
			}
			w.rebootsOnce(n)
			n.Ready, n.work = false, 2
			n.booted++
			n.dead, n.stuck = n.dead || n.stuck, false
		}
		n.work += n.pace
		switch w.poison[n.Order.Config] {
		case "boot": // it comes up, goes back, and comes up again
			n.work += 2
		case "ready":
			n.Ready = false
			n.work += 3
		}
	}
}

// finish ends an order as the config's fate wants it.
func (w *World) finish(n *node) {
	n.Ready, n.sours = true, 0
	n.Report.Phase = nodeops.Done
	switch fate := w.poison[n.taken.Config]; fate {
	case "", "done":
	case "soak":
		n.sours = 4
	case "failed", "restored":
		n.Report.Phase, n.Report.Why = nodeops.Phase(fate), "the new config does not hold"
	default:
		n.Report.Phase, n.Report.Why = nodeops.Restored, fate+": the new config does not hold"
	}
	if n.Report.Phase == nodeops.Done {
		if n.Report.Config != n.taken.Config {
			n.landedAt = w.Now
		}
		n.Report.Config, n.Report.Drift = n.taken.Config, nil
		n.turn = n.turn && n.taken.Generation < n.Order.Generation // with a newer order in hand it is under way still, as far as anybody can see
	} else {
		w.lose(n)
	}
	w.say("%s is %s at %s", n.Name, n.Report.Phase, w.name(n.Report.Config))
}

// forget is an agent whose memory is deleted: it takes no order that was there before, and cannot
// say what it is.
func (w *World) forget(n *node) {
	n.work, n.sours, n.taken, n.boots, n.forgot = 0, 0, nodeops.Order{}, nil, w.tick
	n.Ready = !n.dead
	n.Report = nodeops.Report{}
	if n.Order.Generation > 0 {
		n.Report = nodeops.Report{Generation: n.Order.Generation, Phase: nodeops.Expired, Why: "this agent has no memory: order it anew"}
	}
}

// offWork is the truth, which the controller can only infer: a node that is told to stay as it is
// goes on working, unless it is changing for an order that came before. Whether it is ready, and
// whose its cordon is, is what the controller could see.
func (w *World) offWork(n *node, seen reconciler.Node) bool {
	changes := func(to machine.Digest) bool {
		return impact.Diff(w.configs[n.Report.Config], w.configs[to], n.Order.Rules) != nil
	}
	heard := n.Order.Generation <= n.Report.Generation
	return !seen.Ready || seen.Cordon != reconciler.Uncordoned || n.Report.Phase == nodeops.Failed ||
		n.work > 0 && changes(n.taken.Config) || !heard && changes(n.Order.Config)
}
