package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/source"
)

// approvals counts people, each once, who have approved the very commit that was merged. A failing
// node is no exception: what nobody has agreed to must not come in by breaking one.
func approvals(r Request) (Outcome, string) {
	a := r.Rollout.Approvals
	if a == nil {
		return Allow, ""
	}
	need, commit := max(a.Count, 1), source.Short(r.Commit)
	switch review := r.Facts.Review; {
	case review == nil:
		return Wait, fmt.Sprintf("who approved commit %s is not known: the forge does not say, or none is configured", commit)
	case review.Proposal == 0:
		return Wait, fmt.Sprintf("no pull request brought commit %s, so nobody has approved it: %d must; bring a commit by a pull request", commit, need)
	default:
		yes := a.given(*review)
		if len(yes) >= need {
			return Allow, ""
		}
		from := ""
		if len(a.From) > 0 {
			from = " of " + strings.Join(a.From, ", ")
		}
		return Wait, fmt.Sprintf("%d of %d approvals%s for %s in pull request %d", len(yes), need, from, source.Short(review.Head), review.Proposal)
	}
}

// given are the people whose approval counts. Forges take the case of a name for nothing.
func (a Approvals) given(review source.Review) (yes []string) {
	listed := func(name string) bool {
		return slices.ContainsFunc(a.From, func(f string) bool { return strings.EqualFold(f, name) })
	}
	for _, one := range review.Approvals {
		by := strings.ToLower(one.By)
		switch {
		case one.Commit != review.Head, one.By == "", strings.EqualFold(one.By, review.Author), slices.Contains(yes, by):
		case len(a.From) == 0, listed(one.By), slices.ContainsFunc(one.Teams, listed):
			yes = append(yes, by)
		}
	}
	return yes
}

// Teams are those whose members' approvals count, as ORG/TEAM.
func (a Approvals) Teams() (teams []string) {
	for _, f := range a.From {
		if strings.Contains(f, "/") {
			teams = append(teams, f)
		}
	}
	return teams
}
