package policy

import (
	"fmt"
	"strconv"
	"strings"
)

func paused(r Request) (Outcome, string) {
	if r.Paused {
		return Wait, fmt.Sprintf("pool %s is paused (MachineConfigPool spec.paused)", r.Pool)
	}
	return Allow, ""
}

// maxUnavailable counts every node that is not at work, whoever took it away: a foreign cordon
// and a dead node hold a slot, too.
func maxUnavailable(r Request) (Outcome, string) {
	limit, err := Limit(r.MaxUnavailable, r.Nodes)
	if err != nil {
		return Deny, err.Error()
	}
	if len(r.Unavailable) < limit {
		return Allow, ""
	}
	named := r.Unavailable[:min(3, len(r.Unavailable))]
	more := ""
	if n := len(r.Unavailable) - len(named); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return Wait, fmt.Sprintf("%d of %d nodes may be unavailable, %d are: %s%s",
		limit, r.Nodes, len(r.Unavailable), strings.Join(named, ", "), more)
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
