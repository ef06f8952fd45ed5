package reconciler

import (
	"cmp"
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
// decides should see everybody else through. Each zone is read once, since a fleet is sorted at
// every step.
func inOrder(crew []*Node, self string) {
	type place struct {
		zone string
		born int64 // in seconds: what follows the sort should not have to be fetched for each comparison
		last bool
		node *Node
	}
	places := make([]place, len(crew))
	for i, n := range crew {
		places[i] = place{n.Labels[zoneLabel], n.Created.Unix(), n.Name == self && self != "", n}
	}
	slices.SortFunc(places, func(a, b place) int {
		switch {
		case a.last != b.last:
			if a.last {
				return 1
			}
			return -1
		case a.zone == b.zone && a.born != b.born:
			return cmp.Compare(a.born, b.born)
		}
		return compare(a.node, b.node, a.zone, b.zone)
	})
	for i, p := range places {
		crew[i] = p.node
	}
}

// Before is the order of a rollout: by zone, the nodes of no zone last, then the oldest, as MCO
// main sorts; names break the tie, so that the order can be foretold.
func Before(a, b Node) int { return compare(&a, &b, a.Labels[zoneLabel], b.Labels[zoneLabel]) }

func compare(a, b *Node, za, zb string) int {
	if (za == "") != (zb == "") {
		return cmp.Compare(zb, za)
	}
	if za != zb {
		return cmp.Compare(za, zb)
	}
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
}

const zoneLabel = "topology.kubernetes.io/zone"
