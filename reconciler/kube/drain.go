package kube

import (
	"cmp"
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-gitops/sluice/reconciler"
)

const (
	// retry is how long a pod that could not be evicted is left alone. Drains of other tools ask as
	// fast as they can.
	retry = 5 * time.Second
	// silence is how long a drain goes on that nobody says again: the controller has forgotten it,
	// or is no longer the one.
	silence = 2 * time.Minute
)

// drainage is one node being emptied in the background. Fleet.mu guards its fields.
type drainage struct {
	said   reconciler.Drain
	at     time.Time // when it was said last
	rounds int       // that were made
	tried  map[types.UID]string
	left   []leftover // at the last round
	looked time.Time  // when that was

	cancel  context.CancelFunc
	running bool
	over    chan struct{} // closed when it is not
}

// Drain cordons a node as ours and goes on emptying it in the background: every pod is asked to
// leave, and asked again every few seconds, until the node is empty, its time is over, the cordon
// is no longer ours, the context ends, or nobody says the drain again. Where somebody has lifted the
// cordon meanwhile it is taken anew, and Retaken hears of it.
func (f *Fleet) Drain(ctx context.Context, d reconciler.Drain) error {
	taken, err := f.takeOff(ctx, d.Node)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if was := f.drains[d.Node]; taken && was != nil && time.Since(was.at) < silence && f.Retaken != nil {
		f.Retaken(d.Node)
	}
	if f.drains == nil {
		f.drains = map[string]*drainage{}
	}
	job := f.drains[d.Node]
	if job == nil {
		job = &drainage{}
		f.drains[d.Node] = job
	}
	job.said, job.at = d, time.Now()
	if !job.running {
		ctx, job.cancel = context.WithCancel(ctx)
		job.running, job.over = true, make(chan struct{})
		go f.empty(ctx, job)
	}
	return nil
}

// Close ends all drains. The nodes stay as they are.
func (f *Fleet) Close() {
	f.mu.Lock()
	var names []string
	for name := range f.drains {
		names = append(names, name)
	}
	f.mu.Unlock()
	for _, name := range names {
		f.halt(name)
	}
}

// halt ends the drain of a node, and returns when nothing of it is under way any more.
func (f *Fleet) halt(node string) {
	f.mu.Lock()
	job := f.drains[node]
	delete(f.drains, node)
	f.mu.Unlock()
	if job != nil {
		job.cancel()
		<-job.over
	}
}

// job is what is known of a node's drain. The lock must be held.
func (f *Fleet) job(node string) drainage {
	if known := f.drains[node]; known != nil {
		return drainage{said: known.said, rounds: known.rounds, tried: known.tried, left: known.left, looked: known.looked, running: known.running}
	}
	return drainage{}
}

func (f *Fleet) pause() time.Duration { return cmp.Or(f.Retry, retry) }

// evictor is the client for what is done to pods.
func (f *Fleet) evictor() *Client { return cmp.Or(f.Evictor, f.Client) }

// empty is the drain of one node.
func (f *Fleet) empty(ctx context.Context, job *drainage) {
	pause := f.pause()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-timer.C:
			if f.round(ctx, job) {
				timer.Reset(pause)
				continue
			}
		}
		break
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	job.cancel()
	job.running = false
	close(job.over)
}

// round asks every pod once that should leave. It says whether there is to be another.
func (f *Fleet) round(ctx context.Context, job *drainage) (more bool) {
	f.mu.Lock()
	said, at := job.said, job.at
	f.mu.Unlock()
	if !said.Until.IsZero() && !f.Client.Clock.Now().Before(said.Until) || time.Since(at) > silence {
		return false
	}
	node, err := f.evictor().core.CoreV1().Nodes().Get(ctx, said.Node, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return false
	case err != nil:
		return true // the server is asked again
	case f.cordon(node) != reconciler.Ours:
		return false // somebody has taken it over: the controller will see
	}
	looked := time.Now()
	left, err := f.left(ctx, f.evictor(), node, said)
	if err != nil {
		return true
	}
	tried := f.evictAll(ctx, left, said.Force)
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() == nil {
		job.tried, job.left, job.looked = tried, left, looked
		job.rounds++
	}
	return len(left) > 0
}
