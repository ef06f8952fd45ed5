// Package sim is a world of fake nodes: the real Step against ideal and faulty machines, a forge
// and a crashing controller, all from one seed. Its invariants are what operators are promised.
package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// World is everything outside Step: nodes with their agents, a forge, a store, a clock. It is
// deterministic: the same calls give the same world.
type World struct {
	Step   func(reconciler.State, reconciler.Observed) (reconciler.State, []reconciler.Effect)
	Now    time.Time
	State  reconciler.State         // as last saved
	Shown  map[string]source.Status // what the forge really shows, by commit/pool
	Posts  int                      // how often the forge was written to
	Events []string                 // what happened since they were last taken, in words

	nodes    []*node
	head     reconciler.Head
	broken   *reconciler.Broken
	skipped  []string
	pushed   []string
	configs  map[machine.Digest]machine.Config
	poison   map[machine.Digest]nodeops.Phase // what an order for this config ends in
	violated []string
	log      []begun                    // nodes that were disturbed, in the order in which it began
	idle     map[string]int             // ticks for which a node was kept drained without cause
	ill      map[uint64]map[string]bool // nodes lost per attempt
	tick     int
	rng      *rand.Rand // nil: no faults at all
	faults   bool
	steady   bool // every node takes as long as any other
}

// node is a machine, with an agent that follows the protocol and a switch for each way to fail it.
type node struct {
	reconciler.Node
	silent bool          // the agent does nothing
	dead   bool          // the machine does not answer at all
	work   int           // ticks until the order at hand is done
	taken  nodeops.Order // what it is working on
	sound  bool          // was at work when its order was begun
	booted int           // reboots so far
}

// Period is the virtual time of one tick.
const Period = 30 * time.Second

// New is an empty world at the given time.
func New(now time.Time) *World {
	return &World{
		Step: reconciler.Step, Now: now, Shown: map[string]source.Status{},
		configs: map[machine.Digest]machine.Config{}, poison: map[machine.Digest]nodeops.Phase{},
		idle: map[string]int{}, ill: map[uint64]map[string]bool{},
	}
}

// Push makes a revision the head. The commit's name is its identity.
func (w *World) Push(commit string, pools []render.Pool) {
	w.arrive(commit)
	w.head = reconciler.Head{Revision: source.Revision{Ref: "main", Commit: commit}, Pools: pools}
	w.broken = nil
	for _, p := range pools {
		w.configs[p.Config.Digest()] = p.Config
	}
}

// PushBroken makes a revision the head that does not render.
func (w *World) PushBroken(commit, why string) {
	w.arrive(commit)
	w.broken = &reconciler.Broken{Revision: source.Revision{Ref: "main", Commit: commit}, Why: why}
}

func (w *World) arrive(commit string) {
	newest := w.head.Revision.Commit
	if w.broken != nil {
		newest = w.broken.Revision.Commit
	}
	if newest != "" && newest != w.State.Seen {
		w.skipped = append(w.skipped, newest)
	}
	w.pushed = append(w.pushed, commit)
}

// Tick is one turn of the controller's loop and one of every agent.
func (w *World) Tick() {
	w.tick++
	w.Now = w.Now.Add(Period)
	w.controller()
	for _, n := range w.nodes {
		w.agent(n)
	}
	w.check()
}

func (w *World) observe() reconciler.Observed {
	o := reconciler.Observed{
		Now: w.Now, Head: w.head, Broken: w.broken, Known: w.configs, Gate: policy.Default(),
		Skipped: slices.Clone(w.skipped),
	}
	for _, n := range w.nodes {
		o.Nodes = append(o.Nodes, n.Node)
	}
	return o
}

// controller is look, decide, remember, do: with crashes between remembering and doing, and with
// effects and receipts that get lost.
func (w *World) controller() {
	if w.head.Revision.Commit == "" && w.broken == nil {
		return
	}
	seen := w.observe()
	next, effects := w.Step(w.State, seen)
	w.State, w.skipped = next, nil
	w.judge(seen, effects)
	for _, e := range effects {
		if w.chance(.03) {
			w.say("controller crashes")
			return
		}
		if w.chance(.08) {
			continue // this effect is lost
		}
		w.do(e)
	}
}

func (w *World) do(e reconciler.Effect) {
	switch e := e.(type) {
	case reconciler.Send:
		w.say("send %s %s gen=%d ceiling=%s%s", e.Order.Node, w.name(e.Order.Config), e.Order.Generation, e.Order.Ceiling, until(e.Order.NotAfter))
		w.note(e.Order.Node, e.Order.Ceiling)
		w.node(e.Order.Node).Order = e.Order
	case reconciler.Drain:
		w.say("drain %s", e.Node)
		w.note(e.Node, impact.Drain)
		n := w.node(e.Node)
		n.Cordon = reconciler.Ours
		n.Drained = !w.chance(.3) // a drain may take longer
	case reconciler.Uncordon:
		w.say("uncordon %s", e.Node)
		n := w.node(e.Node)
		n.Cordon, n.Drained = reconciler.Uncordoned, false
	case reconciler.Post:
		w.say("post %s/%s %s: %s", e.Status.Commit, e.Status.Pool, e.Status.State, e.Status.Summary)
		w.Shown[e.Status.Commit+"/"+e.Status.Pool] = e.Status
		w.Posts++
		if !w.chance(.05) { // else: crashed before the receipt was saved
			w.State = w.State.Heard(e.Status)
		}
	case reconciler.Remark:
		w.State = w.State.HeardComment(e.Comment)
	}
}

// note keeps the order in which nodes are disturbed, and what it comes to cost them.
func (w *World) note(name string, kind impact.Kind) {
	n := w.node(name)
	p, ok := w.poolOf(n)
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
	if n.dead || n.silent || w.chance(.15) {
		return
	}
	if n.Order.Generation < n.Report.Generation {
		w.violate("%s was given generation %d after %d", n.Name, n.Order.Generation, n.Report.Generation)
		return
	}
	if n.work > 0 {
		n.work--
		if n.work == 0 {
			w.finish(n)
		}
		return
	}
	fresh := n.Order.Generation > n.Report.Generation || n.Report.Phase == nodeops.Expired && n.Order.NotAfter.After(w.Now)
	if fresh || n.Report.Phase == nodeops.Failed {
		w.take(n)
	}
}

// take begins an order, or refuses it.
func (w *World) take(n *node) {
	cost := impact.Worst(impact.Diff(w.configs[n.Report.Config], w.configs[n.Order.Config], nil))
	n.Report = nodeops.Report{Generation: n.Order.Generation, Config: n.Report.Config, Phase: nodeops.Working}
	switch {
	case cost > n.Order.Ceiling:
		n.Report.Phase, n.Report.Why = nodeops.Refused, fmt.Sprintf("costs %s, allowed is %s", cost, n.Order.Ceiling)
		w.violate("%s was ordered to do worse than it was told: %s", n.Name, n.Report.Why)
	case cost > impact.Nothing && !n.Order.NotAfter.IsZero() && w.Now.After(n.Order.NotAfter):
		n.Report.Phase, n.Report.Why = nodeops.Expired, "its time had passed"
	default:
		n.taken, n.work = n.Order, 1
		if impact.Drains(cost) {
			if !n.Drained {
				w.violate("%s disturbs its work without being drained", n.Name)
			}
			n.Ready, n.work = false, 2
			n.booted++
		}
		switch {
		case w.steady:
			n.work = 1
		case w.rng != nil:
			n.work += w.rng.IntN(3)
		}
	}
}

// finish ends an order as the config's fate wants it.
func (w *World) finish(n *node) {
	n.Ready = true
	n.Report.Phase = nodeops.Done
	if fate := w.poison[n.taken.Config]; fate != nodeops.Idle && fate != nodeops.Done {
		n.Report.Phase, n.Report.Why = fate, "the new config does not hold"
		w.lose(n)
	}
	n.sound = false
	if n.Report.Phase == nodeops.Done {
		n.Report.Config = n.taken.Config
	}
	w.say("%s is %s at %s", n.Name, n.Report.Phase, w.name(n.Report.Config))
}

// lose counts a node that this attempt broke. One that was broken before has nothing to lose.
func (w *World) lose(n *node) {
	if !n.sound {
		return
	}
	if w.ill[n.Report.Generation] == nil {
		w.ill[n.Report.Generation] = map[string]bool{}
	}
	w.ill[n.Report.Generation][n.Name] = true
}

func (w *World) chance(p float64) bool { return w.faults && w.rng.Float64() < p }

func (w *World) say(format string, args ...any) {
	w.Events = append(w.Events, fmt.Sprintf("%d: ", w.tick)+fmt.Sprintf(format, args...))
}

func (w *World) violate(format string, args ...any) {
	w.violated = append(w.violated, fmt.Sprintf("tick %d: ", w.tick)+fmt.Sprintf(format, args...))
}

func (w *World) node(name string) *node {
	for _, n := range w.nodes {
		if n.Name == name {
			return n
		}
	}
	return &node{} // an effect for a node that is gone changes nothing
}

// name is a config in the words of the script: the files and kernel arguments that tell it apart.
func (w *World) name(d machine.Digest) string {
	c, ok := w.configs[d]
	switch {
	case d == "":
		return "bare"
	case !ok:
		return d.Short()
	}
	out := ""
	for _, f := range c.Files {
		out += "," + word(f.Path) + ":" + string(f.Contents)
	}
	for _, k := range c.KernelArgs {
		out += ",reboot:" + k
	}
	if out == "" {
		return "empty"
	}
	return out[1:]
}

func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " until=" + t.UTC().Format("Mon15:04")
}
