package kube

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/loop/looptest"
)

func (w *world) taints(name string) string {
	w.Helper()
	n, err := w.client.core.CoreV1().Nodes().Get(w.Context(), name, metav1.GetOptions{})
	w.must(err)
	var out []string
	for _, t := range n.Spec.Taints {
		if !strings.HasPrefix(t.Key, "node.kubernetes.io/") { // those are the cluster's own
			out = append(out, t.Key+":"+string(t.Effect))
		}
	}
	return strings.Join(out, " ")
}

// TestMark: our taint comes and goes with what is asked; everybody else's stays.
func TestMark(t *testing.T) {
	const ours = "sluice.dev/outdated:PreferNoSchedule"
	w := newWorld(t)
	f := w.fleet()
	for _, name := range []string{"plain", "tainted", "namesake", "cordoned", "gone"} {
		w.add(name, nil)
	}
	taint := func(name, taint string) { plane.Kubectl(t, "taint", "node", name, taint) }
	taint("tainted", "gpu=yes:NoSchedule")
	taint("namesake", "sluice.dev/outdated=by-hand:NoSchedule")
	w.unschedulable("cordoned", true)
	mark := func(is bool) {
		t.Helper()
		w.node(f, "plain") // looks
		want := map[string]bool{}
		for _, name := range []string{"plain", "tainted", "namesake", "cordoned", "gone"} {
			want[name] = is
		}
		w.must(f.Mark(t.Context(), want))
	}
	shows := func(want map[string]string) {
		t.Helper()
		for name, want := range want {
			if got := w.taints(name); got != want {
				t.Errorf("node %s has the taints %q, want %q", name, got, want)
			}
		}
	}
	w.node(f, "plain")
	w.must(w.client.core.CoreV1().Nodes().Delete(t.Context(), "gone", metav1.DeleteOptions{}))
	mark(true)
	shows(map[string]string{"plain": ours, "tainted": "gpu:NoSchedule " + ours, "namesake": "sluice.dev/outdated:NoSchedule " + ours, "cordoned": ""})
	mark(true)
	shows(map[string]string{"plain": ours})
	_, err := f.takeOff(t.Context(), "tainted")
	w.must(err)
	shows(map[string]string{"tainted": "gpu:NoSchedule"})
	w.must(f.Uncordon(t.Context(), "tainted"))
	mark(false)
	shows(map[string]string{"plain": "", "tainted": "gpu:NoSchedule", "namesake": "sluice.dev/outdated:NoSchedule", "cordoned": ""})
}

// tally counts the writes of a client that the server takes, by what they are about. What it refuses,
// as a conflict with others who write to nodes, depends on who comes first, and is sent again.
type tally struct {
	mu      sync.Mutex
	writes  map[string]int
	refused []string
	next    http.RoundTripper
}

func (c *tally) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.next.RoundTrip(r)
	if r.Method != http.MethodGet && err == nil {
		parts := strings.Split(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/apis/"), "/api/v1/"), "/")
		what := parts[0]
		for _, kind := range []string{"secrets", "pools", "fleets", "nodeconfigs", "eviction"} {
			if slices.Contains(parts, kind) {
				what = kind
			}
		}
		c.mu.Lock()
		if answer.StatusCode/100 == 2 {
			c.writes[r.Method+" "+what]++
		} else {
			c.refused = append(c.refused, fmt.Sprintf("%s %s: %s", r.Method, r.URL.Path, answer.Status))
		}
		c.mu.Unlock()
	}
	return answer, err
}

// TestWritesOfARollout counts what a drain and a reboot of each node cost the API server. The nodes
// wait for one another, so that all but the first are marked meanwhile.
func TestWritesOfARollout(t *testing.T) {
	const nodes = 4
	w := newWorld(t)
	w.fleetObject(nil)
	for i := range nodes {
		w.add(fmt.Sprintf("w%d", i), map[string]string{"node-role.kubernetes.io/worker": ""})
	}
	agents := w.fleet()
	w.wake()
	count := &tally{writes: map[string]int{}}
	config := rest.CopyConfig(w.client.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { count.next = next; return count })
	mine := &world{T: t, client: connect(t, config), namespace: w.namespace}
	source := &looptest.FakeSource{}
	l := mine.controller(source, nil)
	source.Push(reboots("a"))
	marked := map[string]bool{}
	w.await("the fleet is at the commit", func() bool {
		moving, err := l.Tick(t.Context())
		if err != nil {
			t.Log(err)
		}
		for i := range nodes {
			name := fmt.Sprintf("w%d", i)
			marked[name] = marked[name] || w.taints(name) != ""
		}
		w.agents(agents)
		state, err := l.Store.Load(t.Context())
		return err == nil && !moving && state.Pools["worker"].Phase == reconciler.Updated
	})
	if len(marked) != nodes || marked["w0"] || !marked["w3"] {
		t.Errorf("the nodes that were marked meanwhile are %v; the first is drained at once, and the others wait", marked)
	}
	for i := range nodes {
		if got := w.taints(fmt.Sprintf("w%d", i)); got != "" {
			t.Errorf("in the end node w%d has the taint %s", i, got)
		}
	}
	count.mu.Lock()
	defer count.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(count.writes)) {
		t.Logf("%-18s %3d, %.1f a node", what, count.writes[what], float64(count.writes[what])/nodes)
	}
	t.Logf("refused: %q", count.refused)
	if own := count.writes["PATCH nodes"] + count.writes["PUT nodeconfigs"]; own > 4*nodes {
		t.Errorf("the controller writes %d times for %d nodes; with the two of each agent that is more than six", own, nodes)
	}
}
