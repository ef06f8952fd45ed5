package git_test

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/source/git"
	"github.com/sluice-gitops/sluice/source/git/gittest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// damages break a mirror that holds two packs.
var damages = map[string]func(t *testing.T, mirror string, packs []string){
	"pack cut off": func(t *testing.T, _ string, packs []string) {
		for _, p := range packs {
			must(t, os.Truncate(p, 40))
		}
	},
	"pack empty": func(t *testing.T, _ string, packs []string) { must(t, os.Truncate(packs[0], 0)) },
	"bits flipped": func(t *testing.T, _ string, packs []string) {
		for _, p := range packs {
			data, err := os.ReadFile(p)
			must(t, err)
			data[len(data)/2] ^= 0xff
			must(t, os.Chmod(p, 0o600))
			must(t, os.WriteFile(p, data, 0o600))
		}
	},
	"one pack deleted": func(t *testing.T, _ string, packs []string) {
		must(t, os.Remove(packs[0]))
		must(t, os.Remove(strings.TrimSuffix(packs[0], ".pack")+".idx"))
	},
	"other pack deleted": func(t *testing.T, _ string, packs []string) { must(t, os.Remove(packs[1])) },
	"index deleted": func(t *testing.T, _ string, packs []string) {
		must(t, os.Remove(strings.TrimSuffix(packs[1], ".pack")+".idx"))
	},
	"index garbage": func(t *testing.T, _ string, packs []string) {
		must(t, os.WriteFile(strings.TrimSuffix(packs[0], ".pack")+".idx", []byte("garbage"), 0o600))
	},
	"objects are a file": func(t *testing.T, mirror string, _ []string) {
		must(t, os.RemoveAll(filepath.Join(mirror, "objects")))
		must(t, os.WriteFile(filepath.Join(mirror, "objects"), nil, 0o600))
	},
	"objects gone": func(t *testing.T, mirror string, _ []string) {
		must(t, os.RemoveAll(filepath.Join(mirror, "objects")))
	},
	"HEAD garbage": func(t *testing.T, mirror string, _ []string) {
		must(t, os.WriteFile(filepath.Join(mirror, "HEAD"), []byte("\x00\xff garbage"), 0o600))
	},
	"config garbage": func(t *testing.T, mirror string, _ []string) {
		must(t, os.WriteFile(filepath.Join(mirror, "config"), []byte("[core\n\x00"), 0o600))
	},
	"not a repository": func(t *testing.T, mirror string, _ []string) {
		must(t, os.RemoveAll(mirror))
		must(t, os.MkdirAll(mirror, 0o700))
		must(t, os.WriteFile(filepath.Join(mirror, "README"), []byte("hello"), 0o600))
	},
	"a file": func(t *testing.T, mirror string, _ []string) {
		must(t, os.RemoveAll(mirror))
		must(t, os.WriteFile(mirror, nil, 0o600))
	},
	"all gone": func(t *testing.T, mirror string, _ []string) { must(t, os.RemoveAll(filepath.Dir(mirror))) },
	"unreadable": func(t *testing.T, mirror string, _ []string) {
		if os.Getuid() == 0 {
			t.Skip("skipped: root reads everything")
		}
		must(t, os.Chmod(filepath.Join(mirror, "objects"), 0))
	},
}

func TestDamagedMirrorHeals(t *testing.T) {
	t.Parallel()
	repo := gittest.New(t).Repo("fleet.git")
	for name, damage := range damages {
		for _, when := range []string{"while it runs", "before it starts"} {
			t.Run(name+" "+when, func(t *testing.T) {
				repo.Commit("main", gittest.Files{"a": "1", "sub/b": strings.Repeat("old ", 50)})
				s := follow(t, repo.URL)
				look(t, s)
				head := repo.Commit("main", gittest.Files{"a": "2"})
				look(t, s)
				damage(t, filepath.Join(s.Dir, "mirror.git"), packs(t, s))
				if when == "before it starts" {
					s = &git.Source{URL: s.URL, Branch: "main", Dir: s.Dir}
				}
				if got, _ := look(t, s); got != head {
					t.Fatalf("head %s, want %s", got, head)
				}
				if when == "before it starts" && !strings.Contains(name, "pack deleted") {
					run(t, "-C", filepath.Join(s.Dir, "mirror.git"), "fsck", "--strict")
				}
				tree, err := s.Tree(t.Context(), head)
				must(t, err)
				if _, err := fs.ReadFile(tree, "sub/b"); err != nil {
					look(t, s) // what only a read can find is healed by the next look
				}
				if got := read(t, s, head, "sub/b"); got != strings.Repeat("old ", 50) {
					t.Errorf("sub/b is %q", got)
				}
				if left, _ := filepath.Glob(filepath.Join(s.Dir, "old-*")); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
			})
		}
	}
}

func TestDamageIsNoMissingFile(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	head := repo.Commit("main", gittest.Files{"a": "1"})
	s := follow(t, repo.URL)
	look(t, s)
	tree, err := s.Tree(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(packs(t, s)[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.ReadFile(tree, "a"); err == nil || os.IsNotExist(err) || strings.Contains(err.Error(), "file does not exist") {
		t.Errorf("a damaged mirror says %v: a reader would go on without the file", err)
	}
	look(t, s)
	if data, err := fs.ReadFile(tree, "a"); err != nil || string(data) != "1" {
		t.Errorf("the old tree after the mirror was made afresh: %q, %v", data, err)
	}
}

func TestDamageWhileTheRemoteIsAwayThrowsNothingAway(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	repo.Commit("main", gittest.Files{"a": "1"})
	s := follow(t, repo.URL)
	look(t, s)
	head := repo.Commit("main", gittest.Files{"b": "2"})
	look(t, s)
	list := packs(t, s)
	if err := os.WriteFile(filepath.Join(s.Dir, "mirror.git", "config"), []byte("[core\n\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = &git.Source{URL: s.URL, Branch: "main", Dir: s.Dir}
	srv.Fault(func(w http.ResponseWriter, r *http.Request) bool { // the refs still come, no pack does
		if r.Method == http.MethodPost {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	seen, err := s.Look(t.Context())
	wantErr(t, err, "replace damaged mirror")
	if seen.Head.Commit != head {
		t.Errorf("head %q with the error, want the last good one", seen.Head.Commit)
	}
	for _, p := range list {
		if _, err := os.Stat(p); err != nil {
			t.Errorf("the old mirror is gone: %v", err)
		}
	}
	srv.Fault(nil)
	look(t, s)
	if got := read(t, s, head, "a"); got != "1" {
		t.Errorf("a is %q", got)
	}
}

func TestNetworkErrorsNeverCloneAgain(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	repo.Commit("main", gittest.Files{"a": "1"})
	s := follow(t, repo.URL)
	look(t, s)
	before := packs(t, s)[0]
	head := repo.Commit("main", gittest.Files{"a": "2"})
	for _, fault := range []func(w http.ResponseWriter, r *http.Request) bool{
		func(w http.ResponseWriter, r *http.Request) bool { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost { // a pack that ends in its middle
				w.Write([]byte("0008NAK\n0015\x01PACK\x00\x00\x00\x02\x00\x00\x00\x03\x01"))
				return true
			}
			return false
		},
	} {
		srv.Fault(fault)
		if _, err := s.Look(t.Context()); err == nil {
			t.Error("no error from a remote that breaks off")
		}
	}
	srv.Fault(nil)
	if got, _ := look(t, s); got != head {
		t.Errorf("head %s, want %s", got, head)
	}
	if got := packs(t, s); len(got) != 2 || got[0] != before && got[1] != before {
		t.Errorf("packs %q: the mirror was cloned again", got)
	}
}

// A clone and a fetch that were killed leave these behind.
func TestKilledHalfwayHealsAtTheNextStart(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	head := repo.Commit("main", gittest.Files{"a": "1"})
	s := follow(t, repo.URL)
	half := filepath.Join(s.Dir, "next-123", "objects", "pack")
	tmp := filepath.Join(s.Dir, "mirror.git", "objects", "pack", "tmp_in_1")
	for _, p := range []string{filepath.Join(half, "tmp_in_2"), tmp, filepath.Join(s.Dir, "old-1", "mirror.git", "HEAD"), filepath.Join(s.Dir, "sighting.json")} {
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte("PAC"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := look(t, s); got != head {
		t.Errorf("head %s, want %s", got, head)
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "mirror.git" && e.Name() != "sighting.json" {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

func TestManyFetchesAreCleanedUp(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	repo.Commit("main", gittest.Files{"a": "1"})
	s := follow(t, repo.URL)
	look(t, s)
	pack := packs(t, s)[0]
	for _, n := range strings.Fields(strings.Repeat("x ", 100)) { // stand-ins: only their number counts
		f, err := os.CreateTemp(filepath.Dir(pack), "pack-"+n+"*.pack")
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	head := repo.Commit("main", gittest.Files{"a": "2"})
	if got, _ := look(t, s); got != head {
		t.Fatalf("head %s, want %s", got, head)
	}
	if got := packs(t, s); len(got) != 1 {
		t.Errorf("%d packs after a push to a crowded mirror, want one", len(got))
	}
	if got := read(t, s, head, "a"); got != "2" {
		t.Errorf("a is %q", got)
	}
}
