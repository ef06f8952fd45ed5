package kube

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/sluice-gitops/sluice/examples"
)

const (
	fleetRepo = "acme/fleet"

	hugepages  = "pools/worker/50-hugepages.yaml" // a change drains and reboots the workers
	registries = "pools/edge/50-registries.yaml"  // a change reloads the runtime of the edge nodes
)

// master is the third pool, beside the two of the quickstart.
var master = map[string]string{
	"pools/master/kustomization.yaml": `resources: [../../base, pool.yaml, 50-audit.yaml]
`,
	"pools/master/pool.yaml": `apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfigPool
metadata: {name: master}
spec: {maxUnavailable: 1}
`,
	"pools/master/50-audit.yaml": `apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 50-audit, labels: {machineconfiguration.openshift.io/role: master}}
spec: {kernelArguments: [audit=1]}
`,
}

// clone makes the repository of the fleet, and a clone to change it from.
func (r *Rig) clone() {
	r.t.Helper()
	quickstart, err := fs.Sub(examples.Quickstart, "quickstart")
	r.must(err)
	r.must(os.CopyFS(r.work(), quickstart))
	for name, text := range master {
		r.write(name, text)
	}
	r.git("init", "--quiet", "--initial-branch=main")
	r.git("remote", "add", "origin", r.server.CloneURL(fleetRepo))
	r.git("config", "user.name", "Ada")
	r.git("config", "user.email", "ada@example.com")
}

func (r *Rig) work() string { return filepath.Join(r.dir, "work") }

// git runs git in the clone, with no settings of whoever runs the test.
func (r *Rig) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.work()
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// push records all that was changed and pushes it.
func (r *Rig) push(message string) (commit string) {
	r.t.Helper()
	r.git("add", "--all")
	r.git("commit", "--quiet", "--allow-empty", "--message="+message)
	r.git("push", "--quiet", "origin", "HEAD")
	return r.git("rev-parse", "HEAD")
}

// edit replaces what a pattern finds in a file of the clone. It must change something.
func (r *Rig) edit(file, pattern, with string) {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.work(), file))
	r.must(err)
	next := regexp.MustCompile(pattern).ReplaceAllString(string(text), with)
	if next == string(text) {
		r.t.Fatalf("edit %s: %s -> %s changes nothing", file, pattern, with)
	}
	r.write(file, next)
}

func (r *Rig) write(file, text string) {
	r.t.Helper()
	path := filepath.Join(r.work(), file)
	r.must(os.MkdirAll(filepath.Dir(path), 0o755))
	r.must(os.WriteFile(path, []byte(text), 0o644))
}

// landed says that all pools have a commit.
func (r *Rig) landed(commit string) bool {
	state, latest := r.repo.Combined(commit)
	return state == "success" && len(latest) == len(limits)
}

// words are what the forge was told last of a commit.
func (r *Rig) words(commit string) string {
	var out []string
	_, latest := r.repo.Combined(commit)
	for _, st := range latest {
		out = append(out, st.Context+": "+st.State+": "+st.Description)
	}
	return strings.Join(out, "\n")
}
