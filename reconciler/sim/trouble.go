package sim

import (
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/reconciler"
)

// trouble is what befalls the machinery: the network, the clock of the controller, its process.
type trouble struct {
	apiAway bool          // the cluster's API does not answer: no node can be seen or written
	gitAway bool          // the remote does not answer: the last head stays in force
	skew    time.Duration // how far the controller's clock is ahead of the true one
	recalls bool          // the controller has started since Git is away: it goes by what it remembers
	once                  // in the next tick only

	version int      // of State, as the store counts
	shelf   []func() // pushes that nobody has seen: Git does not answer
	cache   []sight  // what is read of other people's doing, while the cache does not follow; nil when it does
	fresh   int      // the tick in which it follows again
	pending []plan   // what controllers have decided and not yet saved
	echoes  []echo   // effects that will be done again
}

// once is what goes wrong in one tick.
type once struct {
	crash int             // effects that are done before the controller crashes, and one
	lost  map[string]bool // nodes, or "forge", whose effects get lost
	slow  map[string]bool // agents that do nothing
	twice map[string]bool // nodes whose effects are done twice
	later map[string]int  // nodes whose effects are done again, and in how many ticks
	drags bool            // a drain takes longer
	mute  bool            // the receipts of the forge get lost
	stall int             // ticks for which the controller stops between deciding and saving
	rival bool            // somebody else leads while it does
}

// plan is a decision, and the version of the state that it was made from.
type plan struct {
	made    int // the tick in which it was decided
	due     int // the tick in which it is saved
	version int
	next    reconciler.State
	effects []reconciler.Effect
	rival   bool
}

type echo struct {
	due    int
	effect reconciler.Effect
}

// sight is what other people change of a node, as it was once.
type sight struct {
	node    string
	ready   bool
	labels  map[string]string
	foreign bool
}

// stale keeps the cache from following for some ticks. It never shows what is older than what it
// has shown: the API promises that.
func (w *World) stale(ticks int) {
	w.cache, w.fresh = make([]sight, len(w.nodes)), w.tick+ticks
	for i, n := range w.nodes {
		w.cache[i] = sight{n.Name, n.Ready, n.Labels, n.Cordon == reconciler.Foreign}
	}
}

// blur shows nodes as a cache does that is some ticks behind: what we wrote ourselves is always
// there, since a loop that does not see its own writes must not decide at all.
func (w *World) blur(nodes []reconciler.Node) {
	if w.tick > w.fresh {
		w.cache = nil
	}
	for i, n := range nodes {
		at := slices.IndexFunc(w.cache, func(s sight) bool { return s.node == n.Name })
		if at < 0 {
			continue
		}
		was := w.cache[at]
		nodes[i].Ready, nodes[i].Labels = was.ready, was.labels
		switch {
		case n.Cordon == reconciler.Foreign && !was.foreign:
			nodes[i].Cordon = reconciler.Uncordoned
		case n.Cordon == reconciler.Uncordoned && was.foreign:
			nodes[i].Cordon = reconciler.Foreign
		}
	}
}

// controller is look, decide, remember, do: with crashes between remembering and doing, with
// effects and receipts that get lost, and with a second controller that believes it leads.
func (w *World) controller() {
	w.again()
	w.overdue()
	if w.head.Revision.Commit == "" && w.broken == nil || w.frozen() {
		return
	}
	seen := w.observe()
	if !w.recall(&seen) {
		return
	}
	shown := seen
	shown.Nodes = slices.Clone(seen.Nodes) // whatever Step does with them, the world has seen what it has seen
	next, effects := w.Step(w.State, shown)
	w.recallsWell(seen, next, effects)
	w.account(seen, next)
	w.judge(seen, next, effects)
	p := plan{made: w.tick, due: w.tick, version: w.version, next: next, effects: effects}
	if w.stall > 0 {
		w.say("a controller stops for %d ticks before it saves", w.stall)
		late := p
		late.due, late.rival = w.tick+w.stall, w.rival
		w.pending = append(w.pending, late)
		if !w.rival {
			return
		}
	}
	w.carry(p)
}

// frozen says that the only controller stands still.
func (w *World) frozen() bool {
	return slices.ContainsFunc(w.pending, func(p plan) bool { return !p.rival && p.due > w.tick })
}

// overdue lets controllers go on that had stopped before they saved.
func (w *World) overdue() {
	due := w.pending
	w.pending = nil
	for _, p := range due {
		if p.due > w.tick {
			w.pending = append(w.pending, p)
			continue
		}
		w.carry(p)
	}
}

// carry saves a decision and does it. A save is a compare-and-swap: whoever has decided from a
// state that is not the newest does nothing at all.
func (w *World) carry(p plan) {
	if p.version != w.version {
		w.say("save refused: somebody else has saved")
		return
	}
	w.State = p.next
	w.version++
	for i, e := range p.effects {
		if w.crash > 0 && i >= w.crash-1 {
			w.say("controller crashes")
			return
		}
		who := about(e)
		if w.lost[who] {
			w.say("lost: an effect for %s", who)
			continue
		}
		w.do(e)
		if w.twice[who] {
			w.do(e)
		}
		if send, ok := e.(reconciler.Send); ok && w.node(who).Order.Generation == send.Order.Generation {
			w.node(who).decided = p.made
		}
		if k := w.later[who]; k > 0 {
			w.echoes = append(w.echoes, echo{w.tick + k, e})
		}
	}
}

// about is the node that an effect is for, or the forge.
func about(e reconciler.Effect) string {
	switch e := e.(type) {
	case reconciler.Send:
		return e.Order.Node
	case reconciler.Drain:
		return e.Node
	case reconciler.Uncordon:
		return e.Node
	}
	return "forge"
}

// again does effects once more that the network had kept. What is said to the forge is not said
// again: a status of long ago is another matter than one that comes twice.
func (w *World) again() {
	due := w.echoes
	w.echoes = nil
	for _, e := range due {
		if e.due > w.tick {
			w.echoes = append(w.echoes, e)
			continue
		}
		switch f := e.effect.(type) {
		case reconciler.Send, reconciler.Drain:
			w.say("once more:")
			w.do(f)
		}
	}
}

// calm ends all trouble, wakes every node, and lets everybody agree.
func (w *World) calm() {
	shelf, version := w.shelf, w.version
	w.trouble = trouble{version: version}
	w.outside.holds, w.outside.blocked, w.outside.sick = nil, nil, "ok"
	for _, push := range shelf {
		push()
	}
	for _, n := range w.nodes {
		if p, ok := w.poolOf(n.Labels); ok && slices.Contains(w.landed[p.Name], n.Report.Config) {
			n.sours = 0 // the pool had this and wanted no other: somebody repairs the machine, also one that is about to fall
		}
		if n.dead || !n.Ready {
			n.Ready = n.work == 0 && n.sours >= 0
		}
		n.dead, n.silent, n.stuck, n.Report.Drift = false, false, false, nil
		if n.Cordon == reconciler.Foreign {
			n.Cordon = reconciler.Uncordoned
		}
	}
}
