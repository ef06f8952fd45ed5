package policy

import (
	"fmt"

	"github.com/sluice-gitops/sluice/source"
)

// signed wants a key that the operator trusts. A failing node is no exception: what nobody stands
// for must not come in by breaking one.
func signed(r Request) (Outcome, string) {
	if !r.Rollout.Signed {
		return Allow, ""
	}
	s, commit := r.Facts.Signature, source.Short(r.Commit)
	switch {
	case s == nil:
		return Wait, fmt.Sprintf("the signature of commit %s is not known: it cannot be read, or the controller has no trusted keys", commit)
	case s.By == "":
		return Deny, fmt.Sprintf("commit %s is not signed by a trusted key: %s; bring a commit that is", commit, s.Why)
	}
	return Allow, ""
}
