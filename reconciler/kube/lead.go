package kube

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// Open connects to the cluster of a kubeconfig file; "" is the account of the pod that this runs in.
func Open(kubeconfig string) (*Client, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("read the pod's own account: %w", err)
		}
		return Connect(config)
	}
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
	Client          *Client // not one of Client.While
	Namespace, Name string
	Identity        string        // of this process, like no other's
	Duration        time.Duration // after which another may take it from a holder that says nothing; zero is 15 seconds
	Asked           func(error)   // hears of every request for the lease how it ended; nil: nobody does

	renewed atomic.Pointer[time.Time]
}

// Fresh says that the lease is this process's for certain, and for a while yet: it goes by when the
// last renewal was sent, by this machine's own clock. A process that was stopped, or a machine that
// slept, sees that it is late before it does anything.
func (l *Lease) Fresh() bool {
	at := l.renewed.Load()
	if at == nil {
		return false
	}
	now, limit := time.Now(), l.duration()*2/3
	asleep := now.Round(0).Sub(at.Round(0)) // the monotonic clock may stand still meanwhile
	return now.Sub(*at) < limit && asleep < limit
}

func (l *Lease) duration() time.Duration {
	if l.Duration == 0 {
		return 15 * time.Second
	}
	return l.Duration
}

// Hold waits until this process holds the lease, and works until the context ends, the work does,
// or the lease is lost (ErrDeposed). It is given back once the work has ended, so that the next
// need not wait for it to run out. That two never decide at once is the Store's to hold.
func (l *Lease) Hold(ctx context.Context, work func(context.Context) error) error {
	l.renewed.Store(nil)
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
		Lock: watched{&resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: l.Name}, Client: l.Client.core.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: l.Identity},
		}, l},
		LeaseDuration: l.duration(), RenewDeadline: l.duration() * 2 / 3, RetryPeriod: l.duration() * 2 / 15, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(led context.Context) {
				leading.Store(true)
				held, stop := context.WithCancel(led)
				defer stop()
				defer context.AfterFunc(ctx, stop)()
				err := work(held)
				if led.Err() != nil && ctx.Err() == nil {
					err = errors.Join(ErrDeposed, err)
				}
				ended <- err
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
	return <-ended
}

// watched notes when the lease was last renewed, and how it was answered.
type watched struct {
	resourcelock.Interface
	lease *Lease
}

func (w watched) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := w.Interface.Get(ctx)
	if err == nil && record.HolderIdentity != w.lease.Identity {
		w.lease.renewed.Store(nil)
	}
	if !apierrors.IsNotFound(err) { // then it is made
		w.lease.heard(err)
	}
	return record, raw, err
}

func (w watched) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return w.write(r, func(r resourcelock.LeaderElectionRecord) error { return w.Interface.Create(ctx, r) })
}

func (w watched) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return w.write(r, func(r resourcelock.LeaderElectionRecord) error { return w.Interface.Update(ctx, r) })
}

func (w watched) write(r resourcelock.LeaderElectionRecord, send func(resourcelock.LeaderElectionRecord) error) error {
	at := time.Now() // before it is sent: who waits for it to run out begins to count later
	if r.HolderIdentity != w.lease.Identity {
		w.lease.renewed.Store(nil)
	}
	err := send(w.dated(r))
	if err == nil && r.HolderIdentity == w.lease.Identity {
		w.lease.renewed.Store(&at)
	}
	w.lease.heard(err)
	return err
}

// dated says when it is renewed by the server's clock, by which people and a View judge whether anybody works. Who
// waits for the lease goes by a clock of its own, and by changes alone.
func (w watched) dated(r resourcelock.LeaderElectionRecord) resourcelock.LeaderElectionRecord {
	r.RenewTime = metav1.NewTime(w.lease.Client.Clock.Now())
	return r
}

func (l *Lease) heard(err error) {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		err = nil // another was faster
	}
	if l.Asked != nil {
		l.Asked(err)
	}
}
