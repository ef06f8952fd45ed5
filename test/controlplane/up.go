package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

type upOptions struct {
	dataDir   string
	bind      string
	port      int
	sans      []string
	split     bool
	fsync     bool
	noKCM     bool
	noSched   bool
	verbosity int
	apiArgs   []string
	kcmArgs   []string
	schedArgs []string
}

func newUpCommand() *cobra.Command {
	o := &upOptions{}
	c := &cobra.Command{
		Use:          "up [-- COMMAND ARGS...]",
		Short:        "run a whole control plane on loopback; with a COMMAND, run it with KUBECONFIG set and stop when it ends",
		SilenceUsage: true,
		RunE:         func(c *cobra.Command, args []string) error { return o.run(args) },
	}
	f := c.Flags()
	f.StringVar(&o.dataDir, "data-dir", "", "folder for keys, kubeconfigs, etcd data and logs (a temporary one, removed at the end, when empty)")
	f.StringVar(&o.bind, "bind", "127.0.0.1", "address to listen on")
	f.IntVar(&o.port, "port", 0, "port of the API server; 0 takes the one used before in this data dir, or a free one")
	f.StringSliceVar(&o.sans, "san", nil, "more names or addresses for the serving certificate, such as 10.0.2.2 for QEMU guests")
	f.BoolVar(&o.split, "split", false, "run each component as a process of its own (children of this one)")
	f.BoolVar(&o.fsync, "fsync", false, "let etcd fsync (off by default: this is for tests and demos)")
	f.BoolVar(&o.noKCM, "no-controller-manager", false, "leave the controller manager out")
	f.BoolVar(&o.noSched, "no-scheduler", false, "leave the scheduler out")
	f.IntVar(&o.verbosity, "v", 0, "log verbosity of the components")
	f.StringArrayVar(&o.apiArgs, "apiserver-arg", nil, "one more kube-apiserver flag, such as --feature-gates=X=true (repeatable)")
	f.StringArrayVar(&o.kcmArgs, "controller-manager-arg", nil, "one more kube-controller-manager flag (repeatable)")
	f.StringArrayVar(&o.schedArgs, "scheduler-arg", nil, "one more kube-scheduler flag (repeatable)")
	return c
}

// freePort asks the kernel for a port; the same port is kept in the data dir
// so that a restart keeps every kubeconfig right.
func freePort(bind, file string) (int, error) {
	if b, err := os.ReadFile(file); err == nil {
		return strconv.Atoi(strings.TrimSpace(string(b)))
	}
	l, err := net.Listen("tcp", net.JoinHostPort(bind, "0"))
	if err != nil {
		return 0, err
	}
	defer l.Close()
	p := l.Addr().(*net.TCPAddr).Port
	return p, os.WriteFile(file, []byte(strconv.Itoa(p)+"\n"), 0o644)
}

func (o *upOptions) run(command []string) error {
	start := time.Now()
	if o.split {
		runtime.LockOSThread()
	}
	if o.dataDir == "" {
		d, err := os.MkdirTemp("", "controlplane-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(d)
		o.dataDir = d
	}
	dir, err := filepath.Abs(o.dataDir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if o.port == 0 {
		if o.port, err = freePort(o.bind, filepath.Join(dir, "port")); err != nil {
			return err
		}
	}
	server := "https://" + net.JoinHostPort(o.bind, strconv.Itoa(o.port))
	if err := ensurePKI(dir, server, append(o.sans, o.bind)); err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	var s starter
	if o.split {
		s = &processes{dir: dir}
	} else {
		s, err = newInProcess(dir, o.verbosity)
		if err != nil {
			return err
		}
	}
	failed := make(chan error, 8)
	defer s.stop()

	if err := s.etcd(o, failed); err != nil {
		return err
	}
	tEtcd := time.Since(start)
	s.apiserver(append(o.apiserverFlags(dir), o.apiArgs...), failed)
	kubeconfig := filepath.Join(dir, "admin.kubeconfig")
	if err := waitReady(ctx, kubeconfig, failed); err != nil {
		return err
	}
	tReady := time.Since(start)
	if !o.noKCM {
		s.kcm(append(o.kcmFlags(dir), o.kcmArgs...), failed)
	}
	if !o.noSched {
		s.scheduler(append(o.schedFlags(dir), o.schedArgs...), failed)
	}
	fmt.Fprintf(os.Stderr, "control plane ready at %s in %.2f s (etcd after %.2f s)\nexport KUBECONFIG=%s\n", server, tReady.Seconds(), tEtcd.Seconds(), kubeconfig)

	if len(command) > 0 {
		c := exec.CommandContext(ctx, command[0], command[1:]...)
		c.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
		c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
		c.WaitDelay = 10 * time.Second
		return c.Run()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func waitReady(ctx context.Context, kubeconfig string, failed <-chan error) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	c, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return err
	}
	deadline := time.After(2 * time.Minute)
	for {
		if resp, err := c.Get(cfg.Host + "/readyz"); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return errors.New("the API server did not become ready in 2 minutes")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// starter is how the components run: inside this process or as children.
type starter interface {
	etcd(o *upOptions, failed chan<- error) error
	apiserver(args []string, failed chan<- error)
	kcm(args []string, failed chan<- error)
	scheduler(args []string, failed chan<- error)
	stop()
}
