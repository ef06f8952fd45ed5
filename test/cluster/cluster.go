// Package cluster runs a real Kubernetes control plane on loopback for tests: the binary that
// test/controlplane/build.sh makes, with an API server, its controllers and a scheduler.
package cluster

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Variable names the environment variable that holds the path of the binary. make test sets it.
const Variable = "SLUICE_CONTROLPLANE"

// Plane is the control plane that the tests of one package share. It is started by the first test
// that asks for it; the package's TestMain must call Stop. Its zero value is ready.
type Plane struct {
	Flags []string // more of the control plane's own, such as --apiserver-arg=--v=2; set before its first use

	once    sync.Once
	err     error
	binary  string
	dir     string
	run     []*process
	control *process // the one of run that is the control plane
}

// Kubeconfig is the path of the administrator's kubeconfig. Where there is no binary the test is
// skipped; a binary that does not start is a failure.
func (p *Plane) Kubeconfig(t testing.TB) string {
	t.Helper()
	p.up(t)
	return filepath.Join(p.dir, "admin.kubeconfig")
}

// Binary is the path of the program that is the control plane and its kubectl.
func (p *Plane) Binary(t testing.TB) string {
	t.Helper()
	p.up(t)
	return p.binary
}

func (p *Plane) up(t testing.TB) {
	t.Helper()
	p.once.Do(func() {
		if p.binary = find(t.Context()); p.binary != "" {
			p.err = p.start()
		}
	})
	switch {
	case p.err != nil:
		t.Fatalf("start the control plane: %v", p.err)
	case p.binary == "":
		t.Skip("there is no control plane here: make test builds it")
	}
}

// find is the path of the binary; "" is none. Nothing is built for a test that is run by hand.
func find(ctx context.Context) string {
	if path, set := os.LookupEnv(Variable); set {
		return path
	}
	_, here, _, _ := runtime.Caller(0)
	script := filepath.Join(filepath.Dir(here), "..", "controlplane", "build.sh")
	out, err := exec.CommandContext(ctx, "bash", script, "--cached").Output()
	if err != nil {
		return "" // no bash, or no such script: as good as not built
	}
	return strings.TrimSpace(string(out))
}

func (p *Plane) start() (err error) {
	if p.dir, err = os.MkdirTemp("", "plane"); err != nil { // short: it holds a socket, whose path has an end
		return err
	}
	return p.boot()
}

func (p *Plane) boot() (err error) {
	// Nodes that a test makes by hand have no kubelet to renew a lease: they are ready while it says so.
	args := []string{"up", "--data-dir", p.dir, "--controller-manager-arg=--node-monitor-grace-period=1h"}
	p.control, err = p.launch("export KUBECONFIG=", append(args, p.Flags...)...)
	return err
}

// Down stops the control plane, as a power cut of all its machines would, but for the data of etcd.
func (p *Plane) Down(t testing.TB) {
	t.Helper()
	p.up(t)
	p.control.stop()
}

// Again starts it after Down: at the same address, with all that it knew.
func (p *Plane) Again(t testing.TB) {
	t.Helper()
	if err := p.boot(); err != nil {
		t.Fatalf("start the control plane again: %v", err)
	}
}

// Nodes keeps so many nodes alive, named prefix1, prefix2 and so on, and plays the kubelet for
// their pods, until the test ends. The nodes stay.
func (p *Plane) Nodes(t testing.TB, prefix string, n int) {
	t.Helper()
	p.up(t)
	nodes, err := p.launch("nodes registered", "fakenodes", "--nodes", fmt.Sprint(n), "--prefix", prefix, "--kubeconfig", p.Kubeconfig(t))
	if err != nil {
		t.Fatalf("start %d nodes: %v", n, err)
	}
	t.Cleanup(nodes.stop)
}

// Apply makes what a manifest says.
func (p *Plane) Apply(t testing.TB, manifest string) {
	t.Helper()
	p.kubectl(t, strings.NewReader(manifest), "apply", "-f", "-")
}

// Kubectl runs kubectl as the administrator, and returns what it prints.
func (p *Plane) Kubectl(t testing.TB, args ...string) string {
	t.Helper()
	return p.kubectl(t, nil, args...)
}

func (p *Plane) kubectl(t testing.TB, in io.Reader, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), p.binary, append([]string{"kubectl", "--kubeconfig", p.Kubeconfig(t)}, args...)...)
	var errors bytes.Buffer
	c.Stdin, c.Stderr = in, &errors
	out, err := c.Output()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, errors.Bytes())
	}
	return string(out)
}

// Stop ends all that was started, and leaves nothing behind.
func (p *Plane) Stop() {
	for i := len(p.run) - 1; i >= 0; i-- {
		p.run[i].stop()
	}
	if p.dir != "" {
		os.RemoveAll(p.dir)
	}
}

// process is one run of the binary.
type process struct {
	cmd  *exec.Cmd
	over chan struct{}
	once sync.Once
}

// patience is how long a start may take on a machine that is busy.
const patience = 2 * time.Minute

// launch starts the binary and waits until it says the word.
func (p *Plane) launch(word string, args ...string) (*process, error) {
	c := exec.Command(p.binary, args...)
	// Of a test binary that is killed nothing may survive.
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	pipe, err := c.StderrPipe()
	if err != nil {
		return nil, err
	}
	run := &process{cmd: c, over: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the death of the parent's thread is what is signalled
		defer close(run.over)
		if err := c.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		<-run.drained(pipe, word, started)
		c.Wait()
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s: %w", p.binary, err)
	}
	p.run = append(p.run, run)
	select {
	case err := <-started:
		return run, err
	case <-time.After(patience):
		run.stop()
		return nil, fmt.Errorf("%s %s: says nothing for %s", p.binary, args[0], patience)
	}
}

// drained reads what the process says to its end, and answers once the word was said.
func (r *process) drained(pipe io.Reader, word string, said chan<- error) <-chan struct{} {
	end := make(chan struct{})
	go func() {
		defer close(end)
		lines := bufio.NewScanner(pipe)
		heard, last := false, ""
		for lines.Scan() {
			last = lines.Text()
			if !heard && strings.Contains(last, word) {
				heard = true
				said <- nil
			}
		}
		if !heard {
			said <- fmt.Errorf("it ended: %s", last)
		}
		io.Copy(io.Discard, pipe) // a line that is too long for the scanner must not block it
	}()
	return end
}

func (r *process) stop() {
	r.once.Do(func() {
		if r.cmd.Process != nil {
			r.cmd.Process.Signal(syscall.SIGTERM)
		}
		select {
		case <-r.over:
		case <-time.After(20 * time.Second):
			r.cmd.Process.Kill()
			<-r.over
		}
	})
}
