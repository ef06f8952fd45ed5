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

// outer are the checks that ask the world beside the fleet. Nobody asks it here: what the
// controller heard of it last stands in the pool's own reasons.
var outer = []string{"approvals", "signed", "previewMatch", "health", "expression"}

// photograph is what the controller would see now, but for what it asks of others.
func (s snapshot) photograph(ctx context.Context) (o reconciler.Observed, err error) {
	o = reconciler.Observed{Now: s.now, Nodes: s.Nodes, Holds: s.Holds}
	o.Gate = slices.DeleteFunc(policy.Default(), func(c policy.Check) bool { return slices.Contains(outer, c.Name) })
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
	for _, node := range slices.Sorted(maps.Keys(all)) {
		st := all[node]
		if node != name && (st.Pool == "" || st.Pool != name) {
			continue
		}
		for _, f := range s.heard(st) {
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
			out = append(out, reason{Pool: pool, Node: n.Name, Check: "order", Outcome: policy.Wait, Reason: "has not answered its order yet"})
		case n.Report.Phase == nodeops.Working:
			out = append(out, reason{Pool: pool, Node: n.Name, Check: "working", Outcome: policy.Wait, Reason: "is being updated"})
		}
		if n.Name != name {
			out = append(out, s.trouble(n)...)
		}
	}
	return out
}

// heard adds what the controller heard from others to the reasons of a node that waits.
func (s snapshot) heard(st reconciler.Standing) []policy.Finding {
	var more []policy.Finding
	for _, f := range s.State.Pools[st.Pool].Waiting {
		if slices.Contains(outer, f.Check) {
			more = append(more, f)
		}
	}
	free := len(st.Why) == 1 && st.Why[0].Check == "turn"
	switch {
	case st.Reached || len(st.Why) == 0 || len(more) == 0:
		return st.Why
	case free:
		return more
	}
	return append(more, st.Why...)
}

// resume says what comes to a pool when nothing holds it any more: the commits that it has not
// got, and what they cost its nodes.
func (s snapshot) resume(ctx context.Context, pool string, all map[string]reconciler.Standing) string {
	kinds, nodes := map[impact.Kind]int{}, 0
	for _, st := range all {
		if st.Pool == pool && !st.Reached {
			kinds[st.Cost]++
			nodes++
		}
	}
	if nodes == 0 {
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
