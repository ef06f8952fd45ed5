package test

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestTheImage runs the tests of tools/image, which is of another module: go test ./... passes it by.
func TestTheImage(t *testing.T) {
	files, err := filepath.Glob("../tools/image/*.go")
	if err != nil || len(files) < 4 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, file := range append(files, "../tools/go.mod", "../go.mod", "../Dockerfile") {
		read(t, file) // so that this result is kept until one of them changes
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "./image")
	cmd.Dir = "../tools"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go test ./image: %v\n%s", err, out)
	}
}
