package kustomize

import (
	"strings"
	"testing"
)

// Kustomize empties a list for an element of a patch that it cannot match: a forgotten path would
// take every file from the nodes.
func TestAPatchNamesWhatItChanges(t *testing.T) {
	base := machineConfig("a", "/etc/a")
	patch := func(spec string) string {
		return "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata: {name: a}\nspec: {config: " + spec + "}\n"
	}
	for _, c := range []struct{ name, spec, want string }{
		{"a file without its path", "{storage: {files: [{contents: {source: 'data:,x'}}]}}", "p.yaml:4: spec.config.storage.files[0]: has no path, by which"},
		{"a unit without its name", "{systemd: {units: [{name: a.service}, {enabled: true}]}}", "p.yaml:4: spec.config.systemd.units[1]: has no name, by which"},
		{"a drop-in without its name", "{systemd: {units: [{name: a.service, dropins: [{contents: x}]}]}}", "p.yaml:4: spec.config.systemd.units[0].dropins[0]: has no name, by which"},
		{"a path alone", "{storage: {files: [/etc/a]}}", "p.yaml:4: spec.config.storage.files[0]: has no path, by which"},
		{"a file with its path", "{storage: {files: [{path: /etc/a, mode: 0600}]}}", ""},
		{"the whole list replaced", "{storage: {files: [{path: /etc/c}, {$patch: replace}]}}", ""},
	} {
		for how, overlay := range map[string]string{"patches": "patches: [{path: p.yaml}]", "patchesStrategicMerge": "patchesStrategicMerge: [p.yaml]"} {
			found := mistakes(t, repo("kustomization.yaml", "resources: [m.yaml]\n"+overlay, "m.yaml", base, "p.yaml", patch(c.spec)))
			if got := found.Error(); (c.want == "") != (len(found) == 0) || !strings.HasPrefix(got, c.want) {
				t.Errorf("%s by %s: %q, want %q", c.name, how, got, c.want)
			}
		}
	}
	inline := "resources: [m.yaml]\npatches:\n- patch: |\n    " + strings.ReplaceAll(patch("{storage: {files: [{mode: 0600}]}}"), "\n", "\n    ")
	if found := mistakes(t, repo("kustomization.yaml", inline, "m.yaml", base)); !strings.HasPrefix(found.Error(), "kustomization.yaml:3: patches[0].patch: spec.config.storage.files[0] has no path") {
		t.Errorf("inline: %q", found.Error())
	}
}

// What kustomize says of a patch often holds the patch.
func TestMistakesOfPatchesDoNotQuoteThem(t *testing.T) {
	for _, overlay := range []string{
		"patches: [{patch: 'hunter2 is none'}]",
		"patches: [{patch: '- {op: add, path: /spec/fips, value: hunter2}'}]",
		"patchesJson6902: [{target: {version: v1, kind: X, name: m}, patch: 'hunter2'}]",
		"patchesJson6902: [{patch: '- {op: add, path: /spec/fips, value: hunter2}'}]",
		"patches: [{patch: \"kind: MachineConfig\\napiVersion: machineconfiguration.openshift.io/v1\\nmetadata: {name: a}\\nspec: {config: {storage: {files: hunter2}}}\"}]",
		"configMapGenerator: [{name: x, literals: [hunter2]}]",
		"patches: [{patch: 'a: *hunter2'}]",
		"vars: [{name: hunter2}]",
	} {
		found := mistakes(t, repo("kustomization.yaml", "resources: [m.yaml]\n"+overlay, "m.yaml", machineConfig("a", "/etc/a")))
		if len(found) == 0 || strings.Contains(found.Error(), "hunter2") {
			t.Errorf("%s: %q", overlay, found.Error())
		}
	}
	if builds, err := Build(repo("a.yaml", "apiVersion: machineconfiguration.openshift.io/v1\npassword: *hunter2\n"), nil); err != nil || strings.Contains(builds[0].Errors.Error(), "hunter2") {
		t.Errorf("an alias without anchor: %v, %v", builds, err)
	}
}
