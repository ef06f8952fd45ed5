// Package sim is a world of fake nodes: the real Step against ideal and faulty machines, a forge
// and a crashing controller, all from one seed. Its invariants are what operators are promised.
package sim

import (
	"fmt"
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
	pushed   []string // commits of the branch, oldest first
	configs  map[machine.Digest]machine.Config
	poison   map[machine.Digest]string // where an order for this config ends, in the words of the script
	violated []string
	log      []begun                // nodes that were disturbed, in the order in which it began
	flight   map[string]impact.Kind // nodes that were under way before, and what that costs them
	tick     int
	outside  outside

	trouble // what befalls the machinery
	ledger  // what the world itself has seen, to judge by
}

// node is a machine, with an agent that follows the protocol and a switch for each way to fail it.
type node struct {
	reconciler.Node
	silent bool          // the agent does nothing
	dead   bool          // the machine does not answer at all
	stuck  bool          // it will not come back from its next reboot
	pace   int           // ticks that it takes longer than others
	work   int           // ticks until the order at hand is done
	taken  nodeops.Order // what it is working on
	booted int           // reboots so far
	sours  int           // ticks until a config that looked good shows that it is not
	record               // what the world has seen of it, to judge by
}

// Period is the virtual time of one tick.
const Period = 30 * time.Second

// New is an empty world at the given time.
func New(now time.Time) *World {
	return &World{
		Step: reconciler.Step, Now: now, Shown: map[string]source.Status{},
		configs: map[machine.Digest]machine.Config{}, poison: map[machine.Digest]string{},
		ledger: ledger{inForce: map[string]reconciler.Rules{}, landed: map[string][]machine.Digest{}},
	}
}

// Push makes a revision the head. The commit's name is its identity.
func (w *World) Push(commit string, pools []render.Pool) {
	pools = w.learn(pools)
	w.show(func() {
		w.arrive(commit)
		w.head = reconciler.Head{Revision: source.Revision{Ref: "main", Commit: commit}, Pools: pools}
		w.broken = nil
	})
}

// learn keeps the configs of pools, and names them.
func (w *World) learn(pools []render.Pool) []render.Pool {
	pools = slices.Clone(pools)
	for i, p := range pools {
		pools[i].Digest = p.Config.Digest()
		w.configs[pools[i].Digest] = p.Config
	}
	return pools
}

// PushBroken makes a revision the head that does not render.
func (w *World) PushBroken(commit, why string) {
	w.show(func() {
		w.arrive(commit)
		w.broken = &reconciler.Broken{Revision: source.Revision{Ref: "main", Commit: commit}, Why: why}
	})
}

func (w *World) arrive(commit string) {
	w.outside.rewound = nil
	w.pushed = append(w.pushed, commit)
}

// show is a push that is seen at once, or when Git answers again.
func (w *World) show(push func()) {
	if w.gitAway {
		w.shelf = append(w.shelf, push)
		return
	}
	push()
}

// Tick is one turn of the controller's loop and one of every agent.
func (w *World) Tick() {
	w.tick++
	w.Now = w.Now.Add(Period)
	if !w.apiAway {
		w.controller()
	}
	for _, n := range w.nodes {
		w.agent(n)
	}
	w.check()
	w.once = once{}
}

func (w *World) observe() reconciler.Observed {
	o := reconciler.Observed{
		Now: w.Now.Add(w.skew), Head: w.head, Broken: w.broken, Gate: policy.Default(), Skipped: w.skipped(),
	}
	w.outside.into(&o, w.State)
	for _, n := range w.nodes {
		o.Nodes = append(o.Nodes, n.Node)
	}
	w.blur(o.Nodes)
	mute(o.Nodes)
	o.Known = w.known(o)
	return o
}

// skipped are the commits of the branch between the newest that was seen and the newest. One that
// the branch was put back to stands there twice.
func (w *World) skipped() []string {
	newest := len(w.pushed) - 1
	for seen := newest; seen >= 0; seen-- {
		if w.pushed[seen] == w.State.Seen {
			return slices.Clone(w.pushed[min(seen+1, newest):newest])
		}
	}
	return nil
}

// known are the configs that the loop keeps: those that the head, a pool or a node names.
func (w *World) known(o reconciler.Observed) map[machine.Digest]machine.Config {
	out := map[machine.Digest]machine.Config{}
	learn := func(named ...machine.Digest) {
		for _, d := range named {
			if c, ok := w.configs[d]; ok && !w.outside.lost[d] {
				out[d] = c
			}
		}
	}
	for _, p := range o.Head.Pools {
		learn(p.Target())
	}
	for _, p := range w.State.Pools {
		learn(p.Target, p.Spurned)
		for _, l := range p.History {
			learn(l.Config)
		}
	}
	for _, o := range w.State.Outlines {
		learn(o.Target)
	}
	for _, sent := range w.State.Sent {
		learn(sent...)
	}
	for _, n := range o.Nodes {
		learn(n.Report.Config, n.Order.Config)
	}
	return out
}

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

func forced(d reconciler.Drain) string {
	if d.Force {
		return " by force"
	}
	return ""
}
