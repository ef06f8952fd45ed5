package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/reconciler/blockers"
)

func ptr[T any](v T) *T { return &v }

// any pod that the filters may tell apart, and more that they do not look at.
func dice(r *rand.Rand) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}}
	p.Spec.NodeName = "a"
	p.Status.Phase = []corev1.PodPhase{corev1.PodRunning, corev1.PodPending, corev1.PodSucceeded, corev1.PodFailed}[r.IntN(4)]
	if kind := []string{"", "DaemonSet", "ReplicaSet", "Job", "Node"}[r.IntN(5)]; kind != "" {
		version := []string{"apps/v1", "batch/v1", "extensions/v1beta1"}[r.IntN(3)]
		name := []string{"here", "gone"}[r.IntN(2)]
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: name, Controller: ptr(r.IntN(4) > 0)}}
	}
	if r.IntN(3) == 0 {
		p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	}
	if r.IntN(3) == 0 {
		p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1000, 0)}
	}
	for range r.IntN(3) {
		v := corev1.Volume{Name: "v"}
		switch r.IntN(3) {
		case 0:
			v.EmptyDir = &corev1.EmptyDirVolumeSource{}
		case 1:
			v.HostPath = &corev1.HostPathVolumeSource{Path: "/x"}
		}
		p.Spec.Volumes = append(p.Spec.Volumes, v)
	}
	if r.IntN(2) == 0 {
		p.Spec.Priority, p.Spec.PriorityClassName, p.Labels = ptr(int32(2000001000)), "system-node-critical", map[string]string{"a": "b"}
	}
	return p
}

// TestFatesAreThoseOfTheLibrary holds that a pod of which only a few fields were kept is judged as
// the library judges the whole pod, also where others look like it.
func TestFatesAreThoseOfTheLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	seen := map[blockers.Fate]int{}
	for round := range 3 {
		c := Collector{sets: map[key]bool{{"n", "here"}: true}}
		whole := map[string]corev1.Pod{}
		for i := range 1000 {
			p := dice(r)
			p.Name = fmt.Sprintf("p-%d", i)
			whole[p.Name] = p
			c.Add(&p)
		}
		if err := c.ask(); err != nil {
			t.Fatal(err)
		}
		for _, got := range c.pods {
			want := libraryOf(t, &c, whole[got.Name])
			seen[want]++
			if got.Fate != want {
				t.Fatalf("round %d: a pod is %s, and the library says %s: %+v", round, got.Fate, want, whole[got.Name])
			}
		}
	}
	if len(seen) != 3 {
		t.Errorf("only %v were seen", seen)
	}
}

// libraryOf asks the library about a whole pod that is alone on its node.
func libraryOf(t *testing.T, c *Collector, p corev1.Pod) blockers.Fate {
	t.Helper()
	whole := helper(&record{Interface: refusing(t), sets: c.sets, node: "a", pods: []corev1.Pod{p}})
	goes, refusals := whole.GetPodsForDeletion("a")
	switch {
	case len(refusals) > 0:
		return blockers.Refused
	case len(goes.Pods()) > 0:
		return blockers.Evicted
	}
	return blockers.Stays
}

func refusing(t *testing.T) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfigAndClient(&rest.Config{Host: "https://record.invalid"}, &http.Client{Transport: sealed{}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// TestARecordChangesNothing holds that whatever the drain library might do besides asking fails.
func TestARecordChangesNothing(t *testing.T) {
	r := &record{Interface: refusing(t), node: "a"}
	ctx := t.Context()
	for name, do := range map[string]func() error{
		"delete a pod": func() error { return r.CoreV1().Pods("n").Delete(ctx, "p", metav1.DeleteOptions{}) },
		"evict a pod": func() error {
			return helper(r).EvictPod(corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}}, corev1.SchemeGroupVersion)
		},
		"cordon a node": func() error {
			_, err := r.CoreV1().Nodes().Update(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.UpdateOptions{})
			return err
		},
		"get a pod":    func() error { _, err := r.CoreV1().Pods("n").Get(ctx, "p", metav1.GetOptions{}); return err },
		"delete a set": func() error { return r.AppsV1().DaemonSets("n").Delete(ctx, "s", metav1.DeleteOptions{}) },
	} {
		if err := do(); !errors.Is(err, errSealed) {
			t.Errorf("%s: error %v, want that the record refuses", name, err)
		}
	}
	if _, err := r.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=b"}); err == nil {
		t.Error("the pods of another node are answered with those of this one")
	}
}

// TestALiveClusterReadsAsARecordedOne lists through a client, which is only asked to list.
func TestALiveClusterReadsAsARecordedOne(t *testing.T) {
	client := fake.NewClientset(
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ops", Name: "debug"}, Spec: corev1.PodSpec{NodeName: "a"}},
	)
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s, err := Read(t.Context(), client, at)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Nodes) != 1 || len(s.Pods) != 1 || s.Pods[0].Refusal != blockers.Bare || !s.At.Equal(at) {
		t.Errorf("got %+v", s)
	}
	for _, a := range client.Actions() {
		if a.GetVerb() != "list" {
			t.Errorf("%s %s: a reading only lists", a.GetVerb(), a.GetResource().Resource)
		}
	}
}

// FuzzPrune holds that pruning valid JSON loses nothing that is wanted, and that other bytes give
// an error or JSON, and never a panic.
func FuzzPrune(f *testing.F) {
	for _, seed := range []string{
		`{"kind":"Pod","metadata":{"name":"a\"\\","labels":{"x":"{["}},"spec":{"volumes":[{"emptyDir":{}},{"x":[1,{"y":null}]}]},"more":[[]]}`,
		" { \"kind\" : \"Node\" , \"status\" : { \"conditions\" : [ ] , \"images\" : [ 1.5e3 , true ] } } ", `{"spec":7,"spec":[{}]}`, `{"a":"`, `{"kind" 1}`, `{,}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = bytes.TrimSpace(raw)
		if len(raw) == 0 || raw[0] != '{' {
			return
		}
		p := pruner{src: raw}
		_, end, err := p.item(0)
		var whole, pruned any
		if json.Unmarshal(raw, &whole) != nil {
			return // what is skipped is not looked into
		}
		if err != nil || end != len(raw) {
			t.Fatalf("valid JSON is pruned up to %d of %d: %v", end, len(raw), err)
		}
		if err := json.Unmarshal(p.out, &pruned); err != nil {
			t.Fatalf("pruned to %s: %v", p.out, err)
		}
		if bytes.ContainsAny(raw, "\\") {
			return // a name that is written with escapes is none that is wanted
		}
		a, _ := json.Marshal(keep(whole, wanted))
		b, _ := json.Marshal(pruned)
		if !bytes.Equal(a, b) {
			t.Fatalf("pruned to\n%s\nwant\n%s", b, a)
		}
	})
}

// keep is what prune does, on decoded values.
func keep(v any, t tree) any {
	switch v := v.(type) {
	case map[string]any:
		if t == nil {
			return v
		}
		out := map[string]any{}
		for name, child := range v {
			if below, ok := t[name]; ok {
				out[name] = keep(child, below)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = keep(v[i], t)
		}
		return out
	}
	return v
}
