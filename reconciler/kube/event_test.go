package kube

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/source"
)

// TestEvents: kubectl describe shows what happened to an object, the same thing twice as one line that
// counts, and nothing about what is gone.
func TestEvents(t *testing.T) {
	w := newWorld(t)
	w.fleetObject(nil)
	w.add("w1", nil)
	e := &Events{Client: w.client, Fleet: "f", Log: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { e.Run(ctx); close(over) }()
	defer func() { stop(); <-over }()
	blocked := News{"Node", "w1", true, "DrainBlocked", "pod shop/db: its budget " + strings.Repeat("x", 2000)}
	e.Tell(News{"Node", "gone", false, "Updated", "x"}, blocked, blocked, blocked)
	w.await("the third time is counted", func() bool {
		all, err := w.client.core.EventsV1().Events("default").List(t.Context(), metav1.ListOptions{})
		w.must(err)
		mine := 0
		for _, event := range all.Items {
			if event.ReportingController == "sluice" && event.Regarding.Name == "w1" && event.Series != nil && event.Series.Count == 3 {
				mine++
			}
			if event.Regarding.Name == "gone" {
				t.Error("there is an Event of a node that is not there")
			}
		}
		return mine == 1
	})
	holds(t, "kubectl describe", plane.Kubectl(t, "describe", "node", "w1"), "Warning", "DrainBlocked", "sluice", "pod shop/db: its budget")

	was := reconciler.State{Good: source.Revision{Commit: "1111111aaaa"}}
	e.See(nil, was) // of the first sight only what is wrong is told
	is := was
	is.Good.Commit = "2222222bbbb"
	e.See(nil, is)
	w.await("the new revision is told", func() bool {
		return strings.Contains(plane.Kubectl(t, "describe", "fleet", "f"), "follows 2222222")
	})
	if said := plane.Kubectl(t, "describe", "fleet", "f"); strings.Contains(said, "1111111") {
		t.Errorf("what stood at the first sight is told as news: %s", said)
	}
}

// Of more than can be told the bad news are kept.
func TestBadNewsAreKept(t *testing.T) {
	e := &Events{}
	for range 10 * mostNews {
		e.Tell(News{"Node", "w", false, "Updated", "x"})
	}
	e.Tell(News{"Node", "w", true, "Failed", "x"})
	if n := len(e.queue); n > mostNews || !e.queue[n-1].Bad {
		t.Errorf("%d wait, and the last is %+v", n, e.queue[n-1])
	}
}
