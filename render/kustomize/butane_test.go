package kustomize

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/render/butane"
)

const motd = `variant: fcos
version: 1.5.0
storage:
  files:
  - path: /etc/motd
    mode: 0644
    contents: {inline: hello}
`

// motdOutput is what stands beside motd in a repository, with the same contents in another encoding.
const motdOutput = `apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 50-motd}
spec:
  config:
    ignition: {version: 3.4.0}
    storage:
      files:
      - path: /etc/motd
        mode: 420
        contents: {source: 'data:;base64,aGVsbG8='}
`

const poolOf = "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: a}\n"

func TestButaneIsReadWhereItIsListed(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		file  string
	}{
		{"as a resource", []string{"pools/a/kustomization.yaml", "resources: [pool.yaml, 50-motd.bu]", "pools/a/pool.yaml", poolOf, "pools/a/50-motd.bu", motd}, "pools/a/50-motd.bu"},
		{"of a base, and patched", []string{
			"kustomization.yaml", "resources: [base, pool.yaml]\npatches:\n- patch: |\n    apiVersion: machineconfiguration.openshift.io/v1\n    kind: MachineConfig\n    metadata: {name: 50-motd}\n    spec: {config: {storage: {files: [{path: /etc/motd, mode: 420}]}}}\n",
			"pool.yaml", poolOf, "base/kustomization.yaml", "resources: [50-motd.bu]", "base/50-motd.bu", motd,
		}, "base/50-motd.bu"},
		{"beside its output, which is taken", []string{"kustomization.yaml", "resources: [50-motd.bu, 50-motd.yaml, pool.yaml]", "pool.yaml", poolOf, "50-motd.bu", motd, "50-motd.yaml", motdOutput}, "50-motd.yaml"},
		{"beside its output, which is taken from a plain directory", []string{"pool.yaml", poolOf, "50-motd.bu", motd, "50-motd.yaml", motdOutput}, "50-motd.bu"},
		{"in a plain directory", []string{"pool.yaml", poolOf, "x/50-motd.bu", "\ufeff" + strings.ReplaceAll(motd, "\n", "\r\n")}, "x/50-motd.bu"},
	} {
		t.Run(c.name, func(t *testing.T) {
			builds, err := (&Cache{Butane: butane.MachineConfig}).Build(repo(c.files...), nil)
			if err != nil {
				t.Fatal(err)
			}
			result, err := render.Pools(builds)
			if err != nil {
				t.Fatal(err)
			}
			pool := result.Pools[0]
			if got := summary(pool.Config); pool.Name != "a" || got != "/etc/motd=hello" || pool.Origins["/etc/motd"] != c.file {
				t.Errorf("pool %s renders to %s by %s", pool.Name, got, pool.Origins["/etc/motd"])
			}
		})
	}
}

func TestWhatIsWrongWithButaneNamesItsFile(t *testing.T) {
	bad := strings.Replace(motd, "contents: {inline: hello}", "contents: {local: hello}", 1)
	odd := motd + "extra: 1\n"
	cache := &Cache{Butane: butane.MachineConfig}
	for name, c := range map[string]struct {
		cache *Cache
		files []string
		want  string
	}{
		"a local file":         {cache, []string{"kustomization.yaml", "resources: [50-motd.bu]", "50-motd.bu", bad}, "50-motd.bu:7: storage.files[0].contents.local: files beside it are not read: write the contents inline"},
		"in a plain directory": {cache, []string{"x/50-motd.bu", bad}, "x/50-motd.bu:7: storage.files[0].contents.local: files beside it are not read: write the contents inline"},
		"no reader of Butane":  {&Cache{}, []string{"kustomization.yaml", "resources: [50-motd.bu]", "50-motd.bu", motd}, "50-motd.bu: is Butane, which is not read here: list the MachineConfig that butane makes of it"},
		"nor in a directory":   {&Cache{}, []string{"50-motd.bu", motd}, "notice 50-motd.bu: is Butane, which is not read here: it is passed over"},
		"a warning":            {cache, []string{"kustomization.yaml", "resources: [50-motd.bu]", "50-motd.bu", odd}, "notice 50-motd.bu: line 8: unused key extra"},
		"both of it and its output": {
			cache,
			[]string{"kustomization.yaml", "resources: [50-motd.bu, 50-motd.yaml]", "50-motd.bu", motd, "50-motd.yaml", strings.Replace(full, "name: m", "name: 50-motd", 1)},
			"50-motd.bu: metadata.name: another MachineConfig 50-motd stands in 50-motd.yaml, and not what this file stands for: run butane again, or list one of them",
		},
		"both, and they are alike": {
			cache,
			[]string{"kustomization.yaml", "resources: [50-motd.bu, 50-motd.yaml]", "50-motd.bu", motd, "50-motd.yaml", motdOutput},
			"notice 50-motd.bu: MachineConfig 50-motd stands in 50-motd.yaml, too: they are alike and count once",
		},
	} {
		t.Run(name, func(t *testing.T) {
			builds, err := c.cache.Build(repo(c.files...), nil)
			if err != nil {
				t.Fatal(err)
			}
			got := builds[0].Errors.Error()
			for _, n := range builds[0].Notices {
				got += "notice " + n
			}
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// One build that is refused hides nothing of the others: neither what kustomize says of them nor
// what their documents say.
func TestOneBadBuildHidesNoOther(t *testing.T) {
	builds, err := Build(repo(
		"pools/a/kustomization.yaml", "resources: [m.yaml]\ngenerators: [ksops.yaml]", "pools/a/m.yaml", full, "pools/a/ksops.yaml", "apiVersion: viaduct.ai/v1\nkind: ksops\nmetadata: {name: x}",
		"pools/b/kustomization.yaml", "resources: [m.yaml]\npatches: [{path: p.yaml}]", "pools/b/m.yaml", full, "pools/b/p.yaml", strings.Replace(full, "name: m", "name: other", 1),
		"pools/c/kustomization.yaml", "resources: [m.yaml]", "pools/c/m.yaml", strings.Replace(full, "[a, b]", "7", 1),
		"pools/d/kustomization.yaml", "resources: [m.yaml]", "pools/d/m.yaml", full,
	), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(builds) != 4 || len(builds[3].Documents) != 1 || len(builds[3].Errors) > 0 {
		t.Errorf("got %v, want that the last of four is built", builds)
	}
	result, err := render.Pools(builds)
	var found render.Errors
	if !errors.As(err, &found) || len(result.Pools) > 0 {
		t.Fatalf("error %v and %d pools", err, len(result.Pools))
	}
	if sound := (render.Options{}).Sound(builds); len(sound.Pools) != 1 || strings.Join(sound.Pools[0].Config.KernelArgs, " ") != "a b" {
		t.Errorf("sound are %+v, want the one pool of pools/d", sound)
	}
	for i, want := range []string{"pools/a/kustomization.yaml:2: generators: plugins are not run", "pools/b/kustomization.yaml: no resource matches strategic merge patch", "pools/c/m.yaml:7: spec.kernelArguments: is of type number"} {
		if len(found) != 3 || !strings.HasPrefix(found[i].Error(), want) {
			t.Errorf("got %v\nwant %s", found, want)
		}
	}
}

// Templates and other files that are no YAML lie about in every repository. What speaks of nodes
// is never passed over.
func TestWhatIsNoYAMLInAPlainDirectory(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"a template that does not parse", "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata: {name: {{ .name }}-x}", "notice a.yaml: is a template, not YAML, and passed over: commit what it renders to"},
		{"a template with blocks", "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata:\n  {{- if .x }}\n  name: {{ .x }}\n  {{- else }}\n  name: y\n  {{- end }}\n  labels:\n{{ toYaml .l | indent 4 }}\n", "notice a.yaml: is a template, not YAML, and passed over: commit what it renders to"},
		{"a template of Ansible", "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata:\n{% for x in y %}\n  name: {{ x }}\n{% endfor %}\n", "notice a.yaml: is a template, not YAML, and passed over: commit what it renders to"},
		{"a template that is YAML by chance", "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata:\n  name: {{ .name }}\n", "notice a.yaml: is a template, not YAML, and passed over: commit what it renders to"},
		{"one of ours that is broken, and has braces in its contents", "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nspec:\n\tx: '{{ .y }}'\n", "a.yaml:4: is no YAML: found character that cannot start any token. It looks like a template: commit what it renders to"},
		{"one of ours in UTF-16", "\xff\xfe" + strings.Join(strings.Split(full, ""), "\x00") + "\x00", "a.yaml:1: holds a NUL: it is no text"},
		{"a foreign file", "tasks:\n\t- x", "notice a.yaml: is no YAML: line 2: found character that cannot start any token: it is passed over"},
		{"one of ours", "apiVersion: sluice.dev/v1alpha1\nkind: x: y", "a.yaml:2: is no YAML: mapping values are not allowed in this context"},
		{"a kustomization is no manifest", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			builds, err := Build(repo("a.yaml", c.body, "m.yaml", full), nil)
			if err != nil {
				t.Fatal(err)
			}
			got := builds[0].Errors.Error()
			for _, n := range builds[0].Notices {
				got += "notice " + n
			}
			if got != c.want || len(builds[0].Documents) != 1 {
				t.Errorf("got  %s and %d documents\nwant %s and 1", got, len(builds[0].Documents), c.want)
			}
		})
	}
}

// Some errors of the library quote what they could not use. None of it may reach a pull request.
func TestErrorsQuoteNoContents(t *testing.T) {
	secret := strings.Replace(full, "data:,a", "data:,s3cret", 1)
	for _, files := range [][]string{
		{"resources: [m.yaml]", "m.yaml", strings.Replace(secret, "name: m\n", "nome: m\n", 1)},
		{"resources: [m.yaml]", "m.yaml", strings.Replace(secret, "kind: MachineConfig\n", "", 1)},
		{"resources: [m.yaml]\npatches: [{path: p.yaml}]", "m.yaml", full, "p.yaml", strings.Replace(secret, "name: m\n", "name: n\n", 1)},
		{"resources: [m.yaml]\npatches: [{path: p.yaml}]", "m.yaml", full, "p.yaml", "s3cret"},
		{"resources: [m.yaml]\npatches: [{patch: 's3cret: ['}]", "m.yaml", full},
		{"resources: [m.yaml]\npatches:\n- target: {kind: MachineConfig}\n  patch: |\n    - {op: test, path: /spec/kernelArguments, value: s3cret}\n", "m.yaml", full},
		{"resources: [m.yaml]\npatches:\n- patch: '[{op: add, s3cret}]'\n", "m.yaml", full},
		{"resources: [m.yaml]\npatches:\n- patch: '{\"s3cret\": 1}'\n", "m.yaml", full},
		{"resources: [m.yaml]\nsecretGenerator: [{name: x, literals: ['s3cret']}]\n", "m.yaml", full},
		{"resources: [m.yaml, m.yaml]", "m.yaml", secret},
		{"resources: [m.yaml]", "m.yaml", strings.Replace(secret, "kernelArguments: [a, b]", "kernelArguments: s3cret\n  kernelArguments: s3cret", 1)},
	} {
		found := mistakes(t, repo(append([]string{"kustomization.yaml"}, files...)...))
		if len(found) == 0 || strings.Contains(found.Error(), "s3cret") || strings.Contains(found.Error(), "/etc/b") {
			t.Errorf("%q gives %d mistakes: %v", files, len(found), found)
		}
	}
}

// What an author may take for a build, and is none, is named.
func TestWhatIsNotBuiltIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		want  string
	}{
		"a pool without a kustomization": {
			[]string{"pools/a/kustomization.yaml", "resources: [m.yaml]", "pools/a/m.yaml", full, "pools/b/m.yaml", full},
			"pools/b: has no kustomization.yaml, and is passed over",
		},
		"overlays in another place": {
			[]string{"base/kustomization.yaml", "resources: [m.yaml]", "base/m.yaml", full, "clusters/a/kustomization.yaml", "resources: [../../base]"},
			"base/kustomization.yaml: is not built (of such files here: 2), since all is read as plain files: name with --path what to build, or put it below pools",
		},
		"nothing of the kind": {[]string{"base/m.yaml", full}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			builds, err := Build(repo(c.files...), nil)
			if err != nil || len(builds) != 1 || strings.Join(builds[0].Notices, "\n") != c.want || len(builds[0].Documents) != 1 {
				t.Errorf("got %+v, error %v, want one document and %q", builds, err, c.want)
			}
		})
	}
}
