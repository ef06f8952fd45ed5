package reconciler

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sluice-gitops/sluice/render"
)

// muster gives each node to its pool. Nodes of no pool are idle; those whose labels contradict
// each other are strays, too.
func muster(o Observed) (crews map[string][]*Node, idle []*Node, strays map[string]string) {
	crews = map[string][]*Node{}
	for i := range o.Nodes {
		n := &o.Nodes[i]
		pool, err := render.Member(o.Head.Pools, n.Labels)
		switch {
		case err != nil:
			if strays == nil {
				strays = map[string]string{}
			}
			strays[n.Name] = err.Error()
			idle = append(idle, n)
		case pool == "":
			idle = append(idle, n)
		default:
			crews[pool] = append(crews[pool], n)
		}
	}
	for _, crew := range crews {
		inOrder(crew, o.Self)
	}
	return crews, idle, strays
}

// inOrder sorts a crew as Before does, with the controller's own node at the very end: whoever
// decides should see everybody else through. A fleet is sorted at every step: zone by zone, by what
// does not have to be fetched for each comparison.
func inOrder(crew []*Node, self string) {
	type place struct {
		born int64 // in seconds
		node *Node
	}
	zones := map[string]*[]place{}
	for _, n := range crew {
		zone := n.Labels[zoneLabel]
		if zones[zone] == nil {
			zones[zone] = &[]place{}
		}
		in := zones[zone]
		*in = append(*in, place{n.Created.Unix(), n})
	}
	sorted := crew[:0]
	for _, zone := range slices.SortedFunc(maps.Keys(zones), compareZones) {
		in := *zones[zone]
		slices.SortFunc(in, func(a, b place) int {
			if a.born != b.born {
				return cmp.Compare(a.born, b.born)
			}
			return compare(a.node, b.node)
		})
		for _, p := range in {
			sorted = append(sorted, p.node)
		}
	}
	if i := slices.IndexFunc(crew, func(n *Node) bool { return n.Name == self }); i >= 0 && self != "" {
		own := crew[i]
		crew[copy(crew[i:], crew[i+1:])+i] = own
	}
}

// Before is the order of a rollout: by zone, the nodes of no zone last, then the oldest, as MCO
// main sorts; names break the tie, so that the order can be foretold.
func Before(a, b Node) int {
	return cmp.Or(compareZones(a.Labels[zoneLabel], b.Labels[zoneLabel]), compare(&a, &b))
}

func compareZones(a, b string) int {
	if (a == "") != (b == "") {
		return cmp.Compare(b, a)
	}
	return cmp.Compare(a, b)
}

// compare is for nodes of one zone.
func compare(a, b *Node) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
}

const zoneLabel = "topology.kubernetes.io/zone"
