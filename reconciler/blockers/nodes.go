package blockers

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// members says when a wave takes the majority from etcd, or the last node from the control plane.
func (f *finder) members(w *wave) {
	taken := map[*Node]bool{}
	var first *Node
	for _, n := range w.nodes {
		taken[n] = true
		if first == nil && (n.Member != NoMember || n.ControlPlane) {
			first = n
		}
	}
	if first == nil {
		return
	}
	members, up, planes, planesLeft := 0, 0, 0, 0
	for i := range f.Nodes {
		n := &f.Nodes[i]
		works := n.Ready && !n.Unschedulable && !taken[n]
		if n.Member != NoMember {
			members++
			if works && n.Member == Up {
				up++
			}
		}
		if n.ControlPlane {
			planes++
			if works {
				planesLeft++
			}
		}
	}
	b := Blocker{Kind: Quorum, Severity: Blocks, Mark: AsRecorded, Node: first.Name, Name: "etcd"}
	switch {
	case members == 1 || members == 0 && planes == 1:
		b.Severity, b.Name, b.Reason = Warns, "control-plane", "this is the only node of the control plane: the API is away while the node is"
	case members > 1 && up < members/2+1:
		b.Reason = fmt.Sprintf("the wave leaves %d of %d etcd members up, and %d are needed: the node must not be taken now", up, members, members/2+1)
	case members == 0 && planesLeft == 0:
		b.Name, b.Mark, b.Reason = "control-plane", Estimate, "the wave leaves no node of the control plane at work; no etcd pods are in the record to count"
	default:
		return
	}
	f.say(w, b)
}

// Room is what is left on the other nodes after a wave's pods have moved there.
type Room struct {
	Resource string `json:"resource"` // cpu (thousandths of a core), memory (bytes), pods, or a device
	Wave     int    `json:"wave"`
	Free     int64  `json:"free"`  // on the nodes that could take the pods
	Asked    int64  `json:"asked"` // by the pods that the wave evicts
}

// room is what the nodes with the same taints have left for new pods.
type room struct {
	free   Amount
	takers int // nodes that take pods
	tight  map[string]Room
}

// measure adds up, for nodes with the same taints, what they have and nobody asked for. It is
// assumed that pods move to nodes with the taints of the node that they leave.
func (f *finder) measure() map[string]room {
	rooms := map[string]room{}
	for i := range f.Nodes {
		n := &f.Nodes[i]
		r, ok := rooms[n.group()]
		if !ok {
			r.tight = map[string]Room{}
		}
		r.free.Add(n.free())
		if n.takes() {
			r.takers++
		}
		rooms[n.group()] = r
	}
	return rooms
}

func (n *Node) group() string { return strings.Join(n.Taints, ",") }

func (n *Node) takes() bool { return n.Ready && !n.Unschedulable }

// free is what the node has for new pods.
func (n *Node) free() Amount {
	if !n.takes() {
		return Amount{}
	}
	return n.Allocatable.less(n.Requested)
}

// fits holds what a wave evicts against the room on the nodes that stay.
func (f *finder) fits(w *wave) {
	free, asked := map[string]Amount{}, map[string]Amount{}
	group := map[string]string{} // node -> its taints
	for _, n := range w.nodes {
		g := n.group()
		group[n.Name] = g
		if _, ok := free[g]; !ok {
			free[g] = f.rooms[g].free
		}
		free[g] = free[g].less(n.free())
	}
	for _, p := range w.leaving {
		if len(p.Pins) == 0 { // those wait for their node
			g := group[p.Node]
			asked[g] = asked[g].add(p.Requests)
		}
	}
	for _, g := range slices.Sorted(maps.Keys(asked)) {
		if f.rooms[g].takers == w.takers(g) {
			f.say(w, Blocker{
				Kind: Headroom, Severity: Warns, Mark: Estimate, Name: "nodes", Node: w.nodes[0].Name,
				Reason: fmt.Sprintf("%s of the wave can go to no other node%s, by taints alone: they wait until a node is back",
					plural(int(asked[g].Pods), "pod", "pods"), with(g)),
			})
			continue
		}
		for _, r := range pairs(free[g], asked[g]) {
			r.Wave = w.number
			if t, ok := f.rooms[g].tight[r.Resource]; !ok || r.Free-r.Asked < t.Free-t.Asked {
				f.rooms[g].tight[r.Resource] = r
			}
			if r.Asked > r.Free {
				f.say(w, Blocker{
					Kind: Headroom, Severity: Warns, Mark: Estimate, Name: r.Resource, Node: w.nodes[0].Name,
					Reason: fmt.Sprintf("the pods of the wave ask for %s, and the other nodes%s have %s free, by requests and taints alone: some wait until a node is back",
						r.amount(r.Asked), with(g), r.amount(max(0, r.Free))),
				})
			}
		}
	}
}

// with names the taints that nodes have in common.
func with(taints string) string {
	if taints == "" {
		return ""
	}
	return " with the taints " + taints
}

// takers is how many nodes of the wave with these taints could otherwise take pods.
func (w *wave) takers(taints string) (n int) {
	for _, node := range w.nodes {
		if node.group() == taints && node.takes() {
			n++
		}
	}
	return n
}

// pairs are the resources that somebody asks for.
func pairs(free, asked Amount) (out []Room) {
	for _, r := range []Room{
		{Resource: "cpu", Free: free.CPU, Asked: asked.CPU},
		{Resource: "memory", Free: free.Memory, Asked: asked.Memory},
		{Resource: "pods", Free: free.Pods, Asked: asked.Pods},
	} {
		if r.Asked > 0 {
			out = append(out, r)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(asked.Devices)) {
		if n := asked.Devices[name]; n > 0 {
			out = append(out, Room{Resource: name, Free: free.Devices[name], Asked: n})
		}
	}
	return out
}

// amount writes a quantity with its unit.
func (r Room) amount(n int64) string {
	switch r.Resource {
	case "cpu":
		return fmt.Sprintf("%.1f cores", float64(n)/1000)
	case "memory":
		return fmt.Sprintf("%.1f GiB of memory", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%d %s", n, r.Resource)
}

// tightest is, for each resource, the wave with the least left over.
func (f *finder) tightest() (out []Room) {
	best := map[string]Room{}
	for _, g := range slices.Sorted(maps.Keys(f.rooms)) {
		for name, r := range f.rooms[g].tight {
			b, ok := best[name]
			if !ok || cmp.Or(cmp.Compare(r.Free-r.Asked, b.Free-b.Asked), cmp.Compare(r.Wave, b.Wave)) < 0 {
				best[name] = r
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(best)) {
		out = append(out, best[name])
	}
	return out
}
