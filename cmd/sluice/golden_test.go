package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/durable"
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/render"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestPreviewOfTheQuickstart holds what the example's README promises: the previews of a change
// that reboots the workers and reloads the runtime of the edge nodes, in all forms.
func TestPreviewOfTheQuickstart(t *testing.T) {
	repo, base, head := quickstart(t)
	previewGolden(t, "preview", repo, base, head)
	inventory := filepath.Join(t.TempDir(), "inventory.json")
	if err := os.WriteFile(inventory, []byte(`{"nodes": [{"name": "solo", "labels": {"node-role.kubernetes.io/worker": ""}}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	previewGolden(t, "preview-inventory", repo, base, head, "--inventory", inventory)
}

// TestPreviewOfTheQuickstartsCluster says what a drain would meet in the example of a recorded cluster.
func TestPreviewOfTheQuickstartsCluster(t *testing.T) {
	repo, base, head := quickstart(t)
	previewGolden(t, "preview-cluster", repo, base, head, "--cluster", filepath.Join("..", "..", "examples", "cluster", "cluster.yaml"))
}

// TestPreviewOfTheQuickstartsOwnFleet takes the nodes as they are: one has missed the base, one
// has drifted, and one says nothing yet.
func TestPreviewOfTheQuickstartsOwnFleet(t *testing.T) {
	repo, base, head := quickstart(t)
	dir := t.TempDir()
	for _, name := range []string{"worker-1", "worker-2", "worker-3"} {
		if err := local.Enlist(dir, name, map[string]string{"node-role.kubernetes.io/worker": ""}, time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
	}
	config := func(rev string) machine.Config {
		tree, done, err := openTree(t.Context(), repo, rev)
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		result, err := renderTree(tree, nil, render.Options{Profile: machine.OpenShift})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range result.Pools {
			if p.Name == "worker" {
				return p.Config
			}
		}
		t.Fatal("there is no pool worker")
		return machine.Config{}
	}
	at, old := config(base), config(base)
	old.KernelArgs = []string{"hugepages=32"}
	store := &local.Store{Dir: dir}
	for _, c := range []machine.Config{at, old} {
		if err := store.Keep(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	report := func(name string, c machine.Config, drift ...nodeops.Drift) {
		d := c.Digest()
		order := nodeops.Order{Node: name, Generation: 1, Config: d}
		if err := (local.Fleet{Dir: dir}).Send(t.Context(), order); err != nil {
			t.Fatal(err)
		}
		r := nodeops.Report{Generation: 1, Config: d, Phase: nodeops.Done, BootID: "b", Drift: drift}
		if err := durable.WriteJSON(filepath.Join(dir, "nodes", name, "report.json"), r, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	report("worker-1", at, nodeops.Drift{Path: "/etc/chrony.conf", Kind: nodeops.DriftContent, Why: "is not as ordered"})
	report("worker-2", old)
	previewGolden(t, "preview-local", repo, base, head, "--local", dir)
}

// TestPreviewOfThreePools is of a repository without an inventory.
func TestPreviewOfThreePools(t *testing.T) {
	repo, git := repository(t, "three-pools")
	base := git("rev-parse", "HEAD")
	edit(t, repo, "pools/worker/time.yaml", "ntp.rack.example.com", "ntp.hall.example.com")
	git("commit", "--quiet", "--all", "--message=change")
	previewGolden(t, "three-pools-preview", repo, base, git("rev-parse", "HEAD"))
}

// repository is an example as a repository of one commit, and git in it.
func repository(t *testing.T, example string) (string, func(args ...string) string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("skipped: there is no git on this machine to make a repository with")
	}
	repo := t.TempDir()
	if err := os.CopyFS(repo, os.DirFS("../../examples/"+example)); err != nil {
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
	git("init", "--quiet", "--initial-branch=main")
	git("add", "--all")
	git("commit", "--quiet", "--message=start")
	return repo, git
}

// quickstart is that example with a second commit, which reboots the workers and reloads the edge.
func quickstart(t *testing.T) (repo, base, head string) {
	t.Helper()
	repo, git := repository(t, "quickstart")
	base = git("rev-parse", "HEAD")
	edit(t, repo, "pools/worker/50-hugepages.yaml", "hugepages=64", "hugepages=128")
	edit(t, repo, "pools/edge/50-registries.yaml", "registry.example.com", "mirror.example.com")
	git("commit", "--quiet", "--all", "--message=change")
	return repo, base, git("rev-parse", "HEAD")
}

func edit(t *testing.T, repo, file, from, to string) {
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

// previewGolden holds the three forms of a preview against golden files of the examples.
func previewGolden(t *testing.T, name, repo, base, head string, more ...string) {
	t.Helper()
	names := strings.NewReplacer(base, "BASE", head, "HEAD", base[:7], "BASE", head[:7], "HEAD")
	for form, end := range map[string]string{"text": "txt", "markdown": "md", "json": "json"} {
		t.Run(name+"/"+form, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := append([]string{"preview", repo, "--base", base, "--head", head, "--at", "2026-11-22T12:00:00Z", "-o", form}, more...)
			if code := run(t.Context(), args, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
				t.Fatalf("exit code %d\n%s", code, &stderr)
			}
			got := names.Replace(stdout.String())
			golden := filepath.Join("../../examples/testdata", fmt.Sprintf("%s.%s", name, end))
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
				t.Errorf("the preview is\n%s\nbut %s holds\n%s\n(if that is meant: go test ./cmd/sluice -run 'Quickstart|ThreePools' -update)", got, golden, want)
			}
		})
	}
}
