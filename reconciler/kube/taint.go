package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// outdated is the taint of nodes that are yet to be emptied for an update: pods rather go elsewhere,
// as MCO main does, so that none is evicted twice. It never keeps a pod out.
var outdated = corev1.Taint{Key: "sluice.dev/outdated", Effect: corev1.TaintEffectPreferNoSchedule}

// mostMarks is how many nodes one call marks: orders come first, and the next call goes on.
const mostMarks = 25

// Mark taints the nodes of which the map says true, and takes our taint from those of which it says
// false. It is a loop.Marker. It goes by what Nodes has seen last, and writes only what differs. A
// node that is cordoned needs none: the cordon's own write has taken it.
func (f *Fleet) Mark(ctx context.Context, want map[string]bool) error {
	var errs []error
	left := mostMarks
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if want[name] == f.tainted(name) || left == 0 {
			continue
		}
		left--
		err := f.edit(ctx, name, func(n *corev1.Node) (map[string]any, map[string]any, error) {
			has := slices.ContainsFunc(n.Spec.Taints, isOutdated)
			switch {
			case has == want[name], !has && n.Spec.Unschedulable:
				return nil, nil, nil
			case has:
				return nil, map[string]any{"taints": untainted(n)}, nil
			}
			return nil, map[string]any{"taints": append(slices.Clone(n.Spec.Taints), outdated)}, nil
		})
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("mark node %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// tainted says that a node had our taint when it was seen last.
func (f *Fleet) tainted(name string) bool {
	n := f.memory.node(name)
	return n != nil && slices.ContainsFunc(n.Spec.Taints, isOutdated)
}

// isOutdated says that a taint is ours. One of our key and another effect is somebody else's.
func isOutdated(t corev1.Taint) bool { return t.Key == outdated.Key && t.Effect == outdated.Effect }

func untainted(n *corev1.Node) []corev1.Taint {
	return slices.DeleteFunc(slices.Clone(n.Spec.Taints), isOutdated)
}
