package kube

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/reconciler/loop/looptest"
)

func TestFleet(t *testing.T) {
	looptest.Fleet(t, func(t *testing.T) looptest.FleetRig {
		w := newWorld(t)
		return looptest.FleetRig{
			Fleet: w.fleet(), Restart: func() loop.Fleet { return w.fleet() }, Idle: true,
			Add: w.add, Report: w.report, Ready: w.ready,
			Cordon: func(node string) { w.unschedulable(node, true) },
		}
	})
}

func TestStore(t *testing.T) {
	looptest.Store(t, func(t *testing.T) func() loop.Store {
		w := newWorld(t)
		return func() loop.Store { return w.store() }
	})
}

func (w *world) store() *Store { return &Store{Client: w.client, Namespace: w.namespace, Fleet: "f"} }

// A config of some megabytes that does not compress comes back whole; one of whose pieces is damaged
// or gone is as good as gone, and is healed by keeping it again.
func TestAConfigInPieces(t *testing.T) {
	w := newWorld(t)
	noise := make([]byte, 4<<20)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	c := machine.Config{Files: []machine.File{{Path: "/opt/tool", Mode: 0o755, Contents: noise}}}
	d := c.Digest()
	secrets := w.client.core.CoreV1().Secrets(w.namespace)
	s := w.store()
	for _, damage := range []func(){
		func() {},
		func() { w.must(secrets.Delete(t.Context(), piece(d, 1), metav1.DeleteOptions{})) },
		func() {
			half, err := secrets.Get(t.Context(), piece(d, 1), metav1.GetOptions{})
			w.must(err)
			w.must(secrets.Delete(t.Context(), half.Name, metav1.DeleteOptions{}))
			half.ResourceVersion, half.UID = "", ""
			half.Data[payload] = half.Data[payload][1:]
			_, err = secrets.Create(t.Context(), half, metav1.CreateOptions{})
			w.must(err)
		},
	} {
		damage()
		if _, ok, err := s.Config(t.Context(), d); ok || err != nil {
			t.Fatalf("before it is kept: %t, %v", ok, err)
		}
		w.must(s.Keep(t.Context(), c))
		got, ok, err := w.store().Config(t.Context(), d)
		if !ok || err != nil || got.Digest() != d {
			t.Fatalf("kept, it is %t, %v", ok, err)
		}
	}
	kept, err := secrets.List(t.Context(), metav1.ListOptions{})
	w.must(err)
	if len(kept.Items) != 5 {
		t.Errorf("%d Secrets hold what takes five", len(kept.Items))
	}
	for _, k := range kept.Items {
		if k.Immutable == nil || !*k.Immutable {
			t.Errorf("secret %s may be changed", k.Name)
		}
	}
}

func TestADamagedStateSaysWhatToDo(t *testing.T) {
	w := newWorld(t)
	w.must(w.store().Save(t.Context(), reconciler.State{Generation: 1}))
	w.must(w.client.core.CoreV1().Secrets(w.namespace).Delete(t.Context(), "f-state", metav1.DeleteOptions{}))
	_, err := w.client.core.CoreV1().Secrets(w.namespace).Create(t.Context(), w.store().secret("f-state", []byte("half")), metav1.CreateOptions{})
	w.must(err)
	if _, err := w.store().Load(context.Background()); err == nil {
		t.Error("a damaged state is loaded")
	} else {
		holds(t, "the error", err.Error(), w.namespace+"/f-state", "delete it")
	}
}
