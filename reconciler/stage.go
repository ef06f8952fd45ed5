package reconciler

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/render"
)

// bench is who judges the nodes of a pool in one step: the rules in force, and those of the head
// where they differ. Relaxing a rule does not help the commit that does it, and tightening one
// holds at once.
type bench struct {
	request policy.Request // what all nodes share
	gate    policy.Gate
	begun   map[string]Begun
	rules   []Rules
	stages  []policy.Stage // one for each of the rules
	heard   map[question]policy.Verdict
}

// question is all that tells one node's request from another's of the same pool and step: most
// of five thousand nodes ask the same.
type question struct {
	begun, away, failing, canary bool
	zone                         string
	cost                         *impact.Action // of the shared bill
	gone, started                int
}

func (s *State) bench(p Pool, want render.Pool, errands []errand, o Observed) *bench {
	b := &bench{
		gate: o.Gate, begun: p.Begun, heard: map[question]policy.Verdict{}, rules: []Rules{p.Rules},
		request: policy.Request{Pool: want.Name, Paused: want.Strategy.Paused, Now: o.Now, Nodes: len(errands)},
	}
	if head := (Rules{want.Policy, want.Strategy.MaxUnavailable}); !reflect.DeepEqual(head, p.Rules) {
		b.rules = append(b.rules, head)
	}
	for i, r := range b.rules {
		st := s.stage(p, r.Rollout, errands, o)
		if i == 1 {
			st.CanaryAt = p.HeadCanaryAt
		}
		b.stages = append(b.stages, st)
	}
	return b
}

// stage is how far the pool is, as one set of rules sees it.
func (s *State) stage(p Pool, r policy.Rollout, errands []errand, o Observed) policy.Stage {
	st := policy.Stage{CanaryAt: p.CanaryAt, LastAt: p.LastAt, ZoneAway: map[string]int{}}
	unfinished := false
	for _, e := range errands {
		if e.reached {
			st.Reached++
		}
		if e.reached || e.asked || e.Cordon == Ours {
			st.Started++
		}
		if e.away != "" {
			st.ZoneAway[e.Labels[zoneLabel]]++
		}
		if isCanary(e.Node, r) {
			st.Labelled++
			if !e.reached {
				st.Canaries = append(st.Canaries, e.Name)
			}
		}
		if !e.reached && !e.failed && !unfinished { // errands come zone by zone
			unfinished, st.Zone = true, e.Labels[zoneLabel]
		}
	}
	if r.Order == nil {
		return st
	}
	for _, name := range r.Order.After {
		other, ok := s.Pools[name]
		if !ok || other.Revision.Commit != o.Head.Revision.Commit || other.Phase != Updated && other.Phase != Degraded {
			st.Behind = append(st.Behind, name)
		}
	}
	return st
}

func isCanary(n Node, r policy.Rollout) bool {
	if r.Canary == nil || len(r.Canary.Labels) == 0 {
		return false
	}
	for key, value := range r.Canary.Labels {
		if has, ok := n.Labels[key]; !ok || has != value {
			return false
		}
	}
	return true
}

// judge asks the gate about one node, once for each set of rules; the worse answer holds.
func (b *bench) judge(e errand, gone []string) (verdict policy.Verdict) {
	if len(e.cost) == 0 {
		return verdict
	}
	off := e.away != ""
	if off && e.Ready && e.Cordon == Uncordoned && !failing(e.Node) {
		// It was begun, and is at work all the same: to take it away needs a slot, its own or another.
		off = false
		gone = slices.DeleteFunc(slices.Clone(gone), func(s string) bool { return strings.HasPrefix(s, e.Name+" (") })
	}
	for i, rules := range b.rules {
		r := b.request
		r.Node, r.Zone, r.Actions, r.Drift = e.Name, e.Labels[zoneLabel], e.cost, e.Report.Drift
		_, begun := b.begun[e.Name] // or was decided to be, and the effect got lost
		r.Away, r.Failing, r.Begun = off, failing(e.Node), begun && busy(e.Node) || e.Cordon == Ours || failing(e.Node)
		r.Rollout, r.MaxUnavailable, r.Stage = rules.Rollout, rules.MaxUnavailable, b.stages[i]
		if !off && e.away != "" { // it cannot stand in its own way
			r.Stage.ZoneAway = maps.Clone(r.Stage.ZoneAway)
			r.Stage.ZoneAway[r.Zone]--
		}
		r.Unavailable, r.Canary = gone, isCanary(e.Node, rules.Rollout)
		if v := b.ask(i, r); i == 0 || v.Outcome > verdict.Outcome {
			verdict = v
		}
	}
	return verdict
}

func (b *bench) ask(rules int, r policy.Request) policy.Verdict {
	if len(r.Drift) > 0 {
		return b.gate.Judge(r) // its reason names the node
	}
	q := question{r.Begun, r.Away, r.Failing, r.Canary, r.Zone, &r.Actions[0], len(r.Unavailable), 2*r.Stage.Started + rules}
	v, ok := b.heard[q]
	if !ok {
		v = b.gate.Judge(r)
		b.heard[q] = v
	}
	return v
}

// started counts a node that this step begins.
func (b *bench) started(e errand) {
	for i := range b.stages {
		if !e.asked && e.Cordon != Ours {
			b.stages[i].Started++
		}
		if e.away == "" && len(e.cost) > 0 {
			b.stages[i].ZoneAway[e.Labels[zoneLabel]]++
		}
	}
}

// pass notes when nodes, and the canaries among them, came through. What is through at the start
// of an attempt has nothing to prove: a pool that goes back soaks for nobody.
func (p Pool) pass(want render.Pool, errands []errand, before int, fresh bool, now time.Time) Pool {
	if p.Counts.Updated > before {
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
	return p
}

// through says that the canaries of some rules are at the target.
func through(r policy.Rollout, errands []errand) bool {
	if r.Canary == nil {
		return true
	}
	first, err := policy.Limit(r.Canary.Nodes, len(errands))
	reached, labelled := 0, 0
	for _, e := range errands {
		canary := isCanary(e.Node, r)
		if canary {
			labelled++
		}
		if e.reached {
			reached++
		} else if canary {
			return false
		}
	}
	if len(r.Canary.Labels) > 0 {
		return labelled > 0
	}
	return err == nil && reached >= first
}
