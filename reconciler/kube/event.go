package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/reconciler"
)

// Events shows News as Events of the objects that they are about. Nobody waits for them: they are
// written in the background, by Run, and what cannot be written is logged and forgotten. The same
// news twice are one Event that counts. Its methods may be called by several goroutines.
type Events struct {
	Client *Client
	Fleet  string
	Log    *slog.Logger

	mu     sync.Mutex
	was    *photo
	queue  []News
	missed int
	wake   chan struct{}
}

const (
	mostNews = 500                    // that wait to be written; good news are dropped a hundred before
	newsPace = 100 * time.Millisecond // between two writes: they must not take the place of orders
	mostNote = 1000                   // bytes; the server takes 1,024
)

// See compares with what was seen before, and tells the difference. The first sight tells only what
// is wrong with the fleet as a whole.
func (e *Events) See(nodes []reconciler.Node, state reconciler.State) {
	e.mu.Lock()
	is, was := &photo{nodes, state}, e.was
	e.was = is
	e.mu.Unlock()
	if was != nil {
		e.Tell(news(e.Fleet, *was, *is)...)
		return
	}
	e.Tell(slices.DeleteFunc(fleetNews(e.Fleet, reconciler.State{}, state), func(n News) bool { return !n.Bad })...)
}

// Tell lets Run write these. Of more than a few hundred at once, good news are left out first.
func (e *Events) Tell(all ...News) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range all {
		if len(e.queue) >= mostNews || !n.Bad && len(e.queue) >= mostNews-100 {
			e.missed++
			continue
		}
		e.queue = append(e.queue, n)
	}
	select {
	case e.bell() <- struct{}{}:
	default:
	}
}

func (e *Events) bell() chan struct{} {
	if e.wake == nil {
		e.wake = make(chan struct{}, 1)
	}
	return e.wake
}

// Run writes until the context ends.
func (e *Events) Run(ctx context.Context) {
	e.mu.Lock()
	bell := e.bell()
	e.mu.Unlock()
	for last := ""; ; {
		e.mu.Lock()
		var next *News
		if len(e.queue) > 0 {
			next, e.queue = &e.queue[0], e.queue[1:]
		}
		missed := e.missed
		e.missed = 0
		e.mu.Unlock()
		if missed > 0 {
			e.Log.Warn("more has happened than events can tell", "left out", missed)
		}
		if next == nil {
			select {
			case <-ctx.Done():
				return
			case <-bell:
			}
			continue
		}
		trouble := ""
		if err := e.write(ctx, *next); err != nil && ctx.Err() == nil {
			trouble = TroubleOf(err).Message
		}
		if trouble != last && trouble != "" {
			e.Log.Warn("events cannot be written", "error", trouble)
		}
		last = trouble
		select {
		case <-ctx.Done():
			return
		case <-time.After(newsPace):
		}
	}
}

// write makes an Event, or counts it once more.
func (e *Events) write(ctx context.Context, n News) error {
	about, err := e.reference(ctx, n)
	if apierrors.IsNotFound(err) {
		return nil // gone meanwhile
	}
	if err != nil {
		return err
	}
	note := clampTo(n.Note, mostNote)
	host, _ := os.Hostname()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s", about.UID, n.Reason, note))
	now := metav1.NewMicroTime(e.Client.Clock.Now())
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: n.Name + "." + hex.EncodeToString(sum[:8])},
		EventTime:  now, ReportingController: manager, ReportingInstance: manager + "-" + host,
		Action: n.Reason, Reason: n.Reason, Regarding: about, Note: note, Type: n.kind(),
	}
	events := e.Client.core.EventsV1().Events(metav1.NamespaceDefault)
	if _, err = events.Create(ctx, event, creating); !apierrors.IsAlreadyExists(err) {
		return err
	}
	have, err := events.Get(ctx, event.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	series := &eventsv1.EventSeries{Count: 2, LastObservedTime: now}
	if have.Series != nil {
		series.Count = have.Series.Count + 1
	}
	patch, err := json.Marshal(map[string]any{"series": series})
	if err != nil {
		return err
	}
	_, err = events.Patch(ctx, event.Name, types.MergePatchType, patch, patching)
	return err
}

// reference names the very object that news are about.
func (e *Events) reference(ctx context.Context, n News) (about corev1.ObjectReference, err error) {
	about = corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: n.Kind, Name: n.Name}
	var object metav1.Object
	switch n.Kind {
	case "Node":
		about.APIVersion = "v1"
		object, err = e.Client.core.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
	case "Pool":
		object, err = e.Client.pools.Get(ctx, n.Name, metav1.GetOptions{})
	default:
		object, err = e.Client.fleets.Get(ctx, n.Name, metav1.GetOptions{})
	}
	if err == nil {
		about.UID = object.GetUID()
	}
	return about, err
}
