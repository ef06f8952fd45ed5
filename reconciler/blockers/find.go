package blockers

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
)

// Blocker is one thing that stands in the way of a rollout, or goes down with it.
type Blocker struct {
	Kind      Kind     `json:"kind"`
	Severity  Severity `json:"severity"`
	Mark      Mark     `json:"mark"`
	Wave      int      `json:"wave,omitempty"` // the first that meets it, from 1
	Node      string   `json:"node,omitempty"` // the first of that wave
	Namespace string   `json:"namespace,omitempty"`
	Name      string   `json:"name,omitempty"` // of the object
	Reason    string   `json:"reason"`
	More      int      `json:"more,omitempty"` // stands for so many of the kind that are not listed by name
}

// Kind is what a blocker is, in a word that scripts may compare.
type Kind string

// The kinds, in the order in which people read them.
const (
	BarePod       Kind = "bare-pod"        // drain refuses: nobody would create the pod again
	OrphanPod     Kind = "orphan-pod"      // drain refuses: the pod's DaemonSet is gone
	RefusedPod    Kind = "refused-pod"     // drain refuses for another reason of its own
	BlockedByRule Kind = "blocked-by-rule" // an entry of RolloutPolicy drain.pods says block
	PDBOverlap    Kind = "pdb-overlap"     // more than one budget selects the pod: the API cannot evict it
	PDBNever      Kind = "pdb-never"       // the budget allows no eviction, even when all is well
	PDBNow        Kind = "pdb-now"         // the budget allows no eviction now
	Terminating   Kind = "terminating"     // the pod is being deleted and does not go
	Quorum        Kind = "quorum"          // etcd, or a StatefulSet, would lose its majority
	ServiceDown   Kind = "service-down"    // the last ready endpoint is in one wave
	SingleReplica Kind = "single-replica"  // there is only one
	ReplicasDown  Kind = "replicas-down"   // all that are ready are in one wave
	LocalStorage  Kind = "local-storage"   // data stays on the node
	Headroom      Kind = "headroom"        // the other nodes have no room for what a wave evicts
	PDBWave       Kind = "pdb-wave"        // the budget lets a wave's pods go only one after the other
	GracePeriod   Kind = "grace-period"    // a pod may take longer to end than the drain waits
	WaitedFor     Kind = "waited-for"      // an entry of RolloutPolicy drain.pods says wait
	RunningJob    Kind = "running-job"     // work that is not finished is stopped
	Veto          Kind = "veto-annotation" // a pod asks other tools not to be disturbed; drain does not ask
	Unknown       Kind = "unknown"         // the record says nothing of it
)

var kinds = []Kind{
	BarePod, OrphanPod, RefusedPod, BlockedByRule, PDBOverlap, PDBNever, PDBNow, Terminating, Quorum, ServiceDown, SingleReplica,
	ReplicasDown, LocalStorage, Headroom, PDBWave, GracePeriod, WaitedFor, RunningJob, Veto, Unknown,
}

// Severity is what a blocker does to the rollout.
type Severity string

const (
	Blocks Severity = "blocks" // the drain is refused, or does not end
	Warns  Severity = "warns"  // the rollout goes on: something is down, slow or lost
)

// Mark is how sure a blocker is.
type Mark string

const (
	Exact      Mark = "exact"    // it follows from what is written down, at whatever time
	AsRecorded Mark = "snapshot" // true at the time of the snapshot
	Estimate   Mark = "estimate" // it rests on an assumption, which the reason names
)

// Most is how many blockers of one kind are listed by name; one more says how many are not.
const Most = 20

// Find lists what stands in the way when the nodes are taken in these waves. Cost is what a node
// pays; those that are not drained meet no blocker. Each wave is held against the cluster as it
// was recorded: where pods go after they were evicted is not foretold. The order is fixed: what
// blocks comes first, then by kind, wave, namespace and name. One object is named once per kind, at the
// first wave that meets it.
func Find(s *Snapshot, waves [][]string, cost func(node string) impact.Kind, d policy.Drain) ([]Blocker, Totals) {
	f := &finder{Snapshot: s, drain: d, found: map[thing]*Blocker{}, later: map[thing]int{}, last: map[thing]int{}}
	f.rooms = f.measure()
	f.absent(waves)
	for i, names := range waves {
		w := wave{number: i + 1}
		for _, name := range names {
			if n, ok := f.node(name); ok && impact.Drains(cost(name)) {
				w.nodes = append(w.nodes, n)
				w.reboots = append(w.reboots, cost(name) == impact.Reboot)
			}
		}
		if len(w.nodes) > 0 {
			f.look(&w)
		}
	}
	f.totals.Headroom = f.tightest()
	return f.list(), f.totals
}

// finder collects blockers.
type finder struct {
	*Snapshot
	drain  policy.Drain
	rooms  map[string]room
	totals Totals

	found map[thing]*Blocker
	later map[thing]int // waves after the first that meet it again
	last  map[thing]int // the last wave that did
}

// thing is what a blocker is about: the same one is not named again.
type thing struct {
	kind            Kind
	namespace, name string
}

// wave is some nodes that are drained together.
type wave struct {
	number  int
	nodes   []*Node
	reboots []bool // whether the node at that place reboots, so that what stays on it ends too

	leaving []*Pod // that the drain evicts
	ending  []*Pod // that stay on a node that reboots
}

// look holds one wave against the cluster.
func (f *finder) look(w *wave) {
	for i, n := range w.nodes {
		f.totals.Nodes++
		for _, p := range f.podsOn(n.Name) {
			f.pod(w, p, w.reboots[i])
		}
	}
	f.budgets(w)
	f.workloads(w)
	f.services(w)
	f.members(w)
	f.fits(w)
}

// say notes a blocker once. A later wave that meets it again is counted.
func (f *finder) say(w *wave, b Blocker) {
	key := thing{b.Kind, b.Namespace, b.Name}
	if f.found[key] == nil {
		b.Wave = w.number
		f.found[key], f.last[key] = &b, w.number
		return
	}
	if f.last[key] != w.number {
		f.last[key] = w.number
		f.later[key]++
	}
}

// list is what was found, in order and bounded.
func (f *finder) list() []Blocker {
	var all []Blocker
	for key, b := range f.found {
		if again := f.later[key]; again > 0 {
			b.Reason += fmt.Sprintf("; met again in %s", plural(again, "later wave", "later waves"))
		}
		all = append(all, *b)
	}
	rank := map[Kind]int{}
	for i, k := range kinds {
		rank[k] = i
	}
	slices.SortFunc(all, func(a, b Blocker) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(rank[a.Kind], rank[b.Kind]), cmp.Compare(a.Wave, b.Wave),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	var out []Blocker
	for len(all) > 0 {
		first := all[0]
		same := slices.IndexFunc(all, func(b Blocker) bool { return b.Kind != first.Kind || b.Severity != first.Severity })
		if same < 0 {
			same = len(all)
		}
		out = append(out, all[:min(same, Most)]...)
		if same > Most {
			out = append(out, Blocker{
				Kind: first.Kind, Severity: first.Severity, Mark: first.Mark, More: same - Most,
				Reason: fmt.Sprintf("and %d more of this kind", same-Most),
			})
		}
		all = all[same:]
	}
	return out
}

// Summary is one sentence on what keeps nodes from being drained, and what the policy does then;
// "" when nothing does.
func Summary(list []Blocker, d policy.Drain) string {
	var names []string
	more := 0
	for _, b := range list {
		switch {
		case b.Severity != Blocks:
		case b.More > 0 || len(names) == 3:
			more += max(1, b.More)
		default:
			names = append(names, string(b.Kind)+" "+b.Object())
		}
	}
	if len(names) == 0 {
		return ""
	}
	out := strings.Join(names, ", ")
	if more > 0 {
		out += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("drain would not end: %s; %s", out, then(d))
}

// Object is the namespace and name of what the blocker is about; "" where it is about many.
func (b Blocker) Object() string {
	return strings.TrimPrefix(b.Namespace+"/"+b.Name, "/")
}

// then is what happens to a drain that does not end.
func then(d policy.Drain) string {
	after := "after " + plain(timeout(d)) + " "
	switch d.OnTimeout {
	case "skipNode":
		return after + "the node is given back and left out"
	case "force":
		return after + "what cannot be evicted is deleted"
	}
	return after + "the node is given back and the rollout halts"
}

// patience is how long a drain lasts when the policy does not say.
const patience = 30 * time.Minute

func timeout(d policy.Drain) time.Duration {
	if t, err := time.ParseDuration(d.Timeout); err == nil && t > 0 {
		return t
	}
	return patience
}

// plain is a duration as people write it: 30m, not 30m0s.
func plain(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// hard is the severity of what an eviction cannot get past: force does, when its time is over.
func (f *finder) hard() Severity {
	if f.drain.OnTimeout == "force" {
		return Warns
	}
	return Blocks
}

func (f *finder) node(name string) (*Node, bool) {
	i, ok := slices.BinarySearchFunc(f.Nodes, name, func(n Node, name string) int { return cmp.Compare(n.Name, name) })
	if !ok {
		return nil, false
	}
	return &f.Nodes[i], true
}

// podsOn are the pods of a node: they stand together.
func (f *finder) podsOn(node string) []*Pod {
	from := sort.Search(len(f.Pods), func(i int) bool { return f.Pods[i].Node >= node })
	var out []*Pod
	for i := from; i < len(f.Pods) && f.Pods[i].Node == node; i++ {
		out = append(out, &f.Pods[i])
	}
	return out
}

// absent names what the snapshot cannot speak of.
func (f *finder) absent(waves [][]string) {
	var names []string
	var first wave
	for i, nodes := range waves {
		for _, name := range nodes {
			if _, ok := f.node(name); !ok {
				names = append(names, name)
				if first.number == 0 {
					first.number = i + 1
				}
			}
		}
	}
	if len(names) > 0 {
		f.say(&first, Blocker{
			Kind: Unknown, Severity: Warns, Mark: AsRecorded, Node: names[0],
			Reason: fmt.Sprintf("%s not in the record, such as %s: nothing is known of the pods there", plural(len(names), "node of the waves is", "nodes of the waves are"), names[0]),
		})
	}
	if len(waves) > 0 {
		for _, kind := range f.Missing {
			f.say(&wave{}, Blocker{
				Kind: Unknown, Severity: Warns, Mark: AsRecorded, Name: kind,
				Reason: "the record holds no " + kind + ", though pods refer to some: what depends on them is not judged",
			})
		}
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
