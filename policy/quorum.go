package policy

import (
	"fmt"
	"slices"
)

// quorum asks whether etcd keeps a majority while this member is away, and takes the node for one
// that is at work, drained or not: its member runs until the reboot. Where no majority can outlive
// the loss of one (one or two members), it warns, and waits only for the others. A failing member
// is counted on by nobody, and its repair is what brings the majority back.
func quorum(r Request) (Outcome, string) {
	q := r.Quorum
	if q == nil || r.Failing {
		return Allow, ""
	}
	down := slices.DeleteFunc(slices.Clone(q.Down), func(name string) bool { return name == r.Node })
	majority := q.Members/2 + 1
	switch left := q.Members - len(down) - 1; {
	case left >= majority:
		return Allow, ""
	case len(down) > 0:
		return Wait, fmt.Sprintf("etcd would have %d of %d members, and needs %d; down already: %s", max(left, 0), q.Members, majority, named(down))
	default:
		return Warn, fmt.Sprintf("etcd has %d of the %d members that it needs while node %s is away: the API does not answer until it is back", left, majority, r.Node)
	}
}
