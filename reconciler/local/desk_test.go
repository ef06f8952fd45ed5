package local_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler/local"
)

var ctx = context.Background()

func holds(t *testing.T, d local.Desk) []policy.Hold {
	t.Helper()
	all, err := d.Holds(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestHolds(t *testing.T) {
	d := local.Desk{Dir: t.TempDir()}
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	if got := holds(t, d); len(got) != 0 {
		t.Fatalf("a new fleet is held: %v", got)
	}
	for _, h := range []policy.Hold{
		{Pool: "worker", By: "ann", Reason: "a look", Since: now, Until: now.Add(time.Minute)},
		{Pool: "worker", By: "bob", Reason: "mine", Since: now},
		{Pool: "worker", By: "bob", Reason: "mine, again", Since: now},
		{By: "bob", Reason: "all", Since: now.Add(time.Minute)}, // by now, ann's is over
	} {
		if err := d.Hold(h); err != nil {
			t.Fatal(err)
		}
	}
	got := holds(t, d)
	if len(got) != 2 || got[0].Reason != "mine, again" || got[1].Pool != "" {
		t.Errorf("%+v: want bob's newest on worker, and the one on all", got)
	}
	gone, err := d.Release(func(h policy.Hold) bool { return h.Pool == "worker" })
	if err != nil || len(gone) != 1 || len(holds(t, d)) != 1 {
		t.Errorf("released %v, %v; left %v", gone, err, holds(t, d))
	}
	if err := d.Allow("c7"); err != nil {
		t.Fatal(err)
	}
	if c, err := d.Allowed(ctx); c != "c7" || err != nil || len(holds(t, d)) != 1 {
		t.Errorf("allowed %q, %v; holds %v", c, err, holds(t, d))
	}
}

func TestHoldsOfManyAtOnce(t *testing.T) {
	d := local.Desk{Dir: t.TempDir()}
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			if err := d.Hold(policy.Hold{Pool: "worker", By: strconv.Itoa(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := holds(t, d); len(got) != 20 {
		t.Errorf("%d of 20 holds are there", len(got))
	}
}

// A hold that cannot be read must not look like none, and must not be written over.
func TestDamagedHolds(t *testing.T) {
	d := local.Desk{Dir: t.TempDir()}
	file := filepath.Join(d.Dir, "holds.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Holds(ctx); err == nil {
		t.Errorf("read as %v", got)
	}
	if err := d.Hold(policy.Hold{By: "ann"}); err == nil {
		t.Error("written over")
	}
}
