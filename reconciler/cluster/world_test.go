package cluster_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-gitops/sluice/reconciler/blockers"
	"github.com/sluice-gitops/sluice/reconciler/cluster"
)

// noon is when the clusters of these tests are looked at.
var noon = metav1.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func ptr[T any](v T) *T { return &v }

// world builds the objects of a cluster.
type world struct{ objects []runtime.Object }

func (w *world) add(o ...runtime.Object) { w.objects = append(w.objects, o...) }

func (w *world) node(name string, change ...func(*corev1.Node)) {
	n := &corev1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"node-role.kubernetes.io/worker": "", "kubernetes.io/hostname": name}, CreationTimestamp: metav1.NewTime(noon.AddDate(0, -1, 0))},
		Status: corev1.NodeStatus{
			Allocatable: corev1.ResourceList{"cpu": resource.MustParse("4"), "memory": resource.MustParse("16Gi"), "pods": resource.MustParse("110")},
			Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: noon, LastTransitionTime: metav1.NewTime(noon.AddDate(0, 0, -3))}},
		},
	}
	for _, f := range change {
		f(n)
	}
	w.add(n)
}

// of makes a pod a replica of a controller.
func of(kind, name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: name, UID: "u", Controller: ptr(true)}}
		if kind == "Job" {
			p.OwnerReferences[0].APIVersion = "batch/v1"
		}
	}
}

func unready(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }

func volume(v corev1.VolumeSource) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: fmt.Sprintf("v%d", len(p.Spec.Volumes)), VolumeSource: v})
	}
}

// pod adds a pod that runs and is ready, with the label app.
func (w *world) pod(namespace, name, node, app string, change ...func(*corev1.Pod)) {
	p := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": app}},
		Spec: corev1.PodSpec{
			NodeName: node, TerminationGracePeriodSeconds: ptr(int64(30)),
			Containers: []corev1.Container{{Name: "main", Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("128Mi")},
			}}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon.AddDate(0, 0, -2))}}},
	}
	for _, f := range change {
		f(p)
	}
	w.add(p)
}

// deployment adds a Deployment and its ReplicaSet, NAME-1.
func (w *world) deployment(namespace, name string, replicas int32) {
	w.add(&appsv1.Deployment{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas},
	}, &appsv1.ReplicaSet{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name + "-1", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "apps/v1", Kind: "Deployment", Name: name, UID: "u", Controller: ptr(true)},
		}},
		Spec: appsv1.ReplicaSetSpec{Replicas: &replicas},
	})
}

func (w *world) statefulSet(namespace, name string, replicas int32) {
	w.add(&appsv1.StatefulSet{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"}, ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: appsv1.StatefulSetSpec{Replicas: &replicas},
	})
}

func (w *world) daemonSet(namespace, name string) {
	w.add(&appsv1.DaemonSet{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "DaemonSet"}, ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
}

// budget adds a PodDisruptionBudget for the pods with the label app. Its numbers are expected,
// healthy, desired and allowed.
func (w *world) budget(namespace, name, app string, numbers [4]int32, change ...func(*policyv1.PodDisruptionBudget)) {
	b := &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 2},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}},
		Status: policyv1.PodDisruptionBudgetStatus{
			ObservedGeneration: 2, ExpectedPods: numbers[0], CurrentHealthy: numbers[1], DesiredHealthy: numbers[2], DisruptionsAllowed: numbers[3],
		},
	}
	for _, f := range change {
		f(b)
	}
	w.add(b)
}

func minAvailable(v string) func(*policyv1.PodDisruptionBudget) {
	return func(b *policyv1.PodDisruptionBudget) { b.Spec.MinAvailable = ptr(intstr.Parse(v)) }
}

func maxUnavailable(v string) func(*policyv1.PodDisruptionBudget) {
	return func(b *policyv1.PodDisruptionBudget) { b.Spec.MaxUnavailable = ptr(intstr.Parse(v)) }
}

// service adds a Service whose ready endpoints are these pods.
func (w *world) service(namespace, name string, pods ...string) {
	slice := &discoveryv1.EndpointSlice{
		TypeMeta:   metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name + "-x", Labels: map[string]string{discoveryv1.LabelServiceName: name}},
	}
	for _, p := range pods {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Conditions: discoveryv1.EndpointConditions{Ready: ptr(true)}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: p},
		})
	}
	w.add(&corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}, slice)
}

// list is the objects as kubectl prints them.
func (w *world) list(t testing.TB) []byte {
	t.Helper()
	raw, err := json.MarshalIndent(map[string]any{"apiVersion": "v1", "kind": "List", "items": w.objects, "metadata": map[string]any{"resourceVersion": ""}}, "", "    ")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// recorded is the snapshot that comes of printing the objects and reading them again.
func (w *world) recorded(t testing.TB) *blockers.Snapshot {
	t.Helper()
	s, err := read(bytes.NewReader(w.list(t)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func read(r io.Reader) (*blockers.Snapshot, error) {
	var c cluster.Collector
	if err := c.Read(r); err != nil {
		return nil, err
	}
	return c.Snapshot(time.Time{})
}
