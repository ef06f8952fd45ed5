package policy

import (
	"time"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/source"
)

// Facts are what the gate must know from outside the fleet, about the revision that is judged.
// What is absent is not known, and a check that asks for it waits.
type Facts struct {
	Review    *source.Review         // the pull request that brought the revision; nil: not known
	Signature *Signature             // of the commit; nil: not known
	Probes    map[HealthGate]Probe   // by the whole question: two policies may give one name to two questions
	Reviewed  map[string]impact.Kind // pool -> what the last preview before the merge said; nil: none was shown
}

// Signature is what the signature of a commit proves.
type Signature struct {
	By  string // the key that it verifies with, as the operator names it; "" is none
	Why string // why it proves nothing; "" when it does
}

// Probe is the last answer of a health gate.
type Probe struct {
	Healthy bool
	Why     string
	At      time.Time
}

// Hold is an operator's stop: nothing starts until it is released or its time is over. It comes
// from the fleet, not from Git.
type Hold struct {
	Pool   string    `json:"pool,omitempty"` // "" holds every pool
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until it is released
}

// Quorum is how the control plane stands: etcd's members among the nodes of the pool.
type Quorum struct {
	Members int
	Down    []string // names of members that cannot be counted on: not ready, cordoned, being updated, or failed
}
