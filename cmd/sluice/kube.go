package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler/kube"
	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/render"
)

// kubeFleet is where a fleet on Kubernetes is found.
type kubeFleet struct {
	Kubeconfig, Namespace, Fleet string
}

func (k *kubeFleet) flags(f *pflag.FlagSet) {
	f.StringVar(&k.Kubeconfig, "kubeconfig", "", "be a controller of the fleet of this cluster instead; of several, the one that holds the lease works")
	f.StringVar(&k.Namespace, "namespace", "sluice-system", "where the controller keeps its Secrets and its lease (with --kubeconfig)")
	f.StringVar(&k.Fleet, "fleet", "default", "the Fleet object that says what is followed (with --kubeconfig)")
}

// ofTheFleet are the flags that a Fleet object says in their place.
var ofTheFleet = []string{
	"local", "inventory", "name", "repo", "branch", "poll", "github", "github-url", "profile", "cluster-dns", "keep-zero",
	"guardrail", "boot-time", "once",
}

// given refuses flags of the other way to run.
func (k kubeFleet) given(f *pflag.FlagSet) error {
	wrong := ofTheFleet
	if k.Kubeconfig == "" {
		wrong = []string{"namespace", "fleet"}
	}
	for _, name := range wrong {
		switch {
		case !f.Changed(name):
		case k.Kubeconfig == "":
			return usage("--" + name + " goes with --kubeconfig")
		default:
			return usage("--" + name + " does not go with --kubeconfig: the Fleet object says it")
		}
	}
	return nil
}

// run waits for the lease, and is the controller while it holds it.
func (k kubeFleet) run(c *cobra.Command, set settings, log *slog.Logger) error {
	if err := set.outside.validate(); err != nil {
		return err
	}
	client, err := kube.Open(k.Kubeconfig)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "sluice-") // Git's objects: they are fetched again
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	ctx, desk := c.Context(), kube.Desk{Client: client, Fleet: k.Fleet}
	if _, err := desk.Spec(ctx); err != nil { // to say so at once, lease or not
		return err
	}
	log.Info("waiting for the lease", "fleet", k.Fleet)
	lease := kube.Lease{Client: client, Namespace: k.Namespace, Name: "sluice-" + k.Fleet, Identity: host + "_" + filepath.Base(scratch)}
	return lease.Hold(ctx, func(ctx context.Context) error {
		log.Info("leading", "fleet", k.Fleet)
		for ctx.Err() == nil {
			if err := k.follow(ctx, client, desk, set, scratch, log); err != nil {
				log.Error("fleet", "error", err)
				pause(ctx, retry)
			}
		}
		return nil
	})
}

// follow is the controller of the fleet as its object is now. It ends when what it says to follow
// changes.
func (k kubeFleet) follow(ctx context.Context, client *kube.Client, desk kube.Desk, set settings, scratch string, log *slog.Logger) error {
	spec, err := desk.Spec(ctx)
	if err != nil {
		return err
	}
	nodes := &kube.Fleet{Client: client, Name: k.Fleet, Enroll: true}
	defer nodes.Close()
	l, err := k.wire(client, spec, set, scratch, log)
	if err != nil {
		return err
	}
	l.Fleet, l.Desk = nodes, desk
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for ctx.Err() == nil {
			pause(ctx, l.Poll)
			if now, err := desk.Spec(ctx); err == nil && !sameSource(now, spec) {
				log.Info("the Fleet has changed", "fleet", k.Fleet)
				stop()
			}
		}
	}()
	return l.Run(ctx, time.Second, nil)
}

// guardrailOf is the operator's rules in a Fleet object; nil is none.
func guardrailOf(spec v1alpha1.FleetSpec) (*policy.Rollout, error) {
	if spec.Guardrail == nil {
		return nil, nil
	}
	rules, err := spec.Guardrail.Rollout()
	for _, p := range rules.Problems() {
		err = errors.Join(err, fmt.Errorf("%s: %s", p.Field, p.Why))
	}
	if len(rules.Impact) > 0 {
		err = errors.Join(err, errors.New("impact: what a change costs is the repository's to say: leave it out"))
	}
	if err != nil {
		return nil, fmt.Errorf("guardrail: %w", err)
	}
	return &rules, nil
}

// sameSource says that two specs ask for one controller. Holds are read at every tick anyway.
func sameSource(a, b v1alpha1.FleetSpec) bool {
	a.Holds, a.Rewind, b.Holds, b.Rewind = nil, "", nil, ""
	return reflect.DeepEqual(a, b)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// wire is the loop of a Fleet, but for its nodes.
func (k kubeFleet) wire(client *kube.Client, spec v1alpha1.FleetSpec, set settings, scratch string, log *slog.Logger) (*loop.Loop, error) {
	set.Name, set.Repo, set.Branch, set.ClusterDNS = k.Fleet, spec.Source.URL, spec.Source.Branch, spec.ClusterDNS
	if spec.GitHub != nil {
		set.GitHub, set.GitHubURL = spec.GitHub.Repository, spec.GitHub.URL
	}
	var wrong, off error
	set.Poll, wrong = time.ParseDuration(spec.Source.Interval)
	set.Profile, off = machine.ParseProfile(spec.Profile)
	guard, guarded := guardrailOf(spec)
	if err := errors.Join(wrong, off, guarded, set.validate()); err != nil {
		return nil, fmt.Errorf("fleet %s: spec: %w", k.Fleet, err)
	}
	forge, err := openForge(set)
	if err != nil {
		return nil, err
	}
	src := gitSource(set.Repo, set.Branch, filepath.Join(scratch, "git"))
	inquiry, err := set.inquiry(src, forge, log)
	if err != nil {
		return nil, err
	}
	return &loop.Loop{
		Source: src,
		Forge:  forge,
		Store:  &kube.Store{Client: client, Namespace: k.Namespace, Fleet: k.Fleet, Board: &kube.Board{Client: client, Fleet: k.Fleet}, Log: log},
		Render: render.Options{Profile: set.Profile, ClusterDNS: set.ClusterDNS},
		Build:  func(tree fs.FS) ([]render.Build, error) { return builds.Build(tree, nil) },
		Gate:   policy.Default(),
		Facts:  inquiry,
		Guard:  guard,
		Self:   set.Self,
		Poll:   set.Poll,
		Now:    time.Now,
		Log:    log,
	}, nil
}
