package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// lab is a copy of the tree, in which things may be broken.
type lab struct {
	tree, binary string
	seeds        int
}

// notices builds the simulator and says which script, or else which seed, fails; "" is none.
func (l lab) notices() (string, error) {
	build := exec.Command("go", "test", "-c", "-o", l.binary, "./reconciler/sim")
	build.Dir = l.tree
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	if out, failed := l.test("TestScripts"); failed {
		return named(script, out, "a script"), nil
	}
	if out, failed := l.test("TestSeeds", "-seeds", fmt.Sprint(l.seeds)); failed {
		return named(seed, out, "a seed"), nil
	}
	return "", nil
}

func (l lab) test(name string, args ...string) (out string, failed bool) {
	c := exec.Command(l.binary, append([]string{"-test.run", "^" + name + "$", "-test.timeout", "5m"}, args...)...)
	c.Dir = filepath.Join(l.tree, "reconciler/sim")
	text, err := c.CombinedOutput()
	return string(text), err != nil
}

var (
	script = regexp.MustCompile(`--- FAIL: TestScripts/(\S+)`)
	seed   = regexp.MustCompile(`(seed \d+), \d+ ticks: (.*)`)
)

// named is what the first line that matches says.
func named(line *regexp.Regexp, out, otherwise string) string {
	m := line.FindStringSubmatch(out)
	switch {
	case m == nil && strings.Contains(out, "panic:"):
		return otherwise + " (panic)"
	case m == nil:
		return otherwise
	case len(m) == 2:
		return m[1] + ".txt"
	}
	return strings.Join(m[1:], ": ")
}

// copyTree copies what a build may need: everything but what is large or hidden.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != from && strings.HasPrefix(d.Name(), ".") || rel == "bin" || rel == "docs" {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		if info, err := d.Info(); err != nil || !info.Mode().IsRegular() || info.Size() > 1<<20 {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o644)
	})
}
