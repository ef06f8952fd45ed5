package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// build parses a house of sources; a file without a package clause gets one with a sentence.
func build(t *testing.T, sources map[string]string) house {
	t.Helper()
	h := house{fset: token.NewFileSet(), files: map[string]*ast.File{}}
	for name, source := range sources {
		file, err := parser.ParseFile(h.fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		h.files[name] = file
	}
	return h
}

// TestHouseBarks feeds each rule what it is there for. A rule that cannot bark holds nothing.
func TestHouseBarks(t *testing.T) {
	// in is a file of a package that is good but for its body.
	in := func(pkg, body string) string {
		return "// Package " + pkg + " is a sentence.\npackage " + pkg + "\n" + body
	}
	ours := func(dirs ...string) string {
		var b strings.Builder
		for _, d := range dirs {
			b.WriteString("import _ \"" + module + d + "\"\n")
		}
		return b.String()
	}
	for _, tt := range []struct {
		name, file, source string
		want               string // "" = no complaint
	}{
		{"a good package", "policy/a.go", in("policy", ours("nodeops/impact")+"import _ \"time\"\n"), ""},
		{"the operating system below the waterline", "render/a.go", in("render", "import _ \"os\""), "render imports os: below the waterline"},
		{"a part of it", "render/a.go", in("render", "import _ \"os/exec\""), "render imports os/exec"},
		{"a parser of addresses", "render/a.go", in("render", "import _ \"net/url\""), ""},
		{"the log", "reconciler/a.go", in("reconciler", "import _ \"log/slog\""), "reconciler imports log/slog"},
		{"dice", "reconciler/a.go", in("reconciler", "import _ \"math/rand/v2\""), "reconciler imports math/rand/v2"},
		{"Kubernetes", "machine/a.go", in("machine", "import _ \"k8s.io/api/core/v1\""), "machine imports k8s.io/api/core/v1"},
		{"an exception with its reason", "render/a.go", in("render", "import _ \"k8s.io/apimachinery/pkg/labels\""), ""},
		{"no exception for a neighbour", "policy/a.go", in("policy", "import _ \"k8s.io/apimachinery/pkg/labels\""), "policy imports k8s.io/apimachinery/pkg/labels"},
		{"the clock", "policy/a.go", in("policy", "import \"time\"\nvar t = time.Now()"), "policy/a.go:4: looks at the clock with time.Now"},
		{"the clock by another name", "policy/a.go", in("policy", "import t \"time\"\nvar u = t.After"), "looks at the clock with time.After"},
		{"a method that is called like the clock's", "policy/a.go", in("policy", "import \"time\"\nvar u = time.Time{}.After(time.Time{})"), ""},
		{"a goroutine", "nodeops/a.go", in("nodeops", "func f() { go f() }"), "starts a goroutine"},
		{"a channel", "nodeops/a.go", in("nodeops", "type c chan int"), "has a channel"},
		{"the clock above the waterline", "reconciler/loop/a.go", in("loop", "import \"time\"\nvar t = time.Now()\nvar c chan int"), ""},
		{"the clock in a test", "policy/a_test.go", in("policy", "import \"time\"\nvar t = time.Now()"), ""},
		{"machine imports ours", "machine/a.go", in("machine", ours("source")), "machine imports source: the arrow"},
		{"an arrow upwards", "render/a.go", in("render", ours("reconciler")), "render imports reconciler: the arrow"},
		{"an adapter and another", "source/git/a.go", in("git", ours("render/kustomize")), "source/git imports render/kustomize: adapters know nothing"},
		{"parts of one adapter", "nodeops/host/a.go", in("host", ours("nodeops/host/ostree")), ""},
		{"a command is imported", "reconciler/loop/a.go", in("loop", ours("cmd/sluice")), "imports cmd/sluice: a command"},
		{"a command wires", "cmd/sluice/a.go", "// Sluice is a sentence.\npackage main\n" + ours("reconciler/kube", "source/git"), ""},
		{"the agent sees the fleet", "nodeops/agent/a.go", in("agent", ours("policy")), "nodeops/agent reaches policy"},
		{"the agent links kustomize", "nodeops/host/a.go", in("host", "import _ \"sigs.k8s.io/kustomize/api/krusty\""), "nodeops/host reaches sigs.k8s.io/kustomize/api/krusty"},
		{"a library away from its owner", "cmd/sluice/a.go", "// Sluice is a sentence.\npackage main\nimport _ \"github.com/go-git/go-git/v5\"", "only source/git may know it"},
		{"testing in the product", "source/git/a.go", in("git", "import _ \"testing\""), "source/git imports testing"},
		{"testing in its support", "source/git/gittest/a.go", in("gittest", "import _ \"testing\""), ""},
		{"support in the product", "reconciler/loop/a.go", in("loop", ours("source/git/gittest")), "that is for tests"},
		{"support in a test", "reconciler/loop/a_test.go", in("loop", ours("source/git/gittest")), ""},
		{"a package without a room", "cellar/a.go", in("cellar", ""), "cellar: has no room"},
		{"a package name that says nothing", "source/git/utils/a.go", in("utils", ""), `package name "utils"`},
		{"no sentence", "policy/a.go", "package policy", "policy: has no sentence"},
		{"no sentence in a command", "cmd/sluice/a.go", "package main", "cmd/sluice: has no sentence"},
		{"an init", "cmd/sluice/a.go", "// Sluice is a sentence.\npackage main\nfunc init() {}", "has an init()"},
		{"an init in a test", "policy/a_test.go", in("policy", "func init() {}"), "has an init()"},
		{"a method of that name", "policy/a.go", in("policy", "type x int\nfunc (x) init() {}"), ""},
		{"a file of 400 lines", "policy/a.go", in("policy", strings.Repeat("//\n", 398)), ""},
		{"a file of more", "policy/a.go", in("policy", strings.Repeat("//\n", 401)), "more than 400"},
		{"a long generated file", "policy/a.go", "// Code generated by x. DO NOT EDIT.\n\n" + in("policy", strings.Repeat("//\n", 401)), ""},
		{"a function of 60 lines", "policy/a.go", in("policy", "func f() {"+strings.Repeat("\n", 59)+"}"), ""},
		{"a function of 61", "policy/a.go", in("policy", "func f() {"+strings.Repeat("\n", 60)+"}"), "func f has 61 lines"},
		{"an interface of four", "policy/a.go", in("policy", "type i interface { a(); b(); c(); d() }"), ""},
		{"an interface of five", "policy/a.go", in("policy", "type i interface { a(); b(); c(); d(); e() }"), "interface i has 5 methods"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := build(t, map[string]string{tt.file: tt.source}).complaints()
			if tt.want == "" && len(got) > 0 || tt.want != "" && !slices.ContainsFunc(got, func(c string) bool { return strings.Contains(c, tt.want) }) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// The agent's side must not link the controller's through a third package either.
func TestHouseSeesDetours(t *testing.T) {
	h := build(t, map[string]string{
		"nodeops/agent/a.go": "// Package agent is a sentence.\npackage agent\nimport _ \"" + module + "machine\"",
		"machine/a.go":       "// Package machine is a sentence.\npackage machine\nimport _ \"" + module + "render\"",
		"render/a.go":        "// Package render is a sentence.\npackage render\nimport _ \"github.com/go-git/go-git/v5\"",
	})
	for _, want := range []string{"nodeops/agent reaches render", "nodeops/agent reaches github.com/go-git/go-git/v5"} {
		if got := h.complaints(); !slices.ContainsFunc(got, func(c string) bool { return strings.HasPrefix(c, want) }) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
