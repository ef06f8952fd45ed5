package loop_test

import (
	"strings"
	"testing"
	"time"

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
