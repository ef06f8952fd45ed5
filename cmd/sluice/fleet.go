package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// render is what a commit amounts to for this fleet.
func (s snapshot) render(ctx context.Context, commit string) ([]render.Pool, error) {
	r, err := s.place.rules(s.Nodes)
	if err != nil {
		return nil, err
	}
	repo, err := s.place.repository(ctx)
	if err != nil {
		return nil, err
	}
	tree, err := repo.Tree(commit)
	if err != nil {
		return nil, err
	}
	result, err := renderTree(tree, nil, r.options)
	return result.Pools, err
}

// outer are the checks that ask the world beside the fleet, which nobody asks here. True is for
// those that let a node go on that was begun.
var outer = map[string]bool{"approvals": false, "signed": false, "previewMatch": false, "health": true, "expression": true}

// gate is what the controller asks; outer checks answer what it heard last, which stands in the
// pools' own reasons. Left out, they would let nodes begin here, for which others seem to wait.
func (s snapshot) gate() policy.Gate {
	gate := slices.DeleteFunc(policy.Default(), func(c policy.Check) bool { _, asks := outer[c.Name]; return asks })
	for _, name := range s.pools() {
		for _, f := range s.State.Pools[name].Waiting {
			lets, asks := outer[f.Check]
			if !asks {
				continue
			}
			gate = append(gate, policy.Check{Name: f.Check, Run: func(r policy.Request) (policy.Outcome, string) {
				if r.Pool != name || r.Begun && lets {
					return policy.Allow, ""
				}
				return f.Outcome, f.Reason
			}})
		}
	}
	return gate
}

// photograph is what the controller would see now; what it asks of others is as it heard it last.
func (s snapshot) photograph(ctx context.Context) (o reconciler.Observed, err error) {
	o = reconciler.Observed{Now: s.now, Nodes: s.Nodes, Holds: s.Holds, Gate: s.gate()}
	o.Head.Revision = s.State.Good
	if o.Head.Revision.Commit == "" {
		return o, fmt.Errorf("no revision of the repository was ever seen")
	}
	if o.Head.Pools, err = s.render(ctx, s.State.Good.Commit); err != nil {
		return o, fmt.Errorf("render %s: %w", s.State.Good.Short(), err)
	}
	r, err := s.place.rules(s.Nodes)
	if err != nil {
		return o, err
	}
	o.Guardrail, o.Self = r.guardrail, r.self
	if st := s.State.Refused; len(st) > 0 && st[0].State == source.Pending {
		o.Rewound = &reconciler.Broken{Revision: source.Revision{Commit: st[0].Commit}, Why: strings.TrimPrefix(st[0].Summary, "held: ")}
	}
	if o.Known, err = known(ctx, r.config, s.State, s.Nodes); err != nil {
		return o, err
	}
	for _, p := range o.Head.Pools {
		o.Known[p.Target()] = p.Config
	}
	return o, nil
}

// standing says what the nodes of a pool, or one node, wait for, and what comes when a pause or a
// hold ends. What it can say stands beside an error, too.
func (s snapshot) standing(ctx context.Context, name string) (out []reason, err error) {
	if s.Partial != "" {
		return s.ordered(name), errors.New(s.Partial)
	}
	seen, err := s.photograph(ctx)
	if err != nil {
		return s.ordered(name), err
	}
	all := reconciler.Stand(s.State, seen)
	for _, n := range s.Nodes {
		if n.Name != name && all[n.Name].Pool == name { // of a node itself, why has it already
			out = append(out, s.trouble(n)...)
		}
	}
	if _, crewed := all[name]; !crewed && len(s.State.Pools) > 0 && slices.ContainsFunc(s.Nodes, func(n reconciler.Node) bool { return n.Name == name }) {
		out = append(out, reason{Node: name, Check: "pool", Outcome: policy.Warn, Reason: "no pool selects it by its labels: it gets no orders, and stays as it is"})
	}
	for _, node := range slices.Sorted(maps.Keys(all)) {
		st := all[node]
		if node != name && (st.Pool == "" || st.Pool != name) {
			continue
		}
		for _, f := range st.Why {
			out = append(out, reason{Pool: st.Pool, Node: node, Check: f.Check, Outcome: f.Outcome, Reason: f.Reason})
		}
	}
	if _, pool := s.State.Pools[name]; pool && (len(s.heldBy(name)) > 0 || s.State.Pools[name].Phase == reconciler.Paused) {
		out = append(out, reason{Pool: name, Check: "resume", Outcome: policy.Allow, Reason: s.resume(ctx, name, all)})
	}
	return out, nil
}

// ordered says which nodes are on their way, by their orders alone.
func (s snapshot) ordered(name string) (out []reason) {
	for _, n := range s.Nodes {
		pool := ""
		for _, p := range s.pools() {
			if n.Order.Config != "" && n.Order.Config == s.State.Pools[p].Target {
				pool = p
			}
		}
		if n.Name != name && (pool == "" || pool != name) {
			continue
		}
		switch {
		case n.Order.Generation > n.Report.Generation:
			out = append(out, reason{Pool: pool, Node: n.Name, Check: "order", Outcome: policy.Wait, Reason: "has not answered its order yet: where that lasts, see whether its agent runs"})
		case n.Report.Phase == nodeops.Working:
			out = append(out, reason{Pool: pool, Node: n.Name, Check: "working", Outcome: policy.Wait, Reason: "is being updated"})
		}
		if n.Name != name {
			out = append(out, s.trouble(n)...)
		}
	}
	return out
}

// resume says what comes to a pool when nothing holds it any more: the commits that it has not
// got, and what they cost its nodes. Those that are under way are finished all the same.
func (s snapshot) resume(ctx context.Context, pool string, all map[string]reconciler.Standing) string {
	kinds, nodes, begun := map[impact.Kind]int{}, 0, 0
	for _, st := range all {
		switch {
		case st.Pool != pool || st.Reached:
		case slices.ContainsFunc(st.Why, func(f policy.Finding) bool { return f.Check == "working" || f.Check == "order" }):
			begun++
		default:
			kinds[st.Cost]++
			nodes++
		}
	}
	switch {
	case nodes == 0 && begun > 0:
		return "when it goes on nothing more comes: all that is left is under way"
	case nodes == 0:
		return "when it goes on nothing comes: every node is what the newest commit asks"
	}
	var costs []string
	for kind := impact.Impossible; kind >= impact.Nothing; kind-- {
		if n := kinds[kind]; n > 0 {
			costs = append(costs, fmt.Sprintf("%d %s", n, kind))
		}
	}
	return fmt.Sprintf("when it goes on %s to %d of %d nodes: %s", s.folded(ctx, pool), nodes, s.State.Pools[pool].Counts.Nodes, strings.Join(costs, ", "))
}

// folded names the commits that come at once.
func (s snapshot) folded(ctx context.Context, pool string) string {
	p := s.State.Pools[pool]
	newest := p.Revision.Commit
	if len(p.History) == 0 || p.History[0].Commit == newest {
		return "commit " + source.Short(newest) + " comes"
	}
	repo, err := s.place.repository(ctx)
	if err != nil {
		return "commit " + source.Short(newest) + " comes"
	}
	between, err := repo.Between(p.History[0].Commit, newest)
	if err != nil || len(between) == 0 {
		return "commit " + source.Short(newest) + " comes"
	}
	return fmt.Sprintf("%d commits (%s to %s) come", len(between)+1, source.Short(between[0]), source.Short(newest))
}
