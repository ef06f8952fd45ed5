package policy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

func paused(r Request) (Outcome, string) {
	if r.Paused {
		return Wait, fmt.Sprintf("pool %s is paused (MachineConfigPool spec.paused)", r.Pool)
	}
	return Allow, ""
}

// inPlace refuses what no node can do without being installed anew, before one is touched.
func inPlace(r Request) (Outcome, string) {
	for _, a := range r.Actions {
		if a.Kind == impact.Impossible {
			return Deny, fmt.Sprintf("%s cannot be changed in place: reinstall the nodes, or take the change back", a.Cause)
		}
	}
	return Allow, ""
}

// drift holds a node back that is not what it was made: whoever changed it should know first. A
// failing node is not whole anyway, and its repair must not wait.
func drift(r Request) (Outcome, string) {
	if len(r.Drift) == 0 || r.Failing {
		return Allow, ""
	}
	return Wait, Drifted(r.Node, r.Drift) + ": put it back first"
}

// Drifted says that a node is not what it was made, and where first. There must be some drift.
func Drifted(node string, drift []nodeops.Drift) string {
	more := ""
	if n := len(drift) - 1; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("node %s has drifted: %s (%s)%s", node, drift[0].Path, drift[0].Kind, more)
}

// maxUnavailable counts every node that is not at work, whoever took it away: a foreign cordon
// and a dead node hold a slot, too.
func maxUnavailable(r Request) (Outcome, string) {
	limit, err := Limit(r.MaxUnavailable, r.Nodes)
	if err != nil {
		return Deny, err.Error()
	}
	if r.Away || len(r.Unavailable) < limit {
		return Allow, ""
	}
	help := ""
	if r.Theirs {
		help = "; this rollout has taken none of them: bring them back to work, or delete them"
	}
	return Wait, fmt.Sprintf("%d of %d nodes may be unavailable, %d are: %s%s", limit, r.Nodes, len(r.Unavailable), named(r.Unavailable), help)
}

// Limit is the number of nodes that may be unavailable at a time, as MCO main counts: nothing
// said is 1, a percentage rounds down, and the result is never less than 1.
func Limit(maxUnavailable string, nodes int) (int, error) {
	text, percent := strings.CutSuffix(maxUnavailable, "%")
	if text == "" && !percent {
		return 1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("maxUnavailable %q is neither a number nor a percentage such as 10%%", maxUnavailable)
	}
	if percent {
		n = int(int64(n) * int64(nodes) / 100)
	}
	return max(n, 1), nil
}
