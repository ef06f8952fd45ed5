package cluster

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// printed is any pod as the API server gives it, in all that a snapshot keeps of one.
func printed(r *rand.Rand) corev1.Pod {
	p := dice(r)
	p.Name = fmt.Sprintf("p-%d", r.IntN(50))
	p.Labels = []map[string]string{nil, {"app": "web"}, {"app": "we\"b\\", "é<": "ü"}}[r.IntN(3)]
	p.Finalizers = [][]string{nil, {"example.com/a", "example.com/b"}}[r.IntN(2)]
	if r.IntN(2) == 0 {
		p.Annotations = map[string]string{"karpenter.sh/do-not-disrupt": "true", "example.com/other": "x"}
	}
	if r.IntN(2) == 0 {
		p.Spec.TerminationGracePeriodSeconds = ptr(r.Int64N(3))
	}
	if r.IntN(2) == 0 {
		p.Spec.Overhead = corev1.ResourceList{"cpu": resource.MustParse("10m")}
	}
	for _, list := range []*[]corev1.Container{&p.Spec.Containers, &p.Spec.InitContainers} {
		for range r.IntN(3) {
			c := corev1.Container{Name: "c", Image: "x"}
			c.Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse([]string{"1", "100m"}[r.IntN(2)]), "example.com/gpu": resource.MustParse("2")}
			c.RestartPolicy = []*corev1.ContainerRestartPolicy{nil, ptr(corev1.ContainerRestartPolicyAlways)}[r.IntN(2)]
			*list = append(*list, c)
		}
	}
	for range r.IntN(3) {
		v := corev1.Volume{Name: fmt.Sprintf("v%d", r.IntN(9))}
		if r.IntN(2) == 0 {
			v.Ephemeral = &corev1.EphemeralVolumeSource{}
		} else {
			v.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: v.Name, ReadOnly: true}
		}
		p.Spec.Volumes = append(p.Spec.Volumes, v)
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: []corev1.ConditionStatus{"True", "False"}[r.IntN(2)]}}
	return p
}

// TestPodsReadAsEncodingJSONReadsThem holds the reader that shares what pods have in common to the
// general one, also when all of them were read.
func TestPodsReadAsEncodingJSONReadsThem(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	var pods podReader
	var got, want []*pod
	for range 2000 {
		whole := printed(r)
		raw, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		p := pruner{src: raw}
		if _, _, err := p.item(0); err != nil {
			t.Fatal(err)
		}
		read, err := pods.read(p.out)
		if err != nil {
			t.Fatalf("%s: %v", p.out, err)
		}
		got = append(got, podOf(read))
		var all corev1.Pod
		if err := json.Unmarshal(raw, &all); err != nil {
			t.Fatal(err)
		}
		delete(all.Annotations, "example.com/other") // nobody asks for it
		want = append(want, podOf(&all))
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("pod %d is read as\n%+v\nwant\n%+v", i, got[i], want[i])
		}
	}
}

// TestOddPodsReadAsEncodingJSONReadsThem holds what nobody prints, and what no pod may be.
func TestOddPodsReadAsEncodingJSONReadsThem(t *testing.T) {
	for _, raw := range []string{
		`{}`, `{"metadata":null,"spec":{"volumes":null,"containers":null}}`, `{"metadata":{"labels":null,"name":null}}`, `{"metadata":{"name":"a\u0062"}}`,
		`{"metadata":{"name":7}}`, `{"metadata":[]}`, `{"metadata":{"labels":{"a":1}}}`, `{"spec":{"volumes":{}}}`, `{"spec":{"volumes":[7]}}`,
		`{"spec":{"terminationGracePeriodSeconds":"x"}}`, `{"status":7}`, `{"spec":{"containers":[{"resources":{"requests":{"cpu":1,"memory":"1x"}}}]}}`,
		`{"metadata":{"deletionTimestamp":"yesterday"}}`, "{\"metadata\":{\"name\":\"a\nb\"}}",
	} {
		var want corev1.Pod
		wantErr := json.Unmarshal([]byte(raw), &want)
		got, err := decode("Pod", []byte(raw), &podReader{})
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Errorf("%s: error %v, want %v", raw, err, wantErr)
		}
		if err == nil && !reflect.DeepEqual(podOf(got.(*corev1.Pod)), podOf(&want)) {
			t.Errorf("%s is read as\n%+v\nwant\n%+v", raw, got, want)
		}
	}
}
