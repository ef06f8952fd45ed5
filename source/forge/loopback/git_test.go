package loopback_test

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/source/forge/loopback"
	"github.com/sluice-gitops/sluice/source/forge/loopback/contract"
)

// start runs a forge with a repository acme/fleet that has one commit.
func start(t *testing.T) (*loopback.Server, *loopback.Repo, string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("the git binary is missing: ", err)
	}
	s, err := loopback.Start(t.TempDir(), loopback.Wrapped(contract.Check(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	repo, err := s.Create("acme/fleet")
	if err != nil {
		t.Fatal(err)
	}
	return s, repo, commit(t, repo, "main", map[string]string{"README": "a fleet\n", "pools/worker.yaml": "a: 1\n"})
}

func commit(t *testing.T, r *loopback.Repo, branch string, files map[string]string) string {
	t.Helper()
	sha, err := r.Commit(branch, "change of "+branch, files)
	if err != nil {
		t.Fatal(err)
	}
	return sha
}

// git runs git as a user would, and returns what it prints.
func git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@localhost", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@localhost")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := git(dir, args...)
	if err != nil {
		t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

func pull(t *testing.T, r *loopback.Repo, number int) loopback.Pull {
	t.Helper()
	p, err := r.Pull(number)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGitOverHTTP(t *testing.T) {
	s, repo, head := start(t)
	url, work := s.CloneURL("acme/fleet"), filepath.Join(t.TempDir(), "work")
	mustGit(t, ".", "clone", "--quiet", url, work)
	if got := mustGit(t, work, "rev-parse", "HEAD"); got != head {
		t.Fatalf("cloned %s, want %s", got, head)
	}

	// A pull request follows its branch, whichever way that was pushed.
	mustGit(t, work, "switch", "--quiet", "--create", "change")
	if err := os.WriteFile(filepath.Join(work, "pools/worker.yaml"), []byte("a: 2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	mustGit(t, work, "commit", "--quiet", "--all", "--message=two")
	mustGit(t, work, "push", "--quiet", "origin", "change")
	number, err := repo.Open("Two", "change")
	if err != nil {
		t.Fatal(err)
	}
	// A pack of this size is sent in chunks, whose length git does not tell in advance.
	noise := make([]byte, 2<<20)
	rand.Read(noise)
	if err := os.WriteFile(filepath.Join(work, "noise"), noise, 0o644); err != nil {
		t.Fatal(err)
	}
	mustGit(t, work, "add", ".")
	mustGit(t, work, "commit", "--quiet", "--amend", "--message=two, again")
	mustGit(t, work, "push", "--quiet", "--force", "origin", "change")
	want := mustGit(t, work, "rev-parse", "HEAD")
	if got := mustGit(t, work, "ls-remote", url, "refs/pull/*/head"); got != want+"\trefs/pull/1/head" {
		t.Errorf("after a push: %q, want %s at refs/pull/1/head", got, want)
	}
	want = commit(t, repo, "change", map[string]string{"noise": ""}) // past the server
	if got := mustGit(t, work, "ls-remote", url, "refs/pull/1/head"); !strings.HasPrefix(got, want) {
		t.Errorf("after a commit on the server's side: %q, want %s", got, want)
	}
	if out, err := git(work, "push", url, "HEAD:refs/pull/1/head"); err == nil {
		t.Errorf("a push to the forge's own ref went through: %s", out)
	}

	merge, err := repo.Merge(number)
	if err != nil {
		t.Fatal(err)
	}
	mustGit(t, work, "pull", "--quiet", "origin", "main:main")
	if got := mustGit(t, work, "rev-parse", "main", "main^1", "main^2"); got != strings.Join([]string{merge, head, want}, "\n") {
		t.Errorf("main and its parents are %s, want %s of %s and %s", got, merge, head, want)
	}
	if got := mustGit(t, work, "show", "main:pools/worker.yaml"); got != "a: 2" {
		t.Errorf("main holds %q", got)
	}
	if p := pull(t, repo, number); p.Open || !p.Merged || p.Head != want {
		t.Errorf("the pull request is %+v, want it merged at %s", p, want)
	}
}

func TestMergeConflictChangesNothing(t *testing.T) {
	_, repo, _ := start(t)
	commit(t, repo, "change", map[string]string{"README": "mine\n"})
	number, err := repo.Open("Mine", "change")
	if err != nil {
		t.Fatal(err)
	}
	head := commit(t, repo, "main", map[string]string{"README": "yours\n"})
	if merge, err := repo.Merge(number); err == nil {
		t.Fatalf("merged a conflict as %s", merge)
	} else if !strings.Contains(err.Error(), "README") {
		t.Errorf("%v, want the name of the file", err)
	}
	if p := pull(t, repo, number); !p.Open {
		t.Errorf("the pull request is %+v, want it open", p)
	}
	other, err := repo.Commit("main", "next", map[string]string{"other": "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.Close(number); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Merge(number); err == nil {
		t.Error("merged a closed pull request")
	}
	if other == head {
		t.Error("a commit changed nothing")
	}
}

func TestPullOfADeletedBranchCloses(t *testing.T) {
	s, repo, _ := start(t)
	commit(t, repo, "change", map[string]string{"x": "x"})
	number, err := repo.Open("X", "change")
	if err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(t.TempDir(), "work")
	mustGit(t, ".", "clone", "--quiet", s.CloneURL("acme/fleet"), work)
	mustGit(t, work, "push", "--quiet", "origin", ":change")
	if p := pull(t, repo, number); p.Open || p.Merged {
		t.Errorf("the pull request is %+v, want it closed", p)
	}
}

func TestOpenOfNoBranchIsRefused(t *testing.T) {
	_, repo, _ := start(t)
	if number, err := repo.Open("X", "change"); err == nil || !strings.Contains(err.Error(), `"change"`) {
		t.Errorf("got %d, %v, want the name of the branch", number, err)
	}
	if _, err := repo.Pull(1); err == nil {
		t.Error("it is there all the same")
	}
}

func TestToken(t *testing.T) {
	s, _, _ := start(t)
	open := s.CloneURL("acme/fleet")
	with := func(token string) string { return strings.Replace(open, "://", "://x-access-token:"+token+"@", 1) }
	mustGit(t, ".", "ls-remote", open)
	s.RequireToken("secret-1")
	mallory := s.AddUser("mallory", "secret-2")
	for _, c := range []struct {
		name, url string
		ok        bool
	}{
		{"none", open, false},
		{"wrong", with("guess"), false},
		{"empty", with(""), false},
		{"the forge's own", with("secret-1"), true},
		{"a user's", with("secret-2"), true},
	} {
		if out, err := git(".", "ls-remote", c.url); (err == nil) != c.ok {
			t.Errorf("%s token: %v: %s", c.name, err, out)
		}
	}
	for token, want := range map[string]string{"": "Bad credentials", "guess": "Bad credentials", "secret-2": mallory.Login} {
		r, _ := http.NewRequest("GET", s.APIURL()+"user", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		body.ReadFrom(answer.Body)
		answer.Body.Close()
		if !strings.Contains(body.String(), want) {
			t.Errorf("token %q: got %s, want %q", token, &body, want)
		}
	}
}

func TestCreateRefusesANameThatIsNoRepository(t *testing.T) {
	s, _, _ := start(t)
	for _, name := range []string{"", "fleet", "../fleet", "acme/..", "acme/fleet.git", "a/b/c", "acme/fleet"} {
		if _, err := s.Create(name); err == nil {
			t.Errorf("created %q", name)
		}
	}
	for _, path := range []string{"/acme/other.git/info/refs?service=git-upload-pack", "/../etc/passwd", "/", "/acme/fleet.git/../../../etc/passwd"} {
		answer, err := http.Get(s.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
}
