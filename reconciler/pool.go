package reconciler

import (
	"cmp"
	"fmt"
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
	before := s.Generation
	p := s.retarget(s.Pools[want.Name], want, crew, o)
	updated := p.Counts.Updated
	errands := plan(p, crew, o)
	p = p.mourn(want, errands)
	if back, ok := s.retreat(p, want, o); ok {
		p = back
		errands = plan(p, crew, o)
		p = p.mourn(want, errands)
	}
	fresh := s.Generation != before
	if fresh {
		updated = p.Counts.Updated // nodes that are there already have not come there now
	}
	p = p.pass(want, errands, updated, fresh, o.Now)
	effects := p.advance(want, errands, s.bench(p, want, errands, o))
	p = p.clock(errands, effects, o.Now)
	p = p.settle(want, errands, len(effects) > 0, o.Now)
	p.Status = describe(p, want.Name)
	s.Pools[want.Name] = p
	return effects
}

// errand is a node, and what its way to the target costs it.
type errand struct {
	Node
	cost    []impact.Action
	asked   bool // it has its order of this attempt, and may still begin
	reached bool // it is what the pool should be
	failed  bool // it has answered this attempt, and not by becoming that

	away string // why it is not at work; "" when it is
}

// renewed is the generation of an order that takes the place of one which expired.
func (e errand) renewed() uint64 {
	if answered(e.Node) && e.Report.Phase == nodeops.Expired {
		return e.Order.Generation + 1
	}
	return 0
}

// plan says what the target costs each node, from what that node itself reports.
func plan(p Pool, crew []Node, o Observed) []errand {
	known := bill{o: o, paid: map[[2]machine.Digest][]impact.Action{}}
	out := make([]errand, len(crew))
	for i, n := range crew {
		e := errand{Node: n}
		e.away = p.away(n, len(known.diff(n.Report.Config, n.Order.Config)) > 0)
		e.asked = n.Order.Config == p.Target && n.Order.Generation >= p.Generation && !(answered(n) && n.Report.Phase == nodeops.Expired)
		e.reached = n.Order.Config == p.Target && answered(n) && n.Report.Phase == nodeops.Done && n.Report.Config == p.Target
		switch n.Report.Phase {
		case nodeops.Failed, nodeops.Restored, nodeops.Refused:
			e.failed = e.asked && answered(n)
		case nodeops.Idle, nodeops.Working, nodeops.Done, nodeops.Expired:
		}
		if !e.reached {
			e.cost = known.diff(n.Report.Config, p.Target)
			if busy(n) || n.Report.Phase == nodeops.Failed { // it may be half way to any of its orders
				e.cost = slices.Clone(e.cost)
				for _, d := range append([]machine.Digest{n.Order.Config}, p.Begun[n.Name].Sent...) {
					e.cost = append(e.cost, known.diff(d, p.Target)...)
				}
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

// mourn counts the nodes, and halts the pool when this attempt has cost as many as the budget
// has. Of two budgets, in force and of the head, the smaller holds.
func (p Pool) mourn(want render.Pool, errands []errand) Pool {
	p.Counts = Counts{Nodes: len(errands)}
	first := ""
	for _, e := range errands {
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
	if p.Counts.Failed >= p.budget(want) && p.Halt == "" {
		p.Halt = first
	}
	return p
}

// obituary is why a node did not become what it was ordered to.
func (e errand) obituary() string {
	return fmt.Sprintf("node %s %s: %s", e.Name, e.Report.Phase, e.Report.Why)
}

// budget is how many nodes may fail before the target is stopped. While the canaries are not
// through it is one, whatever the rules allow later: that is what they are for.
func (p Pool) budget(want render.Pool) int {
	here, head := p.Rules.Rollout, want.Policy
	if here.Canary != nil && p.CanaryAt.IsZero() || head.Canary != nil && p.HeadCanaryAt.IsZero() {
		return 1
	}
	return min(here.Stops(p.Counts.Nodes), head.Stops(p.Counts.Nodes))
}

// advance gives each node its next effect. Only a free gate starts a node; what was started is
// always finished or handed back, also when the pool halts or waits.
func (p *Pool) advance(want render.Pool, errands []errand, b *bench) (effects []Effect) {
	p.Waiting = nil
	var gone []string
	for _, e := range errands {
		if e.away != "" {
			gone = append(gone, e.Name+" ("+e.away+")")
		}
	}
	for _, e := range errands {
		switch {
		case e.reached, e.asked, p.Halt != "":
			effects = append(effects, handBack(e.Node)...)
			continue
		case e.Cordon == Foreign:
			p.wait(policy.Finding{Check: "cordon", Outcome: policy.Wait, Reason: "node " + e.Name + " is cordoned by somebody else"})
			continue
		}
		verdict := b.judge(e, gone)
		switch verdict.Outcome {
		case policy.Allow, policy.Warn:
			if e.away == "" && len(e.cost) > 0 {
				gone = append(gone, e.Name+" (updating)")
			}
			b.started(e)
			effects = append(effects, p.begin(e, want, b.request.Now))
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
	// An order whose time has passed is ordered anew, under a generation of its own: until that is
	// answered, nobody can know whether the node has begun.
	return Send{nodeops.Order{
		Node: e.Name, Generation: max(p.Generation, e.renewed()), Config: p.Target, Ceiling: worst,
		NotAfter: p.permit(want, e, now),
	}}
}

// permit is the end of the window that allowed a disturbance, so that a node which hears of its
// order too late does not begin outside it.
func (p *Pool) permit(want render.Pool, e errand, now time.Time) time.Time {
	if len(e.cost) == 0 || failing(e.Node) {
		return time.Time{}
	}
	until := p.Rules.Rollout.State(now).Until
	if next := want.Policy.State(now).Until; until.IsZero() || !next.IsZero() && next.Before(until) {
		until = next
	}
	return until
}

// wait notes a reason once: the first nodes in the order say enough.
func (p *Pool) wait(f policy.Finding) {
	if !slices.Contains(p.Waiting, f) && len(p.Waiting) < 10 {
		p.Waiting = append(p.Waiting, f)
	}
}

// settle derives the phase from what is left to do. Moving says that this step moves a node.
func (p Pool) settle(want render.Pool, errands []errand, moving bool, now time.Time) Pool {
	phase := Updated
	for _, e := range errands {
		if !e.reached || e.Cordon == Ours {
			phase = Progressing
		}
		moving = moving || !e.failed && (e.Cordon == Ours || !e.reached && busy(e.Node))
	}
	if p.Counts.Failed > 0 && p.Halt == "" && !moving && len(p.Waiting) == 0 {
		i := slices.IndexFunc(errands, func(e errand) bool { return e.failed })
		p.Halt = fmt.Sprintf("all others are done, and within the budget %s", errands[i].obituary())
	}
	switch {
	case p.Halt != "", p.Spurned != "" && phase == Updated:
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

// away says why a node is off work; "" when it is not. A node whose order changes nothing goes on
// working, unless it was begun for something else before.
func (p Pool) away(n Node, changes bool) string {
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
		return "cordoned by somebody else"
	case !n.Ready:
		return "not ready"
	}
	return ""
}

// failing says that a node is not whole since an order of ours.
func failing(n Node) bool { return answered(n) && n.Report.Phase == nodeops.Failed }

// answered says that the report speaks of the order that the node has.
func answered(n Node) bool { return n.Report.Generation == n.Order.Generation }

// busy says that a node is between two configs, or about to be.
func busy(n Node) bool {
	return n.Order.Generation > n.Report.Generation || n.Report.Phase == nodeops.Working
}

// Before is the order of a rollout: by zone, the nodes of no zone last, then the oldest, as MCO
// main sorts; names break the tie, so that the order can be foretold.
func Before(a, b Node) int { return compare(&a, &b, a.Labels[zoneLabel], b.Labels[zoneLabel]) }

func compare(a, b *Node, za, zb string) int {
	if (za == "") != (zb == "") {
		return cmp.Compare(zb, za)
	}
	if za != zb {
		return cmp.Compare(za, zb)
	}
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
}

const zoneLabel = "topology.kubernetes.io/zone"

func reasons(findings []policy.Finding) string {
	var out []string
	for _, f := range findings {
		out = append(out, f.Reason)
	}
	return strings.Join(out, "; ")
}
