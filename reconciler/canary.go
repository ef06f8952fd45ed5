package reconciler

import (
	"github.com/sluice-gitops/sluice/policy"
)

func isCanary(n *Node, r policy.Rollout) bool {
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

// canary says that a node comes first by some of the rules, or by stronger ones: the guardrail's
// stand above those in force, and these above the head's. Else each could wait for the other.
func (b *bench) canary(rules int, n *Node) bool {
	return isCanary(n, b.rules[rules].Rollout) ||
		rules != b.guard && isCanary(n, b.rules[0].Rollout) ||
		b.guard > 0 && isCanary(n, b.rules[b.guard].Rollout)
}

// front is the zone that is open to a node behind a barrier. It is the first that is not finished;
// and for a canary of weaker rules, for which all others wait, the first in which such a canary is
// to go: a barrier that held it would wait for itself. One zone is disturbed at a time all the same,
// also where the labels of the canary are those of every node.
func (b *bench) front(rules int, e *errand) string {
	open := b.stages[rules].Zone
	for i := range b.rules {
		weaker := i != rules && i != b.guard && (rules == 0 || rules == b.guard)
		if !weaker || !isCanary(e.Node, b.rules[i].Rollout) {
			continue
		}
		if open = b.stages[i].CanaryZone; open == e.zone {
			break
		}
	}
	return open
}

// proves says that a node is a canary by its labels, and that others wait for it still.
func (b *bench) proves(n *Node) bool {
	for i, r := range b.rules {
		if isCanary(n, r.Rollout) && b.stages[i].CanaryAt.IsZero() {
			return true
		}
	}
	return false
}

// unready says why a node may be waited for in vain, if it may: whoever waits for it should know.
func unready(n *Node) string {
	switch {
	case !n.Ready:
		return " (not ready)"
	case n.Mute:
		return " (its agent has said nothing yet)"
	}
	return ""
}

// through says that the canaries of some rules are at the target.
func through(r policy.Rollout, errands []errand) bool {
	if r.Canary == nil {
		return true
	}
	first, err := policy.Limit(r.Canary.Nodes, len(errands))
	reached, labelled := 0, 0
	for i := range errands {
		e := &errands[i]
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
