package kube

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Record is what somebody who only looks has seen of a cluster. What is promised of it is judged by
// this, and not by the word of those who act.
type Record struct {
	Moments []Moment // by Version
	Calls   []Call   // of the server's audit log, by the time at which they came
	Hands   []uint64 // versions of what other people have written into nodes
	Dark    []Span   // when the server was away, up to when it was ready again
}

// Span is a while.
type Span struct{ From, To time.Time }

func (s Span) holds(t time.Time) bool { return !t.Before(s.From) && !t.After(s.To) }

// Moment is one object as it was from then on.
type Moment struct {
	Version uint64 // of the store: one order over all objects
	Name    string // of a node, of the node of a NodeConfig, NAMESPACE/NAME of a pod
	Gone    bool   // it was deleted; the rest is as it was last

	// One of these is set.
	Node  *Node
	Order *Order
	Pod   *Pod
}

// Node is what of a node counts here.
type Node struct {
	Pool   string
	Closed bool   // to new pods
	Mark   string // the fleet that has closed it; "" is somebody else
	Ready  bool
	BootID string

	Tainted bool // as yet to be updated
}

func (n Node) away() bool { return n.Closed || !n.Ready }
func (n Node) ours() bool { return n.Closed && n.Mark != "" }

// Order is a node's order, and what the node says.
type Order struct {
	UID        string
	Generation int64
	Config     string
	Heard      int64 // the generation that the node has taken up
}

// Pod is what of a pod counts here.
type Pod struct {
	Node, App string
	Daemon    bool // a DaemonSet's: it stays where it is
	Works     bool // it is ready, and nobody has asked it to leave
	Ended     bool
}

// world is the cluster at one moment.
type world struct {
	nodes  map[string]Node
	orders map[string]Order
	pods   map[string]Pod
}

// replay shows each moment with the world as it was before.
func (r Record) replay(see func(m Moment, before world)) world {
	w := world{map[string]Node{}, map[string]Order{}, map[string]Pod{}}
	for _, m := range r.Moments {
		see(m, w)
		switch {
		case m.Node != nil && m.Gone:
			delete(w.nodes, m.Name)
		case m.Node != nil:
			w.nodes[m.Name] = *m.Node
		case m.Order != nil && m.Gone:
			delete(w.orders, m.Name)
		case m.Order != nil:
			w.orders[m.Name] = *m.Order
		case m.Pod != nil && m.Gone:
			delete(w.pods, m.Name)
		case m.Pod != nil:
			w.pods[m.Name] = *m.Pod
		}
	}
	return w
}

// Since is what came after a version. What was there before stands at its beginning.
func (r Record) Since(version uint64) Record {
	type key struct {
		name string
		kind int
	}
	before := map[key]Moment{}
	out := Record{Calls: r.Calls, Hands: r.Hands, Dark: r.Dark}
	var rest []Moment
	for _, m := range r.Moments {
		k := key{name: m.Name}
		switch {
		case m.Order != nil:
			k.kind = 1
		case m.Pod != nil:
			k.kind = 2
		}
		switch {
		case m.Version > version:
			rest = append(rest, m)
		case m.Gone:
			delete(before, k)
		default:
			before[k] = m
		}
	}
	for _, m := range before {
		out.Moments = append(out.Moments, m)
	}
	slices.SortFunc(out.Moments, func(a, b Moment) int { return cmp.Compare(a.Version, b.Version) })
	out.Moments = append(out.Moments, rest...)
	return out
}

// Budget complains of every node that is taken off work while as many of its pool are away as may
// be: closed by whomever, or not ready. It answers with the most of each pool that were away.
func (r Record) Budget(limit map[string]int) (most map[string]int, complaints []string) {
	most = map[string]int{}
	r.replay(func(m Moment, before world) {
		if m.Node == nil || m.Gone || !m.Node.away() {
			return
		}
		var others []string
		for name, n := range before.nodes {
			if name != m.Name && n.Pool == m.Node.Pool && n.away() {
				others = append(others, name)
			}
		}
		slices.Sort(others)
		pool, count := m.Node.Pool, len(others)+1
		most[pool] = max(most[pool], count)
		was, known := before.nodes[m.Name]
		if known && !was.away() && m.Node.ours() && count > limit[pool] {
			complaints = append(complaints, fmt.Sprintf("budget: version %d: node %s is taken off work, and of pool %s, where %d may be away, these are: %s",
				m.Version, m.Name, pool, limit[pool], strings.Join(others, ", ")))
		}
	})
	return most, complaints
}

// Cordons complains of cordons of others that were lifted or taken over, and of what is left of us on
// nodes at the end.
func (r Record) Cordons() (ours map[string]int, complaints []string) {
	ours = map[string]int{}
	end := r.replay(func(m Moment, before world) {
		was, known := before.nodes[m.Name]
		if m.Node == nil || m.Gone || !known {
			return
		}
		if m.Node.ours() && !was.ours() {
			ours[m.Name]++
		}
		if !was.Closed || was.ours() || slices.Contains(r.Hands, m.Version) {
			return
		}
		switch {
		case !m.Node.Closed:
			complaints = append(complaints, fmt.Sprintf("cordons: version %d: the cordon that somebody else has on node %s is lifted", m.Version, m.Name))
		case m.Node.ours():
			complaints = append(complaints, fmt.Sprintf("cordons: version %d: the cordon that somebody else has on node %s is taken over", m.Version, m.Name))
		}
	})
	for _, name := range slices.Sorted(maps.Keys(end.nodes)) {
		switch n := end.nodes[name]; {
		case n.ours():
			complaints = append(complaints, fmt.Sprintf("cordons: node %s is left closed by us", name))
		case n.Mark != "":
			complaints = append(complaints, fmt.Sprintf("cordons: node %s is open and still marked", name))
		case n.Tainted:
			complaints = append(complaints, fmt.Sprintf("cordons: node %s is still tainted", name))
		}
	}
	return ours, complaints
}

// Reboots counts the boots that began, by node, and complains of those that a node was not off work
// for, or that ended a pod's work.
func (r Record) Reboots() (count map[string]int, order []string, complaints []string) {
	count = map[string]int{}
	r.replay(func(m Moment, before world) {
		was, known := before.nodes[m.Name]
		if m.Node == nil || m.Gone || !known || m.Node.BootID == was.BootID || was.BootID == "" {
			return
		}
		count[m.Name]++
		order = append(order, m.Name)
		if !was.ours() {
			complaints = append(complaints, fmt.Sprintf("reboots: version %d: node %s reboots without being taken off work", m.Version, m.Name))
		}
		for _, pod := range slices.Sorted(maps.Keys(before.pods)) {
			if p := before.pods[pod]; p.Node == m.Name && !p.Daemon && !p.Ended {
				complaints = append(complaints, fmt.Sprintf("reboots: version %d: node %s reboots with pod %s on it", m.Version, m.Name, pod))
			}
		}
	})
	return count, order, complaints
}

// Orders complains of an order that is older than the one before it, of two that have one number,
// and of a node that goes back to an older one.
func (r Record) Orders() (complaints []string) {
	r.replay(func(m Moment, before world) {
		was, known := before.orders[m.Name]
		if m.Order == nil || m.Gone || !known || was.UID != m.Order.UID {
			return
		}
		now := *m.Order
		switch {
		case now.Generation < was.Generation:
			complaints = append(complaints, fmt.Sprintf("orders: version %d: node %s had order %d and gets %d", m.Version, m.Name, was.Generation, now.Generation))
		case now.Generation == was.Generation && now.Config != was.Config:
			complaints = append(complaints, fmt.Sprintf("orders: version %d: order %d of node %s changes its config", m.Version, now.Generation, m.Name))
		}
		if now.Heard < was.Heard {
			complaints = append(complaints, fmt.Sprintf("orders: version %d: node %s had taken up order %d and goes back to %d", m.Version, m.Name, was.Heard, now.Heard))
		}
	})
	return complaints
}

// Floor complains of every moment at which fewer pods of an app work than its disruption budget
// asks for, once there were as many, and answers with the fewest.
func (r Record) Floor(app string, floor int) (fewest int, complaints []string) {
	reached := false
	fewest = -1
	check := func(m Moment, before world) {
		if m.Pod == nil {
			return
		}
		working := 0
		for name, p := range before.pods {
			if name != m.Name && p.App == app && p.Works {
				working++
			}
		}
		if m.Pod.App == app && m.Pod.Works && !m.Gone {
			working++
		}
		reached = reached || working >= floor
		if reached && (fewest < 0 || working < fewest) {
			fewest = working
		}
		if reached && working < floor {
			complaints = append(complaints, fmt.Sprintf("floor: version %d: %d pods of %s work, and its budget asks for %d", m.Version, working, app, floor))
		}
	}
	r.replay(check)
	return fewest, complaints
}

// Taken are the nodes that were taken off work, in that order.
func (r Record) Taken() (out []string) {
	r.replay(func(m Moment, before world) {
		if was, known := before.nodes[m.Name]; m.Node != nil && known && !m.Gone && m.Node.ours() && !was.ours() {
			out = append(out, m.Name)
		}
	})
	return out
}
