package loop

import (
	"context"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/source"
)

// Facts knows what checks ask of the world beside the fleet.
type Facts interface {
	// Look finds out what the rules want to know about a revision, within half a minute. What
	// nobody says in time is absent, so there is no error. It asks for nothing that none of the
	// rules wants, and keeps what it hears for some seconds: it is called at every tick.
	Look(ctx context.Context, revision source.Revision, rules []policy.Rollout) policy.Facts
}

// inquire asks for what the rules want to know, of pools that have a way to go: those in force,
// the head's and the operator's. A fleet at rest asks nobody.
func (l *Loop) inquire(ctx context.Context, state reconciler.State, o reconciler.Observed) policy.Facts {
	var rules []policy.Rollout
	for _, want := range o.Head.Pools {
		p := state.Pools[want.Name]
		landed := p.Phase == reconciler.Updated || p.Phase == reconciler.Degraded
		if landed && p.Revision.Commit == o.Head.Revision.Commit || p.Phase == reconciler.Halted && p.Revision.Commit == o.Head.Revision.Commit {
			continue
		}
		rules = append(rules, p.Rules.Rollout, want.Policy)
	}
	if l.Facts == nil || len(rules) == 0 {
		return policy.Facts{}
	}
	if o.Guardrail != nil {
		rules = append(rules, *o.Guardrail)
	}
	return l.Facts.Look(ctx, o.Head.Revision, rules)
}
