package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/source"
)

// Board shows a state as Pool objects and as the status of the Fleet, and on the Fleet what
// troubles its controller. Nobody decides by them: what cannot be written now is written later. It
// is safe for use by several goroutines.
type Board struct {
	Client *Client
	Fleet  string

	mu      sync.Mutex
	trouble Trouble
	refused Text              // the newest that was in trouble: it was taken in, too
	taken   Text              // by which a whole look was taken last
	state   *reconciler.State // nil: not known
	shown   time.Time         // when the state was shown last; zero: it is not
	by      types.UID         // the Fleet that has the Pools that were shown
}

// Text is what the spec of a Fleet says at a time. The zero Text is none.
type Text struct {
	Fleet      types.UID // of two Fleets of one name that came after each other, one
	Generation int64
}

// TextOf is what a Fleet says.
func TextOf(f *v1alpha1.Fleet) Text { return Text{f.UID, f.Generation} }

// in is the generation of a Fleet that has this text; 0: it is of another, or none.
func (t Text) in(f *v1alpha1.Fleet) int64 {
	if t.Fleet != f.UID {
		return 0
	}
	return t.Generation
}

// anew is after how long Pools are compared that need not have changed: somebody may have deleted one.
const anew = time.Minute

// Show writes what has changed since it was last shown. After an error, and once a minute, all is
// compared anew. Where there is no such Fleet nobody asked, and no Pool is made that nothing would
// ever delete.
func (b *Board) Show(ctx context.Context, state reconciler.State) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.state
	b.state = &state
	if time.Since(b.shown) < anew && reflect.DeepEqual(was.Pools, state.Pools) && was.Good == state.Good && was.Silent == state.Silent && reflect.DeepEqual(was.Refused, state.Refused) {
		return nil
	}
	b.shown = time.Time{}
	now := metav1.NewTime(b.Client.Clock.Now())
	fleet, err := b.fleet(ctx, now)
	if fleet == nil {
		return err
	}
	mine := labels.SelectorFromSet(labels.Set{fleetLabel: b.Fleet}).String()
	there, err := b.Client.pools.List(ctx, metav1.ListOptions{LabelSelector: mine})
	if err != nil {
		return fmt.Errorf("list Pools: %w", err)
	}
	has := map[string]*v1alpha1.Pool{}
	for i := range there.Items {
		has[there.Items[i].Name] = &there.Items[i]
	}
	errs := []error{err}
	for _, name := range slices.Sorted(maps.Keys(state.Pools)) {
		errs = append(errs, b.pool(ctx, fleet, name, state.Pools[name], has[name], now))
		delete(has, name)
	}
	for name, old := range has {
		if err := b.Client.pools.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &old.UID}}); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("delete Pool %s: %w", name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	b.shown = time.Now()
	return nil
}

// Tell shows on the Fleet what troubles its controller, until it is told something else. The zero
// Trouble says that nothing does. Saying it again compares anew, and writes only what is not there.
// The trouble is with that text; the zero Text: with none more than with another.
func (b *Board) Tell(ctx context.Context, t Trouble, of Text) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trouble = t; of != (Text{}) {
		b.refused = of
	}
	_, err := b.fleet(ctx, metav1.NewTime(b.Client.Clock.Now()))
	return err
}

// Take notes that a whole look was taken by this text. What is shown from then on speaks of it: whoever
// has changed the object and waits for it must not be answered before.
func (b *Board) Take(text Text) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if text != (Text{}) {
		b.taken = text
	}
}

func (b *Board) pool(ctx context.Context, fleet *v1alpha1.Fleet, name string, p reconciler.Pool, has *v1alpha1.Pool, now metav1.Time) (err error) {
	if has == nil || !owned(has, fleet) {
		if has, err = b.make(ctx, fleet, name); err != nil {
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

// owned says that a Pool goes when this very Fleet does.
func owned(p *v1alpha1.Pool, by *v1alpha1.Fleet) bool {
	return slices.ContainsFunc(p.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == by.UID })
}

// make makes a Pool, which the cluster deletes with its Fleet. One of that name that another Fleet has
// left goes, if the nodes are ours now.
func (b *Board) make(ctx context.Context, fleet *v1alpha1.Fleet, name string) (*v1alpha1.Pool, error) {
	owner := metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Fleet", Name: fleet.Name, UID: fleet.UID}
	pool := &v1alpha1.Pool{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{fleetLabel: b.Fleet}, OwnerReferences: []metav1.OwnerReference{owner}}}
	for range again {
		made, err := b.Client.pools.Create(ctx, pool, creating)
		if !apierrors.IsAlreadyExists(err) {
			return made, err
		}
		if _, err := b.Client.Asked(ctx, b.Fleet); err != nil {
			return nil, err
		}
		left, err := b.Client.pools.Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			err = b.Client.pools.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &left.UID}})
		}
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return nil, err
		}
	}
	return nil, errors.New("others write it, too")
}

// poolStatus is how a pool stands, for people.
func poolStatus(p reconciler.Pool) v1alpha1.PoolStatus {
	s := v1alpha1.PoolStatus{
		Phase: string(p.Phase), Updated: fmt.Sprintf("%d/%d", p.Counts.Updated, p.Counts.Nodes),
		Revision: p.Revision.Short(), Commit: p.Revision.Commit, Target: string(p.Target), Spurned: string(p.Spurned), RollbackOf: p.RollbackOf,
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
		s.History = append(s.History, v1alpha1.Landing{Commit: l.Commit, Config: string(l.Config), At: stamp(l.At), Nodes: int64(l.Nodes)})
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
	said.Message = clamp(said.Message)
	return said
}

// fleet shows how the Fleet stands, and returns it; nil: there is none, or it cannot be read.
func (b *Board) fleet(ctx context.Context, now metav1.Time) (*v1alpha1.Fleet, error) {
	has, err := b.Client.fleets.Get(ctx, b.Fleet, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		b.shown = time.Time{} // its Pools go with it
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Fleet %s: %w", b.Fleet, err)
	}
	if b.by != has.UID {
		b.by, b.shown = has.UID, time.Time{}
	}
	want := has.Status
	if b.state != nil {
		want.Revision, want.Commit = b.state.Good.Short(), b.state.Good.Commit
	} else if b.trouble == (Trouble{}) {
		return has, nil // nothing is known
	}
	want.ObservedGeneration = b.speaksOf(has)
	want.Conditions = b.standing(has).Conditions(has.Status.Conditions, want.ObservedGeneration, now)
	if reflect.DeepEqual(want, has.Status) {
		return has, nil
	}
	has.Status = want
	if _, err := b.Client.fleets.UpdateStatus(ctx, has, updating); err != nil {
		return has, fmt.Errorf("show Fleet %s: %w", b.Fleet, err)
	}
	return has, nil
}

// speaksOf is the generation that the standing is of: what was taken in of this very Fleet; before anything
// was, what another controller had, or, of a trouble, what is there: then none of it can be taken in.
func (b *Board) speaksOf(has *v1alpha1.Fleet) int64 {
	taken := max(b.taken.in(has), b.refused.in(has))
	if taken == 0 && b.trouble != (Trouble{}) {
		return has.Generation
	}
	return min(cmp.Or(taken, has.Status.ObservedGeneration), has.Generation)
}

// standing is the worst that there is to say of the fleet. One that follows what was asked before is
// not ready: whoever waits for the object has just written it.
func (b *Board) standing(has *v1alpha1.Fleet) v1alpha1.Standing {
	var state reconciler.State
	if b.state != nil {
		state = *b.state
	}
	switch {
	case b.trouble != Trouble{}:
		return v1alpha1.Standing{Type: v1alpha1.Stalled, Reason: b.trouble.Reason, Message: clamp(b.trouble.Message)}
	case state.Silent != "":
		return v1alpha1.Standing{Type: v1alpha1.Stalled, Reason: silent, Message: clamp(unheard(state))}
	case len(state.Refused) > 0:
		return v1alpha1.Standing{Type: v1alpha1.Stalled, Reason: refused, Message: clamp(state.Refused[0].Summary)}
	case state.Good.Commit == "":
		return v1alpha1.Standing{Type: v1alpha1.Reconciling, Reason: starting, Message: "no revision was seen yet"}
	case elsewhere(state.Good, has.Spec.Source):
		return v1alpha1.Standing{Type: v1alpha1.Reconciling, Reason: starting, Message: "no revision of this source was seen yet; " + state.Good.Short() + " of the one before stays in force"}
	case b.refused.in(has) > b.taken.in(has): // what was in its way is gone, as with a Secret that was made
		return v1alpha1.Standing{Type: v1alpha1.Reconciling, Reason: starting, Message: "no whole look was taken yet by what is asked now"}
	}
	return v1alpha1.Standing{Reason: "Following", Message: "the newest revision is in force"}
}

// elsewhere says that a revision is of another repository or branch; one that names none is not.
func elsewhere(r source.Revision, asked v1alpha1.Source) bool {
	return r.Repo != "" && r.Repo != asked.URL || r.Ref != "" && r.Ref != "refs/heads/"+cmp.Or(asked.Branch, "main")
}

// unheard is why pushes are not seen.
func unheard(s reconciler.State) string {
	why := "spec.source: no push is followed until the branch can be read: " + s.Silent
	if s.Good.Commit != "" {
		why += "; " + s.Good.Short() + " stays in force"
	}
	return why
}

// clamp keeps a message of a condition within what the server takes.
func clamp(text string) string { return clampTo(text, 4000) }

func clampTo(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
