package main

import (
	"slices"
	"testing"

	"github.com/sluice-gitops/sluice/policy"
)

// TestWhySaysOfANodeEachThingOnce: what an agent reports, its pool repeats; what a pool says of it with
// more words takes its place.
func TestWhySaysOfANodeEachThingOnce(t *testing.T) {
	of := func(pool, node, check string, o policy.Outcome, why string) reason {
		return reason{pool, node, check, o, why}
	}
	refused, denied := of("", "w1", "refused", policy.Wait, "too much"), of("p", "w1", "refused", policy.Deny, "too much")
	blocked, next := of("", "w1", "drain", policy.Wait, "cannot be emptied: pod s/db"), of("p", "w1", "drain", policy.Wait, "node w1 cannot be emptied: pod s/db; tried until 10:00")
	other, pool, fleet := of("", "w2", "refused", policy.Wait, "too much"), of("p", "", "halt", policy.Deny, "node w1 refused: too much"), of("", "", "git", policy.Wait, "too much")
	got := once([]reason{fleet, pool, refused, blocked, other, denied, next})
	if want := []reason{fleet, pool, other, denied, next}; !slices.Equal(got, want) {
		t.Errorf("it says %v, want %v", got, want)
	}
}
