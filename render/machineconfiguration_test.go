package render_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/render"
)

// disrupt is a MachineConfiguration with a node disruption policy in flow style, on line 5.
func disrupt(policy string) render.Document {
	return render.Document{File: "mc.yaml", Line: 1, Body: []byte("apiVersion: operator.openshift.io/v1\nkind: MachineConfiguration\nmetadata: {name: cluster}\nspec:\n  nodeDisruptionPolicy: {" + policy + "}\n")}
}

// The API of MCO admits none of these, but for an empty list of actions, a path that is not
// written plainly and a field with a wrong name, of which none can do what its author meant.
func TestNodeDisruptionPolicyMistakes(t *testing.T) {
	many := func(n int, entry string) string {
		var out []string
		for i := range n {
			out = append(out, strings.ReplaceAll(entry, "#", fmt.Sprint(i)))
		}
		return strings.Join(out, ", ")
	}
	const none = "actions: [{type: None}]"
	for _, tt := range []struct{ name, policy, want string }{
		{"no entries", "", ""},
		{"50 files", "files: [" + many(50, "{path: /etc/#, "+none+"}") + "]", ""},
		{"51 files", "files: [" + many(51, "{path: /etc/#, "+none+"}") + "]", "files: has 51 entries, and 50 are the most: a directory holds for all below it"},
		{"51 units", "units: [" + many(51, "{name: a#.service, "+none+"}") + "]", "units: has 51 entries, and 50 are the most: a directory holds for all below it"},
		{"10 actions", "files: [{path: /a, actions: [" + many(10, "{type: Restart, restart: {serviceName: a#.service}}") + "]}]", ""},
		{"11 actions", "files: [{path: /a, actions: [" + many(11, "{type: DaemonReload}") + "]}]", "files[0].actions: has 11 entries, and 10 are the most"},
		{"no actions", "files: [{path: /a}]", "files[0].actions: is empty: write type None where nothing has to follow, or Reboot"},
		{"an empty list for ssh keys is none", "sshkey: {actions: []}", ""},
		{"a relative path", "files: [{path: etc/a, " + none + "}]", `files[0].path: "etc/a" is not an absolute path`},
		{"no path", "files: [{" + none + "}]", `files[0].path: "" is not an absolute path`},
		{"a slash at the end", "files: [{path: /etc/a/, " + none + "}]", `files[0].path: "/etc/a/" never matches: write /etc/a`},
		{"a line break in a path", `files: [{path: "/etc/a\nb", ` + none + "}]", `files[0].path: "/etc/a\nb" holds control characters`},
		{"a path twice", "files: [{path: /a, " + none + "}, {path: /a, " + none + "}]", `files[1].path: "/a" stands twice: write one entry`},
		{"a unit twice", "units: [{name: a.service, " + none + "}, {name: a.service, " + none + "}]", `units[1].name: "a.service" stands twice: write one entry`},
		{"a unit without a type", "units: [{name: crio, " + none + "}]", `units[0].name: "crio" is not the name of a unit, such as app.service: letters, digits and :-_.\ and the ending of a unit's type`},
		{"a unit of a type that is none", "units: [{name: crio.servic, " + none + "}]", `units[0].name: "crio.servic" is not the name of a unit, such as app.service: letters, digits and :-_.\ and the ending of a unit's type`},
		{"an instance, which the API does not admit", "units: [{name: a@b.service, " + none + "}]", `units[0].name: "a@b.service" is not the name of a unit, such as app.service: letters, digits and :-_.\ and the ending of a unit's type`},
		{"a timer", "units: [{name: a.timer, " + none + "}]", ""},
		{"a name that is too long", "units: [{name: " + strings.Repeat("a", 248) + ".service, " + none + "}]", `units[0].name: "` + strings.Repeat("a", 248) + `.service" is not the name of a unit, such as app.service: letters, digits and :-_.\ and the ending of a unit's type`},
		{"none beside another", "files: [{path: /a, actions: [{type: None}, {type: Drain}]}]", "files[0].actions[0].type: None stands alone: leave the other actions out"},
		{"reboot beside another", "sshkey: {actions: [{type: Drain}, {type: Reboot}]}", "sshkey.actions[1].type: Reboot stands alone: leave the other actions out"},
		{"special", "files: [{path: /a, actions: [{type: Special}]}]", "files[0].actions[0].type: Special is MCO's own: write Reload of crio.service, or leave the entry out to keep the default"},
		{"a type that is none", "files: [{path: /a, actions: [{type: reload}]}]", `files[0].actions[0].type: "reload" is none of None, Drain, Reload, Restart, DaemonReload, Reboot`},
		{"a reload of nothing", "files: [{path: /a, actions: [{type: Reload}]}]", "files[0].actions[0].reload: is missing: write {serviceName: app.service}"},
		{"a restart of nothing", "files: [{path: /a, actions: [{type: Restart, restart: {}}]}]", `files[0].actions[0].restart.serviceName: "" is not the name of a unit, such as app.service: letters, digits and :-_.\ and the ending of a unit's type`},
		{"a restart with the target of a reload", "files: [{path: /a, actions: [{type: Restart, restart: {serviceName: a.service}, reload: {serviceName: a.service}}]}]", "files[0].actions[0].reload: goes with type Reload, and this one is Restart"},
		{"a daemon-reload with a target", "files: [{path: /a, actions: [{type: DaemonReload, restart: {serviceName: a.service}}]}]", "files[0].actions[0].restart: goes with type Restart, and this one is DaemonReload"},
		{"a field that is none", "file: [{path: /a, " + none + "}]", "file: is not a known field: check its spelling and its place"},
		{"a field of another type", "files: {path: /a}", "files: is of type object, expected a list"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			if want != "" {
				want = "mc.yaml:5: spec.nodeDisruptionPolicy." + want
			}
			_, err := render.Pools([]render.Build{{Dir: ".", Documents: []render.Document{disrupt(tt.policy)}}})
			if got := errorText(err); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestRulesOfAPool(t *testing.T) {
	policy := func(entry string) render.Document {
		return render.Document{File: "policy.yaml", Line: 1, Body: []byte("apiVersion: sluice.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: p}\nspec: {impact: [" + entry + "]}\n")}
	}
	for _, tt := range []struct {
		name    string
		profile machine.Profile
		docs    []render.Document
		rules   bool
		path    string
		want    string
	}{
		{"nothing said", "", nil, false, "/etc/containers/policy.json", "reload crio.service"},
		{"a MachineConfiguration that says nothing", "", []render.Document{disrupt("")}, false, "/etc/containers/policy.json", "reload crio.service"},
		{"a default is replaced", "", []render.Document{disrupt("files: [{path: /etc/containers/policy.json, actions: [{type: Drain}]}]")}, true, "/etc/containers/policy.json", "drain "},
		{"the other defaults stay", "", []render.Document{disrupt("files: [{path: /etc/a, actions: [{type: Drain}]}]")}, true, "/etc/containers/policy.json", "reload crio.service"},
		{"the closest of both wins", "", []render.Document{disrupt("files: [{path: /etc/containers, actions: [{type: None}]}]")}, true, "/etc/containers/policy.json", "reload crio.service"},
		{"the RolloutPolicy holds before both", "", []render.Document{disrupt("files: [{path: /etc/containers/policy.json, actions: [{type: Drain}]}]"), policy("{path: /etc/containers, actions: [{kind: none}]}")}, true, "/etc/containers/policy.json", "none "},
		{"a profile has its own table", machine.Kubeadm, nil, true, "/etc/containers/policy.json", "reboot "},
		{"a profile with an entry over it", machine.K3s, []render.Document{policy("{path: /etc/rancher/k3s/config.yaml, actions: [{kind: restart, unit: k3s.service}]}")}, true, "/etc/rancher/k3s/config.yaml", "restart k3s.service"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pool := render.Document{File: "pool.yaml", Body: []byte("apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: worker}\n")}
			result, err := render.Options{Profile: tt.profile}.Pools([]render.Build{{Dir: ".", Documents: append(tt.docs, pool)}})
			if err != nil || len(result.Pools) != 1 {
				t.Fatalf("%v, %v", result.Pools, err)
			}
			rules := result.Pools[0].Rules
			if (rules != nil) != tt.rules {
				t.Errorf("%d rules go with the orders", len(rules))
			}
			got := impact.Diff(machine.Config{}, machine.Config{Files: []machine.File{{Path: tt.path}}}, rules)
			if len(got) != 1 || got[0].Kind.String()+" "+got[0].Unit != tt.want {
				t.Errorf("%s costs %v, want %s", tt.path, got, tt.want)
			}
		})
	}
}

// Rules go with every order, so there is an end to them.
func TestTooManyRulesAreRefused(t *testing.T) {
	var entries []string
	for i := range impact.MostRules {
		entries = append(entries, fmt.Sprintf("{path: /etc/%d, actions: [{kind: none}]}", i))
	}
	policy := render.Document{File: "policy.yaml", Line: 1, Body: []byte("apiVersion: sluice.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: p}\nspec: {impact: [" + strings.Join(entries, ", ") + "]}\n")}
	pool := render.Document{File: "pool.yaml", Line: 1, Body: []byte("apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: worker}\n")}
	_, err := render.Pools([]render.Build{{Dir: ".", Documents: []render.Document{policy, pool}}})
	if want := "pool.yaml:1: pool worker has 517 impact rules, and 500 are the most that go with an order: write globs or directories"; errorText(err) != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}
