package reconciler

import (
	"slices"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
)

// Bound are the configs that a node may be half way to, besides what it reports: those of its
// orders, while it is at work or has failed. They are the node's, not its pool's: one that is moved
// is still at what its old pool had ordered.
func (s State) Bound(n *Node) []machine.Digest {
	if !busy(n) && n.Report.Phase != nodeops.Failed {
		return nil
	}
	out := []machine.Digest{n.Order.Config}
	for _, d := range s.Sent[n.Name] {
		if d != n.Order.Config {
			out = append(out, d)
		}
	}
	return out
}

// note keeps what nodes are bound to, with what they are sent now. Who is whole again, or gone, is
// bound to nothing.
func (s *State) note(nodes []Node, effects []Effect) {
	now := map[string]machine.Digest{}
	for _, f := range effects {
		if send, ok := f.(Send); ok {
			now[send.Order.Node] = send.Order.Config
		}
	}
	var keep map[string][]machine.Digest
	for i := range nodes {
		n := &nodes[i]
		bound := s.Bound(n)
		if d, ok := now[n.Name]; ok && !slices.Contains(bound, d) {
			bound = append(bound, d)
		}
		if len(bound) == 0 {
			continue
		}
		if keep == nil {
			keep = map[string][]machine.Digest{}
		}
		keep[n.Name] = bound
	}
	s.Sent = keep
}
