package reconciler

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/render"
)

// bench is who judges the nodes of a pool in one step: the rules in force, those of the head where
// they differ, and the operator's guardrail. Relaxing a rule does not help the commit that does it,
// and tightening one holds at once.
type bench struct {
	request policy.Request // what all nodes share
	gate    policy.Gate
	begun   map[string]Begun
	rules   []Rules
	stages  []policy.Stage // one for each of the rules
	heard   map[question]answer
	gone    []string // nodes that are not at work, each with its reason
	ours    int      // of them, those that this rollout has taken away
	pace    map[impact.Kind]time.Duration
	votes   *votes
	drain   drain
	target  machine.Digest
	landed  machine.Digest // what the pool last came to
	guard   int            // which of the rules are the operator's; 0 is none
	closes  *time.Time     // when the first of the windows that are open ends; nil until somebody asks
	rewound bool           // the last of the request's holds is for a branch that was rewritten
}

// question is all that tells one node's request from another's of the same pool and step: most
// of five thousand nodes ask the same.
type question struct {
	begun, away, failing, canary bool
	zone, front                  string
	cost                         *impact.Action // of the shared bill
	gone, started                int
	expected                     time.Duration
}

// answer is a verdict and, of its findings, those that nodes wait for: listed once for all of them.
type answer struct {
	policy.Verdict
	reasons []policy.Finding
}

func answerOf(v policy.Verdict) answer { return answer{v, v.Reasons()} }

func (s *State) bench(p Pool, want render.Pool, errands []errand, o Observed, votes *votes) *bench {
	b := &bench{
		gate: o.Gate, begun: p.Begun, heard: map[question]answer{}, rules: []Rules{p.Rules}, votes: votes,
		request: policy.Request{
			Pool: want.Name, Commit: p.Revision.Commit, Paused: want.Strategy.Paused, Now: o.Now, Nodes: len(errands),
			Holds: inForce(o.Holds, want.Name, o.Now), Facts: o.Facts,
		},
		target: p.Target, drain: drainOf(p.Rules.Rollout, want.Policy, o.Guardrail), pace: map[impact.Kind]time.Duration{},
	}
	for kind := impact.Nothing; kind <= impact.Impossible; kind++ {
		b.pace[kind] = p.expected(kind)
	}
	turns := &turns{state: s, head: o.Head, guard: o.Guardrail}
	if o.Rewound != nil {
		b.rewound = true
		b.request.Holds = append(b.request.Holds, policy.Hold{By: policy.Controller, Reason: o.Rewound.Why})
	}
	if len(p.History) > 0 {
		b.landed = p.History[0].Config
	}
	when := []time.Time{p.CanaryAt}
	if head := (Rules{want.Policy, want.Strategy.MaxUnavailable}); !reflect.DeepEqual(head, p.Rules) {
		b.rules, when = append(b.rules, head), append(when, p.HeadCanaryAt)
	}
	if o.Guardrail != nil {
		b.guard = len(b.rules)
		b.rules, when = append(b.rules, Rules{*o.Guardrail, p.Rules.MaxUnavailable}), append(when, p.GuardAt)
	}
	for i := range b.rules {
		if p.Spurned != "" { // what is known from outside is of the head, and this goes back to what had passed before
			r := &b.rules[i].Rollout
			r.Health, r.Approvals, r.Signed, r.RequirePreviewMatch = nil, nil, false, false
		}
		st := stage(p, b.rules[i].Rollout, errands)
		st.CanaryAt = when[i]
		st.Behind, st.Missing = turns.behind(want.Name, b.rules[i].Rollout, i == b.guard && i > 0)
		if len(st.Behind) > 0 {
			st.Circle = turns.circle(want.Name)
		}
		b.stages = append(b.stages, st)
	}
	return b
}

// inForce are the holds of a pool whose time is not over.
func inForce(holds []policy.Hold, pool string, now time.Time) []policy.Hold {
	var out []policy.Hold
	for _, h := range holds {
		if h.InForce(pool, now) {
			out = append(out, h)
		}
	}
	return out
}

// stage is how far the pool is, as one set of rules sees it.
func stage(p Pool, r policy.Rollout, errands []errand) policy.Stage {
	st := policy.Stage{LastAt: p.LastAt, ZoneAway: map[string]int{}}
	unfinished, proving := false, false
	for i := range errands {
		e := &errands[i]
		if e.reached {
			st.Reached++
			st.Lacking = lacking(st.Lacking, e.Node, r)
		}
		if e.started(p.Target) {
			st.Started++
		}
		if e.away != "" {
			st.ZoneAway[e.zone]++
		}
		if isCanary(e.Node, r) {
			st.Labelled++
			if !e.reached {
				st.Canaries = append(st.Canaries, e.Name+unready(e.Node))
			}
		}
		if e.reached || e.failed || p.Skipped[e.Name] != "" {
			continue
		}
		if !unfinished { // errands come zone by zone
			unfinished, st.Zone = true, e.zone
		}
		if isCanary(e.Node, r) && !proving {
			proving, st.CanaryZone = true, e.zone
		}
	}
	return st
}

// started says that a node is at the target or on the way to it; also that of an attempt before
// this one, as long as it has not answered.
func (e *errand) started(target machine.Digest) bool {
	return e.reached || e.asked || e.Cordon == Ours || e.Order.Config == target && busy(e.Node)
}

// lacking notes what a node does not have of the conditions that health gates ask for.
func lacking(found map[string][]string, n *Node, r policy.Rollout) map[string][]string {
	for _, g := range r.Health {
		if g.Nodes == "" || n.Conditions[g.Nodes] || g.Nodes == "Ready" && n.Ready {
			continue
		}
		if found == nil {
			found = map[string][]string{}
		}
		if !slices.Contains(found[g.Nodes], n.Name) { // two gates may ask for one
			found[g.Nodes] = append(found[g.Nodes], n.Name)
		}
	}
	return found
}

// judge asks the gate about one node, once for each set of rules; the worst answer holds.
func (b *bench) judge(e *errand) (verdict answer) {
	if len(e.cost) == 0 {
		return verdict
	}
	off, gone := e.away != "", b.gone
	if off && e.Ready && e.Cordon == Uncordoned && !failing(e.Node) {
		// It was begun, and is at work all the same: to take it away needs a slot, its own or another.
		off = false
		gone = slices.DeleteFunc(slices.Clone(gone), func(s string) bool { return strings.HasPrefix(s, e.Name+" (") })
	}
	begun, was := b.begun[e.Name] // or was decided to be, and the effect got lost
	r := b.request
	r.Node, r.Zone, r.Actions, r.Drift = e.Name, e.zone, e.cost, e.Report.Drift
	r.Away, r.Failing, r.Begun = off, failing(e.Node), was && busy(e.Node) || e.Cordon == Ours || failing(e.Node) || b.fell(e)
	r.Theirs = b.ours == 0
	r.Unavailable, r.Expected, r.Quorum = gone, b.remains(e, begun), b.votes.quorum(e.Node, b.fell(e))
	if b.rewound && r.Failing {
		r.Holds = r.Holds[:len(r.Holds)-1] // a repair does not wait for people to agree on a branch
	}
	for i, rules := range b.rules {
		r.Rollout, r.MaxUnavailable, r.Stage = rules.Rollout, rules.MaxUnavailable, b.stages[i]
		if !off && e.away != "" { // it cannot stand in its own way
			r.Stage.ZoneAway = maps.Clone(r.Stage.ZoneAway)
			r.Stage.ZoneAway[r.Zone]--
		}
		r.Canary, r.Stage.Zone = b.canary(i, e.Node), b.front(i, e)
		switch v := b.ask(i, r); {
		case i == 0:
			verdict = v
		case v.Outcome > verdict.Outcome && i == b.guard:
			verdict = theGuardrails(v, verdict)
		case v.Outcome > verdict.Outcome:
			verdict = v
		case i == b.guard && v.Outcome == policy.Wait && verdict.Outcome == policy.Wait:
			// What the operator asks besides: else people would wait for less than what holds them.
			for _, f := range theGuardrails(v, verdict).reasons {
				if strings.HasPrefix(f.Reason, byTheGuardrail) {
					verdict.reasons = append(slices.Clip(verdict.reasons), f)
				}
			}
		}
	}
	return verdict
}

const byTheGuardrail = "by the guardrail: "

// theGuardrails marks what only the operator's rules hold against a step: nobody finds it in the
// repository.
func theGuardrails(v, repository answer) answer {
	v.reasons = slices.Clone(v.reasons)
	for i := range v.reasons {
		if f := &v.reasons[i]; !slices.Contains(repository.reasons, *f) {
			f.Reason = byTheGuardrail + f.Reason
		}
	}
	return v
}

// fell says that a node went down with something else than what its pool had landed: to retarget it
// is a repair. Made to wait its turn, it could hold the very slot that a canary waits for.
func (b *bench) fell(e *errand) bool {
	return !e.Ready && e.Order.Generation > 0 && e.Order.Config != b.landed
}

// remains is what is left of the time that the node's step is expected to take.
func (b *bench) remains(e *errand, begun Begun) time.Duration {
	expected := b.pace[impact.Worst(e.cost)]
	if e.Cordon == Ours && !begun.At.IsZero() {
		expected = max(0, expected-b.request.Now.Sub(begun.At))
	}
	return expected
}

func (b *bench) ask(rules int, r policy.Request) answer {
	if len(r.Drift) > 0 || r.Quorum != nil {
		return answerOf(b.gate.Judge(r)) // its reason names the node
	}
	q := question{r.Begun, r.Away, r.Failing, r.Canary, r.Zone, r.Stage.Zone, &r.Actions[0], len(r.Unavailable), len(b.rules)*r.Stage.Started + rules, r.Expected}
	v, ok := b.heard[q]
	if !ok {
		v = answerOf(b.gate.Judge(r))
		b.heard[q] = v
	}
	return v
}

// started counts a node that this step begins.
func (b *bench) started(e *errand) {
	if len(e.cost) > 0 {
		b.votes.lose(e.Node)
	}
	if e.away == "" && len(e.cost) > 0 {
		b.gone, b.ours = append(b.gone, e.Name+" (updating)"), b.ours+1
	}
	for i := range b.stages {
		if !e.started(b.target) {
			b.stages[i].Started++
		}
		if e.away == "" && len(e.cost) > 0 {
			b.stages[i].ZoneAway[e.zone]++
		}
	}
}

// permit is the end of the window that allowed a disturbance, so that a node which hears of its
// order too late does not begin outside it.
func (b *bench) permit(e *errand) time.Time {
	if len(e.cost) == 0 || failing(e.Node) {
		return time.Time{}
	}
	if b.closes == nil {
		b.closes = new(time.Time)
		for _, rules := range b.rules {
			if next := rules.Rollout.State(b.request.Now).Until; b.closes.IsZero() || !next.IsZero() && next.Before(*b.closes) {
				*b.closes = next
			}
		}
	}
	return *b.closes
}

// pass notes when nodes, and the canaries among them, came through. What is through at the start
// of an attempt has nothing to prove: a pool that goes back soaks for nobody.
func (p Pool) pass(want render.Pool, guard *policy.Rollout, errands []errand, before int, fresh bool, now time.Time) Pool {
	if p.Counts.Updated > before || p.arrived(errands) {
		p.LastAt = now
	}
	at := now
	if fresh {
		at = time.Unix(0, 0).UTC() // long before anybody asked
	}
	if p.CanaryAt.IsZero() && through(p.Rules.Rollout, errands) {
		p.CanaryAt = at
	}
	if p.HeadCanaryAt.IsZero() && through(want.Policy, errands) {
		p.HeadCanaryAt = at
	}
	if guard != nil && p.GuardAt.IsZero() && through(*guard, errands) {
		p.GuardAt = at
	}
	return p
}

// arrived says that a node came to the target now, where the count cannot tell: another may have
// left it at the same moment.
func (p Pool) arrived(errands []errand) bool {
	for i := range errands {
		e := &errands[i]
		if !e.reached || e.Cordon == Ours {
			continue
		}
		if b, begun := p.Begun[e.Name]; begun && (b.Drain.IsZero() || p.LastAt.Before(b.At)) {
			return true
		}
	}
	return false
}
