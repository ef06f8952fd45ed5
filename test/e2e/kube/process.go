package kube

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is one run of a program. Its output goes to a file that its earlier runs have written, too.
type process struct {
	cmd  *exec.Cmd
	over chan struct{} // closed when it has ended
	once sync.Once
}

// launch starts a program. Of a test that is killed nothing survives.
func launch(log string, cmd *exec.Cmd) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, over: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the death of the parent's thread is what is signalled
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
		close(p.over)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd, err)
	}
	return p, nil
}

func (p *process) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// kill ends it as a power cut does.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.over
}

// stop asks it to end, and insists after a while. It answers with how it ended.
func (p *process) stop() string {
	p.once.Do(func() {
		p.signal(syscall.SIGTERM)
		select {
		case <-p.over:
		case <-time.After(30 * time.Second):
			p.kill()
		}
	})
	<-p.over
	return p.cmd.ProcessState.String()
}

// tail is the end of a log.
func tail(file string, lines int) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
