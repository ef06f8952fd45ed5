package main

import (
	"context"
	"fmt"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/cluster"
	"github.com/sluice-gitops/sluice/reconciler/kube"
	"github.com/sluice-gitops/sluice/reconciler/preview"
)

// recall takes what the Fleet object says of rendering where no flag says otherwise.
func (k clusterFlags) recall(ctx context.Context, from *nodesOf) error {
	client, err := k.client()
	if err != nil {
		return err
	}
	spec, err := kube.Desk{Client: client, Fleet: k.name}.Spec(ctx)
	if err != nil {
		return err
	}
	given := func(flag string) bool { return from.given != nil && from.given.Changed(flag) }
	if !given("profile") {
		if from.options.Profile, err = machine.ParseProfile(spec.Profile); err != nil {
			return fmt.Errorf("fleet %s: spec: %w", k.name, err)
		}
	}
	if !given("cluster-dns") {
		from.options.ClusterDNS = spec.ClusterDNS
	}
	return nil
}

// fill puts a live fleet into a preview. It only reads.
func (k clusterFlags) fill(ctx context.Context, in *preview.Input) error {
	client, err := k.client()
	if err != nil {
		return err
	}
	desk := kube.Desk{Client: client, Fleet: k.name}
	spec, err := desk.Spec(ctx)
	if err != nil {
		return err
	}
	if in.Guardrail == nil {
		if in.Guardrail, err = guardrailOf(spec); err != nil {
			return fmt.Errorf("fleet %s: %w", k.name, err)
		}
	}
	if in.Holds, err = desk.Holds(ctx); err != nil {
		return err
	}
	store := &kube.Store{Client: client, Namespace: k.namespace, Fleet: k.name}
	if in.State, err = store.Load(ctx); err != nil {
		return fmt.Errorf("load state: %w", err)
	}
	if in.Nodes, err = (&kube.Fleet{Client: client, Name: k.name}).Nodes(ctx); err != nil {
		return err
	}
	if in.Now.IsZero() {
		in.Now = client.Clock.Now()
	}
	if in.Cluster == nil {
		if in.Cluster, err = cluster.Read(ctx, client.Objects(), in.Now); err != nil {
			return err
		}
	}
	in.Known, err = known(ctx, store.Config, in.State, in.Nodes)
	return err
}

// known are the configs that nodes and pools name and the store has.
func known(ctx context.Context, config func(context.Context, machine.Digest) (machine.Config, bool, error), state reconciler.State, nodes []reconciler.Node) (map[machine.Digest]machine.Config, error) {
	out := map[machine.Digest]machine.Config{}
	for _, d := range state.Named(nodes) {
		c, ok, err := config(ctx, d)
		if err != nil {
			return nil, err
		}
		if ok {
			out[d] = c
		}
	}
	return out, nil
}
