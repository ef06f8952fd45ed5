package reconciler

import (
	"time"

	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// lingers is how long a pool that waits keeps its nodes marked: a soak or a full budget passes, a
// closed window may not for a week.
const lingers = time.Hour

// Outdated says of nodes whether new work should rather go elsewhere: true where they are yet to be
// emptied for their pool's target, so that a pod is not evicted twice; false where not. Of a node
// that is not in it nothing is said: it stays as it is, so that a pool which waits between two nodes
// does not write to all of them each time. The state is the one that Step made of the photograph.
func Outdated(s State, o Observed) map[string]bool {
	if o.Head.Revision.Commit == "" {
		return nil
	}
	out := make(map[string]bool, len(o.Nodes))
	crews, idle, _ := muster(o)
	for _, n := range idle {
		out[n.Name] = false
	}
	for _, want := range o.Head.Pools {
		p := s.Pools[want.Name]
		waits := p.Phase == Waiting && o.Now.Sub(p.Since) < lingers
		if p.Phase != Progressing && !waits {
			for _, n := range crews[want.Name] {
				out[n.Name] = false
			}
			continue
		}
		for _, e := range s.plan(p, want, crews[want.Name], o) {
			yet := !e.reached && !e.failed && p.Skipped[e.Name] == "" && e.Cordon == Uncordoned && impact.Drains(impact.Worst(e.cost))
			if !yet || !waits {
				out[e.Name] = yet
			}
		}
	}
	return out
}
