package cluster

import (
	"encoding/json"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podReader decodes pruned pods. A fleet has more of them than of everything else, and most say
// what others have said before, word for word: labels of a workload, requests, conditions. Each
// such piece is decoded once, by encoding/json, and shared by the pods that say it.
type podReader struct {
	src     []byte
	pod     corev1.Pod      // at hand
	volumes []corev1.Volume // of that pod

	words      memo[string]
	maps       memo[map[string]string]
	lists      memo[[]string]
	owners     memo[[]metav1.OwnerReference]
	times      memo[*metav1.Time]
	seconds    memo[*int64]
	amounts    memo[corev1.ResourceList]
	volume     memo[corev1.Volume]
	containers memo[[]corev1.Container]
	status     memo[corev1.PodStatus]
}

// memo is what pieces of JSON decode to.
type memo[T any] map[string]T

// memorable bounds a memo. What pods share stands near each other: kubectl prints them by name.
const memorable = 8192

// errWhole says that a pod must be decoded as a whole.
var errWhole = errors.New("is not written as pods commonly are")

// read decodes a pod as far as podOf looks at it: the same as decoding the whole of it, which the
// caller does where read returns an error. The pod holds until the next is read; its maps, and
// its slices but for the volumes, hold for good.
func (r *podReader) read(raw []byte) (*corev1.Pod, error) {
	r.src, r.pod, r.volumes = raw, corev1.Pod{}, r.volumes[:0]
	_, err := r.object(0, func(name []byte, i int) (int, error) {
		switch string(name) {
		case "metadata":
			return r.object(i, r.metadata)
		case "spec":
			return r.object(i, r.spec)
		case "status":
			return r.status.take(r, i, &r.pod.Status)
		}
		return skip(r.src, i)
	})
	r.pod.Spec.Volumes = r.volumes
	return &r.pod, err
}

func (r *podReader) metadata(name []byte, i int) (int, error) {
	m := &r.pod.ObjectMeta
	switch string(name) {
	case "name":
		return r.name(i)
	case "namespace":
		return r.words.take(r, i, &m.Namespace)
	case "labels":
		return r.maps.take(r, i, &m.Labels)
	case "annotations":
		return r.maps.take(r, i, &m.Annotations)
	case "finalizers":
		return r.lists.take(r, i, &m.Finalizers)
	case "ownerReferences":
		return r.owners.take(r, i, &m.OwnerReferences)
	case "deletionTimestamp":
		return r.times.take(r, i, &m.DeletionTimestamp)
	}
	return skip(r.src, i)
}

func (r *podReader) spec(name []byte, i int) (int, error) {
	s := &r.pod.Spec
	switch string(name) {
	case "nodeName":
		return r.words.take(r, i, &s.NodeName)
	case "terminationGracePeriodSeconds":
		return r.seconds.take(r, i, &s.TerminationGracePeriodSeconds)
	case "overhead":
		return r.amounts.take(r, i, &s.Overhead)
	case "containers":
		return r.containers.take(r, i, &s.Containers)
	case "initContainers":
		return r.containers.take(r, i, &s.InitContainers)
	case "volumes": // one by one: each pod has one with a name of its own
		if r.src[i] != '[' {
			return i, errWhole
		}
		r.volumes = r.volumes[:0]
		return elements(r.src, i, func(i int) (int, error) {
			r.volumes = append(r.volumes, corev1.Volume{})
			return r.volume.take(r, i, &r.volumes[len(r.volumes)-1])
		})
	}
	return skip(r.src, i)
}

// name takes what no two pods share.
func (r *podReader) name(i int) (int, error) {
	end, err := skip(r.src, i)
	if err != nil {
		return i, err
	}
	return end, json.Unmarshal(r.src[i:end], &r.pod.Name)
}

func (r *podReader) object(i int, each func(name []byte, i int) (int, error)) (int, error) {
	if r.src[i] != '{' {
		return i, errWhole
	}
	return members(r.src, i, each)
}

// take decodes the value at i, or remembers what it decodes to, and returns where it ends.
func (m *memo[T]) take(r *podReader, i int, out *T) (int, error) {
	end, err := skip(r.src, i)
	if err != nil {
		return i, err
	}
	if v, ok := (*m)[string(r.src[i:end])]; ok {
		*out = v
		return end, nil
	}
	return end, m.learn(r.src[i:end], out)
}

func (m *memo[T]) learn(raw []byte, out *T) error {
	var v T // not *out: where a field stands twice, what stood there first is shared
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	if *m == nil || len(*m) >= memorable {
		*m = memo[T]{}
	}
	(*m)[string(raw)], *out = v, v
	return nil
}
