// Package loop is the hands of the reconciler: it looks, asks Step, remembers, and does.
package loop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// Source is the Git repository that the fleet follows.
type Source interface {
	// Look asks the remote once for every ref that matters. When the remote does not answer it
	// returns the last sighting it had together with the error.
	Look(context.Context) (source.Sighting, error)
	// Tree reads a commit that some Look has shown, straight from the object store.
	Tree(ctx context.Context, commit string) (fs.FS, error)
	// MergeBase is the commit from which head left the followed branch; "" when they share none.
	MergeBase(ctx context.Context, followed, head string) (string, error)
	// Between lists the first parents of the newer commit down to, and without, the older one,
	// oldest first and without the newer itself: what the branch went through meanwhile. It lists
	// at most 50, and none when the older is no ancestor.
	Between(ctx context.Context, older, newer string) ([]string, error)
}

// Forge is the place where people read about commits and pull requests.
type Forge interface {
	// Proposals lists the open pull requests against the followed branch, sorted by number.
	Proposals(context.Context) ([]source.Proposal, error)
	// Post says one status of one commit. Saying it twice does no harm. An error with a method
	// Final() bool that is true can never be mended: it is not said again. An error with a method
	// RetryAt() time.Time asks for quiet until then.
	Post(context.Context, source.Status) error
	// Comment writes the one comment of a pull request, or edits it in place. Where the forge
	// shows the same body already, nothing is written.
	Comment(context.Context, source.Comment) error
}

// Fleet is the nodes. Every method is safe to repeat.
type Fleet interface {
	// Nodes is the fleet as it is now, sorted by name. It includes every write of ours: a stale
	// answer would break budgets.
	Nodes(context.Context) ([]reconciler.Node, error)
	// Send gives a node its order, whose config the Store keeps already. An order that is older
	// than the node's is not written.
	Send(context.Context, nodeops.Order) error
	// Drain cordons a node as ours and goes on emptying it, as the drain says; Nodes says when it
	// is empty, or what stands in the way. Of a node that does not answer, what can be evicted
	// is: it must not stay out of reach for that.
	Drain(context.Context, reconciler.Drain) error
	// Uncordon releases a cordon of ours, and no other.
	Uncordon(ctx context.Context, node string) error

	// Where a Loop has several Hands, Send, Drain and Uncordon are called for several nodes at once.
}

// Marker is a Fleet that can ask new work to go elsewhere.
type Marker interface {
	// Mark does so for nodes of which the map says true, and ends it for those of which it says
	// false; the others stay as they are. It may do a part of it: it is called at every tick, but
	// seldom while it fails.
	Mark(context.Context, map[string]bool) error
}

// Desk is where operators leave what they ask of the fleet. It is read at every tick.
type Desk interface {
	// Holds are all of them, those whose time is over included.
	Holds(context.Context) ([]policy.Hold, error)
	// Allowed is the commit that may be followed although it does not descend from the last one; ""
	// is none.
	Allowed(context.Context) (string, error)
}

// Store is what outlives the controller.
type Store interface {
	// Load is the state as last saved; the zero State when there is none.
	Load(context.Context) (reconciler.State, error)
	// Save replaces the state that this controller loaded or saved last. When another has saved
	// meanwhile it fails, and nothing may be done on the strength of what was decided.
	Save(context.Context, reconciler.State) error
	Configs
}

// Configs are those that an order may name.
type Configs interface {
	// Config is a config that was kept; false when there is none of that digest.
	Config(context.Context, machine.Digest) (machine.Config, bool, error)
	// Keep stores a config under its digest, durably. Keeping it again makes it new.
	Keep(context.Context, machine.Config) error
	// Collect deletes configs, once an hour and not again within it unless that failed: those that are
	// not named, were not kept within the last hour, and are not among the ten that were kept last. named
	// holds all that the state names that this controller loaded or saved last: where another has saved
	// since, nothing is deleted. What another keeps meanwhile stays.
	Collect(ctx context.Context, now time.Time, named []machine.Digest) error
}

// Loop is one controller of one fleet. Its fields are set once, before the first Tick.
type Loop struct {
	Source Source
	Fleet  Fleet
	Forge  Forge // nil: nobody is told
	Store  Store
	Build  func(fs.FS) ([]render.Build, error)
	Render render.Options
	Gate   policy.Gate
	Desk   Desk            // nil: nobody asks for anything
	Facts  Facts           // nil: nothing is known of the world beside the fleet
	Guard  *policy.Rollout // the operator's own rules; nil is none
	Self   string          // the node that this controller runs on; "" is none of the fleet's
	Poll   time.Duration   // how often the remote is asked; zero asks at every tick
	Hands  int             // how many nodes are sent to, drained and uncordoned at once; zero is one, more need a Fleet that takes it
	Now    func() time.Time
	Log    *slog.Logger
	Watch  func(Look) // told after each tick, by the same goroutine; nil tells nobody

	eyes   eyes
	shut   backoff                     // of the forge
	marks  backoff                     // of marking nodes
	sweeps backoff                     // of collecting configs
	saves  int                         // since the tick began
	drains map[string]reconciler.Drain // that go on, as they were logged
	said   troubles                    // up to the last tick
	saying troubles                    // in this one
}

// Tick looks once, decides once, and does what was decided. It says whether anything is moving,
// in which case it should be called again soon.
func (l *Loop) Tick(ctx context.Context) (moving bool, err error) {
	began := l.Now()
	k := Look{}
	l.saves = 0
	moving, err = l.tick(ctx, &k)
	l.remember(k.Whole)
	if l.Watch == nil {
		return moving, err
	}
	k.Err, k.Saves, k.Took = err, l.saves, max(0, l.Now().Sub(began))
	k.Git, k.Asked, k.Heard = l.eyes.gitErr, !l.eyes.looked.Before(began), l.eyes.heard
	k.Forge = l.shut.why
	l.Watch(k)
	return moving, err
}

func (l *Loop) tick(ctx context.Context, k *Look) (moving bool, err error) {
	state, err := l.Store.Load(ctx)
	if err != nil {
		return false, fmt.Errorf("load state: %w", err)
	}
	k.Loaded = true
	seen, err := l.observe(ctx, state)
	if err != nil {
		return false, fmt.Errorf("observe: %w", err)
	}
	next, effects := reconciler.Step(state, seen)
	k.Whole, k.Seen, k.State, k.Effects = true, seen, next, effects
	for _, p := range seen.Head.Pools {
		if err := l.keep(ctx, p); err != nil {
			return false, fmt.Errorf("keep config of pool %q: %w", p.Name, err)
		}
	}
	if !reflect.DeepEqual(state, next) {
		if err := l.save(ctx, next); err != nil { // remember first: a crash here costs a retry, not a surprise
			return false, fmt.Errorf("save state: %w", err)
		}
	}
	k.Saved = true
	for _, p := range next.Pools {
		moving = moving || p.Phase == reconciler.Progressing
	}
	said, err := l.perform(ctx, next, effects)
	k.Mark = l.mark(ctx, next, seen)
	l.tidy(ctx, next, seen, effects)
	return moving || said, err
}

// Git is the error of the last look at the remote; nil when it answered.
func (l *Loop) Git() error { return l.eyes.gitErr }

// perform does the effects. What fails is seen again at the next tick; a forge that does not
// answer holds back no node, and is no error of the tick. It says whether a node was moved or
// something was said.
func (l *Loop) perform(ctx context.Context, state reconciler.State, effects []reconciler.Effect) (moved bool, err error) {
	moved, errs := l.move(ctx, effects)
	for _, e := range effects {
		switch e := e.(type) {
		case reconciler.Send, reconciler.Drain, reconciler.Uncordon: // done
		case reconciler.Post:
			said, err := l.tell(ctx, &state, func(s reconciler.State) reconciler.State { return s.Heard(e.Status) },
				func() error { return l.Forge.Post(ctx, e.Status) })
			errs, moved = append(errs, err), moved || said
			if said {
				l.Log.Info("post", "commit", source.Short(e.Status.Commit), "pool", e.Status.Pool, "state", e.Status.State, "summary", e.Status.Summary)
			}
		case reconciler.Remark:
			said, err := l.tell(ctx, &state, func(s reconciler.State) reconciler.State { return s.HeardComment(e.Comment) },
				func() error { return l.Forge.Comment(ctx, e.Comment) })
			errs, moved = append(errs, err), moved || said
			if said {
				l.Log.Info("comment", "proposal", e.Comment.Proposal)
			}
		default:
			panic(fmt.Sprintf("loop: cannot do %T", e))
		}
	}
	return moved, errors.Join(errs...)
}

// tell says one thing to the forge and saves the receipt at once, so that a restart repeats at
// most one. Where no forge is configured the receipt is all there is.
func (l *Loop) tell(ctx context.Context, state *reconciler.State, heard func(reconciler.State) reconciler.State, say func() error) (said bool, err error) {
	if l.Forge != nil {
		if l.shut.closed(l.Now()) {
			return false, nil // why was said when it was shut
		}
		trouble := say()
		var last interface{ Final() bool }
		switch {
		case errors.As(trouble, &last) && last.Final():
			l.Log.Warn("the forge takes this no more; it is left unsaid", "error", trouble)
		case trouble != nil:
			l.shut.note(trouble, l.Now())
			l.Log.Warn("the forge does not take what is said; it is kept, and said later", "error", trouble)
			return false, nil
		}
	}
	next := heard(*state)
	err = l.save(ctx, next)
	l.shut.note(err, l.Now()) // a receipt that is not saved counts, too: else the same would be said at every tick
	if err != nil {
		return false, fmt.Errorf("save receipt: %w", err)
	}
	*state = next
	return true, nil
}

// idle is how long a fleet at rest is not looked at: a window opens, a hold ends and a node fails
// however seldom Git is asked.
const idle = 30 * time.Second

// Run ticks until the context ends: soon after a tick in which something moved, at the latest
// after the poll interval or half a minute, at once when woken. Git is asked once per poll interval all the same. A
// tick that fails is repeated soon, and then less and less often; what it fails of is logged once.
func (l *Loop) Run(ctx context.Context, soon time.Duration, wake <-chan struct{}) error {
	fails, last := 0, ""
	for {
		moving, err := l.Tick(ctx)
		if ctx.Err() != nil {
			return nil
		}
		pause := min(l.Poll, idle)
		if moving || err != nil {
			pause = min(pause, soon)
		}
		switch {
		case err == nil:
			fails, last = 0, ""
		default:
			if err.Error() != last {
				last = err.Error()
				l.Log.Error("tick", "error", err)
			}
			pause = min(pause<<min(fails, 8), max(pause, 10*time.Second))
			fails++
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// backoff keeps from hammering who refuses: five seconds, doubling to five minutes, or what a forge
// itself asks for.
type backoff struct {
	since time.Time
	until time.Time
	fails int
	why   error // nil where it only asks for quiet
}

// closed is false before it was shut: a clock that was set back makes nobody wait for it.
func (b *backoff) closed(now time.Time) bool { return !now.Before(b.since) && now.Before(b.until) }

func (b *backoff) note(err error, now time.Time) {
	if err == nil {
		*b = backoff{}
		return
	}
	b.since, b.until = now, now.Add(min(5*time.Second<<min(b.fails, 6), 5*time.Minute))
	b.fails++
	b.why = err
	var asks interface{ RetryAt() time.Time }
	if errors.As(err, &asks) {
		if b.why = nil; asks.RetryAt().After(b.until) {
			b.until = asks.RetryAt()
		}
	}
}
