package kube

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/reconciler"
)

// inspector looks at every request.
type inspector struct {
	next http.RoundTripper
	look func(r *http.Request, body []byte)
}

func (i inspector) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	i.look(r, body)
	return i.next.RoundTrip(r)
}

// TestRequests holds two things of all that a controller asks: no request waits for ever, since the
// loop would stand still with it, and nothing is deleted by its name alone, since the request may
// arrive late, when another controller has put something else in that place.
func TestRequests(t *testing.T) {
	w := newWorld(t)
	w.fleetObject(nil)
	w.add("w1", nil)
	uids := map[string]string{} // of what is there, by name
	var mu sync.Mutex
	deleted := 0
	config := rest.CopyConfig(w.client.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return inspector{next, func(r *http.Request, body []byte) {
			mu.Lock()
			defer mu.Unlock()
			if _, bounded := r.Context().Deadline(); !bounded {
				t.Errorf("%s %s may wait for ever", r.Method, r.URL)
			}
			if r.Method != http.MethodDelete {
				return
			}
			deleted++
			name := r.URL.Path[bytes.LastIndexByte([]byte(r.URL.Path), '/')+1:]
			if uid := uids[name]; uid == "" || !bytes.Contains(body, []byte(uid)) {
				t.Errorf("%s is deleted by its name alone", r.URL.Path)
			}
		}}
	})
	mine := &world{T: t, client: connect(t, config), namespace: w.namespace}
	secrets := w.client.core.CoreV1().Secrets(w.namespace)
	see := func() {
		t.Helper()
		all, err := secrets.List(t.Context(), metav1.ListOptions{})
		w.must(err)
		pools, err := w.client.pools.List(t.Context(), metav1.ListOptions{})
		w.must(err)
		mu.Lock()
		defer mu.Unlock()
		for _, s := range all.Items {
			uids[s.Name] = string(s.UID)
		}
		for _, p := range pools.Items {
			uids[p.Name] = string(p.UID)
		}
	}

	board := &Board{Client: mine.client, Fleet: "f"}
	w.must(board.Show(t.Context(), reconciler.State{Good: followed("1111111aaaa"), Pools: map[string]reconciler.Pool{"old": {}}}))
	see()
	w.must(board.Show(t.Context(), reconciler.State{Good: followed("1111111aaaa")}))

	store := mine.store()
	damaged := machine.Config{KernelArgs: []string{"damaged"}}
	_, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: piece(damaged.Digest(), 0)}}, metav1.CreateOptions{})
	w.must(err)
	see()
	w.must(store.Keep(t.Context(), damaged))
	if !w.has(damaged.Digest()) {
		t.Error("a damaged config is not mended")
	}
	w.must(store.Save(t.Context(), reconciler.State{Generation: 1}))
	for i := range lastKept + 1 {
		w.must(store.Keep(t.Context(), small(i)))
	}
	see()
	w.must(store.Collect(t.Context(), time.Now().Add(2*young), nil))
	w.node(mine.fleet(), "w1")
	if deleted != 4 { // a Pool, a damaged piece, and two configs too many
		t.Errorf("%d objects were deleted", deleted)
	}
}
