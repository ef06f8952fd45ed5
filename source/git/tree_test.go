package git_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sluice-gitops/sluice/source/git"
	"github.com/sluice-gitops/sluice/source/git/gittest"
)

const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

func treeOf(t *testing.T, files gittest.Files, l git.Limits) fs.FS {
	t.Helper()
	repo := gittest.New(t).Repo("fleet.git")
	head := repo.Commit("main", files)
	s := follow(t, repo.URL)
	s.Limits = l
	look(t, s)
	tree, err := s.Tree(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestTreeIsAFileSystem(t *testing.T) {
	t.Parallel()
	tree := treeOf(t, gittest.Files{"a": "1", "empty": "", "sub/b": "2", "sub/deep/er/c": "3", "sub.d/x": "4", "sub-1/ä ö": "5"}, git.Limits{})
	if err := fstest.TestFS(tree, "a", "empty", "sub/b", "sub/deep/er/c", "sub.d/x", "sub-1/ä ö"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"nothing", "a/b", "sub/nothing/x", "sub/b/c"} {
		if _, err := fs.ReadFile(tree, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want that it does not exist", name, err)
		}
	}
	for _, name := range []string{"../a", "/a", "sub/../a", "./a", "", "sub/", "..", "sub//b", "\xff"} {
		if _, err := fs.ReadFile(tree, name); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want that the path is invalid", name, err)
		}
	}
	var path *fs.PathError
	if _, err := fs.Stat(tree, "sub/nothing/x"); !errors.As(err, &path) || path.Path != "sub/nothing/x" {
		t.Errorf("error %v does not name the whole path", err)
	}
}

func TestTreeKnowsItsContentsByName(t *testing.T) {
	t.Parallel()
	before := treeOf(t, gittest.Files{"a": "1", "b": "1", "sub/c": "2", "l": gittest.Link("a")}, git.Limits{})
	after := treeOf(t, gittest.Files{"a": "1", "b": "3", "sub/c": "2", "l": gittest.Link("a")}, git.Limits{})
	hash := func(tree fs.FS, name string) string {
		t.Helper()
		h, err := tree.(interface{ Hash(string) (string, error) }).Hash(name)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	for name, same := range map[string]bool{"a": true, "b": false, "sub": true, "sub/c": true, ".": false} {
		if got := hash(before, name) == hash(after, name); got != same {
			t.Errorf("%s: same %v, want %v", name, got, same)
		}
	}
	if hash(before, "a") != hash(before, "b") || hash(before, "a") == hash(before, "sub/c") {
		t.Error("a hash does not go by content")
	}
	if h := hash(before, "sub"); !strings.HasPrefix(h, "tree:") || !strings.HasPrefix(hash(before, "."), "tree:") {
		t.Errorf("directory is named %s", h)
	}
	for name, want := range map[string]error{"gone": fs.ErrNotExist, "l": nil} {
		_, err := before.(interface{ Hash(string) (string, error) }).Hash(name)
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTreeGivesOutPlainFilesOnly(t *testing.T) {
	t.Parallel()
	commit := strings.Repeat("1", 40)
	tests := map[string]struct {
		files  gittest.Files
		limits git.Limits
		read   string
		path   string // that the error names
		why    []string
	}{
		"symbolic link":           {files: gittest.Files{"a": "1", "l": gittest.Link("a")}, read: "l", path: "l", why: []string{"symbolic link", "put the file itself"}},
		"symbolic link out":       {files: gittest.Files{"l": gittest.Link("/etc/passwd")}, read: "l", path: "l", why: []string{"symbolic link"}},
		"through a symbolic link": {files: gittest.Files{"d/a": "1", "x/l": gittest.Link("../d")}, read: "x/l/a", path: "x/l", why: []string{"symbolic link"}},
		"submodule":               {files: gittest.Files{"m": gittest.Submodule(commit)}, read: "m", path: "m", why: []string{"submodule"}},
		"through a submodule":     {files: gittest.Files{"m": gittest.Submodule(commit)}, read: "m/a/b", path: "m", why: []string{"submodule"}},
		"LFS pointer":             {files: gittest.Files{"d/big": pointer}, read: "d/big", path: "d/big", why: []string{"LFS", "git lfs untrack"}},
		"large file":              {files: gittest.Files{"d/big": "12345678901"}, limits: git.Limits{Blob: 10}, read: "d/big", path: "d/big", why: []string{"11 bytes", "10"}},
		"too deep":                {files: gittest.Files{"a/b/c/d": "1"}, limits: git.Limits{Depth: 3}, read: "a/b/c/d", path: "a/b/c", why: []string{"deeper than 3"}},
		"too many files":          {files: gittest.Files{"a/1": "1", "a/2": "", "a/3": "", "b": "1"}, limits: git.Limits{Files: 4}, read: "a/1", path: "a", why: []string{"over 4 files"}},
		"names differ by case":    {files: gittest.Files{"d/Node.yaml": "1", "d/node.yaml": "2"}, read: "d/node.yaml", path: "d", why: []string{`"Node.yaml"`, `"node.yaml"`, "rename"}},
		"file and folder by case": {files: gittest.Files{"Pools/x": "1", "pools": "2"}, read: "pools", path: ".", why: []string{`"Pools"`, `"pools"`}},
		"name of no file":         {files: gittest.Files{"\"d/\\377.yaml\"": "1"}, read: "d/x", path: "d", why: []string{`\xff`, "rename"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tree := treeOf(t, tt.files, tt.limits)
			_, err := fs.ReadFile(tree, tt.read)
			wantErr(t, err, tt.why...)
			var path *fs.PathError
			if !errors.As(err, &path) || path.Path != tt.path {
				t.Errorf("error %q does not name %q", err, tt.path)
			}
			if !errors.As(err, new(git.Unfit)) {
				t.Errorf("error %q is not marked as the author's to change", err)
			}
			if f, err := tree.Open(tt.read); err == nil {
				f.Close()
				t.Error("Open gives out what ReadFile does not")
			}
		})
	}
	t.Run("and shows what it does not give out", func(t *testing.T) {
		tree := treeOf(t, gittest.Files{"a": "1", "l": gittest.Link("a"), "m": gittest.Submodule(commit)}, git.Limits{})
		list, err := fs.ReadDir(tree, ".")
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []fs.FileMode{0, fs.ModeSymlink, fs.ModeIrregular} {
			if list[i].Type() != want {
				t.Errorf("%s is shown as %v, want %v", list[i].Name(), list[i].Type(), want)
			}
		}
	})
	t.Run("within the limits", func(t *testing.T) {
		tree := treeOf(t, gittest.Files{"a/b/c": "1234567890", "a/b/d": "1"}, git.Limits{Blob: 10, Depth: 3, Files: 4})
		if _, err := fs.ReadFile(tree, "a/b/c"); err != nil {
			t.Error(err)
		}
	})
}
