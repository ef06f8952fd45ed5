package github_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sluice-gitops/sluice/source"
	"github.com/sluice-gitops/sluice/source/forge/github"
)

func TestProposals(t *testing.T) {
	r := start(t)
	fork, err := r.server.Create("mallory/fleet")
	if err != nil {
		t.Fatal(err)
	}
	ours, draft := r.open("ours"), r.open("draft")
	draft.Draft = true
	if err := r.repo.SetDraft(draft.Number, true); err != nil {
		t.Fatal(err)
	}
	forked := source.Proposal{Title: "forked", Fork: true, Head: r.commit(fork, "main", "mine")}
	if forked.Number, err = r.repo.OpenFrom(fork, "forked", "main"); err != nil {
		t.Fatal(err)
	}
	got, err := r.fleet("edge", token).Proposals(context.Background())
	if want := []source.Proposal{ours, draft, forked}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	elsewhere := r.fleet("edge", token)
	elsewhere.Branch = "release"
	if got, err := elsewhere.Proposals(context.Background()); err != nil || len(got) != 0 {
		t.Errorf("against another branch: got %+v, %v, want none", got, err)
	}
}

// GitHub shows no repository at the head of a pull request whose fork was deleted, which its own
// description does not allow: so nothing holds the answer to it here.
func TestProposalOfADeletedFork(t *testing.T) {
	r := startWith(t)
	fork, err := r.server.Create("mallory/fleet")
	if err != nil {
		t.Fatal(err)
	}
	head := r.commit(fork, "main", "mine")
	if _, err = r.repo.OpenFrom(fork, "orphan", "main"); err != nil {
		t.Fatal(err)
	}
	if err := r.server.Delete("mallory/fleet"); err != nil {
		t.Fatal(err)
	}
	got, err := r.fleet("edge", token).Proposals(context.Background())
	if want := []source.Proposal{{Number: 1, Title: "orphan", Head: head, Fork: true}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestProposalsReadsEveryPage(t *testing.T) {
	r := start(t)
	r.commit(r.repo, "change", "x")
	const many = 103 // pages of 100
	for i := range many {
		if _, err := r.repo.Open(fmt.Sprint(i), "change"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := r.fleet("edge", token).Proposals(context.Background())
	if err != nil || len(got) != many {
		t.Fatalf("got %d proposals, %v, want %d", len(got), err, many)
	}
	for i, p := range got {
		if p.Number != i+1 {
			t.Fatalf("place %d has number %d", i, p.Number)
		}
	}
}

func TestPost(t *testing.T) {
	r := start(t)
	long := strings.Repeat("ä", 300)
	for _, c := range []struct {
		name                 string
		in                   source.Status
		context, state, want string
		combined             string
	}{
		{"a pool", source.Status{Pool: "worker", State: source.Pending, Summary: "2 of 6"}, "sluice/edge/worker", "pending", "2 of 6", "pending"},
		{"the next word on it", source.Status{Pool: "worker", State: source.Success, Summary: "6 of 6"}, "sluice/edge/worker", "success", "6 of 6", "success"},
		{"the whole commit", source.Status{State: source.Success, Summary: "fine"}, "sluice/edge", "success", "fine", "success"},
		{"a superseded commit is red and says why", source.Status{Pool: "infra", State: source.Superseded, Summary: "superseded by abc1234"}, "sluice/edge/infra", "error", "superseded by abc1234", "failure"},
		{"a long summary ends in an ellipsis", source.Status{Pool: "a", State: source.Failure, Summary: long}, "sluice/edge/a", "failure", long[:139*2] + "…", "failure"},
		{"a summary of just the length is whole", source.Status{Pool: "a", State: source.Failure, Summary: long[:140*2]}, "sluice/edge/a", "failure", long[:140*2], "failure"},
		{"a summary becomes one line", source.Status{Pool: "b", State: source.Failure, Summary: " two\n\tlines "}, "sluice/edge/b", "failure", "two lines", "failure"},
		{"an emoji would be refused", source.Status{Pool: "c", State: source.Failure, Summary: "no 🚀"}, "sluice/edge/c", "failure", "no \ufffd", "failure"},
		{"no summary", source.Status{Pool: "d", State: source.Failure}, "sluice/edge/d", "failure", "", "failure"},
	} {
		c.in.Commit = r.head
		if err := r.fleet("edge", token).Post(context.Background(), c.in); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if state, got := r.last(r.head, c.context); state != c.state || got != c.want {
			t.Errorf("%s: got %s %q, want %s %q", c.name, state, got, c.state, c.want)
		}
		if got, _ := r.repo.Combined(r.head); got != c.combined {
			t.Errorf("%s: people see %s, want %s", c.name, got, c.combined)
		}
	}
}

func TestPostKeepsLongNamesApart(t *testing.T) {
	r := start(t)
	for _, end := range []string{"a", "b"} {
		s := source.Status{Commit: r.head, Pool: strings.Repeat("ü", 300) + end, State: source.Success}
		if err := r.fleet("edge", token).Post(context.Background(), s); err != nil {
			t.Fatal(err)
		}
	}
	_, latest := r.repo.Combined(r.head)
	if len(latest) != 2 || utf8.RuneCountInString(latest[0].Context) != 255 {
		t.Errorf("got %+v, want two contexts of 255 characters", latest)
	}
}

func TestCommentIsFoundBeyondTheFirstPage(t *testing.T) {
	r := start(t)
	n := r.open("busy").Number
	chatter := r.server.AddUser("chatter", "another")
	for range 120 {
		r.repo.AddComment(n, chatter, "+1")
	}
	for _, body := range []string{"first", "second"} { // by a new process each time
		if err := r.fleet("edge", token).Comment(context.Background(), source.Comment{Proposal: n, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.bodies(n); len(got) != 121 || got[120] != "<!-- sluice:edge -->\nsecond" {
		t.Errorf("%d comments, the last %q", len(got), got[len(got)-1])
	}
}

func TestCommentIsCutWithANotice(t *testing.T) {
	r := start(t)
	n := r.open("huge").Number
	report := "```diff\n" + strings.Repeat("+ line über 🚀\n", 10_000) + "```\n"
	if err := r.fleet("edge", token).Comment(context.Background(), source.Comment{Proposal: n, Body: report}); err != nil {
		t.Fatal(err)
	}
	body := r.bodies(n)[0]
	lines := strings.Split(body, "\n")
	if size := utf8.RuneCountInString(body); size >= 65_536 || size < 60_000 {
		t.Errorf("%d characters", size)
	}
	if !strings.Contains(lines[1], "Cut short") || !strings.Contains(lines[1], fmt.Sprint(utf8.RuneCountInString(report)-1)) {
		t.Errorf("the second line is %q, want the notice with the size", lines[1])
	}
	if last := lines[len(lines)-1]; last != "+ line über 🚀" {
		t.Errorf("cut within a line: %q", last)
	}
	before := r.server.Writes()
	if err := r.fleet("edge", token).Comment(context.Background(), source.Comment{Proposal: n, Body: report}); err != nil || r.server.Writes() != before {
		t.Errorf("said again: %v, %d writes", err, r.server.Writes()-before)
	}
}

// JSON carries no broken bytes, and the forge may hand text back with other line ends.
func TestCommentIsNotEditedForEver(t *testing.T) {
	r := start(t)
	n := r.open("odd").Number
	c := source.Comment{Proposal: n, Body: "one\r\ntwo\xff\xfe\nthree  \n\n"}
	say := func() {
		t.Helper()
		if err := r.fleet("edge", token).Comment(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	say()
	say()
	ours := r.repo.Comments(n)[0]
	r.repo.DeleteComment(ours.ID)
	r.repo.AddComment(n, ours.Author, strings.ReplaceAll(ours.Body, "\n", "\r\n")+"\r\n")
	say()
	if got := r.server.Writes(); got != 1 {
		t.Errorf("%d writes, want 1: %q", got, r.bodies(n))
	}
}

func TestCommentCostsOneRequestOnceKnown(t *testing.T) {
	r := start(t)
	n := r.open("calm").Number
	f := r.fleet("edge", token)
	c := source.Comment{Proposal: n, Body: "12 nodes reboot"}
	sum := func() (all int) {
		for _, count := range r.server.Requests() {
			all += count
		}
		return all
	}
	if err := f.Comment(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	before := sum()
	if err := f.Comment(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	if got := sum() - before; got != 1 {
		t.Errorf("%d requests, want 1: %v", got, r.server.Requests())
	}
}

func TestCommentDeletedWhileWeLook(t *testing.T) {
	r := start(t)
	n := r.open("race").Number
	f := r.fleet("edge", token)
	if err := f.Comment(context.Background(), source.Comment{Proposal: n, Body: "one"}); err != nil {
		t.Fatal(err)
	}
	r.server.Fail(func(q *http.Request) (int, bool) {
		if q.Method == http.MethodPatch {
			r.repo.DeleteComment(r.repo.Comments(n)[0].ID)
			r.server.Fail(nil)
		}
		return 0, false
	})
	if err := f.Comment(context.Background(), source.Comment{Proposal: n, Body: "two"}); err != nil {
		t.Fatal(err)
	}
	if got := r.bodies(n); len(got) != 1 || !strings.HasSuffix(got[0], "\ntwo") {
		t.Errorf("got %q, want the new one only", got)
	}
}

// An app's token may not ask who it is: the configured login counts then, of bots only.
func TestCommentOfAnApp(t *testing.T) {
	r := start(t)
	r.server.AddApp("sluice", "app-token")
	imposter := r.server.AddUser("sluice[bot]", "another") // no bot
	n := r.open("app").Number
	r.repo.AddComment(n, imposter, "<!-- sluice:edge -->\nnothing reboots")

	nameless := r.fleet("edge", "app-token")
	if err := nameless.Comment(context.Background(), source.Comment{Proposal: n, Body: "x"}); err == nil || !strings.Contains(err.Error(), "[bot]") {
		t.Errorf("without a login: got %v, want what to configure", err)
	}
	for _, body := range []string{"one", "two"} {
		f := r.fleet("edge", "app-token")
		f.Login = "sluice[bot]"
		if err := f.Comment(context.Background(), source.Comment{Proposal: n, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.bodies(n); len(got) != 2 || !strings.HasSuffix(got[0], "nothing reboots") || !strings.HasSuffix(got[1], "\ntwo") {
		t.Errorf("got %q, want the imposter's as it was, and one of ours", got)
	}
}

func TestClientRefusesAnAddressThatLeaksTheToken(t *testing.T) {
	for url, ok := range map[string]bool{
		"":                                true,
		"https://ghe.example.com/api/v3":  true,
		"http://127.0.0.1:1234/":          true,
		"http://localhost:1234/":          true,
		"http://ghe.example.com/api/v3/":  false,
		"https://u:hunter2@example.com/":  false,
		"ftp://example.com/":              false,
		"ghe.example.com":                 false,
		"https://u:hunter2@exa mple.com/": false,
	} {
		client, err := github.Client(url, token)
		if (err == nil) != ok {
			t.Errorf("%q: got %v", url, err)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), token)) {
			t.Errorf("%q: the error holds a secret: %v", url, err)
		}
		if err == nil && !strings.HasSuffix(client.BaseURL.Path, "/") {
			t.Errorf("%q: the base %s drops its last element", url, client.BaseURL)
		}
	}
}

func TestEveryCallEndsByItself(t *testing.T) {
	hang := make(chan struct{})
	f, stop := against(t, func(w http.ResponseWriter, r *http.Request) { <-hang })
	defer stop()
	defer close(hang)
	f.Timeout = 20 * time.Millisecond
	for name, call := range calls(f) {
		if err := call(context.Background()); err == nil || !strings.Contains(err.Error(), "no answer within 20ms") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
