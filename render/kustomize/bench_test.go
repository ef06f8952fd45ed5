package kustomize

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/sluice-gitops/sluice/render"
)

// BenchmarkRender renders four overlays of a base from the tree to the merged configs, and reports
// how often the library's own time for the same tree on disk, YAML included, fits into that.
func BenchmarkRender(b *testing.B) {
	for _, n := range []int{50, 500, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 500 && testing.Short() {
				b.Skip("skipped: takes a minute, and this is a short run")
			}
			root := b.TempDir()
			writeFleet(b, root, n)
			library(b, root) // the schema is parsed once for both
			var theirs, ours time.Duration
			b.ReportAllocs()
			for b.Loop() {
				theirs += library(b, root)
				ours += whole(b, new(Cache), os.DirFS(root), n)
			}
			b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ms-sluice/op")
			b.ReportMetric(float64(theirs.Milliseconds())/float64(b.N), "ms-kustomize/op")
			b.ReportMetric(float64(ours)/float64(theirs), "x-kustomize")
		})
	}
}

// BenchmarkRenderAgain renders once more after a push that no overlay, or one, reads.
func BenchmarkRenderAgain(b *testing.B) {
	for _, touched := range []string{"README.md", "pools/p0/own.yaml"} {
		b.Run(touched, func(b *testing.B) {
			root := b.TempDir()
			writeFleet(b, root, 500)
			var cache Cache
			whole(b, &cache, os.DirFS(root), 500)
			before, rounds := cache.runs, 0
			for b.Loop() {
				rounds++
				writeFile(b, root, touched, machineConfig("own", fmt.Sprintf("/etc/own%d", rounds)))
				whole(b, &cache, os.DirFS(root), 500)
			}
			b.ReportMetric(float64(cache.runs-before)/float64(rounds), "kustomize-runs/op")
		})
	}
}

const overlays = 4

// library is what kustomize needs for the builds alone.
func library(tb testing.TB, root string) time.Duration {
	start := time.Now()
	for i := range overlays {
		m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, "pools", fmt.Sprintf("p%d", i)))
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := m.AsYaml(); err != nil {
			tb.Fatal(err)
		}
	}
	return time.Since(start)
}

func whole(tb testing.TB, cache *Cache, from fs.FS, n int) time.Duration {
	start := time.Now()
	builds, err := cache.Build(from, nil)
	if err != nil {
		tb.Fatal(err)
	}
	result, err := render.Pools(builds)
	if err != nil {
		tb.Fatal(err)
	}
	took := time.Since(start)
	if len(result.Pools) != overlays || len(result.Pools[0].Config.Files) != n+1 {
		tb.Fatalf("rendered %d pools, %d files, want %d, %d", len(result.Pools), len(result.Pools[0].Config.Files), overlays, n+1)
	}
	return took
}

func writeFleet(tb testing.TB, root string, n int) {
	tb.Helper()
	write := func(name, body string) { writeFile(tb, root, name, body) }
	list := "resources:\n"
	for i := range n {
		name := fmt.Sprintf("%03d-app", i)
		list += "- " + name + ".yaml\n"
		write("base/"+name+".yaml", machineConfig(name, fmt.Sprintf("/etc/app/%03d.conf", i)))
	}
	write("base/kustomization.yaml", list)
	for i := range overlays {
		dir := fmt.Sprintf("pools/p%d/", i)
		write(dir+"kustomization.yaml", "resources: [../../base, pool.yaml, own.yaml]\n")
		write(dir+"own.yaml", machineConfig("own", "/etc/own"))
		write(dir+"pool.yaml", fmt.Sprintf("apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: p%d}\n", i))
	}
}

func writeFile(tb testing.TB, root, name, body string) {
	tb.Helper()
	at := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(body), 0o644); err != nil {
		tb.Fatal(err)
	}
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
