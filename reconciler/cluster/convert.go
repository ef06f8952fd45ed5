package cluster

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/reconciler/blockers"
)

// pod is a pod as the snapshot has it, and what is needed to join it with other objects.
type pod struct {
	blockers.Pod
	owners []metav1.OwnerReference
	notes  map[string]string // annotations
	claims []string          // PersistentVolumeClaims that it mounts
	etcd   bool
}

// budget is a PodDisruptionBudget and whom it selects.
type budget struct {
	*blockers.Budget
	selector *metav1.LabelSelector
}

// nodeOf also says when the node was last heard of.
func nodeOf(o *corev1.Node) (n blockers.Node, heard time.Time) {
	n = blockers.Node{
		Name: o.Name, Labels: o.Labels, Created: o.CreationTimestamp.UTC(), Unschedulable: o.Spec.Unschedulable,
		Allocatable: amount(o.Status.Allocatable),
	}
	for _, c := range o.Status.Conditions {
		if c.Type == corev1.NodeReady {
			n.Ready = c.Status == corev1.ConditionTrue
		}
		if c.LastHeartbeatTime.After(heard) {
			heard = c.LastHeartbeatTime.UTC()
		}
	}
	for _, t := range o.Spec.Taints {
		// those of the node's own state come and go with it
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !strings.HasPrefix(t.Key, "node.kubernetes.io/") {
			n.Taints = append(n.Taints, t.Key+"="+t.Value+":"+string(t.Effect))
		}
	}
	slices.Sort(n.Taints)
	_, plane := o.Labels["node-role.kubernetes.io/control-plane"]
	_, master := o.Labels["node-role.kubernetes.io/master"]
	n.ControlPlane = plane || master
	return n, heard
}

func podOf(o *corev1.Pod) *pod {
	p := &pod{owners: o.OwnerReferences, notes: o.Annotations}
	p.Pod = blockers.Pod{
		Namespace: o.Namespace, Name: o.Name, Node: o.Spec.NodeName, Labels: o.Labels,
		Phase: string(o.Status.Phase), Finalizers: o.Finalizers, Grace: 30 * time.Second,
		Requests: requests(o), Vetoes: vetoes(o.Annotations),
	}
	if o.Spec.TerminationGracePeriodSeconds != nil {
		p.Grace = time.Duration(*o.Spec.TerminationGracePeriodSeconds) * time.Second
	}
	if o.DeletionTimestamp != nil {
		p.Deleting = o.DeletionTimestamp.UTC()
	}
	for _, c := range o.Status.Conditions {
		if c.Type == corev1.PodReady {
			p.Ready = c.Status == corev1.ConditionTrue
		}
	}
	for _, v := range o.Spec.Volumes {
		switch {
		case v.EmptyDir != nil:
			p.Scratch = true
		case v.HostPath != nil:
			p.Folders = append(p.Folders, v.HostPath.Path)
		case v.PersistentVolumeClaim != nil:
			p.claims = append(p.claims, v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			p.claims = append(p.claims, o.Name+"-"+v.Name) // as Kubernetes names the claim that it makes
		}
	}
	if up, ok := controller(o.Namespace, o.OwnerReferences); ok && up.kind == "Job" {
		p.Job = up.name
	}
	p.etcd = o.Labels["component"] == "etcd" && o.Namespace == "kube-system" || o.Labels["app"] == "etcd" && o.Namespace == "openshift-etcd"
	return p
}

// asking are annotations by which a pod asks tools that move pods to leave it alone.
var asking = map[string]string{
	"karpenter.sh/do-not-disrupt":                    "true",
	"cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}

func vetoes(annotations map[string]string) (out []string) {
	for name, value := range asking {
		if annotations[name] == value {
			out = append(out, name+"="+value)
		}
	}
	slices.Sort(out)
	return out
}

// controller is the one owner that keeps an object alive.
func controller(namespace string, owners []metav1.OwnerReference) (owner, bool) {
	for _, o := range owners {
		if o.Controller != nil && *o.Controller {
			return owner{o.Kind, namespace, o.Name}, true
		}
	}
	return owner{}, false
}

// requests is what the scheduler sets aside for a pod: its containers and those that start before
// them and stay, or what one that starts and ends needs, if that is more; and the overhead.
func requests(o *corev1.Pod) blockers.Amount {
	if o.Status.Phase == corev1.PodSucceeded || o.Status.Phase == corev1.PodFailed {
		return blockers.Amount{}
	}
	var sum, stay, peak blockers.Amount
	for i := range o.Spec.Containers {
		sum.Add(amount(o.Spec.Containers[i].Resources.Requests))
	}
	for i := range o.Spec.InitContainers {
		c := &o.Spec.InitContainers[i]
		need := amount(c.Resources.Requests)
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			stay.Add(need)
			need = blockers.Amount{}
		}
		need.Add(stay)
		peak = most(peak, need)
	}
	sum.Add(stay)
	sum = most(sum, peak)
	if o.Spec.Overhead != nil {
		sum.Add(amount(o.Spec.Overhead))
	}
	sum.Pods = 1
	return sum
}

// most is the larger of each resource.
func most(a, b blockers.Amount) blockers.Amount {
	out := blockers.Amount{CPU: max(a.CPU, b.CPU), Memory: max(a.Memory, b.Memory), Pods: max(a.Pods, b.Pods), Devices: a.Devices}
	for name, n := range b.Devices {
		if n > out.Devices[name] {
			var more blockers.Amount
			more.Devices = map[string]int64{name: n - out.Devices[name]}
			out.Add(more)
		}
	}
	return out
}

// amount reads a list of resources. Extended ones have a domain in their name.
func amount(list corev1.ResourceList) (a blockers.Amount) {
	for name, q := range list {
		switch {
		case name == corev1.ResourceCPU:
			a.CPU = q.MilliValue()
		case name == corev1.ResourceMemory:
			a.Memory = q.Value()
		case name == corev1.ResourcePods:
			a.Pods = q.Value()
		case strings.Contains(string(name), "/") && q.Value() > 0:
			put(&a.Devices, string(name), q.Value())
		}
	}
	return a
}

func budgetOf(o *policyv1.PodDisruptionBudget) budget {
	b := &blockers.Budget{
		Namespace: o.Namespace, Name: o.Name,
		Stale:   o.Status.ObservedGeneration < o.Generation,
		Healthy: int(o.Status.CurrentHealthy), Desired: int(o.Status.DesiredHealthy), Expected: int(o.Status.ExpectedPods),
		Allowed: int(o.Status.DisruptionsAllowed),
	}
	if o.Spec.MinAvailable != nil {
		b.MinAvailable = o.Spec.MinAvailable.String()
	}
	if o.Spec.MaxUnavailable != nil {
		b.MaxUnavailable = o.Spec.MaxUnavailable.String()
	}
	if p := o.Spec.UnhealthyPodEvictionPolicy; p != nil {
		b.AlwaysAllow = *p == policyv1.AlwaysAllow
	}
	return budget{b, o.Spec.Selector}
}

// bound says in words what ties a volume to one node; "" when it can follow its pod.
func bound(o *corev1.PersistentVolume) string {
	switch {
	case o.Spec.Local != nil:
		return "local volume " + o.Name
	case o.Spec.HostPath != nil:
		return "volume " + o.Name + " in a folder of the node"
	case o.Spec.NodeAffinity == nil || o.Spec.NodeAffinity.Required == nil:
		return ""
	}
	for _, term := range o.Spec.NodeAffinity.Required.NodeSelectorTerms {
		for _, e := range term.MatchExpressions {
			if e.Operator == corev1.NodeSelectorOpIn && len(e.Values) == 1 && (e.Key == corev1.LabelHostname || strings.HasSuffix(e.Key, "/node")) {
				return "volume " + o.Name + " of one node"
			}
		}
	}
	return ""
}

// selects is the selector of a budget. One that cannot be read selects nothing, as for the API
// that would have refused it.
func (b budget) selects() labels.Selector {
	s, err := metav1.LabelSelectorAsSelector(b.selector)
	if err != nil {
		return labels.Nothing()
	}
	return s
}
