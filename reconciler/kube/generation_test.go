package kube

import (
	"math"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/source"
)

// Orders are newer than all that nodes report. A node that is in the wrong hands may write its own
// status, and must not use up the numbers for the orders of all others.
func TestOneNodeCannotUseUpTheGenerationsOfAll(t *testing.T) {
	for name, c := range map[string]struct {
		ordered, reported int64
		want              uint64 // what the fleet's next attempt must be newer than
		believed          bool
	}{
		"its order's":                         {9, 9, 9, true},
		"of an order that the cluster lost":   {0, 40, 40, true},
		"the greatest that there is":          {9, math.MaxInt64, 9, false},
		"the greatest, and no order":          {0, math.MaxInt64, 7, false},
		"more than a fleet ever orders":       {9, farthest + 1, 9, false},
		"its order's, in a fleet that is old": {farthest + 5, farthest + 5, farthest + 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "w1"}}
			node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
			home := &v1alpha1.NodeConfig{ObjectMeta: metav1.ObjectMeta{Name: "w1"}}
			if home.Spec.Generation = c.ordered; c.ordered > 0 {
				home.Spec.Config, home.Spec.Ceiling = strings.Repeat("a", 64), "none"
			}
			home.Status.Generation, home.Status.Phase, home.Status.BootID = c.reported, string(nodeops.Done), "b"

			n := (&Fleet{Name: "f"}).picture(node, home)
			if n.Ready != c.believed || strings.Contains(n.Report.Why, "status.generation") == c.believed {
				t.Errorf("the node is ready: %v, and says %q; its report is to be believed: %v", n.Ready, n.Report.Why, c.believed)
			}
			seen := reconciler.Observed{Head: reconciler.Head{Revision: source.Revision{Commit: "c1"}}, Nodes: []reconciler.Node{n}}
			if next, _ := reconciler.Step(reconciler.State{Generation: 7}, seen); next.Generation != c.want {
				t.Errorf("orders will be newer than %d, want %d", next.Generation, c.want)
			}
		})
	}
}
