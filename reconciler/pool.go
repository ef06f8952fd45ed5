package reconciler

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/render"
)

// stepPool takes one pool one step on: where to, at what cost, may we, who is next.
func (s *State) stepPool(want render.Pool, crew []Node, o Observed) []Effect {
	p := s.retarget(s.Pools[want.Name], want, crew, o)
	errands := plan(p, crew, o)
	p = p.mourn(errands)
	effects := p.advance(want, errands, o)
	p = p.clock(errands, effects, o.Now)
	p = p.settle(want, errands, len(effects) > 0, o.Now)
	p.Status = describe(p, want.Name)
	s.Pools[want.Name] = p
	return effects
}

// retarget follows the head. A new target starts over, whatever the old one was doing; so does
// any new commit after a halt, which is the one attempt that a failed target gets per commit.
func (s *State) retarget(p Pool, want render.Pool, crew []Node, o Observed) Pool {
	digest, rules := want.Target(), Rules{want.Policy, want.Strategy.MaxUnavailable}
	moved, commit := digest != p.Target, o.Head.Revision.Commit
	if p.Target == "" || !moved && p.Revision.Commit != commit {
		p.Rules = rules // nothing rides on this commit: it brings rules, and no new content
	}
	if moved || p.Phase == Halted && p.Revision.Commit != commit || outrun(crew, digest, p.Generation) {
		s.Generation++
		p.Generation, p.Halt, p.Waiting = s.Generation, "", nil
		p.Phase, p.Since = Progressing, o.Now
	}
	if moved {
		p.Target, p.RollbackOf = digest, landed(p.History, digest)
	}
	if p.Revision.Commit != commit {
		s.leave(p, commit)
		p.Revision = o.Head.Revision
	}
	return p
}

// outrun says that a node came with a newer order for something else, as one does that was moved
// from another pool: it would rightly refuse ours as old.
func outrun(crew []Node, target machine.Digest, generation uint64) bool {
	return slices.ContainsFunc(crew, func(n Node) bool {
		return n.Order.Generation >= generation && n.Order.Config != target && n.Order.Generation > 0
	})
}

// landed names the newest earlier commit that brought the pool to this target: moving there is a
// rollback, whatever the commit that asks for it is called.
func landed(history []Landing, target machine.Digest) string {
	for _, l := range history {
		if l.Config == target {
			return l.Commit
		}
	}
	return ""
}

// errand is a node, and what its way to the target costs it.
type errand struct {
	Node
	cost    []impact.Action
	asked   bool // it has its order of this attempt, and may still begin
	reached bool // it is what the pool should be
}

// plan says what the target costs each node, from what that node itself reports.
func plan(p Pool, crew []Node, o Observed) []errand {
	known := bill{o: o, paid: map[[2]machine.Digest][]impact.Action{}}
	out := make([]errand, len(crew))
	for i, n := range crew {
		e := errand{Node: n}
		e.asked = n.Order.Config == p.Target && n.Order.Generation >= p.Generation && !(answered(n) && n.Report.Phase == nodeops.Expired)
		e.reached = n.Order.Config == p.Target && answered(n) && n.Report.Phase == nodeops.Done && n.Report.Config == p.Target
		if !e.reached {
			e.cost = known.diff(n.Report.Config, p.Target)
			if busy(n) || n.Report.Phase == nodeops.Failed { // it may be half way to its last order
				e.cost = append(slices.Clone(e.cost), known.diff(n.Order.Config, p.Target)...)
			}
		}
		out[i] = e
	}
	return out
}

// bill remembers what a move from one config to another costs: most nodes of a pool share it.
type bill struct {
	o    Observed
	paid map[[2]machine.Digest][]impact.Action
}

func (b bill) diff(from, to machine.Digest) []impact.Action {
	if from == to {
		return nil
	}
	key := [2]machine.Digest{from, to}
	cost, ok := b.paid[key]
	if !ok {
		old, known := b.o.Known[from]
		if known || from == "" { // "" is the bare OS
			cost = impact.Diff(old, b.o.Known[to], b.o.Rules)
		} else {
			cost = []impact.Action{{Kind: impact.Reboot, Cause: "config " + from.Short() + " is not known any more"}}
		}
		b.paid[key] = cost
	}
	return cost
}

// mourn halts the pool when a node did not survive this attempt: the failure budget is one node.
func (p Pool) mourn(errands []errand) Pool {
	p.Counts = Counts{Nodes: len(errands)}
	for _, e := range errands {
		if e.reached {
			p.Counts.Updated++
		}
		if len(e.Report.Drift) > 0 {
			p.Counts.Drifted++
		}
		if _, why := away(e.Node); why != "" {
			p.Counts.Unavailable++
		}
		if !e.asked || !answered(e.Node) {
			continue
		}
		switch e.Report.Phase {
		case nodeops.Failed, nodeops.Restored, nodeops.Refused:
			p.Counts.Failed++
			if p.Halt == "" {
				p.Halt = fmt.Sprintf("node %s %s: %s", e.Name, e.Report.Phase, e.Report.Why)
			}
		case nodeops.Idle, nodeops.Working, nodeops.Done, nodeops.Expired:
		}
	}
	return p
}

// advance gives each node its next effect. Only a free gate starts a node; what was started is
// always finished or handed back, also when the pool halts or waits.
func (p *Pool) advance(want render.Pool, errands []errand, o Observed) (effects []Effect) {
	p.Waiting = nil
	var gone []string
	for _, e := range errands {
		if _, why := away(e.Node); why != "" {
			gone = append(gone, e.Name+" ("+why+")")
		}
	}
	heard := map[question]policy.Verdict{}
	for _, e := range errands {
		switch {
		case e.reached, e.asked, p.Halt != "":
			effects = append(effects, handBack(e.Node)...)
			continue
		case e.Cordon == Foreign:
			p.wait(policy.Finding{Check: "cordon", Outcome: policy.Wait, Reason: "node " + e.Name + " is cordoned by somebody else"})
			continue
		}
		verdict := p.judge(want, e, gone, o, heard)
		switch verdict.Outcome {
		case policy.Allow, policy.Warn:
			if ours, why := away(e.Node); !ours && why == "" {
				gone = append(gone, e.Name+" (updating)")
			}
			effects = append(effects, p.begin(e, want, o.Now))
			continue
		case policy.Deny:
			p.Halt = "denied for node " + e.Name + ": " + reasons(verdict.Reasons())
		case policy.Wait:
			for _, f := range verdict.Reasons() {
				p.wait(f)
			}
		}
		effects = append(effects, handBack(e.Node)...)
	}
	return effects
}

// begin is the first or second half of starting a node: drained first where it costs a drain.
func (p *Pool) begin(e errand, want render.Pool, now time.Time) Effect {
	worst := impact.Worst(e.cost)
	if impact.Drains(worst) && !e.Drained {
		return Drain{e.Name}
	}
	return Send{nodeops.Order{
		Node: e.Name, Generation: p.Generation, Config: p.Target, Ceiling: worst,
		NotAfter: p.permit(want, e, now),
	}}
}

// permit is the end of the window that allowed a disturbance, so that a node which hears of its
// order too late does not begin outside it.
func (p *Pool) permit(want render.Pool, e errand, now time.Time) time.Time {
	if len(e.cost) == 0 || e.Report.Phase == nodeops.Failed {
		return time.Time{}
	}
	until := p.Rules.Rollout.State(now).Until
	if next := want.Policy.State(now).Until; until.IsZero() || !next.IsZero() && next.Before(until) {
		until = next
	}
	return until
}

// judge asks the gate twice where the head brings other rules than those in force: relaxing one
// does not help the commit that does it, and tightening one holds at once.
func (p *Pool) judge(want render.Pool, e errand, gone []string, o Observed, heard map[question]policy.Verdict) policy.Verdict {
	if len(e.cost) == 0 {
		return policy.Verdict{}
	}
	ours, why := away(e.Node)
	q := question{ours || why != "", answered(e.Node) && e.Report.Phase == nodeops.Failed, &e.cost[0], len(gone)}
	if v, ok := heard[q]; ok && len(e.Report.Drift) == 0 {
		return v
	}
	r := policy.Request{
		Pool: want.Name, Node: e.Name, Commit: p.Revision.Commit, Paused: want.Strategy.Paused,
		Rollout: p.Rules.Rollout, MaxUnavailable: p.Rules.MaxUnavailable,
		Actions: e.cost, Now: o.Now,
		Away: q.away, Failing: q.failing, Drift: e.Report.Drift,
		Nodes: p.Counts.Nodes, Unavailable: gone,
	}
	verdict := o.Gate.Judge(r)
	r.Rollout, r.MaxUnavailable = want.Policy, want.Strategy.MaxUnavailable
	if again := o.Gate.Judge(r); again.Outcome > verdict.Outcome {
		verdict = again
	}
	if len(e.Report.Drift) == 0 {
		heard[q] = verdict
	}
	return verdict
}

// question is all that tells one node's request from another's of the same pool and step: most
// of five thousand nodes ask the same.
type question struct {
	away, failing bool
	cost          *impact.Action // of the shared bill
	gone          int
}

// wait notes a reason once: the first nodes in the order say enough.
func (p *Pool) wait(f policy.Finding) {
	if !slices.Contains(p.Waiting, f) && len(p.Waiting) < 10 {
		p.Waiting = append(p.Waiting, f)
	}
}

// clock times nodes, from the first effect to the end of the last: that is how a preview can say
// how long a rollout will take. A node that did not get there tells nothing.
func (p Pool) clock(errands []errand, effects []Effect, now time.Time) Pool {
	var begun map[string]Begun
	note := func(name string, b Begun) {
		if begun == nil {
			begun = map[string]Begun{}
		}
		begun[name] = b
	}
	starts := map[string]bool{}
	for _, f := range effects {
		switch f := f.(type) {
		case Drain:
			starts[f.Node] = true
		case Send:
			starts[f.Order.Node] = true
		}
	}
	for _, e := range errands {
		b, ok := p.Begun[e.Name]
		switch {
		case ok && e.reached && e.Cordon != Ours:
			p.Pace = maps.Clone(p.Pace)
			if p.Pace == nil {
				p.Pace = map[string][]time.Duration{}
			}
			took := append(slices.Clone(p.Pace[b.Kind]), now.Sub(b.At))
			p.Pace[b.Kind] = took[max(0, len(took)-paces):]
		case p.Halt != "", ok && !e.asked && e.Cordon != Ours: // stopped, handed back, or retargeted
		case ok:
			note(e.Name, b)
		case starts[e.Name] && len(e.cost) > 0 && e.Cordon != Ours:
			note(e.Name, Begun{now, impact.Worst(e.cost).String()})
		}
	}
	p.Begun = begun
	return p
}

// settle derives the phase from what is left to do. Moving says that this step moves a node.
func (p Pool) settle(want render.Pool, errands []errand, moving bool, now time.Time) Pool {
	phase := Updated
	for _, e := range errands {
		if !e.reached || e.Cordon == Ours {
			phase = Progressing
		}
		moving = moving || !e.reached && (busy(e.Node) || e.Cordon == Ours) || e.reached && e.Cordon == Ours
	}
	switch {
	case p.Halt != "":
		phase = Halted
	case phase == Updated && p.Counts.Drifted > 0:
		phase = Degraded
	case phase == Progressing && !moving && want.Strategy.Paused:
		phase = Paused
	case phase == Progressing && !moving && len(p.Waiting) > 0:
		phase = Waiting
	}
	if phase != p.Phase {
		p.Phase, p.Since = phase, now
	}
	if (phase == Updated || phase == Degraded) && (len(p.History) == 0 || p.History[0].Config != p.Target) {
		p.History = append([]Landing{{p.Revision.Commit, p.Target, now}}, p.History...)
		p.History = p.History[:min(len(p.History), remembered)]
		p.Rules = Rules{want.Policy, want.Strategy.MaxUnavailable}
	}
	return p
}

// handBack releases our cordon from a node that is whole and has nothing more to do under it.
func handBack(n Node) []Effect {
	if n.Cordon != Ours || busy(n) || n.Report.Phase == nodeops.Failed {
		return nil
	}
	return []Effect{Uncordon{n.Name}}
}

// away says whether a node is off work, whether that is our doing, and why.
func away(n Node) (ours bool, why string) {
	switch {
	case n.Cordon == Ours:
		return true, "drained by us"
	case busy(n):
		return true, "updating"
	case n.Report.Phase == nodeops.Failed:
		return true, "failed"
	case n.Cordon == Foreign:
		return false, "cordoned by somebody else"
	case !n.Ready:
		return false, "not ready"
	}
	return false, ""
}

// answered says that the report speaks of the order that the node has.
func answered(n Node) bool { return n.Report.Generation == n.Order.Generation }

// busy says that a node is between two configs, or about to be.
func busy(n Node) bool { return !answered(n) || n.Report.Phase == nodeops.Working }

// Before is the order of a rollout: by zone, the nodes of no zone last, then the oldest, as MCO
// main sorts; names break the tie, so that the order can be foretold.
func Before(a, b Node) int {
	za, zb := a.Labels[zoneLabel], b.Labels[zoneLabel]
	if (za == "") != (zb == "") {
		return cmp.Compare(zb, za)
	}
	return cmp.Or(cmp.Compare(za, zb), a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
}

const zoneLabel = "topology.kubernetes.io/zone"

func reasons(findings []policy.Finding) string {
	var out []string
	for _, f := range findings {
		out = append(out, f.Reason)
	}
	return strings.Join(out, "; ")
}
