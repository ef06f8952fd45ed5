// Package nodeops is the language that the controller and the agents speak. Its wire form is
// frozen per version: kinds and phases travel by name, and a name not known is refused.
package nodeops

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// Order says: become this, and do no more harm than was approved. The controller writes it.
type Order struct {
	Node       string         `json:"node"`
	Generation uint64         `json:"generation"` // an agent refuses anything older than what it has seen
	Config     machine.Digest `json:"config"`
	Ceiling    impact.Kind    `json:"ceiling"`           // the agent refuses to do worse than this
	Rules      []impact.Rule  `json:"rules,omitempty"`   // by which the ceiling was found; none is impact.Defaults()
	NotAfter   time.Time      `json:"notAfter,omitzero"` // the agent does not begin after this; zero = no limit

	// Strange is what in the order is not known to this version; "" when all is. Whoever reads such
	// an order must refuse it as a whole: half of its rules would price a change wrongly.
	Strange string `json:"-"`
}

// UnmarshalJSON reads an order also where its ceiling or its rules are of another version, so that
// its generation can be answered. It says so in Strange, and leaves the rules out.
func (o *Order) UnmarshalJSON(data []byte) error {
	type plain Order
	in := struct {
		*plain
		Ceiling json.RawMessage `json:"ceiling"`
		Rules   json.RawMessage `json:"rules"`
	}{plain: &plain{}}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*o = Order(*in.plain)
	if err := strict(in.Ceiling, &o.Ceiling); err != nil {
		o.Ceiling, o.Strange = impact.Nothing, fmt.Sprintf("ceiling: %v", err)
	}
	if err := strict(in.Rules, &o.Rules); err != nil {
		o.Rules, o.Strange = nil, fmt.Sprintf("rules: %v", err)
	}
	return nil
}

// strict refuses fields that are not known. What is not there stays as it is.
func strict(data json.RawMessage, into any) error {
	if len(data) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// Report is what a node says of itself, as of now. Its agent writes it.
type Report struct {
	Generation uint64         `json:"generation"`       // of the newest order that the agent has taken up
	Config     machine.Digest `json:"config,omitempty"` // what the node is, whole and verified; "" = the bare OS
	Phase      Phase          `json:"phase,omitempty"`
	Drift      []Drift        `json:"drift,omitempty"` // sorted by path
	BootID     string         `json:"bootID,omitempty"`
	Why        string         `json:"why,omitempty"` // the reason, whenever the phase is not Done
}

// Phase is how far a node has come with the order of its report's generation.
type Phase string

const (
	Idle     Phase = ""         // never had an order
	Working  Phase = "working"  // between two configs; a crash here is finished or undone
	Done     Phase = "done"     // the node is what the order asks
	Restored Phase = "restored" // the order did not hold; the node is whole again at Report.Config
	Failed   Phase = "failed"   // the order did not hold and undoing it has not succeeded yet
	Refused  Phase = "refused"  // the order would do more than its ceiling, or cannot be done; nothing was touched
	Expired  Phase = "expired"  // the order's NotAfter passed before it began; nothing was touched
)

// UnmarshalText refuses a phase that is not known here: nobody could say what it permits.
func (p *Phase) UnmarshalText(text []byte) error {
	switch got := Phase(text); got {
	case Idle, Working, Done, Restored, Failed, Refused, Expired:
		*p = got
		return nil
	}
	return fmt.Errorf("phase %q: is not known to this version", text)
}

// Whole says that the node is wholly at Report.Config: nothing is half applied.
func (p Phase) Whole() bool { return p != Working && p != Failed }

// Drift is one thing on the node that is not as ordered.
type Drift struct {
	Path string    `json:"path"` // a file's path, a unit's name, or a field
	Kind DriftKind `json:"kind"`
	Why  string    `json:"why"` // never holds contents: they may be secret
}

// DriftKind names what differs.
type DriftKind string

const (
	DriftContent    DriftKind = "content"
	DriftMode       DriftKind = "mode"
	DriftOwner      DriftKind = "owner"
	DriftType       DriftKind = "type" // a directory or a symlink where a file should be
	DriftMissing    DriftKind = "missing"
	DriftUnit       DriftKind = "unit"
	DriftEnablement DriftKind = "enablement"
	DriftKargs      DriftKind = "kargs"
	DriftImage      DriftKind = "image"
)
