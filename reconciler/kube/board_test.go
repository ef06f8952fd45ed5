package kube

import (
	"bytes"
	"context"
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
	_, err := w.client.pools.Create(t.Context(), &v1alpha1.Pool{ObjectMeta: metav1.ObjectMeta{Name: "worker", Labels: map[string]string{fleetLabel: "gone"}}}, metav1.CreateOptions{})
	w.must(err)
	w.must(shows("f", "2222222bbbb"))
	if fleet, revision := w.whose("worker"); fleet != "f" || revision != "2222222" {
		t.Errorf("the Pool is of Fleet %q, and shows %q", fleet, revision)
	}
	younger, err := w.client.fleets.Create(t.Context(), &v1alpha1.Fleet{
		ObjectMeta: metav1.ObjectMeta{Name: "g"}, Spec: v1alpha1.FleetSpec{Source: v1alpha1.Source{URL: "https://git.example.com/fleet"}},
	}, metav1.CreateOptions{})
	w.must(err)
	t.Cleanup(func() { w.must(w.client.fleets.Delete(context.Background(), younger.Name, metav1.DeleteOptions{})) })
	err = shows("g", "3333333cccc")
	if err == nil {
		t.Error("a younger Fleet has taken the Pool")
	} else {
		holds(t, "whoever has no nodes", err.Error(), "Pool worker", "Fleet f is older")
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
		{"another branch", `{"branch": "next"}`, starting},
		{"back again", `{"branch": "main"}`, "Following"},
		{"another repository", `{"url": "https://git.example.com/other"}`, starting},
	} {
		plane.Kubectl(t, "patch", "fleet", "f", "--type=merge", "-p", `{"spec": {"source": `+tt.source+`}}`)
		w.must(board.Tell(t.Context(), Trouble{}, Text{}))
		f, err := w.client.fleets.Get(t.Context(), "f", metav1.GetOptions{})
		w.must(err)
		if f.Status.ObservedGeneration == f.Generation {
			t.Errorf("%s: nobody has taken it in, and the Fleet speaks of generation %d", tt.name, f.Generation)
		}
		board.Take(TextOf(f))
		w.must(board.Tell(t.Context(), Trouble{}, Text{}))
		f, err = w.client.fleets.Get(t.Context(), "f", metav1.GetOptions{})
		w.must(err)
		c := meta.FindStatusCondition(f.Status.Conditions, v1alpha1.Ready)
		if c == nil || c.Reason != tt.want || c.ObservedGeneration != f.Generation || (c.Status == metav1.ConditionTrue) != (tt.want == "Following") {
			t.Errorf("%s: the Fleet says %+v, want %s", tt.name, c, tt.want)
		}
	}
}

// TestAFleetSpeaksOfWhatATickTookIn: a guardrail is in force when a whole look was taken by it, and a hold
// when it was read; who waits for the object waits for that. A trouble is of the generation that has it.
func TestAFleetSpeaksOfWhatATickTookIn(t *testing.T) {
	w := newWorld(t)
	w.fleetObject(nil)
	board, office := &Board{Client: w.client, Fleet: "f"}, &Office{Desk: Desk{w.client, "f"}}
	fleet := func() *v1alpha1.Fleet {
		f, err := w.client.fleets.Get(t.Context(), "f", metav1.GetOptions{})
		w.must(err)
		return f
	}
	office.Follows = fleet().Spec
	look := func() { // what the controller does
		_, err := office.Holds(t.Context())
		w.must(err)
		board.Take(office.Read)
		w.must(board.Tell(t.Context(), Trouble{}, Text{}))
	}
	says := func(what string, want int64) {
		t.Helper()
		f := fleet()
		c := meta.FindStatusCondition(f.Status.Conditions, v1alpha1.Ready)
		if f.Status.ObservedGeneration != want || c == nil || c.ObservedGeneration != want {
			t.Errorf("%s the Fleet speaks of generation %d, want %d: %+v", what, f.Status.ObservedGeneration, want, c)
		}
	}
	patch := func(spec string) { plane.Kubectl(t, "patch", "fleet", "f", "--type=merge", "-p", `{"spec": `+spec+`}`) }
	w.must(board.Show(t.Context(), reconciler.State{Good: followed("1111111aaaa")}))
	says("before the first look", 0)
	look()
	says("after it", 1)
	patch(`{"profile": "k3s"}`)
	look()
	says("with a profile that the loop does not go by", 1)
	office.Follows = fleet().Spec
	w.must(board.Tell(t.Context(), Trouble{}, Text{}))
	says("with one that it will go by", 1)
	look()
	says("with one that it has gone by", 2)
	patch(`{"holds": [{"by": "ann", "reason": "a look", "since": "2026-11-23T08:00:00Z"}]}`)
	w.must(board.Tell(t.Context(), Trouble{}, Text{}))
	says("with a hold that nobody has read", 2)
	look()
	says("with one that was read", 3)
	patch(`{"prometheus": "nonsense"}`)
	w.must(board.Tell(t.Context(), Trouble{InvalidSpec, "no"}, TextOf(fleet())))
	says("with a mistake", 4)
	patch(`{"prometheus": "http://localhost"}`)
	w.must(board.Tell(t.Context(), Trouble{}, Text{}))
	says("with the mistake mended, and no look taken", 4)
	w.must((&Board{Client: w.client, Fleet: "f"}).Tell(t.Context(), Trouble{NoRights, "no"}, Text{}))
	says("where nothing can be taken in", 5)

	was := TextOf(fleet())
	w.must(w.client.fleets.Delete(t.Context(), "f", metav1.DeleteOptions{}))
	_, err := w.client.fleets.Create(t.Context(), &v1alpha1.Fleet{
		ObjectMeta: metav1.ObjectMeta{Name: "f"}, Spec: v1alpha1.FleetSpec{Source: v1alpha1.Source{URL: "https://git.example.com/fleet"}},
	}, metav1.CreateOptions{})
	w.must(err)
	w.must(board.Tell(t.Context(), Trouble{}, Text{}))
	board.Take(was) // a look that began before
	patch(`{"profile": "k3s"}`)
	w.must(board.Tell(t.Context(), Trouble{}, Text{}))
	says("made anew, before the first look,", 0)
	office.Follows = fleet().Spec
	look()
	says("made anew, after it,", 2)
}

// TestAPoolThatSomebodyDeletesComesBack: on a fleet at rest nothing else would bring it.
func TestAPoolThatSomebodyDeletesComesBack(t *testing.T) {
	w := newWorld(t)
	w.fleetObject(nil)
	board := &Board{Client: w.client, Fleet: "f"}
	state := reconciler.State{Good: followed("1111111aaaa"), Pools: map[string]reconciler.Pool{"worker": {Phase: reconciler.Updated, Revision: followed("1111111aaaa")}}}
	w.must(board.Show(t.Context(), state))
	w.must(w.client.pools.Delete(t.Context(), "worker", metav1.DeleteOptions{}))
	board.shown = board.shown.Add(-anew)
	w.must(board.Show(t.Context(), state))
	if fleet, revision := w.whose("worker"); fleet != "f" || revision != "1111111" {
		t.Errorf("the Pool is of Fleet %q, and shows %q", fleet, revision)
	}
}

// TestPoolsGoWithTheirFleet: nobody would tell any more how they stand. The Fleet that is made in its
// place has its own, and while there is none no Pool is made.
func TestPoolsGoWithTheirFleet(t *testing.T) {
	w := newWorld(t)
	board := &Board{Client: w.client, Fleet: "f"}
	state := reconciler.State{Good: followed("1111111aaaa"), Pools: map[string]reconciler.Pool{"worker": {Phase: reconciler.Updated, Revision: followed("1111111aaaa")}}}
	there := func() bool {
		_, err := w.client.pools.Get(t.Context(), "worker", metav1.GetOptions{})
		return err == nil
	}
	w.must(board.Show(t.Context(), state))
	if there() {
		t.Error("a Pool was made that no Fleet asks for")
	}
	_, err := w.client.pools.Create(t.Context(), &v1alpha1.Pool{ObjectMeta: metav1.ObjectMeta{Name: "worker", Labels: map[string]string{fleetLabel: "f"}}}, metav1.CreateOptions{})
	w.must(err) // as an earlier version has made it
	w.fleetObject(nil)
	w.must(board.Show(t.Context(), state))
	if !there() {
		t.Fatal("the Pool is not made")
	}
	w.must(w.client.fleets.Delete(t.Context(), "f", metav1.DeleteOptions{}))
	w.await("the Pool goes with its Fleet", func() bool { return !there() })
	w.must(board.Tell(t.Context(), Trouble{}, Text{}))
	_, err = w.client.fleets.Create(t.Context(), &v1alpha1.Fleet{
		ObjectMeta: metav1.ObjectMeta{Name: "f"}, Spec: v1alpha1.FleetSpec{Source: v1alpha1.Source{URL: "https://git.example.com/fleet"}},
	}, metav1.CreateOptions{})
	w.must(err)
	w.must(board.Show(t.Context(), state))
	if fleet, revision := w.whose("worker"); fleet != "f" || revision != "1111111" {
		t.Errorf("under the Fleet in its place the Pool is of Fleet %q, and shows %q", fleet, revision)
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
