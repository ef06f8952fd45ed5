package github_test

import (
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/reconciler/loop/looptest"
	"github.com/sluice-gitops/sluice/source"
	"github.com/sluice-gitops/sluice/source/forge/github"
	"github.com/sluice-gitops/sluice/source/forge/loopback"
	"github.com/sluice-gitops/sluice/source/forge/loopback/contract"
)

// rig is a forge on loopback with one repository of one commit. Unless it is told otherwise,
// every request and answer is held to GitHub's own description.
type rig struct {
	*testing.T
	server *loopback.Server
	repo   *loopback.Repo
	head   string
}

func start(t *testing.T) rig {
	t.Helper()
	return startWith(t, loopback.Wrapped(contract.Check(t)))
}

func startWith(t *testing.T, options ...loopback.Option) rig {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("the git binary is missing: ", err)
	}
	s, err := loopback.Start(t.TempDir(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	repo, err := s.Create("acme/fleet")
	if err != nil {
		t.Fatal(err)
	}
	s.RequireToken(token)
	r := rig{T: t, server: s, repo: repo}
	r.head = r.commit(repo, "main", "README")
	return r
}

const token = "tok-3c9e1f"

func (r rig) commit(repo *loopback.Repo, branch, file string) string {
	r.Helper()
	sha, err := repo.Commit(branch, "add "+file, map[string]string{file: "x"})
	if err != nil {
		r.Fatal(err)
	}
	return sha
}

// fleet is a fleet's view of the repository, as a new process has it.
func (r rig) fleet(name, token string) *github.Forge {
	r.Helper()
	client, err := github.Client(r.server.APIURL(), token)
	if err != nil {
		r.Fatal(err)
	}
	return &github.Forge{Client: client, Owner: "acme", Repo: "fleet", Branch: "main", Fleet: name}
}

// open opens a pull request of a branch of its own.
func (r rig) open(title string) source.Proposal {
	r.Helper()
	branch := "change-" + strings.Trim(strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' {
			return c
		}
		return '-'
	}, title), "-")
	head := r.commit(r.repo, branch, branch)
	number, err := r.repo.Open(title, branch)
	if err != nil {
		r.Fatal(err)
	}
	return source.Proposal{Number: number, Title: title, Head: head}
}

func (r rig) bodies(number int) []string {
	var bodies []string
	for _, c := range r.repo.Comments(number) {
		bodies = append(bodies, c.Body)
	}
	return bodies
}

// last is the last word of one context, in GitHub's own terms.
func (r rig) last(commit, context string) (state, description string) {
	_, latest := r.repo.Combined(commit)
	i := slices.IndexFunc(latest, func(s loopback.Status) bool { return s.Context == context })
	if i < 0 {
		return "", ""
	}
	return latest[i].State, latest[i].Description
}

func TestForge(t *testing.T) {
	looptest.Forge(t, func(t *testing.T) looptest.ForgeRig {
		r := start(t)
		stranger := r.server.AddUser("stranger", "another")
		return looptest.ForgeRig{
			Forge: r.fleet("edge", token), Other: r.fleet("lab", token), Commit: r.head,
			Restart: func() loop.Forge { return r.fleet("edge", token) },
			Open:    r.open,
			Close: func(number int) {
				if err := r.repo.Close(number); err != nil {
					t.Fatal(err)
				}
			},
			Said: func(commit, pool string) (source.State, string) {
				state, summary := r.last(commit, strings.TrimSuffix("sluice/edge/"+pool, "/"))
				if state == "error" {
					state = string(source.Superseded)
				}
				return source.State(state), summary
			},
			Comments: r.bodies,
			Stranger: func(number int, body string) { r.repo.AddComment(number, stranger, body) },
			Wipe: func(number int) {
				for _, c := range r.repo.Comments(number) {
					r.repo.DeleteComment(c.ID)
				}
			},
			Writes: r.server.Writes,
			Fail: func(broken bool) {
				r.server.Fail(nil)
				if broken {
					r.server.Fail(func(*http.Request) (int, bool) { return http.StatusBadGateway, true })
				}
			},
		}
	})
}
