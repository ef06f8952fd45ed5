// Package test holds what is true of the whole project: the rules of the house, and the tests
// from end to end.
package test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestHouse reads every Go file of the module and says what breaks a rule of the house.
func TestHouse(t *testing.T) {
	h := house{fset: token.NewFileSet(), files: map[string]*ast.File{}}
	if err := filepath.WalkDir("..", h.walk); err != nil {
		t.Fatal(err)
	}
	if len(h.files) < 50 {
		t.Fatalf("%d files found: the walk looks in the wrong place", len(h.files))
	}
	found := h.complaints()
	for _, c := range found {
		t.Error(c)
	}
	t.Logf("%d files in %d packages, %d complaints", len(h.files), len(h.packages()), len(found))
}

// house is a set of parsed files by their path from the root, with slashes.
type house struct {
	fset  *token.FileSet
	files map[string]*ast.File
}

func (h house) walk(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if d.IsDir() && name != ".." {
		_, nested := os.Stat(filepath.Join(name, "go.mod")) // a module of its own is another house
		if nested == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") {
			return fs.SkipDir
		}
	}
	if d.IsDir() || !strings.HasSuffix(name, ".go") {
		return nil
	}
	file, err := parser.ParseFile(h.fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	relative, err := filepath.Rel("..", name)
	h.files[filepath.ToSlash(relative)] = file
	return err
}

// complaints is everything that breaks a rule and is no exception, sorted.
func (h house) complaints() (out []string) {
	say := func(format string, args ...any) {
		c := fmt.Sprintf(format, args...)
		for begin := range exceptions {
			if rest, ok := strings.CutPrefix(c, begin); ok && strings.ContainsAny(rest[:1], ": ") {
				return
			}
		}
		out = append(out, c)
	}
	for name, file := range h.files {
		eachFunc(file, func(f *ast.FuncDecl) {
			if f.Name.Name == "init" && f.Recv == nil {
				say("%s: has an init(): wire it in cmd", name)
			}
		})
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		h.sizes(name, file, say)
		h.arrows(name, file, say)
		if r, ok := roomOf(path.Dir(name)); ok && r.kind == pure {
			h.dryness(name, file, say)
		}
	}
	for dir, names := range h.packages() {
		h.names(dir, names, say)
	}
	h.reach(say)
	slices.Sort(out)
	return slices.Compact(out)
}

type sayer func(format string, args ...any)

// packages are the files of each directory.
func (h house) packages() map[string][]string {
	out := map[string][]string{}
	for name := range h.files {
		out[path.Dir(name)] = append(out[path.Dir(name)], name)
	}
	return out
}

// names holds that a package says what it is, by its name and by a sentence.
func (h house) names(dir string, files []string, say sayer) {
	product, sentence := false, false
	for _, name := range files {
		file := h.files[name]
		own := strings.TrimSuffix(file.Name.Name, "_test")
		for _, word := range append(strings.Split(dir, "/"), own) {
			if slices.Contains(nameless, word) {
				say("%s: package name %q says nothing of what it knows", dir, word)
			}
		}
		doc := strings.TrimSpace(file.Doc.Text())
		begins := strings.HasPrefix(doc, "Package "+own+" ") || own == "main" && doc != ""
		sentence = sentence || begins && strings.Contains(doc, ".")
		product = product || !strings.HasSuffix(name, "_test.go")
	}
	if !sentence {
		say("%s: has no sentence that says what the package is", dir)
	}
	if _, ok := roomOf(dir); product && !ok {
		say("%s: has no room: say in layers_test.go where it hangs", dir)
	}
}

func (h house) sizes(name string, file *ast.File, say sayer) {
	if ast.IsGenerated(file) {
		return
	}
	if n := h.fset.File(file.FileStart).LineCount(); n > maxFile {
		say("%s: has %d lines, more than %d", name, n, maxFile)
	}
	eachFunc(file, func(f *ast.FuncDecl) {
		if n := h.line(f.End()) - h.line(f.Pos()) + 1; n > maxFunc {
			say("%s: func %s has %d lines, more than %d", name, f.Name.Name, n, maxFunc)
		}
	})
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if i, ok := spec.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > maxMethods {
				say("%s: interface %s has %d methods, more than %d", name, spec.Name.Name, i.Methods.NumFields(), maxMethods)
			}
		}
		return true
	})
}

func (h house) line(p token.Pos) int { return h.fset.Position(p).Line }

func eachFunc(file *ast.File, do func(*ast.FuncDecl)) {
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			do(f)
		}
	}
}

func imports(file *ast.File) (out []string) {
	for _, spec := range file.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// arrows holds that imports point downwards, and that a library is known where it belongs.
func (h house) arrows(name string, file *ast.File, say sayer) {
	dir := path.Dir(name)
	from, _ := roomOf(dir)
	for _, p := range imports(file) {
		for library, owner := range owners {
			if within(p, library) && !within(dir, owner) {
				say("%s imports %s: only %s may know it", dir, p, owner)
			}
		}
		if p == "testing" && from.kind != support {
			say("%s imports testing: %s is no test", dir, name)
		}
		target, ours := strings.CutPrefix(p, module)
		if !ours {
			continue
		}
		to, _ := roomOf(target)
		allowed := slices.ContainsFunc(strings.Fields(from.may), func(pattern string) bool { return covers(pattern, target) })
		switch {
		case to.kind == command:
			say("%s imports %s: a command is imported by no one", dir, target)
		case to.kind == support && from.kind != support:
			say("%s imports %s: that is for tests", dir, target)
		case from.dir == to.dir:
		case from.kind == adapter && to.kind == adapter:
			say("%s imports %s: adapters know nothing of one another", dir, target)
		case !allowed:
			say("%s imports %s: the arrow does not point downwards", dir, target)
		}
	}
}

// dryness holds the waterline: no input, output, clock, goroutine or channel.
func (h house) dryness(name string, file *ast.File, say sayer) {
	dir := path.Dir(name)
	for _, p := range imports(file) {
		wet := slices.ContainsFunc(dry, func(d string) bool { return within(p, d) })
		if wet && !slices.Contains(moist, p) {
			say("%s imports %s: below the waterline", dir, p)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			say("%s:%d: starts a goroutine below the waterline", name, h.line(n.Pos()))
		case *ast.ChanType:
			say("%s:%d: has a channel below the waterline", name, h.line(n.Pos()))
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == clockName(file) && slices.Contains(clocks, n.Sel.Name) {
				say("%s:%d: looks at the clock with time.%s below the waterline", name, h.line(n.Pos()), n.Sel.Name)
			}
		}
		return true
	})
}

// clockName is what a file calls the package time.
func clockName(file *ast.File) string {
	for _, spec := range file.Imports {
		if spec.Path.Value == `"time"` && spec.Name != nil {
			return spec.Name.Name
		}
	}
	return "time"
}

// reach holds that the agent's side does not link the controller's, by whatever way.
func (h house) reach(say sayer) {
	edges := map[string]map[string]bool{}
	for name, file := range h.files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		dir := path.Dir(name)
		if edges[dir] == nil {
			edges[dir] = map[string]bool{}
		}
		for _, p := range imports(file) {
			edges[dir][strings.TrimPrefix(p, module)] = true
		}
	}
	under := func(p string, dirs []string) bool {
		return slices.ContainsFunc(dirs, func(d string) bool { return within(p, d) })
	}
	for dir := range edges {
		if !under(dir, agentSide) {
			continue
		}
		seen := map[string]bool{dir: true}
		for queue := []string{dir}; len(queue) > 0; queue = queue[1:] {
			for next := range maps.Keys(edges[queue[0]]) {
				if !seen[next] {
					seen[next] = true
					queue = append(queue, next)
				}
			}
		}
		for p := range seen {
			if under(p, unreached) {
				say("%s reaches %s: it runs on every node and must stay small", dir, p)
			}
		}
	}
}
