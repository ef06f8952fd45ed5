// Package preview says before a merge what a change will do to which nodes, in which order. It
// runs the real Step on the nodes as they are, with machines that always succeed. It is pure.
package preview

import (
	"reflect"
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
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

// world is the fleet on a virtual clock, in which every order is done at once and well.
type world struct {
	state reconciler.State
	seen  reconciler.Observed

	assumed int               // nodes that were put at the base
	member  map[string]string // node -> pool after the merge
	index   map[string]int    // node -> its place in seen.Nodes
	taken   map[string]bool   // nodes that are in a wave
}

// rest is the world as it is before the merge.
func rest(in Input) *world {
	w := &world{state: in.State, seen: reconciler.Observed{Now: in.Now, Known: map[machine.Digest]machine.Config{}, Rules: in.Rules, Gate: in.Gate}}
	for d, c := range in.Known {
		w.seen.Known[d] = c
	}
	for _, p := range slices.Concat(in.Before, in.After) {
		w.seen.Known[p.Target()] = p.Config
	}
	w.seen.Head = reconciler.Head{Revision: source.Revision{Commit: in.Head}, Pools: in.After}
	w.seen.Nodes = slices.Clone(in.Nodes)
	if w.state.Pools == nil {
		w.state.Generation, w.state.Pools = 1, map[string]reconciler.Pool{}
		for _, p := range in.Before {
			d := p.Target()
			w.state.Pools[p.Name] = reconciler.Pool{
				Phase: reconciler.Updated, Target: d, Generation: 1, Revision: source.Revision{Commit: in.MergeBase},
				Rules:   reconciler.Rules{Rollout: p.Policy, MaxUnavailable: p.Strategy.MaxUnavailable},
				History: []reconciler.Landing{{Commit: in.MergeBase, Config: d}},
			}
		}
	}
	w.member, w.index, w.taken = map[string]string{}, map[string]int{}, map[string]bool{}
	for i, n := range w.seen.Nodes {
		w.index[n.Name] = i
		if pool, err := render.Member(in.After, n.Labels); err == nil {
			w.member[n.Name] = pool
		}
		pool, err := render.Member(in.Before, n.Labels)
		if n.Order.Generation > 0 || n.Report.Config != "" || err != nil || pool == "" {
			continue
		}
		w.assumed++
		d := find(in.Before, pool).Target()
		w.seen.Nodes[i].Order = nodeops.Order{Node: n.Name, Generation: 1, Config: d}
		w.seen.Nodes[i].Report = nodeops.Report{Generation: 1, Config: d, Phase: nodeops.Done}
	}
	return w
}

// steps bounds a run: a fleet that needs more is continued by arithmetic, in the same order.
const steps = 400

// run lets the rollout happen and notes in the pools who is taken when.
func (w *world) run(pools []Pool) {
	start := w.seen.Now
	first := true
	for range steps {
		next, effects := reconciler.Step(w.state, w.seen)
		moved := !reflect.DeepEqual(w.state.Pools, next.Pools) // a pool may wait for what another has come to
		w.state = next
		if first {
			w.hold(pools)
			first = false
		}
		wave := map[string][]string{}
		for _, e := range effects {
			moved = w.do(e, wave) || moved
		}
		for i := range pools {
			if wave := wave[pools[i].Name]; len(wave) > 0 {
				if len(pools[i].Waves) == 0 && w.seen.Now.Sub(start) > time.Hour {
					pools[i].Start = w.seen.Now
				}
				pools[i].Waves = append(pools[i].Waves, wave)
			}
		}
		w.seen.Now = w.seen.Now.Add(time.Second)
		if !moved && !w.leap() {
			w.remain(pools, false)
			return
		}
	}
	w.remain(pools, true)
}

// hold notes what the gate says at the moment of the merge. That a wave waits for the one before
// it is no finding: it is the plan.
func (w *world) hold(pools []Pool) {
	for i := range pools {
		st := w.state.Pools[pools[i].Name]
		pools[i].RollbackOf = st.RollbackOf
		if st.Halt != "" {
			pools[i].Held = append(pools[i].Held, policy.Finding{Check: "halt", Outcome: policy.Deny, Reason: st.Halt})
		}
		for _, f := range st.Waiting {
			if f.Check != "maxUnavailable" || st.Phase == reconciler.Waiting {
				pools[i].Held = append(pools[i].Held, f)
			}
		}
		if pools[i].blocked != "" && st.Halt == "" {
			pools[i].Held = append(pools[i].Held, policy.Finding{Check: "inPlace", Outcome: policy.Deny,
				Reason: "pool " + pools[i].Name + ": " + pools[i].blocked + " cannot be changed in place"})
		}
	}
}

// do is a machine that always succeeds. It says whether anything moved, and notes in the wave the
// nodes that are taken now.
func (w *world) do(e reconciler.Effect, wave map[string][]string) bool {
	switch e := e.(type) {
	case reconciler.Drain:
		n := w.node(e.Node)
		w.take(n.Name, wave)
		n.Cordon, n.Drained = reconciler.Ours, true
	case reconciler.Uncordon:
		n := w.node(e.Node)
		n.Cordon, n.Drained = reconciler.Uncordoned, false
	case reconciler.Send:
		n := w.node(e.Order.Node)
		if n.Report.Config != e.Order.Config {
			w.take(n.Name, wave)
		}
		n.Order = e.Order
		if !n.Ready {
			return true // nobody is there to answer
		}
		n.Report = nodeops.Report{Generation: e.Order.Generation, Config: e.Order.Config, Phase: nodeops.Done}
	case reconciler.Post:
		w.state = w.state.Heard(e.Status)
		return false
	case reconciler.Remark:
		return false
	}
	return true
}

// take notes a node once: drained first, it gets its order a step later.
func (w *world) take(name string, wave map[string][]string) {
	if !w.taken[name] {
		w.taken[name] = true
		pool := w.member[name]
		wave[pool] = append(wave[pool], name)
	}
}

func (w *world) node(name string) *reconciler.Node {
	return &w.seen.Nodes[w.index[name]] // Step speaks of nodes that it was shown
}

// leap moves the clock to the next moment that a waiting pool waits for: a window opens, or a soak
// is over.
func (w *world) leap() bool {
	var next time.Time
	for _, p := range w.seen.Head.Pools {
		st := w.state.Pools[p.Name]
		for _, f := range st.Waiting {
			for _, r := range []policy.Rollout{p.Policy, st.Rules.Rollout} {
				if at := w.until(f.Check, r, st); !at.Before(w.seen.Now) && (next.IsZero() || at.Before(next)) {
					next = at
				}
			}
		}
	}
	if next.IsZero() {
		return false
	}
	w.seen.Now = next
	return true
}

// until is when what a check waits for will have come; in the past where that is no moment.
func (w *world) until(check string, r policy.Rollout, st reconciler.Pool) time.Time {
	switch {
	case check == "window":
		return r.State(w.seen.Now).Next
	case check == "soak":
		return over(st.LastAt, r.Soak)
	case check == "canary" && r.Canary != nil:
		return over(st.CanaryAt, r.Canary.Soak)
	}
	return time.Time{}
}

// over is when a soak that began then is over; zero where there is none.
func over(since time.Time, soak string) time.Time {
	d, err := time.ParseDuration(soak)
	if err != nil || since.IsZero() {
		return time.Time{}
	}
	return since.Add(d)
}

// remain puts the nodes that no wave has reached where they belong: behind the last wave when only
// the bound on steps ended the run, else among those that are left.
func (w *world) remain(pools []Pool, bounded bool) {
	for i := range pools {
		p := &pools[i]
		var left []string
		for _, n := range slices.SortedFunc(slices.Values(w.seen.Nodes), reconciler.Before) {
			if w.member[n.Name] == p.Name && n.Report.Config != w.state.Pools[p.Name].Target {
				left = append(left, n.Name)
			}
		}
		st := w.state.Pools[p.Name]
		if !bounded || st.Phase != reconciler.Progressing {
			p.Left = left
			continue
		}
		limit, err := policy.Limit(find(w.seen.Head.Pools, p.Name).Strategy.MaxUnavailable, st.Counts.Nodes)
		if err == nil {
			p.Waves = slices.AppendSeq(p.Waves, slices.Chunk(left, limit))
		}
	}
}
