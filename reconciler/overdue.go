package reconciler

import (
	"fmt"
	"time"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
)

// An agent takes up an order within seconds, and says so before it reboots. What takes longer than
// this is told to people: only they can see whether it runs, and whether the machine comes back.
const (
	unanswered = 10 * time.Minute // that an order has no answer
	unfinished = 30 * time.Minute // that a node is at it, or twice what is expected where that is more
)

// clockOrders notes since when nodes have the order of this attempt. It is kept until they are
// there, whatever they answer: an answer alone saves nothing.
func (p Pool) clockOrders(errands []errand, effects []Effect, now time.Time) Pool {
	sent := map[string]bool{}
	for _, f := range effects {
		if s, ok := f.(Send); ok {
			sent[s.Order.Node] = true
		}
	}
	var at map[string]time.Time
	for i := range errands {
		e := &errands[i]
		since, known := p.Ordered[e.Name]
		switch {
		case sent[e.Name], !known && e.asked && !e.reached && !e.failed:
			since = now
		case !known, !e.asked, e.reached, e.failed:
			continue
		}
		if at == nil {
			at = map[string]time.Time{}
		}
		at[e.Name] = since
	}
	p.Ordered = at
	return p
}

// overdue names the nodes of which nothing is heard any more although they have an order: nothing
// else would say of a pool whose last node is such a one what it waits for. A few of them say enough.
func (p *Pool) overdue(errands []errand, now time.Time) (out []policy.Finding) {
	for i := range errands {
		e := &errands[i]
		if why := p.silence(e, now); why != "" && len(out) < 5 {
			out = append(out, policy.Finding{Check: "order", Outcome: policy.Wait, Reason: "node " + e.Name + " " + why})
		}
	}
	return out
}

// silence is what there is to say of a node that has had its order for too long; "" where it has not.
// It stays the same as the machine comes and goes: each other word would be another status.
func (p *Pool) silence(e *errand, now time.Time) string {
	since, ordered := p.Ordered[e.Name]
	if !ordered || e.reached || e.failed || !busy(e.Node) {
		return ""
	}
	what, limit := "has not answered", unanswered
	if answered(e.Node) {
		kind, _ := impact.ParseKind(p.Begun[e.Name].Kind)
		what, limit = "is not done", max(unfinished, 2*p.expected(kind))
	}
	if now.Sub(since) < limit {
		return ""
	}
	return fmt.Sprintf("has had its order since %s and %s: see whether its agent runs, bring the machine back, or delete its node", minute(since), what)
}

// drifted names the nodes that are at the target and no longer as they were made.
func drifted(errands []errand) (out []policy.Finding) {
	for i := range errands {
		if e := &errands[i]; len(e.Report.Drift) > 0 && len(out) < 10 {
			why := policy.Drifted(e.Name, e.Report.Drift) + ": put it back, or commit it; sluice why " + e.Name + " says how it differs"
			out = append(out, policy.Finding{Check: "drift", Outcome: policy.Wait, Reason: why})
		}
	}
	return out
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
