package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/reconciler"
)

// Fleet is the nodes of a cluster. It is a loop.Fleet. Its fields are set before its first use. Send,
// Drain, Uncordon and Close may be called by several goroutines, the others by one, and then by no other.
type Fleet struct {
	Client  *Client
	Evictor *Client       // looks at pods and evicts them, so that a wave of drains waits in a line of its own; nil: Client
	Name    string        // signs cordons
	Enroll  bool          // Nodes keeps house: see there; else it only reads
	Retry   time.Duration // between two tries to evict a pod; zero is five seconds
	Retaken func(string)  // hears of each node whose cordon somebody has lifted in the middle of its drain, and that is cordoned again; nil: nobody does

	sets   known
	memory memory

	mu      sync.Mutex
	drains  map[string]*drainage // by node
	emptied map[string]time.Time // when a node was last seen empty
}

// Nodes is the fleet as the server says now. A node that is about to go is still there. With Enroll
// each node that has no NodeConfig is given one, so that its agent can report, and our mark is
// taken from nodes whose cordon somebody has lifted.
func (f *Fleet) Nodes(ctx context.Context) ([]reconciler.Node, error) {
	homes := map[string]*v1alpha1.NodeConfig{}
	err := pages(ctx, f.Client.configs.List, func(page *v1alpha1.NodeConfigList) error {
		for _, home := range page.Items {
			home.ManagedFields = nil
			homes[home.Name] = &home
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list NodeConfigs: %w", err)
	}
	f.memory.forget()
	var out []reconciler.Node
	err = pages(ctx, f.Client.core.CoreV1().Nodes().List, func(page *corev1.NodeList) error {
		if err := f.enroll(ctx, page.Items, homes); err != nil {
			return err
		}
		for i := range page.Items {
			n, err := f.one(ctx, &page.Items[i], homes[page.Items[i].Name])
			if err != nil {
				return err
			}
			out = append(out, n)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	if err := f.lookInto(ctx, out); err != nil {
		return nil, err
	}
	f.forget(out)
	slices.SortFunc(out, func(a, b reconciler.Node) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// one is a node and its NodeConfig, if it has one.
func (f *Fleet) one(ctx context.Context, node *corev1.Node, home *v1alpha1.NodeConfig) (n reconciler.Node, err error) {
	f.memory.note(node)
	was := home
	if !belongs(home, node) {
		home = nil
	}
	if f.Enroll {
		if err := f.clean(ctx, node); err != nil {
			return n, err
		}
	}
	n = f.picture(node, home)
	if home == nil && lingers(was) {
		n.Ready, n.Cordon = false, reconciler.Foreign
		n.Report.Why = fmt.Sprintf("NodeConfig %s is of an earlier node of this name, and is kept there by %s: it has to go first", was.Name, strings.Join(was.Finalizers, ", "))
	}
	if home != nil {
		f.memory.noteHome(home)
	}
	return n, nil
}

// farthest is the newest generation that a node may report without an order that has it. Every later
// order of the fleet is newer than what its nodes report: one node must not use up the numbers of all.
const farthest = 1 << 52

// picture is what the objects say of a node. One whose order or report cannot be read is left
// alone, and holds a slot.
func (f *Fleet) picture(node *corev1.Node, home *v1alpha1.NodeConfig) reconciler.Node {
	n := reconciler.Node{
		Name: node.Name, Labels: node.Labels, Created: node.CreationTimestamp.UTC(), Ready: ready(node),
		Conditions: make(map[string]bool, len(node.Status.Conditions)), Cordon: f.cordon(node),
	}
	for _, c := range node.Status.Conditions {
		n.Conditions[string(c.Type)] = c.Status == corev1.ConditionTrue
	}
	if n.Mute = home == nil; n.Mute {
		return n
	}
	order, wrongOrder := home.Spec.Order(node.Name)
	report, wrongReport := home.Status.Report()
	if g := report.Generation; g > max(order.Generation, farthest) {
		report, wrongReport = nodeops.Report{}, fmt.Errorf("status.generation: no order ever had %d", g)
	}
	n.Order, n.Report = order, report
	n.Mute = reflect.DeepEqual(report, nodeops.Report{}) // whatever an agent says names its boot
	if stale(node, report) {
		n.Ready, n.Conditions[string(corev1.NodeReady)] = false, false
	}
	if wrong := errors.Join(wrongOrder, wrongReport); wrong != nil {
		n.Ready, n.Cordon = false, reconciler.Foreign
		n.Report.Why = fmt.Sprintf("NodeConfig %s cannot be read: %v", home.Name, wrong)
	}
	return n
}

func ready(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// stale says that kubelet and agent speak of different boots. After a reboot the agent may be the
// first to report: what the Node says of itself is then of the boot before, and its Ready with it.
// The other way round the agent has been silent since the reboot, and nobody answers for the node.
func stale(node *corev1.Node, r nodeops.Report) bool {
	of := node.Status.NodeInfo.BootID
	return of != "" && r.BootID != "" && of != r.BootID
}

// belongs says that a NodeConfig is of this very node, and not of an earlier one of its name.
func belongs(home *v1alpha1.NodeConfig, node *corev1.Node) bool {
	return home != nil && slices.ContainsFunc(home.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == node.UID })
}

// lingers says that a NodeConfig was deleted, and somebody's finalizers keep it. Nothing can be made in its
// place, and no other node waits for that.
func lingers(home *v1alpha1.NodeConfig) bool { return home != nil && home.DeletionTimestamp != nil }

// enroll gives a NodeConfig to those that have none, some at a time: all nodes of a new fleet are such.
func (f *Fleet) enroll(ctx context.Context, nodes []corev1.Node, homes map[string]*v1alpha1.NodeConfig) error {
	if !f.Enroll {
		return nil
	}
	var group sync.WaitGroup
	slots := make(chan struct{}, 8)
	made, errs := make([]*v1alpha1.NodeConfig, len(nodes)), make([]error, len(nodes))
	for i := range nodes {
		if home := homes[nodes[i].Name]; belongs(home, &nodes[i]) || lingers(home) {
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			made[i], errs[i] = f.home(ctx, &nodes[i])
		})
	}
	group.Wait()
	for i, home := range made {
		if home != nil {
			homes[nodes[i].Name] = home
		}
	}
	return errors.Join(errs...)
}

// home is the node's NodeConfig, made where there is none. It goes with its node.
func (f *Fleet) home(ctx context.Context, node *corev1.Node) (*v1alpha1.NodeConfig, error) {
	for range again {
		home, err := f.Client.configs.Get(ctx, node.Name, metav1.GetOptions{})
		switch {
		case err == nil && belongs(home, node):
			return home, nil
		case err == nil: // of an earlier node of that name; what it says is not of this machine
			err = f.Client.configs.Delete(ctx, home.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &home.UID}})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return nil, fmt.Errorf("delete NodeConfig %s of an earlier node: %w", node.Name, err)
			}
		case !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("read NodeConfig %s: %w", node.Name, err)
		}
		home = &v1alpha1.NodeConfig{ObjectMeta: metav1.ObjectMeta{
			Name:            node.Name,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}},
		}}
		home, err = f.Client.configs.Create(ctx, home, creating)
		if !apierrors.IsAlreadyExists(err) {
			if err != nil {
				return nil, fmt.Errorf("make NodeConfig %s: %w", node.Name, err)
			}
			return home, nil
		}
	}
	return nil, fmt.Errorf("make NodeConfig %s: others write it, too", node.Name)
}

// Send writes a node's order, unless the node has a newer one. The server refuses an older one, too.
func (f *Fleet) Send(ctx context.Context, order nodeops.Order) error {
	spec, err := v1alpha1.SpecOf(order)
	if err != nil {
		return err
	}
	if f.memory.recalled[order.Node] && impact.Drains(order.Ceiling) {
		if drained, _, err := f.emptiness(ctx, f.memory.node(order.Node)); err != nil || !drained {
			return cmp.Or(err, errors.New("pods have come to it since it was emptied"))
		}
	}
	for i := range again {
		home := f.memory.home(order.Node)
		if i > 0 || home == nil {
			node, err := f.Client.core.CoreV1().Nodes().Get(ctx, order.Node, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if home, err = f.home(ctx, node); err != nil {
				return err
			}
		}
		has, wrong := home.Spec.Order(order.Node)
		if home.Spec.Generation > spec.Generation {
			return fmt.Errorf("node has the newer generation %d", home.Spec.Generation)
		}
		if want, err := spec.Order(order.Node); err == nil && wrong == nil && reflect.DeepEqual(want, has) {
			return nil
		}
		home.Spec = spec
		if home, err = f.Client.configs.Update(ctx, home, updating); err == nil {
			f.memory.noteHome(home)
		}
		if gone := apierrors.IsNotFound(err) && i == 0; !gone && !apierrors.IsConflict(err) {
			return err
		}
	}
	return errors.New("others write its NodeConfig, too")
}

// lookInto finds out of the nodes under our cordon whether they are empty.
func (f *Fleet) lookInto(ctx context.Context, out []reconciler.Node) error {
	var ours []*reconciler.Node
	for i := range out {
		if out[i].Cordon == reconciler.Ours {
			ours = append(ours, &out[i])
		}
	}
	var group sync.WaitGroup
	slots := make(chan struct{}, 8)
	errs := make([]error, len(ours))
	for i, n := range ours {
		if len(ours) > crowd && f.recall(n) {
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			n.Drained, n.Blocked, errs[i] = f.emptiness(ctx, f.memory.node(n.Name))
			if !f.Enroll && apierrors.IsForbidden(errs[i]) {
				errs[i] = nil // who only reads, and no pods, is not told how empty it is
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// forget drops what is known of drains of nodes that are gone.
func (f *Fleet) forget(there []reconciler.Node) {
	f.mu.Lock()
	gone := maps.Clone(f.drains)
	f.mu.Unlock()
	for _, n := range there {
		delete(gone, n.Name)
	}
	for name := range gone {
		f.halt(name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.emptied, func(_ string, at time.Time) bool { return time.Since(at) > trusted })
}
