package reconciler

import (
	"maps"
	"slices"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/source"
)

// Shown is the preview that stands below a pull request, in a word for each pool that it
// disturbs.
type Shown struct {
	Head  string                 `json:"head"` // commit
	Base  string                 `json:"base"` // what the followed branch was at
	Kinds map[string]impact.Kind `json:"kinds,omitempty"`
}

// Reviewed is what people had been shown before a commit came to the followed branch.
type Reviewed struct {
	Commit string                 `json:"commit"`
	Kinds  map[string]impact.Kind `json:"kinds,omitempty"`
}

// Known is never nil: a preview that disturbs nobody is one, too.
func (r Reviewed) Known() map[string]impact.Kind {
	if r.Kinds == nil {
		return map[string]impact.Kind{}
	}
	return r.Kinds
}

// closed is how many pull requests that are open no more are remembered: their merge may not have
// been seen yet.
const closed = 20

// show remembers what the forge shows below each pull request, and what was shown of the head.
func (s *State) show(o Observed) {
	if head := o.Head.Revision.Commit; o.Facts.Reviewed != nil && (s.Reviewed == nil || s.Reviewed.Commit != head) {
		s.Reviewed = &Reviewed{Commit: head}
		if len(o.Facts.Reviewed) > 0 {
			s.Reviewed.Kinds = o.Facts.Reviewed
		}
	}
	open := map[int]bool{}
	for _, p := range o.Proposals {
		open[p.Number] = true
		heard := slices.Contains(s.Said, source.Status{Commit: p.Head, State: p.State, Summary: p.Summary})
		if p.Body != "" {
			heard = s.Commented[p.Number] == bodyHash(p.Body)
		}
		if p.Kinds == nil || !heard {
			continue
		}
		shown := Shown{Head: p.Head, Base: p.Base}
		if len(p.Kinds) > 0 {
			shown.Kinds = p.Kinds
		}
		s.Shown = maps.Clone(s.Shown)
		if s.Shown == nil {
			s.Shown = map[int]Shown{}
		}
		s.Shown[p.Number] = shown
	}
	if o.Proposals == nil || len(s.Shown) <= len(open)+closed {
		return
	}
	gone := slices.DeleteFunc(slices.Sorted(maps.Keys(s.Shown)), func(n int) bool { return open[n] })
	s.Shown = maps.Clone(s.Shown)
	for _, n := range gone[:max(0, len(gone)-closed)] {
		delete(s.Shown, n)
	}
}
