package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// mostActions is how many actions may follow one change, as in MCO's API.
const mostActions = 10

// ImpactRules are the rules of spec.impact, for impact.Diff. They can be believed where there are
// no Problems.
func (r Rollout) ImpactRules() []impact.Rule {
	var out []impact.Rule
	for _, i := range r.Impact {
		rule := impact.Rule{Path: i.Path, Unit: i.Unit, Own: true}
		for _, a := range i.Actions {
			kind, err := impact.ParseKind(a.Kind)
			if err != nil {
				kind = impact.Reboot // it has been refused; whatever stands here, this is safe
			}
			rule.Actions = append(rule.Actions, impact.Action{Kind: kind, Unit: a.Unit})
		}
		out = append(out, rule)
	}
	return out
}

// impactProblems are the mistakes in spec.impact.
func (r Rollout) impactProblems() []Problem {
	var c complaints
	first := map[string]int{}
	for i, one := range r.Impact {
		field, what := fmt.Sprintf("impact[%d]", i), one.Path+one.Unit
		if (one.Path == "") == (one.Unit == "") {
			c.add(field, "has neither path nor unit, or both: give one")
			continue
		}
		if why := badPath(one.Path); one.Path != "" && why != "" {
			c.add(field+".path", "%q %s", one.Path, why)
		}
		if one.Unit != "" && !namesUnits(one.Unit) {
			c.add(field+".unit", "%q is neither the name of a unit, such as app.service, nor a glob such as app-*.service", one.Unit)
		}
		if before, twice := first[what]; twice {
			c.add(field, "is about %s, as impact[%d] is: write one entry", what, before)
		} else {
			first[what] = i
		}
		actionProblems(&c, field, one.Actions)
	}
	return c
}

// namesUnits says whether a name, or a glob, can be that of a unit.
func namesUnits(name string) bool {
	if !impact.IsGlob(name) {
		return impact.IsUnit(name)
	}
	return impact.IsUnit(strings.NewReplacer("*", "x", "?", "x").Replace(name) + ".service")
}

func badPath(p string) string {
	switch {
	case !path.IsAbs(p):
		return "is not absolute: begin it with /"
	case path.Clean(p) != p:
		return fmt.Sprintf("is not written plainly: write %s", path.Clean(p))
	case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "holds control characters"
	}
	for _, part := range strings.Split(p, "/") {
		if strings.Contains(part, "**") && part != "**" {
			return "has ** beside other characters: write ** between slashes, or a single *"
		}
	}
	return ""
}

func actionProblems(c *complaints, field string, actions []Action) {
	switch n := len(actions); {
	case n == 0:
		c.add(field+".actions", "is empty: write kind none where nothing has to follow")
	case n > mostActions:
		c.add(field+".actions", "has %d entries, and %d are the most", n, mostActions)
	}
	for i, a := range actions {
		at := fmt.Sprintf("%s.actions[%d]", field, i)
		switch {
		case !slices.Contains([]string{"none", "reload", "restart", "drain", "reboot"}, a.Kind):
			c.add(at+".kind", "%q is none of none, reload, restart, drain, reboot", a.Kind)
		case a.Kind == "restart" && a.Unit == "":
			c.add(at+".unit", "is missing: name the unit to restart, such as app.service")
		case a.Kind != "restart" && a.Kind != "reload" && a.Unit != "":
			c.add(at+".unit", "has no meaning with kind %s: leave it out", a.Kind)
		case (a.Kind == "none" || a.Kind == "reboot") && len(actions) > 1:
			c.add(at+".kind", "%s stands alone: leave the other actions out", a.Kind)
		case a.Unit != "" && !impact.IsUnit(a.Unit):
			c.add(at+".unit", "%q is not the name of a unit, such as app.service", a.Unit)
		}
	}
}
