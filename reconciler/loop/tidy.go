package loop

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
)

// renewal is how long the store is trusted to have what it was given. Then the head's configs are
// kept again: one that somebody has deleted is back, and one that is needed never looks old.
const renewal = 10 * time.Minute

// keep stores a config before any order can name it.
func (l *Loop) keep(ctx context.Context, p render.Pool) error {
	d := p.Target()
	age := l.Now().Sub(l.eyes.keptAt[d])
	if _, ok := l.eyes.keptAt[d]; ok && age >= 0 && age < renewal {
		return nil
	}
	if err := l.Store.Keep(ctx, p.Config); err != nil {
		return err
	}
	if l.eyes.keptAt == nil {
		l.eyes.keptAt = map[machine.Digest]time.Time{}
	}
	l.eyes.keptAt[d] = l.Now()
	l.learn(d, p.Config)
	return nil
}

// tidy lets go of configs that nothing names any more. It is called at the end of a tick, by the
// goroutine that keeps and orders them: what is needed again later is kept again first.
func (l *Loop) tidy(ctx context.Context, state reconciler.State, seen reconciler.Observed, effects []reconciler.Effect) {
	named := state.Named(seen.Nodes)
	for _, p := range seen.Head.Pools {
		named = append(named, p.Target())
	}
	for _, e := range effects {
		if send, ok := e.(reconciler.Send); ok {
			named = append(named, send.Order.Config)
		}
	}
	slices.Sort(named)
	named = slices.Compact(named)
	unnamed := func(d machine.Digest) bool {
		_, found := slices.BinarySearch(named, d)
		return !found
	}
	maps.DeleteFunc(l.eyes.kept, func(d machine.Digest, _ machine.Config) bool { return unnamed(d) })
	maps.DeleteFunc(l.eyes.keptAt, func(d machine.Digest, _ time.Time) bool { return unnamed(d) })
	if now := l.Now(); !l.sweeps.closed(now) {
		l.sweeps.note(l.Store.Collect(ctx, now, named), now)
	}
	if why := l.sweeps.why; why != nil && ctx.Err() == nil {
		l.complain(l.Log.Warn, "configs that nothing names are not all deleted; it is tried again", why)
	}
}
