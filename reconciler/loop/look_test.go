package loop_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/loop"
)

// TestWatch holds what a tick tells, also one that fails half way.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	var looks []loop.Look
	w.loop.Watch = func(k loop.Look) { looks = append(looks, k) }
	tick := func() loop.Look {
		t.Helper()
		_, err := w.loop.Tick(t.Context())
		k := looks[len(looks)-1]
		if !errors.Is(err, k.Err) {
			t.Errorf("the tick ends with %v, and tells %v", err, k.Err)
		}
		return k
	}
	c1 := w.source.Push(reboots("a"))
	k := tick()
	if !k.Loaded || !k.Whole || k.Err != nil || len(k.Seen.Nodes) != 3 || k.Seen.Head.Revision.Commit != c1 || k.State.Pools["worker"].Phase != reconciler.Progressing {
		t.Errorf("it tells %+v", k)
	}
	if len(k.Effects) == 0 || k.Saves == 0 || !k.Saved {
		t.Errorf("it tells of %d effects and %d saves; what was decided is saved: %t", len(k.Effects), k.Saves, k.Saved)
	}
	if !k.Asked || k.Git != nil || !k.Heard.Equal(w.now) {
		t.Errorf("of Git it tells %v, %v, %v", k.Asked, k.Git, k.Heard)
	}
	w.loop.Poll = time.Minute
	heard := w.now
	w.now = w.now.Add(time.Second)
	if k = tick(); k.Asked || !k.Heard.Equal(heard) {
		t.Errorf("Git was not asked, and it tells %v, %v", k.Asked, k.Heard)
	}
	w.now = w.now.Add(time.Minute)
	w.source.Fail(errors.New("no route to host"))
	if k = tick(); !k.Asked || k.Git == nil || !k.Heard.Equal(heard) || !k.Whole {
		t.Errorf("Git does not answer, and it tells %+v", k)
	}
	w.obey()
	w.store.fail = errors.New("the disk is full")
	if k = tick(); k.Err == nil || k.Saves != 0 || k.Saved || !k.Loaded || !k.Whole || len(k.Effects) == 0 {
		t.Errorf("nothing can be saved, and it tells %+v", k)
	}
	w.loop.Store = blind{w.store}
	if k = tick(); k.Err == nil || k.Loaded || k.Whole || len(k.Seen.Nodes) > 0 {
		t.Errorf("nothing can be read, and it tells %+v", k)
	}
}

// blind is a store that does not answer.
type blind struct{ loop.Store }

func (blind) Load(context.Context) (reconciler.State, error) {
	return reconciler.State{}, errors.New("no answer")
}
