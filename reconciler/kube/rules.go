package kube

import (
	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/policy"
)

// Rollout are rules of a Fleet as the gate knows them. A field that the gate does not know is an
// error; mistakes in what the rules say are found by their own Problems.
func Rollout(r v1alpha1.Rollout) (policy.Rollout, error) { return carried[policy.Rollout](r) }

// RolloutOf are rules as they are written into the cluster.
func RolloutOf(r policy.Rollout) (v1alpha1.Rollout, error) { return carried[v1alpha1.Rollout](r) }

// Hold is a hold of a Fleet as the gate knows it.
func Hold(h v1alpha1.Hold) (policy.Hold, error) { return carried[policy.Hold](h) }

// HoldOf is a hold as it is written into the cluster.
func HoldOf(h policy.Hold) (v1alpha1.Hold, error) { return carried[v1alpha1.Hold](h) }

func carried[T any](from any) (to T, err error) {
	err = v1alpha1.Carry(from, &to)
	return to, err
}
