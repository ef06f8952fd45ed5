package kustomize

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/render"
)

// A line is that of the file which an error names, where the field still is as it stands there.
func TestLinesOfWhatCameThroughKustomize(t *testing.T) {
	const wrong = `# of the base
apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata:
  name: m
  labels: {machineconfiguration.openshift.io/role: worker}
spec:
  kernelType: fast
  config:
    ignition: {version: 3.5.0}
    storage:
      files:
      - path: /etc/a
        contents: {source: 'data:,a'}
      - path: /etc/b
        contents: {source: 'https://example.com/b'}
`
	other := strings.ReplaceAll(strings.Replace(wrong, "name: m", "name: n", 1), "example.com/b", "example.com/c")
	patch := func(spec string) string {
		return "\npatches:\n- target: {name: m}\n  patch: |\n    apiVersion: machineconfiguration.openshift.io/v1\n    kind: MachineConfig\n    metadata: {name: m}\n    spec: " + spec + "\n"
	}
	const kernel, source = "spec.kernelType: ", "spec.config.storage.files[/etc/b].contents.source: "
	for _, c := range []struct {
		name, kustomization, file string
		want                      []string
	}{
		{"unchanged", "resources: [b]", wrong, []string{"b/m.yaml:8: " + kernel, "b/m.yaml:16: " + source}},
		{"unchanged, with a mark and other line ends", "resources: [b]", "\ufeff" + strings.ReplaceAll(wrong, "\n", "\r\n"), []string{"b/m.yaml:8: " + kernel, "b/m.yaml:16: " + source}},
		{"another field is patched", "resources: [b]" + patch("{fips: true}"), wrong, []string{"b/m.yaml:8: " + kernel, "b/m.yaml:16: " + source}},
		{"the field is patched", "resources: [b]" + patch("{kernelType: faster}"), wrong, []string{"b/m.yaml: " + kernel, "b/m.yaml:16: " + source}},
		{"a neighbour in its list is patched", "resources: [b]" + patch("{config: {storage: {files: [{path: /etc/0, contents: {source: 'data:,0'}}]}}}"), wrong, []string{"b/m.yaml:8: " + kernel, "b/m.yaml:16: " + source}},
		{"the element is patched", "resources: [b]" + patch("{config: {storage: {files: [{path: /etc/b, contents: {source: 'http://example.com'}}]}}}"), wrong, []string{"b/m.yaml: " + source, "b/m.yaml:8: " + kernel}},
		{"another name", "resources: [b]\nnamePrefix: x-", wrong, []string{"b/m.yaml:8: " + kernel, "b/m.yaml:16: " + source}},
		{
			"the second of a file", "resources: [b]", strings.Replace(other, "kernelType: fast", "kernelType: default", 1) + "---\n" + wrong,
			[]string{"b/m.yaml:16: " + source, "b/m.yaml:25: " + kernel, "b/m.yaml:33: " + source},
		},
		{
			"several of a file with other names", "resources: [b]\nnamePrefix: x-", wrong + "---\n" + strings.Replace(other, "name: n", "name: x-m", 1),
			[]string{"b/m.yaml: " + source, "b/m.yaml: " + kernel},
		},
		{"of a list", "resources: [b]", "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimPrefix(wrong, "# of the base\n"), "\n", "\n  "), []string{"b/m.yaml:10: " + kernel, "b/m.yaml:18: " + source}},
		{"of a list with other names", "resources: [b]\nnamePrefix: x-", "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimPrefix(wrong, "# of the base\n"), "\n", "\n  "), []string{"b/m.yaml: " + source, "b/m.yaml: " + kernel}},
		{"inherited", "resources: [b]", strings.Replace(wrong, "spec:\n  kernelType: fast\n", "x: &x {kernelType: fast}\nspec:\n  <<: *x\n", 1), []string{"b/m.yaml: " + kernel, "b/m.yaml:17: " + source}},
	} {
		t.Run(c.name, func(t *testing.T) {
			builds, err := Build(repo("kustomization.yaml", c.kustomization, "b/kustomization.yaml", "resources: [m.yaml]", "b/m.yaml", c.file), nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = render.Pools(builds)
			var found render.Errors
			if !errors.As(err, &found) || len(found) != len(c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			for i, e := range found {
				if !strings.HasPrefix(e.Error(), c.want[i]) {
					t.Errorf("got  %v\nwant %s", e, c.want[i])
				}
			}
		})
	}
}
