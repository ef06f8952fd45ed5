package main

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestPreviewOfTheQuickstart holds what the example's README promises: the previews of a change
// that reboots the workers and reloads the runtime of the edge nodes, in all forms.
func TestPreviewOfTheQuickstart(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("skipped: there is no git on this machine to make a repository with")
	}
	repo := t.TempDir()
	if err := os.CopyFS(repo, os.DirFS("../../examples/quickstart")); err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = repo
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	edit := func(file, from, to string) {
		t.Helper()
		path := filepath.Join(repo, file)
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), from) {
			t.Fatalf("%s does not say %q: %v", file, from, err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git("init", "--quiet", "--initial-branch=main")
	git("add", "--all")
	git("commit", "--quiet", "--message=start")
	base := git("rev-parse", "HEAD")
	edit("pools/worker/50-hugepages.yaml", "hugepages=64", "hugepages=128")
	edit("pools/edge/50-registries.yaml", "registry.example.com", "mirror.example.com")
	git("commit", "--quiet", "--all", "--message=change")
	head := git("rev-parse", "HEAD")
	names := strings.NewReplacer(base, "BASE", head, "HEAD", base[:7], "BASE", head[:7], "HEAD")

	for form, file := range map[string]string{"text": "preview.txt", "markdown": "preview.md", "json": "preview.json"} {
		t.Run(form, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := []string{"preview", repo, "--base", base, "--head", head, "--at", "2026-11-22T12:00:00Z", "-o", form}
			if code := run(t.Context(), args, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
				t.Fatalf("exit code %d\n%s", code, &stderr)
			}
			got := names.Replace(stdout.String())
			golden := filepath.Join("../../examples/testdata", file)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the preview is\n%s\nbut %s holds\n%s\n(if that is meant: go test ./cmd/sluice -run Quickstart -update)", got, golden, want)
			}
		})
	}
}
