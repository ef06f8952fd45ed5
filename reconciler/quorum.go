package reconciler

import (
	"slices"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
)

// votes are etcd's members, which are the nodes with the role of the control plane, in whatever
// pools they are, and those among them that cannot be counted on. A cordoned node is one of those:
// it reads Ready until the moment it goes down. They are counted when somebody first asks.
type votes struct {
	nodes   []Node
	lost    func(*Node) bool // says that a node was sent something, and nobody knows how far it is
	members int
	down    []string // sorted as they are found: by name, then those that this step begins
	inHand  []string // of them, those that we have emptied, ordered, or begin
}

func (v *votes) count() {
	for i := range v.nodes {
		n := &v.nodes[i]
		if !member(n) {
			continue
		}
		v.members++
		if !n.Ready || n.Cordon != Uncordoned || busy(n) || n.Report.Phase == nodeops.Failed || v.lost(n) {
			v.down = append(v.down, n.Name)
		}
		if n.Cordon == Ours || busy(n) || v.lost(n) {
			v.inHand = append(v.inHand, n.Name)
		}
	}
	v.nodes = nil
}

func member(n *Node) bool {
	_, plane := n.Labels["node-role.kubernetes.io/control-plane"]
	_, master := n.Labels["node-role.kubernetes.io/master"]
	return plane || master
}

// quorum is what the gate must know of a member; nil of any other node. It is nil, too, of one that
// fell while no other is in our hands: nobody counts on it, and where two have fallen, to wait for
// the majority would be to wait for ever.
func (v *votes) quorum(n *Node, fell bool) *policy.Quorum {
	if !member(n) {
		return nil
	}
	v.count()
	if fell && !slices.ContainsFunc(v.inHand, func(name string) bool { return name != n.Name }) {
		return nil
	}
	return &policy.Quorum{Members: v.members, Down: slices.Clone(v.down)}
}

// lose counts a member that this step begins.
func (v *votes) lose(n *Node) {
	if !member(n) {
		return
	}
	if v.count(); !slices.Contains(v.down, n.Name) {
		v.down = append(v.down, n.Name)
	}
	v.inHand = append(v.inHand, n.Name)
}
