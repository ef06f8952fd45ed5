package loop

import (
	"context"
	"time"

	"github.com/sluice-gitops/sluice/reconciler"
)

// Look is what one tick saw, decided and did, for whoever counts or shows it. Nothing in it may be
// changed.
type Look struct {
	Loaded  bool // the store answered
	Whole   bool // the tick came as far as to decide; else Seen, State and Effects are empty
	Seen    reconciler.Observed
	Saved   bool             // what was decided is remembered, and was done but for what Err says
	State   reconciler.State // as decided; receipts that the effects brought are not in it yet
	Effects []reconciler.Effect

	Err   error // of the tick
	Took  time.Duration
	Saves int // how often the state was saved

	Asked bool      // Git was asked in this tick
	Git   error     // of the last time that it was; nil when it answered
	Heard time.Time // when it last answered; zero: not since the start
	Forge error     // why the forge takes nothing now; nil when it does, and when it only asks for quiet
	Mark  error     // of marking nodes in this tick; nil when that was well, or was not tried
}

// save counts what is saved.
func (l *Loop) save(ctx context.Context, s reconciler.State) error {
	err := l.Store.Save(ctx, s)
	if err == nil {
		l.saves++
	}
	return err
}
