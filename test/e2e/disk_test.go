package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/reconciler"
)

const (
	disk   = 4 << 20    // of worker-1, in bytes
	filler = 2560 << 10 // what somebody else keeps there
	large  = 800 << 10  // there is room for the config that holds it, and none for the file beside that
)

// TestFullDiskHaltsThePoolAndHalfAppliesNothing gives one node a disk of its own that is too small
// for a commit.
func TestFullDiskHaltsThePoolAndHalfAppliesNothing(t *testing.T) {
	r := newRig(t)
	r.startWithDisk("worker-1")
	full := filepath.Join(r.root("worker-1"), "srv")
	if err := os.WriteFile(full, make([]byte, filler), 0o644); err != nil {
		t.Fatal(err)
	}
	r.awaitLanded(r.git("rev-parse", "HEAD"))
	before := r.trees()

	r.write("pools/worker/60-large.yaml", fmt.Sprintf(largeYAML, strings.Repeat("x", large)))
	r.edit("pools/worker/kustomization.yaml", `  - 50-hugepages.yaml`, "  - 50-hugepages.yaml\n  - 60-large.yaml")
	r.edit("base/10-time.yaml", `time\.example\.com`, "time2.example.com") // goes with it, or not at all
	commit := r.push("a large file")
	r.await("the pool to halt", func() bool { return r.state().Pools["worker"].Phase == reconciler.Halted })
	r.await("the other nodes to be finished", func() bool {
		for _, n := range r.nodes() {
			if n.Cordon != reconciler.Uncordoned || !n.Ready || n.Report.Generation != n.Order.Generation || n.Report.Phase == nodeops.Working {
				return false
			}
		}
		return true
	})
	for _, d := range differences(before["worker-1"], r.tree("worker-1")) {
		t.Errorf("half applied on the full disk: %s", d)
	}
	why := r.sluice("why", "--local", r.dir, "worker")
	if !bytes.Contains(why, []byte("worker-1")) || !bytes.Contains(why, []byte("no space left on device")) {
		t.Errorf("why names neither the node nor the disk: %s", why)
	}
	r.await("failure on the commit", func() bool { state, _ := r.repo.Combined(commit); return state == "failure" })
	_, latest := r.repo.Combined(commit)
	if words := fmt.Sprint(latest); !strings.Contains(words, "worker-1") {
		t.Errorf("the statuses name no node: %s", words)
	}
	for _, name := range []string{"worker-3", "worker-4"} { // of the next wave
		for _, d := range differences(before[name], r.tree(name)) {
			t.Errorf("node %s was touched though the pool had halted: %s", name, d)
		}
	}

	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	delete(before["worker-1"], "/srv")
	r.awaitLanded(r.push("try again: there is room now"))
	r.holdAtRest()
	r.holdRendered(before)
	r.stop()
}

const largeYAML = `apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata:
  name: 60-large
  labels: {machineconfiguration.openshift.io/role: worker}
spec:
  config:
    ignition: {version: 3.5.0}
    storage:
      files:
        - {path: /etc/large, mode: 0644, contents: {source: "data:,%s"}}
`

// startWithDisk starts the controller where one node's root is a small file system of its own.
// Only a name space of its own, for users and mounts, allows that to anybody who is not root.
func (r *rig) startWithDisk(node string) {
	r.t.Helper()
	root := filepath.Join(r.dir, "nodes", node, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		r.t.Fatal(err)
	}
	apart := func(script string, args ...string) *exec.Cmd {
		cmd := exec.Command("sh", append([]string{"-c", fmt.Sprintf("mount -t tmpfs -o size=%d none %q && ", disk, root) + script, "sh"}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		return cmd
	}
	if out, err := apart("true").CombinedOutput(); err != nil {
		r.t.Skipf("skipped: this machine lets no ordinary user mount a small disk in a name space: %v %s", err, out)
	}
	r.launch(apart(`exec "$@"`, append([]string{binary}, r.args()...)...))
	r.through = fmt.Sprintf("/proc/%d/root", r.proc.Process.Pid)
	r.await("the disk of "+node, func() bool {
		var fs syscall.Statfs_t
		return syscall.Statfs(r.root(node), &fs) == nil && fs.Blocks*uint64(fs.Bsize) == disk
	})
}
