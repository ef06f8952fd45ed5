package preview

import (
	"maps"
	"slices"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
)

// compare says three things of a pool: what the proposal changes (merge base to head), what each
// node pays (from what it has to what the merge makes), and what taking the change back would cost
// (head to merge base). Was is the pool's name before, where it had another.
func (w *world) compare(in Input, after, merged render.Pool, was string) Pool {
	before := find(in.Before, merged.Name)
	if was != "" {
		before = find(in.Before, was)
	}
	if !has(in.After, merged.Name) {
		before, after = merged, merged // the branch has it since; the proposal has no part in it
	}
	p := Pool{
		Name: merged.Name, Was: was, Changed: before.Target() != after.Target(),
		Actions: []Cause{}, Nodes: map[string][]string{}, Waves: [][]string{}, Changes: changes(before, after),
	}
	for _, a := range impact.Diff(before.Config, after.Config, after.Rules) {
		c := Cause{a, origin(after, a.Cause)}
		if c.File == "" {
			c.File = origin(before, a.Cause) // it was taken away
		}
		p.Actions = append(p.Actions, c)
		p.Kind = max(p.Kind, a.Kind)
		if a.Kind == impact.Impossible && p.blocked == "" {
			p.blocked = guilty(a.Cause, c.File)
		}
	}
	if c, ok := impact.FindCheaper(before.Config, after.Config, after.Rules); ok {
		p.Cheaper = &c
	}
	if p.Changed && (was != "" || has(in.Before, p.Name)) {
		p.Revert = revert(before, after, p.Kind)
	}
	p.After = slices.Clone(order(merged, in.State.Pools[p.Name]))
	w.price(&p, in, merged)
	p.Drain = impact.Drains(p.Kind)
	for _, a := range p.Actions {
		p.Drain = p.Drain || a.Kind == impact.Drain
	}
	return p
}

// guilty names what cannot be changed in place, and the file of the repository that asks for it.
func guilty(cause, file string) string {
	if file == "" {
		return cause
	}
	return cause + " of " + file
}

// revert is judged by the rules that it would bring back, as the controller will.
func revert(before, after render.Pool, forth impact.Kind) *Revert {
	back := impact.Diff(after.Config, before.Config, before.Rules)
	kind, cause := worst(back)
	return &Revert{Kind: kind, Symmetric: kind == forth, Cause: cause}
}

// order are the pools that come before, by the rules of the head and by those in force.
func order(p render.Pool, st reconciler.Pool) []string {
	var out []string
	for _, o := range []*reconciler.Rules{{Rollout: p.Policy}, &st.Rules} {
		if o.Rollout.Order != nil {
			out = append(out, o.Rollout.Order.After...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// bill is what one node pays, and what makes it so.
type bill struct {
	kind  impact.Kind
	cause string
}

// price says what each node of a pool pays, and for which of them that is more than the change.
func (w *world) price(p *Pool, in Input, merged render.Pool) {
	var (
		alone = p.Kind // the change by itself
		paid  = map[machine.Digest]bill{}
		also  Also
		at    = map[machine.Digest]bool{}
	)
	for i := range w.seen.Nodes {
		n := &w.seen.Nodes[i]
		if w.member[n.Name] != merged.Name {
			continue
		}
		if len(n.Report.Drift) > 0 {
			p.Drifted = append(p.Drifted, Drifted{Node: n.Name, Drift: n.Report.Drift})
		}
		b, moves := w.charge(n, merged, paid)
		if !moves {
			p.Nodes["unchanged"] = append(p.Nodes["unchanged"], n.Name)
			continue
		}
		if b.kind == impact.Impossible && p.blocked == "" {
			p.blocked = "node " + n.Name + ": " + guilty(b.cause, origin(merged, b.cause))
		}
		p.Nodes[b.kind.String()] = append(p.Nodes[b.kind.String()], n.Name)
		p.Kind = max(p.Kind, b.kind)
		home, has := w.home[n.Name], n.Report.Config
		if home != merged.Name && home != p.Was {
			p.join(home, n.Name, b)
		}
		if home == "" && has == "" || has == find(in.Standing, home).Target() {
			continue // the base is what it has
		}
		also.Nodes, at[has] = append(also.Nodes, n.Name), true
		if len(also.Nodes) == 1 || b.kind > also.Kind {
			also.Kind, also.Cause = b.kind, b.cause
		}
	}
	if len(also.Nodes) > 0 {
		also.Worse = also.Kind > alone
		also.Since, also.Commits = queued(in, merged.Name, at)
		p.Also = &also
	}
}

// charge is what the way of a node costs, from wherever it may be, as Step reckons. It is false
// where the node is what it will be.
func (w *world) charge(n *reconciler.Node, to render.Pool, paid map[machine.Digest]bill) (worst bill, moves bool) {
	for _, has := range append(w.state.Bound(n), n.Report.Config) {
		if has == to.Target() {
			continue
		}
		b, ok := paid[has]
		if !ok {
			b.kind, b.cause = w.way(has, to)
			paid[has] = b
		}
		if !moves || b.kind > worst.kind {
			worst = b
		}
		moves = true
	}
	return worst, moves
}

// join notes a node that comes from another pool.
func (p *Pool) join(from, node string, b bill) {
	i := slices.IndexFunc(p.Joining, func(j Joining) bool { return j.From == from })
	if i < 0 {
		i, p.Joining = len(p.Joining), append(p.Joining, Joining{From: from, Kind: b.kind, Cause: b.cause})
	}
	j := &p.Joining[i]
	j.Nodes = append(j.Nodes, node)
	if b.kind > j.Kind {
		j.Kind, j.Cause = b.kind, b.cause
	}
}

// outside counts the nodes that no pool takes, neither before nor after.
func (w *world) outside() (n int) {
	for name := range w.index {
		if w.member[name] == "" && w.home[name] == "" {
			n++
		}
	}
	return n
}

// queued are the commits that nodes with such configs have yet to take up, from the oldest that
// one of them is at.
func queued(in Input, pool string, at map[machine.Digest]bool) (since string, commits []string) {
	for _, d := range slices.Sorted(maps.Keys(at)) {
		commit := landed(in.State, pool, d)
		if list := in.Queued[commit]; len(list) > len(commits) {
			since, commits = commit, list
		}
	}
	return since, commits
}

// Behind are the commits that nodes are at which are not at the base, as far as they are
// remembered; sorted. Queued is asked for these.
func (in Input) Behind() []string {
	now := in.Standing
	if now == nil {
		now = in.Before
	}
	targets := map[string]machine.Digest{}
	for _, p := range now {
		targets[p.Name] = p.Target()
	}
	found := map[string]bool{}
	for _, n := range in.Nodes {
		pool, err := render.Member(now, n.Labels)
		if err != nil || n.Report.Config == targets[pool] {
			continue
		}
		if commit := landed(in.State, pool, n.Report.Config); commit != "" && commit != in.Base {
			found[commit] = true
		}
	}
	return sortedKeys(found)
}

// landed is the commit that last brought a pool to a config; "" where nobody remembers.
func landed(s reconciler.State, pool string, d machine.Digest) string {
	for _, l := range s.Pools[pool].History {
		if l.Config == d {
			return l.Commit
		}
	}
	return ""
}

// way is the kind of a move from what a node has, and what makes it so. What is not known costs a
// reboot.
func (w *world) way(has machine.Digest, to render.Pool) (impact.Kind, string) {
	old, ok := w.seen.Known[has]
	if !ok && has != "" {
		return impact.Reboot, "a config that is not known any more"
	}
	return worst(impact.Diff(old, to.Config, to.Rules))
}

// worst is the kind of the whole, and the first cause of it.
func worst(actions []impact.Action) (impact.Kind, string) {
	kind := impact.Worst(actions)
	for _, a := range actions {
		if a.Kind == kind {
			return kind, a.Cause
		}
	}
	return kind, ""
}
