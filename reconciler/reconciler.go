// Package reconciler decides. It does no I/O, starts no goroutine and never asks the time: Step
// takes what is remembered and what is seen, and answers what to remember and what to do.
package reconciler

import (
	"maps"
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// Observed is one photograph: all that Step may look at.
type Observed struct {
	Now       time.Time
	Head      Head                              // the newest revision that renders
	Skipped   []string                          // commits of the branch between the last look and this one
	Broken    *Broken                           // the newest revision, when it does not render
	Proposals []Proposal                        // open pull requests, by number; nil when they are not known
	Nodes     []Node                            // by name, read live
	Known     map[machine.Digest]machine.Config // every config that a node or a pool names
	Rules     []impact.Rule                     // nil is the default table
	Gate      policy.Gate
}

// Head is a revision and what it renders to. An empty commit means that none was ever seen.
type Head struct {
	Revision source.Revision
	Pools    []render.Pool // by name
}

// Broken is a revision that does not render, and why. The last good one stays in force.
type Broken struct {
	Revision source.Revision
	Why      string // one line: the first mistake, and how many more there are
}

// Proposal is an open pull request, and what should be said of it.
type Proposal struct {
	Number  int
	Head    string       // commit, which gets a status
	State   source.State // Failure when it must not be merged as it is
	Summary string       // the status, one line
	Body    string       // the whole comment, as markdown; "" for those that get a status only
}

// Node is one machine: what the cluster knows of it, what we last asked, what it last said.
type Node struct {
	Name    string            `json:"name"`
	Labels  map[string]string `json:"labels,omitempty"`
	Created time.Time         `json:"created,omitzero"`
	Ready   bool              `json:"ready"`
	Cordon  Cordon            `json:"cordon,omitempty"`
	Drained bool              `json:"drained,omitempty"` // under our cordon, and empty
	Order   nodeops.Order     `json:"order"`             // as the cluster remembers it
	Report  nodeops.Report    `json:"report"`
}

// Cordon says who keeps new work from a node. A foreign cordon is never taken or released.
type Cordon string

const (
	Uncordoned Cordon = ""
	Ours       Cordon = "ours"
	Foreign    Cordon = "foreign"
)

// State is all that must be remembered. It is saved before anything is done.
type State struct {
	Generation uint64            `json:"generation"`     // the newest that any pool was given; never reused
	Good       source.Revision   `json:"good"`           // the newest revision that rendered
	Seen       string            `json:"seen,omitempty"` // the newest commit of the branch, whether it rendered or not
	Pools      map[string]Pool   `json:"pools,omitempty"`
	Refused    []source.Status   `json:"refused,omitempty"`   // what the forge should show for a head that does not render
	Strays     map[string]string `json:"strays,omitempty"`    // node in no pool by mistake -> why
	Outbox     []source.Status   `json:"outbox,omitempty"`    // last words on commits that we have left
	Said       []source.Status   `json:"said,omitempty"`      // receipts: what the forge has acknowledged
	Commented  map[int]string    `json:"commented,omitempty"` // receipts: pull request -> hash of the comment
}

// Pool is what is remembered of one pool.
type Pool struct {
	Phase        Phase                      `json:"phase"`
	Since        time.Time                  `json:"since"`
	Revision     source.Revision            `json:"revision"`             // the commit that asked for the target, or confirmed it
	Target       machine.Digest             `json:"target"`               // what the pool is moving to
	Generation   uint64                     `json:"generation"`           // of the orders of this attempt
	Spurned      machine.Digest             `json:"spurned,omitempty"`    // what Revision asks for, and what failed: refused until there is a new commit
	Why          string                     `json:"why,omitempty"`        // why it was taken back
	RollbackOf   string                     `json:"rollbackOf,omitempty"` // an earlier commit with this very target
	Rules        Rules                      `json:"rules"`                // in force: an author cannot relax a rule and use it at once
	Waiting      []policy.Finding           `json:"waiting,omitempty"`    // why the next node is not started
	Halt         string                     `json:"halt,omitempty"`       // why the attempt was stopped
	Counts       Counts                     `json:"counts"`
	LastAt       time.Time                  `json:"lastAt,omitzero"`       // when a node last came to the target
	CanaryAt     time.Time                  `json:"canaryAt,omitzero"`     // when the canaries had
	HeadCanaryAt time.Time                  `json:"headCanaryAt,omitzero"` // the same by the rules of the head
	Begun        map[string]Begun           `json:"begun,omitempty"`       // nodes that are being taken to the target
	Pace         map[string][]time.Duration `json:"pace,omitempty"`        // kind -> how long nodes took of late, newest last
	History      []Landing                  `json:"history,omitempty"`     // newest first
	Status       source.Status              `json:"status"`                // what the forge should show for Revision
}

// Reason is why the pool is halted; "" when it is not.
func (p Pool) Reason() string {
	if p.Halt == "" && p.Spurned != "" {
		return "taken back to " + source.Short(p.RollbackOf) + ": " + p.Why
	}
	return p.Halt
}

// Rules are what the gate asks a pool's revision.
type Rules struct {
	Rollout        policy.Rollout `json:"rollout"`
	MaxUnavailable string         `json:"maxUnavailable,omitempty"`
}

// Counts are a pool's nodes at the last look.
type Counts struct {
	Nodes       int `json:"nodes"`
	Updated     int `json:"updated"`
	Unavailable int `json:"unavailable"`
	Failed      int `json:"failed"`
	Drifted     int `json:"drifted"`
}

// Begun is when a node was begun, the kind of what it was begun for, and every config that it was
// sent since: until it answers, it may be on the way to any of them.
type Begun struct {
	At   time.Time        `json:"at"`
	Kind string           `json:"kind"`
	Sent []machine.Digest `json:"sent,omitempty"`
}

// paces is how many nodes of each kind a pool remembers the time of.
const paces = 20

// Landing is a target that the whole pool has reached.
type Landing struct {
	Commit string         `json:"commit"`
	Config machine.Digest `json:"config"`
	At     time.Time      `json:"at"`
}

// remembered is how many landings a pool keeps: enough to recognise a rollback.
const remembered = 10

// Phase is how a pool stands, in one word.
type Phase string

const (
	Updated     Phase = "Updated"
	Progressing Phase = "Progressing"
	Waiting     Phase = "Waiting"  // the gate says: not now
	Paused      Phase = "Paused"   // a person says: not now
	Halted      Phase = "Halted"   // this target failed, or cannot be; a new commit is needed
	Degraded    Phase = "Degraded" // updated, but a node has drifted
)

// Effect is one thing for the loop to do. Effects are idempotent and come in a fixed order.
type Effect interface{ effect() }

type (
	// Send gives a node its order.
	Send struct{ Order nodeops.Order }
	// Drain cordons a node as ours and empties it; said again while it lasts.
	Drain struct{ Node string }
	// Uncordon releases our cordon.
	Uncordon struct{ Node string }
	// Post says a status.
	Post struct{ Status source.Status }
	// Remark writes the comment of a pull request.
	Remark struct{ Comment source.Comment }
)

func (Send) effect()     {}
func (Drain) effect()    {}
func (Uncordon) effect() {}
func (Post) effect()     {}
func (Remark) effect()   {}

// Step is the whole of the controller's mind. It changes nothing that it is given.
func Step(s State, o Observed) (State, []Effect) {
	s = s.clone()
	s.refuse(o)
	s.skip(o)
	if o.Head.Revision.Commit == "" {
		return s.speak(o, nil)
	}
	s.Good = o.Head.Revision
	for _, n := range o.Nodes {
		s.Generation = max(s.Generation, n.Order.Generation, n.Report.Generation) // a lost state must not ask for less than nodes have seen
	}
	crews, idle, strays := muster(o)
	s.Strays = strays
	var effects []Effect
	for _, want := range o.Head.Pools {
		effects = append(effects, s.stepPool(want, crews[want.Name], o)...)
	}
	s.dismiss(o.Head.Pools)
	for _, n := range idle {
		effects = append(effects, handBack(n)...)
	}
	return s.speak(o, effects)
}

// muster gives each node to its pool. Nodes of no pool are idle; those whose labels contradict
// each other are strays, too.
func muster(o Observed) (crews map[string][]Node, idle []Node, strays map[string]string) {
	crews = map[string][]Node{}
	for _, n := range o.Nodes {
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
	for pool, crew := range crews {
		crews[pool] = inOrder(crew)
	}
	return crews, idle, strays
}

// inOrder sorts a crew as Before does. It sorts places, and reads each zone once: a fleet is
// sorted at every step.
func inOrder(crew []Node) []Node {
	type place struct {
		zone string
		at   int
	}
	places := make([]place, len(crew))
	for i, n := range crew {
		places[i] = place{n.Labels[zoneLabel], i}
	}
	slices.SortFunc(places, func(a, b place) int { return compare(&crew[a.at], &crew[b.at], a.zone, b.zone) })
	out := make([]Node, len(crew))
	for i, p := range places {
		out[i] = crew[p.at]
	}
	return out
}

// dismiss forgets pools that the head no longer has. Their nodes stay as they are.
func (s *State) dismiss(pools []render.Pool) {
	for _, name := range sortedKeys(s.Pools) {
		if !slices.ContainsFunc(pools, func(p render.Pool) bool { return p.Name == name }) {
			s.leave(s.Pools[name], s.Good.Commit)
			delete(s.Pools, name)
		}
	}
}

// clone copies what Step changes in place.
func (s State) clone() State {
	s.Pools = maps.Clone(s.Pools)
	if s.Pools == nil {
		s.Pools = map[string]Pool{}
	}
	s.Outbox = slices.Clone(s.Outbox)
	s.Said = slices.Clone(s.Said)
	s.Commented = maps.Clone(s.Commented)
	return s
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
