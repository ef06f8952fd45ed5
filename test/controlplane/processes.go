package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

type processes struct {
	dir  string
	cmds []*exec.Cmd
	done []chan struct{}
}

func (p *processes) spawn(name string, args []string, failed chan<- error) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(p.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	c := exec.Command(self, append([]string{name}, args...)...)
	c.Dir, c.Stdout, c.Stderr = p.dir, log, log
	// A child does not outlive this process, and a Ctrl-C at the terminal
	// reaches only this process, which then stops them in order.
	// (Pdeathsig follows the thread that started the child: run() locks it.)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if err := c.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	p.cmds, p.done = append(p.cmds, c), append(p.done, done)
	os.WriteFile(filepath.Join(p.dir, name+".pid"), []byte(strconv.Itoa(c.Process.Pid)+"\n"), 0o644)
	go func() {
		err := c.Wait()
		close(done)
		select {
		case failed <- fmt.Errorf("%s stopped: %v (see %s)", name, err, log.Name()):
		default:
		}
	}()
	return nil
}

func (p *processes) etcd(o *upOptions, failed chan<- error) error {
	url, peer := o.etcdURL(p.dir), "unix://"+filepath.Join(p.dir, "etcd-peer.sock")
	args := []string{"--name=default", "--data-dir=" + filepath.Join(p.dir, "etcd"),
		"--listen-client-urls=" + url, "--advertise-client-urls=" + etcdAdvertised,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + etcdAdvertised, "--initial-cluster=default=" + etcdAdvertised,
		"--log-level=warn", "--auto-compaction-mode=periodic", "--auto-compaction-retention=5m"}
	if !o.fsync {
		args = append(args, "--unsafe-no-fsync")
	}
	return p.spawn("etcd", args, failed)
}

func (p *processes) apiserver(args []string, failed chan<- error) {
	if err := p.spawn("kube-apiserver", args, failed); err != nil {
		failed <- err
	}
}

func (p *processes) kcm(args []string, failed chan<- error) {
	if err := p.spawn("kube-controller-manager", args, failed); err != nil {
		failed <- err
	}
}

func (p *processes) scheduler(args []string, failed chan<- error) {
	if err := p.spawn("kube-scheduler", args, failed); err != nil {
		failed <- err
	}
}

func (p *processes) stop() {
	for i := len(p.cmds) - 1; i >= 0; i-- {
		p.cmds[i].Process.Signal(syscall.SIGTERM)
		waitFor(p.done[i], 10*time.Second)
		p.cmds[i].Process.Kill()
	}
}
