package loop_test

import (
	"errors"
	"testing"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/loop/looptest"
	"github.com/sluice-gitops/sluice/source"
)

// A controller that starts while Git is silent, with nothing on its disk, finishes what is under way:
// nobody stays drained for it.
func TestAControllerThatStartsWithoutGitFinishesWhatWasBegun(t *testing.T) {
	w := newWorld(t)
	w.source.Push(reboots("a"))
	w.settle()
	w.source.Push(reboots("b"))
	drained := func() (out []string) {
		for _, n := range w.nodes() {
			if n.Cordon == reconciler.Ours {
				out = append(out, n.Name)
			}
		}
		return out
	}
	for range 20 {
		if w.tick(); len(drained()) > 0 {
			break
		}
	}
	if len(drained()) == 0 {
		t.Fatal("no node was begun")
	}
	w.source = &looptest.FakeSource{}
	w.source.Fail(errors.New("no route"))
	w.restart()
	for range 40 {
		if _, err := w.tick(); err != nil {
			t.Fatalf("tick: %v", err)
		}
	}
	if left := drained(); len(left) > 0 {
		t.Errorf("%v stay drained", left)
	}
	for _, n := range w.nodes() {
		if n.Report.Config != w.nodes()[0].Report.Config || n.Report.Phase != nodeops.Done {
			t.Errorf("%s is %s at %s", n.Name, n.Report.Phase, n.Report.Config.Short())
		}
	}
}

// A controller that starts while Git is silent does not take for lifted what it cannot see: the branch
// was rewritten, and the rollout before it had not ended.
func TestAControllerThatStartsWithoutGitRemembersThatTheBranchWasRewritten(t *testing.T) {
	w, d := manned(t)
	first := w.source.Push(reboots("a"))
	w.settle()
	w.source.Push(reboots("b"))
	if _, err := w.tick(); err != nil { // one node is begun
		t.Fatal(err)
	}
	other := w.source.Force(first, reboots("c"))
	w.settle()
	at := w.nodes()
	git := w.source
	w.source = &looptest.FakeSource{}
	w.source.Fail(errors.New("no route"))
	w.restart()
	w.loop.Desk = d
	w.run(40)
	for i, n := range w.nodes() {
		if n.Order.Config != at[i].Order.Config || n.Cordon != at[i].Cordon {
			t.Errorf("%s was begun: %s, cordon %q", n.Name, n.Order.Config.Short(), n.Cordon)
		}
	}
	w.holdSaid(other, "worker", source.Pending, "sluice release --rewind "+source.Short(other))
	if err := d.Allow(other); err != nil {
		t.Fatal(err)
	}
	w.run(5) // nobody can read what is allowed
	w.source = git
	w.restart()
	w.loop.Desk = d
	w.settle()
	w.holdAt(other)
}
