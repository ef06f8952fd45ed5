package loop_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/reconciler/loop/looptest"
	"github.com/sluice-gitops/sluice/source"
)

// marked is a fleet whose nodes cannot be marked while there is a reason.
type marked struct {
	*fleet
	why   error
	calls int
}

func (m *marked) Mark(context.Context, map[string]bool) error {
	m.calls++
	return m.why
}

func TestNodesThatCannotBeMarkedAreUpdatedAllTheSame(t *testing.T) {
	w := newWorld(t)
	f := &marked{fleet: w.fleet, why: errors.New("patch node w1: forbidden")}
	w.loop.Fleet = f
	var log bytes.Buffer
	w.loop.Log = slog.New(slog.NewTextHandler(&log, nil))
	failed := 0
	w.loop.Watch = func(k loop.Look) {
		if k.Mark != nil {
			failed++
		}
		if k.Err != nil {
			t.Errorf("the tick is taken to have failed: %v", k.Err)
		}
	}
	w.source.Push(reboots("a"))
	w.settle()
	w.holdAt(w.source.Head())
	said := func() int { return strings.Count(log.String(), "nodes cannot be marked") }
	w.pass(time.Hour, time.Second*10)
	if failed != f.calls || f.calls < 10 || f.calls > 30 || said() != 1 {
		t.Errorf("in an hour it was tried %d times, of which %d are told as failed, and logged %d times: want a try every five minutes, and one line\n%s", f.calls, failed, said(), &log)
	}
	f.why = errors.New("patch node w1: the webhook does not answer")
	w.pass(10*time.Minute, 10*time.Second)
	if said() != 2 {
		t.Errorf("for another reason it is logged %d times in all, want 2", said())
	}
	f.why = nil
	w.pass(10*time.Minute, 10*time.Second)
	before := f.calls
	w.run(3)
	if f.calls != before+3 {
		t.Errorf("mended, it is marked %d times in three ticks", f.calls-before)
	}
	f.why = errors.New("patch node w1: the webhook does not answer")
	if w.run(3); said() != 3 {
		t.Errorf("when it fails again it is logged %d times in all, want 3", said())
	}
}

// torn is a source that cannot read what it shows, nor any history, while there is a reason.
type torn struct {
	*looptest.FakeSource
	why error
}

func (s *torn) Tree(ctx context.Context, commit string) (fs.FS, error) {
	if s.why != nil && commit == s.Head() {
		return nil, s.why
	}
	return s.FakeSource.Tree(ctx, commit)
}

func (s *torn) MergeBase(ctx context.Context, followed, head string) (string, error) {
	if s.why != nil && strings.HasPrefix(s.why.Error(), "history") {
		return "", s.why
	}
	return s.FakeSource.MergeBase(ctx, followed, head)
}

func TestWhatIsWrongIsLoggedOncePerChange(t *testing.T) {
	for _, c := range []struct{ name, first, then, line string }{
		{"the newest revision cannot be read", "tree is gone", "disk is full", "the newest revision cannot be read"},
		{"nor its history", "history is gone", "history is torn", "it cannot be found out whether"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			git := &torn{FakeSource: w.source}
			w.loop.Source = git
			good := w.source.Push(reboots("a"))
			w.settle()
			var log bytes.Buffer
			w.loop.Log = slog.New(slog.NewTextHandler(&log, nil))
			w.source.Push(reboots("b"))
			for i, why := range []error{errors.New(c.first), errors.New(c.then), nil, errors.New(c.then)} {
				if i == 3 {
					w.source.Push(reboots("c"))
				}
				git.why = why
				w.run(5)
				if why != nil && i < 2 {
					w.holdAt(good)
				}
				if got, want := strings.Count(log.String(), c.line), []int{1, 2, 2, 3}[i]; got != want {
					t.Errorf("after %v it was logged %d times, want %d:\n%s", why, got, want, &log)
				}
			}
		})
	}
}

func TestWhatMendsAnAllowedRewindNeedsNoSecondWord(t *testing.T) {
	for _, c := range []struct {
		name string
		onto func(first, good string) string // where the rewritten branch begins
	}{
		{"a branch that forks", func(first, _ string) string { return first }},
		{"a branch of its own", func(string, string) string { return "" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, d := manned(t)
			first := w.source.Push(reboots("a"))
			w.settle()
			good := w.source.Push(reboots("b"))
			w.settle()
			bad := w.source.Force(c.onto(first, good), broken)
			w.run(3)
			if err := d.Allow(bad); err != nil {
				t.Fatal(err)
			}
			w.settle()
			w.holdAt(good)
			w.holdSaid(bad, "worker", source.Failure, "not rendered")
			w.source.Push(broken) // a first try
			w.run(3)
			w.restart()
			w.loop.Desk = d
			w.run(3)
			mended := w.source.Push(reboots("c"))
			w.settle()
			w.holdAt(mended)
			other := w.source.Force(bad, reboots("d")) // descends from what was allowed once, and loses what is followed
			w.settle()
			w.holdAt(mended)
			w.holdSaid(other, "worker", source.Pending, "sluice release --rewind")
		})
	}
}

func TestARewindThatNobodyAllowedIsNotMendedAway(t *testing.T) {
	w, _ := manned(t)
	first := w.source.Push(reboots("a"))
	w.settle()
	good := w.source.Push(reboots("b"))
	w.settle()
	w.source.Force(first, broken)
	w.run(3)
	w.source.Push(reboots("c"))
	w.settle()
	w.holdAt(good)
}
