package metrics

import (
	"slices"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/render"
)

// homes are the pools of the nodes that have one.
func homes(o reconciler.Observed) map[string]string {
	out := make(map[string]string, len(o.Nodes))
	for i := range o.Nodes {
		if pool, err := render.Member(o.Head.Pools, o.Nodes[i].Labels); err == nil && pool != "" {
			out[o.Nodes[i].Name] = pool
		}
	}
	return out
}

// photograph is what one look says of the fleet: the same look, the same samples, in any order.
func photograph(k loop.Look, home map[string]string, m memory) []sample {
	s, o := k.State, k.Seen
	out := []sample{
		one("sluice_fleet_nodes", float64(len(o.Nodes))),
		one("sluice_fleet_refused", truth(o.Broken != nil), "render"),
		one("sluice_fleet_refused", truth(o.Rewound != nil), "rewound"),
		one("sluice_fleet_stray_nodes", float64(len(s.Strays))),
		one("sluice_tick_timestamp_seconds", seconds(o.Now)),
	}
	if s.Good.Commit != "" {
		out = append(out, one("sluice_fleet_info", 1, s.Good.Short()))
	}
	taken := takeCensus(k, home)
	for name, p := range s.Pools {
		out = append(out, poolStands(name, p, o)...)
		out = append(out, one("sluice_pool_progress_timestamp_seconds", seconds(m.moved[name]), name))
		out = append(out, taken[name].samples(name)...)
	}
	return append(out, nodesUnderWay(k, home, m.unanswered)...)
}

var poolPhases = []reconciler.Phase{
	reconciler.Updated, reconciler.Progressing, reconciler.Waiting, reconciler.Paused, reconciler.Halted, reconciler.Degraded,
}

// poolStands is how a pool stands.
func poolStands(name string, p reconciler.Pool, o reconciler.Observed) []sample {
	out := []sample{
		one("sluice_pool_info", 1, name, p.Revision.Short(), p.Target.Short()),
		one("sluice_pool_phase_since_timestamp_seconds", seconds(p.Since), name),
		one("sluice_pool_skipped_nodes", float64(len(p.Skipped)), name),
		one("sluice_pool_unavailable_nodes", float64(p.Counts.Unavailable), name),
	}
	for _, phase := range poolPhases {
		out = append(out, one("sluice_pool_phase", truth(p.Phase == phase), name, string(phase)))
	}
	if limit, err := policy.Limit(p.Rules.MaxUnavailable, p.Counts.Nodes); err == nil {
		out = append(out, one("sluice_pool_max_unavailable_nodes", float64(limit), name))
	}
	said := map[string]bool{}
	for _, f := range p.Waiting {
		if f.Outcome >= policy.Wait && !said[f.Check] {
			said[f.Check] = true
			out = append(out, one("sluice_pool_waiting", 1, name, f.Check))
		}
	}
	out = append(out, holds(name, o)...)
	return append(out, window(name, rulesOf(name, p, o), o.Now)...)
}

// holds are the operators' that are in force for a pool.
func holds(pool string, o reconciler.Observed) []sample {
	n := 0
	var oldest time.Time
	for _, h := range o.Holds {
		if !h.InForce(pool, o.Now) {
			continue
		}
		if n++; !h.Since.IsZero() && (oldest.IsZero() || h.Since.Before(oldest)) {
			oldest = h.Since
		}
	}
	out := []sample{one("sluice_pool_holds", float64(n), pool)}
	if !oldest.IsZero() {
		out = append(out, one("sluice_pool_hold_since_timestamp_seconds", seconds(oldest), pool))
	}
	return out
}

// rulesOf are those that must all allow a node of the pool: in force, of the head, and the operator's.
func rulesOf(name string, p reconciler.Pool, o reconciler.Observed) []policy.Rollout {
	rules := []policy.Rollout{p.Rules.Rollout}
	for _, want := range o.Head.Pools {
		if want.Name == name {
			rules = append(rules, want.Policy)
		}
	}
	if o.Guardrail != nil {
		rules = append(rules, *o.Guardrail)
	}
	return rules
}

// window says whether all rules are open now, and when they next are after being closed.
func window(pool string, rules []policy.Rollout, now time.Time) []sample {
	open, until, _ := opening(rules, now)
	out := []sample{one("sluice_pool_window_open", truth(open), pool)}
	for range 100 { // windows of several policies may miss each other for ever
		if until.IsZero() || until.Sub(now) > 366*24*time.Hour {
			break
		}
		again, end, next := opening(rules, until)
		if again {
			return append(out, one("sluice_pool_window_next_open_timestamp_seconds", seconds(until), pool))
		}
		if until = end; next.After(end) {
			until = next
		}
	}
	return out
}

// opening is how all rules stand together at a moment: until when that is certain, and, where they
// are closed, before when they are not open.
func opening(rules []policy.Rollout, at time.Time) (open bool, until, next time.Time) {
	open = true
	never := false
	for _, r := range rules {
		st := r.State(at)
		if open = open && st.Open; !st.Until.IsZero() && (until.IsZero() || st.Until.Before(until)) {
			until = st.Until
		}
		if !st.Open {
			if never = never || st.Next.IsZero(); st.Next.After(next) {
				next = st.Next
			}
		}
	}
	if never {
		return false, time.Time{}, time.Time{}
	}
	return open, until, next
}

// The ways of a node to its pool's target, in order.
var nodePhases = []string{"unheard", "outdated", "draining", "drained", "updating", "updated", "restored", "refused", "failed"}

// phaseOf is how far a node is on its way. What has failed on the way to an older target is only
// outdated, unless it is still not whole.
func phaseOf(n *reconciler.Node, target machine.Digest) string {
	r := n.Report
	final := r.Generation == n.Order.Generation && n.Order.Config == target
	switch {
	case unheard(n):
		return "unheard"
	case n.Order.Generation > r.Generation, r.Phase == nodeops.Working:
		return "updating"
	case r.Phase == nodeops.Failed:
		return "failed"
	case final && r.Phase == nodeops.Done && r.Config == target:
		return "updated"
	case final && (r.Phase == nodeops.Restored || r.Phase == nodeops.Refused):
		return string(r.Phase)
	case n.Cordon == reconciler.Ours && n.Drained:
		return "drained"
	case n.Cordon == reconciler.Ours:
		return "draining"
	}
	return "outdated"
}

// unheard says that no agent has ever reported on a node.
func unheard(n *reconciler.Node) bool {
	r := n.Report
	return r.Phase == nodeops.Idle && r.Generation == 0 && r.Config == "" && r.BootID == ""
}

// census counts a pool's nodes.
type census struct{ phases, drifted map[string]int }

// takeCensus passes once over all nodes: it is made after every tick.
func takeCensus(k loop.Look, home map[string]string) map[string]census {
	out := make(map[string]census, len(k.State.Pools))
	for name := range k.State.Pools {
		out[name] = census{map[string]int{}, map[string]int{}}
	}
	for i := range k.Seen.Nodes {
		n := &k.Seen.Nodes[i]
		c, is := out[home[n.Name]]
		if !is {
			continue
		}
		c.phases[phaseOf(n, k.State.Pools[home[n.Name]].Target)]++
		kinds := map[string]bool{}
		for _, d := range n.Report.Drift {
			kinds[driftKind(d.Kind)] = true
		}
		for kind := range kinds {
			c.drifted[kind]++
		}
	}
	return out
}

func (c census) samples(pool string) (out []sample) {
	for _, phase := range nodePhases {
		out = append(out, one("sluice_pool_nodes", float64(c.phases[phase]), pool, phase))
	}
	for kind, n := range c.drifted {
		out = append(out, one("sluice_pool_drifted_nodes", float64(n), pool, kind))
	}
	return out
}

// driftKinds are those that are counted apart: a node may say whatever it likes.
var driftKinds = []nodeops.DriftKind{
	nodeops.DriftContent, nodeops.DriftMode, nodeops.DriftOwner, nodeops.DriftType, nodeops.DriftMissing, nodeops.DriftUnit,
	nodeops.DriftEnablement, nodeops.DriftKargs, nodeops.DriftImage,
}

func driftKind(k nodeops.DriftKind) string {
	if slices.Contains(driftKinds, k) {
		return string(k)
	}
	return "other"
}

// nodesUnderWay speaks of single nodes, and only of those that something is under way for or is
// wrong with: a fleet at rest has none of these series.
func nodesUnderWay(k loop.Look, home map[string]string, unanswered map[string]time.Time) (out []sample) {
	moved := map[string]bool{}
	for _, e := range k.Effects {
		switch e := e.(type) {
		case reconciler.Drain:
			moved[e.Node] = true
		case reconciler.Send:
			moved[e.Order.Node] = true
		}
	}
	for i := range k.Seen.Nodes {
		n := &k.Seen.Nodes[i]
		pool := home[n.Name]
		p := k.State.Pools[pool]
		b, begun := p.Begun[n.Name]
		ours := n.Cordon == reconciler.Ours
		if begun {
			out = append(out, one("sluice_node_update_begun_timestamp_seconds", seconds(b.At), pool, n.Name))
		}
		if begun && !b.Drain.IsZero() && ours && !n.Drained && phaseOf(n, p.Target) != "updating" {
			out = append(out, one("sluice_node_drain_begun_timestamp_seconds", seconds(b.Drain), pool, n.Name))
		}
		if ours && n.Blocked != "" {
			out = append(out, one("sluice_node_drain_blocked", 1, pool, n.Name, obstacle(n.Blocked)))
		}
		if since, is := unanswered[n.Name]; is {
			out = append(out, one("sluice_node_unanswered_timestamp_seconds", seconds(since), pool, n.Name))
		}
		if pool != "" && !n.Created.IsZero() && unheard(n) {
			out = append(out, one("sluice_node_unheard_timestamp_seconds", seconds(n.Created), pool, n.Name))
		}
		whole := n.Order.Generation <= n.Report.Generation && n.Report.Phase.Whole()
		if ours && whole && !moved[n.Name] {
			out = append(out, one("sluice_node_stranded", 1, pool, n.Name))
		}
	}
	return out
}

// obstacles are the words by which the fleet tells what keeps a drain from ending, and a short name
// for each.
var obstacles = []struct{ word, name string }{
	{"PodDisruptionBudget", "budget"},
	{"no controller", "no_controller"},
	{"its grace period was over", "terminating"},
	{"its DaemonSet is gone", "orphan_daemon"},
	{"of the policy says wait", "policy_wait"},
	{"of the policy says block", "policy_block"},
}

// obstacle is what keeps a drain from ending, in one of few words.
func obstacle(blocked string) string {
	for _, o := range obstacles {
		if strings.Contains(blocked, o.word) {
			return o.name
		}
	}
	return "other"
}
