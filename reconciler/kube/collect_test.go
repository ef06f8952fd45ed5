package kube

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/reconciler"
)

func small(i int) machine.Config { return machine.Config{KernelArgs: []string{fmt.Sprint(i)}} }

// kept are the names of the Secrets that hold configs, sorted.
func (w *world) kept() (names []string) {
	w.Helper()
	all, err := w.client.core.CoreV1().Secrets(w.namespace).List(w.Context(), metav1.ListOptions{})
	w.must(err)
	for _, s := range all.Items {
		if strings.HasPrefix(s.Name, "config-") {
			names = append(names, s.Name)
		}
	}
	return names
}

func (w *world) has(d machine.Digest) bool {
	w.Helper()
	_, ok, err := w.store().Config(w.Context(), d)
	w.must(err)
	return ok
}

// filled is a store that has saved a state, and kept configs, the oldest first.
func (w *world) filled(configs int) *Store {
	w.Helper()
	s := w.store()
	w.must(s.Save(w.Context(), reconciler.State{Generation: 1}))
	for i := range configs {
		w.must(s.Keep(w.Context(), small(i)))
	}
	return s
}

func TestConfigsAreCollected(t *testing.T) {
	w := newWorld(t)
	s := w.filled(13)
	w.add("w1", nil)
	order := nodeops.Order{Node: "w1", Generation: 1, Config: small(1).Digest(), Ceiling: impact.Reboot}
	w.must(w.fleet().Send(t.Context(), order))
	half := s.secret(piece(small(99).Digest(), 1), []byte("the first piece was never written"))
	_, err := w.client.core.CoreV1().Secrets(w.namespace).Create(t.Context(), half, creating)
	w.must(err)
	other := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "config-of-somebody", Labels: half.Labels}}
	_, err = w.client.core.CoreV1().Secrets(w.namespace).Create(t.Context(), other, creating)
	w.must(err)
	collect := func(after time.Duration, named ...machine.Digest) {
		t.Helper()
		w.must(s.Collect(t.Context(), time.Now().Add(after), named))
	}

	collect(30 * time.Minute)
	if got := len(w.kept()); got != 15 {
		t.Fatalf("within the hour %d of 15 are left", got)
	}
	collect(80 * time.Minute) // not an hour later
	if got := len(w.kept()); got != 15 {
		t.Fatalf("looked through within the hour, %d of 15 are left", got)
	}
	w.must(s.Save(t.Context(), reconciler.State{Generation: 2})) // the claim is a write like any other
	collect(2*time.Hour, small(0).Digest())
	got := w.kept()
	if len(got) != 13 || !slices.Contains(got, "config-of-somebody") {
		t.Fatalf("left are %s", got)
	}
	for i := range 13 {
		// 0 is named, 1 is ordered, 3 to 12 are the last ten.
		if is := w.has(small(i).Digest()); is != (i != 2) {
			t.Errorf("config %d: there %t", i, is)
		}
	}
	w.must(s.Save(t.Context(), reconciler.State{Generation: 3}))
	w.must(s.Keep(t.Context(), small(2))) // needed again
	if !w.has(small(2).Digest()) {
		t.Error("it does not come back")
	}
}

// What is deleted in the meantime of a rival's tick would be named by an order that no node could
// follow. Whatever a rival does, and whenever, that does not come to be.
func TestCollectingAgainstARival(t *testing.T) {
	for name, c := range map[string]struct {
		rival func(w *world) // between the look and the claim
		late  func(w *world) // between the claim and the first deletion
		lost  bool           // the collector is deposed
	}{
		"a rival has saved": {rival: func(w *world) {
			r := w.store()
			_, err := r.Load(w.Context())
			w.must(err)
			w.must(r.Save(w.Context(), reconciler.State{Generation: 9}))
		}, lost: true},
		"a rival needs it again":      {rival: func(w *world) { w.must(w.store().Keep(w.Context(), small(0))) }},
		"a rival needs it again late": {late: func(w *world) { w.must(w.store().Keep(w.Context(), small(0))) }},
		"it was deleted and is back": {late: func(w *world) {
			w.must(w.client.core.CoreV1().Secrets(w.namespace).Delete(w.Context(), piece(small(0).Digest(), 0), metav1.DeleteOptions{}))
			w.must(w.store().Keep(w.Context(), small(0)))
		}},
		"an order names it late": {rival: func(w *world) {
			w.must(w.fleet().Send(w.Context(), nodeops.Order{Node: "w1", Generation: 1, Config: small(0).Digest(), Ceiling: impact.Reboot}))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.filled(12)
			w.add("w1", nil)
			config := rest.CopyConfig(w.client.config)
			said := map[string]bool{}
			config.Wrap(func(next http.RoundTripper) http.RoundTripper {
				return roundTrip(func(r *http.Request) (*http.Response, error) {
					if do := map[string]func(*world){http.MethodPatch: c.rival, http.MethodDelete: c.late}[r.Method]; do != nil && !said[r.Method] {
						said[r.Method] = true
						do(w)
					}
					return next.RoundTrip(r)
				})
			})
			s.Client = connect(t, config)
			err := s.Collect(t.Context(), time.Now().Add(2*time.Hour), nil)
			if (err != nil) != c.lost {
				t.Errorf("the collector hears %v", err)
			}
			if !w.has(small(0).Digest()) {
				t.Error("a config that is needed is lost")
			}
			if is := w.has(small(1).Digest()); is != c.lost {
				t.Errorf("what nobody needs is there: %t", is)
			}
			if !said[http.MethodPatch] && c.rival != nil || !said[http.MethodDelete] && c.late != nil {
				t.Error("the rival was not asked")
			}
		})
	}
}

// What was not collected since the server refused it waits for no hour.
func TestACollectionThatFailedIsDoneAtTheNextCall(t *testing.T) {
	for _, verb := range []string{http.MethodGet, http.MethodPatch, http.MethodDelete} {
		t.Run(verb, func(t *testing.T) {
			w := newWorld(t)
			s := w.filled(12)
			config, down := rest.CopyConfig(w.client.config), true
			config.Wrap(func(next http.RoundTripper) http.RoundTripper {
				return roundTrip(func(r *http.Request) (*http.Response, error) {
					if down && r.Method == verb {
						return nil, errors.New("the server is away")
					}
					return next.RoundTrip(r)
				})
			})
			s.Client = connect(t, config)
			now := time.Now().Add(2 * time.Hour)
			if err := s.Collect(t.Context(), now, nil); err == nil {
				t.Fatal("it is not said that the server is away")
			}
			down = false
			w.must(s.Collect(t.Context(), now.Add(time.Minute), nil))
			if got := len(w.kept()); got != 10 {
				t.Errorf("%d of 12 are left, want the last ten", got)
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A state of 5,000 nodes that are all under way fits into its Secret many times; one that does not
// fit is refused with words, and what is there stays.
func TestHowMuchAStateHolds(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	crowd := func(n int) reconciler.State {
		p := reconciler.Pool{Phase: reconciler.Progressing, Target: small(1).Digest(), Begun: map[string]reconciler.Begun{}, Lately: map[string]time.Time{}, Skipped: map[string]string{}}
		sent := map[string][]machine.Digest{}
		for i := range n {
			at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).Add(time.Duration(dice.Int64N(int64(time.Hour))))
			name := fmt.Sprintf("ip-10-%d-%d-%d.eu-central-1.compute.internal", dice.IntN(256), dice.IntN(256), i)
			p.Begun[name] = reconciler.Begun{At: at, Kind: "reboot", Drain: at}
			sent[name] = []machine.Digest{small(0).Digest(), small(1).Digest()}
			p.Lately[name] = at
			if i%10 == 0 {
				p.Skipped[name] = fmt.Sprintf("node %s restored: unit kubelet.service is failed since %s", name, at)
			}
		}
		return reconciler.State{Generation: 1, Pools: map[string]reconciler.Pool{"worker": p}, Sent: sent}
	}
	packed, err := pack(crowd(5000))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("5,000 nodes, all under way: %d KiB of %d", len(packed)>>10, most>>10)
	if len(packed) > most/3 {
		t.Errorf("the state of 5,000 nodes takes %d of %d bytes", len(packed), most)
	}
	w := newWorld(t)
	s := w.store()
	w.must(s.Save(t.Context(), crowd(5000)))
	if err := s.Save(t.Context(), crowd(60_000)); err == nil {
		t.Error("a state is saved that is too large")
	} else {
		holds(t, "the error", err.Error(), w.namespace+"/f-state", "a Secret holds", "maxUnavailable")
	}
	got, err := w.store().Load(t.Context())
	w.must(err)
	if len(got.Pools["worker"].Begun) != 5000 {
		t.Errorf("%d nodes are remembered", len(got.Pools["worker"].Begun))
	}
	w.must(s.Save(t.Context(), crowd(10)))
}
