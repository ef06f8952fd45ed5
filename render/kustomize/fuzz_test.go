package kustomize

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/render/butane"
)

// FuzzBuild: whatever stands in a repository, a build ends soon, sends nothing, never panics,
// gives documents or mistakes but not both, and gives the same again, remembered or not.
func FuzzBuild(f *testing.F) {
	for _, k := range []string{
		"", "resources: [m.yaml]", "resources: [base, m.yaml]\nnamePrefix: x-\ncommonLabels: {a: b}", "resources: [../m.yaml]", "resources: ['https://example.invalid/x']",
		"resources: [m.yaml]\npatches: [{path: p.yaml}]", "resources: [m.yaml]\npatchesStrategicMerge: [p.yaml]", "resources: [m.yaml]\npatches:\n- patch: '- {op: copy, from: /spec, path: /x}'\n  target: {kind: MachineConfig}",
		"resources: [m.yaml]\nreplacements:\n- source: {kind: MachineConfig, fieldPath: metadata.name}\n  targets: [{select: {kind: MachineConfig}, fieldPaths: [spec.a], options: {create: true}}]",
		"resources: [m.yaml]\nconfigMapGenerator: [{name: c, files: [p.yaml], literals: [a=b]}]", "resources: [m.yaml, b.bu]", "generators: [m.yaml]", "openapi: {path: m.yaml}\nresources: [m.yaml]",
		"resources: &a [m.yaml]\ncomponents: *a", "vars: [{name: A, objref: {kind: MachineConfig, name: m, apiVersion: machineconfiguration.openshift.io/v1}}]\nresources: [m.yaml]",
	} {
		f.Add(k, full, full, motd)
	}
	f.Add("resources: [m.yaml]", "kind: List\napiVersion: v1\nitems: [{kind: A, metadata: {name: a}}]", "", "")
	f.Add("resources: [m.yaml]", "a: &a [*a]", "<<: *a", "\x00")
	before := http.DefaultTransport
	http.DefaultTransport = refusing{f}
	f.Cleanup(func() { http.DefaultTransport = before })
	f.Fuzz(func(t *testing.T, kustomization, m, p, b string) {
		from := repo("pools/x/kustomization.yaml", kustomization, "pools/x/m.yaml", m, "pools/x/p.yaml", p, "pools/x/b.bu", b,
			"pools/x/base/kustomization.yaml", "resources: [m.yaml]\n"+p, "pools/x/base/m.yaml", full, "pools/y/kustomization.yaml", "resources: [../x]")
		cache := Cache{Butane: butane.MachineConfig, limit: 20 * time.Second}
		first, err := cache.Build(from, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, build := range first {
			if len(build.Errors) > 0 && strings.Contains(build.Errors.Error(), "takes longer") {
				t.Fatal(build.Errors)
			}
		}
		for _, again := range []*Cache{&cache, {Butane: butane.MachineConfig}} {
			second, err := again.Build(from, nil)
			if err != nil || !reflect.DeepEqual(first, second) {
				t.Fatalf("first\n%v\nthen\n%v, %v", first, second, err)
			}
		}
	})
}

type refusing struct{ tb testing.TB }

func (r refusing) RoundTrip(q *http.Request) (*http.Response, error) {
	panic("a request was sent to " + q.URL.String())
}

// FuzzHarmless: what a look at the text takes for harmless is what an exact look would let pass,
// but for its grammar.
func FuzzHarmless(f *testing.F) {
	for _, s := range []string{"", full, motd, "a: &a [*a]", stairs(40), strings.Repeat("- ", 40), strings.Repeat("[", 200), "? ? ? a", "a: {b: [c: {d: e}]}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, contents []byte) {
		if err := inspect(contents); harmless(contents) && err != nil && !strings.HasPrefix(err.Error(), "is no YAML") {
			t.Fatal(err)
		}
	})
}
