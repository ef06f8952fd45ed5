package kube

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/source"
)

// TestWhatABoardShowsIsRead holds that who reads Pools alone gives the reasons, the history and the
// commits that the controller remembers.
func TestWhatABoardShowsIsRead(t *testing.T) {
	const (
		one = machine.Digest("1111111111111111111111111111111111111111111111111111111111111111")
		two = machine.Digest("2222222222222222222222222222222222222222222222222222222222222222")
	)
	at := time.Date(2026, 11, 22, 10, 0, 0, 500, time.UTC)
	landed := []reconciler.Landing{{Commit: "c1", Config: one, At: at, Nodes: 3}}
	counts := reconciler.Counts{Nodes: 5, Updated: 4, Unavailable: 3, Failed: 2, Drifted: 1}
	window := policy.Finding{Check: "window", Outcome: policy.Wait, Reason: "outside every window"}
	for name, p := range map[string]reconciler.Pool{
		"updated":       {Phase: reconciler.Updated, Since: at, Revision: source.Revision{Commit: "c1"}, Target: one, Counts: counts, History: landed},
		"waiting":       {Phase: reconciler.Waiting, Revision: source.Revision{Commit: "c2"}, Target: two, Waiting: []policy.Finding{{Check: "drift", Outcome: policy.Warn, Reason: "w1"}, window}, History: landed},
		"halted":        {Phase: reconciler.Halted, Revision: source.Revision{Commit: "c2"}, Target: two, Halt: "node w1 refused"},
		"halted, waits": {Phase: reconciler.Halted, Revision: source.Revision{Commit: "c2"}, Target: two, Halt: "node w1 refused", Waiting: []policy.Finding{window}},
		"taken back":    {Phase: reconciler.Halted, Revision: source.Revision{Commit: "c2"}, Target: one, Spurned: two, Why: "node w1 refused", RollbackOf: "c1", History: landed},
		"a revert":      {Phase: reconciler.Updated, Revision: source.Revision{Commit: "c3"}, Target: one, RollbackOf: "c1", History: landed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := poolShown(poolStatus(p))
			if err != nil {
				t.Fatal(err)
			}
			if got.Reason() != p.Reason() {
				t.Errorf("it is halted because %q, want %q", got.Reason(), p.Reason())
			}
			if got, want := got.Brought(one), p.Brought(one); got != want {
				t.Errorf("its config is from commit %q, want %q", got, want)
			}
			got.Halt, got.Why = p.Halt, p.Why // two fields, one reason
			if diff := cmp.Diff(p, got); diff != "" {
				t.Errorf("it is another pool (- remembered, + read):\n%s", diff)
			}
		})
	}
}

func TestAViewNamesWhatKeepsAFleetFromBeingFollowed(t *testing.T) {
	for name, tt := range map[string]struct {
		is    v1alpha1.Standing
		state reconciler.State
		want  string
	}{
		"ready":                           {is: v1alpha1.Standing{Reason: "Following", Message: "fine"}},
		"credentials are missing":         {is: v1alpha1.Standing{Type: v1alpha1.Stalled, Reason: "NoSecret", Message: "there is no Secret git"}, want: "there is no Secret git"},
		"the state has the refusal":       {is: v1alpha1.Standing{Type: v1alpha1.Stalled, Reason: "Refused", Message: "not rendered: x"}},
		"the state has Git's silence":     {is: v1alpha1.Standing{Type: v1alpha1.Stalled, Reason: "GitSilent", Message: "Git is silent: no route"}, state: reconciler.State{Silent: "no route"}},
		"Git's silence stands there only": {is: v1alpha1.Standing{Type: v1alpha1.Stalled, Reason: "GitSilent", Message: "Git is silent: no route"}, want: "Git is silent: no route"},
	} {
		fleet := &v1alpha1.Fleet{Status: v1alpha1.FleetStatus{Conditions: tt.is.Conditions(nil, 1, metav1.Now())}}
		if got := trouble(fleet, tt.state); got != tt.want {
			t.Errorf("%s: it says %q, want %q", name, got, tt.want)
		}
	}
	refusal := v1alpha1.Standing{Type: v1alpha1.Stalled, Reason: "Refused", Message: "held: main was rewritten"}
	state, err := shown(&v1alpha1.Fleet{Status: v1alpha1.FleetStatus{Conditions: refusal.Conditions(nil, 1, metav1.Now())}}, nil)
	if err != nil || len(state.Refused) != 1 || state.Refused[0].State != source.Pending || state.Refused[0].Summary != refusal.Message {
		t.Errorf("a rewritten branch reads as %+v, %v", state.Refused, err)
	}
}

func TestAViewSaysThatNoControllerRuns(t *testing.T) {
	w := newWorld(t)
	v := View{Client: w.client, Namespace: w.namespace, Fleet: "f"}
	_, absent := v.controller(t.Context(), time.Now())
	holds(t, "without a lease it", absent, "no controller holds the lease "+w.namespace+"/sluice-f")
	holder, lasts, renewed := "pod-1_x", int32(15), metav1.NowMicro()
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: "sluice-f"},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &lasts, RenewTime: &renewed},
	}
	leases := w.client.core.CoordinationV1().Leases(w.namespace)
	lease, err := leases.Create(t.Context(), lease, metav1.CreateOptions{})
	w.must(err)
	if who, absent := v.controller(t.Context(), renewed.Add(70*time.Second)); who != holder || absent != "" {
		t.Errorf("of a lease that is held it says %q: %s", who, absent)
	}
	_, absent = v.controller(t.Context(), renewed.Add(80*time.Second))
	holds(t, "of a lease that has run out it", absent, "controller pod-1_x has not renewed the lease")
	nobody := ""
	lease.Spec.HolderIdentity = &nobody
	_, err = leases.Update(t.Context(), lease, metav1.UpdateOptions{})
	w.must(err)
	_, absent = v.controller(t.Context(), renewed.Time)
	holds(t, "of a lease that was given back it", absent, "no controller holds the lease")
}

// TestTheDeskChangesHoldsOnly releases what cannot be read, and leaves the rest of the Fleet alone.
func TestTheDeskChangesHoldsOnly(t *testing.T) {
	w := newWorld(t)
	w.fleetObject(func(f *v1alpha1.Fleet) { f.Spec.ClusterDNS = "10.0.0.10" })
	desk, now := Desk{Client: w.client, Fleet: "f"}, time.Now().UTC().Truncate(time.Second)
	add := func(h policy.Hold) {
		t.Helper()
		h.Since = now
		w.must(desk.Hold(t.Context(), h))
	}
	add(policy.Hold{Pool: "worker", By: "ann", Reason: "a", Until: now.Add(time.Minute)})
	add(policy.Hold{Pool: "worker", By: "bob", Reason: "b"})
	add(policy.Hold{Pool: "worker", By: "ann", Reason: "c"}) // takes the place of the first
	now = now.Add(time.Hour)
	add(policy.Hold{By: "cy", Reason: "d", Until: now.Add(time.Minute)})
	now = now.Add(time.Hour)
	add(policy.Hold{Pool: "edge", By: "ann", Reason: "e"}) // the one before is over
	w.must(desk.Allow(t.Context(), "0123456789012345678901234567890123456789"))
	spec, err := desk.Spec(t.Context())
	w.must(err)
	have, err := desk.Holds(t.Context())
	w.must(err)
	said := ""
	for _, h := range have {
		said += h.Reason
	}
	if said != "bce" || spec.Rewind == "" || spec.ClusterDNS != "10.0.0.10" {
		t.Errorf("the holds are %q, and the spec is %+v", said, spec)
	}
	gone, err := desk.Release(t.Context(), func(h policy.Hold) bool { return h.By == "ann" })
	w.must(err)
	have, err = desk.Holds(t.Context())
	w.must(err)
	if len(gone) != 2 || len(have) != 1 || have[0].By != "bob" {
		t.Errorf("released %v, left %v", gone, have)
	}
	gone, err = desk.Release(t.Context(), func(policy.Hold) bool { return true })
	w.must(err)
	if have, err = desk.Holds(t.Context()); err != nil || len(gone) != 1 || len(have) != 0 {
		t.Errorf("released %v, left %v, %v", gone, have, err)
	}
}
