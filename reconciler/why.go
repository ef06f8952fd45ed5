package reconciler

import (
	"fmt"
	"slices"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
)

// listener hears how one node stands with its pool.
type listener func(pool string, e *errand, why []policy.Finding)

// Standing is how one node stands on its way to what its pool should be.
type Standing struct {
	Pool    string           `json:"pool,omitempty"` // "" is none
	Cost    impact.Kind      `json:"cost"`           // what the way costs it
	Reached bool             `json:"reached"`
	Why     []policy.Finding `json:"why,omitempty"` // what it waits for, or why it does not get there
}

// Stand says of every node how it would stand if the next step were now. It decides as Step does
// and changes nothing. It is how a reason is found for each of a hundred thousand nodes without
// anybody remembering them.
func Stand(s State, o Observed) map[string]Standing {
	s = s.clone()
	out := make(map[string]Standing, len(o.Nodes))
	s.Good = o.Head.Revision
	s.turn(o, func(pool string, e *errand, why []policy.Finding) {
		out[e.Name] = Standing{Pool: pool, Cost: impact.Worst(e.cost), Reached: e.reached && e.Cordon != Ours, Why: why}
	})
	for name, why := range s.Strays {
		out[name] = Standing{Why: []policy.Finding{{Check: "pool", Outcome: policy.Wait, Reason: why}}}
	}
	return out
}

// tell says how each node of the pool stands after this step.
func (p *Pool) tell(errands []errand, b *bench, listen listener) {
	for i := range errands {
		e := &errands[i]
		why := p.standing(e)
		if ends := p.overrun(e, b); !ends.IsZero() {
			why = append(slices.Clip(why), policy.Finding{Check: "window", Outcome: policy.Warn, Reason: late(ends)})
		}
		listen(b.request.Pool, e, why)
	}
}

func (p *Pool) standing(e *errand) []policy.Finding {
	one := func(check string, o policy.Outcome, why string, args ...any) []policy.Finding {
		return []policy.Finding{{Check: check, Outcome: o, Reason: fmt.Sprintf(why, args...)}}
	}
	switch {
	case e.reached && e.Cordon == Ours:
		return one("cordon", policy.Wait, "is updated, and is handed back")
	case e.reached && p.Spurned != "":
		return one("halt", policy.Deny, "%s", p.Reason())
	case e.reached:
		return nil
	case e.failed:
		return one(string(e.Report.Phase), policy.Deny, "%s", e.Report.Why)
	case p.Skipped[e.Name] != "":
		return one("drain", policy.Deny, "%s: left out until there is a new commit", p.Skipped[e.Name])
	case busy(e.Node) && e.Order.Generation > e.Report.Generation:
		if !e.Ready {
			return one("order", policy.Wait, "has not answered its order yet, and is not ready: bring the machine back, or delete its node")
		}
		return one("order", policy.Wait, "has not answered its order yet: where that lasts, see whether its agent runs")
	case busy(e.Node) || e.asked:
		return one("working", policy.Wait, "is being updated")
	case len(e.held) > 0:
		return e.held
	case p.Halt != "":
		return one("halt", policy.Deny, "%s", p.Halt)
	case e.Cordon == Ours && !e.Drained:
		return one("drain", policy.Wait, "is being emptied")
	case e.Report.Phase == nodeops.Expired:
		return one("order", policy.Wait, "heard of its order after the window, and is asked again")
	}
	return one("turn", policy.Allow, "is begun at the next turn")
}
