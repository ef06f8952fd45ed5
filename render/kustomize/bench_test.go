package kustomize

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/sluice-gitops/sluice/render"
)

// BenchmarkRender500 renders an overlay of 500 MachineConfigs from the tree to the merged config,
// and reports how often kustomize's own time for the same tree on disk fits into that.
func BenchmarkRender500(b *testing.B) {
	root := b.TempDir()
	writeFleet(b, root, 500)
	options := krusty.MakeDefaultOptions()
	plain := func() time.Duration {
		start := time.Now()
		m, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), filepath.Join(root, "pools", "worker"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := m.AsYaml(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	plain() // the schema is parsed once for both
	var theirs, ours time.Duration
	b.ReportAllocs()
	for b.Loop() {
		theirs += plain()
		start := time.Now()
		builds, err := Build(os.DirFS(root), nil)
		if err != nil {
			b.Fatal(err)
		}
		result, err := render.Pools(builds)
		if err != nil {
			b.Fatal(err)
		}
		ours += time.Since(start)
		if n := len(result.Pools[0].Config.Files); n != 500 {
			b.Fatalf("rendered %d files, want 500", n)
		}
	}
	b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ms-sluice/op")
	b.ReportMetric(float64(theirs.Milliseconds())/float64(b.N), "ms-kustomize/op")
	b.ReportMetric(float64(ours)/float64(theirs), "x-kustomize")
}

func writeFleet(tb testing.TB, root string, n int) {
	tb.Helper()
	write := func(name, body string) {
		at := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(body), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	list := "resources:\n"
	for i := range n {
		name := fmt.Sprintf("%03d-app", i)
		list += "- " + name + ".yaml\n"
		write("base/"+name+".yaml", machineConfig(name, fmt.Sprintf("/etc/app/%03d.conf", i)))
	}
	write("base/kustomization.yaml", list)
	write("pools/worker/kustomization.yaml", "resources: [../../base, pool.yaml]\n")
	write("pools/worker/pool.yaml", "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: worker}\n")
}

func machineConfig(name, path string) string {
	return `apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata:
  name: ` + name + `
  labels:
    machineconfiguration.openshift.io/role: worker
spec:
  config:
    ignition:
      version: 3.5.0
    storage:
      files:
      - path: ` + path + `
        mode: 0644
        contents:
          source: data:,key%20%3D%20value%0Aother%20%3D%20value%0A
`
}
