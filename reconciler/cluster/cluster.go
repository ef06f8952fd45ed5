// Package cluster turns the objects of a Kubernetes cluster, recorded or live, into the Snapshot
// that blockers are found in. It only reads. What drain would do with a pod is asked of the drain
// library itself.
package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/blockers"
)

// FromObjects is the cluster that these objects amount to, as it was at that time; a zero time
// means the last one at which a node was heard of, which is less than five minutes before. Kinds that play no part are passed over. An error
// says what the objects lack to be judged.
func FromObjects(at time.Time, objects []runtime.Object) (*blockers.Snapshot, error) {
	var c Collector
	for _, o := range objects {
		c.Add(o)
	}
	return c.Snapshot(at)
}

// Collector takes objects one by one and keeps of each what is needed: a fleet's pods need not be
// held all at once. Its methods may be called at the same time, but for Snapshot, which comes last.
type Collector struct {
	mu sync.Mutex

	nodes     []blockers.Node
	pods      []*pod
	budgets   []budget
	services  []key
	endpoints map[key]map[string]bool // of a Service: the names of the pods that are ready
	sliced    bool                    // an EndpointSlice was there, whether or not anything in it is ready
	workloads map[owner]*blockers.Workload
	parents   map[owner]owner // of a ReplicaSet: its Deployment
	sets      map[key]bool    // DaemonSets
	claims    map[key]string  // PersistentVolumeClaim -> its volume
	volumes   map[string]string
	heard     time.Time // when a node last said something
}

// key is what tells objects of one kind apart.
type key struct{ namespace, name string }

// owner is a controller.
type owner struct{ kind, namespace, name string }

// Add takes an object. Its maps and slices are kept, and must not change any more.
func (c *Collector) Add(o runtime.Object) {
	switch o := o.(type) {
	case *corev1.Node:
		n, heard := nodeOf(o)
		c.with(func() {
			c.nodes = append(c.nodes, n)
			if heard.After(c.heard) {
				c.heard = heard
			}
		})
	case *corev1.Pod:
		if p := podOf(o); p.Node != "" { // one that is not scheduled is on no node's way
			c.with(func() { c.pods = append(c.pods, p) })
		}
	case *policyv1.PodDisruptionBudget:
		b := budgetOf(o)
		c.with(func() { c.budgets = append(c.budgets, b) })
	case *corev1.Service:
		c.with(func() { c.services = append(c.services, key{o.Namespace, o.Name}) })
	case *discoveryv1.EndpointSlice:
		c.with(func() { c.slice(o) })
	case *appsv1.ReplicaSet:
		c.with(func() { c.workload("ReplicaSet", o.Namespace, o.Name, o.Spec.Replicas) })
		if up, ok := controller(o.Namespace, o.OwnerReferences); ok && up.kind == "Deployment" {
			c.with(func() { put(&c.parents, owner{"ReplicaSet", o.Namespace, o.Name}, up) })
		}
	case *appsv1.Deployment:
		c.with(func() { c.workload("Deployment", o.Namespace, o.Name, o.Spec.Replicas) })
	case *appsv1.StatefulSet:
		c.with(func() { c.workload("StatefulSet", o.Namespace, o.Name, o.Spec.Replicas) })
	case *appsv1.DaemonSet:
		c.with(func() { put(&c.sets, key{o.Namespace, o.Name}, true) })
	case *corev1.PersistentVolumeClaim:
		c.with(func() { put(&c.claims, key{o.Namespace, o.Name}, o.Spec.VolumeName) })
	case *corev1.PersistentVolume:
		c.with(func() { put(&c.volumes, o.Name, bound(o)) })
	}
}

func (c *Collector) with(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
}

// workload notes a controller. One whose replicas are not written has one, as the API defaults.
func (c *Collector) workload(kind, namespace, name string, replicas *int32) {
	w := &blockers.Workload{Kind: kind, Namespace: namespace, Name: name, Replicas: 1}
	if replicas != nil {
		w.Replicas = int(*replicas)
	}
	put(&c.workloads, owner{kind, namespace, name}, w)
}

// slice notes the ready pods of a Service. An endpoint that does not say is ready, as its consumers
// are told to read it.
func (c *Collector) slice(o *discoveryv1.EndpointSlice) {
	c.sliced = true
	service := key{o.Namespace, o.Labels[discoveryv1.LabelServiceName]}
	for _, e := range o.Endpoints {
		ready := e.Conditions.Ready == nil || *e.Conditions.Ready
		if ready && e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
			if c.endpoints[service] == nil {
				put(&c.endpoints, service, map[string]bool{})
			}
			c.endpoints[service][e.TargetRef.Name] = true
		}
	}
}

// put writes into a map that may not be there yet.
func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

// Snapshot is the cluster that was collected.
func (c *Collector) Snapshot(at time.Time) (*blockers.Snapshot, error) {
	if at.IsZero() {
		at = c.heard
	}
	if len(c.nodes) == 0 {
		return nil, fmt.Errorf("the record holds no Node: record nodes too, as in %s", Recipe)
	}
	missing, err := c.missing()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(c.nodes, func(a, b blockers.Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(c.pods, func(a, b *pod) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for i := 1; i < len(c.nodes); i++ {
		if c.nodes[i].Name == c.nodes[i-1].Name {
			return nil, fmt.Errorf("node %s stands twice in the record: give the records of one moment and one cluster", c.nodes[i].Name)
		}
	}
	for i := 1; i < len(c.pods); i++ {
		if a, b := c.pods[i-1], c.pods[i]; a.Node == b.Node && a.Namespace == b.Namespace && a.Name == b.Name {
			return nil, fmt.Errorf("pod %s/%s stands twice in the record: give the records of one moment and one cluster", b.Namespace, b.Name)
		}
	}
	if err := c.ask(); err != nil {
		return nil, err
	}
	s := &blockers.Snapshot{At: at, Nodes: c.nodes, Pods: make([]blockers.Pod, len(c.pods)), Missing: missing}
	for i := range c.pods {
		s.Pods[i] = c.pods[i].Pod
	}
	c.join(s)
	return s, nil
}

// Nodes are the machines of a snapshot for a preview that has no other inventory. What they run is
// not in the cluster's objects. A cordon is somebody else's: the record does not say that it is ours.
func Nodes(s *blockers.Snapshot) []reconciler.Node {
	out := make([]reconciler.Node, 0, len(s.Nodes))
	for _, n := range s.Nodes {
		cordon := reconciler.Uncordoned
		if n.Unschedulable {
			cordon = reconciler.Foreign
		}
		out = append(out, reconciler.Node{Name: n.Name, Labels: n.Labels, Created: n.Created, Ready: n.Ready, Cordon: cordon})
	}
	return out
}
