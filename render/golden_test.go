package render_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/render/kustomize"
)

var update = flag.Bool("update", false, "write what is rendered into testdata/*.txtar")

// TestFleetRepositories renders each repository of testdata and compares with its last file, want:
// pools with their origins, notices, or the mistakes.
func TestFleetRepositories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var repository []txtar.File
			want := ""
			for _, f := range archive.Files {
				if f.Name == "want" {
					want = string(f.Data)
				} else {
					repository = append(repository, f)
				}
			}
			got := whole(t, repository)
			if *update {
				archive.Files = append(repository, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("got\n%s\nwant\n%s\n(if that is meant: go test ./render -update)", got, want)
			}
		})
	}
}

func whole(t *testing.T, repository []txtar.File) string {
	t.Helper()
	tree, err := txtar.FS(&txtar.Archive{Files: repository})
	if err != nil {
		t.Fatal(err)
	}
	builds, err := kustomize.Build(tree, nil)
	if err != nil {
		return err.Error() + "\n"
	}
	result, err := render.Pools(builds)
	if err != nil {
		return err.Error() + "\n"
	}
	var out bytes.Buffer
	for _, p := range result.Pools {
		show(t, &out, p)
	}
	for _, n := range result.Notices {
		fmt.Fprintf(&out, "notice: %s\n", n)
	}
	return out.String()
}

func show(t *testing.T, out *bytes.Buffer, p render.Pool) {
	t.Helper()
	nodes := "none"
	if p.Selector != nil {
		nodes = p.Selector.String()
	}
	fmt.Fprintf(out, "pool %s: nodes %s, paused %t, maxUnavailable %q\n", p.Name, nodes, p.Strategy.Paused, p.Strategy.MaxUnavailable)
	for _, w := range p.Policy.Windows {
		fmt.Fprintf(out, "window %s for %s\n", w.Schedule, w.Duration)
	}
	for _, cause := range slices.Sorted(maps.Keys(p.Origins)) {
		fmt.Fprintf(out, "%s from %s\n", cause, p.Origins[cause])
	}
	for _, rule := range impact.RulesChanged(nil, p.Rules) {
		fmt.Fprintf(out, "rule %s\n", rule)
	}
	doc, err := manifest.Marshal(p.Name, nil, p.Config)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(doc)
	out.WriteString("\n")
}
