package reconciler

import (
	"slices"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
)

// mostSent is how many configs are remembered of one node. One that never answers is sent another
// with each commit; every one of them would have to be kept.
const mostSent = 10

// forgotten stands for a config of which nobody knows any more which it was.
const forgotten machine.Digest = "forgotten"

// Bound are the configs that a node may be half way to, besides what it reports: those of its
// orders, while it is at work or has failed, or was sent something and is heard no more. They are the
// node's, not its pool's: one that is moved is still at what its old pool had ordered. Where they are
// as many as are remembered, one of them is forgotten: to get away from that costs a reboot.
func (s State) Bound(n *Node) []machine.Digest {
	if n.Mute && !busy(n) {
		return slices.Clone(s.Sent[n.Name])
	}
	if !busy(n) && n.Report.Phase != nodeops.Failed {
		return nil
	}
	out := []machine.Digest{n.Order.Config}
	for _, d := range s.Sent[n.Name] {
		if d != n.Order.Config {
			out = append(out, d)
		}
	}
	if len(s.Sent[n.Name]) >= mostSent {
		out = append(out, forgotten)
	}
	return out
}

// lost says that a node was sent something, and that its agent is heard no more: what the cluster kept
// of it was deleted. Nobody knows how far it is.
func (s State) lost(n *Node) bool { return n.Mute && len(s.Sent[n.Name]) > 0 }

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
		bound := slices.DeleteFunc(s.Bound(n), func(d machine.Digest) bool { return d == forgotten })
		if d, ok := now[n.Name]; ok && !slices.Contains(bound, d) {
			bound = append(bound, d)
		}
		if len(bound) == 0 {
			continue
		}
		bound = bound[max(0, len(bound)-mostSent):]
		if keep == nil {
			keep = map[string][]machine.Digest{}
		}
		keep[n.Name] = bound
	}
	s.Sent = keep
}
