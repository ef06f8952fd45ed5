package loop_test

import (
	"errors"
	"testing"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/loop/looptest"
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
