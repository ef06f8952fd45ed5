package loop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/source"
)

// story is two rollouts, with a commit between them that nobody sees at the head.
func story(w *world) (commits []string) {
	commits = append(commits, w.source.Push(reboots("a")))
	w.run(30)
	commits = append(commits, w.source.Push(reboots("b")))
	commits = append(commits, w.source.Push(reboots("c")))
	w.run(30)
	return commits
}

// TestKilledAtAnySave kills the controller before and after each of its saves, the receipts among
// them, and starts it again.
func TestKilledAtAnySave(t *testing.T) {
	w := newWorld(t)
	story(w)
	saves := w.store.saves
	if saves < 10 {
		t.Fatalf("the story has only %d saves", saves)
	}
	type crash struct{}
	t.Logf("%d saves", saves)
	for k := 1; k <= saves; k++ {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("save %d, written %t", k, late), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				die := func(n int) {
					if n == k {
						panic(crash{})
					}
				}
				if late {
					w.store.after = die
				} else {
					w.store.before = die
				}
				commits := survive(w, func(r any) bool { _, ok := r.(crash); return ok })
				w.holdAt(commits[2])
				w.holdSaid(commits[0], "worker", source.Success, "3 of 3")
				w.holdSaid(commits[1], "worker", source.Superseded, source.Short(commits[2]))
				w.holdSaid(commits[2], "worker", source.Success, "3 of 3")
				if n := repeats(w.forge.Statuses()); n > 1 {
					t.Errorf("%d statuses were said again, want at most one:\n%+v", n, w.forge.Statuses())
				}
			})
		}
	}
}

// survive tells the story with a controller that may be killed once, and is started again.
func survive(w *world, killed func(any) bool) (commits []string) {
	turn := w.loop
	tick := func() {
		defer func() {
			if r := recover(); r != nil {
				if !killed(r) {
					panic(r)
				}
				w.restart()
				turn = w.loop
			}
			w.obey()
			w.now = w.now.Add(time.Second)
		}()
		_, _ = turn.Tick(w.t.Context())
	}
	for _, words := range [][]string{{"a"}, {"b", "c"}} {
		for _, word := range words {
			commits = append(commits, w.source.Push(reboots(word)))
		}
		for range 30 {
			tick()
		}
	}
	return commits
}

func repeats(said []source.Status) (n int) {
	for i, s := range said {
		if slices.Contains(said[:i], s) {
			n++
		}
	}
	return n
}

// A receipt that cannot be saved would have the same said again at every tick.
func TestFullDiskOfTheControllerDoesNotFloodTheForge(t *testing.T) {
	w := newWorld(t)
	first := w.source.Push(reboots("a"))
	w.settle()
	w.source.Push(reboots("a")) // the same content: a commit of which there is only something to say
	second := w.source.Push(reboots("a"))
	if _, err := w.tick(); err != nil {
		t.Fatal(err)
	}
	w.forge.post = func(source.Status) error { w.store.fail = errDown; return nil } // between the decision and the receipt
	w.source.Push(reboots("a"))
	before := len(w.forge.Statuses())
	w.run(120)
	if n := len(w.forge.Statuses()) - before; n < 1 || n > 8 {
		t.Errorf("%d statuses in two minutes, want a few", n)
	}
	w.forge.post, w.store.fail = nil, nil
	w.now = w.now.Add(10 * time.Minute)
	w.settle()
	w.holdSaid(first, "worker", source.Success, "3 of 3")
	w.holdSaid(second, "worker", source.Success, "3 of 3")
	w.holdSaid(w.source.Head(), "worker", source.Success, "3 of 3")
}

func TestForgeAwayHoldsNobodyBackAndHearsEverythingAfterwards(t *testing.T) {
	w := newWorld(t)
	w.forge.Fail(errDown)
	commits := story(w)
	w.pass(time.Hour, 5*time.Second)
	w.holdAt(commits[2])
	if n := w.forge.asked(); n > 30 {
		t.Errorf("a forge that was away for an hour was asked %d times", n)
	}
	w.forge.Fail(nil)
	w.now = w.now.Add(10 * time.Minute)
	w.settle()
	w.holdSaid(commits[0], "worker", source.Success, "3 of 3")
	w.holdSaid(commits[1], "worker", source.Superseded, source.Short(commits[2]))
	w.holdSaid(commits[2], "worker", source.Success, "3 of 3")
	if n := repeats(w.forge.Statuses()); n > 0 {
		t.Errorf("%d statuses were said again", n)
	}
}

func TestGitAwayLeavesTheLastGoodRevisionInForce(t *testing.T) {
	w := newWorld(t)
	commit := w.source.Push(reboots("a"))
	w.settle()
	w.source.Fail(errDown)
	for _, restarted := range []bool{false, true} {
		if restarted {
			w.restart()
			w.source.Push(reboots("b")) // nobody can know
		}
		name := fmt.Sprintf("new-%t", restarted)
		w.enlist(name) // what is new is still brought to the last good revision
		w.settle()
		w.holdAt(commit)
		if at := w.state().Good.Commit; at != commit {
			t.Errorf("restarted %t: the good revision is %s, want %s", restarted, source.Short(at), source.Short(commit))
		}
	}
	if !strings.Contains(w.state().Silent, errDown.Error()) {
		t.Errorf("nobody can read why Git is not heard: %q", w.state().Silent)
	}
	w.source.Fail(nil)
	w.settle()
	w.holdAt(w.source.Head())
	if w.state().Silent != "" {
		t.Errorf("Git answers, and is called silent: %q", w.state().Silent)
	}
}

func TestGitThatNeverAnsweredOrdersNothing(t *testing.T) {
	w := newWorld(t)
	w.source.Push(reboots("a"))
	w.source.Fail(errDown)
	w.run(5)
	if s := w.state(); !strings.Contains(s.Silent, errDown.Error()) || s.Good.Commit != "" || w.store.saves != 1 {
		t.Errorf("%d saves, %+v; want one, of the silence alone", w.store.saves, s)
	}
	if w.fleet.writes != 0 || w.forge.Writes() != 0 {
		t.Errorf("%d writes to nodes and %d to the forge of a repository that was never seen", w.fleet.writes, w.forge.Writes())
	}
}

func TestBrokenHeadKeepsTheGoodOneUntilThereIsAnother(t *testing.T) {
	w := newWorld(t)
	good := w.source.Push(reboots("a"))
	w.settle()
	writes := w.fleet.writes
	bad := w.source.Push(broken)
	w.settle()
	w.holdAt(good)
	if w.fleet.writes != writes {
		t.Errorf("a commit that does not render had %d writes to nodes", w.fleet.writes-writes)
	}
	w.holdSaid(bad, "worker", source.Failure, "pool.yaml: spec.config: is broken")
	w.restart()
	w.settle()
	w.holdAt(good)
	next := w.source.Push(reboots("b"))
	w.settle()
	w.holdAt(next)
	w.holdSaid(bad, "worker", source.Failure, "pool.yaml: spec.config: is broken")
	w.holdSaid(next, "worker", source.Success, "3 of 3")
	if n := repeats(w.forge.Statuses()); n > 0 {
		t.Errorf("%d statuses were said again", n)
	}
}

func TestBrokenFromTheFirstSpeaksOfTheCommit(t *testing.T) {
	w := newWorld(t)
	bad := w.source.Push(broken)
	w.settle()
	w.holdSaid(bad, "", source.Failure, "pool.yaml: spec.config: is broken")
	if w.fleet.writes != 0 {
		t.Errorf("it had %d writes to nodes", w.fleet.writes)
	}
	w.settle()
	good := w.source.Push(reboots("a"))
	w.settle()
	w.holdAt(good)
	w.holdSaid(good, "worker", source.Success, "3 of 3")
}

func TestNothingChangedCostsNothing(t *testing.T) {
	for name, bring := range map[string]func(w *world){
		"at rest":           func(w *world) { w.source.Push(reboots("a")) },
		"a broken head":     func(w *world) { w.source.Push(reboots("a")); w.settle(); w.source.Push(broken) },
		"broken from first": func(w *world) { w.source.Push(broken) },
		"an empty remote":   func(*world) {},
		"nobody to tell":    func(w *world) { w.source.Push(reboots("a")); w.loop.Forge = nil },
		"an open proposal":  func(w *world) { w.open(7, w.source.Push(reboots("a")), "b") },
		"a foreign cordon": func(w *world) {
			w.source.Push(reboots("a"))
			w.settle()
			if err := os.WriteFile(filepath.Join(w.dir, "nodes", "w1", "cordon.json"), []byte(`{"by": "ada"}`), 0o644); err != nil {
				w.t.Fatal(err)
			}
			w.source.Push(reboots("b"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.loop.Poll = 30 * time.Second
			bring(w)
			w.run(30)
			w.pass(3*time.Minute, 10*time.Second) // a preview of what moved meanwhile is made anew
			w.forge.asked()
			saves, looks, writes := w.store.saves, w.source.Looks(), w.fleet.writes
			for range 90 {
				moving, err := w.tick()
				if moving || err != nil {
					t.Fatalf("moving %t, %v", moving, err)
				}
			}
			if n := w.store.saves - saves; n != 0 {
				t.Errorf("%d saves", n)
			}
			if n := w.forge.asked(); n != 0 {
				t.Errorf("%d requests to the forge", n)
			}
			if n := w.fleet.writes - writes; n != 0 {
				t.Errorf("%d writes to nodes", n)
			}
			if n := w.source.Looks() - looks; n != 3 {
				t.Errorf("%d looks at Git in 90 s with a poll of 30 s, want 3", n)
			}
		})
	}
}

// TestDeposedControllerDoesNothing lets a second controller save between the look and the save of
// the first.
func TestDeposedControllerDoesNothing(t *testing.T) {
	w := newWorld(t)
	w.source.Push(reboots("a"))
	w.settle()
	second := w.controller(local.Fleet{Dir: w.dir}, &local.Store{Dir: w.dir})
	w.source.Push(reboots("b"))
	w.fleet.looked = func() {
		w.fleet.looked = nil
		if _, err := second.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.forge.asked()
	}
	writes := w.fleet.writes
	if _, err := w.loop.Tick(t.Context()); err == nil {
		t.Error("the first controller noticed nothing")
	}
	if n := w.fleet.writes - writes; n != 0 {
		t.Errorf("it had %d writes to nodes all the same", n)
	}
	if n := w.forge.calls["post"] + w.forge.calls["comment"]; n != 0 {
		t.Errorf("it said %d things all the same", n)
	}
}

func TestConfigThatVanishedCostsAReboot(t *testing.T) {
	for _, c := range []struct {
		name    string
		vanish  bool
		ceiling impact.Kind
	}{
		{"kept: what is known to reload reloads", false, impact.Reload},
		{"vanished: what cannot be known reboots", true, impact.Reboot},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.source.Push(reloads("a", "one"))
			w.settle()
			next := w.source.Push(reloads("a", "two"))
			if c.vanish {
				if err := os.RemoveAll(filepath.Join(w.dir, "configs")); err != nil {
					t.Fatal(err)
				}
			}
			w.restart()
			w.settle()
			w.holdAt(next)
			for _, n := range w.nodes() {
				if n.Order.Ceiling != c.ceiling {
					t.Errorf("node %s was ordered with the ceiling %s, want %s", n.Name, n.Order.Ceiling, c.ceiling)
				}
			}
		})
	}
}

func TestConfigInForceIsKeptAgainAfterItVanished(t *testing.T) {
	w := newWorld(t)
	commit := w.source.Push(reboots("a"))
	w.settle()
	if err := os.RemoveAll(filepath.Join(w.dir, "configs")); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.enlist("w4")
	w.settle()
	w.holdAt(commit)
	target := w.state().Pools["worker"].Target
	if _, ok, err := w.store.Config(t.Context(), target); !ok || err != nil {
		t.Errorf("the config of the order is not there: %v", err)
	}
}

// TestRun holds the pace of the loop, on a clock of its own.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.loop.Poll, w.loop.Now = 30*time.Second, time.Now
		var ticks atomic.Int64
		w.fleet.looked = func() { ticks.Add(1) }
		ctx, stop := context.WithCancel(t.Context())
		wake, ended := make(chan struct{}), make(chan error)
		first := w.source.Push(reboots("a"))
		go func() { ended <- w.loop.Run(ctx, time.Second, wake) }()
		for range 40 { // while nodes move it looks at them every second
			time.Sleep(time.Second)
			synctest.Wait()
			w.obey()
		}
		w.holdAt(first)
		looks := w.source.Looks()
		ticks.Store(0)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := w.source.Looks() - looks; n < 119 || n > 121 || ticks.Load() > 121 {
			t.Errorf("in an hour at rest: %d looks at Git and %d ticks, want 120 of each", n, ticks.Load())
		}
		time.Sleep(time.Second) // apart from the tick of the poll
		synctest.Wait()
		looks = w.source.Looks()
		ticks.Store(0)
		wake <- struct{}{}
		synctest.Wait()
		if ticks.Load() != 1 || w.source.Looks() != looks {
			t.Errorf("woken: %d ticks and %d looks at Git, want one and none", ticks.Load(), w.source.Looks()-looks)
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("stopped: %v", err)
		}
	})
}

// TestAFleetIsLookedAtHoweverSeldomGitIsAsked: a window that opens for an hour must not be missed
// because the remote is asked once a day; and a remote that is away all that time is one line.
func TestAFleetIsLookedAtHoweverSeldomGitIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var ticks atomic.Int64
		var log bytes.Buffer
		w.loop.Poll, w.loop.Now, w.loop.Log = 6*time.Hour, time.Now, slog.New(slog.NewTextHandler(&log, nil))
		w.fleet.looked = func() { ticks.Add(1) }
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		w.source.Fail(errors.New("no route to host"))
		go func() { ended <- w.loop.Run(ctx, time.Second, nil) }()
		time.Sleep(24*time.Hour + time.Minute)
		stop()
		if err := <-ended; err != nil {
			t.Errorf("stopped: %v", err)
		}
		if n := w.source.Looks(); n != 5 {
			t.Errorf("Git is asked %d times in a day, want 5", n)
		}
		if n := ticks.Load(); n < 24*120 || n > 24*120+5 {
			t.Errorf("the fleet is looked at %d times in a day, want every half minute", n)
		}
		if n := strings.Count(log.String(), "no push is followed"); n != 1 {
			t.Errorf("that Git is away is logged %d times", n)
		}
	})
}
