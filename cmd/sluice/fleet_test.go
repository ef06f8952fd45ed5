package main

import (
	"testing"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/source"
)

// What comes when a hold ends is what it keeps back; a node that is under way is finished in spite
// of it.
func TestAResumeCountsNobodyWhoIsUnderWay(t *testing.T) {
	s := snapshot{State: reconciler.State{Pools: map[string]reconciler.Pool{
		"worker": {Revision: source.Revision{Commit: "c1"}, Counts: reconciler.Counts{Nodes: 4}},
	}}}
	stands := func(check string) reconciler.Standing {
		return reconciler.Standing{Pool: "worker", Cost: impact.Reboot, Why: []policy.Finding{{Check: check, Outcome: policy.Wait}}}
	}
	for name, c := range map[string]struct {
		all  map[string]reconciler.Standing
		want string
	}{
		"some are held": {
			map[string]reconciler.Standing{"w1": stands("working"), "w2": stands("order"), "w3": stands("hold"), "w4": stands("hold")},
			"when it goes on commit c1 comes to 2 of 4 nodes: 2 reboot",
		},
		"the last are under way": {
			map[string]reconciler.Standing{"w1": {Pool: "worker", Reached: true}, "w2": stands("working")},
			"when it goes on nothing more comes: all that is left is under way",
		},
		"all are there": {
			map[string]reconciler.Standing{"w1": {Pool: "worker", Reached: true}},
			"when it goes on nothing comes: every node is what the newest commit asks",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.resume(t.Context(), "worker", c.all); got != c.want {
				t.Errorf("%s; want %s", got, c.want)
			}
		})
	}
}
