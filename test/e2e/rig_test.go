// Package e2e runs the real program as a process, on real Git over HTTP and a forge that answers
// as GitHub does, and holds what nodes and forge show in the end against what was promised.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/examples"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/source/forge/loopback"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(built(m.Run))
}

func built(run func() int) int {
	dir, err := os.MkdirTemp("", "sluice-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "sluice")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/sluice").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build sluice: %v\n%s", err, out)
		return 1
	}
	return run()
}

const (
	fleetRepo = "acme/fleet"
	patience  = 2 * time.Minute // a node that rebooted for an overtaken commit waits a minute for the next

	hugepages  = "pools/worker/50-hugepages.yaml" // a change drains and reboots the workers
	registries = "pools/edge/50-registries.yaml"  // a change reloads the runtime of the edge nodes
)

// rig is a fleet of six nodes that follows a repository on a forge, and a clone to change it from.
type rig struct {
	t       *testing.T
	dir     string // of the fleet
	work    string // the clone
	server  *loopback.Server
	repo    *loopback.Repo
	log     string
	through string // where the files of the nodes are seen: "", or the root of a process that has mounts of its own

	proc  *exec.Cmd
	ended chan error
}

func newRig(t *testing.T) *rig {
	t.Helper()
	t.Parallel()
	readSources(t)
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("skipped: there is no git on this machine to make and serve repositories with")
	}
	home := t.TempDir()
	r := &rig{t: t, dir: filepath.Join(home, "fleet"), work: filepath.Join(home, "work"), log: filepath.Join(home, "run.log")}
	var err error
	if r.server, err = loopback.Start(filepath.Join(home, "forge")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.server.Close() })
	if r.repo, err = r.server.Create(fleetRepo); err != nil {
		t.Fatal(err)
	}
	quickstart, err := fs.Sub(examples.Quickstart, "quickstart")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(r.work, quickstart); err != nil {
		t.Fatal(err)
	}
	r.git("init", "--quiet", "--initial-branch=main")
	r.git("remote", "add", "origin", r.server.CloneURL(fleetRepo))
	r.git("add", "--all")
	r.commit("start the fleet")
	r.git("push", "--quiet", "--set-upstream", "origin", "main")
	return r
}

// readSources looks at every folder of the module: go test remembers what a test has looked at, and
// must not answer with the result of an older program.
func readSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && (e.Name() == ".git" || e.Name() == "bin") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// args are those of the controller.
func (r *rig) args() []string {
	return []string{
		"run", "--local", r.dir, "--repo", r.server.CloneURL(fleetRepo), "--github", fleetRepo, "--github-url", r.server.APIURL(),
		"--inventory", filepath.Join(r.work, "inventory.json"), "--poll", "200ms", "--boot-time", "200ms",
	}
}

// start starts the controller with the agents of all nodes.
func (r *rig) start() {
	r.t.Helper()
	r.launch(exec.Command(binary, r.args()...))
}

func (r *rig) launch(cmd *exec.Cmd) {
	r.t.Helper()
	log, err := os.OpenFile(r.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		r.t.Fatalf("start %s: %v", cmd, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	r.proc, r.ended = cmd, ended
	r.t.Cleanup(func() { _ = cmd.Process.Kill() })
}

// kill ends the controller and all agents as a power cut does: none of them hears of it.
func (r *rig) kill() {
	r.t.Helper()
	if err := r.proc.Process.Kill(); err != nil {
		r.t.Fatalf("kill: %v\n%s", err, r.tail())
	}
	err := <-r.ended
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		r.t.Fatalf("the controller ended by itself: %v\n%s", err, r.tail())
	}
}

// stop asks the controller to end, and holds that it does so without complaint.
func (r *rig) stop() {
	r.t.Helper()
	if err := r.proc.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatalf("stop: %v\n%s", err, r.tail())
	}
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Fatalf("stopped: %v\n%s", err, r.tail())
		}
	case <-time.After(patience):
		r.t.Fatalf("the controller does not stop\n%s", r.tail())
	}
}

// sluice runs another command of the program, which must succeed, and gives what it prints.
func (r *rig) sluice(args ...string) []byte {
	r.t.Helper()
	cmd := exec.Command(binary, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("sluice %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return out
}

// await looks until something has come true.
func (r *rig) await(what string, look func() bool) {
	r.t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(25 * time.Millisecond)
	defer ticker.Stop()
	for !look() {
		select {
		case err := <-r.ended:
			r.t.Fatalf("wait for %s: the controller ended: %v\n%s", what, err, r.tail())
		case <-deadline:
			r.t.Fatalf("wait for %s: not within %v\n%s\n%s", what, patience, r.sluice("why", "--local", r.dir), r.tail())
		case <-ticker.C:
		}
	}
}

// landed says that both pools have a commit.
func (r *rig) landed(commit string) bool {
	state, latest := r.repo.Combined(commit)
	return state == "success" && len(latest) == 2
}

func (r *rig) awaitLanded(commit string) {
	r.t.Helper()
	r.await("success on "+commit[:7], func() bool { return r.landed(commit) })
}

// git runs git in the clone, with no settings of whoever runs the test.
func (r *rig) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.work
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit records all that was changed, and gives the commit.
func (r *rig) commit(message string) string {
	r.t.Helper()
	r.git("add", "--all")
	r.git("commit", "--quiet", "--allow-empty", "--message="+message)
	return r.git("rev-parse", "HEAD")
}

func (r *rig) push(message string) string {
	r.t.Helper()
	commit := r.commit(message)
	r.git("push", "--quiet", "origin", "HEAD")
	return commit
}

// revert takes the newest commit back, and pushes that.
func (r *rig) revert() string {
	r.t.Helper()
	r.git("revert", "--no-edit", "HEAD")
	r.git("push", "--quiet", "origin", "HEAD")
	return r.git("rev-parse", "HEAD")
}

// edit replaces what a pattern finds in a file of the clone. It must change something.
func (r *rig) edit(file, pattern, with string) {
	r.t.Helper()
	path := filepath.Join(r.work, file)
	text, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	next := regexp.MustCompile(pattern).ReplaceAll(text, []byte(with))
	if bytes.Equal(text, next) {
		r.t.Fatalf("edit %s: %s -> %s changes nothing", file, pattern, with)
	}
	r.write(file, string(next))
}

func (r *rig) write(file, text string) {
	r.t.Helper()
	path := filepath.Join(r.work, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// nodes is the fleet as its files say, by name.
func (r *rig) nodes() map[string]reconciler.Node {
	r.t.Helper()
	list, err := local.Fleet{Dir: r.dir}.Nodes(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[string]reconciler.Node{}
	for _, n := range list {
		out[n.Name] = n
	}
	return out
}

func (r *rig) state() reconciler.State {
	r.t.Helper()
	state, err := (&local.Store{Dir: r.dir}).Load(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return state
}

func (r *rig) root(node string) string {
	return filepath.Join(r.through, r.dir, "nodes", node, "root")
}

// logged are the lines of the controller so far.
func (r *rig) logged() []string {
	r.t.Helper()
	text, err := os.ReadFile(r.log)
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func (r *rig) tail() string {
	lines := r.logged()
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}
