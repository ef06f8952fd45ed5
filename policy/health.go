package policy

import (
	"fmt"
	"strings"
	"time"
)

// fresh is how old the answer of a health gate may be. The loop asks at each tick that may start
// a node, so an older one means that nobody answers.
const fresh = 2 * time.Minute

// health asks every gate but the expressions, and fails closed: what is not known, or was known
// long ago, is not healthy. A node that was begun is finished; it may be what is missing.
func health(r Request) (Outcome, string) {
	if r.Begun {
		return Allow, ""
	}
	var sick []string
	for _, g := range r.Rollout.Health {
		if why := g.ails(r); why != "" {
			sick = append(sick, fmt.Sprintf("health gate %q %s", g.Name, why))
		}
	}
	if len(sick) > 0 {
		return Wait, strings.Join(sick, "; ")
	}
	return Allow, ""
}

// ails is what keeps a gate closed; "" when it is open, and for expressions.
func (g HealthGate) ails(r Request) string {
	switch {
	case g.Expression != "":
		return ""
	case g.Nodes != "":
		if lack := r.Stage.Lacking[g.Nodes]; len(lack) > 0 {
			return fmt.Sprintf("is closed: %s not %s", named(lack), g.Nodes)
		}
		return ""
	}
	p, known := r.Facts.Probes[g]
	switch age := r.Now.Sub(p.At); {
	case !known:
		return "has no answer yet"
	case age.Abs() > fresh:
		return "has no answer since " + p.At.UTC().Format("2006-01-02 15:04:05 UTC")
	case !p.Healthy:
		return "is closed: " + p.Why
	}
	return ""
}

// named lists the first of many.
func named(all []string) string {
	first := all[:min(3, len(all))]
	more := ""
	if n := len(all) - len(first); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(first, ", ") + more
}
