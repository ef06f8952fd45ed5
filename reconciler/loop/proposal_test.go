package loop_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/source"
)

// open opens a pull request that asks for a reboot.
func (w *world) open(number int, onto, word string) string {
	head := w.source.Pull(number, onto, reboots(word))
	w.forge.Open(source.Proposal{Number: number, Title: "more", Head: head})
	return head
}

func (w *world) comment(number int) string {
	w.t.Helper()
	body, ok := w.forge.CommentOn(number)
	if !ok {
		w.t.Fatalf("there is no comment on %d", number)
	}
	return body
}

func TestCommentFollowsHeadBaseAndFleet(t *testing.T) {
	w := newWorld(t)
	base := w.source.Push(reboots("a"))
	w.settle()
	w.open(7, base, "b")
	w.settle()
	first := w.comment(7)
	if !strings.Contains(first, "kernelArguments") || !strings.Contains(first, "3 nodes reboot") {
		t.Errorf("the comment does not say what reboots:\n%s", first)
	}
	w.run(100)
	w.restart()
	w.run(100)
	if n := w.forge.calls["comment"]; n != 1 {
		t.Errorf("%d comments for one thing to say", n)
	}

	w.open(7, base, "c")
	w.settle()
	second := w.comment(7)
	if second == first || w.forge.calls["comment"] != 2 {
		t.Errorf("another head: %d comments, the same text: %t", w.forge.calls["comment"], second == first)
	}

	w.source.Push(reboots("z"))
	w.settle()
	w.run(120)
	third := w.comment(7)
	if third == second {
		t.Error("another base: the comment is as it was")
	}

	w.enlist("w4")
	w.settle()
	w.run(120)
	if fourth := w.comment(7); fourth == third || !strings.Contains(fourth, "4 nodes") {
		t.Errorf("another node: the comment says\n%s", fourth)
	}
	calls := w.forge.calls["comment"]
	w.pass(20*time.Minute, 10*time.Second) // the list of pull requests is asked for again meanwhile
	if n := w.forge.calls["comment"] - calls; n != 0 {
		t.Errorf("%d comments about nothing new", n)
	}
	if calls > 12 {
		t.Errorf("%d comments in all", calls)
	}
}

func TestCommentOfAMergedPullRequestStaysAndSaysWhereTheStoryGoesOn(t *testing.T) {
	w := newWorld(t)
	base := w.source.Push(reboots("a"))
	w.settle()
	head := w.open(7, base, "b")
	w.settle()
	before, calls := w.comment(7), w.forge.calls["comment"]
	w.source.Merge(head)
	w.forge.Close(7)
	w.settle()
	w.pass(20*time.Minute, 10*time.Second)
	w.holdAt(head)
	if got := w.comment(7); !strings.HasPrefix(got, before) || !strings.Contains(got, "Merged: ") || w.forge.calls["comment"] != calls+1 {
		t.Errorf("after the merge: %d more comments, now\n%s", w.forge.calls["comment"]-calls, got)
	}
}

func TestProposalThatDoesNotRenderHearsWhy(t *testing.T) {
	w := newWorld(t)
	base := w.source.Push(reboots("a"))
	w.settle()
	w.forge.Open(source.Proposal{Number: 7, Head: w.source.Pull(7, base, broken)})
	w.settle()
	if body := w.comment(7); !strings.Contains(body, "pool.yaml") || !strings.Contains(body, "is broken") {
		t.Errorf("the comment names neither file nor reason:\n%s", body)
	}
	w.holdAt(base)
}

// facts is a world beside the fleet in which a forge knows which pull request brought a commit.
type facts struct{ reviews map[string]source.Review }

func (f *facts) Look(_ context.Context, revision source.Revision, _ []policy.Rollout) policy.Facts {
	if review, ok := f.reviews[revision.Commit]; ok {
		return policy.Facts{Review: &review}
	}
	return policy.Facts{}
}

// matched asks of reboots that their preview was read.
func matched(word string) map[string]string {
	files := reboots(word)
	files["policy.yaml"] = "apiVersion: sluice.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: all}\nspec: {requirePreviewMatch: true}\n"
	return files
}

func TestWhatIsMergedMustHaveBeenReviewed(t *testing.T) {
	const unseen = "no preview of commit"
	for name, c := range map[string]struct {
		merge func(w *world, head, base string) (commit string)
		holds string // why the rollout waits; "" when it does not
	}{
		"a fast-forward of what was shown goes": {merge: func(w *world, head, _ string) string { w.source.Merge(head); return head }},
		"a commit on top of what was shown, as a merge makes it, goes": {merge: func(w *world, head, _ string) string {
			return w.source.Force(head, matched("b"))
		}},
		"a controller that was restarted between knows it still": {merge: func(w *world, head, _ string) string {
			w.restart()
			w.source.Merge(head)
			return head
		}},
		"a squash goes when the forge says which pull request it was": {merge: func(w *world, head, base string) string {
			commit := w.source.Force(base, matched("b"))
			w.loop.Facts = &facts{map[string]source.Review{commit: {Proposal: 7, Head: head}}}
			return commit
		}},
		"a squash of another head than the one that was shown waits": {holds: unseen, merge: func(w *world, _, base string) string {
			commit := w.source.Force(base, matched("b"))
			w.loop.Facts = &facts{map[string]source.Review{commit: {Proposal: 7, Head: strings.Repeat("f", 40)}}}
			return commit
		}},
		"a squash that nobody can tell from a push waits": {holds: unseen, merge: func(w *world, _, base string) string {
			return w.source.Force(base, matched("b"))
		}},
		"a push waits": {holds: unseen, merge: func(w *world, _, base string) string { return w.source.Force(base, matched("c")) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			base := w.source.Push(matched("a"))
			w.settle()
			w.pass(2*time.Minute, 10*time.Second)
			head := w.source.Pull(7, base, matched("b"))
			w.forge.Open(source.Proposal{Number: 7, Title: "more", Head: head})
			w.settle()
			if w.comment(7) == "" {
				t.Fatal("nothing was shown")
			}
			commit := c.merge(w, head, base)
			w.forge.Close(7)
			w.source.Close(7)
			w.run(40)
			w.pass(5*time.Minute, 10*time.Second)
			if c.holds == "" {
				w.holdAt(commit)
				return
			}
			got := fmt.Sprint(w.state().Pools["worker"].Waiting)
			if w.state().Pools["worker"].Phase != reconciler.Waiting || !strings.Contains(got, c.holds) {
				t.Errorf("the pool is %s, waiting for %s; want it to say %q", w.state().Pools["worker"].Phase, got, c.holds)
			}
		})
	}
}

// A preview looks, and nothing else: no node is sent, drained or released, and nothing is stored
// but what was said.
func TestAPreviewTouchesNoNode(t *testing.T) {
	w := newWorld(t)
	base := w.source.Push(reboots("a"))
	w.settle()
	w.pass(2*time.Hour, time.Minute) // what was done of late is forgotten
	before, writes := w.state(), w.fleet.writes
	for n := 1; n <= 3; n++ {
		w.open(n, base, fmt.Sprint("b", n))
		w.settle()
	}
	w.pass(20*time.Minute, 10*time.Second)
	if w.fleet.writes != writes {
		t.Errorf("%d writes to nodes for three previews", w.fleet.writes-writes)
	}
	after := w.state()
	if w.comment(3) == "" || len(after.Shown) != 3 {
		t.Errorf("remembered is %v, want what three comments say", after.Shown)
	}
	after.Shown, after.Commented, after.Said = before.Shown, before.Commented, before.Said
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the state is another:\n%s", diff)
	}
	w.holdAt(base)
}

func TestAWindowThatOpensMakesAnotherPreview(t *testing.T) {
	w := newWorld(t)
	night := reboots("a")
	night["policy.yaml"] = "apiVersion: sluice.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: all}\nspec: {windows: [{schedule: \"0 * * * *\", duration: 30m}]}\n"
	base := w.source.Push(night)
	w.settle()
	w.now = w.now.Truncate(time.Hour).Add(40 * time.Minute) // closed
	night = maps.Clone(night)
	night["args.yaml"] = reboots("b")["args.yaml"]
	w.forge.Open(source.Proposal{Number: 7, Head: w.source.Pull(7, base, night)})
	w.settle()
	closed := w.comment(7)
	if !strings.Contains(closed, "window") {
		t.Fatalf("the comment says nothing of the window:\n%s", closed)
	}
	w.pass(25*time.Minute, 10*time.Second)
	if open := w.comment(7); strings.Contains(open, "(`window`)") {
		t.Errorf("the window is open, and the comment still says\n%s", open)
	}
	calls := w.forge.calls["comment"]
	w.pass(20*time.Minute, 10*time.Second)
	if n := w.forge.calls["comment"] - calls; n != 0 {
		t.Errorf("%d comments while the window is open", n)
	}
}

// A pull request whose commits cannot be read must not be tried at every tick.
func TestAPreviewThatFailsIsLeftAloneForLonger(t *testing.T) {
	w := newWorld(t)
	w.source.Push(reboots("a"))
	w.settle()
	w.forge.Open(source.Proposal{Number: 7, Head: strings.Repeat("e", 40)})
	var log strings.Builder
	w.loop.Log = slog.New(slog.NewTextHandler(&log, nil))
	w.pass(20*time.Minute, time.Second)
	if n := strings.Count(log.String(), "the preview is missing"); n < 2 || n > 12 {
		t.Errorf("it was tried %d times in twenty minutes:\n%s", n, log.String())
	}
}
