package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler/kube"
)

// kubeFleet is where a fleet on Kubernetes is found.
type kubeFleet struct {
	Kubeconfig, Namespace, Fleet string

	content string  // where configs are served
	vitals  *vitals // of a controller
}

func (k *kubeFleet) flags(f *pflag.FlagSet) {
	f.StringVar(&k.Kubeconfig, "kubeconfig", "", "be a controller of the fleet of this cluster; of several, the one that holds the lease works (default, in a pod without --local: the cluster that it runs in)")
	f.StringVar(&k.Namespace, "namespace", "sluice-system", "where the controller keeps its Secrets and its lease (on Kubernetes)")
	f.StringVar(&k.Fleet, "fleet", "default", "the Fleet object that says what is followed (on Kubernetes)")
	contentFlag(f, &k.content)
}

// ofTheFleet are the flags of a fleet in a folder: of a cluster a Fleet object says what can be said.
var ofTheFleet = []string{
	"local", "inventory", "name", "repo", "branch", "poll", "github", "github-url", "profile", "cluster-dns", "keep-zero",
	"guardrail", "boot-time", "once",
}

// remote says that the fleet is a cluster's: its kubeconfig is named, or this is a pod that was told
// of no folder.
func (k kubeFleet) remote(f *pflag.FlagSet) bool {
	return k.Kubeconfig != "" || !f.Changed("local") && os.Getenv("KUBERNETES_SERVICE_HOST") != ""
}

// given refuses flags of the other way to run.
func (k kubeFleet) given(f *pflag.FlagSet) error {
	if k.remote(f) {
		for _, name := range ofTheFleet {
			if f.Changed(name) {
				return usage("--" + name + " does not go with a fleet on Kubernetes: its Fleet object says what is followed, and how")
			}
		}
		return nil
	}
	for _, name := range []string{"namespace", "fleet", "content-listen"} {
		if f.Changed(name) {
			return usage("--" + name + " goes with --kubeconfig")
		}
	}
	return nil
}

// run waits for the lease, and is the controller while it holds it. It ends with its context: what
// can be mended is waited for.
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
	if set.Self == "" {
		set.Self = os.Getenv("NODE_NAME")
	}
	ctx, fleet := c.Context(), k.Fleet
	k.vitals = newVitals(fleet)
	client.Waited, client.Clock.Log = k.vitals.Waited, log
	quiet, err := k.vitals.serve(ctx, metricsAddress(c.Flags(), set.metricsListen), log)
	if err != nil {
		return err
	}
	defer quiet()
	served, err := serveContent(ctx, client, k.Namespace, contentAddress(c.Flags(), k.content), k.vitals.ContentRequest, log)
	if err != nil {
		return err
	}
	defer served()
	lease := &kube.Lease{Client: client, Namespace: k.Namespace, Name: "sluice-" + fleet, Identity: host + "_" + filepath.Base(scratch)}
	ours, err := client.While(lease.Fresh)
	if err != nil {
		return err
	}
	events := &kube.Events{Client: client, Fleet: fleet, Log: log}
	go events.Run(ctx)
	waiting := &word{fleet: fleet, board: &kube.Board{Client: client, Fleet: fleet}, events: events, log: log.With("fleet", fleet)}
	lease.Asked = k.vitals.contend(waiting.lease(ctx))
	for ctx.Err() == nil {
		log.Info("waiting for the lease", "fleet", fleet)
		err := lease.Hold(ctx, func(ctx context.Context) error {
			log.Info("leading", "fleet", fleet)
			k.vitals.lead(true)
			defer k.vitals.lead(false)
			return k.lead(ctx, ours, set, scratch, log)
		})
		if err != nil {
			log.Warn("not leading any more", "fleet", fleet, "error", err)
			pause(ctx, time.Second)
		}
	}
	return nil
}

// guardrailOf is the operator's rules in a Fleet object; nil is none.
func guardrailOf(spec v1alpha1.FleetSpec) (*policy.Rollout, error) {
	if spec.Guardrail == nil {
		return nil, nil
	}
	rules, err := kube.Rollout(*spec.Guardrail)
	if err != nil {
		err = fmt.Errorf("spec.guardrail: %w", err)
	}
	for _, p := range rules.Problems() {
		err = errors.Join(err, fmt.Errorf("spec.guardrail.%s: %s", p.Field, p.Why))
	}
	if len(rules.Impact) > 0 {
		err = errors.Join(err, errors.New("spec.guardrail.impact: what a change costs is the repository's to say: leave it out"))
	}
	if err != nil {
		return nil, err
	}
	return &rules, nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// unused says which variables are not used: whoever writes the Fleet would choose whom they are sent to.
func (kubeFleet) unused(log *slog.Logger) {
	for _, name := range []string{gitToken, githubToken} {
		if os.Getenv(name) != "" {
			log.Warn("the variable is not used: on Kubernetes credentials come from the Secrets that the Fleet names in spec.source.secretRef and spec.github.secretRef", "variable", name)
		}
	}
}
