package kube

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/reconciler"
)

// TestLease: one works, the next takes over at once when it ends, and who loses the lease stops.
func TestLease(t *testing.T) {
	w := newWorld(t)
	leases := w.client.core.CoordinationV1().Leases(w.namespace)
	lease := func(who string) *Lease {
		return &Lease{Client: w.client, Namespace: w.namespace, Name: "l", Identity: who, Duration: 3 * time.Second}
	}
	works := make(chan string)
	hold := func(ctx context.Context, who string) <-chan error {
		over := make(chan error, 1)
		go func() {
			over <- lease(who).Hold(ctx, func(ctx context.Context) error {
				works <- who
				<-ctx.Done()
				works <- "not " + who
				return nil
			})
		}()
		return over
	}
	hears := func(want string) {
		t.Helper()
		select {
		case got := <-works:
			if got != want {
				t.Fatalf("heard %q, want %q", got, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%q is not heard", want)
		}
	}
	ends := func(over <-chan error, want error) {
		t.Helper()
		select {
		case err := <-over:
			if !errors.Is(err, want) {
				t.Errorf("it ends with %v, want %v", err, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("it does not end")
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	first := hold(ctx, "a")
	hears("a")
	idle, never := context.WithCancel(t.Context())
	waiting := hold(idle, "b")
	never()
	ends(waiting, nil) // it never led
	second := hold(t.Context(), "c")
	stop()
	hears("not a") // before c works
	ends(first, nil)
	hears("c")

	thief := "d"
	w.await("the lease is stolen", func() bool {
		held, err := leases.Get(t.Context(), "l", metav1.GetOptions{})
		w.must(err)
		now := metav1.NowMicro()
		held.Spec.HolderIdentity, held.Spec.RenewTime = &thief, &now
		_, err = leases.Update(t.Context(), held, metav1.UpdateOptions{})
		return err == nil
	})
	hears("not c")
	ends(second, ErrDeposed)
}

// cut is a connection that can be broken.
type cut struct {
	next http.RoundTripper
	off  *atomic.Bool
}

func (c cut) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.off.Load() {
		return nil, errors.New("no route to host")
	}
	return c.next.RoundTrip(r)
}

// TestAHolderKnowsThatItIsLate: who cannot renew its lease stops writing before another can take it.
func TestAHolderKnowsThatItIsLate(t *testing.T) {
	w := newWorld(t)
	var off atomic.Bool
	config := rest.CopyConfig(w.client.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return cut{next, &off} })
	lease := func(c *Client, who string) *Lease {
		return &Lease{Client: c, Namespace: w.namespace, Name: "l", Identity: who, Duration: 6 * time.Second}
	}
	first := lease(connect(t, config), "a")
	if first.Fresh() {
		t.Error("it is fresh before it is held")
	}
	leads, over := make(chan struct{}), make(chan error, 1)
	go func() {
		over <- first.Hold(t.Context(), func(ctx context.Context) error { close(leads); <-ctx.Done(); return nil })
	}()
	<-leads
	if !first.Fresh() {
		t.Error("it is held, and not fresh")
	}
	off.Store(true)
	second, late := lease(w.client, "b"), make(chan bool, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		_ = second.Hold(ctx, func(context.Context) error { late <- first.Fresh(); return nil })
	}()
	if <-late {
		t.Error("another leads, and the first does not know that it is late")
	}
	stop()
	if err := <-over; !errors.Is(err, ErrDeposed) {
		t.Errorf("the first ends with %v", err)
	}
}

// TestNothingIsWrittenOnceTheLeaseMayBeAnothers: of all that a controller writes nothing leaves the
// process, and what it reads it may still read.
func TestNothingIsWrittenOnceTheLeaseMayBeAnothers(t *testing.T) {
	w := newWorld(t)
	w.fleetObject(nil)
	w.add("w1", nil)
	w.add("w2", nil)
	pod := w.pod("p", "w1", nil)
	fresh := true
	guarded, err := w.client.While(func() bool { return fresh })
	w.must(err)
	mine := &world{T: t, client: guarded, namespace: w.namespace}
	f, store := mine.fleet(), mine.store()
	_, err = f.takeOff(t.Context(), "w2")
	w.must(err)
	w.must(store.Save(t.Context(), reconciler.State{Generation: 1}))
	w.node(f, "w1")
	fresh = false
	for what, write := range map[string]func(ctx context.Context) error{
		"a cordon":          func(ctx context.Context) error { _, err := f.takeOff(ctx, "w1"); return err },
		"an uncordon":       func(ctx context.Context) error { return f.Uncordon(ctx, "w2") },
		"a mark":            func(ctx context.Context) error { return f.Mark(ctx, map[string]bool{"w1": true}) },
		"an eviction":       func(ctx context.Context) error { return f.evict(ctx, pod, false) },
		"a forced eviction": func(ctx context.Context) error { return f.evict(ctx, pod, true) },
		"an order": func(ctx context.Context) error {
			return f.Send(ctx, nodeops.Order{Node: "w1", Generation: 9, Config: machine.Config{}.Digest()})
		},
		"the state": func(ctx context.Context) error { return store.Save(ctx, reconciler.State{Generation: 2}) },
		"a config":  func(ctx context.Context) error { return store.Keep(ctx, machine.Config{KernelArgs: []string{"a"}}) },
		"the Fleet": func(ctx context.Context) error {
			return (&Board{Client: guarded, Fleet: "f"}).Tell(ctx, Trouble{Failed, "x"}, Text{})
		},
		"an Event": func(ctx context.Context) error {
			return (&Events{Client: guarded, Fleet: "f"}).write(ctx, News{Kind: "Node", Name: "w1", Reason: "X"})
		},
	} {
		if err := write(t.Context()); !errors.Is(err, ErrDeposed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := w.node(f, "w2"); n.Cordon != reconciler.Ours {
		t.Errorf("node w2 is %q", n.Cordon)
	}
	if got, err := w.client.core.CoreV1().Pods(w.namespace).Get(t.Context(), "p", metav1.GetOptions{}); err != nil || got.DeletionTimestamp != nil || got.Status.Phase != corev1.PodRunning {
		t.Errorf("the pod is %+v, %v", got.Status, err)
	}
}
