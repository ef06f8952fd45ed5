package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/durable"
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler/local"
)

// TestPreviewGoesByWhatTheFleetRemembers holds the preview of a local fleet to what its controller
// goes by: holds, the guardrail, the node that it runs on, and how the repository is rendered.
func TestPreviewGoesByWhatTheFleetRemembers(t *testing.T) {
	repo, base, head := quickstart(t)
	guardrail := filepath.Join(t.TempDir(), "guardrail.yaml")
	freeze := "apiVersion: sluice.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: g}\nspec:\n  freezes: [{from: 2020-01-01T00:00:00Z, to: 2036-01-01T00:00:00Z}]\n"
	if err := os.WriteFile(guardrail, []byte(freeze), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		set  settings
		hold bool
		more []string
		want string
		not  string
	}{
		"nothing stands in the way":          {want: "wave 1: worker-1, worker-2\n"},
		"a hold of an operator":              {hold: true, want: "wait (hold): ", not: "wave 1"},
		"the guardrail of the fleet":         {set: settings{outside: outside{Guardrail: guardrail}}, want: "wait (window): ", not: "wave 1"},
		"a guardrail named here comes first": {set: settings{outside: outside{Guardrail: "/nowhere"}}, more: []string{"--guardrail", guardrail}, want: "wait (window): "},
		"the controller's own node is last":  {set: settings{Self: "worker-1"}, want: "wave 1: worker-2, worker-3\n"},
		"the profile of the fleet":           {set: settings{Profile: machine.K3s}, want: "reboot   /etc/containers/registries.d/"},
		"a profile named here comes first":   {set: settings{Profile: machine.K3s}, more: []string{"--profile", "openshift"}, want: "reload   /etc/containers/registries.d/"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, node := range []string{"worker-1", "worker-2", "worker-3"} {
				if err := local.Enlist(dir, node, map[string]string{"node-role.kubernetes.io/worker": ""}, time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)); err != nil {
					t.Fatal(err)
				}
			}
			if err := durable.WriteJSON(filepath.Join(dir, settingsFile), c.set, 0o600); err != nil {
				t.Fatal(err)
			}
			if c.hold {
				if err := (local.Desk{Dir: dir}).Hold(policy.Hold{Pool: "worker", By: "ada", Reason: "why", Since: time.Now()}); err != nil {
					t.Fatal(err)
				}
			}
			var stdout, stderr bytes.Buffer
			args := append([]string{"preview", repo, "--base", base, "--head", head, "--local", dir}, c.more...)
			if code := run(t.Context(), args, &stdout, &stderr); code != 0 {
				t.Fatalf("exit code %d\n%s", code, &stderr)
			}
			if got := stdout.String(); !strings.Contains(got, c.want) || c.not != "" && strings.Contains(got, c.not) {
				t.Errorf("the preview should say %q and not %q:\n%s", c.want, c.not, &stdout)
			}
		})
	}
}

func TestPreviewTakesItsNodesFromOnePlace(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"preview", ".", "--base", "a", "--head", "b", "--local", "x", "--inventory", "y"}, &stdout, &stderr); code != 2 || stdout.Len() > 0 {
		t.Errorf("exit code %d, want 2: %s%s", code, &stdout, &stderr)
	}
}

func TestAnInventoryIsReadStrictly(t *testing.T) {
	const a = `{"name": "a", "labels": {"x": ""}, "created": "2026-01-02T15:04:05Z"}`
	if inv, err := parseInventory("i", []byte(`{"nodes": [`+a+`]}`)); err != nil || len(inv.Nodes) != 1 || inv.Nodes[0].Created.Year() != 2026 {
		t.Errorf("read %+v, %v", inv, err)
	}
	for body, want := range map[string]string{
		``:                                    "i: the file ends too early",
		`{"nodes": [` + a:                     "i: the file ends too early",
		`{"nodes": [` + a + `]} more`:         "i: something follows its end",
		`{"nodes": [` + a + `]}{"nodes": []}`: "i: something follows its end",
		`{"nodes": [` + a + `], "nodes": []}`: "i: nodes: stands twice",
		`{"nodes": [` + a + `], "Nodes": []}`: "i: Nodes: stands twice",
		`[]`:                                  "i: a JSON array does not belong here",
		`{"nodes": {}}`:                       "i: nodes: a JSON object does not belong here",
		`{"node": []}`:                        `i: json: unknown field "node"`,
		`{"nodes": ["a"]}`:                    "i: nodes[0]: a JSON string does not belong here",
		`{"nodes": [` + a + `, {"nam": ""}]}`: `i: nodes[1]: json: unknown field "nam"`,
		`{"nodes": [{"name": 1}]}`:            "i: nodes[0]: name: a JSON number does not belong here",
		`{"nodes": [{"name": "a", "labels": {"x": 1}}]}`:     "i: nodes[0]: labels: a JSON number does not belong here",
		`{"nodes": [{"name": "a", "name": "b"}]}`:            "i: nodes[0]: name: stands twice",
		`{"nodes": [{"name": "a", "created": 5}]}`:           "i: nodes[0]: created: 5 is no time",
		`{"nodes": [{"name": "a", "created": "yesterday"}]}`: `i: nodes[0]: created: "yesterday" is no time`,
		`{"nodes": [{}]}`:                   "i: nodes[0].name: is missing",
		`{"nodes": [` + a + `, ` + a + `]}`: `i: nodes[1].name: "a" stands twice`,
	} {
		if inv, err := parseInventory("i", []byte(body)); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "Go ") {
			t.Errorf("%s: read %d nodes, %v; want %q", body, len(inv.Nodes), err, want)
		}
	}
}
