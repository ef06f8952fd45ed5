package kube

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-gitops/sluice/reconciler"
)

// mark is the annotation of a node that we cordoned: the fleet's name.
const mark = "sluice.dev/cordoned-by"

// cordon says whose a node's cordon is.
func (f *Fleet) cordon(n *corev1.Node) reconciler.Cordon {
	switch {
	case !n.Spec.Unschedulable:
		return reconciler.Uncordoned // what is left of our mark means nothing
	case n.Annotations[mark] == f.Name && signed(n):
		return reconciler.Ours
	}
	return reconciler.Foreign
}

// signed says that the cordon itself is of our hand. The mark alone does not: somebody may have
// lifted our cordon and set one of his own. Where the server does not say whose it is, the mark
// counts.
func signed(n *corev1.Node) bool {
	known := false
	for _, entry := range n.ManagedFields {
		if entry.FieldsV1 == nil || entry.Subresource != "" {
			continue
		}
		var fields struct {
			Spec map[string]json.RawMessage `json:"f:spec"`
		}
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		if _, has := fields.Spec["f:unschedulable"]; has {
			if entry.Manager == manager {
				return true
			}
			known = true
		}
	}
	return !known
}

// Uncordon ends a drain of ours and releases our cordon. Somebody else's stays, and a node that is
// gone has none.
func (f *Fleet) Uncordon(ctx context.Context, node string) error {
	f.halt(node)
	err := f.sign(ctx, node, nil, func(n *corev1.Node) (bool, error) { return f.cordon(n) == reconciler.Ours, nil })
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// takeOff cordons a node as ours, and says whether it was not.
func (f *Fleet) takeOff(ctx context.Context, name string) (taken bool, err error) {
	err = f.sign(ctx, name, &f.Name, func(n *corev1.Node) (bool, error) {
		whose := f.cordon(n)
		if whose == reconciler.Foreign {
			return false, errors.New("node is cordoned by somebody else")
		}
		taken = whose == reconciler.Uncordoned
		return taken, nil
	})
	return taken, err
}

// clean takes our mark from a node that is not cordoned: a cordon that comes later is not ours.
func (f *Fleet) clean(ctx context.Context, n *corev1.Node) error {
	left := func(n *corev1.Node) bool { return !n.Spec.Unschedulable && n.Annotations[mark] == f.Name }
	if !left(n) {
		return nil
	}
	err := f.sign(ctx, n.Name, nil, func(n *corev1.Node) (bool, error) { return left(n), nil })
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// sign sets mark and cordon in one write, or takes both away where owner is nil, if the node is
// still as the question has seen it. Somebody who cordons it between the two is asked about anew.
// Our taint goes with it: a node that is cordoned needs none, and one that comes back is up to date.
func (f *Fleet) sign(ctx context.Context, name string, owner *string, wanted func(*corev1.Node) (bool, error)) error {
	return f.edit(ctx, name, func(n *corev1.Node) (meta, spec map[string]any, err error) {
		if do, err := wanted(n); !do || err != nil {
			return nil, nil, err
		}
		spec = map[string]any{"unschedulable": owner != nil}
		if slices.ContainsFunc(n.Spec.Taints, isOutdated) {
			spec["taints"] = untainted(n)
		}
		return map[string]any{"annotations": map[string]*string{mark: owner}}, spec, nil
	})
}

// edit writes fields of a node at the version at which they were found out; none is no write.
func (f *Fleet) edit(ctx context.Context, name string, change func(*corev1.Node) (meta, spec map[string]any, err error)) error {
	nodes := f.Client.core.CoreV1().Nodes()
	for i := range again {
		n := f.memory.node(name)
		if i > 0 || n == nil {
			var err error
			if n, err = nodes.Get(ctx, name, metav1.GetOptions{}); err != nil {
				return err
			}
		}
		meta, spec, err := change(n)
		if err != nil || spec == nil {
			return err
		}
		if meta == nil {
			meta = map[string]any{}
		}
		meta["uid"], meta["resourceVersion"] = n.UID, n.ResourceVersion
		patch, err := json.Marshal(map[string]any{"metadata": meta, "spec": spec})
		if err != nil {
			return err
		}
		if n, err = nodes.Patch(ctx, name, types.MergePatchType, patch, patching); err == nil {
			f.memory.note(n)
		}
		if !apierrors.IsConflict(err) {
			return err
		}
	}
	return errors.New("node changes faster than it can be written")
}
