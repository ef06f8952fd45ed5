package preview

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/render"
)

func TestOwnRulesAreToldToReviewers(t *testing.T) {
	own := func(path string) impact.Rule {
		return impact.Rule{Path: path, Own: true, Actions: []impact.Action{{Kind: impact.Restart, Unit: "app.service"}}}
	}
	with := func(name string, rules ...impact.Rule) render.Pool {
		p := render.Pool{Name: name}
		if len(rules) > 0 {
			p.Rules = append(impact.Defaults(), rules...)
		}
		return p
	}
	var six []impact.Rule
	for i := range 6 {
		six = append(six, own(fmt.Sprint("/etc/", i)))
	}
	const said = "this change brings its own impact rules for pool "
	for _, tt := range []struct {
		name          string
		before, after []render.Pool
		want          string
	}{
		{"none", []render.Pool{with("a")}, []render.Pool{with("a")}, ""},
		{"the same as before", []render.Pool{with("a", own("/etc/app"))}, []render.Pool{with("a", own("/etc/app"))}, ""},
		{"one for two pools", []render.Pool{with("a"), with("b"), with("c")}, []render.Pool{with("a", own("/etc/app")), with("b", own("/etc/app")), with("c")}, said + "a, b: /etc/app: restart app.service (new)"},
		{"one that goes", []render.Pool{with("a", own("/etc/app"))}, []render.Pool{with("a")}, said + "a: /etc/app: no rule of its own any more (was restart app.service)"},
		{"a pool that is new, with rules of its own", nil, []render.Pool{with("a", own("/etc/app"))}, said + "a: /etc/app: restart app.service (new)"},
		{"a pool that is new, with those of its profile", nil, []render.Pool{{Name: "a", Rules: impact.For(machine.K3s)}}, ""},
		{"many", []render.Pool{with("a")}, []render.Pool{with("a", six...)}, said + "a: /etc/0: restart app.service (new); /etc/1: restart app.service (new); /etc/2: restart app.service (new); /etc/3: restart app.service (new); /etc/4: restart app.service (new); and 1 more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Make(Input{Base: "a", Head: "b", MergeBase: "a", Before: tt.before, After: tt.after, Gate: policy.Default()})
			var got []string
			for _, f := range r.Findings {
				if f.Check == "impact" && f.Outcome == policy.Warn {
					got = append(got, f.Reason)
				}
			}
			if strings.Join(got, "\n") != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// What no living node can become is refused with the file that asks for it.
func TestTheFileBehindWhatCannotBeIsNamed(t *testing.T) {
	pool := render.Pool{Name: "worker"}
	after := pool
	after.Config.FIPS, after.Origins = true, map[string]string{"fips": "pools/worker/50-fips.yaml"}
	r := Make(Input{Base: "a", Head: "b", MergeBase: "a", Before: []render.Pool{pool}, After: []render.Pool{after}, Gate: policy.Default()})
	want := policy.Finding{Check: "inPlace", Outcome: policy.Deny, Reason: "pool worker: fips of pools/worker/50-fips.yaml cannot be changed in place"}
	if r.Verdict != policy.Deny || len(r.Findings) != 1 || r.Findings[0] != want {
		t.Errorf("%v: %+v", r.Verdict, r.Findings)
	}
	back := Make(Input{Base: "b", Head: "c", MergeBase: "b", Before: []render.Pool{after}, After: []render.Pool{pool}, Gate: policy.Default()})
	if len(back.Findings) != 1 || back.Findings[0] != want {
		t.Errorf("taken away: %+v", back.Findings)
	}
}
