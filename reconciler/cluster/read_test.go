package cluster_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/blockers"
	"github.com/sluice-gitops/sluice/reconciler/cluster"
)

// shop is a cluster with a little of everything.
func shop() *world {
	var w world
	three(&w)
	w.pod("ops", "debug", "b", "debug")
	w.statefulSet("shop", "db", 1)
	w.pod("shop", "db-0", "a", "db", of("StatefulSet", "db"), volume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}))
	w.budget("shop", "db", "db", [4]int32{1, 1, 1, 0}, maxUnavailable("0"))
	w.node("d", func(n *corev1.Node) {
		n.Spec.Unschedulable = true
		n.Status.Conditions[0].Status = corev1.ConditionUnknown
	})
	return &w
}

// TestRecordsReadAlike holds every way to hand over a cluster to the same snapshot.
func TestRecordsReadAlike(t *testing.T) {
	w := shop()
	list := w.list(t)
	want, err := cluster.FromObjects(noon.Time, w.objects)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.JSONToYAML(list)
	if err != nil {
		t.Fatal(err)
	}
	var apart bytes.Buffer // one list after the other
	for i, o := range w.objects {
		if err := json.NewEncoder(&apart).Encode(map[string]any{"kind": "List", "items": []any{o}, "more": i}); err != nil {
			t.Fatal(err)
		}
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, list); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"as kubectl prints it": list, "without white space": compact.Bytes(), "as YAML": asYAML, "as YAML documents": append([]byte("---\n"), asYAML...),
		"as several lists": apart.Bytes(),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, want)
			slow, err := read(iotest.OneByteReader(bytes.NewReader(raw))) // every cut that a pipe may make
			if err != nil {
				t.Fatal(err)
			}
			same(t, slow, want)
		})
	}
	t.Run("in two files", func(t *testing.T) {
		dir := t.TempDir()
		half := len(w.objects) / 2
		first, second := world{w.objects[:half]}, world{w.objects[half:]}
		a, b := filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json")
		for name, raw := range map[string][]byte{a: first.list(t), b: second.list(t)} {
			if err := os.WriteFile(name, raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := cluster.ReadFiles(a, b)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
	})
	t.Run("as a list of one kind, whose items do not say it", func(t *testing.T) {
		got, err := read(strings.NewReader(`{"kind":"NodeList","apiVersion":"v1","items":[{"metadata":{"name":"a"}}]}`))
		if err != nil || len(got.Nodes) != 1 {
			t.Fatalf("got %v, %v", got, err)
		}
	})
}

func same(t *testing.T, got, want *blockers.Snapshot) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		a, _ := json.MarshalIndent(got, "", " ")
		b, _ := json.MarshalIndent(want, "", " ")
		t.Errorf("the snapshot is\n%s\nwant\n%s", a, b)
	}
	if g, w := fmt.Sprint(find2(got)), fmt.Sprint(find2(want)); g != w {
		t.Errorf("found\n%s\nwant\n%s", g, w)
	}
}

func find2(s *blockers.Snapshot) []blockers.Blocker {
	out, _ := find(s, oneByOne, policy.Drain{})
	return out
}

// TestBadRecords holds that a record that cannot be judged says what is wrong and what to do, and
// that one cut short anywhere is never read as a smaller cluster.
func TestBadRecords(t *testing.T) {
	for _, c := range []struct{ name, raw, want string }{
		{"an empty file", " \n", "is empty: record it with kubectl get nodes"},
		{"no list", `{"kind":"Pod","metadata":{"name":"x"}}`, "holds no items"},
		{"no object", `{"items":[1]}`, `items[0]: '1' stands where an object should`},
		{"no kind", `{"items":[{"metadata":{}}]}`, "items[0]: has no kind"},
		{"no node", `{"items":[]}`, "holds no Node"},
		{"a wrong type", `{"items":[{"apiVersion":"v1","kind":"Node","metadata":{"name":7}}]}`, "items[0]: read a Node: "},
		{"a node twice", `{"items":[{"apiVersion":"v1","kind":"Node","metadata":{"name":"a"}},{"apiVersion":"v1","kind":"Node","metadata":{"name":"a"}}]}`, "node a stands twice"},
		{"no JSON", `{"items":[{"kind" 1}]}`, "items[0]: '1' stands where a colon should"},
		{"YAML that is none", "a: b: c", "yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := read(strings.NewReader(c.raw)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	t.Run("DaemonSets were not asked for", func(t *testing.T) {
		var w world
		w.node("a")
		w.pod("kube-system", "net-a", "a", "net", of("DaemonSet", "net"))
		if _, err := read(bytes.NewReader(w.list(t))); err == nil || !strings.Contains(err.Error(), "record daemonsets too") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("cut short", func(t *testing.T) {
		var w world
		w.node("a")
		w.pod("ops", "debug", "a", "debug")
		raw := bytes.TrimSpace(w.list(t))
		for n := range len(raw) {
			if _, err := read(bytes.NewReader(raw[:n])); err == nil {
				t.Fatalf("the first %d of %d bytes are read as a cluster", n, len(raw))
			}
		}
	})
}

// TestMissingKinds holds that what was not recorded is said not to be judged.
func TestMissingKinds(t *testing.T) {
	var w world
	w.node("a")
	w.pod("shop", "web-0", "a", "web", of("ReplicaSet", "web-1"), volume(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}}))
	s := w.recorded(t)
	if want := []string{"PersistentVolumeClaim", "ReplicaSet"}; !reflect.DeepEqual(s.Missing, want) {
		t.Errorf("missing %v, want %v", s.Missing, want)
	}
	got, _ := find(s, [][]string{{"a"}}, policy.Drain{})
	if got = got[len(got)-2:]; got[0].Kind != blockers.Unknown || !strings.Contains(got[1].Reason, "the record holds no ReplicaSet") {
		t.Errorf("found %v", got)
	}
}

// TestNothingIsReady holds that slices without a ready pod are no slices that were left out.
func TestNothingIsReady(t *testing.T) {
	var w world
	w.node("a")
	w.service("shop", "web")
	if s := w.recorded(t); len(s.Missing) > 0 {
		t.Errorf("missing %v of a record that has it all", s.Missing)
	}
	w.objects = w.objects[:len(w.objects)-1]
	if s := w.recorded(t); !reflect.DeepEqual(s.Missing, []string{"EndpointSlice"}) {
		t.Errorf("missing %v, want the slices", s.Missing)
	}
}

// TestTotals counts what becomes of the pods.
func TestTotals(t *testing.T) {
	w := shop()
	w.pod("ops", "done", "c", "done", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })
	_, got := find(w.recorded(t), oneByOne, policy.Drain{})
	got.Headroom = nil
	if want := (blockers.Totals{Nodes: 3, Evicted: 4, Deleted: 1, Stay: 3, Refused: 1, Scratch: 1, Grace: 30e9}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestNodes are an inventory: somebody else's cordon among them.
func TestNodes(t *testing.T) {
	got := cluster.Nodes(shop().recorded(t))
	if len(got) != 4 || !got[0].Ready || got[0].Cordon != reconciler.Uncordoned || got[3].Ready || got[3].Cordon != reconciler.Foreign || got[3].Created.IsZero() {
		t.Errorf("got %+v", got)
	}
}

// TestFindIsBounded holds that a fleet full of trouble gives a list that people can read, the same
// one each time.
func TestFindIsBounded(t *testing.T) {
	var w world
	w.node("a")
	for i := range 100 {
		w.pod("ops", fmt.Sprintf("debug-%03d", i), "a", "debug")
	}
	rand.Shuffle(len(w.objects), func(i, j int) { w.objects[i], w.objects[j] = w.objects[j], w.objects[i] })
	got, _ := find(w.recorded(t), [][]string{{"a"}, {"a"}}, policy.Drain{})
	if len(got) != blockers.Most+1 || got[0].Name != "debug-000" || got[blockers.Most].Reason != "and 80 more of this kind" {
		t.Errorf("found %d: %v", len(got), got)
	}
	if want := "drain would not end: bare-pod ops/debug-000, bare-pod ops/debug-001, bare-pod ops/debug-002 and 97 more; after 5m the node is given back and left out"; blockers.Summary(got, policy.Drain{Timeout: "5m", OnTimeout: "skipNode"}) != want {
		t.Errorf("summary %q, want %q", blockers.Summary(got, policy.Drain{Timeout: "5m", OnTimeout: "skipNode"}), want)
	}
}
