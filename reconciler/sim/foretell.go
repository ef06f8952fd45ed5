package sim

import (
	"fmt"
	"slices"

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
// ready first depends on how long its nodes take, and so does the order.
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
		Facts: policy.Facts{Probes: seen.Facts.Probes}, Guardrail: seen.Guardrail, Holds: seen.Holds,
	})
	w.log = nil
	w.Push("next", after)
	f.agree()
	for quiet := 0; quiet < 150; quiet++ { // longer than any window stays closed
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
		}
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

// change is what the proposal brings: contents, and sometimes a pause or other limits.
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
		}
		after[i].Config = content(after[i], a.pick("none", "reload", "reboot"), "next")
	}
	return after
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
			if !slices.Contains(p.Nodes[b.kind.String()], b.node) {
				wrong = append(wrong, fmt.Sprintf("%s paid %s; foretold was %v", b.node, b.kind, p.Nodes))
			}
		}
		if !slices.Equal(want, got) {
			wrong = append(wrong, fmt.Sprintf("pool %s: foretold were %v, taken were %v (held: %v)", p.Name, want, got, p.Held))
		}
	}
	return wrong
}
