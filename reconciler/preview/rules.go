package preview

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/render"
)

// mostRules is how many changed rules one finding tells.
const mostRules = 5

// ownRules warns of a proposal that changes what changes cost: it is priced by its own rules, so
// its reviewers must read them. Pools with the same changes are told of together.
func ownRules(before, after []render.Pool) (out []policy.Finding) {
	pools := map[string][]string{} // what changes -> where
	var order []string
	for _, p := range after {
		old := find(before, p.Name).Rules
		if !has(before, p.Name) { // of a pool that is new, what it does not share with the others
			old = slices.DeleteFunc(slices.Clone(p.Rules), func(r impact.Rule) bool { return r.Own })
		}
		changed := impact.RulesChanged(old, p.Rules)
		if more := len(changed) - mostRules; more > 0 {
			changed = append(changed[:mostRules], fmt.Sprintf("and %d more", more))
		}
		said := strings.Join(changed, "; ")
		if said != "" && pools[said] == nil {
			order = append(order, said)
		}
		pools[said] = append(pools[said], p.Name)
	}
	for _, said := range order {
		out = append(out, policy.Finding{
			Check: "impact", Outcome: policy.Warn,
			Reason: fmt.Sprintf("this change brings its own impact rules for pool %s: %s", strings.Join(pools[said], ", "), said),
		})
	}
	return out
}
