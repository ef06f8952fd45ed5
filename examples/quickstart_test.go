package examples

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/render/kustomize"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestQuickstartRendersToItsGoldenFile(t *testing.T) { golden(t, "quickstart") }

func TestThreePoolsRenderToTheirGoldenFile(t *testing.T) { golden(t, "three-pools") }

func golden(t *testing.T, example string) {
	t.Helper()
	result := rendered(t, example)
	var got bytes.Buffer
	for _, p := range result.Pools {
		doc, err := manifest.Marshal(p.Name, nil, p.Config)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "# pool %s, nodes %s, maxUnavailable %s\n%s---\n", p.Name, p.Selector, p.Strategy.MaxUnavailable, doc)
	}
	for _, n := range result.Notices {
		fmt.Fprintf(&got, "# notice: %s\n", n)
	}
	golden := filepath.Join("testdata", example+".golden")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the example renders to\n%s\nbut %s holds\n%s\n(if that is meant: go test ./examples -update)", got.Bytes(), golden, want)
	}
}

func TestQuickstartInventoryFillsItsPools(t *testing.T) {
	result := rendered(t, "quickstart")
	raw, err := os.ReadFile(filepath.Join("quickstart", "inventory.json"))
	if err != nil {
		t.Fatal(err)
	}
	var inventory struct {
		Nodes []struct {
			Name   string            `json:"name"`
			Labels map[string]string `json:"labels"`
		} `json:"nodes"`
	}
	if err := json.Unmarshal(raw, &inventory); err != nil {
		t.Fatal(err)
	}
	members := map[string][]string{}
	for _, n := range inventory.Nodes {
		pool, err := render.Member(result.Pools, n.Labels)
		if err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
		members[pool] = append(members[pool], n.Name)
	}
	if want := []string{"worker-1", "worker-2", "worker-3", "worker-4"}; !slices.Equal(members["worker"], want) {
		t.Errorf("pool worker has %v, want %v", members["worker"], want)
	}
	if want := []string{"edge-1", "edge-2"}; !slices.Equal(members["edge"], want) {
		t.Errorf("pool edge has %v, want %v", members["edge"], want)
	}
}

func rendered(t *testing.T, dir string) render.Result {
	t.Helper()
	builds, err := kustomize.Build(os.DirFS(dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	result, err := render.Pools(builds)
	if err != nil {
		t.Fatal(err)
	}
	return result
}
