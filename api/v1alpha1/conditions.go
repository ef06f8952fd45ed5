package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/nodeops"
)

// The conditions that tools which wait for objects know (kstatus). Ready is always there;
// Reconciling and Stalled only while they are true.
const (
	Ready       = "Ready"
	Reconciling = "Reconciling" // it is on its way
	Stalled     = "Stalled"     // it does not come further by itself
)

// Standing is how an object stands: "" is ready, else Reconciling or Stalled.
type Standing struct {
	Type    string
	Reason  string // one word, upper camel case
	Message string
}

// Conditions are those that show a standing. A condition that stays as it was keeps its time.
func (s Standing) Conditions(was []metav1.Condition, generation int64, now metav1.Time) []metav1.Condition {
	out := append([]metav1.Condition(nil), was...)
	for _, abnormal := range []string{Reconciling, Stalled} {
		if s.Type != abnormal {
			meta.RemoveStatusCondition(&out, abnormal)
			continue
		}
		meta.SetStatusCondition(&out, metav1.Condition{
			Type: abnormal, Status: metav1.ConditionTrue, Reason: s.Reason, Message: s.Message, ObservedGeneration: generation, LastTransitionTime: now,
		})
	}
	ready := metav1.ConditionFalse
	if s.Type == "" {
		ready = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&out, metav1.Condition{
		Type: Ready, Status: ready, Reason: s.Reason, Message: s.Message, ObservedGeneration: generation, LastTransitionTime: now,
	})
	return out
}

// Say makes the status of a NodeConfig what its agent reports, conditions included. Where nothing
// else has changed, the status is what it was.
func (n *NodeConfig) Say(r nodeops.Report, now metav1.Time) error {
	said := NodeConfigStatus{}
	if err := Carry(r, &said); err != nil {
		return err
	}
	said.ObservedGeneration = n.Generation
	said.Conditions = standing(n.Spec.Generation, r).Conditions(n.Status.Conditions, n.Generation, now)
	n.Status = said
	return nil
}

// standing is how a node stands to the order of that generation.
func standing(ordered int64, r nodeops.Report) Standing {
	switch {
	case ordered > 0 && r.Generation < uint64(ordered):
		return Standing{Reconciling, "Ordered", "the agent has not taken up the newest order"}
	case r.Phase == nodeops.Working:
		return Standing{Reconciling, "Working", r.Why}
	case r.Phase == nodeops.Failed:
		return Standing{Stalled, "Failed", r.Why}
	case r.Phase == nodeops.Restored:
		return Standing{Stalled, "Restored", r.Why}
	case r.Phase == nodeops.Refused:
		return Standing{Stalled, "Refused", r.Why}
	case r.Phase == nodeops.Expired:
		return Standing{Stalled, "Expired", r.Why}
	case len(r.Drift) > 0:
		return Standing{Stalled, "Drifted", "first at " + r.Drift[0].Path + ": " + r.Drift[0].Why}
	case r.Phase == nodeops.Idle:
		return Standing{"", "Idle", "no order was given"}
	}
	return Standing{"", "Done", "the node is what was ordered"}
}
