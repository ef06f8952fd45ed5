package kube

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// Open connects to the cluster of a kubeconfig file.
func Open(kubeconfig string) (*Client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return Connect(config)
}

// ErrDeposed says that another controller has taken over, or may have: nothing may be done any more.
var ErrDeposed = errors.New("the lease was lost: another controller takes over")

// Lease is what one of several controllers holds.
type Lease struct {
	Client          *Client
	Namespace, Name string
	Identity        string        // of this process, like no other's
	Duration        time.Duration // after which another may take it from a holder that says nothing; zero is 15 seconds
}

// Hold waits until this process holds the lease, and works until the context ends, the work does,
// or the lease is lost (ErrDeposed). It is given back once the work has ended, so that the next
// need not wait for it to run out. It protects from waste only: that two never decide at once is
// the Store's to hold.
func (l Lease) Hold(ctx context.Context, work func(context.Context) error) error {
	if l.Duration == 0 {
		l.Duration = 15 * time.Second
	}
	quiet := klog.NewContext(context.WithoutCancel(ctx), logr.Discard()) // the libraries would write to standard error
	holding, release := context.WithCancel(quiet)
	defer release()
	var leading atomic.Bool
	defer context.AfterFunc(ctx, func() {
		if !leading.Load() {
			release()
		}
	})()
	ended := make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: l.Name}, Client: l.Client.core.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: l.Identity},
		},
		LeaseDuration: l.Duration, RenewDeadline: l.Duration * 2 / 3, RetryPeriod: l.Duration * 2 / 15, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(held context.Context) {
				leading.Store(true)
				held, stop := context.WithCancel(held)
				defer stop()
				defer context.AfterFunc(ctx, stop)()
				ended <- work(held)
				release()
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("elect: %w", err)
	}
	elector.Run(holding)
	if !leading.Load() {
		return nil // the context ended before
	}
	lost := holding.Err() == nil
	err = <-ended
	if lost && ctx.Err() == nil {
		return errors.Join(ErrDeposed, err)
	}
	return err
}
