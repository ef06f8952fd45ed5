package loop

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/sluice-gitops/sluice/reconciler"
)

// move does what is to be done to nodes, several at once where there are Hands for it. Nodes are given
// back before others are taken, so that never more are away than was decided. It says whether there
// was anything to do.
func (l *Loop) move(ctx context.Context, effects []reconciler.Effect) (any bool, errs []error) {
	var back, send, drain []func() error
	var drains []reconciler.Drain
	for _, e := range effects {
		switch e := e.(type) {
		case reconciler.Uncordon:
			back = append(back, func() error {
				return l.did(l.Fleet.Uncordon(ctx, e.Node), "uncordon", "node", e.Node)
			})
		case reconciler.Send:
			send = append(send, func() error {
				return l.did(l.Fleet.Send(ctx, e.Order), "send", "node", e.Order.Node, "generation", e.Order.Generation, "config", e.Order.Config.Short(), "ceiling", e.Order.Ceiling)
			})
		case reconciler.Drain:
			drains = append(drains, e)
			drain = append(drain, func() error { return l.Fleet.Drain(ctx, e) })
		}
	}
	for _, deeds := range [][]func() error{back, send} {
		errs = append(errs, l.atOnce(deeds)...)
	}
	errs = append(errs, l.drained(drains, l.atOnce(drain))...)
	return len(back)+len(send)+len(drain) > 0, errs
}

// mark asks new work to go elsewhere, where the fleet can. That is a courtesy: no order waits for it,
// and a tick is no worse where it fails. It is tried again later and later.
func (l *Loop) mark(ctx context.Context, state reconciler.State, seen reconciler.Observed) (err error) {
	m, can := l.Fleet.(Marker)
	if can && !l.marks.closed(l.Now()) {
		err = m.Mark(ctx, reconciler.Outdated(state, seen))
		l.marks.note(err, l.Now())
	}
	if l.marks.why != nil {
		l.complain(l.Log.Warn, "nodes cannot be marked for new work to avoid; they are updated all the same", l.marks.why)
	}
	return err
}

// drained says what came of drains. They are repeated at every tick: the log has one when it begins,
// and when something else is asked of it.
func (l *Loop) drained(drains []reconciler.Drain, errs []error) []error {
	now := map[string]reconciler.Drain{}
	for i, d := range drains {
		last, goes := l.drains[d.Node]
		switch {
		case errs[i] != nil:
			errs[i] = fmt.Errorf("drain %s: %w", d.Node, errs[i])
			if goes {
				now[d.Node] = last
			}
			continue
		case !goes || !last.Until.Equal(d.Until) || last.Force != d.Force || !reflect.DeepEqual(last.Pods, d.Pods):
			l.Log.Info("drain", "node", d.Node, "force", d.Force)
		}
		now[d.Node] = d
	}
	l.drains = now
	return errs
}

// atOnce does deeds that do not depend on each other. They begin in their order.
func (l *Loop) atOnce(deeds []func() error) []error {
	errs := make([]error, len(deeds))
	if l.Hands < 2 {
		for i, do := range deeds {
			errs[i] = do()
		}
		return errs
	}
	var group sync.WaitGroup
	slots := make(chan struct{}, l.Hands)
	for i, do := range deeds {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			errs[i] = do()
		})
	}
	group.Wait()
	return errs
}

func (l *Loop) did(err error, verb string, args ...any) error {
	if err != nil {
		return fmt.Errorf("%s %v: %w", verb, args[1], err)
	}
	l.Log.Info(verb, args...)
	return nil
}
