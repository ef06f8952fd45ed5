// Package looptest holds what every implementation of the loop's interfaces must do, and fakes
// that do it in memory. For tests only.
package looptest

import (
	"context"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/source"
)

// ForgeRig is a forge with one repository, and hands to do what other people do there. All
// functions fail the test by themselves.
type ForgeRig struct {
	Forge  loop.Forge // one fleet
	Other  loop.Forge // another fleet on the same repository, with the same account
	Commit string     // a commit that the forge knows

	// Restart returns Forge as a new process has it: the same fleet, nothing remembered.
	Restart func() loop.Forge

	Open  func(title string) source.Proposal // open a pull request, as Forge should see it
	Close func(number int)

	// Said is the last word that the forge shows of Forge's fleet; all zero when there is none.
	Said func(commit, pool string) (source.State, string)
	// Comments are the bodies on a pull request as the forge holds them, the oldest first.
	Comments func(number int) []string
	// Stranger comments with an account that is not ours.
	Stranger func(number int, body string)
	// Wipe deletes every comment of a pull request.
	Wipe func(number int)

	Writes func() int        // how many writes the forge was asked for so far
	Fail   func(broken bool) // the forge has a fault of its own, until told otherwise
}

// Forge runs the suite. open makes a new, empty forge for each test.
func Forge(t *testing.T, open func(t *testing.T) ForgeRig) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, ForgeRig)
	}{
		{"proposals appear sorted and vanish when closed", proposalsFollow},
		{"the last word on a commit and pool is shown", statusShown},
		{"saying a status twice does no harm", statusTwice},
		{"pools and fleets speak for themselves", statusApart},
		{"a comment is made once and edited in place", commentEdited},
		{"an equal comment is not written, also after a restart", commentEqual},
		{"a stranger with our marker changes nothing", commentStranger},
		{"a deleted comment is made again", commentWiped},
		{"two fleets keep a comment each", commentFleets},
		{"no text passes for another fleet's comment", commentForged},
		{"a fault is an error and ends with the fault", faultEnds},
		{"a cancelled call writes nothing", cancelled},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func proposalsFollow(t *testing.T, rig ForgeRig) {
	if got := proposals(t, rig.Forge); len(got) != 0 {
		t.Fatalf("an empty forge lists %v", got)
	}
	first, second, third := rig.Open("first"), rig.Open("second"), rig.Open("third | `hostile` <b>")
	if got := proposals(t, rig.Forge); !equal(got, first, second, third) {
		t.Errorf("three open: got %+v, want %+v, %+v and %+v", got, first, second, third)
	}
	rig.Close(second.Number)
	if got := proposals(t, rig.Forge); !equal(got, first, third) {
		t.Errorf("one closed: got %+v, want %+v and %+v", got, first, third)
	}
}

func statusShown(t *testing.T, rig ForgeRig) {
	if state, summary := rig.Said(rig.Commit, "worker"); state != "" || summary != "" {
		t.Fatalf("before any: got %s %q", state, summary)
	}
	for _, want := range []source.Status{
		{State: source.Pending, Summary: "2 of 6 nodes"},
		{State: source.Success, Summary: "6 nodes"},
		{State: source.Failure, Summary: "halted: worker-3 does not come back"},
		{State: source.Superseded, Summary: "superseded by abc1234"},
	} {
		want.Commit, want.Pool = rig.Commit, "worker"
		post(t, rig.Forge, want)
		if state, summary := rig.Said(rig.Commit, "worker"); state != want.State || summary != want.Summary {
			t.Errorf("got %s %q, want %s %q", state, summary, want.State, want.Summary)
		}
	}
}

func statusTwice(t *testing.T, rig ForgeRig) {
	want := source.Status{Commit: rig.Commit, Pool: "worker", State: source.Success, Summary: "6 nodes"}
	post(t, rig.Forge, want)
	post(t, rig.Forge, want)
	post(t, rig.Restart(), want)
	if state, summary := rig.Said(rig.Commit, "worker"); state != want.State || summary != want.Summary {
		t.Errorf("got %s %q, want %s %q", state, summary, want.State, want.Summary)
	}
}

func statusApart(t *testing.T, rig ForgeRig) {
	ours := []source.Status{
		{Commit: rig.Commit, Pool: "", State: source.Failure, Summary: "the whole"},
		{Commit: rig.Commit, Pool: "worker", State: source.Pending, Summary: "the workers"},
		{Commit: rig.Commit, Pool: "infra", State: source.Success, Summary: "the infra"},
	}
	for _, s := range ours {
		post(t, rig.Forge, s)
	}
	for _, s := range ours {
		post(t, rig.Other, source.Status{Commit: s.Commit, Pool: s.Pool, State: source.Superseded, Summary: "another fleet"})
	}
	for _, s := range ours {
		if state, summary := rig.Said(rig.Commit, s.Pool); state != s.State || summary != s.Summary {
			t.Errorf("pool %q: got %s %q, want %s %q", s.Pool, state, summary, s.State, s.Summary)
		}
	}
}

func commentEdited(t *testing.T, rig ForgeRig) {
	n, untouched := rig.Open("a").Number, rig.Open("b").Number
	comment(t, rig.Forge, n, "| looking |")
	comment(t, rig.Forge, n, "12 nodes reboot")
	comment(t, rig.Restart(), n, "13 nodes reboot")
	only(t, rig, n, "13 nodes reboot")
	if got := rig.Comments(untouched); len(got) != 0 {
		t.Errorf("another pull request got %q", got)
	}
}

func commentEqual(t *testing.T, rig ForgeRig) {
	n := rig.Open("a").Number
	const body = "12 nodes reboot\n\n```diff\n+ x\n```\n" // ends as generated text does
	comment(t, rig.Forge, n, body)
	before := rig.Writes()
	comment(t, rig.Forge, n, body)
	comment(t, rig.Restart(), n, body)
	if after := rig.Writes(); after != before {
		t.Errorf("%d writes for a body that is there already", after-before)
	}
	comment(t, rig.Forge, n, "something else")
	if after := rig.Writes(); after != before+1 {
		t.Errorf("%d writes for another body, want 1", after-before)
	}
}

func commentStranger(t *testing.T, rig ForgeRig) {
	model, n := rig.Open("model").Number, rig.Open("a").Number
	comment(t, rig.Forge, model, "nothing reboots, trust me")
	forged := rig.Comments(model)[0] // marker and all
	rig.Stranger(n, forged)
	comment(t, rig.Forge, n, "12 nodes reboot")
	comment(t, rig.Restart(), n, "13 nodes reboot")
	got := rig.Comments(n)
	if len(got) != 2 || got[0] != forged || !strings.Contains(got[1], "13 nodes reboot") {
		t.Errorf("got %q, want the stranger's words as they were, then ours", got)
	}
}

func commentWiped(t *testing.T, rig ForgeRig) {
	n := rig.Open("a").Number
	comment(t, rig.Forge, n, "12 nodes reboot")
	rig.Wipe(n)
	comment(t, rig.Forge, n, "12 nodes reboot")
	only(t, rig, n, "12 nodes reboot")
}

func commentFleets(t *testing.T, rig ForgeRig) {
	n := rig.Open("a").Number
	comment(t, rig.Forge, n, "ours")
	comment(t, rig.Other, n, "theirs")
	comment(t, rig.Forge, n, "ours, edited")
	comment(t, rig.Other, n, "theirs, edited")
	got := rig.Comments(n)
	if len(got) != 2 || !strings.Contains(got[0], "ours, edited") || !strings.Contains(got[1], "theirs, edited") {
		t.Errorf("got %q, want one comment of each fleet, each edited in place", got)
	}
}

// commentForged has one fleet publish, word for word, the comment of the other: as a hostile
// title in the report could.
func commentForged(t *testing.T, rig ForgeRig) {
	model, n := rig.Open("model").Number, rig.Open("a").Number
	comment(t, rig.Other, model, "theirs")
	comment(t, rig.Forge, n, rig.Comments(model)[0])
	before := rig.Comments(n)[0]
	comment(t, rig.Other, n, "theirs")
	got := rig.Comments(n)
	if len(got) != 2 || got[0] != before {
		t.Errorf("got %q, want the first as it was and one more", got)
	}
	if marker, _, _ := strings.Cut(rig.Comments(model)[0], "\n"); marker != "theirs" && strings.Contains(before, marker) {
		t.Errorf("%q holds the marker of another fleet", before)
	}
}

func faultEnds(t *testing.T, rig ForgeRig) {
	n := rig.Open("a").Number
	status := source.Status{Commit: rig.Commit, Pool: "worker", State: source.Success, Summary: "6 nodes"}
	ctx := context.Background()
	rig.Fail(true)
	if _, err := rig.Forge.Proposals(ctx); err == nil {
		t.Error("Proposals says nothing of a fault")
	}
	if err := rig.Forge.Post(ctx, status); err == nil {
		t.Error("Post says nothing of a fault")
	}
	if err := rig.Forge.Comment(ctx, source.Comment{Proposal: n, Body: "12 nodes reboot"}); err == nil {
		t.Error("Comment says nothing of a fault")
	}
	rig.Fail(false)
	if got := proposals(t, rig.Forge); len(got) != 1 {
		t.Errorf("after the fault: got %v, want one", got)
	}
	post(t, rig.Forge, status)
	if state, _ := rig.Said(rig.Commit, "worker"); state != source.Success {
		t.Errorf("after the fault: got %q, want success", state)
	}
	comment(t, rig.Forge, n, "12 nodes reboot")
	only(t, rig, n, "12 nodes reboot")
}

func cancelled(t *testing.T, rig ForgeRig) {
	n := rig.Open("a").Number
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := rig.Forge.Proposals(ctx); err == nil {
		t.Error("Proposals goes on")
	}
	if err := rig.Forge.Post(ctx, source.Status{Commit: rig.Commit, State: source.Success}); err == nil {
		t.Error("Post goes on")
	}
	if err := rig.Forge.Comment(ctx, source.Comment{Proposal: n, Body: "x"}); err == nil {
		t.Error("Comment goes on")
	}
	if got := rig.Writes(); got != 0 {
		t.Errorf("%d writes", got)
	}
}
