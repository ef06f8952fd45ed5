package kube

import (
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/reconciler"
)

// ahead is a server whose clock is an hour before this machine's.
type ahead struct{ next http.RoundTripper }

func (a ahead) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := a.next.RoundTrip(r)
	if err == nil {
		answer.Header.Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
	}
	return answer, err
}

// A controller whose clock is wrong opens no window at the wrong hour: what it decides, and what it
// writes for agents, goes by the server's.
func TestTheTimeIsTheServers(t *testing.T) {
	w := newWorld(t)
	w.add("w1", nil)
	w.pod("p1", "w1", nil)
	config := rest.CopyConfig(w.client.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return ahead{next} })
	first := connect(t, config)
	leading, err := first.While(func() bool { return true })
	w.must(err)
	apart, err := leading.Apart()
	w.must(err)
	if _, err := leading.core.CoreV1().Nodes().Get(t.Context(), "w1", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*Client{"that waits for the lease": first, "that leads": leading, "for evictions": apart} {
		if off := time.Until(c.Clock.Now()) - time.Hour; off.Abs() > time.Minute {
			t.Errorf("to the client %s the time is off by %s", name, off)
		}
	}
	fleet := &Fleet{Client: leading, Name: "f"}
	t.Cleanup(fleet.Close)
	w.must(fleet.Drain(t.Context(), reconciler.Drain{Node: "w1", Until: time.Now().Add(time.Minute)}))
	fleet.mu.Lock()
	over := fleet.drains["w1"].over
	fleet.mu.Unlock()
	select {
	case <-over:
	case <-t.Context().Done():
	}
	if len(w.pods()) != 1 {
		t.Error("a drain whose time is over by the server's clock goes on")
	}
}
