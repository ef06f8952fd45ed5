package loop_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/source"
)

// refusal is an error as forges give it.
type refusal struct {
	final bool
	until time.Time
}

func (r refusal) Error() string      { return "refused" }
func (r refusal) Final() bool        { return r.final }
func (r refusal) RetryAt() time.Time { return r.until }

func TestWhatCanNeverBeSaidIsSaidOnce(t *testing.T) {
	w := newWorld(t)
	first := w.source.Push(reboots("a"))
	tried := map[source.Status]int{}
	w.forge.post = func(s source.Status) error {
		tried[s]++
		if s.Commit == first {
			return fmt.Errorf("post: %w", refusal{final: true})
		}
		return nil
	}
	w.settle()
	w.run(20)
	second := w.source.Push(reboots("b"))
	w.settle()
	if len(tried) < 2 {
		t.Fatalf("only %v were tried", tried)
	}
	for s, n := range tried {
		if n > 1 {
			t.Errorf("%+v was tried %d times", s, n)
		}
	}
	w.holdSaid(second, "worker", source.Success, "3 of 3")
}

func TestForgeIsGivenTheRestItAsksFor(t *testing.T) {
	w := newWorld(t)
	until := w.now.Add(20 * time.Minute)
	w.forge.post = func(source.Status) error {
		if w.now.Before(until) {
			return fmt.Errorf("post: %w", refusal{until: until})
		}
		return nil
	}
	commit := w.source.Push(reboots("a"))
	w.run(60)
	w.pass(until.Sub(w.now), 5*time.Second)
	if n := w.forge.calls["post"]; n != 1 {
		t.Errorf("%d posts before the time that the forge asked for, want the first alone", n)
	}
	w.settle()
	w.holdSaid(commit, "worker", source.Success, "3 of 3")
}

func TestForgeAwayAtTheStartIsNotAskedAtEveryTick(t *testing.T) {
	w := newWorld(t)
	w.source.Push(reboots("a"))
	w.forge.Fail(errDown)
	w.run(150)
	if n := w.forge.asked(); n > 8 {
		t.Errorf("it was asked %d times in 150 s", n)
	}
}
