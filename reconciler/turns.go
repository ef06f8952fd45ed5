package reconciler

import (
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/render"
)

// turns is which pools come after which, by everybody who has a word in it.
type turns struct {
	state *State
	head  Head
	guard *policy.Rollout
}

// behind are the pools that come before one by some rules, and have not landed the head's commit;
// missing are those among them that the head does not have. A pool that the rules are for and that
// they name themselves is one of the first. Of a pool that was deleted nobody can expect anything:
// rules that were written when it was there wait for it no more, but the operator may have
// misspelt the name.
func (t *turns) behind(pool string, r policy.Rollout, guard bool) (behind, missing []string) {
	if r.Order == nil || slices.Contains(r.Order.After, pool) {
		return nil, nil
	}
	for _, name := range r.Order.After {
		there := slices.ContainsFunc(t.head.Pools, func(p render.Pool) bool { return p.Name == name })
		if there && t.landed(name) || !there && !guard {
			continue
		}
		behind = append(behind, name)
		if !there {
			missing = append(missing, name)
		}
	}
	return behind, missing
}

func (t *turns) landed(pool string) bool {
	p, ok := t.state.Pools[pool]
	return ok && p.Revision.Commit == t.head.Revision.Commit && (p.Phase == Updated || p.Phase == Degraded)
}

// wait is that a pool waits for another, and who says so.
type wait struct{ pool, on, by string }

// waits are all that one pool waits for.
func (t *turns) waits(pool string) (out []wait) {
	add := func(r policy.Rollout, by string, guard bool) {
		on, _ := t.behind(pool, r, guard)
		for _, name := range on {
			if !slices.ContainsFunc(out, func(w wait) bool { return w.on == name }) {
				out = append(out, wait{pool, name, by})
			}
		}
	}
	if t.guard != nil {
		add(*t.guard, "by the guardrail", true)
	}
	for _, p := range t.head.Pools {
		if p.Name == pool {
			add(p.Policy, "by its policy", false)
		}
	}
	add(t.state.Pools[pool].Rules.Rollout, "by the rules in force", false)
	return out
}

// circle is the shortest way on which a pool waits for itself, in words; "" is none. Render refuses
// one within a revision, but who is stronger does not ask it: the guardrail, and the rules in force.
func (t *turns) circle(start string) string {
	seen := map[string]bool{}
	ways := [][]wait{}
	for _, w := range t.waits(start) {
		ways = append(ways, []wait{w})
	}
	for ; len(ways) > 0; ways = ways[1:] {
		way := ways[0]
		last := way[len(way)-1].on
		if last == start {
			return worded(way)
		}
		if seen[last] {
			continue
		}
		seen[last] = true
		for _, w := range t.waits(last) {
			ways = append(ways, append(slices.Clone(way), w))
		}
	}
	return ""
}

func worded(way []wait) string {
	var out []string
	for _, w := range way {
		out = append(out, "pool "+w.pool+" comes after pool "+w.on+" "+w.by)
	}
	return strings.Join(out, ", ")
}
