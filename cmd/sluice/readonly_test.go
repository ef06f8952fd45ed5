package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// TestPreviewWritesNothing runs a preview that cannot write: no file may grow, whoever runs it,
// and its repository, home, working and temporary folders are read-only. Then it holds those
// against what they were.
func TestPreviewWritesNothing(t *testing.T) {
	repo, base, head := quickstart(t)
	places := map[string]string{"repository": repo, "home": t.TempDir(), "tmp": t.TempDir(), "cwd": t.TempDir()}
	for _, dir := range places {
		lock(t, dir)
	}
	before := map[string]map[string]string{}
	for what, dir := range places {
		before[what] = prints(t, dir)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sluice := filepath.Join(t.TempDir(), "sluice") // TestMain is the program under this name
	if err := os.Symlink(exe, sluice); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"text", "markdown", "json"} {
		cmd := exec.Command("sh", "-c", `ulimit -f 0 && exec "$0" "$@"`, sluice, "preview", repo, "--base", base, "--head", head, "-o", form)
		cmd.Dir = places["cwd"]
		cmd.Env = []string{"HOME=" + places["home"], "TMPDIR=" + places["tmp"], "PATH=" + os.Getenv("PATH")}
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil || stdout.Len() == 0 || stderr.Len() > 0 {
			t.Errorf("%s: %v, %d bytes\n%s", form, err, stdout.Len(), &stderr)
		}
	}
	for what, dir := range places {
		if after := prints(t, dir); !maps.Equal(before[what], after) {
			t.Errorf("the %s is another: %v, was %v", what, slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before[what])))
		}
	}
}

// lock makes a tree read-only until the test is over.
func lock(t *testing.T, dir string) {
	t.Helper()
	chmod := func(folder, file fs.FileMode) {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir():
				return os.Chmod(name, folder)
			case d.Type().IsRegular():
				return os.Chmod(name, file)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	chmod(0o555, 0o444)
	t.Cleanup(func() { chmod(0o755, 0o644) })
}

// prints are the files and folders of a tree, each with all that a write would change.
func prints(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var body []byte
		if d.Type().IsRegular() {
			if body, err = os.ReadFile(name); err != nil {
				return err
			}
		}
		out[name] = fmt.Sprintf("%v %d %v %x", info.Mode(), info.Size(), info.ModTime().UnixNano(), sha256.Sum256(body))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
