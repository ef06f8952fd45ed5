package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/spf13/pflag"

	"github.com/sluice-gitops/sluice/nodeops/join"
	"github.com/sluice-gitops/sluice/reconciler/kube"
)

func contentFlag(f *pflag.FlagSet, addr *string) {
	f.StringVar(addr, "content-listen", "", "the `ADDRESS` that serves agents their configs over TLS (on Kubernetes); \"\" serves none (default, in a pod: \":8443\")")
}

// contentAddress is where a controller on Kubernetes serves configs.
func contentAddress(f *pflag.FlagSet, addr string) string {
	if f.Changed("content-listen") || f.Changed("kubeconfig") {
		return addr
	}
	return ":8443"
}

// serveContent serves configs to the agents of a cluster until the function that it returns is
// called, which waits for what is under way. Every replica serves, whoever holds the lease. asked
// hears the code of each answer; nil: nobody does.
func serveContent(ctx context.Context, client *kube.Client, namespace, addr string, asked func(int), log *slog.Logger) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	crowd, err := client.Crowd()
	if err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--content-listen: %w", err)
	}
	certificate := &kube.Certificate{Client: client, Namespace: namespace, Log: log}
	server := &join.Server{Registry: &kube.Content{Client: crowd, Namespace: namespace}, Log: log, Asked: asked}
	ctx, end := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { certificate.Keep(ctx) })
	group.Go(func() {
		if err := server.Serve(ctx, l, certificate.Get); err != nil {
			log.Error("configs are not served any more", "error", err)
		}
	})
	log.Info("serving configs", "address", l.Addr())
	return func() {
		end()
		group.Wait()
	}, nil
}
