package kustomize

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/test/peak"
)

// BenchmarkRender renders four overlays of a base from the tree to the merged configs, and says how
// often what the library needs for the same builds of the same tree on disk fits into that: with
// the YAML that "kustomize build" prints, and without it. Both sides take turns, each from a heap
// without garbage, and the middle one of the rounds counts: a machine that is busy with other
// things moves both alike.
func BenchmarkRender(b *testing.B) {
	for _, size := range []struct{ n, rounds int }{{50, 15}, {500, 5}, {2000, 1}} {
		b.Run(fmt.Sprint(size.n), func(b *testing.B) {
			if size.n > 500 && testing.Short() {
				b.Skip("skipped: takes a minute, and this is a short run")
			}
			root := b.TempDir()
			writeFleet(b, root, size.n)
			library(b, root) // the schema is parsed once for both
			var s sides
			for b.Loop() {
				for round := range size.rounds {
					s.round(b, root, size.n, round%2 == 0)
				}
			}
			b.ReportMetric(1e9*middle(s.ours), "ns/op")
			b.ReportMetric(middle(s.allocations), "allocs/op")
			b.ReportMetric(middle(s.bytes), "B/op")
			b.ReportMetric(1e6*middle(s.ours)/float64(size.n*overlays), "us/config")
			b.ReportMetric(middle(s.times), "x-kustomize-build")
			b.ReportMetric(middle(s.timesBare), "x-without-its-yaml")
			b.ReportMetric(peak.MiB(func() { whole(b, new(Cache), os.DirFS(root), size.n) }), "MiB-peak-heap")
		})
	}
}

// sides are the rounds so far: what ours took in seconds and allocated, and how often theirs fits
// into it.
type sides struct{ ours, allocations, bytes, times, timesBare []float64 }

func (s *sides) round(b *testing.B, root string, n int, first bool) {
	var mine, bare, printed time.Duration
	for _, theirs := range []bool{!first, first} {
		runtime.GC()
		if theirs {
			bare, printed = library(b, root)
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		mine = whole(b, new(Cache), os.DirFS(root), n)
		runtime.ReadMemStats(&after)
		s.allocations = append(s.allocations, float64(after.Mallocs-before.Mallocs))
		s.bytes = append(s.bytes, float64(after.TotalAlloc-before.TotalAlloc))
	}
	s.ours = append(s.ours, mine.Seconds())
	s.times = append(s.times, mine.Seconds()/(bare+printed).Seconds())
	s.timesBare = append(s.timesBare, mine.Seconds()/bare.Seconds())
}

func middle(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// BenchmarkRenderAgain renders once more after a push that no overlay, or one, reads.
func BenchmarkRenderAgain(b *testing.B) {
	for _, touched := range []string{"README.md", "pools/p0/own.yaml"} {
		b.Run(touched, func(b *testing.B) {
			root := b.TempDir()
			writeFleet(b, root, 500)
			var cache Cache
			whole(b, &cache, os.DirFS(root), 500)
			before, rounds := cache.Runs(), 0
			for b.Loop() {
				rounds++
				writeFile(b, root, touched, machineConfig("own", fmt.Sprintf("/etc/own%d", rounds)))
				whole(b, &cache, os.DirFS(root), 500)
			}
			b.ReportMetric(float64(cache.Runs()-before)/float64(rounds), "kustomize-runs/op")
		})
	}
}

const overlays = 4

// library is what kustomize needs for the builds alone, and for printing them.
func library(tb testing.TB, root string) (bare, printed time.Duration) {
	for i := range overlays {
		start := time.Now()
		m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, "pools", fmt.Sprintf("p%d", i)))
		if err != nil {
			tb.Fatal(err)
		}
		built := time.Now()
		if _, err := m.AsYaml(); err != nil {
			tb.Fatal(err)
		}
		bare, printed = bare+built.Sub(start), printed+time.Since(built)
	}
	return bare, printed
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
