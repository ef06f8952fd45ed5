package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-gitops/sluice/nodeops/impact"
)

func TestImpactProblems(t *testing.T) {
	restart := []Action{{Kind: "restart", Unit: "a.service"}}
	for _, tt := range []struct {
		name string
		in   []Impact
		want string // the problems, one a line
	}{
		{"none", nil, ""},
		{"a path", []Impact{{Path: "/etc/a", Actions: restart}}, ""},
		{"globs", []Impact{{Path: "/etc/**/a?.*", Actions: restart}, {Unit: "app-*.service", Actions: restart}, {Unit: "app*", Actions: restart}, {Unit: "*", Actions: restart}}, ""},
		{"an instance", []Impact{{Unit: "getty@tty1.service", Actions: restart}}, ""},
		{"every action", []Impact{{Path: "/a", Actions: []Action{{Kind: "drain"}, {Kind: "reload"}, {Kind: "reload", Unit: "a.service"}, {Kind: "restart", Unit: "b.socket"}}}}, ""},
		{"neither path nor unit", []Impact{{Actions: restart}}, "impact[0]: has neither path nor unit, or both: give one"},
		{"both", []Impact{{Path: "/a", Unit: "a.service", Actions: restart}}, "impact[0]: has neither path nor unit, or both: give one"},
		{"a relative path", []Impact{{Path: "etc/a", Actions: restart}}, `impact[0].path: "etc/a" is not absolute: begin it with /`},
		{"a slash at the end", []Impact{{Path: "/etc/a/", Actions: restart}}, `impact[0].path: "/etc/a/" is not written plainly: write /etc/a`},
		{"stars beside a name", []Impact{{Path: "/etc/a**", Actions: restart}}, `impact[0].path: "/etc/a**" has ** beside other characters: write ** between slashes, or a single *`},
		{"a line break in a path", []Impact{{Path: "/etc/a\nb", Actions: restart}}, `impact[0].path: "/etc/a\nb" holds control characters`},
		{"no unit of that name can be", []Impact{{Unit: "a", Actions: restart}, {Unit: "a/*", Actions: restart}}, `impact[0].unit: "a" is neither the name of a unit, such as app.service, nor a glob such as app-*.service` + "\n" + `impact[1].unit: "a/*" is neither the name of a unit, such as app.service, nor a glob such as app-*.service`},
		{"two about one thing", []Impact{{Path: "/a", Actions: restart}, {Path: "/b", Actions: restart}, {Path: "/a", Actions: restart}}, "impact[2]: is about /a, as impact[0] is: write one entry"},
		{"no actions", []Impact{{Path: "/a"}}, "impact[0].actions: is empty: write kind none where nothing has to follow"},
		{"too many actions", []Impact{{Path: "/a", Actions: make([]Action, 11)}}, "impact[0].actions: has 11 entries, and 10 are the most\n" + strings.TrimSuffix(strings.Repeat("*\n", 11), "\n")},
		{"a kind that an author cannot ask for", []Impact{{Path: "/a", Actions: []Action{{Kind: "impossible"}}}}, `impact[0].actions[0].kind: "impossible" is none of none, reload, restart, drain, reboot`},
		{"a restart of nothing", []Impact{{Path: "/a", Actions: []Action{{Kind: "restart"}}}}, "impact[0].actions[0].unit: is missing: name the unit to restart, such as app.service"},
		{"a drain of a unit", []Impact{{Path: "/a", Actions: []Action{{Kind: "drain", Unit: "a.service"}}}}, "impact[0].actions[0].unit: has no meaning with kind drain: leave it out"},
		{"none and more", []Impact{{Path: "/a", Actions: []Action{{Kind: "none"}, {Kind: "drain"}}}}, "impact[0].actions[0].kind: none stands alone: leave the other actions out"},
		{"reboot and more", []Impact{{Path: "/a", Actions: []Action{{Kind: "drain"}, {Kind: "reboot"}}}}, "impact[0].actions[1].kind: reboot stands alone: leave the other actions out"},
		{"a glob cannot be restarted", []Impact{{Path: "/a", Actions: []Action{{Kind: "restart", Unit: "a*.service"}}}}, `impact[0].actions[0].unit: "a*.service" is not the name of a unit, such as app.service`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, p := range (Rollout{Impact: tt.in}).Problems() {
				line := p.Field + ": " + p.Why
				if tt.name == "too many actions" && strings.Contains(p.Field, "actions[") {
					line = "*"
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestImpactRules(t *testing.T) {
	got := Rollout{Impact: []Impact{
		{Path: "/etc/*", Actions: []Action{{Kind: "drain"}, {Kind: "restart", Unit: "a.service"}}},
		{Unit: "a.service", Actions: []Action{{Kind: "surprise"}}},
	}}.ImpactRules()
	want := []impact.Rule{
		{Path: "/etc/*", Own: true, Actions: []impact.Action{{Kind: impact.Drain}, {Kind: impact.Restart, Unit: "a.service"}}},
		{Unit: "a.service", Own: true, Actions: []impact.Action{{Kind: impact.Reboot}}}, // what is not known is never less
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
