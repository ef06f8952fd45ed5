package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
)

// Board shows a state as Pool objects and as the status of the Fleet. Nobody decides by them: what
// cannot be written now is written later.
type Board struct {
	Client *Client
	Fleet  string

	shown *reconciler.State // nil: not known
}

// Show writes what has changed since it was last shown. After an error all is compared anew.
func (b *Board) Show(ctx context.Context, state reconciler.State) error {
	if b.shown != nil && reflect.DeepEqual(b.shown.Pools, state.Pools) && b.shown.Good == state.Good && reflect.DeepEqual(b.shown.Refused, state.Refused) {
		return nil
	}
	b.shown = nil
	now := metav1.NewTime(time.Now())
	mine := labels.SelectorFromSet(labels.Set{fleetLabel: b.Fleet}).String()
	there, err := b.Client.pools.List(ctx, metav1.ListOptions{LabelSelector: mine})
	if err != nil {
		return fmt.Errorf("list Pools: %w", err)
	}
	has := map[string]*v1alpha1.Pool{}
	for i := range there.Items {
		has[there.Items[i].Name] = &there.Items[i]
	}
	errs := []error{b.fleet(ctx, state, now)}
	for _, name := range slices.Sorted(maps.Keys(state.Pools)) {
		errs = append(errs, b.pool(ctx, name, state.Pools[name], has[name], now))
		delete(has, name)
	}
	for name := range has {
		if err := b.Client.pools.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("delete Pool %s: %w", name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	b.shown = &state
	return nil
}

func (b *Board) pool(ctx context.Context, name string, p reconciler.Pool, has *v1alpha1.Pool, now metav1.Time) (err error) {
	if has == nil {
		has = &v1alpha1.Pool{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{fleetLabel: b.Fleet}}}
		if has, err = b.Client.pools.Create(ctx, has, creating); err != nil {
			return fmt.Errorf("make Pool %s: %w", name, err)
		}
	}
	want := poolStatus(p)
	want.ObservedGeneration = has.Generation
	want.Conditions = poolStanding(p).Conditions(has.Status.Conditions, has.Generation, now)
	if reflect.DeepEqual(want, has.Status) {
		return nil
	}
	has.Status = want
	if _, err := b.Client.pools.UpdateStatus(ctx, has, updating); err != nil {
		return fmt.Errorf("show Pool %s: %w", name, err)
	}
	return nil
}

// poolStatus is how a pool stands, for people.
func poolStatus(p reconciler.Pool) v1alpha1.PoolStatus {
	s := v1alpha1.PoolStatus{
		Phase: string(p.Phase), Updated: fmt.Sprintf("%d/%d", p.Counts.Updated, p.Counts.Nodes),
		Revision: p.Revision.Short(), Commit: p.Revision.Commit, Target: string(p.Target), RollbackOf: p.RollbackOf,
		Since: stamp(p.Since), WaitingOn: p.Reason(),
		Nodes: v1alpha1.Nodes{
			Total: int64(p.Counts.Nodes), Updated: int64(p.Counts.Updated), Unavailable: int64(p.Counts.Unavailable),
			Failed: int64(p.Counts.Failed), Drifted: int64(p.Counts.Drifted),
		},
	}
	for _, f := range p.Waiting {
		s.Waiting = append(s.Waiting, v1alpha1.Finding{Check: f.Check, Outcome: f.Outcome.String(), Reason: f.Reason})
		if s.WaitingOn == "" && f.Outcome >= policy.Wait {
			s.WaitingOn = f.Reason
		}
	}
	for _, l := range p.History {
		s.History = append(s.History, v1alpha1.Landing{Commit: l.Commit, Config: string(l.Config), At: stamp(l.At)})
	}
	return s
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func poolStanding(p reconciler.Pool) v1alpha1.Standing {
	s := poolStatus(p)
	said := v1alpha1.Standing{Reason: string(p.Phase), Message: s.WaitingOn}
	switch p.Phase {
	case reconciler.Updated:
		said.Message = fmt.Sprintf("all %d nodes are at %s", p.Counts.Nodes, s.Revision)
	case reconciler.Halted:
		said.Type = v1alpha1.Stalled
	case reconciler.Degraded:
		said.Type, said.Message = v1alpha1.Stalled, fmt.Sprintf("%d of %d nodes have drifted", p.Counts.Drifted, p.Counts.Nodes)
	default:
		said.Type = v1alpha1.Reconciling
		if said.Message == "" {
			said.Message = s.Updated + " nodes are updated"
		}
	}
	if said.Reason == "" {
		said.Reason = "Unknown"
	}
	return said
}

// fleet shows which revision is in force. Where there is no Fleet object nobody asked.
func (b *Board) fleet(ctx context.Context, state reconciler.State, now metav1.Time) error {
	has, err := b.Client.fleets.Get(ctx, b.Fleet, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read Fleet %s: %w", b.Fleet, err)
	}
	standing := v1alpha1.Standing{Reason: "Following", Message: "the newest revision is in force"}
	switch {
	case len(state.Refused) > 0:
		standing = v1alpha1.Standing{Type: v1alpha1.Stalled, Reason: "Refused", Message: state.Refused[0].Summary}
	case state.Good.Commit == "":
		standing = v1alpha1.Standing{Type: v1alpha1.Reconciling, Reason: "Starting", Message: "no revision was seen yet"}
	}
	want := v1alpha1.FleetStatus{
		ObservedGeneration: has.Generation, Revision: state.Good.Short(), Commit: state.Good.Commit,
		Conditions: standing.Conditions(has.Status.Conditions, has.Generation, now),
	}
	if reflect.DeepEqual(want, has.Status) {
		return nil
	}
	has.Status = want
	if _, err := b.Client.fleets.UpdateStatus(ctx, has, updating); err != nil {
		return fmt.Errorf("show Fleet %s: %w", b.Fleet, err)
	}
	return nil
}
