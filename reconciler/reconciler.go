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
	Silent    string                            // why Git does not answer; "" when it does
	Skipped   []string                          // commits of the branch between the last look and this one
	Broken    *Broken                           // the newest revision, when it does not render
	Proposals []Proposal                        // open pull requests, by number; nil when they are not known
	Nodes     []Node                            // by name, read live
	Known     map[machine.Digest]machine.Config // every config that a node or a pool names
	Gate      policy.Gate

	Holds     []policy.Hold   // by operators, those whose time is over included
	Facts     policy.Facts    // about the head's revision
	Guardrail *policy.Rollout // the operator's own rules, which no commit can relax; nil is none
	Self      string          // the node that the controller runs on: the last of its pool; "" is none
	Rewound   *Broken         // the newest revision, when it does not descend from the head: held until it is allowed
}

// Head is a revision and what it renders to. An empty commit means that none was ever seen.
type Head struct {
	Revision source.Revision
	Pools    []render.Pool // by name
}

// Broken is a revision that is not followed, and why. The last good one stays in force.
type Broken struct {
	Revision source.Revision
	Why      string // one line: the first mistake, and how many more there are
}

// Proposal is an open pull request, and what should be said of it.
type Proposal struct {
	Number  int
	Head    string                 // commit, which gets a status
	State   source.State           // Failure when it must not be merged as it is
	Summary string                 // the status, one line
	Body    string                 // the whole comment, as markdown; "" for those that get a status only
	Base    string                 // commit of the followed branch that it was made against
	Kinds   map[string]impact.Kind // pool -> what it says; nil where it says nothing of that
}

// Node is one machine: what the cluster knows of it, what we last asked, what it last said.
type Node struct {
	Name       string            `json:"name"`
	Labels     map[string]string `json:"labels,omitempty"`
	Created    time.Time         `json:"created,omitzero"`
	Ready      bool              `json:"ready"`
	Mute       bool              `json:"mute,omitempty"`       // nobody has heard its agent yet: nothing is begun, since nobody might be there to end it
	Conditions map[string]bool   `json:"conditions,omitempty"` // as the cluster reports them, by name: true is True
	Cordon     Cordon            `json:"cordon,omitempty"`
	Drained    bool              `json:"drained,omitempty"` // under our cordon, and empty
	Blocked    string            `json:"blocked,omitempty"` // what keeps our drain from ending now, by name: a pod and what protects it
	Order      nodeops.Order     `json:"order"`             // as the cluster remembers it
	Report     nodeops.Report    `json:"report"`
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
	Generation uint64            `json:"generation"`         // the newest that any pool was given; never reused
	Good       source.Revision   `json:"good"`               // the newest revision that rendered
	Outlines   []render.Outline  `json:"outlines,omitempty"` // its pools, for as long as nobody can read it again
	Seen       string            `json:"seen,omitempty"`     // the newest commit of the branch, whether it rendered or not
	Silent     string            `json:"silent,omitempty"`   // why Git does not answer; "" when it does
	Pools      map[string]Pool   `json:"pools,omitempty"`
	Refused    []source.Status   `json:"refused,omitempty"`   // what the forge should show for a head that does not render
	Strays     map[string]string `json:"strays,omitempty"`    // node in no pool by mistake -> why
	Outbox     []source.Status   `json:"outbox,omitempty"`    // last words on commits that we have left
	Said       []source.Status   `json:"said,omitempty"`      // receipts: what the forge has acknowledged
	Commented  map[int]string    `json:"commented,omitempty"` // receipts: pull request -> hash of the comment
	Shown      map[int]Shown     `json:"shown,omitempty"`     // pull request -> the preview that stands below it
	Reviewed   *Reviewed         `json:"reviewed,omitempty"`  // what previews had said of the head; nil: not known

	Sent map[string][]machine.Digest `json:"sent,omitempty"` // node at work -> every config that it was sent since it was whole: it may be on the way to any of them
}

// Pool is what is remembered of one pool.
type Pool struct {
	Phase        Phase                      `json:"phase"`
	Since        time.Time                  `json:"since"`
	Revision     source.Revision            `json:"revision"`             // the commit that asked for the target, or confirmed it
	Target       machine.Digest             `json:"target"`               // what the pool is moving to
	Generation   uint64                     `json:"generation"`           // of the orders of this attempt
	AttemptAt    time.Time                  `json:"attemptAt,omitzero"`   // when this attempt began
	Spurned      machine.Digest             `json:"spurned,omitempty"`    // what Revision asks for, and what failed: refused until there is a new commit
	Why          string                     `json:"why,omitempty"`        // why it was taken back
	RollbackOf   string                     `json:"rollbackOf,omitempty"` // an earlier commit with this very target
	Rules        Rules                      `json:"rules"`                // in force: an author cannot relax a rule and use it at once
	Waiting      []policy.Finding           `json:"waiting,omitempty"`    // why the next node is not started
	Warned       []policy.Finding           `json:"warned,omitempty"`     // what is said of the nodes that are under way, and does not hold them
	Halt         string                     `json:"halt,omitempty"`       // why the attempt was stopped
	Counts       Counts                     `json:"counts"`
	LastAt       time.Time                  `json:"lastAt,omitzero"`       // when a node last came to the target
	CanaryAt     time.Time                  `json:"canaryAt,omitzero"`     // when the canaries had
	HeadCanaryAt time.Time                  `json:"headCanaryAt,omitzero"` // the same by the rules of the head
	GuardAt      time.Time                  `json:"guardAt,omitzero"`      // the same by the operator's guardrail
	Skipped      map[string]string          `json:"skipped,omitempty"`     // nodes that this attempt has given up, and why
	Begun        map[string]Begun           `json:"begun,omitempty"`       // nodes that are being taken to the target
	Ordered      map[string]time.Time       `json:"ordered,omitempty"`     // nodes that are not at the target yet, and when they were ordered to it
	Lately       map[string]time.Time       `json:"lately,omitempty"`      // nodes that were last ordered to reboot within some minutes, and when
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

// Brought is the newest commit that is known to have asked for a config; "" is none.
func (p Pool) Brought(config machine.Digest) string {
	if p.Spurned == config || p.Spurned == "" && p.Target == config {
		return p.Revision.Commit
	}
	return landed(p.History, config)
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

// Begun is when a node was begun, and the kind of what it was begun for.
type Begun struct {
	At    time.Time `json:"at"`
	Kind  string    `json:"kind"`
	Drain time.Time `json:"drain,omitzero"` // when its drain began; zero: it was not drained, or does not answer
}

// paces is how many nodes of each kind a pool remembers the time of.
const paces = 20

// Landing is a target that the whole pool has reached.
type Landing struct {
	Commit string         `json:"commit"`
	Config machine.Digest `json:"config"`
	At     time.Time      `json:"at"`
	Nodes  int            `json:"nodes,omitempty"`
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

// Step is the whole of the controller's mind. It changes nothing that it is given.
func Step(s State, o Observed) (State, []Effect) {
	s = s.clone()
	s.Silent = o.Silent
	s.refuse(o)
	s.skip(o)
	if o.Head.Revision.Commit == "" {
		return s.speak(o, nil)
	}
	s.Good = o.Head.Revision
	s.outline(o.Head.Pools)
	for i := range o.Nodes {
		n := &o.Nodes[i]
		s.Generation = max(s.Generation, n.Order.Generation, n.Report.Generation) // a lost state must not ask for less than nodes have seen
	}
	effects := s.turn(o, nil)
	return s.speak(o, effects)
}

// turn takes every pool one step on. Where somebody listens, he hears how each node stands.
func (s *State) turn(o Observed, listen listener) (effects []Effect) {
	crews, idle, strays := muster(o)
	s.Strays = strays
	votes := &votes{nodes: o.Nodes, lost: s.lost}
	for _, want := range o.Head.Pools {
		effects = append(effects, s.stepPool(want, crews[want.Name], o, votes, listen)...)
	}
	s.dismiss(o.Head.Pools)
	for _, n := range idle {
		if !s.lost(n) {
			effects = append(effects, handBack(n)...)
		}
	}
	s.note(o.Nodes, effects)
	return effects
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

// Named are the configs that Step has to know for a state and its nodes, sorted.
func (s State) Named(nodes []Node) []machine.Digest {
	var named []machine.Digest
	for _, p := range s.Pools {
		named = append(named, p.Target, p.Spurned)
		for _, l := range p.History {
			named = append(named, l.Config) // what a rollback may go back to
		}
	}
	for _, o := range s.Outlines {
		named = append(named, o.Target)
	}
	for _, sent := range s.Sent {
		named = append(named, sent...)
	}
	for i := range nodes {
		named = append(named, nodes[i].Report.Config, nodes[i].Order.Config)
	}
	slices.Sort(named)
	return slices.DeleteFunc(slices.Compact(named), func(d machine.Digest) bool { return d == "" })
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
