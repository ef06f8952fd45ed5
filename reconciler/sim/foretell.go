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
	"github.com/sluice-gitops/sluice/reconciler/preview"
	"github.com/sluice-gitops/sluice/render"
)

// Foretell makes a fleet and a change from a seed, previews the change, merges it, and compares
// what was foretold with what then happens: which nodes are disturbed, how badly, and in which
// order. It returns what differs. Machines do not fail and all take the same time, and nobody else
// acts: that is what a preview promises about. Where a zone has a limit of its own, which zone is
// ready first depends on how long its nodes take, and so does the order.
func Foretell(seed uint64) []string {
	w := New(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC))
	w.rng, w.steady = rand.New(rand.NewPCG(seed, 2)), true
	f := newFleet(w, Options{})
	f.settle()
	f.past = [][]render.Pool{slices.Clone(f.pools)}
	f.upset()
	after := f.change()
	foretold := preview.Make(preview.Input{
		Base: f.head.Revision.Commit, Head: "next", MergeBase: f.head.Revision.Commit, Before: f.head.Pools, After: after,
		State: w.State, Nodes: w.observe().Nodes, Known: w.configs, Gate: policy.Default(), Now: w.Now,
	})
	w.log = nil
	w.Push("next", after)
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

// settle lets the first revision land on every node.
func (f *fleet) settle() {
	for i := range f.pools {
		f.pools[i].Config = content(f.pools[i], "reload", "0")
	}
	f.commit()
	for range 2000 {
		f.Tick()
		if ok, _ := f.Settled(); ok {
			return
		}
	}
	f.violate("the fleet did not settle before the change")
}

// upset puts some nodes in the states in which a change may find them.
func (f *fleet) upset() {
	for _, n := range f.nodes {
		switch f.rng.IntN(12) {
		case 0:
			n.Cordon = reconciler.Foreign
		case 1:
			n.dead, n.Ready = true, false
		case 2:
			n.Report.Drift = []nodeops.Drift{{Path: "/etc/x", Kind: nodeops.DriftContent, Why: "differs"}}
		case 3: // it missed the last change
			old := machine.Config{KernelArgs: []string{"old"}}
			f.configs[old.Digest()] = old
			n.Order.Config, n.Report.Config = old.Digest(), old.Digest()
		}
	}
}

// change is what the proposal brings: contents, and sometimes a pause or other limits.
func (f *fleet) change() []render.Pool {
	after := slices.Clone(f.pools)
	for i := range after {
		switch f.rng.IntN(8) {
		case 0:
			continue
		case 1:
			after[i].Strategy.Paused = true
		case 2:
			after[i].Strategy.MaxUnavailable = pick(f.World, "1", "3", "50%")
		case 3:
			after[i].Config.FIPS = true
		}
		after[i].Config = withFIPS(content(after[i], pick(f.World, "none", "reload", "reboot"), "next"), after[i].Config.FIPS)
	}
	return after
}

func withFIPS(c machine.Config, fips bool) machine.Config {
	c.FIPS = fips
	return c
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
