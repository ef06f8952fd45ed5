package loop_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/source"
)

// manned is a world with a desk for operators.
func manned(t *testing.T) (*world, local.Desk) {
	w := newWorld(t)
	d := local.Desk{Dir: w.dir}
	w.loop.Desk = d
	return w, d
}

func (w *world) holdPhase(want reconciler.Phase, words string) {
	w.t.Helper()
	p := w.state().Pools["worker"]
	if p.Phase != want || !strings.Contains(p.Status.Summary, words) {
		w.t.Errorf("the pool is %s: %s; want %s with %q", p.Phase, p.Status.Summary, want, words)
	}
}

func TestAHoldIsObeyedAtTheNextTickAndEndsByItself(t *testing.T) {
	w, d := manned(t)
	w.source.Push(reboots("a"))
	w.settle()
	next := w.source.Push(reboots("b"))
	w.run(1)
	if err := d.Hold(policy.Hold{Pool: "worker", By: "ann", Reason: "a look", Since: w.now, Until: w.now.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.holdPhase(reconciler.Paused, "held by ann until 2026-11-23 08:01")
	for _, n := range w.nodes() {
		if n.Cordon != reconciler.Uncordoned {
			t.Errorf("node %s stays cordoned under the hold", n.Name)
		}
	}
	w.now = w.now.Add(time.Minute)
	w.settle()
	w.holdAt(next)
}

func TestHoldsThatCannotBeReadHoldEverything(t *testing.T) {
	w, d := manned(t)
	good := w.source.Push(reboots("a"))
	w.settle()
	if err := os.WriteFile(filepath.Join(d.Dir, "holds.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.source.Push(reboots("b"))
	writes := w.fleet.writes
	w.run(5)
	w.holdPhase(reconciler.Paused, "until the holds can be read")
	if w.fleet.writes != writes {
		t.Errorf("%d writes to nodes", w.fleet.writes-writes)
	}
	if err := os.Remove(filepath.Join(d.Dir, "holds.json")); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if p := w.state().Pools["worker"]; p.Revision.Commit == good || p.Phase != reconciler.Updated {
		t.Errorf("the file is gone: %s at %s", p.Phase, p.Revision.Short())
	}
}

func TestARewrittenBranchWaitsForAnOperator(t *testing.T) {
	w, d := manned(t)
	first := w.source.Push(reboots("a"))
	w.settle()
	good := w.source.Push(reboots("b"))
	w.settle()
	writes := w.fleet.writes
	other := w.source.Force(first, reboots("c"))
	w.settle()
	w.restart()
	w.loop.Desk = d
	w.settle()
	w.holdAt(good)
	if w.fleet.writes != 0 || w.state().Good.Commit != good {
		t.Errorf("%d writes, good is %s: the rewritten branch was followed", w.fleet.writes+writes, w.state().Good.Short())
	}
	w.holdSaid(other, "worker", source.Pending, "sluice release --rewind "+source.Short(other))
	if err := d.Allow(other); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.holdAt(other)
	w.holdSaid(other, "worker", source.Success, "3 of 3")
	w.source.Push(reboots("d"))
	w.settle()
	w.holdAt(w.source.Head())
}

func TestABranchThatComesBackIsFollowed(t *testing.T) {
	w, _ := manned(t)
	first := w.source.Push(reboots("a"))
	w.settle()
	good := w.source.Push(reboots("b"))
	w.settle()
	older := w.source.Force(first, nil) // back to what the fleet had before
	w.settle()
	w.holdAt(good)
	next := w.source.Force(good, reboots("c"))
	w.settle()
	w.holdAt(next)
	w.holdSaid(older, "worker", source.Superseded, "superseded by "+source.Short(next))
}

func TestARevisionThatLetsTheFleetGoIsRefused(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"nothing is rendered": {"other.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"},
		"no selector fits": {
			"pool.yaml": "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: other}\nspec: {nodeSelector: {matchLabels: {no: node}}}\n",
			"args.yaml": reboots("b")["args.yaml"],
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			good := w.source.Push(reboots("a"))
			w.settle()
			bad := w.source.Push(files)
			w.settle()
			w.holdAt(good)
			w.holdSaid(bad, "worker", source.Failure, "to retire a fleet, stop its controller")
			next := w.source.Push(reboots("c"))
			w.settle()
			w.holdAt(next)
		})
	}
}
