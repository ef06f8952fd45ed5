// Package preview says before a merge what a change will do to which nodes, in which order. It
// runs the real Step on the nodes as they are, with machines that always succeed. It is pure.
package preview

import (
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
)

// Input is all that a preview looks at.
type Input struct {
	Base, Head string            // commits: what the followed branch is at, and what is proposed
	MergeBase  string            // where the proposal left the branch: what it changes is counted from here
	Before     []render.Pool     // of the merge base
	After      []render.Pool     // of the proposed head
	Notices    []string          // what render noticed in the head and not in the merge base
	State      reconciler.State  // as remembered; the zero State stands for a fleet at rest on Before
	Nodes      []reconciler.Node // the inventory; a node that never had an order is taken to be at Before
	Known      map[machine.Digest]machine.Config
	Rules      []impact.Rule
	Gate       policy.Gate
	Now        time.Time
}

// Report is what a proposal would do.
type Report struct {
	Base      string           `json:"base"`
	Head      string           `json:"head"`
	MergeBase string           `json:"mergeBase"`
	Verdict   policy.Outcome   `json:"verdict"`
	Findings  []policy.Finding `json:"findings"`
	Pools     []Pool           `json:"pools"`
	Inventory int              `json:"inventory"` // nodes that were looked at; 0 means that none were known
	Assumed   int              `json:"assumed"`   // of them, those that say nothing of themselves: taken to be at the base
}

// Pool is what a proposal would do to one pool.
type Pool struct {
	Name       string              `json:"name"`
	Changed    bool                `json:"changed"` // by the proposal: merge base against head
	Kind       impact.Kind         `json:"kind"`
	Drain      bool                `json:"drain"`
	Actions    []Cause             `json:"actions"`
	Cheaper    *impact.Cheaper     `json:"cheaper,omitempty"` // how the change could be split to disturb less
	Changes    []Change            `json:"changes"`
	Nodes      map[string][]string `json:"nodes"` // kind -> nodes, from what each node has now
	Waves      [][]string          `json:"waves"` // nodes that are taken together, in order
	RollbackOf string              `json:"rollbackOf,omitempty"`
	Held       []policy.Finding    `json:"held,omitempty"` // what stands between the merge and the first node
	Start      time.Time           `json:"start,omitzero"` // when the first node is taken, if not at once
	blocked    string              // what cannot be changed in place, and where
	Left       []string            `json:"left,omitempty"`     // nodes that no wave reaches, for the reasons in Held
	Estimate   *Estimate           `json:"estimate,omitempty"` // nil where the nodes have no history
}

// Cause is an action and the file of the repository that brought what asks for it.
type Cause struct {
	impact.Action
	File string `json:"file,omitempty"`
}

// Make is the preview of one proposal.
func Make(in Input) Report {
	r := Report{Base: in.Base, Head: in.Head, MergeBase: in.MergeBase, Findings: []policy.Finding{}, Pools: []Pool{}, Inventory: len(in.Nodes)}
	in.Before, in.After = digested(in.Before), digested(in.After)
	w := rest(in)
	r.Assumed = w.assumed
	for _, after := range in.After {
		r.Pools = append(r.Pools, w.compare(in, after))
	}
	for _, before := range in.Before {
		if !slices.ContainsFunc(in.After, func(p render.Pool) bool { return p.Name == before.Name }) {
			r.note(policy.Finding{Check: "pool", Outcome: policy.Warn, Reason: "pool " + before.Name + " goes: its nodes stay as they are, without a pool"})
		}
	}
	for _, n := range in.Notices {
		r.note(policy.Finding{Check: "render", Outcome: policy.Warn, Reason: n})
	}
	w.run(r.Pools)
	for i, p := range r.Pools {
		r.Pools[i].Estimate = estimate(p, in.State.Pools[p.Name], find(in.After, p.Name).Policy)
	}
	for _, p := range r.Pools {
		for _, f := range p.Held {
			r.note(f)
		}
	}
	return r
}

// digested makes sure that no digest is computed again at every step.
func digested(pools []render.Pool) []render.Pool {
	pools = slices.Clone(pools)
	for i := range pools {
		pools[i].Digest = pools[i].Target()
	}
	return pools
}

func (r *Report) note(f policy.Finding) {
	r.Verdict = max(r.Verdict, f.Outcome)
	if !slices.Contains(r.Findings, f) {
		r.Findings = append(r.Findings, f)
	}
}

// compare says what the proposal changes in a pool, and what each of its nodes pays for it.
func (w *world) compare(in Input, after render.Pool) Pool {
	before := find(in.Before, after.Name)
	p := Pool{
		Name: after.Name, Changed: before.Target() != after.Target(),
		Actions: []Cause{}, Nodes: map[string][]string{}, Waves: [][]string{}, Changes: changes(before, after),
	}
	for _, a := range impact.Diff(before.Config, after.Config, in.Rules) {
		c := Cause{a, origin(after, a.Cause)}
		if c.File == "" {
			c.File = origin(before, a.Cause) // it was taken away
		}
		p.Actions = append(p.Actions, c)
		p.Kind = max(p.Kind, a.Kind)
		if a.Kind == impact.Impossible && p.blocked == "" {
			p.blocked = a.Cause
		}
	}
	if c, ok := impact.FindCheaper(before.Config, after.Config, in.Rules); ok {
		p.Cheaper = &c
	}
	paid := map[machine.Digest]impact.Kind{}
	for _, n := range w.seen.Nodes {
		if w.member[n.Name] != after.Name {
			continue
		}
		has := n.Report.Config
		if has == after.Target() {
			p.Nodes["unchanged"] = append(p.Nodes["unchanged"], n.Name)
			continue
		}
		kind, ok := paid[has]
		if !ok {
			var cause string
			kind, cause = w.price(has, after.Config, in.Rules)
			paid[has] = kind
			if kind == impact.Impossible && p.blocked == "" {
				p.blocked = "node " + n.Name + ": " + cause
			}
		}
		p.Nodes[kind.String()] = append(p.Nodes[kind.String()], n.Name)
		p.Kind = max(p.Kind, kind)
	}
	p.Drain = impact.Drains(p.Kind)
	for _, a := range p.Actions {
		p.Drain = p.Drain || a.Kind == impact.Drain
	}
	return p
}

// price is the kind of a move from what a node has, and what makes it so. What is not known costs
// a reboot.
func (w *world) price(has machine.Digest, to machine.Config, rules []impact.Rule) (impact.Kind, string) {
	old, ok := w.seen.Known[has]
	if !ok && has != "" {
		return impact.Reboot, "a config that is not known any more"
	}
	actions := impact.Diff(old, to, rules)
	worst := impact.Worst(actions)
	for _, a := range actions {
		if a.Kind == worst {
			return worst, a.Cause
		}
	}
	return worst, ""
}

func find(pools []render.Pool, name string) render.Pool {
	for _, p := range pools {
		if p.Name == name {
			return p
		}
	}
	return render.Pool{Name: name}
}
