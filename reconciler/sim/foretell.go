package sim

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/preview"
	"github.com/sluice-gitops/sluice/render"
)

// Foretell makes a fleet and a change from a seed, previews the change, merges it, and compares
// what was foretold with what then happens: which nodes are disturbed, how badly, and in which
// order. It returns what differs. Machines do not fail and all take the same time, and nobody else
// acts, but to agree: that is what a preview promises about. Where a zone has a limit of its own, which zone is
// ready first depends on how long its nodes take, and so does the order; so it does where nodes are
// under way, and where etcd's members are in two pools.
func Foretell(seed uint64) []string {
	f := newAuthor(seed, 2, Options{})
	w := f.World
	f.settleAtOnce()
	f.upset()
	before, after := w.head, f.change()
	seen := w.observe()
	foretold := preview.Make(preview.Input{
		Base: before.Revision.Commit, Head: "next", MergeBase: before.Revision.Commit, Before: before.Pools, After: after,
		State: w.State, Nodes: seen.Nodes, Known: seen.Known, Gate: policy.Default(), Now: w.Now,
		Facts: policy.Facts{Probes: seen.Facts.Probes}, Guardrail: seen.Guardrail, Holds: seen.Holds, Self: seen.Self,
	})
	w.log, w.flight = nil, w.inFlight()
	w.Push("next", after)
	f.agree()
	w.outside.shown["next"] = foretold.Kinds() // this is what will have been read
	for quiet := 0; quiet < 150; quiet++ {     // longer than any window stays closed
		before := len(w.log)
		w.Tick()
		if len(w.log) > before {
			quiet = 0
		}
	}
	return append(compare(foretold, w), w.violated...)
}

// begun is one node that was disturbed: in the order in which that began.
type begun struct {
	node, pool string
	kind       impact.Kind
}

// settleAtOnce lets the first revision land on every node.
func (a *author) settleAtOnce() {
	a.do("push c1 worker=reload:0 edge=reload:0")
	a.agree()
	a.do("settle 2000")
}

// upset puts some nodes in the states in which a change may find them.
func (a *author) upset() {
	for _, n := range a.World.nodes {
		switch a.rng.IntN(12) {
		case 0:
			n.Cordon = reconciler.Foreign
		case 1:
			if !a.asksForNodes() { // a preview is for when gates agree, and nobody revives this one
				n.dead, n.Ready = true, false
			}
		case 2:
			n.Report.Drift = []nodeops.Drift{{Path: "/etc/x", Kind: nodeops.DriftContent, Why: "differs"}}
		case 3: // it missed the last change
			old := machine.Config{KernelArgs: []string{"old"}}
			a.World.configs[old.Digest()] = old
			n.Order.Config, n.Report.Config = old.Digest(), old.Digest()
		case 4: // it has come just now
			n.Order, n.Report, n.record = nodeops.Order{}, nodeops.Report{}, record{}
		case 5: // the same, and its agent does not run
			n.Order, n.Report, n.record = nodeops.Order{}, nodeops.Report{}, record{}
			n.Mute, n.silent = true, true
		}
	}
	if a.chance(.3) {
		a.do("self %s", a.World.nodes[a.rng.IntN(len(a.World.nodes))].Name)
	}
	if a.chance(.3) { // the change finds another one under way
		a.do("push c2 %s=%s:2", a.pick(a.pools...), a.pick("none", "reload", "reboot"))
		a.agree()
		a.do("tick %d", 1+a.rng.IntN(5))
	}
}

// asksForNodes says that some health gate is closed while a node is dead.
func (a *author) asksForNodes() bool {
	for _, p := range a.list() {
		if slices.ContainsFunc(p.Policy.Health, func(g policy.HealthGate) bool { return g.Nodes != "" }) {
			return true
		}
	}
	return false
}

// change is what the proposal brings: contents, sometimes a pause or other limits, a new name, or
// other nodes.
func (a *author) change() []render.Pool {
	after := a.list()
	for i := range after {
		switch a.rng.IntN(8) {
		case 0:
			continue
		case 1:
			after[i].Strategy.Paused = true
		case 2:
			after[i].Strategy.MaxUnavailable = a.pick("1", "3", "50%")
		case 3:
			after[i].Config.FIPS = true
		case 4:
			if after[i].Name != "master" && after[i].Name != "worker" { // which nodes these have is in their names
				after[i].Name = "blue"
			}
		case 5:
			if after[i].Name == "edge" { // it takes nodes of others, and leaves some of its own
				after[i].Selector = labels.SelectorFromSet(labels.Set{zone: "z1"})
			}
		}
		after[i].Config = content(after[i], a.pick("none", "reload", "reboot"), "next")
	}
	return after
}

// anyOrder says that who of a pool comes first depends on how long nodes take: where some are under
// way, when they are done; where etcd's members are in two pools, when those of the other are.
func (w *World) anyOrder(pool string) bool {
	in := map[string]bool{}
	for _, n := range w.nodes {
		p, _ := w.poolOf(n.Labels)
		if _, flies := w.flight[n.Name]; flies && p.Name == pool {
			return true
		}
		if votes(n.Node) {
			in[p.Name] = true
		}
	}
	return in[pool] && len(in) > 1
}

// inFlight is what nodes pay that are under way already: what comes is paid in one with it.
func (w *World) inFlight() map[string]impact.Kind {
	out := map[string]impact.Kind{}
	for _, n := range w.nodes {
		if underWay(n) {
			out[n.Name] = impact.Worst(impact.Diff(w.configs[n.Report.Config], w.configs[n.Order.Config], n.Order.Rules))
		}
	}
	return out
}

// compare holds what was foretold against what happened.
func compare(foretold preview.Report, w *World) (wrong []string) {
	for _, p := range foretold.Pools {
		var want, got []string
		for _, wave := range p.Waves {
			want = append(want, wave...)
		}
		for _, b := range w.log {
			if b.pool != p.Name {
				continue
			}
			got = append(got, b.node)
			b.kind = max(b.kind, w.flight[b.node])
			if !slices.Contains(p.Nodes[b.kind.String()], b.node) {
				wrong = append(wrong, fmt.Sprintf("%s paid %s; foretold was %v", b.node, b.kind, p.Nodes))
			}
		}
		if w.anyOrder(p.Name) {
			slices.Sort(want)
			slices.Sort(got)
		}
		if !slices.Equal(want, got) {
			wrong = append(wrong, fmt.Sprintf("pool %s: foretold were %v, taken were %v (held: %v)", p.Name, want, got, p.Held))
		}
	}
	return wrong
}
