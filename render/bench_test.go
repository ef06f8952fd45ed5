package render_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	v3 "github.com/coreos/ignition/v2/config/v3_5"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/test/peak"
)

// fleet is n MachineConfigs as kustomize yields them. Each brings two files, one of which a
// neighbour has, too, and a drop-in for a unit that many share. 2,000 of them just fit.
func fleet(tb testing.TB, n int) []render.Document {
	tb.Helper()
	var docs []render.Document
	for i := range n {
		var c machine.Config
		for _, path := range []string{fmt.Sprintf("/etc/app-%d.conf", i), fmt.Sprintf("/etc/shared-%d.conf", i/2)} {
			c.Files = append(c.Files, machine.File{Path: path, Mode: 0o644, Contents: []byte(strings.Repeat(fmt.Sprintf("key=%d\n", i), 10))})
		}
		c.Units = []machine.Unit{{Name: fmt.Sprintf("app-%d.service", i%20), DropIns: []machine.DropIn{{Name: fmt.Sprintf("%d.conf", i), Contents: "[Service]\nNice=1\n"}}}}
		name := fmt.Sprintf("50-%04d", i)
		body, err := manifest.JSON(name, map[string]string{"machineconfiguration.openshift.io/role": "worker"}, c)
		if err != nil {
			tb.Fatal(err)
		}
		docs = append(docs, render.Document{File: name + ".yaml", Body: body})
	}
	return docs
}

func BenchmarkPools(b *testing.B) {
	for _, n := range []int{50, 500, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			builds := []render.Build{{Dir: ".", Documents: fleet(b, n)}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := render.Pools(builds); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N*n), "us/config")
			b.ReportMetric(peak.MiB(func() { _, _ = render.Pools(builds) }), "MiB-peak-heap")
		})
	}
}

// BenchmarkOneByOne is the naive way: one merge per config, the growing sum written and checked
// anew each time. It says how much of its time Pools needs, in the same run.
func BenchmarkOneByOne(b *testing.B) {
	for _, n := range []int{50, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			docs := fleet(b, n)
			b.ReportAllocs()
			var ours, naive time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := pools(docs...); err != nil {
					b.Fatal(err)
				}
				ours += time.Since(start)
				start = time.Now()
				oneByOne(b, docs)
				naive += time.Since(start)
			}
			b.ReportMetric(100*ours.Seconds()/naive.Seconds(), "%-of-it-ours")
		})
	}
}

func oneByOne(tb testing.TB, docs []render.Document) {
	sum := manifest.Empty()
	for _, d := range docs {
		m, err := manifest.Parse(d.Body)
		if err != nil {
			tb.Fatal(err)
		}
		encoded, err := json.Marshal(v3.Merge(sum, m.Spec.Ignition))
		if err != nil {
			tb.Fatal(err)
		}
		parsed, found, err := v3.Parse(encoded)
		if err != nil {
			tb.Fatalf("%v: %v", err, found)
		}
		sum = parsed
	}
}
