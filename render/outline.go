package render

import (
	"fmt"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
)

// Outline is a pool without its config, and without the files that brought it: what can be kept of a
// revision that nobody may be able to read again.
type Outline struct {
	Of       string         `json:"of"` // the commit
	Name     string         `json:"name"`
	Selector string         `json:"selector,omitempty"` // of its nodes, as labels are written; "" selects none
	Strategy Strategy       `json:"strategy"`
	Policy   policy.Rollout `json:"policy"`
	Rules    []impact.Rule  `json:"rules,omitempty"`
	Target   machine.Digest `json:"target"`
}

// Outline is the pool as it can be kept.
func (p Pool) Outline(commit string) Outline {
	o := Outline{Of: commit, Name: p.Name, Strategy: p.Strategy, Policy: p.Policy, Rules: p.Rules, Target: p.Target()}
	if p.Selector != nil {
		o.Selector = p.Selector.String()
	}
	return o
}

// Pool is the pool again, with the config of its target. Another config is an error.
func (o Outline) Pool(c machine.Config) (Pool, error) {
	if got := c.Digest(); got != o.Target {
		return Pool{}, fmt.Errorf("pool %s: config is %s, want %s", o.Name, got.Short(), o.Target.Short())
	}
	selector, err := labels.Parse(o.Selector)
	if err != nil {
		return Pool{}, fmt.Errorf("pool %s: selector: %w", o.Name, err)
	}
	return Pool{Name: o.Name, Selector: selector, Strategy: o.Strategy, Policy: o.Policy, Rules: o.Rules, Config: c, Digest: o.Target}, nil
}
