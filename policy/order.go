package policy

import (
	"fmt"
	"strings"
	"time"
)

// Canary is the first nodes of a rollout, and how long they must hold before the others follow.
type Canary struct {
	Nodes  string            `json:"nodes,omitempty"`  // a number or a percentage; "" is 1
	Labels map[string]string `json:"labels,omitempty"` // instead: every node of the pool with these labels
	Soak   string            `json:"soak,omitempty"`   // a Go duration, from when the last of them is updated
}

// Order is which nodes go before which.
type Order struct {
	Zones                 string   `json:"zones,omitempty"`                 // "" or "order": one zone is begun after the other; "barrier": a zone is finished first
	MaxUnavailablePerZone int      `json:"maxUnavailablePerZone,omitempty"` // 0 is no limit of its own
	After                 []string `json:"after,omitempty"`                 // pools that must have landed the same commit before
}

// FailureBudget is how many nodes a target may cost before it is stopped.
type FailureBudget struct {
	Nodes  string `json:"nodes,omitempty"`  // a number or a percentage, at which it is stopped; "" is 1
	Action string `json:"action,omitempty"` // "" or "halt": stop; "rollback": go back to what the pool had before
}

// Stage is how far a pool's rollout is: what the checks on order need to know.
type Stage struct {
	Reached  int            // nodes at the target
	Started  int            // nodes at it, or on the way to it
	Labelled int            // nodes with the canary's labels
	Canaries []string       // nodes with the canary's labels that are not at the target, each with "(not ready)" where it is not
	CanaryAt time.Time      // when the last canary reached it
	LastAt   time.Time      // when the last node reached it
	Zone     string         // the first zone that is not finished
	ZoneAway map[string]int // zone -> nodes that are not at work
	Behind   []string       // pools that must come first and have not landed this commit
	Missing  []string       // of them, those that the revision does not have
	Circle   string         // how the pool comes to wait for itself, in words; "" is not at all

	CanaryZone string // the first zone with a labelled canary that is to go

	Lacking map[string][]string // condition that a health gate asks for -> nodes at the target without it
}

func canary(r Request) (Outcome, string) {
	c := r.Rollout.Canary
	if c == nil || r.Begun {
		return Allow, ""
	}
	if len(c.Labels) > 0 {
		if r.Canary {
			return Allow, ""
		}
		if r.Stage.Labelled == 0 {
			return Wait, "no node of the pool has the labels of the canary: correct them, or label a node"
		}
		if n := len(r.Stage.Canaries); n > 0 {
			return Wait, fmt.Sprintf("the canary %s comes first (%d to go)", r.Stage.Canaries[0], n)
		}
		return soaks("the canaries soak", r.Stage.CanaryAt, c.Soak, r.Now)
	}
	first, err := Limit(c.Nodes, r.Nodes)
	switch {
	case err != nil:
		return Deny, "canary: " + err.Error()
	case r.Stage.Reached >= first:
		return soaks("the canaries soak", r.Stage.CanaryAt, c.Soak, r.Now)
	case r.Stage.Started >= first:
		return Wait, fmt.Sprintf("%d of %d canaries are updated; the others wait for them", r.Stage.Reached, first)
	}
	return Allow, ""
}

func soak(r Request) (Outcome, string) {
	if r.Begun || r.Stage.LastAt.IsZero() {
		return Allow, ""
	}
	return soaks("the last node soaks", r.Stage.LastAt, r.Rollout.Soak, r.Now)
}

func soaks(what string, since time.Time, length string, now time.Time) (Outcome, string) {
	if length == "" {
		return Allow, ""
	}
	d, err := time.ParseDuration(length)
	if err != nil {
		return Deny, fmt.Sprintf("soak %q is no duration such as 10m", length)
	}
	if until := since.Add(d); now.Before(until) {
		return Wait, fmt.Sprintf("%s until %s", what, until.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	return Allow, ""
}

// zones lets a canary with labels through the barrier: it comes before every zone. A node that is
// off work already takes nothing from its zone: held back, it could stand in the way of the zone
// before it, which waits for its slot.
func zones(r Request) (Outcome, string) {
	o := r.Rollout.Order
	if o == nil || r.Begun || r.Away {
		return Allow, ""
	}
	if o.Zones == "barrier" && !r.Canary && r.Zone != r.Stage.Zone {
		return Wait, fmt.Sprintf("zone %q waits until zone %q is finished", r.Zone, r.Stage.Zone)
	}
	if cap := o.MaxUnavailablePerZone; cap > 0 && r.Stage.ZoneAway[r.Zone] >= cap {
		return Wait, fmt.Sprintf("%d of at most %d nodes of zone %q are unavailable", r.Stage.ZoneAway[r.Zone], cap, r.Zone)
	}
	return Allow, ""
}

func after(r Request) (Outcome, string) {
	if r.Begun || len(r.Stage.Behind) == 0 {
		return Allow, ""
	}
	if r.Stage.Circle != "" {
		return Wait, r.Stage.Circle + ": they wait for each other until one of them leaves its order.after"
	}
	why := "pool " + strings.Join(r.Stage.Behind, ", pool ") + " must have landed this commit first"
	if len(r.Stage.Missing) > 0 {
		why += "; there is no pool " + strings.Join(r.Stage.Missing, ", nor a pool ") + ": correct order.after, or bring the pool"
	}
	return Wait, why
}

// Stops says at how many failed nodes of so many a target is stopped.
func (r Rollout) Stops(nodes int) int {
	if r.FailureBudget == nil {
		return 1
	}
	n, err := Limit(r.FailureBudget.Nodes, nodes)
	if err != nil {
		return 1 // render has refused it; whatever stands here, one is the least
	}
	return n
}

// RollsBack says that a stopped target is taken back from the nodes that have it.
func (r Rollout) RollsBack() bool {
	return r.FailureBudget != nil && r.FailureBudget.Action == "rollback"
}

// maxSoak is more than anybody watches a node: what is longer was meant in another unit.
const maxSoak = 30 * 24 * time.Hour

// orderProblems are the mistakes in everything but windows and freezes.
func (r Rollout) orderProblems() (out []Problem) {
	bad := func(field, why string, args ...any) { out = append(out, Problem{field, fmt.Sprintf(why, args...)}) }
	soak := func(field, text string) {
		switch d, err := time.ParseDuration(text); {
		case text == "":
		case err != nil || d < 0:
			bad(field, "%q is no duration such as 10m", text)
		case d > maxSoak:
			bad(field, "%q is longer than %s: a rollout would not end", text, maxSoak)
		}
	}
	count := func(field, text string) {
		if _, err := Limit(text, 100); err != nil {
			bad(field, "%q is neither a number nor a percentage such as 10%%", text)
		}
	}
	soak("soak", r.Soak)
	if c := r.Canary; c != nil {
		count("canary.nodes", c.Nodes)
		soak("canary.soak", c.Soak)
		if c.Nodes != "" && len(c.Labels) > 0 {
			bad("canary", "has nodes and labels: give one")
		}
	}
	if o := r.Order; o != nil {
		if o.Zones != "" && o.Zones != "order" && o.Zones != "barrier" {
			bad("order.zones", "%q is neither order nor barrier", o.Zones)
		}
		if o.MaxUnavailablePerZone < 0 {
			bad("order.maxUnavailablePerZone", "%d is less than none", o.MaxUnavailablePerZone)
		}
	}
	if b := r.FailureBudget; b != nil {
		count("failureBudget.nodes", b.Nodes)
		if b.Action != "" && b.Action != "halt" && b.Action != "rollback" {
			bad("failureBudget.action", "%q is neither halt nor rollback", b.Action)
		}
	}
	return out
}
