package kube

import (
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/reconciler"
)

// memory is how the server gave nodes last, as far as they are written. A write goes to the version
// that is remembered: where another came before, the server refuses it, and the object is read anew.
// That saves the reading before each write, and can mislead nobody.
type memory struct {
	mu    sync.Mutex
	nodes map[string]*corev1.Node
	homes map[string]*v1alpha1.NodeConfig // those that are of these very nodes

	recalled map[string]bool // nodes that were said to be empty without asking
}

const (
	// crowd is how many nodes may be under our cordon before not each of them is looked into at
	// every look: a list of pods for each is what a wave of hundreds would mostly ask for.
	crowd = 20
	// trusted is how long one of a crowd that is at work on its order is taken to be as empty as it
	// was: nothing is decided by that until it has answered, or has another order.
	trusted = 30 * time.Second
)

// recall answers for one of a crowd: that it is not empty, as its drain has just seen, or that it was,
// of one at work on its order. Send makes sure of that before it gives it another.
func (f *Fleet) recall(n *reconciler.Node) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if job := f.job(n.Name); job.running && job.rounds > 0 && time.Since(job.looked) < 2*f.pause() {
		if drained, blocked := job.standing(f.memory.node(n.Name)); !drained {
			n.Drained, n.Blocked = false, blocked
			return true
		}
	}
	busy := n.Order.Generation > n.Report.Generation || n.Report.Phase == nodeops.Working
	if !busy || time.Since(f.emptied[n.Name]) > trusted {
		return false
	}
	n.Drained = true
	f.memory.recalled[n.Name] = true
	return true
}

// pageSize is how many objects are read at once: what is not needed of them is let go before the next.
const pageSize = 500

// pages reads a list, page by page. All of them are of one moment, that of the first.
func pages[L metav1.ListInterface](ctx context.Context, list func(context.Context, metav1.ListOptions) (L, error), each func(L) error) error {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := list(ctx, options)
		if err != nil {
			return err
		}
		if err := each(page); err != nil {
			return err
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

// remnant is what is remembered of a node.
func remnant(n *corev1.Node) *corev1.Node {
	out := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, UID: n.UID, ResourceVersion: n.ResourceVersion},
		Spec:       corev1.NodeSpec{Unschedulable: n.Spec.Unschedulable, Taints: n.Spec.Taints},
	}
	if by, has := n.Annotations[mark]; has {
		out.Annotations = map[string]string{mark: by}
	}
	if n.Spec.Unschedulable { // whose hand set it
		out.ManagedFields = slices.Clone(n.ManagedFields)
		out.ManagedFields = slices.DeleteFunc(out.ManagedFields, func(e metav1.ManagedFieldsEntry) bool { return e.Subresource != "" })
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			out.Status.Conditions = []corev1.NodeCondition{{Type: c.Type, Status: c.Status}}
		}
	}
	return out
}

// forget begins anew.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes, m.homes, m.recalled = map[string]*corev1.Node{}, map[string]*v1alpha1.NodeConfig{}, map[string]bool{}
}

// node is a node as it was seen last; nil: it was not.
func (m *memory) node(name string) *corev1.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.nodes[name]
}

// home is a node's NodeConfig as it was seen last, for the caller to change; nil: it was not.
func (m *memory) home(name string) *v1alpha1.NodeConfig {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.homes[name].DeepCopy()
}

// note remembers a node that was written.
func (m *memory) note(n *corev1.Node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.nodes != nil {
		m.nodes[n.Name] = remnant(n)
	}
}

// noteHome remembers a NodeConfig that was written.
func (m *memory) noteHome(c *v1alpha1.NodeConfig) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.homes != nil {
		c.Status = v1alpha1.NodeConfigStatus{}
		m.homes[c.Name] = c
	}
}
