package kube

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/reconciler"
)

// Of a crowd of nodes under our cordon those at work on their orders are not looked into each time. A
// pod that has come to one of them meanwhile is found before it gets another order that disturbs it.
func TestANodeOfACrowdIsSeenEmptyBeforeItsNextOrder(t *testing.T) {
	w := newWorld(t)
	f := w.fleet()
	for i := range crowd + 1 {
		w.add(fmt.Sprintf("w%d", i), nil)
	}
	_, err := f.Nodes(t.Context()) // gives them NodeConfigs
	w.must(err)
	order := nodeops.Order{Node: "w1", Generation: 1, Config: machine.Config{}.Digest(), Ceiling: impact.Reboot}
	w.must(f.Send(t.Context(), order))
	for i := range crowd + 1 {
		w.must(f.Drain(t.Context(), reconciler.Drain{Node: fmt.Sprintf("w%d", i)}))
	}
	w.await("they are drained", func() bool {
		nodes, err := f.Nodes(t.Context())
		w.must(err)
		for _, n := range nodes {
			if !n.Drained {
				return false
			}
		}
		return true
	})
	f.emptied["w1"] = time.Now().Add(time.Hour) // however slow this machine is
	w.pod("late", "w1", func(p *corev1.Pod) { p.OwnerReferences = nil })
	if !w.node(f, "w1").Drained {
		t.Error("one that is at work on its order was looked into again")
	}
	order.Generation = 2
	if err := f.Send(t.Context(), order); err == nil || !strings.Contains(err.Error(), "pods have come") {
		t.Errorf("with a pod on it, it is sent its next order: %v", err)
	}
	order.Ceiling = impact.Reload
	if err := f.Send(t.Context(), order); err != nil {
		t.Errorf("an order that drains nobody: %v", err)
	}
}

// What is written goes to the version that was seen: where somebody came in between, what he did is
// seen first.
func TestAWriteSeesWhatCameInBetween(t *testing.T) {
	w := newWorld(t)
	w.add("w1", nil)
	f := w.fleet()
	w.node(f, "w1") // seen as it is now
	w.unschedulable("w1", true)
	if err := f.Drain(t.Context(), reconciler.Drain{Node: "w1"}); err == nil {
		t.Error("a node that somebody has just cordoned is drained")
	}
	w.must(f.Uncordon(t.Context(), "w1"))
	if n := w.node(f, "w1"); n.Cordon != reconciler.Foreign {
		t.Errorf("his cordon is %q", n.Cordon)
	}
	first := nodeops.Order{Node: "w1", Generation: 5, Config: machine.Config{}.Digest()}
	w.must(w.fleet().Send(t.Context(), first)) // by another process
	older := first
	older.Generation = 4
	if err := f.Send(t.Context(), older); err == nil {
		t.Error("the order of another process is replaced by an older one")
	}
	home, err := w.client.configs.Get(t.Context(), "w1", metav1.GetOptions{})
	w.must(err)
	if home.Spec.Generation != 5 {
		t.Errorf("the node has the order %d", home.Spec.Generation)
	}
}
