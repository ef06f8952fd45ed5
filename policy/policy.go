// Package policy judges a proposed step of a rollout. It is pure: what checks need to know comes
// in with the Request, the time included.
package policy

import (
	"fmt"
	"time"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// Outcome is what a check answers, in order of severity.
type Outcome int

const (
	Allow Outcome = iota
	Warn
	Wait // not now
	Deny // not ever, for this revision
)

var words = [...]string{"allow", "warn", "wait", "deny"}

func (o Outcome) String() string {
	if o < 0 || int(o) >= len(words) {
		return fmt.Sprintf("outcome(%d)", int(o))
	}
	return words[o]
}

// MarshalText writes the outcome by name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the word that MarshalText writes; a word not known is an error.
func (o *Outcome) UnmarshalText(text []byte) error {
	for i, w := range words {
		if w == string(text) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("outcome %q is not known", text)
}

// Rollout is the spec of a RolloutPolicy: when and how a pool may be rolled out.
type Rollout struct {
	Windows []Window `json:"windows,omitempty"` // none = always open
	Freezes []Freeze `json:"freezes,omitempty"` // stronger than windows

	Canary        *Canary        `json:"canary,omitempty"`
	Order         *Order         `json:"order,omitempty"`
	Soak          string         `json:"soak,omitempty"` // a Go duration, after each node
	FailureBudget *FailureBudget `json:"failureBudget,omitempty"`

	Overrun             string       `json:"overrun,omitempty"` // "" or "deny": a node starts only if it is expected to end within the window; "allow"
	Drain               *Drain       `json:"drain,omitempty"`
	Health              []HealthGate `json:"health,omitempty"` // asked before every node
	Approvals           *Approvals   `json:"approvals,omitempty"`
	Signed              bool         `json:"signed,omitempty"`              // the commit must be signed by a key that the operator trusts
	RequirePreviewMatch bool         `json:"requirePreviewMatch,omitempty"` // what is merged must cost what its preview said, or less
	Impact              []Impact     `json:"impact,omitempty"`              // what follows a change, before the repository's own and the default table
}

// Drain is how a node is emptied, and what happens when it cannot be.
type Drain struct {
	Timeout   string `json:"timeout,omitempty"`   // a Go duration; "" is 30m
	OnTimeout string `json:"onTimeout,omitempty"` // "" or "halt": give the node back and stop; "skipNode": go on with others; "force": delete what cannot be evicted
	Pods      []Pods `json:"pods,omitempty"`      // the first entry that matches a pod holds
}

// Pods is how the pods with these labels leave a node.
type Pods struct {
	Namespace string            `json:"namespace,omitempty"` // "" is all
	Labels    map[string]string `json:"labels,omitempty"`    // all of them; none is every pod
	Action    string            `json:"action"`              // "evict", "skip": stays and dies with the node, "wait": until it ends by itself, "block": the node is not drained
}

// HealthGate is a question whose answer must be yes before a node is begun. Exactly one of HTTP,
// Alerts, Query, Nodes and Expression is given. It is comparable: the question is its own key.
type HealthGate struct {
	Name       string `json:"name"`
	HTTP       string `json:"http,omitempty"`       // a URL whose answer to a GET must have a status of 200 to 299
	Alerts     string `json:"alerts,omitempty"`     // a regular expression: no firing alert of Prometheus may have a name with a match
	Query      string `json:"query,omitempty"`      // PromQL that must give a sample, and none that is 0 or no number
	Nodes      string `json:"nodes,omitempty"`      // a condition that every node at the target must have, such as Ready
	Expression string `json:"expression,omitempty"` // CEL over pool, node, revision, probes and now
	Timeout    string `json:"timeout,omitempty"`    // a Go duration; "" is 10s
}

// Approvals is how many people must have agreed to a revision.
type Approvals struct {
	Count int      `json:"count"`
	From  []string `json:"from,omitempty"` // users and ORG/TEAM; none is anybody but the author
}

// Impact is what follows a change to a path or a unit.
type Impact struct {
	Path    string   `json:"path,omitempty"` // a path, its children included, or a glob with *, ? and **
	Unit    string   `json:"unit,omitempty"` // a unit, or a glob
	Actions []Action `json:"actions"`
}

// Action is one deed: kind is none, reload, restart, drain or reboot; a unit goes with reload and
// restart, and reload without a unit is systemd's daemon-reload.
type Action struct {
	Kind string `json:"kind"`
	Unit string `json:"unit,omitempty"`
}

// Window is a time that returns: a cron start, open for [start, start+duration).
type Window struct {
	Schedule string `json:"schedule"`           // five cron fields; day fields are the start's local day
	Duration string `json:"duration"`           // a Go duration: elapsed time
	TimeZone string `json:"timeZone,omitempty"` // IANA name; "" is UTC
	Reason   string `json:"reason,omitempty"`
}

// Freeze is a time in which nothing starts: a window's fields, or From and To.
type Freeze struct {
	Window
	From time.Time `json:"from,omitzero"` // inclusive
	To   time.Time `json:"to,omitzero"`   // exclusive
}

// Request asks whether one more node of a pool may be disturbed now.
type Request struct {
	Pool    string
	Node    string
	Paused  bool
	Rollout Rollout
	Actions []impact.Action // what the step would cost the node; none when it is there already
	Now     time.Time

	Away    bool // the node is off work already: it takes no further slot of the budget
	Begun   bool // this attempt has begun the node already, or must repair it: it keeps its turn
	Failing bool // the node failed an order of ours: a repair waits for no window
	Drift   []nodeops.Drift
	Zone    string // of the node
	Canary  bool   // the node has the canary's labels
	Stage   Stage

	Nodes          int           // in the pool
	Unavailable    []string      // nodes of the pool that are not at work now, each with its reason
	Theirs         bool          // none of them is away for this rollout: it can bring none back
	Holds          []Hold        // in force for the pool
	Facts          Facts         // about the revision
	Expected       time.Duration // how long such a step takes a node; 0: nobody knows
	Commit         string        // the revision that asks for the step
	Quorum         *Quorum       // set for a member of the control plane
	MaxUnavailable string        // as the MachineConfigPool writes it
}

// Finding is the answer of one check, with its reason.
type Finding struct {
	Check   string  `json:"check"`
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty"` // empty when there is nothing to say
}

// Check is one rule, a pure function.
type Check struct {
	Name string
	Run  func(Request) (Outcome, string)
}

// Gate is the checks in the order in which people read them.
type Gate []Check

// Default is the gate of a pool.
func Default() Gate {
	return Gate{
		{Name: "inPlace", Run: inPlace},
		{Name: "paused", Run: paused},
		{Name: "hold", Run: hold},
		{Name: "approvals", Run: approvals},
		{Name: "signed", Run: signed},
		{Name: "previewMatch", Run: previewMatch},
		{Name: "health", Run: health},
		{Name: "expression", Run: expression},
		{Name: "window", Run: window},
		{Name: "drift", Run: drift},
		{Name: "after", Run: after},
		{Name: "canary", Run: canary},
		{Name: "zones", Run: zones},
		{Name: "soak", Run: soak},
		{Name: "quorum", Run: quorum},
		{Name: "maxUnavailable", Run: maxUnavailable},
	}
}

// Verdict is the worst of the findings, and all of them.
type Verdict struct {
	Outcome  Outcome   `json:"outcome"`
	Findings []Finding `json:"findings,omitempty"`
}

// Judge runs every check, so that everything is heard at once; the worst finding wins.
func (g Gate) Judge(r Request) (v Verdict) {
	if len(r.Actions) == 0 {
		return v // the node is what it should be: nothing is disturbed by saying so
	}
	for _, c := range g {
		outcome, why := c.Run(r)
		v.Outcome = max(v.Outcome, outcome)
		v.Findings = append(v.Findings, Finding{Check: c.Name, Outcome: outcome, Reason: why})
	}
	return v
}

// Reasons are the findings that hold the step back, or warn of it.
func (v Verdict) Reasons() []Finding {
	var out []Finding
	for _, f := range v.Findings {
		if f.Outcome > Allow {
			out = append(out, f)
		}
	}
	return out
}
