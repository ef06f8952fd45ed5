package kustomize

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/sluice-gitops/sluice/source/git"
	"github.com/sluice-gitops/sluice/source/git/gittest"
)

// traps see whether somebody sends a request or starts a program.
type traps struct {
	calls atomic.Int64
	marks string // a folder in which a program that is started leaves its name
}

func (r *traps) RoundTrip(q *http.Request) (*http.Response, error) {
	r.calls.Add(1)
	return nil, fmt.Errorf("no way to %s", q.URL)
}

// sprung says what was seen so far.
func (r *traps) sprung(t *testing.T) (requests int64, programs []string) {
	t.Helper()
	marks, err := os.ReadDir(r.marks)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range marks {
		programs = append(programs, m.Name())
	}
	return r.calls.Load(), programs
}

// lay puts programs into the PATH, and a transport under every client, for the rest of a test.
func lay(t *testing.T) *traps {
	t.Helper()
	bin := t.TempDir()
	r := &traps{marks: t.TempDir()}
	for _, name := range []string{"git", "helm", "ksops", "kustomize", "sh", "bash", "docker", "ssh", "generate"} {
		script := "#!/bin/sh\necho x > " + filepath.Join(r.marks, name) + "\nexit 1\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	t.Setenv("HOME", t.TempDir())
	before := http.DefaultTransport
	http.DefaultTransport = r
	t.Cleanup(func() { http.DefaultTransport = before })
	return r
}

// Traps that see nothing would prove nothing: the library itself, let loose, falls into both.
func TestTheTrapsSeeWhatTheLibraryDoes(t *testing.T) {
	r := lay(t)
	for _, address := range []string{"https://example.invalid/a.yaml", "git@example.invalid:a/b"} {
		memory := filesys.MakeFsInMemory()
		if err := memory.WriteFile("/kustomization.yaml", []byte("resources: ['"+address+"']")); err != nil {
			t.Fatal(err)
		}
		if _, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(memory, "/"); err == nil {
			t.Fatalf("%s was built", address)
		}
	}
	if requests, programs := r.sprung(t); requests == 0 || len(programs) == 0 {
		t.Errorf("%d requests and the programs %q were seen, want some of both", requests, programs)
	}
}

func TestHostileTrees(t *testing.T) {
	trees := gitTrees(t)
	r := lay(t)
	overlay := func(kustomization string, more ...string) fs.FS {
		return repo(append([]string{"kustomization.yaml", kustomization, "m.yaml", full}, more...)...)
	}
	list := func(name, body string) fs.FS { return overlay("resources: ["+name+"]", name, body) }
	const exec = "apiVersion: v1\nkind: X\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      exec: {path: generate}\n"
	ladder := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 8 {
		ladder += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 10), ","))
	}
	copies := "resources: [m.yaml]\npatches:\n- target: {kind: MachineConfig}\n  patch: |\n"
	for i := range 40 {
		copies += fmt.Sprintf("    - {op: copy, from: /spec/config, path: /spec/config/x%d}\n", i)
	}
	for _, c := range []struct {
		name string
		tree fs.FS
		want string
	}{
		{"remote base by URL", overlay("resources: ['https://example.invalid/a?ref=main']"), `kustomization.yaml:1: resources[0]: "https://example.invalid/a?ref=main" looks like a remote address`},
		{"remote base by git@", overlay("resources:\n- m.yaml\n- git@example.invalid:a/b.git"), `kustomization.yaml:3: resources[1]: "git@example.invalid:a/b.git" looks like a remote address`},
		{"remote base by ?ref=", overlay("resources:\n- m.yaml\n- example.invalid/a/b?ref=v1"), `kustomization.yaml:3: resources[1]: "example.invalid/a/b?ref=v1" looks like a remote address`},
		{"helm chart", overlay("resources: [m.yaml]\nhelmCharts:\n- {name: a, repo: 'https://example.invalid'}"), `kustomization.yaml:2: helmCharts: charts are not rendered`},
		{"exec generator", overlay("resources: [m.yaml]\n\ngenerators: [g.yaml]", "g.yaml", exec), `kustomization.yaml:3: generators: plugins are not run`},
		{"exec transformer", overlay("transformers: [g.yaml]", "g.yaml", exec), `kustomization.yaml:1: transformers: plugins are not run`},
		{"exec validator, inline", overlay("validators:\n- |\n  " + strings.ReplaceAll(exec, "\n", "\n  ")), `kustomization.yaml:1: validators: plugins are not run`},
		{"absolute path", overlay("resources: [/etc/passwd]"), `kustomization.yaml:1: resources[0]: "/etc/passwd" is absolute`},
		{"..", overlay("resources: [../../etc/passwd]"), `kustomization.yaml:1: resources[0]: "../../etc/passwd" lies outside the repository`},
		{"symlink", trees["symlink"], `kustomization.yaml:1: resources[0]: "m.yaml" is a symbolic link`},
		{"symlink in a plain directory", trees["plain symlink"], `m.yaml: "m.yaml" is a symbolic link`},
		{"gitlink", trees["gitlink"], `kustomization.yaml:1: resources[0]: "base" is a submodule`},
		{"case-folded duplicate in Git", trees["case"], `kustomization.yaml:1: resources[0]: "base" holds "M.yaml" and "m.yaml", which differ only by case`},
		{"case-folded duplicate", overlay("resources: [m.yaml, M.yaml]", "M.yaml", "a: b"), `M.yaml: differs from m.yaml only by case`},
		{"alias bomb", list("a.yaml", ladder), `a.yaml:6: holds more than 500000 values once its aliases are expanded`},
		{"alias bomb in an inline patch", overlay("resources: [m.yaml]\npatches:\n- patch: |\n    " + strings.ReplaceAll(ladder, "\n", "\n    ")), `kustomization.yaml:3: patches[0].patch: holds more than`},
		{"alias bomb in a kustomization", overlay(ladder), `kustomization.yaml:6: holds more than`},
		{"alias bomb in Butane", list("a.bu", ladder), `a.bu:6: holds more than`},
		{"alias bomb in a plain directory", repo("a.yaml", "apiVersion: machineconfiguration.openshift.io/v1\n"+ladder), `a.yaml:7: holds more than`},
		{"copies that double", overlay(copies), `kustomization.yaml: holds more than 12 copy operations`},
		{"replacements that double a mapping", overlay(doubling("fieldPath: spec", "spec.x", "create: true")), `kustomization.yaml:2: replacements[`},
		{"replacements that double a text", overlay(doubling("fieldPath: metadata.labels.a", "metadata.labels.a", "delimiter: '-', index: 99")), `kustomization.yaml:2: replacements[`},
		{"replacements of a large value into many places", overlay("resources: [m.yaml, a.yaml]\nreplacements: [{path: r.yaml}]", "a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: "+strings.Repeat("x", 2<<20)+"}",
			"r.yaml", "source: {kind: ConfigMap, fieldPath: data.v}\ntargets: [{select: {kind: MachineConfig}, options: {create: true}, fieldPaths: ["+strings.Repeat("metadata.labels.a, ", 100)+"]}]"), `kustomization.yaml:2: replacements[0]: could copy more than 64 MiB into the documents`},
		{"vars of a large value in many places", overlay("resources: [m.yaml, a.yaml]\nvars:\n- {name: A, objref: {apiVersion: v1, kind: ConfigMap, name: a}, fieldref: {fieldpath: data.v}}", "a.yaml",
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: "+strings.Repeat("x", 1<<20)+", w: "+strings.Repeat("$(A)", 1000)+"}"), `kustomization.yaml:3: vars[0]: could copy more than 64 MiB into the documents`},
		{"no YAML, and large", list("a.yaml", "*"+strings.Repeat("x", 3<<20)), `a.yaml: is no YAML: an alias names an anchor that is not there`},
		{"10 MiB value", list("a.yaml", "a: "+strings.Repeat("x", 10<<20)), `a.yaml: is larger than 4 MiB`},
		{"many large files", overlay("resources: [a, b, c, d]", large()...), `kustomization.yaml:1: resources[`},
		{"too many documents", list("a.yaml", strings.Repeat("\n---\na: b", 20000)), `kustomization.yaml:1: resources[0]: includes more than 10000 documents`},
		{"too many documents in a list", list("a.yaml", "kind: List\nitems:\n"+strings.Repeat("- kind: X\n", 20000)), `kustomization.yaml:1: resources[0]: includes more than 10000 documents`},
		{"deep nesting in flow", list("a.yaml", "a: "+strings.Repeat("[", 5000)), `a.yaml:1: is no YAML`},
		{"deep nesting that is closed", list("a.yaml", "a: "+strings.Repeat("[", 5000)+strings.Repeat("]", 5000)), `a.yaml:1: is nested deeper than 100 levels`},
		{"deep nesting in blocks", list("a.yaml", stairs(200)), `a.yaml:100: is nested deeper than 100 levels`},
		{"deep nesting on one line", list("a.yaml", strings.Repeat("- ", 200)+"a"), `a.yaml:1: is nested deeper than 100 levels`},
		{"invalid UTF-8", list("a.yaml", "a: b\nb: \xff\xfe\n"), `a.yaml:2: is not UTF-8`},
		{"NUL", list("a.yaml", "a: b\n\nb: \x00\n"), `a.yaml:3: holds a NUL: it is no text`},
		{"NUL in a kustomization", overlay("resources: [m.yaml]\n\x00"), `kustomization.yaml:2: holds a NUL: it is no text`},
		{"tab indents", list("a.yaml", "apiVersion: v1\nmetadata:\n\tname: x\n"), `a.yaml:3: is no YAML: found character that cannot start any token`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			cache := Cache{Butane: func(string, []byte) ([]byte, []string, error) { t.Error("Butane was read"); return nil, nil, nil }}
			builds, err := cache.Build(c.tree, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(builds) != 1 || len(builds[0].Errors) == 0 || !strings.HasPrefix(builds[0].Errors[0].Error(), c.want) {
				t.Errorf("got  %.300v\nwant %s", builds[0].Errors, c.want)
			}
			if n := len(builds[0].Errors.Error()); n > 500 {
				t.Errorf("it is said in %d bytes", n)
			}
			if len(builds[0].Documents) > 0 || cache.runs > 0 && !strings.Contains(c.want, "no YAML") {
				t.Errorf("%d documents came of it, kustomize ran %d times", len(builds[0].Documents), cache.runs)
			}
			runtime.ReadMemStats(&after)
			if cost := (after.TotalAlloc - before.TotalAlloc) >> 20; cost > 1024 {
				t.Errorf("it took %d MiB", cost)
			}
		})
	}
	if requests, programs := r.sprung(t); requests > 0 || len(programs) > 0 {
		t.Errorf("%d requests were sent, the programs %q were started", requests, programs)
	}
}

// doubling are 40 replacements, each of which copies a value into what it is copied from.
func doubling(from, to, options string) string {
	one := fmt.Sprintf("{source: {kind: MachineConfig, %s}, targets: [{select: {kind: MachineConfig}, fieldPaths: [%s], options: {%s}}]}", from, to, options)
	return "resources: [m.yaml]\nreplacements: [" + strings.TrimSuffix(strings.Repeat(one+", ", 40), ", ") + "]"
}

// Ordinary replacements pass, many of them into many documents, with a large file beside them.
func TestWhatReplacementsReallyCopyIsLetThrough(t *testing.T) {
	list, replacements := "resources: [values.yaml, large.yaml", ""
	files := []string{
		"values.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: values}\ndata: {site: berlin, zone: a}\n",
		"large.yaml", machineConfig("large", "/etc/large") + "      - path: /etc/more\n        contents: {source: 'data:," + strings.Repeat("x", 1<<20) + "'}\n",
	}
	for i := range 100 {
		name := fmt.Sprintf("m%d", i)
		list += ", " + name + ".yaml"
		files = append(files, name+".yaml", strings.Replace(machineConfig(name, "/etc/"+name), "metadata:", "metadata:\n  annotations: {at: x.y}", 1))
		replacements += "- {source: {kind: ConfigMap, name: values, fieldPath: data.site}, targets: [{select: {kind: MachineConfig, name: " + name + "}, options: {delimiter: '.', index: 1}, fieldPaths: [metadata.annotations.at]}]}\n"
	}
	replacements += "- {source: {kind: MachineConfig, name: m1, fieldPath: metadata.annotations.at}, targets: [{select: {kind: MachineConfig, name: m.*}, fieldPaths: ['spec.config.storage.files.0.contents.source']}]}\n"
	builds, err := Build(repo(append(files, "kustomization.yaml", list+"]\nreplacements:\n"+replacements)...), nil)
	if err != nil || len(builds[0].Errors) > 0 || !strings.Contains(string(builds[0].Documents[5].Body), `"x.berlin"`) {
		t.Errorf("got %v, %.300v", err, builds[0].Errors)
	}
}

// large is a directory of 60 MB that is included four times.
func large() (pairs []string) {
	for _, d := range []string{"a", "b", "c", "d"} {
		list := "resources: ["
		for i := range 5 {
			name := fmt.Sprintf("%d.yaml", i)
			list += name + ", "
			pairs = append(pairs, d+"/"+name, "a: b #"+strings.Repeat("x", maxFile-10))
		}
		pairs = append(pairs, d+"/kustomization.yaml", list+"]")
	}
	return pairs
}

func stairs(n int) (out string) {
	for i := range n {
		out += strings.Repeat(" ", i) + "a:\n"
	}
	return out
}

// gitTrees are trees as Git holds them.
func gitTrees(t *testing.T) map[string]fs.FS {
	t.Helper()
	server := gittest.New(t)
	out := map[string]fs.FS{}
	for name, files := range map[string]gittest.Files{
		"symlink":       {"kustomization.yaml": "resources: [m.yaml]", "m.yaml": gittest.Link("/etc/passwd")},
		"plain symlink": {"m.yaml": gittest.Link("../../etc/passwd")},
		"gitlink":       {"kustomization.yaml": "resources: [base]", "base": gittest.Submodule(strings.Repeat("1", 40))},
		"case":          {"kustomization.yaml": "resources: [base/m.yaml]", "base/m.yaml": full, "base/M.yaml": full},
	} {
		remote := server.Repo(strings.ReplaceAll(name, " ", "-") + ".git")
		out[name] = treeAt(t, remote, remote.Commit("main", files))
	}
	return out
}

func treeAt(t *testing.T, remote *gittest.Repo, commit string) fs.FS {
	t.Helper()
	source := &git.Source{URL: remote.URL, Branch: "main", Dir: t.TempDir()}
	if _, err := source.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	tree, err := source.Tree(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestAPushBuildsTheOverlaysThatItTouches(t *testing.T) {
	remote := gittest.New(t).Repo("fleet.git")
	push := func(files fstest.MapFS) fs.FS {
		all := gittest.Files{}
		for name, f := range files {
			all[name] = string(f.Data)
		}
		return treeAt(t, remote, remote.Commit("main", all))
	}
	var cache Cache
	for _, c := range []struct {
		name string
		tree fstest.MapFS
		runs int
	}{
		{"the first", fleet(), 2},
		{"a file that no build reads", changed(fleet(), "README.md", "bye"), 0},
		{"one overlay", changed(fleet(), "pools/a/a.yaml", machineConfig("a", "/etc/A")), 1},
		{"the base", changed(fleet(), "base/m.yaml", machineConfig("m", "/etc/M")), 2},
		{"a revert", fleet(), 0},
	} {
		before := cache.runs
		builds, err := cache.Build(push(c.tree), nil)
		if err != nil || len(builds) != 2 || len(builds[0].Errors) > 0 {
			t.Fatalf("%s: %v, %v", c.name, builds, err)
		}
		if runs := cache.runs - before; runs != c.runs {
			t.Errorf("%s: kustomize ran %d times, want %d", c.name, runs, c.runs)
		}
	}
}

// What editors and people do to YAML changes nothing of what it says.
func TestYAMLInOtherClothes(t *testing.T) {
	const kustomization = "resources:\n- m.yaml\npatches:\n- path: p.yaml\n"
	const patch = "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata:\n  name: m\nspec:\n  kernelArguments: [c]\n"
	const anchored = `apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: m, labels: {machineconfiguration.openshift.io/role: worker}}
spec:
  kernelArguments: [a, b]
  config:
    ignition: {version: 3.5.0}
    passwd: {users: [{name: core, sshAuthorizedKeys: [ssh-ed25519 one], passwordHash: x}]}
    storage:
      files:
      - &file {path: /etc/a, mode: 0644, contents: {source: 'data:,a'}}
      - {<<: *file, path: /etc/b, mode: 0600, contents: {source: 'data:,b'}}
    systemd:
      units:
      - &unit
        name: a.service
        enabled: true
        contents: &service "[Service]\n"
        dropins:
        - {name: 1.conf, contents: "[Service]\n#1\n"}
        - {name: 2.conf, contents: "[Service]\n#2\n"}
      - {name: b.service, enabled: true, contents: *service}
`
	dress := map[string]func(string) string{
		"plain":   func(s string) string { return s },
		"CRLF":    func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"BOM":     func(s string) string { return "\ufeff" + s },
		"both":    func(s string) string { return "\ufeff" + strings.ReplaceAll(s, "\n", "\r\n") },
		"markers": func(s string) string { return "# begin\n---\n" + s + "...\n" },
		"anchors": func(s string) string { return strings.Replace(s, full, anchored, 1) },
	}
	want := ""
	for _, name := range []string{"plain", "CRLF", "BOM", "both", "markers", "anchors"} {
		for _, plain := range []bool{false, true} {
			tree := fstest.MapFS{"m.yaml": &fstest.MapFile{Data: []byte(dress[name](full))}}
			if !plain {
				tree = repo("kustomization.yaml", dress[name](kustomization), "m.yaml", dress[name](full), "p.yaml", dress[name](patch))
			}
			builds, err := Build(tree, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := summary(configOf(t, builds[0], "m"))
			if plain {
				got = strings.TrimSuffix(got, " a b") + " c"
			}
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("%s, plain %v: got\n%s\nwant\n%s", name, plain, got, want)
			}
		}
	}
}
