package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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
	return d.holds(spec)
}

func (d Desk) holds(spec v1alpha1.FleetSpec) (out []policy.Hold, err error) {
	for i, h := range spec.Holds {
		hold, err := Hold(h)
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
	fleet, err := d.fleet(ctx)
	if err != nil {
		return v1alpha1.FleetSpec{}, err
	}
	return fleet.Spec, nil
}

func (d Desk) fleet(ctx context.Context) (*v1alpha1.Fleet, error) {
	fleet, err := d.Client.fleets.Get(ctx, d.Fleet, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("there is no Fleet %s: make one; where the cluster does not know the kind, apply its definitions first", d.Fleet)
	}
	if err != nil {
		return nil, fmt.Errorf("read Fleet %s: %w", d.Fleet, err)
	}
	return fleet, nil
}

// Hold adds a hold. One of the same person on the same pool is replaced; somebody else's stays.
func (d Desk) Hold(ctx context.Context, h policy.Hold) error {
	added, err := HoldOf(h)
	if err != nil {
		return err
	}
	return d.change(ctx, func(spec v1alpha1.FleetSpec) map[string]any {
		kept := slices.DeleteFunc(slices.Clone(spec.Holds), func(old v1alpha1.Hold) bool {
			is, err := Hold(old)
			return err == nil && (is.Pool == h.Pool && is.By == h.By || !is.Until.IsZero() && !h.Since.Before(is.Until))
		})
		return map[string]any{"holds": append(kept, added)}
	})
}

// Release takes away every hold for which mine says so, and returns them.
func (d Desk) Release(ctx context.Context, mine func(policy.Hold) bool) (gone []policy.Hold, err error) {
	err = d.change(ctx, func(spec v1alpha1.FleetSpec) map[string]any {
		gone = nil
		kept := []v1alpha1.Hold{}
		for _, raw := range spec.Holds {
			h, err := Hold(raw)
			if err != nil { // whoever wrote its times badly may still take it away
				h = policy.Hold{Pool: raw.Pool, By: raw.By, Reason: raw.Reason}
			}
			if mine(h) {
				gone = append(gone, h)
			} else {
				kept = append(kept, raw)
			}
		}
		if len(gone) == 0 {
			return nil
		}
		return map[string]any{"holds": kept}
	})
	if err != nil {
		return nil, err
	}
	return gone, nil
}

// Allow lets the fleet follow this commit although its branch was rewritten.
func (d Desk) Allow(ctx context.Context, commit string) error {
	return d.change(ctx, func(v1alpha1.FleetSpec) map[string]any { return map[string]any{"rewind": commit} })
}

// change is one person's turn at the spec: it replaces the fields that what names, if the object is
// still the one that was read. Fields of another version are left as they are. Every write of the
// controller's status comes in between as well, so it is tried until the context ends, or for a
// minute.
func (d Desk) change(ctx context.Context, what func(v1alpha1.FleetSpec) map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		fleet, err := d.fleet(ctx)
		if err != nil {
			return err
		}
		fields := what(fleet.Spec)
		if fields == nil {
			return nil
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": fleet.ResourceVersion}, "spec": fields})
		if err != nil {
			return err
		}
		_, err = d.Client.fleets.Patch(ctx, d.Fleet, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "sluice-cli"})
		switch {
		case err == nil:
			return nil
		case apierrors.IsForbidden(err), apierrors.IsInvalid(err) && strings.Contains(err.Error(), "denied request"): // a policy chooses either
			return d.forbidden(ctx, err)
		case !apierrors.IsConflict(err):
			return fmt.Errorf("change Fleet %s: %w", d.Fleet, err)
		}
	}
}

// forbidden says which rights a change of the Fleet lacks. An admission policy asks for the verb
// hold, which stands in no built-in role.
func (d Desk) forbidden(ctx context.Context, refusal error) error {
	var lacks []string
	for _, verb := range []string{"patch", "hold"} {
		ask := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Group: v1alpha1.GroupVersion.Group, Resource: "fleets", Name: d.Fleet, Verb: verb},
		}}
		answer, err := d.Client.core.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, ask, metav1.CreateOptions{})
		if err == nil && !answer.Status.Allowed {
			lacks = append(lacks, fmt.Sprintf("%q", verb))
		}
	}
	if len(lacks) == 0 {
		return fmt.Errorf("change Fleet %s: %w", d.Fleet, refusal)
	}
	who, err := d.Client.Me(ctx)
	if err != nil {
		who = "this account"
	}
	return fmt.Errorf("change Fleet %s: %s lacks the verb %s on fleets.sluice.dev; ask for a role that has it: %w",
		d.Fleet, who, strings.Join(lacks, " and "), refusal)
}

// Me is the name by which the server knows whoever asks.
func (c *Client) Me(ctx context.Context) (string, error) {
	answer, err := c.core.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("ask who this is: %w", err)
	}
	if answer.Status.UserInfo.Username == "" {
		return "", errors.New("ask who this is: the server does not say")
	}
	return answer.Status.UserInfo.Username, nil
}
