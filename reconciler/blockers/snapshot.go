// Package blockers says what in a cluster stands in the way of a rollout: which pods a drain would
// not get rid of, and which services would be down meanwhile. It is pure: the cluster comes in as a
// Snapshot, the plan as waves of nodes.
package blockers

import "time"

// Snapshot is a cluster as it was at one moment. It is read only.
type Snapshot struct {
	At      time.Time
	Nodes   []Node   // by name
	Pods    []Pod    // by node, namespace and name
	Missing []string // what the record does not hold though others refer to it, such as ReplicaSet; sorted
}

// Node is one machine.
type Node struct {
	Name          string
	Labels        map[string]string
	Created       time.Time
	Ready         bool
	Unschedulable bool
	Taints        []string // KEY=VALUE:EFFECT of those that keep pods away for good; sorted
	Allocatable   Amount
	Requested     Amount // by the pods that run on it
	ControlPlane  bool   // by its role label
	Member        Member // of etcd
}

// Member is how the etcd member of a node stands.
type Member string

const (
	NoMember Member = ""
	Up       Member = "up"
	Down     Member = "down"
)

// Amount is what pods ask for and nodes have.
type Amount struct {
	CPU     int64 // thousandths of a core
	Memory  int64 // bytes
	Pods    int64
	Devices map[string]int64 // extended resources, such as nvidia.com/gpu
}

// Pod is one pod that is bound to a node.
type Pod struct {
	Namespace, Name string
	Node            string
	Labels          map[string]string
	Phase           string // Pending, Running, Succeeded or Failed
	Ready           bool
	Deleting        time.Time // when its grace period is over; zero when nobody deleted it
	Finalizers      []string
	Grace           time.Duration // how long it may take to end
	Requests        Amount
	Scratch         bool     // has an emptyDir, whose content is lost when the pod goes
	Pins            []string // data that stays on the node, in words: the pod can only wait for the node
	Folders         []string // of the node that it mounts: elsewhere it finds others
	Vetoes          []string // annotations that ask not to be disturbed
	Fate            Fate
	Refusal         Refusal // set with Refused
	Why             string  // the words of the drain library, set with Refused

	Workload *Workload  // that it is a replica of; nil is none that is known
	Job      string     // that it does the work of
	Budgets  []*Budget  // that select it
	Services []*Service // that it is a ready endpoint of
}

// Fate is what the filters of the drain library say of a pod, with the options that MCO uses but
// for one: a pod that nobody would create again is refused.
type Fate string

const (
	Evicted Fate = "evicted"
	Stays   Fate = "stays" // of a DaemonSet, or static: it ends with the node
	Refused Fate = "refused"
)

// Refusal is why the drain library refuses a pod.
type Refusal string

const (
	Bare   Refusal = "bare"   // it has no controller
	Orphan Refusal = "orphan" // its DaemonSet is gone
	Other  Refusal = "other"
)

// Budget is a PodDisruptionBudget: its spec as written, its status as counted by the cluster.
type Budget struct {
	Namespace, Name              string
	MinAvailable, MaxUnavailable string // a number or a percentage; "" where not given
	AlwaysAllow                  bool   // pods that are not ready may always go
	Stale                        bool   // the status is older than the spec: the API refuses every eviction

	Healthy, Desired, Expected int // pods
	Allowed                    int // evictions now
}

// Workload is what keeps a number of pods alive.
type Workload struct {
	Kind, Namespace, Name string
	Replicas              int // desired
	Ready                 int // pods that are ready
}

// Service is what clients talk to.
type Service struct {
	Namespace, Name string
	Ready           int // endpoints that are pods and ready
}

// add is the sum of two amounts; neither is changed.
func (a Amount) add(b Amount) Amount { return a.plus(b, 1) }

// less is what is left of an amount.
func (a Amount) less(b Amount) Amount { return a.plus(b, -1) }

func (a Amount) plus(b Amount, sign int64) Amount {
	out := Amount{CPU: a.CPU + sign*b.CPU, Memory: a.Memory + sign*b.Memory, Pods: a.Pods + sign*b.Pods, Devices: a.Devices}
	if len(b.Devices) > 0 {
		out.Devices = make(map[string]int64, len(a.Devices)+len(b.Devices))
		for name, n := range a.Devices {
			out.Devices[name] = n
		}
		for name, n := range b.Devices {
			out.Devices[name] += sign * n
		}
	}
	return out
}

// Add puts another amount on top of this one.
func (a *Amount) Add(b Amount) { *a = a.add(b) }
