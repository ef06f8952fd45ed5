package git_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/source/git"
	"github.com/sluice-gitops/sluice/source/git/gittest"
)

func follow(t *testing.T, url string) *git.Source {
	t.Helper()
	return &git.Source{URL: url, Branch: "main", Dir: t.TempDir()}
}

func look(t *testing.T, s *git.Source) (head string, pulls map[int]string) {
	t.Helper()
	seen, err := s.Look(t.Context())
	if err != nil {
		t.Fatalf("Look: %v", err)
	}
	return seen.Head.Commit, seen.Proposals
}

func read(t *testing.T, s *git.Source, commit, name string) string {
	t.Helper()
	tree, err := s.Tree(t.Context(), commit)
	if err != nil {
		t.Fatalf("Tree: %v", err)
	}
	data, err := fs.ReadFile(tree, name)
	if err != nil {
		t.Fatalf("ReadFile: %v", err)
	}
	return string(data)
}

func wantErr(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

func TestFollowsPushesAndForcePushes(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	for name, url := range map[string]func(*gittest.Repo) string{
		"over http":         func(r *gittest.Repo) string { return r.URL },
		"from a local path": func(r *gittest.Repo) string { return r.Dir },
	} {
		t.Run(name, func(t *testing.T) {
			repo := srv.Repo(strings.ReplaceAll(name, " ", "-") + ".git")
			first := repo.Commit("main", gittest.Files{"a": "one", "sub/b": "deep"})
			s := follow(t, url(repo))
			if head, _ := look(t, s); head != first {
				t.Fatalf("head %s, want %s", head, first)
			}
			second := repo.Commit("main", gittest.Files{"a": "two"})
			if head, _ := look(t, s); head != second {
				t.Fatalf("head %s, want the pushed %s", head, second)
			}
			forced := repo.Set("refs/heads/main", first, gittest.Files{"a": "three"})
			head, _ := look(t, s)
			if head != forced {
				t.Fatalf("head %s, want the forced %s", head, forced)
			}
			for commit, want := range map[string]string{first: "one", second: "two", forced: "three"} {
				if got := read(t, s, commit, "a"); got != want {
					t.Errorf("a at %s is %q, want %q", commit, got, want)
				}
			}
			if base, err := s.MergeBase(t.Context(), forced, second); err != nil || base != first {
				t.Errorf("merge base %q (%v), want %s: the caller sees by it that history was rewritten", base, err, first)
			}
			alone := repo.Set("refs/heads/main", "", gittest.Files{"z": "unrelated"})
			look(t, s)
			if base, err := s.MergeBase(t.Context(), alone, second); err != nil || base != "" {
				t.Errorf("merge base of unrelated histories is %q (%v), want none", base, err)
			}
		})
	}
}

func TestUnchangedRemoteCostsOneRequest(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	base := repo.Commit("main", gittest.Files{"a": "1"})
	repo.Pull(1, base, gittest.Files{"a": "2"})
	s := follow(t, repo.URL)
	look(t, s)
	srv.Requests()
	look(t, s)
	if got := srv.Requests(); !slices.Equal(got, []string{"GET /fleet.git/info/refs"}) {
		t.Errorf("requests %q, want one listing of the refs", got)
	}
	// A restart is no change either.
	again := &git.Source{URL: s.URL, Branch: s.Branch, Dir: s.Dir}
	look(t, again)
	if got := srv.Requests(); len(got) != 1 {
		t.Errorf("after a restart: requests %q, want one", got)
	}
}

func TestPullRequestHeads(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	base := repo.Commit("main", gittest.Files{"a": "1"})
	head := repo.Commit("main", gittest.Files{"a": "2"})
	pull := repo.Pull(7, base, gittest.Files{"a": "from a fork"})
	repo.Git("update-ref", "refs/pull/7/merge", head)
	s := follow(t, repo.URL)
	_, pulls := look(t, s)
	if len(pulls) != 1 || pulls[7] != pull {
		t.Fatalf("proposals %v, want 7 at %s", pulls, pull)
	}
	srv.Down() // what a Look has shown is read without the remote
	if got := read(t, s, pull, "a"); got != "from a fork" {
		t.Errorf("a is %q", got)
	}
	if got, err := s.MergeBase(t.Context(), head, pull); err != nil || got != base {
		t.Errorf("merge base %q (%v), want %s", got, err, base)
	}
	srv.Fault(nil)
	repo.Git("update-ref", "-d", "refs/pull/7/head")
	if _, pulls := look(t, s); len(pulls) != 0 {
		t.Errorf("proposals %v after the pull request is gone", pulls)
	}
	_, err := s.Tree(t.Context(), strings.Repeat("1", 40))
	wantErr(t, err, "has not shown it")
}

func TestHundredsOfPullRequestsAreFetchedInBatches(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	base := repo.Commit("main", gittest.Files{"a": "1"})
	oldest := repo.Pull(1, base, gittest.Files{"a": "pull 1"})
	for n := 2; n < 130; n++ {
		repo.Pull(n, base, gittest.Files{"a": fmt.Sprint("pull ", n)})
	}
	newest := repo.Pull(130, base, gittest.Files{"a": "pull 130"})
	s := follow(t, repo.URL)
	if _, pulls := look(t, s); len(pulls) != 130 {
		t.Fatalf("%d proposals, want 130", len(pulls))
	}
	if n := len(srv.Requests()); n > 5 {
		t.Errorf("%d requests for a first look, want a handful", n)
	}
	srv.Down()
	if got := read(t, s, newest, "a"); got != "pull 130" {
		t.Errorf("newest pull request reads %q", got)
	}
	if _, err := s.Tree(t.Context(), oldest); err == nil {
		t.Error("a look fetches every pull request that ever was")
	}
	srv.Fault(nil)
	if got := read(t, s, oldest, "a"); got != "pull 1" {
		t.Errorf("oldest pull request reads %q", got)
	}
}

func TestPoisonedPullRequestStopsNothing(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	base := repo.Commit("main", gittest.Files{"a": "1"})
	good := repo.Pull(1, base, gittest.Files{"a": "good"})
	huge := repo.Pull(2, base, gittest.Files{"huge": strings.Repeat("x", 1<<20)})
	s := follow(t, repo.URL)
	s.Limits.Object = 1 << 16
	if head, pulls := look(t, s); head != base || pulls[1] != good || pulls[2] != huge {
		t.Fatalf("head %s, proposals %v", head, pulls)
	}
	if got := read(t, s, good, "a"); got != "good" {
		t.Errorf("the good pull request reads %q", got)
	}
	_, err := s.Tree(t.Context(), huge)
	wantErr(t, err, huge, "1048576 bytes", "more than 65536")
	srv.Requests()
	if _, err := s.Tree(t.Context(), huge); err == nil {
		t.Error("the poisoned pull request is read the second time")
	}
	look(t, s)
	if got := srv.Requests(); len(got) != 1 {
		t.Errorf("requests %q: what was over the limit is asked for again", got)
	}
	next := repo.Commit("main", gittest.Files{"a": "2"})
	if head, _ := look(t, s); head != next {
		t.Errorf("head %s, want %s", head, next)
	}
}

// flood lists refs without end, until the client has had enough.
func flood(status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(status)
		fmt.Fprint(w, "001e# service=git-upload-pack\n0000")
		fmt.Fprintf(w, "0044%040d refs/heads/a\x00ofs-delta\n", 1)
		for n := 0; ; n++ {
			if _, err := fmt.Fprintf(w, "0043%040d refs/heads/%010d\n", 1, n); err != nil {
				return true
			}
		}
	}
}

func TestRemoteAwayKeepsLastGood(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	head := repo.Commit("main", gittest.Files{"a": "1"})
	pull := repo.Pull(3, head, gittest.Files{"a": "2"})
	s := follow(t, repo.URL)
	look(t, s)
	restarted := &git.Source{URL: s.URL, Branch: s.Branch, Dir: s.Dir}

	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	for name, tt := range map[string]struct {
		fault func(http.ResponseWriter, *http.Request) bool
		why   string
	}{
		"breaks off":           {func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, "EOF"},
		"is ill":               {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true }, "503"},
		"is not git":           {func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, "<html>hello"); return true }, "not that of a Git repository"},
		"says nothing":         {func(http.ResponseWriter, *http.Request) bool { <-hang; return true }, "no whole answer within 50ms"},
		"floods":               {flood(200), "more than 16777216 bytes"},
		"is ill, and floods":   {flood(500), "500"},
		"denies, with a flood": {flood(404), "404"},
	} {
		for which, s := range map[string]*git.Source{"running": s, "restarted": restarted} {
			t.Run(name+" while "+which, func(t *testing.T) {
				s.Limits.Timeout = time.Minute
				if name == "says nothing" {
					s = &git.Source{URL: s.URL, Branch: "main", Dir: s.Dir, Limits: git.Limits{Timeout: 50 * time.Millisecond}}
				}
				srv.Fault(tt.fault)
				seen, err := s.Look(t.Context())
				wantErr(t, err, repo.URL, tt.why)
				if seen.Head.Commit != head || seen.Proposals[3] != pull {
					t.Errorf("sighting %+v with the error, want the last good one", seen)
				}
				if got := read(t, s, head, "a"); got != "1" {
					t.Errorf("a is %q", got)
				}
			})
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Look(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled look says %v", err)
	}
	srv.Fault(nil)
	look(t, s)
}

func TestBranchMissing(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	s := follow(t, repo.URL)
	_, err := s.Look(t.Context())
	wantErr(t, err, repo.URL, `"main"`, "empty", "push")
	repo.Commit("other", gittest.Files{"a": "1"})
	_, err = s.Look(t.Context())
	wantErr(t, err, repo.URL, `no branch "main"`, "push it, or follow another")
	head := repo.Commit("main", gittest.Files{"a": "1"})
	look(t, s)
	repo.Git("update-ref", "-d", "refs/heads/main")
	seen, err := s.Look(t.Context())
	wantErr(t, err, `no branch "main"`)
	if seen.Head.Commit != head {
		t.Errorf("head %q with the error, want the last good one", seen.Head.Commit)
	}
}

func TestBetween(t *testing.T) {
	t.Parallel()
	repo := gittest.New(t).Repo("fleet.git")
	var c []string
	for i := range 60 {
		c = append(c, repo.Commit("main", gittest.Files{"a": fmt.Sprint(i)}))
	}
	s := follow(t, repo.URL)
	look(t, s)
	for name, tt := range map[string]struct {
		older, newer string
		want         []string
	}{
		"oldest first, without the ends": {c[50], c[54], c[51:54]},
		"neighbours":                     {c[53], c[54], nil},
		"the same":                       {c[54], c[54], nil},
		"as many as are listed":          {c[8], c[59], c[9:59]},
		"further than is listed":         {c[7], c[59], nil},
		"after a force-push":             {strings.Repeat("1", 40), c[3], nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.Between(t.Context(), tt.older, tt.newer)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestAnotherRepositoryInTheSameDir(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	one, two := srv.Repo("one.git"), srv.Repo("two.git")
	one.Commit("main", gittest.Files{"a": "one"})
	head := two.Commit("main", gittest.Files{"a": "two"})
	s := follow(t, one.URL)
	look(t, s)
	moved := &git.Source{URL: two.URL, Branch: "main", Dir: s.Dir}
	srv.Down()
	if seen, err := moved.Look(t.Context()); err == nil || seen.Head.Commit != "" {
		t.Errorf("the sighting of another repository is given out: %+v, %v", seen, err)
	}
	srv.Fault(nil)
	if got, _ := look(t, moved); got != head {
		t.Errorf("head %s, want %s", got, head)
	}
}

func TestTreesStayUsableWhileLooksFetch(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	files := gittest.Files{}
	for i := range 40 {
		files[fmt.Sprintf("d%d/f%d", i%5, i)] = fmt.Sprint(i)
	}
	head := repo.Commit("main", files)
	s := follow(t, repo.URL)
	look(t, s)
	tree, err := s.Tree(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var done atomic.Bool
	defer wg.Wait()
	defer done.Store(true)
	for range 4 {
		wg.Go(func() {
			for !done.Load() {
				err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
					if err == nil && !d.IsDir() {
						_, err = fs.ReadFile(tree, name)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 5 {
		repo.Commit("main", gittest.Files{"new": fmt.Sprint(i)})
		look(t, s)
	}
}

func packs(t *testing.T, s *git.Source) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(s.Dir, "mirror.git", "objects", "pack", "*.pack"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no packs in the mirror (%v)", err)
	}
	return list
}
