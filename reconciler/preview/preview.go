// Package preview says before a merge what a change will do to which nodes, in which order. It
// runs the real Step on the nodes as they are, with machines that always succeed. It is pure.
package preview

import (
	"slices"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/blockers"
	"github.com/sluice-gitops/sluice/render"
)

// Input is all that a preview looks at.
type Input struct {
	Base, Head string              // commits: what the followed branch is at, and what is proposed
	MergeBase  string              // where the proposal left the branch: what it changes is counted from here
	Before     []render.Pool       // of the merge base
	After      []render.Pool       // of the proposed head
	Standing   []render.Pool       // of the base; nil where that is the merge base
	Notices    []string            // what render noticed in the head and not in the merge base
	State      reconciler.State    // as remembered; the zero State stands for a fleet at rest on the base
	Nodes      []reconciler.Node   // the inventory; with the zero State, a node that never had an order is taken to be at the base
	Queued     map[string][]string // a commit that nodes are at -> the branch's commits after it, the base last
	Known      map[machine.Digest]machine.Config
	Gate       policy.Gate
	Now        time.Time

	Holds     []policy.Hold // as Step sees them
	Facts     policy.Facts  // about the fleet; of the proposal's own revision nobody knows yet
	Guardrail *policy.Rollout
	Self      string

	Cluster *blockers.Snapshot // the pods of the nodes; nil: nothing is said of them
}

// Report is what a proposal would do.
type Report struct {
	Base      string           `json:"base"`
	Head      string           `json:"head"`
	MergeBase string           `json:"mergeBase"`
	Verdict   policy.Outcome   `json:"verdict"`
	Findings  []policy.Finding `json:"findings"`
	Pools     []Pool           `json:"pools"`
	Inventory int              `json:"inventory"`         // nodes that were looked at; 0 means that none were known
	Assumed   int              `json:"assumed"`           // of them, those that say nothing of themselves: taken to be at the base
	Outside   int              `json:"outside,omitempty"` // of them, those in no pool, neither before nor after
	Expires   time.Time        `json:"-"`                 // when a window or a hold makes another report of the same fleet; zero is never
	Recorded  time.Time        `json:"recorded,omitzero"` // when the cluster was looked at
}

// Pool is what a proposal would do to one pool.
type Pool struct {
	Name       string              `json:"name"`
	Was        string              `json:"was,omitempty"` // its name before, when the proposal renames it
	Changed    bool                `json:"changed"`       // by the proposal: merge base against head
	Kind       impact.Kind         `json:"kind"`          // the worst that the change, or the way of a node, comes to
	Drain      bool                `json:"drain"`
	Actions    []Cause             `json:"actions"`           // of the change itself
	Cheaper    *impact.Cheaper     `json:"cheaper,omitempty"` // how the change could be split to disturb less
	Also       *Also               `json:"also,omitempty"`    // nodes whose way is longer than the change
	Joining    []Joining           `json:"joining,omitempty"` // nodes that the merge takes from other pools, by that pool
	Revert     *Revert             `json:"revert,omitempty"`  // what taking the change back would cost; nil where nothing changes
	Drifted    []Drifted           `json:"drifted,omitempty"` // nodes that are not what they were made, whether they are taken or not
	Changes    []Change            `json:"changes"`
	Nodes      map[string][]string `json:"nodes"` // kind -> nodes, from what each node has now
	Waves      [][]string          `json:"waves"` // nodes that are taken together, in order
	RollbackOf string              `json:"rollbackOf,omitempty"`
	Held       []policy.Finding    `json:"held,omitempty"`     // what stands between the merge and the first node
	Start      time.Time           `json:"start,omitzero"`     // when the first node is taken, if a window or a soak makes it wait
	Windows    []Turn              `json:"windows,omitempty"`  // which waves wait for which window, where there is more than one turn
	After      []string            `json:"after,omitempty"`    // pools that must land the same commit first
	Left       []string            `json:"left,omitempty"`     // nodes that no wave reaches, for the reasons in Held
	Estimate   *Estimate           `json:"estimate,omitempty"` // nil where the nodes have no history

	Blockers []blockers.Blocker `json:"blockers,omitempty"` // in the cluster; empty also where nothing is known of it
	Pods     *blockers.Totals   `json:"pods,omitempty"`     // on the nodes that are drained; nil where nothing is known of them

	blocked string // what cannot be changed in place, and where
}

// Cause is an action and the file of the repository that brought what asks for it.
type Cause struct {
	impact.Action
	File string `json:"file,omitempty"`
}

// Also is about nodes that are not at the base: what they pay is for more than the change.
type Also struct {
	Nodes   []string    `json:"nodes"`
	Since   string      `json:"since,omitempty"`   // the oldest commit that one of them is at; "" where nobody remembers
	Commits []string    `json:"commits,omitempty"` // of the branch, which they take up as well, oldest first
	Kind    impact.Kind `json:"kind"`              // the worst of what they pay
	Worse   bool        `json:"worse"`             // than the change alone
	Cause   string      `json:"cause,omitempty"`   // what makes that kind
}

// Joining is nodes that come to a pool from another, and what that costs.
type Joining struct {
	From  string      `json:"from"` // "" is no pool
	Nodes []string    `json:"nodes"`
	Kind  impact.Kind `json:"kind"` // the worst of what they pay
	Cause string      `json:"cause,omitempty"`
}

// Revert is what taking a change back would cost a node that has it.
type Revert struct {
	Kind      impact.Kind `json:"kind"`
	Symmetric bool        `json:"symmetric"`       // it costs what the change costs
	Cause     string      `json:"cause,omitempty"` // what makes that kind
}

// Drifted is a node that is not what it was made.
type Drifted struct {
	Node  string          `json:"node"`
	Drift []nodeops.Drift `json:"drift"` // names what differs, and never shows it
	Waits bool            `json:"waits"` // it is not taken before somebody puts it back
}

// Turn is waves that begin in one window.
type Turn struct {
	From  time.Time `json:"from"`
	Waves int       `json:"waves"`
	Nodes int       `json:"nodes"`
}

// Make is the preview of one proposal.
func Make(in Input) Report {
	r := Report{Base: in.Base, Head: in.Head, MergeBase: in.MergeBase, Findings: []policy.Finding{}, Pools: []Pool{}, Inventory: len(in.Nodes)}
	in.Before, in.After = digested(in.Before), digested(in.After)
	merged := in.After
	if in.Standing == nil {
		in.Standing = in.Before
	} else {
		in.Standing = digested(in.Standing)
		var clashes []string
		merged, clashes = join(in.Before, in.After, in.Standing)
		for _, c := range clashes {
			r.note(policy.Finding{Check: "merge", Outcome: policy.Warn, Reason: c})
		}
	}
	w := rest(in, merged)
	r.Assumed, r.Outside = w.assumed, w.outside()
	names := renames(in, merged)
	for _, after := range merged {
		r.Pools = append(r.Pools, w.compare(in, find(in.After, after.Name), after, names[after.Name]))
	}
	for _, f := range w.farewells(in, merged, names) {
		r.note(f)
	}
	for _, n := range in.Notices {
		r.note(policy.Finding{Check: "render", Outcome: policy.Warn, Reason: n})
	}
	for _, f := range ownRules(in.Before, in.After) {
		r.note(f)
	}
	r.Expires = expires(in, merged)
	w.seen.Facts.Reviewed = r.Kinds() // this is the preview that will have been read
	w.run(r.Pools)
	for i := range r.Pools {
		p := &r.Pools[i]
		w.plan(p)
		p.Estimate = estimate(*p, in.State.Pools[p.Name], find(merged, p.Name).Policy)
		for j, d := range p.Drifted {
			p.Drifted[j].Waits = slices.Contains(p.Left, d.Node)
		}
	}
	r.hear(w)
	r.obstruct(in)
	return r
}

// Kinds is what was said of each pool in one word, without those that nothing disturbs.
func (r Report) Kinds() map[string]impact.Kind {
	out := map[string]impact.Kind{}
	for _, p := range r.Pools {
		if p.Kind > impact.Nothing {
			out[p.Name] = p.Kind
		}
	}
	return out
}

// digested makes sure that no digest is computed again at every step.
func digested(pools []render.Pool) []render.Pool {
	pools = slices.Clone(pools)
	for i := range pools {
		pools[i].Digest = pools[i].Target()
	}
	return pools
}

// inTurn are the checks by which the nodes of a pool wait for one another.
var inTurn = []string{"canary", "zones", "soak", "calm"}

// hear notes what holds the pools. That later nodes wait for those which begin at once is the plan,
// as long as it reaches everybody. Where pools differ, a finding says which it is about.
func (r *Report) hear(w *world) {
	for i := range r.Pools {
		p := &r.Pools[i]
		begins := len(w.begun[p.Name]) > 0 && (w.prompt(p.Name) || p.calms())
		if begins && len(p.Left) == 0 {
			p.Held = slices.DeleteFunc(p.Held, func(f policy.Finding) bool { return slices.Contains(inTurn, f.Check) })
		}
	}
	for _, p := range r.Pools {
		for _, f := range p.Held {
			others := slices.ContainsFunc(r.Pools, func(o Pool) bool { return !o.calm() && !slices.Contains(o.Held, f) })
			if others && !strings.Contains(f.Reason, "pool "+p.Name+" ") && !strings.Contains(f.Reason, "pool "+p.Name+":") {
				f.Reason = "pool " + p.Name + ": " + f.Reason
			}
			r.note(f)
		}
	}
}

func (r *Report) note(f policy.Finding) {
	r.Verdict = max(r.Verdict, f.Outcome)
	if !slices.Contains(r.Findings, f) {
		r.Findings = append(r.Findings, f)
	}
}

// expires is the next moment at which the windows and holds that were looked at say something
// else.
func expires(in Input, merged []render.Pool) (next time.Time) {
	sooner := func(t time.Time) {
		if t.After(in.Now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, p := range merged {
		for _, r := range []policy.Rollout{p.Policy, in.State.Pools[p.Name].Rules.Rollout} {
			st := r.State(in.Now)
			sooner(st.Until)
			sooner(st.Next)
		}
	}
	if in.Guardrail != nil {
		st := in.Guardrail.State(in.Now)
		sooner(st.Until)
		sooner(st.Next)
	}
	for _, h := range in.Holds {
		sooner(h.Until)
	}
	return next
}

func find(pools []render.Pool, name string) render.Pool {
	for _, p := range pools {
		if p.Name == name {
			return p
		}
	}
	return render.Pool{Name: name}
}

func has(pools []render.Pool, name string) bool {
	return slices.ContainsFunc(pools, func(p render.Pool) bool { return p.Name == name })
}
