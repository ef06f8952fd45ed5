// Package agent is the whole mind of a node's agent, and pure: what must stand on the disk for a
// config (TreeOf), what differs (Drift), what was there before (Kept), and what to do next
// (Decide). Its hands are in nodeops/agent/loop.
package agent

import (
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// Journal is what an agent must not forget. It is replaced as a whole, before the deed that it
// speaks of. While Stage is Rest the node is wholly at Current; otherwise the disk may hold any
// mixture of Current, Goal and Past, and the agent goes to Goal, which is Current when it undoes.
type Journal struct {
	Stage    Stage          `json:"stage,omitempty"`
	Order    nodeops.Order  `json:"order"`              // the newest that was taken up
	Phase    nodeops.Phase  `json:"phase,omitempty"`    // what to say of the order once at rest
	Why      string         `json:"why,omitempty"`      // the reason for that phase
	Current  machine.Digest `json:"current,omitempty"`  // verified, after the reboot where one was needed
	Previous machine.Digest `json:"previous,omitempty"` // what was current before

	Goal     machine.Digest   `json:"goal,omitempty"`
	Past     []machine.Digest `json:"past,omitempty"`     // goals that were given up on the way
	Actions  []impact.Action  `json:"actions,omitempty"`  // to do once the goal is written
	Staging  bool             `json:"staging,omitempty"`  // the OS must be told of the goal's image and arguments
	Since    string           `json:"since,omitempty"`    // the boot in which Current was left
	AskedIn  string           `json:"askedIn,omitempty"`  // the boot in which a reboot was asked for last
	Asked    int              `json:"asked,omitempty"`    // how often, for this goal
	Acted    int              `json:"acted,omitempty"`    // how often the actions were begun, for this goal, and never ended
	Stuck    string           `json:"stuck,omitempty"`    // why the undo has not succeeded yet
	Relinked bool             `json:"relinked,omitempty"` // the links of units were laid again after the reboot
}

// Stage is how far the agent has come from Current to Goal.
type Stage string

const (
	Rest      Stage = ""
	Writing   Stage = "writing"
	Acting    Stage = "acting"    // all is written; units are reloaded, the OS is staged
	Booting   Stage = "booting"   // waits for the boot in which the goal is true
	Verifying Stage = "verifying" // all is done; Current moves if it held
)

// MaxAsked is how often a reboot is asked for, for one goal: a second time if the first did not
// happen. The undo may ask as often again, so an order reboots a node three times at the worst.
const MaxAsked = 2

// MaxActed is how often actions are begun for one goal that end this agent: a container's agent goes
// with its runtime, and would else restart that for ever.
const MaxActed = 3

// Local is all that Decide may look at.
type Local struct {
	Journal Journal
	Lost    string // why the journal or what it needs cannot be read; "" when all can
	Fresh   bool   // orders that came before now are not remembered, and one that is there may not begin
	Blind   bool   // what stood on the node before Sluice cannot be read: nothing may be written
	Kept    Kept
	Configs map[machine.Digest]machine.Config // those that the journal names, and others known here
	Disk    Tree                              // of every path that matters, and the directories above
	Facts   Facts
	BootID  string
	Booted  Booted
	Now     time.Time

	Trouble string // why the job decided last could not be done
	Waiting bool   // the reboot was asked for by this process, not long ago
	Denied  string // why that reboot was refused; "" when it was not, or nobody knows
	Unfit   string // why the order's config cannot be used: what came was not what its digest says
}

// Step is what to do next.
type Step string

const (
	Idle   Step = "rest"   // nothing; the report is the last word for now
	Refuse Step = "refuse" // nothing was touched; remember the refusal
	Write  Step = "write"  // make every path of Put be so
	Act    Step = "act"    // stage the OS if Stage says so, then the actions, in order
	Reboot Step = "reboot"
	Wait   Step = "wait"   // for the reboot that was asked for
	Settle Step = "settle" // it held: remember that, and forget what is no longer needed
	Undo   Step = "undo"   // it did not hold: remember to go back
	Fail   Step = "fail"   // nothing more can be done at this look
	Recall Step = "recall" // there was no journal, or it was lost: remember what is known in its place
)

// Ends says that a look is over after this step.
func (s Step) Ends() bool { return s == Idle || s == Wait || s == Fail || s == Reboot }

// Job is one step. First Kept, then Journal are stored, where they changed; then the step is
// done; then, if it succeeded, Then is stored as the journal's stage, unless it is Rest.
type Job struct {
	Step    Step
	Journal Journal
	Kept    Kept
	Then    Stage

	Put     Tree
	Stage   machine.Config
	Actions []impact.Action
	Report  nodeops.Report
}
