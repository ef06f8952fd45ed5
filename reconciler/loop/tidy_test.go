package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/machine"
)

// Whatever is pushed, taken back and held up, and whenever controllers change: the config that an
// order or a pool names is there, and what nobody names does not pile up. The clock runs ahead of the
// files', so that nothing is spared for being young.
func TestNoConfigIsLostThatIsNeeded(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(t)
			w.now = time.Now().Add(24 * time.Hour)
			most := 0
			for i := range 80 {
				if dice.IntN(3) == 0 { // often a word of before: a revert
					w.source.Push(reboots(fmt.Sprint("w", dice.IntN(i+1))))
				}
				switch dice.IntN(12) {
				case 0:
					w.restart()
				case 1:
					w.now = w.now.Add(time.Duration(dice.IntN(4*60)) * time.Minute)
				}
				if _, err := w.loop.Tick(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.now = w.now.Add(time.Second)
				if dice.IntN(2) == 0 {
					w.obey()
				}
				w.holdsWhatIsNamed()
				most = max(most, len(w.configs()))
			}
			w.pass(5*time.Hour, 10*time.Minute)
			if left := len(w.configs()); left > 10+len(w.state().Named(w.nodes())) {
				t.Errorf("%d configs are left of %d", left, most)
			} else if left >= most {
				t.Errorf("none of %d configs was ever deleted: this shows nothing", most)
			}
		})
	}
}

func (w *world) config(d machine.Digest) string {
	return filepath.Join(w.dir, "configs", string(d)+".json")
}

func (w *world) configs() []string {
	found, err := filepath.Glob(w.config("*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

func (w *world) holdsWhatIsNamed() {
	w.t.Helper()
	named := map[machine.Digest]string{}
	for name, p := range w.state().Pools {
		named[p.Target] = "pool " + name
	}
	for _, n := range w.nodes() {
		named[n.Order.Config] = "the order of " + n.Name
	}
	delete(named, "")
	for d, who := range named {
		if _, ok, err := w.store.Config(w.t.Context(), d); !ok || err != nil {
			w.t.Fatalf("%s names %s, and it is gone: %v", who, d.Short(), err)
		}
	}
}

// A collection that fails is tried again soon, and not at every tick.
func TestACollectionThatFailsIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	for i := range 14 {
		w.source.Push(reboots(fmt.Sprint("w", i)))
		w.settle()
	}
	w.now = time.Now().Add(24 * time.Hour)
	w.restart()
	store := &cluttered{store: w.store, why: errors.New("the disk is read-only")}
	w.loop = w.controller(w.fleet, store)
	var log bytes.Buffer
	w.loop.Log = slog.New(slog.NewTextHandler(&log, nil))
	before := len(w.configs())
	w.pass(10*time.Minute, 5*time.Second)
	if said := strings.Count(log.String(), "not all deleted"); store.calls < 5 || store.calls > 10 || said != 1 {
		t.Errorf("in ten minutes it was tried %d times and logged %d times", store.calls, said)
	}
	store.why = nil
	w.pass(6*time.Minute, 5*time.Second)
	if left := len(w.configs()); left >= before {
		t.Errorf("mended, %d of %d configs are left", left, before)
	}
}

// cluttered is a store that deletes nothing while there is a reason.
type cluttered struct {
	*store
	why   error
	calls int
}

func (c *cluttered) Collect(ctx context.Context, now time.Time, named []machine.Digest) error {
	if c.calls++; c.why != nil {
		return c.why
	}
	return c.store.Collect(ctx, now, named)
}
