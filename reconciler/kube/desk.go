package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/policy"
)

// Desk is what operators ask in the spec of a Fleet. It is a loop.Desk.
type Desk struct {
	Client *Client
	Fleet  string
}

// Holds are all holds, those whose time is over included.
func (d Desk) Holds(ctx context.Context) ([]policy.Hold, error) {
	spec, err := d.Spec(ctx)
	if err != nil {
		return nil, err
	}
	var out []policy.Hold
	for i, h := range spec.Holds {
		hold, err := h.Hold()
		if err != nil {
			return nil, fmt.Errorf("Fleet %s: spec.holds[%d]: %w", d.Fleet, i, err)
		}
		out = append(out, hold)
	}
	return out, nil
}

// Allowed is the commit that may be followed although its branch was rewritten.
func (d Desk) Allowed(ctx context.Context) (string, error) {
	spec, err := d.Spec(ctx)
	return spec.Rewind, err
}

// Spec is all that the operator asks.
func (d Desk) Spec(ctx context.Context) (v1alpha1.FleetSpec, error) {
	fleet, err := d.Client.fleets.Get(ctx, d.Fleet, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return v1alpha1.FleetSpec{}, fmt.Errorf("there is no Fleet %s: make one; where the cluster does not know the kind, apply its definitions first", d.Fleet)
	}
	if err != nil {
		return v1alpha1.FleetSpec{}, fmt.Errorf("read Fleet %s: %w", d.Fleet, err)
	}
	return fleet.Spec, nil
}
