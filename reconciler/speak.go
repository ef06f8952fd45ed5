package reconciler

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// describe is what the forge should show for a pool's commit.
func describe(p Pool, name string) source.Status {
	st := source.Status{Commit: p.Revision.Commit, Pool: name, State: source.Pending}
	back := ""
	if p.RollbackOf != "" {
		back = "rollback to " + source.Short(p.RollbackOf) + ": "
	}
	if p.Spurned != "" && p.Halt == "" { // the commit has failed, however well its rollback goes
		st.State = source.Failure
		st.Summary = fmt.Sprintf("taken back to %s on %d of %d nodes: %s", source.Short(p.RollbackOf), p.Counts.Updated, p.Counts.Nodes, p.Why)
		return st
	}
	switch p.Phase {
	case Updated:
		st.State = source.Success
		st.Summary = fmt.Sprintf("%s%d of %d nodes updated", back, p.Counts.Updated, p.Counts.Nodes)
	case Degraded:
		st.State = source.Success
		st.Summary = fmt.Sprintf("%s%d of %d nodes updated, %d drifted", back, p.Counts.Updated, p.Counts.Nodes, p.Counts.Drifted)
	case Halted:
		st.State = source.Failure
		st.Summary = fmt.Sprintf("%shalted at %d of %d nodes: %s", back, p.Counts.Updated, p.Counts.Nodes, p.Halt)
	case Paused, Waiting:
		st.Summary = fmt.Sprintf("%swaiting at %d of %d nodes: %s", back, p.Counts.Updated, p.Counts.Nodes, reasons(p.Waiting))
	case Progressing:
		st.Summary = fmt.Sprintf("%s%d of %d nodes updated", back, milestone(p.Counts), p.Counts.Nodes)
		if i := slices.IndexFunc(p.Waiting, func(f policy.Finding) bool { return f.Check == "drain" || f.Check == "order" }); i >= 0 {
			why, _, _ := strings.Cut(p.Waiting[i].Reason, tried)
			st.Summary += "; " + why // it holds its slot, and somebody can help
		}
		for _, f := range p.Warned {
			st.Summary += "; " + f.Reason
		}
	}
	return st
}

// milestone rounds progress down to a twentieth: a forge takes a thousand statuses per commit
// and pool, and a fleet may have more nodes than that.
func milestone(c Counts) int {
	step := max(1, c.Nodes/20)
	return c.Updated / step * step
}

// leave has the last word on a commit that a newer one replaces: what it came to, or that it was
// superseded. It waits in the outbox until the forge has acknowledged it.
func (s *State) leave(p Pool, by string) {
	last := p.Status
	if last.Commit == "" {
		return
	}
	if !last.State.Terminal() {
		last.State = source.Superseded
		last.Summary = fmt.Sprintf("superseded by %s at %d of %d nodes", source.Short(by), p.Counts.Updated, p.Counts.Nodes)
	}
	s.owe(last)
}

// skip has a last word, too, on commits that came and went between two looks: somebody may be
// waiting for it.
func (s *State) skip(o Observed) {
	newest := o.Head.Revision.Commit
	if aside := o.aside(); aside != nil {
		newest = aside.Revision.Commit
	}
	if s.Seen == newest {
		return
	}
	s.Seen = newest
	for _, commit := range o.Skipped {
		for _, name := range sortedKeys(s.Pools) {
			s.owe(source.Status{Commit: commit, Pool: name, State: source.Superseded, Summary: "superseded by " + source.Short(newest) + " before it was seen"})
		}
	}
}

// aside is the newest revision where it is not the one that is followed.
func (o Observed) aside() *Broken {
	if o.Rewound != nil {
		return o.Rewound
	}
	return o.Broken
}

// refuse words what the forge should show for a head that is not followed, once per commit and
// reason. One that was rewound waits for an operator, and one that does not render for its author. What
// is in force has its pools to speak for it, also where this release would not render it.
func (s *State) refuse(o Observed) {
	aside := o.aside()
	if aside != nil && aside.Revision.Commit == o.Head.Revision.Commit {
		aside = nil
	}
	var now []source.Status
	if aside != nil {
		st := source.Status{Commit: aside.Revision.Commit, State: source.Failure, Summary: notRendered + aside.Why}
		if o.Rewound != nil {
			st.State, st.Summary = source.Pending, held+aside.Why
		}
		now = []source.Status{st}
		for i, name := range sortedKeys(s.Pools) {
			st.Pool = name
			now = append(now[:i], st)
		}
	}
	if len(now) > 0 && len(s.Refused) > 0 && s.Refused[0].Commit == now[0].Commit && s.Refused[0].State == now[0].State {
		return // as it was worded then, whatever pools there were
	}
	newest := o.Head.Revision.Commit
	if aside != nil {
		newest = aside.Revision.Commit
	}
	for _, st := range s.Refused {
		there := slices.ContainsFunc(o.Head.Pools, func(p render.Pool) bool { return p.Name == st.Pool })
		switch {
		case st.Commit != newest && !st.State.Terminal():
			st.State, st.Summary = source.Superseded, "superseded by "+source.Short(newest)
		case aside == nil && !st.State.Terminal() && !there: // it was allowed, and no pool will have a last word here
			st.State, st.Summary = source.Superseded, "allowed, and has no such pool"
		case st.Commit == newest:
			continue
		}
		s.owe(st)
	}
	s.Refused = now
}

// owe puts a last word in the outbox, unless the forge shows it already.
func (s *State) owe(st source.Status) {
	if !slices.Contains(s.Said, st) && !slices.Contains(s.Outbox, st) {
		s.Outbox = append(s.Outbox, st)
	}
}

// speak adds the posts: everything that the forge should show and has not acknowledged. What is
// said is derived from state, never from the moment it became true, so that nothing is lost.
func (s State) speak(o Observed, effects []Effect) (State, []Effect) {
	current := slices.Clone(s.Refused)
	for _, name := range sortedKeys(s.Pools) {
		current = append(current, s.Pools[name].Status)
	}
	for _, p := range o.Proposals {
		if p.Head != s.Good.Commit && p.Head != s.Seen { // else it is merged, and has statuses of its own
			current = append(current, source.Status{Commit: p.Head, State: p.State, Summary: p.Summary})
		}
	}
	s.Outbox = slices.DeleteFunc(s.Outbox, func(st source.Status) bool {
		again := func(c source.Status) bool { return c.Commit == st.Commit && c.Pool == st.Pool } // a force-push came back to it
		return slices.Contains(s.Said, st) || slices.ContainsFunc(current, again)
	})
	due := slices.Concat(s.Outbox, current)
	s.Said = slices.DeleteFunc(s.Said, func(st source.Status) bool {
		if o.Proposals == nil && st.Pool == "" {
			return false // of a pull request, perhaps: nobody could list them
		}
		return !slices.ContainsFunc(due, func(d source.Status) bool { return d.Commit == st.Commit && d.Pool == st.Pool })
	})
	for _, st := range due {
		if slices.Contains(s.Said, st) {
			continue
		}
		// What the forge shows is not known again until it acknowledges this one: a receipt that gets
		// lost must not leave an older one in force.
		s.Said = slices.DeleteFunc(s.Said, func(old source.Status) bool { return old.Commit == st.Commit && old.Pool == st.Pool })
		effects = append(effects, Post{st})
	}
	var open map[int]string
	for _, p := range o.Proposals {
		if hash, ok := s.Commented[p.Number]; ok {
			if open == nil {
				open = map[int]string{}
			}
			open[p.Number] = hash
		}
		if p.Body != "" && s.Commented[p.Number] != bodyHash(p.Body) {
			effects = append(effects, Remark{source.Comment{Proposal: p.Number, Body: p.Body}})
		}
	}
	if o.Proposals != nil { // else nobody could list them, and what stands there stands
		s.Commented = open
	}
	s.show(o)
	if len(s.Pools) == 0 {
		s.Pools = nil // as it comes back from a store: what has not changed is not saved
	}
	return s, effects
}

// Heard is the state with one more receipt: the forge shows this status now.
func (s State) Heard(st source.Status) State {
	s = s.clone()
	s.Said = slices.DeleteFunc(s.Said, func(old source.Status) bool { return old.Commit == st.Commit && old.Pool == st.Pool })
	s.Said = append(s.Said, st)
	return s
}

// HeardComment is the state with one more receipt: the pull request shows this comment now.
func (s State) HeardComment(c source.Comment) State {
	s = s.clone()
	if s.Commented == nil {
		s.Commented = map[int]string{}
	}
	s.Commented[c.Proposal] = bodyHash(c.Body)
	return s
}

func bodyHash(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:8])
}
