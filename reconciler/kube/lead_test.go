package kube

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestLease: one works, the next takes over at once when it ends, and who loses the lease stops.
func TestLease(t *testing.T) {
	w := newWorld(t)
	leases := w.client.core.CoordinationV1().Leases(w.namespace)
	lease := func(who string) Lease {
		return Lease{Client: w.client, Namespace: w.namespace, Name: "l", Identity: who, Duration: 3 * time.Second}
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
