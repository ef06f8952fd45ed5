package kustomize

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/sluice-gitops/sluice/render"
)

// repo makes a repository of name and contents in turn.
func repo(pairs ...string) fstest.MapFS {
	out := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1]), Mode: 0o644}
	}
	return out
}

// mistakes are those of all builds of a tree.
func mistakes(t *testing.T, from fs.FS) render.Errors {
	t.Helper()
	builds, err := Build(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out render.Errors
	for _, b := range builds {
		out = append(out, b.Errors...)
	}
	return render.Sorted(out)
}

func with(t fstest.MapFS, name string, f *fstest.MapFile) fstest.MapFS { t[name] = f; return t }

func TestMistakesOfAKustomization(t *testing.T) {
	const mc = "base/mc.yaml"
	root := func(body string) fstest.MapFS {
		return repo("kustomization.yaml", body, mc, machineConfig("a", "/etc/a"), "dir/x.yaml", machineConfig("x", "/x"))
	}
	anchors := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 8 {
		ref := fmt.Sprintf("*a%d,", i)
		anchors += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(ref, 10), ","))
	}
	for _, c := range []struct {
		name string
		tree fs.FS
		want string // the whole error
	}{
		{"an https resource", root("resources: ['https://example.com/a.yaml']"), `kustomization.yaml:1: resources[0]: "https://example.com/a.yaml" looks like a remote address: only files of this repository are read, so copy it into the repository`},
		{"a git resource", root("resources: ['git@example.com:a/b']"), `kustomization.yaml:1: resources[0]: "git@example.com:a/b" looks like a remote address`},
		{"a forge's path", root("resources: [github.com/a/b]"), `kustomization.yaml:1: resources[0]: "github.com/a/b" looks like a remote address`},
		{"a forge's path that is a directory, too", with(root("resources: [github.com/a/b]"), "github.com/a/b/kustomization.yaml", &fstest.MapFile{Data: []byte("resources: []")}), `looks like a remote address`},
		{"a repository with a ref", root("components: ['dir?ref=main']"), `kustomization.yaml:1: components[0]: "dir?ref=main" looks like a remote address`},
		{"a remote base", root("bases: ['ssh://example.com/a/b']"), `kustomization.yaml:1: bases[0]: "ssh://example.com/a/b" looks like a remote address`},
		{"a remote patch", root("patches: [{path: 'http://example.com/p'}]"), `kustomization.yaml:1: patches[0].path: "http://example.com/p" looks like a remote address`},
		{"a remote strategic merge patch", root("patchesStrategicMerge: ['HTTP://example.com/p: x']"), `kustomization.yaml:1: patchesStrategicMerge[0]: "HTTP://example.com/p: x" looks like a remote address`},
		{"a remote JSON patch", root("patchesJson6902: [{path: 'http://example.com/p'}]"), `kustomization.yaml:1: patchesJson6902[0].path: "http://example.com/p" looks like a remote address`},
		{"a remote replacement", root("replacements: [{path: 'http://example.com/p'}]"), `kustomization.yaml:1: replacements[0].path: "http://example.com/p" looks like a remote address`},
		{"a remote CRD", root("crds: ['http://example.com/p']"), `kustomization.yaml:1: crds[0]: "http://example.com/p" looks like a remote address`},
		{"a remote configuration", root("configurations: ['http://example.com/p']"), `kustomization.yaml:1: configurations[0]: "http://example.com/p" looks like a remote address`},
		{"a remote file of a config map", root("configMapGenerator: [{name: a, files: ['k=http://example.com/p']}]"), `kustomization.yaml:1: configMapGenerator[0].files[0]: "http://example.com/p" looks like a remote address`},
		{"a remote environment of a secret", root("secretGenerator: [{name: a, env: 'http://example.com/p'}]"), `kustomization.yaml:1: secretGenerator[0].envs[0]: "http://example.com/p" looks like a remote address`},
		{"a path out of the tree", root("resources: [../a.yaml]"), `kustomization.yaml:1: resources[0]: "../a.yaml" lies outside the repository`},
		{"an absolute path", root("resources: [/etc/passwd]"), `kustomization.yaml:1: resources[0]: "/etc/passwd" is absolute: write it relative to this file`},
		{"an absent file", root("resources: [gone.yaml]"), `kustomization.yaml:1: resources[0]: "gone.yaml" is not in the repository`},
		{"a directory without a kustomization", root("resources: [dir]"), `kustomization.yaml:1: resources[0]: "dir" has no kustomization.yaml`},
		{"a directory for a patch", root("patches: [{path: dir}]"), `kustomization.yaml:1: patches[0].path: "dir" is a directory, a file is needed`},
		{"a file for a component", root("components: [base/mc.yaml]"), `kustomization.yaml:1: components[0]: "base/mc.yaml" is a file, a directory is needed`},
		{"a chart", root("helmCharts: [{name: a, repo: 'https://example.com'}]"), `kustomization.yaml:1: helmCharts: charts are not rendered: commit the output of helm template`},
		{"an old chart", root("helmChartInflationGenerator: [{chartName: a}]"), `kustomization.yaml:1: helmChartInflationGenerator: charts are not rendered: commit the output of helm template`},
		{"a generator", root("generators: [base/mc.yaml]"), `kustomization.yaml:1: generators: plugins are not run: commit what the generator makes`},
		{"a transformer", root("transformers: [base/mc.yaml]"), `kustomization.yaml:1: transformers: plugins are not run: use patches, labels, replacements`},
		{"a validator", root("validators: [base/mc.yaml]"), `kustomization.yaml:1: validators: plugins are not run: remove it`},
		{"an unknown field", root("resorces: [base/mc.yaml]"), `kustomization.yaml:1: resorces: is not a known field of a kustomization`},
		{"an empty kustomization", root("# nothing yet\n"), `kustomization.yaml: is empty: list what it builds below resources`},
		{"no YAML", root("resources: ["), `kustomization.yaml:1: is no YAML: did not find expected node content`},
		{"a wrong type", root("resources: 7"), `kustomization.yaml: json: cannot unmarshal number into Go struct field Kustomization.resources of type []string`},
		{"a patch that fits nothing", root("resources: [base/mc.yaml]\npatches: [{path: dir/x.yaml}]"), `kustomization.yaml: no resource matches strategic merge patch`},
		{
			"a patch without kind and name", repo("kustomization.yaml", "resources: [a.yaml]\npatches:\n- path: p.yaml\n  target: {kind: MachineConfig}", "a.yaml", machineConfig("a", "/a"), "p.yaml", "spec: {fips: true}"),
			`p.yaml:1: has no kind and metadata.name: a patch needs both, also where its target says what it is for`,
		},
		{
			"a patch without kind and name, in place", repo("kustomization.yaml", "resources: [a.yaml]\npatches:\n- target: {kind: MachineConfig}\n  patch: '{kind: MachineConfig, spec: {fips: true}}'", "a.yaml", machineConfig("a", "/a")),
			`kustomization.yaml:4: patches[0].patch: has no kind and metadata.name`,
		},
		{"no YAML beside another mistake", repo("kustomization.yaml", "resources: [a.yaml, nowhere.yaml]", "a.yaml", "a:\n\tb: c"), "a.yaml:2: is no YAML: found character that cannot start any token\nkustomization.yaml:1: resources[1]: \"nowhere.yaml\" is not in the repository"},
		{"two kustomization files", with(root("resources: [base/mc.yaml]"), "kustomization.yml", &fstest.MapFile{Data: []byte("x")}), `kustomization.yml: stands beside kustomization.yaml: keep one of them`},
		{"a resource that is no YAML", repo("kustomization.yaml", "resources: [a.yaml]", "a.yaml", "a: b: c"), `a.yaml: is no YAML: mapping values are not allowed in this context`},
		{"a cycle", repo("kustomization.yaml", "resources: [a]", "a/kustomization.yaml", "resources: [../b]", "b/kustomization.yaml", "resources: [../a]"), `b/kustomization.yaml:1: resources[0]: "a" includes itself`},
		{"a name twice", repo("kustomization.yaml", "resources: [a.yaml, b.yaml]", "a.yaml", machineConfig("a", "/a"), "b.yaml", machineConfig("a", "/b")), `b.yaml:4: metadata.name: another MachineConfig a stands in a.yaml: give one of them another name, or list one of them`},
		{"a name twice, below bases", repo("pools/a/kustomization.yaml", "resources: [../../x, ../../y]", "x/kustomization.yaml", "resources: [a.yaml]", "y/kustomization.yaml", "resources: [b.yaml]",
			"x/a.yaml", machineConfig("a", "/a"), "y/b.yaml", machineConfig("b", "/b")+"---\n"+machineConfig("a", "/b")), `y/b.yaml:21: metadata.name: another MachineConfig a stands in x/a.yaml: give`},
		{
			"a base twice", repo("kustomization.yaml", "resources: [v, w]", "v/kustomization.yaml", "resources: [../z]", "w/kustomization.yaml", "resources: [../z]", "z/kustomization.yaml", "resources: [a.yaml]", "z/a.yaml", machineConfig("a", "/a")),
			`kustomization.yaml: takes the MachineConfig a of z/a.yaml twice: list it, or what includes it, once`,
		},
		{"a name twice in a file", repo("kustomization.yaml", "resources: [a.yaml]", "a.yaml", machineConfig("a", "/a")+"---\n"+machineConfig("a", "/b")), `a.yaml:21: metadata.name: another MachineConfig a stands in the same file`},
		{
			"a name that a prefix makes twice", repo("kustomization.yaml", "resources: [x, a.yaml]", "x/kustomization.yaml", "namePrefix: x-\nresources: [a.yaml]", "x/a.yaml", machineConfig("a", "/a"), "a.yaml", machineConfig("x-a", "/a")),
			`kustomization.yaml: takes the MachineConfig x-a of a.yaml twice`,
		},
		{"a template", repo("kustomization.yaml", "resources: [a.yaml]", "a.yaml", "kind: X\nmetadata: {name: {{ .name }}}}"), `a.yaml:1: is no YAML: did not find expected key. It looks like a template: commit what it renders to`},
		{"control characters in a folder", repo("kustomization.yaml", "resources: [\"a\\eb\"]", "a\x1bb/x", ""), `kustomization.yaml:1: resources[0]: "a\x1bb" has no kustomization.yaml`},
		{"aliases that explode", repo("kustomization.yaml", "resources: [a.yaml]", "a.yaml", anchors), `a.yaml:6: holds more than 500000 values once its aliases are expanded`},
		{"an alias of itself", repo("kustomization.yaml", "resources: [a.yaml]", "a.yaml", "a: &a [*a]"), `a.yaml:1: alias "a" stands for itself`},
		{"YAML that is too deep", repo("kustomization.yaml", "resources: [a.yaml]", "a.yaml", strings.Repeat("[", 500)+strings.Repeat("]", 500)), `a.yaml:1: is nested deeper than 100 levels`},
		{"a huge file", repo("kustomization.yaml", "resources: [a.yaml]", "a.yaml", strings.Repeat("#", maxFile+1)), `a.yaml: is larger than 4 MiB: a MachineConfig cannot hold that much`},
		{"a huge file in a plain directory", repo("a.yaml", strings.Repeat("#", maxFile+1)), `a.yaml: is larger than 4 MiB`},
		{"no YAML in a plain directory", repo("sub/a.yaml", "apiVersion: machineconfiguration.openshift.io/v1\na: b: c"), `sub/a.yaml:2: is no YAML: mapping`},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := mistakes(t, c.tree)
			if len(found) == 0 || !strings.Contains(found.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", found, c.want)
			}
		})
	}
}

func TestAllMistakesComeAtOnce(t *testing.T) {
	found := mistakes(t, repo(
		"pools/a/kustomization.yaml", "resources: [gone.yaml, 'https://example.com/x']",
		"pools/b/kustomization.yaml", "resources: [/abs]\nhelmCharts: [{name: x}]",
	))
	if len(found) != 4 {
		t.Fatalf("got %v, want four mistakes of two overlays", found)
	}
}

// A ladder of bases, each included twice by the next, would keep kustomize busy for ever.
func TestALadderOfBasesIsRefused(t *testing.T) {
	files := repo("kustomization.yaml", "resources: [l0, r0]")
	for i := range 30 {
		body := fmt.Sprintf("resources: [../l%d, ../r%d]", i+1, i+1)
		if i == 29 {
			body = "namePrefix: x"
		}
		files[fmt.Sprintf("l%d/kustomization.yaml", i)] = &fstest.MapFile{Data: []byte(body)}
		files[fmt.Sprintf("r%d/kustomization.yaml", i)] = &fstest.MapFile{Data: []byte(body)}
	}
	if found := mistakes(t, files); !strings.Contains(found.Error(), "includes more than 20000") {
		t.Errorf("got %v, want a refusal", found)
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret.yaml")
	write(t, secret, machineConfig("secret", "/etc/secret"))
	for _, c := range []struct{ name, link, to, want string }{
		{"a link to a file", "base/a.yaml", secret, `kustomization.yaml:1: resources[0]: "base/a.yaml" is a symbolic link`},
		{"a link to a directory", "base", outside, `kustomization.yaml:1: resources[0]: "base" is a symbolic link`},
		{"a kustomization that is a link", "kustomization.yaml", secret, `kustomization.yaml: "kustomization.yaml" is a symbolic link`},
		{"a link among pools", "pools", outside, `"pools" is a symbolic link`},
		{"a link in a plain directory", "plain.yaml", secret, `plain.yaml: "plain.yaml" is a symbolic link`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if strings.HasPrefix(c.link, "base") {
				write(t, filepath.Join(dir, "kustomization.yaml"), "resources: [base/a.yaml]")
			}
			if c.link == "pools" {
				write(t, filepath.Join(outside, "x", "kustomization.yaml"), "resources: [../secret.yaml]")
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, c.link)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(c.to, filepath.Join(dir, c.link)); err != nil {
				t.Fatal(err)
			}
			if found := mistakes(t, os.DirFS(dir)); !strings.Contains(found.Error(), c.want) {
				t.Errorf("got %v, want %s", found, c.want)
			}
		})
	}
}

func write(t *testing.T, at, body string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestWhichDirectoriesAreBuilt(t *testing.T) {
	k := "resources: [mc.yaml]"
	mc := machineConfig("a", "/etc/a")
	pools := repo("pools/b/kustomization.yml", k, "pools/b/mc.yaml", mc, "pools/a/Kustomization", k, "pools/a/mc.yaml", mc,
		"pools/notes/readme.txt", "x", "other/deep/mc.yaml", mc)
	root := repo("kustomization.yaml", k, "mc.yaml", mc, "pools/a/kustomization.yaml", k, "pools/a/mc.yaml", mc)
	plain := repo("x/mc.yaml", mc, ".hidden/mc.yaml", mc, "a.json", `{"kind":"X"}`, "notes.txt", "x", "x/.hidden.yaml", mc)
	for _, c := range []struct {
		name  string
		tree  fs.FS
		paths []string
		want  string
	}{
		{"a kustomization in the root is the one build", root, nil, ".=mc.yaml"},
		{"else every pool that has one", pools, nil, "pools/a=pools/a/mc.yaml pools/b=pools/b/mc.yaml"},
		{"else all manifests of the tree", plain, nil, ".=a.json,x/mc.yaml"},
		{"paths win over the layout", pools, []string{"other/", "pools/b"}, "other=other/deep/mc.yaml pools/b=pools/b/mc.yaml"},
		{"a path that is not there is a mistake", pools, []string{"gone"}, `gone: paths: "gone" is not in the repository`},
		{"a path out of the tree is a mistake", pools, []string{"../x"}, `../x: paths: "../x" is no path inside the repository`},
		{"a file is no path", pools, []string{"pools/b/mc.yaml"}, `pools/b/mc.yaml: paths: is no directory of the repository`},
	} {
		t.Run(c.name, func(t *testing.T) {
			builds, err := Build(c.tree, c.paths)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, b := range builds {
				if len(b.Errors) > 0 {
					got = append(got, b.Errors.Error())
					continue
				}
				var files []string
				for _, d := range b.Documents {
					files = append(files, d.File)
				}
				got = append(got, b.Dir+"="+strings.Join(files, ","))
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}

// What Sluice reads must be what the author sees with kustomize build.
func TestDocumentsAreThoseOfKustomizeBuild(t *testing.T) {
	files := repo(
		"base/kustomization.yaml", "resources: [a.yaml, deep]\nnamePrefix: p-\ncommonAnnotations: {who: me}",
		"base/a.yaml", machineConfig("a", "/etc/a"),
		"base/deep/kustomization.yaml", "resources: [b.yaml]\npatches:\n- target: {kind: MachineConfig}\n  patch: |\n    - {op: add, path: /spec/fips, value: true}\nbuildMetadata: [managedByLabel]",
		"base/deep/b.yaml", machineConfig("b", "/etc/b")+"  fips: false\n",
		"comp/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nlabels: [{pairs: {team: blue}}]",
		"kustomization.yaml", "resources: [base]\ncomponents: [comp]\nconfigMapGenerator: [{name: c, files: [k=data.bin], envs: [e.env]}]\npatchesStrategicMerge:\n- |\n  apiVersion: machineconfiguration.openshift.io/v1\n  kind: MachineConfig\n  metadata: {name: p-a}\n  spec: {osImageURL: 'https://x'}\n",
		"data.bin", "\x00\x01: [", "e.env", "A=b\n",
	)
	dir := t.TempDir()
	for name, f := range files {
		write(t, filepath.Join(dir, filepath.FromSlash(name)), string(f.Data))
	}
	m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want, err := m.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	builds, err := Build(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got, from []string
	for _, d := range builds[0].Documents {
		y, err := yaml.JSONToYAML(d.Body)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(y))
		from = append(from, d.File)
	}
	if joined := strings.Join(got, "---\n"); joined != string(want) {
		t.Errorf("got\n%s\nwant\n%s", joined, want)
	}
	if want := []string{"base/a.yaml", "base/deep/b.yaml", "kustomization.yaml"}; !slices.Equal(from, want) {
		t.Errorf("written in %v, want %v", from, want)
	}
}

// broken is a tree whose store is damaged.
type broken struct{ fstest.MapFS }

func (b broken) Open(name string) (fs.File, error) {
	if path.Ext(name) == ".yaml" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("object is damaged")}
	}
	return b.MapFS.Open(name)
}

func TestADamagedTreeIsNoMistakeOfTheAuthor(t *testing.T) {
	_, err := Build(broken{repo("a.yaml", "x: y")}, nil)
	var found render.Errors
	if err == nil || errors.As(err, &found) || !strings.Contains(err.Error(), "object is damaged") {
		t.Errorf("error %v, want one that blames the tree", err)
	}
}
