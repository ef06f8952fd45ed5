package reconciler

import (
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/render"
)

// retarget follows the head. A new target starts over, whatever the old one was doing; so does
// any new commit after a halt, which is the one attempt that a failed target gets per commit.
func (s *State) retarget(p Pool, want render.Pool, crew []*Node, o Observed) Pool {
	digest, rules := want.Target(), Rules{want.Policy, want.Strategy.MaxUnavailable}
	commit := o.Head.Revision.Commit
	fresh := p.Revision.Commit != commit
	if !fresh && p.Spurned == digest {
		digest = p.Target // this commit has had its attempt, and was taken back
	}
	moved := digest != p.Target
	switch {
	case p.Target == "":
		p.Rules = s.inherit(rules, crew)
	case !moved && fresh:
		p.Rules = rules // nothing rides on this commit: it brings rules, and no new content
	}
	if fresh {
		s.leave(p, commit)
		p.Revision, p.Spurned, p.Why, p.RollbackOf = o.Head.Revision, "", "", ""
	}
	if moved {
		p.Target, p.RollbackOf = digest, landed(p.History, digest)
	}
	if moved || p.Phase == Halted && fresh {
		p = s.attempt(p, o.Now)
	}
	return p
}

// inherit finds the rules of a pool that is new. Where its nodes come from another, those of that
// one stay in force: a new name relaxes nothing.
func (s *State) inherit(rules Rules, crew []*Node) Rules {
	for _, name := range sortedKeys(s.Pools) {
		old := s.Pools[name]
		if slices.ContainsFunc(crew, func(n *Node) bool { return old.Target != "" && n.Order.Config == old.Target }) {
			return old.Rules
		}
	}
	return rules
}

// attempt starts over: orders of a new generation, and nothing held against anybody.
func (s *State) attempt(p Pool, now time.Time) Pool {
	s.Generation++
	p.Generation, p.Halt, p.Waiting = s.Generation, "", nil
	p.LastAt, p.CanaryAt, p.HeadCanaryAt, p.GuardAt, p.Skipped = time.Time{}, time.Time{}, time.Time{}, time.Time{}, nil
	p.Phase, p.Since, p.AttemptAt = Progressing, now, now
	return p
}

// retreat goes back to what the pool had before a target that failed, where the rules in force
// ask for it. The failed target is refused until there is a new commit.
func (s *State) retreat(p Pool, want render.Pool, o Observed) (Pool, bool) {
	asked := p.Rules.Rollout.RollsBack() || o.Guardrail != nil && o.Guardrail.RollsBack()
	if p.Counts.Failed < p.budget(want, o.Guardrail) || p.Spurned != "" || !asked || len(p.History) == 0 {
		return p, false
	}
	last := p.History[0]
	if _, known := o.Known[last.Config]; !known || last.Config == p.Target {
		return p, false
	}
	why := p.Halt
	p.Spurned, p.Target, p.RollbackOf = p.Target, last.Config, last.Commit
	p = s.attempt(p, o.Now)
	p.Why = why
	return p, true
}

// landed names the newest earlier commit that brought the pool to this target: moving there is a
// rollback, whatever the commit that asks for it is called.
func landed(history []Landing, target machine.Digest) string {
	for _, l := range history {
		if l.Config == target {
			return l.Commit
		}
	}
	return ""
}
