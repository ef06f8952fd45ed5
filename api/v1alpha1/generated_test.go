package v1alpha1_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGenerated makes the CRDs and the copying anew, and compares.
func TestGenerated(t *testing.T) {
	dir := t.TempDir()
	c := exec.CommandContext(t.Context(), "go", "tool", "-modfile=../../tools/go.mod", "controller-gen",
		"object", "crd", "paths=.", "output:crd:dir="+dir, "output:object:dir="+dir)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("controller-gen: %v\n%s", err, out)
	}
	made, err := os.ReadDir(dir)
	if err != nil || len(made) != 5 {
		t.Fatalf("it makes %v, %v", made, err)
	}
	for _, file := range made {
		home := "crds"
		if strings.HasSuffix(file.Name(), ".go") {
			home = "."
		}
		got, err := os.ReadFile(filepath.Join(home, file.Name()))
		if err != nil {
			t.Error(err)
			continue
		}
		want, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the types say: go generate ./api/...", file.Name())
		}
	}
}
