package kustomize

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/render"
)

const full = `apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata:
  name: m
  labels: {machineconfiguration.openshift.io/role: worker}
spec:
  kernelArguments: [a, b]
  config:
    ignition: {version: 3.5.0}
    passwd:
      users:
      - {name: core, sshAuthorizedKeys: [ssh-ed25519 one], passwordHash: x}
    storage:
      files:
      - {path: /etc/a, mode: 0644, contents: {source: 'data:,a'}}
      - {path: /etc/b, mode: 0600, contents: {source: 'data:,b'}}
    systemd:
      units:
      - name: a.service
        enabled: true
        contents: "[Service]\n"
        dropins:
        - {name: 1.conf, contents: "[Service]\n#1\n"}
        - {name: 2.conf, contents: "[Service]\n#2\n"}
      - {name: b.service, enabled: true, contents: "[Service]\n"}
`

// summary is what a MachineConfig sets, in a line.
func summary(c machine.Config) string {
	var out []string
	for _, f := range c.Files {
		out = append(out, f.Path+"="+string(f.Contents))
	}
	for _, u := range c.Units {
		one := u.Name + ":" + string(u.Enablement)
		for _, d := range u.DropIns {
			one += "+" + d.Name + strings.TrimSpace(strings.TrimPrefix(d.Contents, "[Service]\n"))
		}
		out = append(out, one)
	}
	for _, u := range c.Users {
		out = append(out, u.Name+"="+strings.Join(u.SSHKeys, ","))
	}
	return strings.Join(append(out, c.KernelArgs...), " ")
}

func configOf(t *testing.T, b render.Build, name string) machine.Config {
	t.Helper()
	if len(b.Errors) > 0 {
		t.Fatal(b.Errors)
	}
	for _, d := range b.Documents {
		m, err := manifest.Parse(d.Body)
		if err != nil {
			t.Fatalf("%s: %v", d.File, err)
		}
		if m.Name == name {
			c, err := manifest.Config(m.Spec)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	}
	t.Fatalf("no MachineConfig %s in %d documents", name, len(b.Documents))
	return machine.Config{}
}

func TestPatchesMergeByPathAndName(t *testing.T) {
	const untouched = "/etc/a=a /etc/b=b a.service:enabled+1.conf#1+2.conf#2 b.service:enabled core=ssh-ed25519 one a b"
	smp := func(spec string) string {
		return "resources: [m.yaml]\npatches:\n- patch: |\n    apiVersion: machineconfiguration.openshift.io/v1\n    kind: MachineConfig\n    metadata: {name: m}\n    spec: " + spec + "\n"
	}
	for _, c := range []struct{ name, kustomization, want string }{
		{"nothing", "resources: [m.yaml]", untouched},
		{"one file of two", smp("{config: {storage: {files: [{path: /etc/b, contents: {source: 'data:,B'}}]}}}"), strings.Replace(untouched, "/etc/b=b", "/etc/b=B", 1)},
		{"a new file", smp("{config: {storage: {files: [{path: /etc/c, contents: {source: 'data:,c'}}]}}}"), strings.Replace(untouched, "/etc/b=b", "/etc/b=b /etc/c=c", 1)},
		{"a file that goes", smp("{config: {storage: {files: [{path: /etc/a, $patch: delete}]}}}"), strings.Replace(untouched, "/etc/a=a ", "", 1)},
		{"all files replaced", smp("{config: {storage: {files: [{path: /etc/c, contents: {source: 'data:,c'}}, {$patch: replace}]}}}"), strings.Replace(untouched, "/etc/a=a /etc/b=b", "/etc/c=c", 1)},
		{"one unit of two", smp("{config: {systemd: {units: [{name: a.service, enabled: false}]}}}"), strings.Replace(untouched, "a.service:enabled", "a.service:disabled", 1)},
		{"a unit that goes", smp("{config: {systemd: {units: [{name: b.service, $patch: delete}]}}}"), strings.Replace(untouched, "b.service:enabled ", "", 1)},
		{"one drop-in of two", smp(`{config: {systemd: {units: [{name: a.service, dropins: [{name: 2.conf, contents: "[Service]\n#9\n"}]}]}}}`), strings.Replace(untouched, "2.conf#2", "2.conf#9", 1)},
		{"a drop-in that goes", smp("{config: {systemd: {units: [{name: a.service, dropins: [{name: 1.conf, $patch: delete}]}]}}}"), strings.Replace(untouched, "+1.conf#1", "", 1)},
		{"ssh keys are replaced as a whole", smp("{config: {passwd: {users: [{name: core, sshAuthorizedKeys: [ssh-ed25519 two]}]}}}"), strings.Replace(untouched, "one", "two", 1)},
		{"kernel arguments, too", smp("{kernelArguments: [c]}"), strings.Replace(untouched, " a b", " c", 1)},
		{"a JSON patch", "resources: [m.yaml]\npatches:\n- target: {kind: MachineConfig}\n  patch: |\n    - {op: replace, path: /spec/config/storage/files/0/contents/source, value: 'data:,j'}\n", strings.Replace(untouched, "/etc/a=a", "/etc/a=j", 1)},
		{"old style strategic merge", strings.Replace(strings.Replace(smp("{config: {storage: {files: [{path: /etc/a, $patch: delete}]}}}"), "patches:", "patchesStrategicMerge:", 1), "- patch: |", "- |", 1), strings.Replace(untouched, "/etc/a=a ", "", 1)},
		{"a component", "resources: [m.yaml]\ncomponents: [comp]\n", strings.Replace(untouched, "/etc/a=a ", "", 1)},
		{"a replacement from a generator", "resources: [m.yaml]\nconfigMapGenerator: [{name: c, literals: ['v=data:,r']}]\nreplacements:\n- source: {kind: ConfigMap, fieldPath: data.v}\n  targets:\n  - select: {kind: MachineConfig}\n    fieldPaths: ['spec.config.storage.files.[path=/etc/a].contents.source']\n", strings.Replace(untouched, "/etc/a=a", "/etc/a=r", 1)},
		{"a schema of the overlay is set aside", "openapi: {path: gone.json}\n" + smp("{config: {storage: {files: [{path: /etc/a, $patch: delete}]}}}"), strings.Replace(untouched, "/etc/a=a ", "", 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			builds, err := Build(repo("kustomization.yaml", c.kustomization, "m.yaml", full,
				"comp/kustomization.yaml", strings.Replace("apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"+smp("{config: {storage: {files: [{path: /etc/a, $patch: delete}]}}}"), "resources: [m.yaml]\n", "", 1)), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(configOf(t, builds[0], "m")); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			want := []string{}
			if strings.Contains(c.name, "schema") {
				want = []string{"kustomization.yaml: openapi on line 1 is set aside: MachineConfigs are patched by path and by name without it"}
			}
			if !slices.Equal(builds[0].Notices, want) && len(builds[0].Notices)+len(want) > 0 {
				t.Errorf("notices %q, want %q", builds[0].Notices, want)
			}
		})
	}
}

// The schema outlives every build, those with one of their own included: it is parsed once, and a
// later build of another overlay merges as before.
func TestTheSchemaIsLoadedOnce(t *testing.T) {
	machineConfig := yaml.TypeMeta{APIVersion: "machineconfiguration.openshift.io/v1", Kind: "MachineConfig"}
	build := func(kustomization string) {
		t.Helper()
		if found := mistakes(t, repo("kustomization.yaml", kustomization, "m.yaml", full)); len(found) > 0 {
			t.Fatal(found)
		}
	}
	build("resources: [m.yaml]")
	first := openapi.SchemaForResourceType(machineConfig)
	if first == nil {
		t.Fatal("no schema of MachineConfig is loaded")
	}
	build("resources: [m.yaml]\nopenapi: {version: v1.21.2}")
	build("resources: [m.yaml]\nopenapi: {path: m.yaml}")
	if again := openapi.SchemaForResourceType(machineConfig); again == nil || again.Schema != first.Schema {
		t.Error("the schema was loaded again, or lost")
	}
	if v := openapi.GetSchemaVersion(); v != openapi.DefaultOpenAPI && v != "" && strings.Contains(v, "custom") {
		t.Errorf("schema is now %q", v)
	}
}

// Encoding goes past the library, so it has to say what the library says.
func TestDocumentsAreEncodedAsTheLibraryWould(t *testing.T) {
	const odd = `apiVersion: v1
kind: Odd
metadata: {name: odd, annotations: {n: "1", y: "yes", e: ""}}
values: [0644, 0o644, 0x1F, 1_000, 1.5, 1e3, -0.0, .5, true, yes, on, ~, null, "", 'a''b', "\u00e9\n\t\\\"", 2001-01-02, 2001-01-02T03:04:05Z, !!str 12, !!int "7", <html>&amp;, é]
block: |
  a

  b
folded: >-
  a
  b
anchored: &x {a: [1, 2]}
again: *x
merged: {<<: *x, b: 3}
12: number
true: truth
`
	node, err := yaml.Parse(odd)
	if err != nil {
		t.Fatal(err)
	}
	same := func(n *yaml.RNode) {
		t.Helper()
		want, wantErr := n.MarshalJSON()
		got, err := encode(nil, n.YNode(), maxOutput)
		if wantErr != nil || err != nil {
			t.Fatalf("errors %v and %v", wantErr, err)
		}
		var w, g any
		if err := json.Unmarshal(want, &w); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &g); err != nil {
			t.Fatalf("%v in %s", err, got)
		}
		ws, _ := json.Marshal(w)
		if gs, _ := json.Marshal(g); string(gs) != string(ws) {
			t.Errorf("got\n%s\nwant\n%s", gs, ws)
		}
	}
	for _, field := range []string{"values", "block", "folded", "metadata", "anchored", "again", "merged"} {
		one, err := yaml.Parse("{}")
		if err != nil {
			t.Fatal(err)
		}
		if err := one.PipeE(yaml.SetField("x", node.Field(field).Value)); err != nil {
			t.Fatal(err)
		}
		if field == "again" || field == "merged" {
			if one, err = yaml.Parse("anchored: &x {a: [1, 2]}\nagain: *x\nmerged: {<<: *x, b: 3}\n"); err != nil {
				t.Fatal(err)
			}
		}
		same(one)
	}
}
