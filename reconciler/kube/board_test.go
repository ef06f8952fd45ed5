package kube

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/source"
)

// followed is the revision of the Fleet that fleetObject makes.
func followed(commit string) source.Revision {
	return source.Revision{Repo: "https://git.example.com/fleet", Ref: "refs/heads/main", Commit: commit}
}

// whose is the Fleet of a Pool, and what it shows.
func (w *world) whose(pool string) (fleet, revision string) {
	w.Helper()
	p, err := w.client.pools.Get(w.Context(), pool, metav1.GetOptions{})
	w.must(err)
	return p.Labels[fleetLabel], p.Status.Revision
}

// TestAPoolIsOfTheFleetThatTheNodesBelongTo: what a Fleet that is gone has left shows the past, and
// nobody mends it; what one has left that the nodes do belong to is not touched.
func TestAPoolIsOfTheFleetThatTheNodesBelongTo(t *testing.T) {
	w := newWorld(t)
	w.fleetObject(nil)
	shows := func(fleet, commit string) error {
		state := reconciler.State{Good: followed(commit), Pools: map[string]reconciler.Pool{"worker": {Phase: reconciler.Updated, Revision: followed(commit)}}}
		return (&Board{Client: w.client, Fleet: fleet}).Show(t.Context(), state)
	}
	w.must(shows("gone", "1111111aaaa"))
	w.must(shows("f", "2222222bbbb"))
	if fleet, revision := w.whose("worker"); fleet != "f" || revision != "2222222" {
		t.Errorf("the Pool is of Fleet %q, and shows %q", fleet, revision)
	}
	err := shows("gone", "3333333cccc")
	if err == nil {
		t.Error("a Fleet that is not there has taken the Pool")
	} else {
		holds(t, "whoever has no nodes", err.Error(), "Pool worker", "there is no Fleet gone")
	}
	if fleet, revision := w.whose("worker"); fleet != "f" || revision != "2222222" {
		t.Errorf("then the Pool is of Fleet %q, and shows %q", fleet, revision)
	}
}

// TestAFleetIsReadyForWhatIsAskedNow: who has just named another source and waits for the Fleet must
// not be answered with the one before.
func TestAFleetIsReadyForWhatIsAskedNow(t *testing.T) {
	w := newWorld(t)
	w.fleetObject(nil)
	board := &Board{Client: w.client, Fleet: "f"}
	w.must(board.Show(t.Context(), reconciler.State{Good: followed("1111111aaaa")}))
	for _, tt := range []struct{ name, source, want string }{
		{"as it was", `{}`, "Following"},
		{"another branch", `{"branch": "next"}`, starting},
		{"back again", `{"branch": "main"}`, "Following"},
		{"another repository", `{"url": "https://git.example.com/other"}`, starting},
	} {
		plane.Kubectl(t, "patch", "fleet", "f", "--type=merge", "-p", `{"spec": {"source": `+tt.source+`}}`)
		w.must(board.Tell(t.Context(), Trouble{}))
		f, err := w.client.fleets.Get(t.Context(), "f", metav1.GetOptions{})
		w.must(err)
		c := meta.FindStatusCondition(f.Status.Conditions, v1alpha1.Ready)
		if c == nil || c.Reason != tt.want || c.ObservedGeneration != f.Generation || (c.Status == metav1.ConditionTrue) != (tt.want == "Following") {
			t.Errorf("%s: the Fleet says %+v, want %s", tt.name, c, tt.want)
		}
	}
}

// TestWhatCannotBeShownIsLoggedOnce: the state is read at every tick.
func TestWhatCannotBeShownIsLoggedOnce(t *testing.T) {
	w := newWorld(t)
	w.fleetObject(nil)
	var log bytes.Buffer
	store := w.store()
	store.Board, store.Log = &Board{Client: w.client, Fleet: "f"}, slog.New(slog.NewTextHandler(&log, nil))
	bad := reconciler.State{Good: followed("1111111aaaa"), Pools: map[string]reconciler.Pool{"no_name_of_an_object": {}}}
	w.must(store.Save(t.Context(), bad))
	for range 3 {
		_, err := store.Load(t.Context())
		w.must(err)
	}
	if n := strings.Count(log.String(), "cannot be shown"); n != 1 {
		t.Errorf("it is logged %d times: %s", n, &log)
	}
	log.Reset()
	w.must(store.Save(t.Context(), reconciler.State{Good: followed("1111111aaaa")}))
	w.must(store.Save(t.Context(), bad))
	if !strings.Contains(log.String(), "cannot be shown") {
		t.Error("once it was well, the next time is not logged")
	}
}

// TestOneNodeCannotFillTheMemoryOfAll: a node's words go into the state, the Pool and statuses; one
// that says too much is refused by the server, and a Pool is shown whatever its reason.
func TestOneNodeCannotFillTheMemoryOfAll(t *testing.T) {
	w := newWorld(t)
	w.fleetObject(nil)
	w.add("w1", nil)
	f := w.fleet()
	long := strings.Repeat("x", 5000)
	for name, r := range map[string]nodeops.Report{
		"why":   {Phase: nodeops.Failed, Why: long},
		"drift": {Phase: nodeops.Idle, Drift: []nodeops.Drift{{Path: "/etc/a", Kind: "content", Why: long}}},
		"path":  {Phase: nodeops.Idle, Drift: []nodeops.Drift{{Path: "/" + long + long, Kind: "content"}}},
		"boot":  {Phase: nodeops.Idle, BootID: long},
	} {
		if err := say(t.Context(), w.client, f, "w1", r); !apierrors.IsInvalid(err) {
			t.Errorf("%s: the server answers %v", name, err)
		}
	}
	w.must(say(t.Context(), w.client, f, "w1", nodeops.Report{Phase: nodeops.Failed, Why: long[:4096]}))
	board := &Board{Client: w.client, Fleet: "f"}
	halted := reconciler.Pool{Phase: reconciler.Halted, Halt: strings.Repeat("x", 40000)}
	w.must(board.Show(t.Context(), reconciler.State{Good: followed("1111111aaaa"), Pools: map[string]reconciler.Pool{"worker": halted}}))
}
