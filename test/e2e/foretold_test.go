package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/reconciler/preview"
)

// TestWhatWasForetoldHappensAndARevertTakesItBack previews a change that reboots one pool, pushes
// it, and reverts it.
func TestWhatWasForetoldHappensAndARevertTakesItBack(t *testing.T) {
	r := newRig(t)
	motd := filepath.Join(r.root("worker-2"), "etc/motd") // stands there before Sluice comes
	if err := os.MkdirAll(filepath.Dir(motd), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(motd, []byte("by hand\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.awaitLanded(r.git("rev-parse", "HEAD"))
	before, boots := r.trees(), r.boots()

	r.git("switch", "--quiet", "--create", "change")
	r.edit(hugepages, `hugepages=\d+`, "hugepages=128")
	r.write("pools/worker/60-more.yaml", moreYAML)
	r.edit("pools/worker/kustomization.yaml", `  - 50-hugepages.yaml`, "  - 50-hugepages.yaml\n  - 60-more.yaml\npatches:\n  - path: less.yaml")
	r.write("pools/worker/less.yaml", lessYAML)
	r.commit("more of this, less of that")
	var foretold preview.Report
	if err := json.Unmarshal(r.sluice("preview", r.work, "--base", "main", "--head", "change", "-o", "json"), &foretold); err != nil {
		t.Fatal(err)
	}
	var waves [][]string
	for _, p := range foretold.Pools {
		waves = append(waves, p.Waves...)
	}
	if len(waves) < 2 {
		t.Fatalf("foretold are the waves %v, want several", waves)
	}

	r.git("switch", "--quiet", "main")
	r.git("merge", "--quiet", "--ff-only", "change")
	from := len(r.logged())
	r.git("push", "--quiet", "origin", "main")
	r.awaitLanded(r.git("rev-parse", "HEAD"))
	r.holdWaves(waves, r.disturbed(from))
	for name, id := range r.boots() {
		if rebooted, want := id != boots[name], slices.Contains(slices.Concat(waves...), name); rebooted != want {
			t.Errorf("node %s rebooted: %t, foretold: %t", name, rebooted, want)
		}
	}
	r.holdRendered(before)
	after := r.trees()
	for _, path := range []string{"/etc/motd", "/etc/issue.d/10-more.issue", "/etc/chrony.conf", "(booted)"} {
		if before["worker-2"][path] == after["worker-2"][path] {
			t.Errorf("%s of worker-2 is as before: the revert has nothing to restore", path)
		}
	}

	r.awaitLanded(r.revert())
	r.stop()
	r.holdAtRest()
	for name, was := range before {
		for _, d := range differences(was, r.tree(name)) {
			t.Errorf("after the revert, node %s: %s", name, d)
		}
	}
}

// A file over one that was there, a file in a new directory, and another mode for one of the base.
const moreYAML = `apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata:
  name: 60-more
  labels: {machineconfiguration.openshift.io/role: worker}
spec:
  config:
    ignition: {version: 3.5.0}
    storage:
      files:
        - {path: /etc/motd, mode: 0644, overwrite: true, contents: {source: "data:,managed%0A"}}
        - {path: /etc/issue.d/10-more.issue, mode: 0600, contents: {source: "data:,more%0A"}}
        - {path: /etc/chrony.conf, mode: 0600, contents: {source: "data:,server%20elsewhere.example.com%0A"}}
`

// The service of the base goes.
const lessYAML = `apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata:
  name: 40-hello
$patch: delete
`

func (r *rig) boots() map[string]string {
	out := map[string]string{}
	for name, n := range r.nodes() {
		out[name] = n.Report.BootID
	}
	return out
}

var sent = regexp.MustCompile(`msg=send node=(\S+) .* ceiling=(\S+)`)

// disturbed are the nodes that got an order which may disturb them, in that order, since a line
// of the log.
func (r *rig) disturbed(from int) []string {
	var out []string
	for _, line := range r.logged()[from:] {
		if m := sent.FindStringSubmatch(line); m != nil && m[2] != "none" {
			out = append(out, m[1])
		}
	}
	return out
}

// holdWaves holds that the nodes went in the order of the waves; within a wave there is no order.
func (r *rig) holdWaves(waves [][]string, went []string) {
	r.t.Helper()
	rest := went
	for i, wave := range waves {
		now := slices.Clone(rest[:min(len(wave), len(rest))])
		rest = rest[len(now):]
		slices.Sort(now)
		if want := slices.Sorted(slices.Values(wave)); !slices.Equal(now, want) {
			r.t.Errorf("wave %d: foretold %s, went %s (of all: %s)", i+1, strings.Join(want, ", "), strings.Join(now, ", "), strings.Join(went, ", "))
		}
	}
	if len(rest) > 0 {
		r.t.Errorf("nobody foretold %v", rest)
	}
}
