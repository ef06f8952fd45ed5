package preview

import (
	"strings"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/blockers"
)

// obstruct holds the waves of each pool against the cluster: what drain would not get rid of, and
// what goes down meanwhile. What keeps a drain from ending is a finding; it is none of the gate's,
// which hears of it only when the drain's time is over.
func (r *Report) obstruct(in Input) {
	if in.Cluster == nil {
		return
	}
	r.Recorded = in.Cluster.At
	for i := range r.Pools {
		p := &r.Pools[i]
		if len(p.Waves) == 0 {
			continue
		}
		cost := map[string]impact.Kind{}
		for _, kind := range []impact.Kind{impact.Drain, impact.Reboot} {
			for _, name := range p.Nodes[kind.String()] {
				cost[name] = kind
			}
		}
		d := drainRules(in, p)
		found, totals := blockers.Find(in.Cluster, p.Waves, func(node string) impact.Kind { return cost[node] }, d)
		p.Blockers = found
		if totals.Nodes > 0 {
			p.Pods = &totals
		}
		for _, x := range found {
			if x.Kind == blockers.Unknown { // what is not in the record is not out of the way
				r.note(policy.Finding{Check: "cluster", Outcome: policy.Warn, Reason: "pool " + p.Name + ": " + strings.TrimPrefix(x.Object()+": ", ": ") + x.Reason})
			}
		}
		if why := blockers.Summary(found, d); why != "" {
			r.note(policy.Finding{Check: "drain", Outcome: policy.Warn, Reason: "pool " + p.Name + ": " + why})
		}
	}
}

// drainRules are those that the controller will empty the nodes by.
func drainRules(in Input, p *Pool) policy.Drain {
	name := p.Name
	if p.Was != "" {
		name = p.Was
	}
	head := find(in.After, p.Name).Policy
	here := head
	if st, ok := in.State.Pools[name]; ok {
		here = st.Rules.Rollout
	} else if has(in.Standing, name) {
		here = find(in.Standing, name).Policy
	}
	return reconciler.DrainRules(here, head, in.Guardrail)
}
