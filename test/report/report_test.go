package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// module writes a module of its own for the real go command.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example.com/m\n\ngo 1.26\n"
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReportOfARealRun(t *testing.T) {
	const head = "\nimport (\"testing\"; \"os\")\nvar _, _ = os.Exit, testing.Short\n"
	for _, tt := range []struct {
		name, file string // of package p
		code       int
		last       string
		says       []string
		not        string
	}{
		{
			name: "every row of a table is a test, and a skip gives its reason",
			file: `func TestA(t *testing.T) { t.Run("x", func(*testing.T) {}); t.Run("y", func(t *testing.T) { t.Skip("no such thing here") }) }
				func TestB(t *testing.T) { t.Log("quiet") }`,
			last: "2 passed, 0 failed, 1 skipped",
			says: []string{"ok   example.com/m/p 2 passed", "SKIP example.com/m/p TestA/y: p_test.go:4: no such thing here"},
			not:  "quiet",
		},
		{
			name: "a failed row is one failure, and prints what it said",
			file: `func TestA(t *testing.T) { t.Run("x", func(t *testing.T) { t.Error("the wrong word") }) }; func TestB(*testing.T) {}`,
			code: 1, last: "1 passed, 1 failed, 0 skipped",
			says: []string{"FAIL example.com/m/p TestA/x", "the wrong word", "FAIL example.com/m/p 1 passed, 1 failed"},
		},
		{
			name: "a test that fails although all its rows pass is a failure",
			file: `func TestA(t *testing.T) { t.Run("x", func(*testing.T) {}); t.Error("all in all") }`,
			code: 1, last: "1 passed, 1 failed, 0 skipped", says: []string{"FAIL example.com/m/p TestA\n", "all in all"},
		},
		{
			name: "what a test says beside its failed row is printed, and counts no more",
			file: `func TestA(t *testing.T) { t.Run("x", func(t *testing.T) { t.Fail() }); t.Error("and another thing") }`,
			code: 1, last: "0 passed, 1 failed, 0 skipped", says: []string{"and another thing"},
		},
		{
			name: "a panic is a failure of the test that runs",
			file: `func TestA(*testing.T) { panic("upside down") }`,
			code: 1, last: "0 passed, 1 failed, 0 skipped", says: []string{"FAIL example.com/m/p TestA", "upside down"},
		},
		{
			name: "so is an exit in the middle",
			file: `func TestA(*testing.T) {}; func TestB(t *testing.T) { t.Log("on the way out"); os.Exit(3) }`,
			code: 1, last: "1 passed, 1 failed, 0 skipped", says: []string{"FAIL example.com/m/p TestB", "on the way out"},
		},
		{
			name: "a package that fails around its tests is a failure",
			file: `func TestA(*testing.T) {}; func TestMain(m *testing.M) { m.Run(); println("around"); os.Exit(1) }`,
			code: 1, last: "1 passed, 1 failed, 0 skipped", says: []string{"around", "FAIL example.com/m/p 1 passed, 1 failed"},
		},
		{
			name: "what does not build is a failure, with the compiler's words",
			file: `func TestA(*testing.T) { nonsense() }`,
			code: 1, last: "0 passed, 1 failed, 0 skipped", says: []string{"undefined: nonsense"},
		},
		{name: "no test at all", last: "0 passed, 0 failed, 0 skipped"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := module(t, map[string]string{"p/p.go": "package p\n", "p/p_test.go": "package p" + head + tt.file + "\n"})
			var out bytes.Buffer
			if code := runTests(&out, dir, []string{"-vet=off", "./..."}); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if last := lines[len(lines)-1]; last != tt.last {
				t.Errorf("last line %q, want %q", last, tt.last)
			}
			for _, s := range tt.says {
				if !strings.Contains(out.String(), s) {
					t.Errorf("does not say %q", s)
				}
			}
			if tt.not != "" && strings.Contains(out.String(), tt.not) {
				t.Errorf("says %q", tt.not)
			}
			if t.Failed() {
				t.Log(out.String())
			}
		})
	}
}

func TestWhatGoRefusesIsAFailure(t *testing.T) {
	dir := module(t, map[string]string{"p/p.go": "package p\n"})
	for _, args := range [][]string{{"./nowhere"}, {"-count=many", "./..."}} {
		var out bytes.Buffer
		code := runTests(&out, dir, args)
		if code == 0 || !strings.HasSuffix(out.String(), "0 passed, 1 failed, 0 skipped\n") {
			t.Errorf("%v: exit code %d, output %s", args, code, out.String())
		}
	}
}

func TestBenchmarksAreATable(t *testing.T) {
	dir := module(t, map[string]string{
		"p/p_test.go": `package p
import "testing"
func BenchmarkOne(b *testing.B) { for b.Loop() { _ = make([]byte, 3<<20) }; b.ReportMetric(7, "things/op") }
`,
		"q/q_test.go": `package q
import "testing"
func BenchmarkBad(b *testing.B) { b.Fatal("cannot be measured") }
`,
	})
	var out bytes.Buffer
	code := runBenchmarks(&out, dir, []string{"-benchtime", "10x", "./..."})
	row := regexp.MustCompile(`(?m)^example.com/m/p\n  One +[\d.]+(ns|µs|ms) +10 runs +7\.000 things +3.0 MiB +\d+ allocs$`)
	if code != 1 || !row.MatchString(out.String()) || !strings.Contains(out.String(), "cannot be measured") {
		t.Errorf("exit code %d, output\n%s", code, out.String())
	}
}
