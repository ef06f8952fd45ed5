package loopback_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/source/forge/loopback"
)

// api asks the forge by hand, as curl would, and decodes the answer.
func api(t *testing.T, s *loopback.Server, method, path, body string) (status int, answer any) {
	t.Helper()
	r, err := http.NewRequest(method, s.APIURL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if err := json.NewDecoder(got.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return got.StatusCode, answer
}

// fields prints some fields of a list or of one object, a row per line.
func fields(answer any, names ...string) string {
	list, ok := answer.([]any)
	if !ok {
		list = []any{answer}
	}
	var out bytes.Buffer
	for _, item := range list {
		for _, name := range names {
			value := item
			for step := range strings.SplitSeq(name, ".") {
				value = value.(map[string]any)[step]
			}
			fmt.Fprintf(&out, "%v ", value)
		}
		fmt.Fprintln(&out)
	}
	return strings.ReplaceAll(strings.TrimSpace(out.String()), " \n", "\n")
}

type exchange struct {
	name, method, path, body string
	status                   int
	show, want               string // fields of the answer
}

// exchanges are to be made in this order: each sees what those before it said.
func exchanges(at, head, change string) []exchange {
	return []exchange{
		{"who we are", "GET", "user", "", 200, "login type", "sluice User"},
		{"open pull requests", "GET", at + "pulls", "", 200, "number title draft state head.sha base.ref", "1 one true open " + change + " main"},
		{"all of them, the newest first", "GET", at + "pulls?state=all", "", 200, "number state", "2 closed\n1 open"},
		{"pull requests against another branch", "GET", at + "pulls?base=other", "", 200, "number", ""},
		{"one pull request", "GET", at + "pulls/1", "", 200, "number merged head.sha", "1 false " + change},
		{"no such pull request", "GET", at + "pulls/9", "", 404, "message", "Not Found"},
		{"no such repository", "GET", "repos/acme/other/pulls", "", 404, "message", "Not Found"},
		{"no status yet", "GET", at + "commits/" + head + "/status", "", 200, "state total_count", "pending 0"},
		{"a status", "POST", at + "statuses/" + head, `{"state":"pending","context":"a","description":"one"}`, 201, "state context", "pending a"},
		{"another context", "POST", at + "statuses/" + head, `{"state":"success","context":"b"}`, 201, "state context", "success b"},
		{"pending wins over success", "GET", at + "commits/main/status", "", 200, "state total_count sha", "pending 2 " + head},
		{"the next word", "POST", at + "statuses/" + head, `{"state":"success","context":"a"}`, 201, "state context", "success a"},
		{"the last words count", "GET", at + "commits/main/status", "", 200, "state total_count", "success 2"},
		{"an error", "POST", at + "statuses/" + head, `{"state":"error","context":"b"}`, 201, "state", "error"},
		{"an error is a failure", "GET", at + "commits/" + head + "/status", "", 200, "state total_count", "failure 2"},
		{"every word, the newest first", "GET", at + "commits/" + head + "/statuses?per_page=3", "", 200, "state context", "error b\nsuccess a\nsuccess b"},
		{"the second page", "GET", at + "commits/" + head + "/statuses?per_page=3&page=2", "", 200, "state context", "pending a"},
		{"a long description", "POST", at + "statuses/" + head, `{"state":"success","description":"` + strings.Repeat("x", 141) + `"}`, 422, "message", "Validation Failed"},
		{"a long context", "POST", at + "statuses/" + head, `{"state":"success","context":"` + strings.Repeat("x", 256) + `"}`, 422, "message", "Validation Failed"},
		{"an emoji in a description", "POST", at + "statuses/" + head, `{"state":"success","description":"🚀"}`, 422, "message", "Validation Failed"},
		{"no such commit", "POST", at + "statuses/" + strings.Repeat("0", 40), `{"state":"success"}`, 422, "message", "No commit found for SHA: " + strings.Repeat("0", 40)},
		{"a comment", "POST", at + "issues/1/comments", `{"body":"hello"}`, 201, "body user.login", "hello sluice"},
		{"an empty comment", "POST", at + "issues/1/comments", `{"body":" "}`, 422, "message", "Validation Failed"},
		{"a long comment", "POST", at + "issues/1/comments", `{"body":"` + strings.Repeat("x", 65537) + `"}`, 422, "message", "Validation Failed"},
		{"a comment nowhere", "POST", at + "issues/9/comments", `{"body":"hello"}`, 404, "message", "Not Found"},
		{"comments", "GET", at + "issues/1/comments", "", 200, "body", "hello"},
		{"no comments elsewhere", "GET", at + "issues/2/comments", "", 200, "body", ""},
		{"no such comment", "PATCH", at + "issues/comments/99", `{"body":"hello"}`, 404, "message", "Not Found"},
	}
}

// Every route by hand, each request and answer held to GitHub's description by start.
func TestAPI(t *testing.T) {
	s, repo, head := start(t)
	change := commit(t, repo, "change", map[string]string{"x": "x"})
	for _, title := range []string{"one", "two"} {
		if _, err := repo.Open(title, "change"); err != nil {
			t.Fatal(err)
		}
	}
	if err := repo.SetDraft(1, true); err != nil {
		t.Fatal(err)
	}
	if err := repo.Close(2); err != nil {
		t.Fatal(err)
	}
	const at = "repos/acme/fleet/"
	for _, c := range exchanges(at, head, change) {
		status, answer := api(t, s, c.method, c.path, c.body)
		if status != c.status {
			t.Errorf("%s: got %d %v, want %d", c.name, status, answer, c.status)
		} else if got := fields(answer, strings.Fields(c.show)...); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	path := fmt.Sprintf("%sissues/comments/%d", at, repo.Comments(1)[0].ID)
	if status, answer := api(t, s, "PATCH", path, `{"body":"edited"}`); status != 200 || fields(answer, "body") != "edited" {
		t.Errorf("an edit: got %d %v", status, answer)
	}
	if status, answer := api(t, s, "GET", path, ""); status != 200 || fields(answer, "body") != "edited" {
		t.Errorf("after an edit: got %d %v", status, answer)
	}
	if state, latest := repo.Combined(head); state != "failure" || len(latest) != 2 || latest[0].Context != "a" {
		t.Errorf("Combined: got %s %v", state, latest)
	}
	if got := s.Requests()["POST /repos/{owner}/{repo}/statuses/{sha}"]; got != 8 {
		t.Errorf("counted %d statuses, want 8", got)
	}
}

func TestStrangerMayNotEdit(t *testing.T) {
	s, repo, _ := start(t)
	commit(t, repo, "change", map[string]string{"x": "x"})
	if _, err := repo.Open("one", "change"); err != nil {
		t.Fatal(err)
	}
	s.RequireToken("ours")
	mallory := s.AddUser("mallory", "theirs")
	ours := repo.AddComment(1, loopback.User{ID: 1, Login: "sluice"}, "ours")
	theirs := repo.AddComment(1, mallory, "theirs")
	for id, want := range map[int64]int{ours.ID: 403, theirs.ID: 200} {
		r, _ := http.NewRequest("PATCH", fmt.Sprintf("%srepos/acme/fleet/issues/comments/%d", s.APIURL(), id), strings.NewReader(`{"body":"forged"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer theirs")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("comment %d: got %s, want %d", id, answer.Status, want)
		}
	}
}
