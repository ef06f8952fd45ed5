package github_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/source"
	"github.com/sluice-gitops/sluice/source/forge/github"
)

// against is a fleet's view of a server that answers as it likes.
func against(t *testing.T, answer http.HandlerFunc) (f *github.Forge, stop func()) {
	t.Helper()
	s := httptest.NewServer(answer)
	client, err := github.Client(s.URL, token)
	if err != nil {
		t.Fatal(err)
	}
	return &github.Forge{Client: client, Owner: "acme", Repo: "fleet", Branch: "main", Fleet: "edge"}, s.Close
}

func calls(f *github.Forge) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Proposals": func(ctx context.Context) error { _, err := f.Proposals(ctx); return err },
		"Post": func(ctx context.Context) error {
			return f.Post(ctx, source.Status{Commit: strings.Repeat("c", 40), State: source.Success})
		},
		"Comment": func(ctx context.Context) error {
			return f.Comment(ctx, source.Comment{Proposal: 1, Body: "x"})
		},
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name    string
		status  int
		message string
		words   map[string]string // call -> a word of its error
	}{
		{"a token that is not accepted", 401, "Bad credentials", map[string]string{
			"Proposals": "pull_requests:read", "Post": "token is not accepted", "Comment": "Bad credentials",
		}},
		{"a right that is missing", 403, "Resource not accessible by personal access token", map[string]string{
			"Proposals": "token lacks pull_requests:read", "Post": "token lacks statuses:write", "Comment": "NAME[bot]",
		}},
		{"a repository that is hidden", 404, "Not Found", map[string]string{
			"Proposals": "check owner and repository", "Post": "check owner and repository", "Comment": "404",
		}},
		{"a forge that is down", 502, "<html>", map[string]string{"Proposals": "502", "Post": "502", "Comment": "502"}},
	} {
		f, stop := against(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(c.status)
			json.NewEncoder(w).Encode(map[string]string{"message": c.message})
		})
		for name, call := range calls(f) {
			err := call(context.Background())
			if err == nil || !strings.Contains(err.Error(), c.words[name]) {
				t.Errorf("%s: %s: got %v, want a word of %q", c.name, name, err, c.words[name])
				continue
			}
			if strings.Contains(err.Error(), token) {
				t.Errorf("%s: %s: the error holds the token: %v", c.name, name, err)
			}
			var denied *github.DeniedError
			if permanent := errors.As(err, &denied); permanent != (c.status < 500) {
				t.Errorf("%s: %s: permanent is %v: %v", c.name, name, permanent, err)
			}
		}
		stop()
	}
}

func TestRateLimits(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name   string
		status int
		header map[string]string
		body   string
		after  time.Duration
	}{
		{"a primary limit", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Limit": "5000", "X-RateLimit-Reset": unix(now.Add(time.Hour))}, `{"message":"limit"}`, time.Hour},
		{"a primary limit by 429", 429, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": unix(now.Add(time.Hour))}, `{"message":"limit"}`, time.Hour},
		{"a secondary limit", 403, map[string]string{"Retry-After": "120"}, `{"message":"slow","documentation_url":"https://docs.github.com/x#about-secondary-rate-limits"}`, 2 * time.Minute},
		{"a secondary limit under another name", 403, map[string]string{"Retry-After": "120"}, `{"message":"slow"}`, 2 * time.Minute},
		{"a secondary limit by 429", 429, map[string]string{"Retry-After": "120"}, `{"message":"slow"}`, 2 * time.Minute},
		{"a limit that does not say how long", 429, nil, `{"message":"slow"}`, time.Minute},
		{"one that does not say it in JSON", 429, map[string]string{"Retry-After": "soon"}, `slow`, time.Minute},
	} {
		f, stop := against(t, func(w http.ResponseWriter, r *http.Request) {
			for key, value := range c.header {
				w.Header().Set(key, value)
			}
			w.WriteHeader(c.status)
			w.Write([]byte(c.body))
		})
		for name, call := range calls(f) {
			err := call(context.Background())
			var limit *github.RateError
			if !errors.As(err, &limit) {
				t.Errorf("%s: %s: got %v, want a RateError", c.name, name, err)
			} else if off := limit.Until.Sub(now.Add(c.after)); off < -2*time.Second || off > 5*time.Second {
				t.Errorf("%s: %s: wait until %s, want %s", c.name, name, limit.Until, now.Add(c.after))
			}
		}
		stop()
	}
}

// Whoever waits may go by another clock than this machine's.
func TestARateLimitGoesByTheClockOfWhoWaits(t *testing.T) {
	for name, about := range map[string]string{"one that the library knows": "https://docs.github.com/x#about-secondary-rate-limits", "another": ""} {
		f, stop := against(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusForbidden)
			json.NewEncoder(w).Encode(map[string]string{"message": "slow", "documentation_url": about})
		})
		now := time.Now().Add(-time.Hour)
		f.Now = func() time.Time { return now }
		_, err := f.Proposals(t.Context())
		var limit *github.RateError
		if !errors.As(err, &limit) || limit.Until.Sub(now).Round(time.Second) != 2*time.Minute {
			t.Errorf("%s: got %+v, want two minutes after %s", name, err, now)
		}
		stop()
	}
}

func unix(t time.Time) string { b, _ := json.Marshal(t.Unix()); return string(b) }

// While the forge wants no requests it gets none, and the reads of a fleet whose writes are
// limited go on.
func TestRateLimitIsKept(t *testing.T) {
	r := start(t)
	f := r.fleet("edge", token)
	r.server.LimitUntil(time.Now().Add(time.Hour))
	var limit *github.RateError
	for range 3 {
		if _, err := f.Proposals(context.Background()); !errors.As(err, &limit) {
			t.Fatalf("got %v, want a RateError", err)
		}
	}
	if got := r.server.Requests()["GET /repos/{owner}/{repo}/pulls"]; got != 1 {
		t.Errorf("%d requests in the teeth of the limit, want 1", got)
	}
	r.server.LimitUntil(time.Time{})

	r.server.LimitWrites(time.Hour)
	f = r.fleet("edge", token)
	status := source.Status{Commit: r.head, State: source.Success}
	for range 3 {
		if err := f.Post(context.Background(), status); !errors.As(err, &limit) {
			t.Fatalf("got %v, want a RateError", err)
		}
	}
	if got := r.server.Writes(); got != 1 {
		t.Errorf("%d writes in the teeth of the limit, want 1", got)
	}
}

func TestFullContextStopsNoOther(t *testing.T) {
	r := startWith(t) // the other tests hold these requests to the description
	f := r.fleet("edge", token)
	status := source.Status{Commit: r.head, Pool: "worker", State: source.Pending}
	for range 1000 {
		if err := f.Post(context.Background(), status); err != nil {
			t.Fatal(err)
		}
	}
	var full *github.FullError
	if err := f.Post(context.Background(), status); !errors.As(err, &full) || !strings.Contains(err.Error(), "sluice/edge/worker") {
		t.Errorf("got %v, want a FullError that names the context", err)
	}
	status.Pool = "infra"
	if err := f.Post(context.Background(), status); err != nil {
		t.Errorf("another pool: %v", err)
	}
}

func TestTokenDoesNotFollowARedirect(t *testing.T) {
	stolen := make(chan string, 10)
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stolen <- r.Header.Get("Authorization")
		w.Write([]byte("[]"))
	}))
	defer thief.Close()
	f, stop := against(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	defer stop()
	for name, call := range calls(f) {
		if err := call(context.Background()); err == nil || !strings.Contains(err.Error(), "correct the forge's url") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if len(stolen) != 0 {
		t.Errorf("another host was asked, with %q", <-stolen)
	}
}

// A repository that was renamed redirects on its own host.
func TestRenamedRepositoryIsFollowed(t *testing.T) {
	var path string
	f, stop := against(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/moved" {
			http.Redirect(w, r, "/moved", http.StatusTemporaryRedirect)
			return
		}
		path = r.Method + " " + r.Header.Get("Authorization")
		w.WriteHeader(http.StatusCreated)
		w.Write([]byte("{}"))
	})
	defer stop()
	if err := calls(f)["Post"](context.Background()); err != nil || path != "POST Bearer "+token {
		t.Errorf("got %v, %q", err, path)
	}
}

// TestEachRequestIsHeard holds how requests are counted, and that GitHub's own word on what is left
// is passed on.
func TestEachRequestIsHeard(t *testing.T) {
	for _, row := range []struct {
		name    string
		status  int
		header  map[string]string
		outcome string
		left    int
	}{
		{"an answer", 200, map[string]string{"X-RateLimit-Remaining": "4999", "X-RateLimit-Limit": "5000"}, "ok", 4999},
		{"an answer of a server without limits", 200, nil, "ok", -1},
		{"nothing is left", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "4102444800"}, "limited", 0},
		{"too fast", 429, map[string]string{"Retry-After": "60"}, "limited", -1},
		{"a right is missing", 403, map[string]string{"X-RateLimit-Remaining": "7"}, "denied", 7},
		{"the server is broken", 502, nil, "failed", -1},
	} {
		f, stop := against(t, func(w http.ResponseWriter, r *http.Request) {
			for key, value := range row.header {
				w.Header().Set(key, value)
			}
			w.WriteHeader(row.status)
			if row.status == http.StatusOK {
				_, _ = w.Write([]byte("[]"))
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]string{"message": "no"})
		})
		heard := 0
		f.Heard = func(outcome string, left int) {
			if heard++; outcome != row.outcome || left != row.left {
				t.Errorf("%s: heard %s, %d left; want %s, %d", row.name, outcome, left, row.outcome, row.left)
			}
		}
		if _, err := f.Proposals(t.Context()); (err == nil) != (row.status == http.StatusOK) || heard != 1 {
			t.Errorf("%s: %v, heard %d times", row.name, err, heard)
		}
		stop()
	}
	f, stop := against(t, func(http.ResponseWriter, *http.Request) {})
	stop() // nobody answers
	var got []string
	f.Heard = func(outcome string, left int) { got = append(got, outcome) }
	if _, err := f.Proposals(t.Context()); err == nil || len(got) != 1 || got[0] != "failed" {
		t.Errorf("nobody is there: %v, heard %q", err, got)
	}
}
