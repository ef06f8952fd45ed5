package kube

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/loop/looptest"
)

// TestAFleetThatIsDeletedInMidRollout: the node that has its order finishes and takes work again, the
// one that was only drained takes work again at once, and nothing more is begun until there is a
// Fleet again.
func TestAFleetThatIsDeletedInMidRollout(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"w1", "w2", "w3"} {
		w.add(name, map[string]string{"node-role.kubernetes.io/worker": ""})
	}
	pod := w.pod("shop", "w2", nil)
	w.budget("never", "shop")
	fleet := func() {
		_, err := w.client.fleets.Create(t.Context(), &v1alpha1.Fleet{
			ObjectMeta: metav1.ObjectMeta{Name: "f"}, Spec: v1alpha1.FleetSpec{Source: v1alpha1.Source{URL: "https://git.example.com/fleet"}},
		}, metav1.CreateOptions{})
		w.must(err)
	}
	fleet()
	t.Cleanup(func() {
		_ = w.client.fleets.Delete(context.Background(), "f", metav1.DeleteOptions{})
		_ = w.client.pools.Delete(context.Background(), "worker", metav1.DeleteOptions{})
	})
	source, files := &looptest.FakeSource{}, reboots("a")
	files["pool.yaml"] += "spec: {maxUnavailable: 2}\n"
	source.Push(files)
	w.wake()
	l := w.controller(source, nil)
	l.Desk = &Office{Desk: Desk{w.client, "f"}}
	hands := w.fleet()
	turn := func() {
		if _, err := l.Tick(t.Context()); err != nil {
			t.Log(err)
		}
	}
	w.await("one node has its order, and another is being drained", func() bool {
		turn()
		one, two := w.node(hands, "w1"), w.node(hands, "w2")
		return one.Order.Generation > 0 && two.Cordon == reconciler.Ours && two.Order.Generation == 0
	})
	w.must(w.client.fleets.Delete(t.Context(), "f", metav1.DeleteOptions{}))
	if _, err := (View{Client: w.client, Namespace: w.namespace, Fleet: "f"}).Look(t.Context()); err == nil {
		t.Error("a Fleet that is gone is shown")
	} else {
		holds(t, "who looks at it", err.Error(), "there is no Fleet f", "still on 2 nodes", "kubectl uncordon w1 w2")
	}
	w.await("the one that was drained takes work again", func() bool { turn(); return w.node(hands, "w2").Cordon == reconciler.Uncordoned })
	if n := w.node(hands, "w1"); n.Cordon != reconciler.Ours {
		t.Errorf("the node that is at work is %q: it may not take pods yet", n.Cordon)
	}
	w.agents(hands)
	w.await("the one at work is finished", func() bool { turn(); return w.node(hands, "w1").Cordon == reconciler.Uncordoned })
	for range 5 {
		turn()
	}
	for _, name := range []string{"w2", "w3"} {
		if n := w.node(hands, name); n.Order.Generation != 0 || n.Cordon != reconciler.Uncordoned {
			t.Errorf("without a Fleet node %s is begun: %+v", name, n)
		}
	}
	if _, err := w.client.core.CoreV1().Pods(w.namespace).Get(t.Context(), pod.Name, metav1.GetOptions{}); err != nil {
		t.Errorf("the pod behind its budget: %v", err)
	}
	fleet()
	w.await("a Fleet goes on", func() bool { turn(); return w.node(hands, "w3").Order.Generation > 0 })
}
