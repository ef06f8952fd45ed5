// Package chart holds what the chart promises: what it renders, that a real API server takes it,
// and what each account may do once it is installed.
package chart

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/test/cluster"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	folder  = "../../charts/sluice"
	release = "sluice"
	space   = "sluice-system"
	// made is what a Fleet needs.
	made = "fleet.create=true,fleet.spec.source.url=https://git.example.com/fleet"
)

// plane has the chart installed, see installed.
var plane cluster.Plane

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	plane.Stop()
	os.RemoveAll(programs)
	os.Exit(code)
}

// program is the path of helm; where there is none the test is skipped, but not on a build machine.
var program = sync.OnceValue(func() string {
	if path, set := os.LookupEnv("SLUICE_HELM"); set {
		return path
	}
	out, err := exec.Command("bash", "helm.sh", "--cached").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
})

// try runs helm, and returns what it prints, or complains of.
func try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if program() == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no helm here: make test builds it")
		}
		t.Skip("there is no helm here: make test builds it")
	}
	home := t.TempDir() // it may not see what the user has set up
	c := exec.CommandContext(t.Context(), program(), args...)
	c.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var out, wrong bytes.Buffer
	c.Stdout, c.Stderr = &out, &wrong
	if err := c.Run(); err != nil {
		return wrong.String(), err
	}
	return out.String(), nil
}

func helm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := try(t, args...)
	if err != nil {
		t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func TestLint(t *testing.T) {
	helm(t, "lint", "--strict", "--namespace", space, folder)
}

// TestRendering compares whole renderings, but for the kinds: those are compared elsewhere.
func TestRendering(t *testing.T) {
	for _, row := range []struct {
		name   string
		values []string
	}{
		{"default", nil},
		{"everything", []string{"everything"}},
		{"least", []string{"least"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			args := []string{"template", release, folder, "--namespace", space, "--set", "crds.enabled=false"}
			for _, v := range row.values {
				args = append(args, "--values", filepath.Join("testdata", v+".values.yaml"))
			}
			golden(t, row.name+".yaml", helm(t, args...))
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is another; after a look at the difference: go test ./test/chart -update\n%s", name, difference(string(want), got))
	}
}

// difference are the lines that only one of two texts has.
func difference(want, got string) string {
	var out []string
	for _, side := range []struct{ sign, has, other string }{{"-", want, got}, {"+", got, want}} {
		other := map[string]bool{}
		for line := range strings.Lines(side.other) {
			other[line] = true
		}
		for line := range strings.Lines(side.has) {
			if !other[line] {
				out = append(out, side.sign+" "+line)
			}
		}
	}
	return strings.Join(out, "")
}

// marks are what the chart's definitions say beyond the generated ones. Helm takes what it finds
// to be a release's own by these, and leaves it when the release goes.
const marks = `  labels:
    app.kubernetes.io/managed-by: Helm
  annotations:
    helm.sh/resource-policy: keep
    meta.helm.sh/release-name: ` + release + `
    meta.helm.sh/release-namespace: ` + space + "\n"

// TestDefinitions holds the chart's definitions of our kinds to the generated ones.
func TestDefinitions(t *testing.T) {
	files, err := v1alpha1.CRDs.ReadDir("crds")
	if err != nil {
		t.Fatal(err)
	}
	has, err := os.ReadDir(filepath.Join(folder, "crds"))
	if err != nil || len(has) != len(files) {
		t.Errorf("the chart has %d definitions, want %d: %v", len(has), len(files), err)
	}
	for _, f := range files {
		text, err := v1alpha1.CRDs.ReadFile("crds/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Replace(string(text), "  annotations:\n", marks, 1)
		path := filepath.Join(folder, "crds", f.Name())
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is not what is generated: go generate ./api/... (%v)", path, err)
		}
	}
}
