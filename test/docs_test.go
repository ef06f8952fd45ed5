package test

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var arrow = regexp.MustCompile(`(?m)^\s+(\S+) --> (\S+): (\w+)$`)

// TestStatesAreDrawnAsTheyAre reads the drawing of the states against the code.
func TestStatesAreDrawnAsTheyAre(t *testing.T) {
	h := parsed(t)
	text := read(t, "../docs/states.md")
	functions, drawn := map[string]bool{}, map[string]bool{"idle": true} // the empty phase
	for name, file := range h.files {
		if filepath.ToSlash(filepath.Dir(name)) == "reconciler" && !strings.HasSuffix(name, "_test.go") {
			eachFunc(file, func(f *ast.FuncDecl) { functions[f.Name.Name] = true })
		}
	}
	arrows := arrow.FindAllStringSubmatch(text, -1)
	if len(arrows) < 20 {
		t.Fatalf("%d arrows were found: the drawing is not read", len(arrows))
	}
	phases := append(constants(h, "reconciler/reconciler.go", "Phase"), constants(h, "nodeops/nodeops.go", "Phase")...)
	if len(phases) < 12 {
		t.Fatalf("%v are not all phases", phases)
	}
	known := map[string]bool{"[*]": true, "idle": true, "drained": true}
	for _, p := range phases {
		known[p] = true
	}
	for _, a := range arrows {
		drawn[a[1]], drawn[a[2]] = true, true
		if !functions[a[3]] {
			t.Errorf("the arrow from %s to %s: reconciler has no function %s", a[1], a[2], a[3])
		}
		for _, state := range a[1:3] {
			if !known[state] {
				t.Errorf("%s is drawn, and there is no such phase", state)
			}
		}
	}
	for _, p := range phases {
		if !drawn[p] {
			t.Errorf("phase %s is not drawn", p)
		}
	}
}

// constants are the values of a string type, but for the empty one.
func constants(h house, file, of string) (out []string) {
	parsed := h.files[file]
	if parsed == nil {
		return nil
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		kind, typed := spec.Type.(*ast.Ident)
		value, literal := spec.Values[0].(*ast.BasicLit)
		if typed && literal && kind.Name == of {
			if s := strings.Trim(value.Value, `"`); s != "" {
				out = append(out, s)
			}
		}
		return true
	})
	return out
}

var (
	quoted   = regexp.MustCompile("`([^`]+)`")
	testName = regexp.MustCompile(`^(Test|Fuzz)[A-Z]\w*$`)
)

// TestEveryPromiseNamesAProofThatExists reads the table of promises: each row has a proof, and each
// test, fuzz target, script and file that it names is there.
func TestEveryPromiseNamesAProofThatExists(t *testing.T) {
	tests := map[string]bool{}
	for name, file := range parsed(t).files {
		if strings.HasSuffix(name, "_test.go") || strings.Contains(name, "test/") {
			eachFunc(file, func(f *ast.FuncDecl) { tests[f.Name.Name] = true })
		}
	}
	rows := 0
	for line := range strings.Lines(read(t, "../docs/rationale.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") || len(cells) != 2 || strings.HasPrefix(strings.TrimSpace(cells[0]), "**") || strings.HasPrefix(cells[0], "--") || strings.TrimSpace(cells[0]) == "promise" {
			continue
		}
		rows++
		if strings.TrimSpace(cells[1]) == "" {
			t.Errorf("nothing proves %q", strings.TrimSpace(cells[0]))
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			if why := missing(m[1], tests); why != "" {
				t.Errorf("%s: %s", strings.TrimSpace(cells[0]), why)
			}
		}
	}
	if rows < 40 {
		t.Fatalf("%d promises were found: the table is not read", rows)
	}
}

// missing says that something which is named as a proof is not there.
func missing(name string, tests map[string]bool) string {
	switch {
	case testName.MatchString(name):
		if !tests[name] {
			return "there is no test " + name
		}
	case strings.HasSuffix(name, ".txt"):
		if _, err := os.Stat(filepath.Join("../reconciler/sim/testdata", name)); err != nil {
			return "there is no script " + name
		}
	case strings.HasPrefix(name, "make "):
		if target := strings.TrimPrefix(name, "make "); !makes(target) {
			return "there is no " + name
		}
	case strings.HasSuffix(name, ".go"):
		if _, err := os.Stat(filepath.Join("..", name)); err != nil {
			return "there is no file " + name
		}
	}
	return ""
}

func makes(target string) bool {
	text, err := os.ReadFile("../Makefile")
	return err == nil && strings.Contains(string(text), "\n"+target+":")
}

// parsed is the whole house.
func parsed(t *testing.T) house {
	t.Helper()
	h := house{fset: token.NewFileSet(), files: map[string]*ast.File{}}
	if err := filepath.WalkDir("..", h.walk); err != nil {
		t.Fatal(err)
	}
	return h
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
