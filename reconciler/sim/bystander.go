package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/policy"
)

// surroundings are what a fleet stands in: gates that answer, sometimes a guardrail, and members of
// etcd in other pools than their own.
func (a *author) surroundings() {
	a.do("health ok")
	if a.chance(.25) {
		a.guardrail()
	}
	if a.chance(.2) {
		a.do("self %s", a.World.nodes[a.rng.IntN(len(a.World.nodes))].Name)
	}
	if a.chance(.1) {
		for _, n := range a.World.nodes[:min(3, len(a.World.nodes))] {
			if _, member := n.Labels[role("worker")]; member {
				a.do("label %s worker control-plane", n.Name)
			}
		}
	}
}

// gates are the parts of a policy that ask the world outside, or that bound what is done to pods.
func (a *author) gates(r *policy.Rollout) {
	if a.rng.IntN(3) == 0 {
		r.Drain = &policy.Drain{Timeout: a.pick("2m", "5m"), OnTimeout: a.pick("", "halt", "skipNode", "force", "force")}
	}
	switch a.rng.IntN(8) {
	case 0:
		r.Health = []policy.HealthGate{{Name: "shop", HTTP: "http://shop/healthz"}}
	case 1:
		r.Health = []policy.HealthGate{{Name: "pager", Alerts: "Shop.*"}, {Name: "nodes", Nodes: "Ready"}}
	}
	switch a.rng.IntN(10) {
	case 0:
		r.Approvals = &policy.Approvals{Count: 1 + a.rng.IntN(2)}
	case 1:
		r.Signed = true
	}
	switch a.rng.IntN(8) {
	case 0:
		asked := slices.Sorted(maps.Keys(expressions))
		g := policy.HealthGate{Name: "rule", Expression: asked[a.rng.IntN(len(asked))]}
		if strings.Contains(g.Expression, "probes") && !slices.ContainsFunc(r.Health, func(g policy.HealthGate) bool { return g.Name == "shop" }) {
			r.Health = append(r.Health, policy.HealthGate{Name: "shop", HTTP: "http://shop/healthz"})
		}
		r.Health = append(r.Health, g)
	case 1:
		r.RequirePreviewMatch = true
	}
	if len(r.Windows) > 0 && a.chance(.3) {
		r.Overrun = "allow"
	}
}

// guardrail is the operator's: a part or two, by a throw of the dice.
func (a *author) guardrail() {
	var r policy.Rollout
	switch a.rng.IntN(6) {
	case 0:
		r.Windows = []policy.Window{{Schedule: "0 * * * *", Duration: "50m"}}
	case 1:
		r.Canary = &policy.Canary{Nodes: "1", Soak: a.pick("", "1m")}
	case 2:
		r.Order = &policy.Order{MaxUnavailablePerZone: 1}
	case 3:
		r.Soak = "1m"
	case 4:
		r.Health = []policy.HealthGate{{Name: "site", HTTP: "http://site/healthz"}}
	case 5:
		r.Approvals = &policy.Approvals{Count: 1}
	}
	switch a.rng.IntN(4) {
	case 0:
		r.FailureBudget = &policy.FailureBudget{Nodes: "1", Action: a.pick("", "rollback")}
	case 1:
		r.Drain = &policy.Drain{Timeout: "3m", OnTimeout: a.pick("halt", "skipNode", "force")}
	}
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers
	}
	a.do("guard %s", text)
}

// bystanders are people and systems that act beside Git.
func (a *author) bystanders() {
	a.operators()
	a.branch()
	a.retirement()
	x := &a.World.outside
	switch sick := x.sick != "ok"; {
	case sick && a.chance(.1):
		a.do("health ok")
	case !sick && a.chance(.01):
		a.do("health %s", a.pick("answers 503", "alert ShopDown fires", "unknown", "old"))
	}
	n := a.World.nodes[a.rng.IntN(len(a.World.nodes))]
	switch _, blocked := x.blocked[n.Name]; {
	case blocked && a.chance(.15):
		a.do("unblock %s", n.Name)
	case !blocked && a.chance(.01):
		a.do("block %s pod shop/db-0 (PDB shop/db allows no disruption)", n.Name)
	}
	if asks, signs := a.asked(); asks && a.chance(.1) {
		a.do("approve %s", a.pick("ann", "bob", "author"))
	} else if signs && a.chance(.05) {
		a.do("sign %s", a.pick("ann", "ann", "ann", "nobody"))
	}
	if a.chance(.02) {
		a.do("preview %s=%s %s=%s", a.pools[0], a.pick("none", "reload", "reboot"), a.pools[1], a.pick("reload", "reboot", "reboot"))
	}
}

// operators stop pools and let them go, and change their guardrail.
func (a *author) operators() {
	x := &a.World.outside
	if a.chance(.006) {
		a.do("hold %s ann %s disk alarms", a.pick(append([]string{"all"}, a.pools...)...), a.pick("-", "-", "2", "15"))
	}
	if len(x.holds) > 0 && a.chance(.05) {
		pool := x.holds[a.rng.IntN(len(x.holds))].Pool
		if pool == "" {
			pool = "all"
		}
		a.do("release %s", pool)
	}
	switch {
	case a.chance(.001):
		a.guardrail()
	case x.guard != nil && a.chance(.002):
		a.do("guard none")
	}
}

// branch is rewritten, and sooner or later that is allowed, undone, or pushed over.
func (a *author) branch() {
	w := a.World
	old := func(back int) string { return fmt.Sprintf("c%d", a.commits-back) }
	switch held := w.outside.rewound != nil; {
	case held && a.chance(.04):
		a.do("allow")
	case held && a.chance(.02) && a.past[w.head.Revision.Commit] != nil:
		a.do("rewind %s", w.head.Revision.Commit)
	case !held && a.chance(.003):
		c := a.commit()
		a.do("rewrite %s %s=%s:%s", c, a.pick(a.standing()...), a.pick("none", "reload", "reboot"), c)
	case !held && a.chance(.003):
		if c := old(1 + a.rng.IntN(3)); a.past[c] != nil {
			a.do("rewind %s", c)
		}
	}
}

// asked says whether anybody asks for approvals, and for signatures.
func (a *author) asked() (approvals, signed bool) {
	for _, p := range a.World.head.Pools {
		for _, r := range a.World.rules(p) {
			approvals = approvals || r.Rollout.Approvals != nil
			signed = signed || r.Rollout.Signed || slices.ContainsFunc(r.Rollout.Health, func(g policy.HealthGate) bool { return strings.Contains(g.Expression, "signedBy") })
		}
	}
	return approvals, signed
}

// agree is everybody's word for the head.
func (a *author) agree() {
	a.do("approve ann")
	a.do("approve bob")
	a.do("sign ann")
	a.do("preview reboot")
}

// ending ends all faults and pushes a revision that holds: the fleet must come to it.
func (a *author) ending() {
	a.do("calm")
	for _, pool := range a.pools {
		if _, away := a.retired[pool]; away {
			a.do("restore %s %s", pool, a.commit())
		}
		if !a.labelled(pool) { // a canary that no node matches holds everybody, rightly
			a.join(pool, "z1")
		}
		a.do("resume %s %s", pool, a.commit())
	}
	final := ""
	for _, pool := range a.pools {
		final += " " + pool + "=reboot:final"
	}
	a.do("push %s%s", a.commit(), final)
	a.agree()
	a.do("settle 400")
}

// standing are the pools that the next push has.
func (a *author) standing() []string { return slices.Sorted(maps.Keys(a.Script.pools)) }

// retirement takes a pool out of the repository, and puts it back.
func (a *author) retirement() {
	switch standing, away := a.standing(), slices.Sorted(maps.Keys(a.retired)); {
	case len(away) > 0 && a.chance(.03):
		a.do("restore %s %s", a.pick(away...), a.commit())
	case len(standing) > 1 && a.chance(.002):
		a.do("retire %s %s", a.pick(standing...), a.commit())
	}
}
