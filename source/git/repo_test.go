package git_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/source/git"
	"github.com/sluice-gitops/sluice/source/git/gittest"
)

// history is main: 1-2-3(merge of 1-x), tag v1 (annotated) on 2.
func history(t *testing.T) (repo *gittest.Repo, one, two, side, three string) {
	repo = gittest.New(t).Repo("fleet.git")
	one = repo.Commit("main", gittest.Files{"a": "1"})
	two = repo.Commit("main", gittest.Files{"a": "2"})
	side = repo.Set("refs/heads/feature/x", one, gittest.Files{"b": "x"})
	three = repo.Git("commit-tree", "-p", two, "-p", side, "-m", "merge", two+"^{tree}")
	repo.Git("update-ref", "refs/heads/main", three)
	repo.Git("tag", "-a", "-m", "first", "v1", two)
	return repo, one, two, side, three
}

func TestResolve(t *testing.T) {
	t.Parallel()
	repo, one, two, side, three := history(t)
	r, err := git.Open(repo.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for rev, want := range map[string]string{
		"main": three, "refs/heads/main": three, "heads/main": three, "HEAD": three, "@": three,
		"feature/x": side, "v1": two, "tags/v1": two, "v1~1": one, "HEAD~1": two, "HEAD~": two, "HEAD^": two, "HEAD^1": two,
		"HEAD^2": side, "HEAD^2~1": one, "HEAD~2": one, "main^^": one, "HEAD^0": three, "HEAD~0": three,
		three: three, three[:7]: three, three[:9]: three, one[:12]: one,
	} {
		if got, err := r.Resolve(rev); err != nil || got != want {
			t.Errorf("Resolve(%q) = %q, %v, want %s", rev, got, err, want)
		}
		if theirs := repo.Git("rev-parse", rev+"^{commit}"); theirs != want {
			t.Errorf("git itself takes %q as %s", rev, theirs)
		}
	}
	tree := repo.Git("rev-parse", "main^{tree}")
	for rev, why := range map[string]string{
		"": "is not understood", "~1": "is not understood", "main..v1": "no such branch", "nothing": "no such branch, tag or commit", "../config": "no such",
		"HEAD~9": "fewer steps back", "HEAD^3": "fewer steps back", "-x": "no such", ":/merge": "is not understood", "main@{1}": "no such",
		strings.Repeat("0", 40): "no commit", tree: "no commit", tree[:10]: "no commit begins so", "ffffff1": "no commit begins so", "HEAD~99999999999": "is not understood",
	} {
		_, err := r.Resolve(rev)
		if wantErr(t, err, why, rev); err != nil && strings.Contains(err.Error(), "panic") {
			t.Errorf("%q: %v", rev, err)
		}
	}
}

func TestMergeBaseAsGitSees(t *testing.T) {
	t.Parallel()
	repo, one, two, side, three := history(t)
	other := repo.Set("refs/heads/other", side, gittest.Files{"c": "1"})
	cross := repo.Git("commit-tree", "-p", side, "-p", two, "-m", "crossed", two+"^{tree}")
	// Two merges that both reach a commit which its clock has put after its own descendant.
	dated := func(when string, args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", repo.Dir, "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit-tree", "-m", when, one + "^{tree}"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE="+when+" +0000")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	late := dated("1900000000")
	base := dated("1800000000", "-p", late)
	left, right := dated("1910000000", "-p", base, "-p", late), dated("1920000000", "-p", late, "-p", base)
	root := repo.Set("refs/heads/root", "", gittest.Files{"r": "1"})
	s := follow(t, repo.URL)
	s.Branch = "other"
	look(t, s)
	r, err := git.Open(repo.Dir)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{one, two, side, three, other, cross, root, late, base, left, right}
	for _, a := range all {
		for _, b := range all {
			got, err := r.MergeBase(a, b)
			if err != nil {
				t.Fatal(err)
			}
			out, _ := exec.Command("git", "-C", repo.Dir, "merge-base", "--all", a, b).Output()
			theirs := string(out) // empty, with exit code 1, where there is none
			if got == "" != (theirs == "") || !strings.Contains(theirs, got) {
				t.Errorf("merge base of %s and %s is %q, git says %q", a, b, got, theirs)
			}
		}
	}
	if got, err := s.MergeBase(t.Context(), other, one); err != nil || got != one {
		t.Errorf("from the mirror: %q, %v, want %s", got, err, one)
	}
}

func run(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

func TestOpenKindsOfRepository(t *testing.T) {
	t.Parallel()
	repo, _, two, _, three := history(t)
	dir := t.TempDir()
	clone, linked, shallow := filepath.Join(dir, "clone"), filepath.Join(dir, "linked"), filepath.Join(dir, "shallow")
	run(t, "clone", "-q", repo.Dir, clone)
	run(t, "-C", clone, "worktree", "add", "-q", "--detach", linked, two)
	run(t, "clone", "-q", "--depth=1", "file://"+repo.Dir, shallow)
	for name, tt := range map[string]struct{ path, rev, want, a string }{
		"bare":            {repo.Dir, "main", three, "2"},
		"clone":           {clone, "origin/feature/x~1", "", "1"},
		"linked worktree": {linked, "HEAD", two, "2"},
		"shallow":         {shallow, "HEAD", three, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := git.Open(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			commit, err := r.Resolve(tt.rev)
			if err != nil || tt.want != "" && commit != tt.want {
				t.Fatalf("Resolve(%q) = %q, %v", tt.rev, commit, err)
			}
			tree, err := r.Tree(commit)
			if err != nil {
				t.Fatal(err)
			}
			if data, err := fs.ReadFile(tree, "a"); err != nil || string(data) != tt.a {
				t.Errorf("a is %q, %v", data, err)
			}
		})
	}
}

func TestOpenSaysWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	repo, _, _, _, _ := history(t)
	dir := t.TempDir()
	shared, shallow := filepath.Join(dir, "shared"), filepath.Join(dir, "shallow")
	run(t, "clone", "-q", "--shared", repo.Dir, shared)
	run(t, "clone", "-q", "--depth=1", "file://"+repo.Dir, shallow)
	r, err := git.Open(shallow)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Resolve("HEAD~1")
	wantErr(t, err, "git fetch --unshallow")
	_, err = (&git.Source{URL: shallow, Branch: "main", Dir: t.TempDir()}).Look(t.Context())
	wantErr(t, err, "git fetch --unshallow")

	_, err = git.Open(shared)
	wantErr(t, err, "borrows objects", "git repack -a -d")
	_, err = git.Open(dir)
	wantErr(t, err, "no Git repository", dir, "holds .git")
	_, err = git.Open(filepath.Join(dir, "nothing"))
	wantErr(t, err, "no Git repository")
	if err := os.MkdirAll(filepath.Join(dir, "new"), 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "-C", filepath.Join(dir, "new"), "init", "-q")
	empty, err := git.Open(filepath.Join(dir, "new"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = empty.Resolve("HEAD")
	wantErr(t, err, "no commit yet")
}
