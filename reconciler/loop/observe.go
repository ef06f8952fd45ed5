package loop

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// eyes is what the loop has seen and need not look up again. Losing it costs time only.
type eyes struct {
	looked    time.Time
	gitErr    error     // of that look; nil when it answered
	heard     time.Time // when the remote last answered
	sighting  source.Sighting
	rendered  map[string]rendering // by commit: a commit never renders to anything else
	kept      map[machine.Digest]machine.Config
	keptAt    map[machine.Digest]time.Time // when the store was last seen to have it
	proposals []source.Proposal
	listed    time.Time
	listedAt  source.Sighting // what Git showed then
	previews  map[int]previewed
	stuck     map[int]stuck
	merges    map[int]reconciler.Proposal // the last words on those that were merged
	follows   descent
}

type rendering struct {
	result  render.Result
	mistake render.Errors // the author's; nil when it renders
}

// observe takes the photograph. A remote or a forge that does not answer leaves what was last
// seen in force; only a fleet that cannot be read ends the tick.
func (l *Loop) observe(ctx context.Context, state reconciler.State) (reconciler.Observed, error) {
	o := reconciler.Observed{Now: l.Now(), Gate: l.Gate, Self: l.Self, Guardrail: l.Guard}
	l.look(ctx)
	if l.eyes.gitErr != nil {
		o.Silent = l.eyes.gitErr.Error()
		l.complain(l.Log.Warn, "no push is followed until the branch can be read", l.eyes.gitErr)
	}
	if err := l.head(ctx, state, l.ask(ctx, &o), &o); err != nil {
		return o, err
	}
	var err error
	if o.Nodes, err = l.Fleet.Nodes(ctx); err != nil { // after all that takes its time: a photograph is of one moment
		return o, fmt.Errorf("read nodes: %w", err)
	}
	if err := l.keepFleet(ctx, state, &o); err != nil {
		return o, err
	}
	if o.Known, err = l.known(ctx, state, o); err != nil {
		return o, err
	}
	o.Facts = l.inquire(ctx, state, o)
	o.Facts.Reviewed = l.reviewed(ctx, state, o)
	if l.Forge != nil && o.Head.Revision.Commit != "" {
		l.propose(ctx, state, &o)
	}
	return o, nil
}

// ask reads what operators want. While that cannot be read nothing starts: a hold may stand there.
func (l *Loop) ask(ctx context.Context, o *reconciler.Observed) (allowed string) {
	if l.Desk == nil {
		return ""
	}
	holds, err := l.Desk.Holds(ctx)
	if err == nil {
		allowed, err = l.Desk.Allowed(ctx)
	}
	if o.Holds = holds; err != nil {
		l.complain(l.Log.Error, "the operators' holds cannot be read; nothing starts", err)
		o.Holds = []policy.Hold{Unreadable(err)}
	}
	return allowed
}

// Unreadable is the hold that stands for those which cannot be read.
func Unreadable(err error) policy.Hold {
	return policy.Hold{By: policy.Controller, Reason: "nothing is begun until the holds can be read: " + err.Error()}
}

// look asks the remote, unless it was asked within the poll interval.
func (l *Loop) look(ctx context.Context) {
	if now := l.Now(); l.eyes.looked.IsZero() || now.Sub(l.eyes.looked).Abs() >= l.Poll { // a clock that was set back keeps it from nothing
		sighting, err := l.Source.Look(ctx)
		l.eyes.gitErr = err
		if sighting.Head.Commit != "" {
			l.eyes.sighting = sighting
		}
		if l.eyes.looked = now; err == nil {
			l.eyes.heard = now
		}
	}
}

func (l *Loop) learn(d machine.Digest, c machine.Config) {
	if l.eyes.kept == nil {
		l.eyes.kept = map[machine.Digest]machine.Config{}
	}
	l.eyes.kept[d] = c
}

// known gathers every config that a node or a pool names. One that is gone stays unknown: moving
// away from it costs a reboot.
func (l *Loop) known(ctx context.Context, state reconciler.State, o reconciler.Observed) (map[machine.Digest]machine.Config, error) {
	out := map[machine.Digest]machine.Config{}
	for _, p := range o.Head.Pools {
		out[p.Target()] = p.Config
	}
	for _, d := range state.Named(o.Nodes) {
		if _, ok := out[d]; ok {
			continue
		}
		if c, ok := l.eyes.kept[d]; ok {
			out[d] = c
			continue
		}
		c, ok, err := l.Store.Config(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("read config %s: %w", d.Short(), err)
		}
		if ok {
			out[d] = c
			l.learn(d, c)
		}
	}
	return out, nil
}
