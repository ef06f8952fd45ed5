// Package github says on GitHub how a fleet stands: a status per commit and pool, and one
// comment per pull request.
package github

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/sluice-gitops/sluice/source"
)

// Forge is one fleet's view of one repository on GitHub. It is safe for use by several
// goroutines; the fields are not changed after the first call.
type Forge struct {
	Client *gh.Client // see Client

	Owner, Repo string
	Branch      string // the followed branch, by its short name
	Fleet       string // a DNS label; in each status and comment, so that two fleets can share a repository

	// Login is the account whose comments are ours, as NAME[bot]. Only an app's token needs it,
	// which may not ask GitHub who it is.
	Login string
	// Timeout bounds each request; 0 is 30 s.
	Timeout time.Duration
	// Heard is told how each request ended, by the goroutine that made it: "ok", "limited" (GitHub
	// wants no more for a while), "denied" (the token lacks a right) or "failed". Left is how many
	// requests GitHub still takes, -1 where it does not say. Nil tells nobody.
	Heard func(outcome string, left int)
	// Now is the clock that RateError goes by, that of whoever waits for it; nil is time.Now.
	Now func() time.Time

	mu       sync.Mutex
	self     func(*gh.User) bool
	comments map[int]int64 // pull request number -> our comment on it
}

// Client makes a client for GitHub's API at baseURL ("" is github.com's own; an Enterprise
// Server's ends in /api/v3) that shows the token.
func Client(baseURL, token string) (*gh.Client, error) {
	if baseURL == "" {
		baseURL = "https://api.github.com/"
	}
	base, err := url.Parse(baseURL)
	if err != nil || base.Host == "" {
		return nil, errors.New("read forge url: it is no https address") // the url may hold a password
	}
	switch {
	case base.User != nil:
		return nil, fmt.Errorf("read forge url of %s: it holds credentials; give the token by itself", base.Host)
	case base.Scheme != "https" && !(base.Scheme == "http" && loopback(base.Hostname())):
		return nil, fmt.Errorf("read forge url of %s: the token would cross the network in clear; use https", base.Host)
	}
	if !strings.HasSuffix(base.Path, "/") {
		base.Path += "/" // the client resolves against it, and would drop the last element
	}
	// The token is put on every request, also on those that follow a redirect: it must not be
	// carried to another host.
	client := gh.NewClient(&http.Client{CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if next.URL.Scheme != base.Scheme || next.URL.Host != base.Host || len(via) >= 5 {
			return http.ErrUseLastResponse
		}
		return nil
	}})
	if token = strings.TrimSpace(token); token != "" { // a token from a file ends in a line end
		client = client.WithAuthToken(token)
	}
	client.BaseURL = base
	client.UserAgent = "sluice"
	return client, nil
}

func loopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

// Proposals lists the open pull requests against the followed branch, sorted by number. One that
// comes from another repository, or from one that is gone, is a fork's.
func (f *Forge) Proposals(ctx context.Context) ([]source.Proposal, error) {
	options := &gh.PullRequestListOptions{
		State: "open", Base: f.Branch,
		// The oldest first: a new one then shifts no other to a page that was read already.
		Sort: "created", Direction: "asc",
		ListOptions: gh.ListOptions{PerPage: 100, Page: 1},
	}
	var found []source.Proposal
	for options.Page != 0 {
		var pulls []*gh.PullRequest
		err := f.ask(ctx, "pull_requests:read", func(ctx context.Context) (answer *gh.Response, err error) {
			pulls, answer, err = f.Client.PullRequests.List(ctx, f.Owner, f.Repo, options)
			options.Page = next(answer)
			return answer, err
		})
		if err != nil {
			return nil, fmt.Errorf("list pull requests of %s/%s: %w", f.Owner, f.Repo, err)
		}
		for _, pull := range pulls {
			found = append(found, proposal(pull))
		}
	}
	byNumber := func(a, b source.Proposal) int { return cmp.Compare(a.Number, b.Number) }
	slices.SortFunc(found, byNumber)
	// One that was reopened between two pages is on both.
	return slices.CompactFunc(found, func(a, b source.Proposal) bool { return a.Number == b.Number }), nil
}

func proposal(pull *gh.PullRequest) source.Proposal {
	head := pull.GetHead().GetRepo()
	return source.Proposal{
		Number: pull.GetNumber(),
		Title:  pull.GetTitle(),
		Head:   pull.GetHead().GetSHA(),
		Fork:   head == nil || head.GetID() != pull.GetBase().GetRepo().GetID(),
		Draft:  pull.GetDraft(),
	}
}

func next(answer *gh.Response) int {
	if answer == nil {
		return 0
	}
	return answer.NextPage
}

// Post says one status of one commit, under the context sluice/FLEET/POOL, or sluice/FLEET where
// it speaks of the whole commit.
func (f *Forge) Post(ctx context.Context, s source.Status) error {
	name := "sluice/" + f.Fleet
	if s.Pool != "" {
		name += "/" + s.Pool
	}
	status := &gh.RepoStatus{
		State:       gh.String(state(s.State)),
		Context:     gh.String(clampContext(name)),
		Description: gh.String(clampDescription(s.Summary)),
	}
	err := f.ask(ctx, "statuses:write", func(ctx context.Context) (*gh.Response, error) {
		_, answer, err := f.Client.Repositories.CreateStatus(ctx, f.Owner, f.Repo, s.Commit, status)
		return answer, err
	})
	if err != nil {
		return fmt.Errorf("post status %q of commit %s: %w", name, source.Short(s.Commit), err)
	}
	return nil
}

// state says it in GitHub's words. GitHub has no neutral one, so of a superseded commit, which
// must not stay pending for ever, it has to be red or green. Green would be a lie: what the
// commit asks for never reached the whole fleet. "error" and not "failure", as nothing failed;
// the summary names the commit that took its place.
func state(s source.State) string {
	if s == source.Superseded {
		return "error"
	}
	return string(s)
}

// GitHub's limits, in characters. More is refused with 422.
const (
	maxContext     = 255
	maxDescription = 140
	maxBody        = 65_000 // the limit is 65,536
)

// clampContext keeps two long names apart, which a plain cut would make one.
func clampContext(name string) string {
	runes := []rune(name)
	if len(runes) <= maxContext {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	tail := "-" + hex.EncodeToString(sum[:4])
	return string(runes[:maxContext-len(tail)]) + tail
}

// clampDescription makes a text one line that GitHub takes: it refuses a description with
// characters beyond the basic plane, emoji among them.
func clampDescription(text string) string {
	text = strings.Map(func(r rune) rune {
		if r > 0xffff {
			return '\ufffd'
		}
		return r
	}, strings.Join(strings.Fields(text), " "))
	runes := []rune(text)
	if len(runes) <= maxDescription {
		return text
	}
	return string(runes[:maxDescription-1]) + "…"
}
