package github_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-gitops/sluice/source"
	"github.com/sluice-gitops/sluice/source/forge/loopback"
)

func TestReview(t *testing.T) {
	r := start(t)
	f := r.fleet("edge", token)
	ada, bob, cy := r.server.AddUser("ada", "t1"), r.server.AddUser("bob", "t2"), r.server.AddUser("cy", "t3")
	r.server.AddMember("acme/sre", bob)
	holds := func(what, commit string, want source.Review) {
		t.Helper()
		got, err := f.Review(context.Background(), commit, []string{"acme/sre", "acme/hidden"})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	say := func(number int, who loopback.User, state string) {
		t.Helper()
		if err := r.repo.Review(number, who, state); err != nil {
			t.Fatal(err)
		}
	}
	holds("a commit that was pushed", r.head, source.Review{})

	p := r.open("one")
	say(p.Number, ada, "APPROVED")
	older := p.Head
	p.Head = r.commit(r.repo, "change-one", "more")
	holds("a pull request that is not merged brought nothing", p.Head, source.Review{})
	say(p.Number, bob, "APPROVED")
	say(p.Number, bob, "COMMENTED")
	say(p.Number, cy, "APPROVED")
	say(p.Number, cy, "CHANGES_REQUESTED")
	merge, err := r.repo.Merge(p.Number)
	if err != nil {
		t.Fatal(err)
	}
	holds("approvals of the head and of an older commit, a comment, and a no", merge, source.Review{
		Proposal: p.Number, Author: "sluice", Head: p.Head,
		Approvals: []source.Approval{{By: "ada", Commit: older}, {By: "bob", Teams: []string{"acme/sre"}, Commit: p.Head}},
	})
	say(p.Number, bob, "DISMISSED")
	holds("an approval that was dismissed", merge, source.Review{
		Proposal: p.Number, Author: "sluice", Head: p.Head, Approvals: []source.Approval{{By: "ada", Commit: older}},
	})
	if _, err := r.fleet("edge", "wrong").Review(context.Background(), merge, nil); err == nil {
		t.Error("a forge that does not answer is taken for one that knows of no pull request")
	}
}
