package reconciler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/render"
)

// stepPool takes one pool one step on: where to, at what cost, may we, who is next.
func (s *State) stepPool(want render.Pool, crew []*Node, o Observed, votes *votes, listen listener) []Effect {
	before := s.Generation
	p := s.retarget(s.Pools[want.Name], want, crew, o)
	updated := p.Counts.Updated
	errands := s.plan(p, want, crew, o)
	p = p.mourn(want, o.Guardrail, errands)
	if back, ok := s.retreat(p, want, o); ok {
		p = back
		errands = s.plan(p, want, crew, o)
		p = p.mourn(want, o.Guardrail, errands)
	}
	fresh := s.Generation != before
	if fresh {
		updated = p.Counts.Updated // nodes that are there already have not come there now
	}
	p = p.pass(want, o.Guardrail, errands, updated, fresh, o.Now)
	b := s.bench(p, want, errands, o, votes)
	p = p.giveUp(errands, b)
	effects := p.advance(want, errands, b)
	p = p.clock(errands, effects, o.Now).clockOrders(errands, effects, o.Now).warn(errands, b)
	p.Waiting = append(p.overdue(errands, o.Now), urgent(p.Waiting)...)
	p = p.settle(want, errands, b, len(effects) > 0)
	p.Status = describe(p, want.Name)
	s.Pools[want.Name] = p
	if listen != nil {
		p.tell(errands, b, listen)
	}
	return effects
}

// errand is a node, and what its way to the target costs it.
type errand struct {
	*Node
	zone    string
	cost    []impact.Action
	asked   bool // it has its order of this attempt, and may still begin
	reached bool // it is what the pool should be
	failed  bool // it has answered this attempt, and not by becoming that

	returned bool // it was being emptied for too long: it is given back
	lost     bool // nobody knows how far it is

	away string           // why it is not at work; "" when it is
	held []policy.Finding // what the gate had against it at this step
}

// generation is that of the node's next order. It is newer than the attempt's where the node would
// rightly refuse that as old: it came with a newer order, as one does that was moved from another
// pool, or takes the place of an order that expired, or that the cluster has lost.
func (p *Pool) generation(e *errand) uint64 {
	next := p.Generation
	expired := answered(e.Node) && e.Report.Phase == nodeops.Expired
	if expired || e.Order.Config != p.Target && e.Order.Generation > 0 {
		next = max(next, e.Order.Generation+1)
	}
	if e.Report.Generation > next {
		next = e.Report.Generation + 1
	}
	return next
}

// plan says what the target costs each node, from what that node itself reports.
func (s *State) plan(p Pool, want render.Pool, crew []*Node, o Observed) []errand {
	known := bill{known: o.Known, rules: want.Rules, paid: map[[2]machine.Digest][]impact.Action{}}
	out := make([]errand, len(crew))
	for i, n := range crew {
		e := &out[i]
		e.Node, e.zone = n, n.Labels[zoneLabel]
		e.away = p.away(n, len(known.diff(n.Report.Config, n.Order.Config)) > 0)
		e.asked = n.Order.Config == p.Target && n.Order.Generation >= max(p.Generation, n.Report.Generation) && !(answered(n) && n.Report.Phase == nodeops.Expired)
		if e.lost = s.lost(n); e.lost && e.away == "" {
			e.away = "its agent is not heard"
		}
		e.reached = n.Order.Config == p.Target && answered(n) && n.Report.Phase == nodeops.Done && n.Report.Config == p.Target
		switch n.Report.Phase {
		case nodeops.Failed, nodeops.Restored, nodeops.Refused:
			e.failed = e.asked && answered(n)
		case nodeops.Idle, nodeops.Working, nodeops.Done, nodeops.Expired:
		}
		if !e.reached {
			e.cost = known.diff(n.Report.Config, p.Target)
			for _, d := range s.Bound(n) {
				e.cost = append(slices.Clip(e.cost), known.diff(d, p.Target)...)
			}
		}
	}
	return out
}

// bill remembers what a move from one config to another costs: most nodes of a pool share it.
type bill struct {
	known map[machine.Digest]machine.Config
	rules []impact.Rule
	paid  map[[2]machine.Digest][]impact.Action
}

func (b bill) diff(from, to machine.Digest) []impact.Action {
	if from == to {
		return nil
	}
	key := [2]machine.Digest{from, to}
	cost, ok := b.paid[key]
	if !ok {
		old, known := b.known[from]
		if known || from == "" { // "" is the bare OS
			cost = impact.Diff(old, b.known[to], b.rules)
		} else {
			cost = []impact.Action{{Kind: impact.Reboot, Cause: "config " + from.Short() + " is not known any more"}}
		}
		b.paid[key] = cost
	}
	return cost
}

// mourn counts the nodes, and halts the pool when this attempt has cost as many as the budget
// has. Of several budgets, in force, of the head and of the operator, the smallest holds.
func (p Pool) mourn(want render.Pool, guard *policy.Rollout, errands []errand) Pool {
	p.Counts = Counts{Nodes: len(errands)}
	first := ""
	for i := range errands {
		e := &errands[i]
		if e.reached {
			p.Counts.Updated++
		}
		if len(e.Report.Drift) > 0 {
			p.Counts.Drifted++
		}
		if e.away != "" {
			p.Counts.Unavailable++
		}
		if e.failed {
			p.Counts.Failed++
			if first == "" {
				first = e.obituary()
			}
		}
	}
	if p.Counts.Failed >= p.budget(want, guard) && p.Halt == "" {
		p.Halt = first
	}
	return p
}

// obituary is why a node did not become what it was ordered to.
func (e *errand) obituary() string {
	return fmt.Sprintf("node %s %s: %s", e.Name, e.Report.Phase, e.Report.Why)
}

// budget is how many nodes may fail before the target is stopped. While the canaries are not
// through it is one, whatever the rules allow later: that is what they are for.
func (p Pool) budget(want render.Pool, guard *policy.Rollout) int {
	here, head := p.Rules.Rollout, want.Policy
	if here.Canary != nil && p.CanaryAt.IsZero() || head.Canary != nil && p.HeadCanaryAt.IsZero() || guard != nil && guard.Canary != nil && p.GuardAt.IsZero() {
		return 1
	}
	least := min(here.Stops(p.Counts.Nodes), head.Stops(p.Counts.Nodes))
	if guard != nil && guard.FailureBudget != nil {
		least = min(least, guard.Stops(p.Counts.Nodes))
	}
	return least
}

// advance gives each node its next effect. Only a free gate starts a node; what was started is
// always finished or handed back, also when the pool halts or waits.
func (p *Pool) advance(want render.Pool, errands []errand, b *bench) (effects []Effect) {
	p.Waiting = nil
	for i := range errands {
		if e := &errands[i]; e.away != "" {
			b.gone = append(b.gone, e.Name+" ("+e.away+")")
			if e.away != notReady && e.away != cordoned {
				b.ours++
			}
		}
	}
	for i := range errands {
		e := &errands[i]
		switch {
		case e.reached, e.asked, e.returned, p.Halt != "", p.Skipped[e.Name] != "":
			effects = append(effects, e.handBack()...)
			continue
		case e.Cordon == Foreign:
			p.hold(e, policy.Finding{Check: "cordon", Outcome: policy.Wait, Reason: "node " + e.Name + " is cordoned by somebody else"})
			continue
		case e.Mute:
			p.hold(e, policy.Finding{Check: "agent", Outcome: policy.Wait, Reason: "the agent of node " + e.Name + " has said nothing yet: see whether it runs"})
			effects = append(effects, e.handBack()...)
			continue
		}
		verdict := b.judge(e)
		switch verdict.Outcome {
		case policy.Allow, policy.Warn:
			if p.restless(e, b.request.Now) {
				p.hold(e, policy.Finding{Check: "calm", Outcome: policy.Wait, Reason: "nodes that have just rebooted for an older commit wait until this one has been the newest for a minute"})
				continue // under our cordon, if it is: it goes on at once
			}
			b.started(e)
			effects = append(effects, p.begin(e, want, b))
			continue
		case policy.Deny:
			e.held = verdict.reasons
			p.Halt = "denied for node " + e.Name + ": " + reasons(e.held)
		case policy.Wait:
			p.hold(e, verdict.reasons...)
		}
		effects = append(effects, handBack(e.Node)...)
	}
	return effects
}

// begin is the first or second half of starting a node: drained first where it costs a drain.
func (p *Pool) begin(e *errand, want render.Pool, b *bench) Effect {
	worst := impact.Worst(e.cost)
	if impact.Drains(worst) && !e.Drained {
		return p.empty(e, b)
	}
	// An order whose time has passed is ordered anew, under a generation of its own: until that is
	// answered, nobody can know whether the node has begun.
	return Send{nodeops.Order{
		Node: e.Name, Generation: p.generation(e), Config: p.Target, Ceiling: worst, Rules: want.Rules,
		NotAfter: b.permit(e),
	}}
}

// hold notes why a node is not taken; of the pool, the first few say enough.
func (p *Pool) hold(e *errand, findings ...policy.Finding) {
	e.held = findings
	for _, f := range findings {
		if len(p.Waiting) < 10 && !slices.Contains(p.Waiting, f) {
			p.Waiting = append(p.Waiting, f)
		}
	}
}

// urgent is the findings with those first that nothing but a person may end: where one is shown, it is that.
func urgent(found []policy.Finding) []policy.Finding {
	drains := func(f policy.Finding) int {
		if f.Check == "drain" {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(found, func(a, b policy.Finding) int { return drains(a) - drains(b) })
	return found
}

// settle derives the phase from what is left to do. Moving says that this step moves a node.
func (p Pool) settle(want render.Pool, errands []errand, b *bench, moving bool) Pool {
	phase, now := Updated, b.request.Now
	lost, skipped := "", "" // the first nodes that are done with for this attempt, and are not at the target
	for i := range errands {
		e := &errands[i]
		if !e.reached || e.Cordon == Ours {
			phase = Progressing
		}
		moving = moving || !e.failed && (e.Cordon == Ours || !e.reached && busy(e.Node))
		switch {
		case e.failed && lost == "":
			lost = "within the budget " + e.obituary()
		case p.Skipped[e.Name] != "" && !e.reached && skipped == "":
			skipped = p.Skipped[e.Name]
		}
	}
	if given := cmp.Or(lost, skipped); given != "" && p.Halt == "" && !moving && len(p.Waiting) == 0 {
		p.Halt = "all others are done, and " + given
	}
	switch {
	case p.Halt != "", p.Spurned != "" && phase == Updated:
		phase = Halted
	case phase == Updated && p.Counts.Drifted > 0:
		phase = Degraded
	case phase == Progressing && !moving && (want.Strategy.Paused || len(b.request.Holds) > 0):
		phase = Paused
	case phase == Progressing && !moving && len(p.Waiting) > 0:
		phase = Waiting
	}
	if phase == Degraded {
		p.Waiting = drifted(errands)
	}
	if phase == Updated || phase == Degraded || phase == Halted {
		p.Lately = nil // this attempt has ended; only commits that overtake each other wait for calm
	}
	if phase != p.Phase {
		p.Phase, p.Since = phase, now
	}
	if (phase == Updated || phase == Degraded) && (len(p.History) == 0 || p.History[0].Config != p.Target) {
		p.History = append([]Landing{{p.Revision.Commit, p.Target, now, p.Counts.Nodes}}, p.History...)
		p.History = p.History[:min(len(p.History), remembered)]
		p.Rules = Rules{want.Policy, want.Strategy.MaxUnavailable}
	}
	return p
}

// handBack releases our cordon from a node that is whole and has nothing more to do under it.
func handBack(n *Node) []Effect {
	if n.Cordon != Ours || busy(n) || n.Report.Phase == nodeops.Failed {
		return nil
	}
	return []Effect{Uncordon{n.Name}}
}

func (e *errand) handBack() []Effect {
	if e.lost {
		return nil // it may be going down
	}
	return handBack(e.Node)
}

// What keeps a node from its work and is not of our doing.
const (
	cordoned = "cordoned by somebody else"
	notReady = "not ready"
)

// away says why a node is off work; "" when it is not. A node whose order changes nothing goes on
// working, unless it was begun for something else before.
func (p *Pool) away(n *Node, changes bool) string {
	if _, begun := p.Begun[n.Name]; begun || !answered(n) && n.Report.Phase == nodeops.Working {
		changes = true // it is at an older order still
	}
	switch {
	case n.Cordon == Ours:
		return "drained by us"
	case busy(n) && changes:
		return "updating"
	case n.Report.Phase == nodeops.Failed:
		return "failed"
	case n.Cordon == Foreign:
		return cordoned
	case !n.Ready:
		return notReady
	}
	return ""
}

// failing says that a node is not whole since an order of ours.
func failing(n *Node) bool { return answered(n) && n.Report.Phase == nodeops.Failed }

// answered says that the report speaks of the order that the node has.
func answered(n *Node) bool { return n.Report.Generation == n.Order.Generation }

// busy says that a node is between two configs, or about to be.
func busy(n *Node) bool {
	return n.Order.Generation > n.Report.Generation || n.Report.Phase == nodeops.Working
}

func reasons(findings []policy.Finding) string {
	var out []string
	for _, f := range findings {
		out = append(out, f.Reason)
	}
	return strings.Join(out, "; ")
}
