package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	"golang.org/x/sys/unix"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/rest"
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kcmoptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

type inProcess struct {
	dir             string
	log             *os.File
	ctx             context.Context // of the controllers
	cancel          context.CancelFunc
	apiCtx          context.Context
	apiCancel       context.CancelFunc
	apiDone, kcDone chan struct{}
	server          *embed.Etcd
}

func newInProcess(dir string, v int) (*inProcess, error) {
	// Component logs go to a file; the terminal stays the user's.
	log, err := os.OpenFile(filepath.Join(dir, "controlplane.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	lc := logsapi.NewLoggingConfiguration()
	lc.Verbosity = logsapi.VerbosityLevel(v)
	if err := logsapi.ValidateAndApplyWithOptions(lc, &logsapi.LoggingOptions{ErrorStream: log, InfoStream: log}, utilfeature.DefaultFeatureGate); err != nil {
		return nil, err
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	p := &inProcess{dir: dir, log: log}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.apiCtx, p.apiCancel = context.WithCancel(context.Background())
	return p, nil
}

func (p *inProcess) etcd(o *upOptions, failed chan<- error) error {
	cfg := embed.NewConfig()
	cfg.Name = "default"
	cfg.Dir = filepath.Join(p.dir, "etcd")
	cfg.Logger = "zap"
	cfg.LogLevel = "warn"
	cfg.LogOutputs = []string{filepath.Join(p.dir, "etcd.log")}
	cfg.UnsafeNoFsync = !o.fsync
	cfg.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration // 0 would log every request
	cfg.AutoCompactionMode = "periodic"
	cfg.AutoCompactionRetention = "5m"
	// Clients come over a unix socket in the 0700 data dir; no peer ever comes.
	// The advertised URLs must look like host:port but are never dialled.
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = mustURLs(o.etcdURL(p.dir)), mustURLs(etcdAdvertised)
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = nil, mustURLs(etcdAdvertised)
	cfg.InitialCluster = "default=" + etcdAdvertised
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	p.server = e
	go func() {
		if err, ok := <-e.Err(); ok {
			failed <- fmt.Errorf("etcd: %w", err)
		}
	}()
	select {
	case <-e.Server.ReadyNotify():
		return nil
	case <-time.After(time.Minute):
		return errors.New("etcd did not become ready in a minute")
	}
}

func parse(name string, nfs cliflag.NamedFlagSets, args []string) error {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	for _, f := range nfs.FlagSets {
		fs.AddFlagSet(f)
	}
	return fs.Parse(args)
}

func (p *inProcess) apiserver(args []string, failed chan<- error) {
	p.apiDone = make(chan struct{})
	go func() {
		defer close(p.apiDone)
		err := func() error {
			s := apiserveroptions.NewServerRunOptions()
			if err := parse("kube-apiserver", s.Flags(), args); err != nil {
				return err
			}
			if err := s.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
				return err
			}
			completed, err := s.Complete(p.apiCtx)
			if err != nil {
				return err
			}
			if errs := completed.Validate(); len(errs) != 0 {
				return errors.Join(errs...)
			}
			return apiserver.Run(p.apiCtx, completed)
		}()
		if p.apiCtx.Err() == nil {
			failed <- fmt.Errorf("kube-apiserver stopped: %v", err)
		}
	}()
}

func (p *inProcess) kcm(args []string, failed chan<- error) {
	p.kcDone = make(chan struct{})
	go func() {
		defer close(p.kcDone)
		err := func() error {
			s, err := kcmoptions.NewKubeControllerManagerOptions()
			if err != nil {
				return err
			}
			nfs := s.Flags(kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases())
			s.ParsedFlags = &nfs
			if err := parse("kube-controller-manager", nfs, args); err != nil {
				return err
			}
			c, err := s.Config(p.ctx, kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases())
			if err != nil {
				return err
			}
			return kcm.Run(p.ctx, c.Complete())
		}()
		if p.ctx.Err() == nil {
			failed <- fmt.Errorf("kube-controller-manager stopped: %v", err)
		}
	}()
}

func (p *inProcess) scheduler(args []string, failed chan<- error) {
	go func() {
		err := func() error {
			o := scheduleroptions.NewOptions()
			if err := parse("kube-scheduler", *o.Flags, args); err != nil {
				return err
			}
			cc, sched, err := scheduler.Setup(p.ctx, o)
			if err != nil {
				return err
			}
			return scheduler.Run(p.ctx, cc, sched)
		}()
		if p.ctx.Err() == nil {
			failed <- fmt.Errorf("kube-scheduler stopped: %v", err)
		}
	}()
}

func (p *inProcess) stop() {
	// While it stops, the API server's etcd client may log a hundred retries
	// straight to stderr (no option or variable turns that off): to the log.
	if saved, err := unix.Dup(2); err == nil {
		unix.Dup2(int(p.log.Fd()), 2)
		defer func() { unix.Dup2(saved, 2); unix.Close(saved) }()
	}
	p.cancel()
	waitFor(p.kcDone, 5*time.Second)
	p.apiCancel()
	waitFor(p.apiDone, 10*time.Second)
	if p.server != nil {
		p.server.Close()
	}
}

func waitFor(c <-chan struct{}, d time.Duration) {
	if c == nil {
		return
	}
	select {
	case <-c:
	case <-time.After(d):
	}
}
