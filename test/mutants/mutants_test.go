package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMutantsStillApply keeps the list as young as the code: a mutant whose text is gone proves
// nothing. `make mutants` runs them.
func TestMutantsStillApply(t *testing.T) {
	text, err := os.ReadFile("mutants.txt")
	if err != nil {
		t.Fatal(err)
	}
	mutants, err := parse(string(text))
	if err != nil || len(mutants) < 25 {
		t.Fatalf("%d mutants, %v", len(mutants), err)
	}
	for _, m := range mutants {
		if _, err := m.applied(filepath.Join("..", "..")); err != nil {
			t.Error(err)
		}
	}
}

func TestAStaleMutantIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("package a\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	mutants, err := parse("# a promise\na.go\n- nowhere\n+ somewhere\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mutants[0].applied(dir); err == nil || !strings.Contains(err.Error(), `"a promise" is stale`) {
		t.Errorf("a stale mutant: %v", err)
	}
	if _, err := parse("# a promise\na.go\n- same\n+ same\n"); err == nil {
		t.Error("a mutant that changes nothing is taken")
	}
}
