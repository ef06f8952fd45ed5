package preview

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/source"
)

// writer makes a string from a repository safe for the place where it will stand.
type writer func(string) string

// Sentence is the answer in one line.
func (r Report) Sentence() string {
	if len(r.Pools) == 0 {
		return "No pool is rendered from this change."
	}
	var parts []string
	for _, kind := range []impact.Kind{impact.Impossible, impact.Reboot, impact.Drain, impact.Restart, impact.Reload} {
		count := 0
		var pools []string
		for _, p := range r.Pools {
			if n := len(p.Nodes[kind.String()]); n > 0 {
				count += n
				pools = append(pools, p.Name)
			}
		}
		if count > 0 {
			parts = append(parts, fmt.Sprintf("%s (%s)", plural(count, "node "+singular[kind], "nodes "+verbs[kind]), some(pools, 5, short)))
		}
	}
	changed := slices.ContainsFunc(r.Pools, func(p Pool) bool { return p.Changed })
	switch {
	case r.Inventory == 0:
		return r.withoutNodes()
	case len(parts) == 0 && !changed:
		return "No node changes."
	case len(parts) == 0:
		return "No node is disturbed."
	}
	return strings.Join(parts, " · ") + "." + r.notYet()
}

// notYet says when the first node is disturbed, where that is not at once.
func (r Report) notYet() string {
	var first time.Time
	held := false
	for _, p := range r.Pools {
		disturbs := false
		for _, kind := range []impact.Kind{impact.Reload, impact.Restart, impact.Drain, impact.Reboot} {
			disturbs = disturbs || len(p.Nodes[kind.String()]) > 0
		}
		switch {
		case !disturbs:
		case len(p.Waves) == 0:
			held = true
		case p.Start.IsZero():
			return ""
		case first.IsZero() || p.Start.Before(first):
			first = p.Start
		}
	}
	switch {
	case !first.IsZero():
		return " None before " + moment(first) + "."
	case held:
		return " None as things stand."
	}
	return ""
}

// withoutNodes is the answer when no inventory is known: what any node would pay.
func (r Report) withoutNodes() string {
	var parts []string
	for _, p := range r.byDisturbance() {
		if p.Changed {
			parts = append(parts, fmt.Sprintf("each node of %s %s", short(p.Name), singular[p.Kind]))
		}
	}
	if len(parts) == 0 {
		return "No pool changes."
	}
	if more := len(parts) - 5; more > 0 {
		parts = append(parts[:5], plural(more, "more pool changes", "more pools change"))
	}
	return strings.Join(parts, " · ") + "."
}

var verbs = map[impact.Kind]string{
	impact.Impossible: "cannot change in place", impact.Reboot: "reboot", impact.Drain: "are drained and reload",
	impact.Restart: "restart a service", impact.Reload: "reload only",
}

var singular = map[impact.Kind]string{
	impact.Impossible: "cannot change in place", impact.Reboot: "reboots", impact.Drain: "is drained and reloads",
	impact.Restart: "restarts a service", impact.Reload: "reloads only", impact.Nothing: "changes without disturbance",
}

// story is what is to be known of a pool, a line each: what the request changes, what its nodes
// really run, what a revert would cost, when it begins.
func (p Pool) story(w writer) []string {
	out := append([]string{p.request(w)}, p.joining(w)...)
	if p.Also != nil {
		out = append(out, p.also(w))
	}
	if p.Revert != nil {
		out = append(out, p.revert(w))
	}
	if len(p.After) > 0 {
		out = append(out, "begins when the same commit has landed in "+some(p.After, shown, w))
	}
	if !p.Start.IsZero() && len(p.Windows) < 2 {
		out = append(out, "the first node begins "+moment(p.Start))
	}
	first := 1
	for _, t := range p.Windows[:min(len(p.Windows), shown)] {
		which := fmt.Sprintf("wave %d", first)
		if t.Waves > 1 {
			which = fmt.Sprintf("waves %d to %d", first, first+t.Waves-1)
		}
		out = append(out, fmt.Sprintf("%s (%s) from %s", which, nodes(t.Nodes), moment(t.From)))
		first += t.Waves
	}
	if len(p.Windows) > 0 && first <= len(p.Waves) {
		out = append(out, fmt.Sprintf("waves %d to %d later", first, len(p.Waves)))
	}
	if len(p.Drifted) > 0 {
		out = append(out, p.drifted(w))
	}
	return out
}

// request is what the change does to a node that is at the base.
func (p Pool) request(w writer) string {
	if !p.Changed {
		if len(p.Joining) > 0 {
			return "the request changes no config here"
		}
		return "the request changes nothing here"
	}
	if len(p.Actions) == 0 {
		return "the request: nodes change without disturbance"
	}
	var all []impact.Action
	for _, a := range p.Actions {
		all = append(all, a.Action)
	}
	kind, _ := worst(all)
	var causes []string
	for _, a := range all {
		if a.Kind == kind && !slices.Contains(causes, a.Cause) {
			causes = append(causes, a.Cause)
		}
	}
	return fmt.Sprintf("the request: %s, for %s", kind, some(causes, mostCaused, w))
}

// joining names the nodes that come from other pools.
func (p Pool) joining(w writer) (out []string) {
	for _, j := range p.Joining {
		from := "from no pool"
		if j.From != "" {
			from = "from pool " + w(j.From)
		}
		come := " come "
		if len(j.Nodes) == 1 {
			come = " comes "
		}
		out = append(out, fmt.Sprintf("%s (%s)%sto pool %s %s: %s, for %s", nodes(len(j.Nodes)), some(j.Nodes, mostCaused, w), come, w(p.Name), from, j.Kind, w(j.Cause)))
	}
	return out
}

// also names the nodes whose way is longer than the request, and what that makes of it.
func (p Pool) also(w writer) string {
	a := p.Also
	n := len(a.Nodes)
	out := fmt.Sprintf("%s of pool %s (%s) also", nodes(n), w(p.Name), some(a.Nodes, mostCaused, w))
	verb := " take up"
	if n == 1 {
		verb = " takes up"
	}
	if len(a.Commits) == 0 {
		out += verb + " what came before the base"
	} else {
		var commits []string
		for _, c := range slices.Backward(a.Commits) {
			commits = append(commits, source.Short(c))
		}
		out += fmt.Sprintf("%s %s (%s)", verb, plural(len(commits), "earlier commit", "earlier commits"), some(commits, mostCaused, w))
	}
	if a.Worse {
		return out + fmt.Sprintf(", which makes it %s, for %s", a.Kind, w(a.Cause))
	}
	return out + fmt.Sprintf(": %s in all", a.Kind)
}

// revert is what taking the change back would cost.
func (p Pool) revert(w writer) string {
	r := p.Revert
	switch {
	case r.Kind == impact.Impossible:
		return "a revert cannot be done in place, for " + w(r.Cause)
	case r.Symmetric && r.Kind == impact.Nothing:
		return "a revert disturbs nobody, either"
	case r.Symmetric:
		return fmt.Sprintf("a revert costs the same: %s", r.Kind)
	case r.Kind == impact.Nothing:
		return "a revert disturbs nobody"
	}
	return fmt.Sprintf("a revert costs: %s, for %s", r.Kind, w(r.Cause))
}

// drifted names the nodes that are not what they were made, and what differs.
func (p Pool) drifted(w writer) string {
	var out []string
	waits := 0
	for _, d := range p.Drifted {
		if d.Waits {
			waits++
		}
		if len(out) < mostCaused {
			text := fmt.Sprintf("%s has drifted: %s (%s)", w(d.Node), w(d.Drift[0].Path), d.Drift[0].Kind)
			if more := len(d.Drift) - 1; more > 0 {
				text += fmt.Sprintf(" and %d more", more)
			}
			out = append(out, text)
		}
	}
	text := "node " + strings.Join(out, "; node ")
	if more := len(p.Drifted) - len(out); more > 0 {
		text += fmt.Sprintf("; %s, too", plural(more, "more node", "more nodes"))
	}
	switch {
	case waits == 0:
		return text
	case waits == len(p.Drifted):
		return text + ": not taken until somebody puts it back"
	}
	return text + fmt.Sprintf(": %d of %d are not taken until somebody puts them back", waits, len(p.Drifted))
}

// driftOutcome is what drift does to the rollout.
func (p Pool) driftOutcome() policy.Outcome {
	if slices.ContainsFunc(p.Drifted, func(d Drifted) bool { return d.Waits }) {
		return policy.Wait
	}
	return policy.Allow
}

// cheaper is how the change could be split.
func (p Pool) cheaper(w writer) string {
	cost := " costs"
	if len(p.Cheaper.Without) > 1 {
		cost = " cost"
	}
	return fmt.Sprintf("Only %s%s the %s of pool %s; without, this change is: %s.", some(p.Cheaper.Without, mostCaused, w), cost, p.Kind, w(p.Name), p.Cheaper.Kind)
}

// some lists the first of many.
func some(all []string, most int, w writer) string {
	var out []string
	for _, s := range all[:min(most, len(all))] {
		out = append(out, w(s))
	}
	if more := len(all) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("%d more", more))
	}
	return strings.Join(out, ", ")
}

func nodes(n int) string { return plural(n, "node", "nodes") }

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
