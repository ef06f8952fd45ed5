package mirror

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// parse reads a stream of "kind: spec" lines; the objects are named by their place: a, b, c ...
func parse(t *testing.T, lines string) (objects []Object, err error) {
	t.Helper()
	for i, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		kind, spec, _ := strings.Cut(strings.TrimSpace(line), " ")
		kind = map[string]string{"idms": DigestMirrors, "itms": TagMirrors, "icsp": ContentSource, "image": Image}[kind]
		list := map[string]string{DigestMirrors: "imageDigestMirrors", TagMirrors: "imageTagMirrors", ContentSource: "repositoryDigestMirrors", Image: "registrySources"}[kind]
		name := string(rune('a' + i))
		if kind == Image {
			name = "cluster"
		}
		encoded, err := manifest.FromYAML([]byte(fmt.Sprintf("kind: %s\nmetadata: {name: %s}\nspec: {%s: %s}\n", kind, name, list, spec)))
		if err != nil {
			t.Fatal(err)
		}
		o, err := Parse(kind, encoded)
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// rendered are the files of a profile by path, or the mistakes.
func rendered(t *testing.T, lines string, p machine.Profile) (files map[string]string, mistakes string) {
	t.Helper()
	objects, err := parse(t, lines)
	if err != nil {
		return nil, err.Error()
	}
	out, _, wrong := Files(objects, p)
	for _, m := range wrong {
		mistakes += fmt.Sprintf("%s: %s\n", objects[m.Object].Name, m.Error.Error())
	}
	files = map[string]string{}
	for _, f := range out {
		files[f.Path] = string(f.Contents)
	}
	return files, strings.TrimSuffix(mistakes, "\n")
}

// short writes a registries.conf as one line per registry: scope, flags, mirrors with what they
// are asked for.
func short(t *testing.T, contents string) string {
	t.Helper()
	var c registries
	if err := toml.Unmarshal([]byte(contents), &c); err != nil {
		t.Fatalf("%v\n%s", err, contents)
	}
	var lines []string
	for _, r := range c.Registries {
		if (r.Prefix == "") == (r.Location == "") {
			t.Errorf("a registry needs a prefix with a wildcard or a location: %+v", r)
		}
		line := r.scope()
		if r.Insecure {
			line += " insecure"
		}
		if r.Blocked {
			line += " blocked"
		}
		for _, m := range r.Mirrors {
			line += " " + m.Location + "=" + strings.TrimSuffix(m.Pull, "-only")
			if m.Insecure {
				line += "!"
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestRegistriesConf(t *testing.T) {
	for _, tt := range []struct{ name, objects, want string }{
		{"digests", "idms [{source: q.io/a, mirrors: [m.io/a, n.io/a]}]", "q.io/a m.io/a=digest n.io/a=digest"},
		{"tags", "itms [{source: q.io/a, mirrors: [m.io/a]}]", "q.io/a m.io/a=tag"},
		{"the old kind is for digests", "icsp [{source: q.io/a, mirrors: [m.io/a]}]", "q.io/a m.io/a=digest"},
		{"digests stand before tags", "itms [{source: q.io, mirrors: [m.io]}]\nidms [{source: q.io, mirrors: [n.io]}]", "q.io n.io=digest m.io=tag"},
		{"one mirror for both", "itms [{source: q.io, mirrors: [m.io]}]\nidms [{source: q.io, mirrors: [m.io]}]", "q.io m.io=digest m.io=tag"},
		{"sources are sorted", "idms [{source: z.io, mirrors: [m.io]}, {source: b.io, mirrors: [m.io]}]", "b.io m.io=digest\nz.io m.io=digest"},
		{"a wildcard is a prefix", "idms [{source: '*.q.io', mirrors: [m.io/q]}]", "*.q.io m.io/q=digest"},
		{"a port", "idms [{source: 'q.io:5000/a', mirrors: ['localhost:5000/b']}]", "q.io:5000/a localhost:5000/b=digest"},

		{
			"two lists that overlap", "idms [{source: q.io, mirrors: [a.io, b.io, c.io]}]\nidms [{source: q.io, mirrors: [c.io, d.io]}]",
			"q.io a.io=digest b.io=digest c.io=digest d.io=digest",
		},
		{
			"the later list knows who comes first", "idms [{source: q.io, mirrors: [b.io, c.io]}]\nidms [{source: q.io, mirrors: [a.io, b.io]}]",
			"q.io a.io=digest b.io=digest c.io=digest",
		},
		{
			"the new and the old kind merge", "icsp [{source: q.io, mirrors: [b.io, c.io]}]\nidms [{source: q.io, mirrors: [a.io, b.io]}]",
			"q.io a.io=digest b.io=digest c.io=digest",
		},
		{
			"lists of strangers are taken in turn", "idms [{source: q.io, mirrors: [z.io, y.io]}]\nidms [{source: q.io, mirrors: [b.io, c.io]}]",
			"q.io b.io=digest z.io=digest c.io=digest y.io=digest",
		},
		{
			"lists that contradict", "idms [{source: q.io, mirrors: [b.io, a.io]}]\nidms [{source: q.io, mirrors: [a.io, b.io]}]",
			"q.io a.io=digest b.io=digest",
		},
		{"the source among its mirrors keeps its place", "idms [{source: q.io, mirrors: [a.io, q.io, b.io]}]", "q.io a.io=digest q.io=digest b.io=digest"},
		{"the source as last mirror is the default", "idms [{source: q.io, mirrors: [a.io, q.io]}]", "q.io a.io=digest"},

		{"a source that is never asked", "idms [{source: q.io, mirrors: [a.io], mirrorSourcePolicy: NeverContactSource}]", "q.io blocked a.io=digest"},
		{"a source that may be asked", "idms [{source: q.io, mirrors: [a.io], mirrorSourcePolicy: AllowContactingSource}]", "q.io a.io=digest"},
		{
			"never counts for its source alone", "idms [{source: q.io, mirrors: [a.io], mirrorSourcePolicy: NeverContactSource}, {source: q.io/x, mirrors: [a.io]}]",
			"q.io blocked a.io=digest\nq.io/x a.io=digest",
		},
		{"a list without mirrors has no effect", "idms [{source: q.io, mirrorSourcePolicy: NeverContactSource}]", "none"},
		{"a list of the source alone has none either", "idms [{source: q.io, mirrors: [q.io]}]", "none"},

		{
			"insecure goes down to what is narrower", "idms [{source: q.io/x, mirrors: [m.io/x, o.io]}]\nimage {insecureRegistries: [q.io, m.io]}",
			"q.io/x insecure m.io/x=digest! o.io=digest\nq.io insecure\nm.io insecure",
		},
		{"a longer name is not narrower", "idms [{source: q.iox, mirrors: [m.io]}]\nimage {insecureRegistries: [q.io]}", "q.iox m.io=digest\nq.io insecure"},
		{
			"a wildcard goes down to its hosts", "idms [{source: 'a.q.io:5000/x', mirrors: [m.io]}]\nimage {blockedRegistries: ['*.q.io']}",
			"a.q.io:5000/x blocked m.io=digest\n*.q.io blocked",
		},
		{
			"a wildcard is of hosts, not of paths", "idms [{source: x/a.q.io, mirrors: [m.io]}]\nimage {blockedRegistries: ['*.q.io']}",
			"x/a.q.io m.io=digest\n*.q.io blocked",
		},
		{"blocked inside insecure is both", "image {blockedRegistries: [q.io/b], insecureRegistries: [q.io]}", "q.io insecure\nq.io/b insecure blocked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files, mistakes := rendered(t, tt.objects, "")
			if mistakes != "" {
				t.Fatal(mistakes)
			}
			got := "none"
			if contents, ok := files[registriesConf]; ok {
				got = short(t, contents)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What a file looks like, and that the same objects give the same bytes.
func TestRegistriesConfAsWritten(t *testing.T) {
	const objects = "idms [{source: q.io/a, mirrors: ['m.io:5000/a'], mirrorSourcePolicy: NeverContactSource}]\nitms [{source: '*.r.io', mirrors: [m.io]}]"
	want := `unqualified-search-registries = ['registry.access.redhat.com', 'docker.io']
short-name-mode = ''

[[registry]]
location = 'q.io/a'
blocked = true

[[registry.mirror]]
location = 'm.io:5000/a'
pull-from-mirror = 'digest-only'

[[registry]]
prefix = '*.r.io'

[[registry.mirror]]
location = 'm.io'
pull-from-mirror = 'tag-only'
`
	for range 20 {
		files, _ := rendered(t, objects, "")
		if diff := cmp.Diff(want, files[registriesConf]); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestPolicyAndSearch(t *testing.T) {
	files, mistakes := rendered(t, "image {blockedRegistries: [q.io, a.io/b/c/d], containerRuntimeSearchRegistries: [q.io, r.io]}", "")
	if mistakes != "" {
		t.Fatal(mistakes)
	}
	const blocked = `{
  "default": [
    {
      "type": "insecureAcceptAnything"
    }
  ],
  "transports": {
    "atomic": {
      "q.io": [
        {
          "type": "reject"
        }
      ]
    },
    "docker": {
      "a.io/b/c/d": [
        {
          "type": "reject"
        }
      ],
      "q.io": [
        {
          "type": "reject"
        }
      ]
    },
    "docker-daemon": {
      "": [
        {
          "type": "insecureAcceptAnything"
        }
      ]
    }
  }
}
`
	if diff := cmp.Diff(blocked, files[policyJSON]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("unqualified-search-registries = ['q.io', 'r.io']\n", files[searchConf]); diff != "" {
		t.Error(diff)
	}
	files, _ = rendered(t, "image {allowedRegistries: [q.io]}", "")
	if !strings.Contains(files[policyJSON], "\"default\": [\n    {\n      \"type\": \"reject\"") || files[registriesConf] != "" {
		t.Errorf("what is allowed: %q", files)
	}
}

func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		name, objects string
		on            machine.Profile
		want          string
	}{
		{"an unknown field", "idms [{source: q.io, mirror: [m.io]}]", "", "spec.imageDigestMirrors[0].mirror: is not a known field: check its spelling and its place"},
		{"a source with a scheme", "idms [{source: 'https://q.io', mirrors: [m.io]}]", "", `spec.imageDigestMirrors[0].source: "https://q.io" is none of host[:port], host[:port]/path, *.host`},
		{"no source", "itms [{mirrors: [m.io]}]", "", `spec.imageTagMirrors[0].source: "" is none of host[:port], host[:port]/path, *.host`},
		{"a source with a tag", "icsp [{source: 'q.io/a:1', mirrors: [m.io]}]", "", `spec.repositoryDigestMirrors[0].source: "q.io/a:1" is none of host[:port], host[:port]/path, *.host`},
		{"a mirror with a wildcard", "idms [{source: q.io, mirrors: ['*.m.io']}]", "", `spec.imageDigestMirrors[0].mirrors[0]: "*.m.io" is none of host[:port], host[:port]/path`},
		{"a mirror that leaves its file", "idms [{source: q.io, mirrors: ['m.io/../../x']}]", "", `spec.imageDigestMirrors[0].mirrors[0]: "m.io/../../x" is none of host[:port], host[:port]/path`},
		{"a line break", `idms [{source: "q.io\n[x]", mirrors: [m.io]}]`, "", `spec.imageDigestMirrors[0].source: "q.io\n[x]" is none of host[:port], host[:port]/path, *.host`},
		{"an unknown policy", "idms [{source: q.io, mirrors: [m.io], mirrorSourcePolicy: Never}]", "", `spec.imageDigestMirrors[0].mirrorSourcePolicy: "Never" is none of AllowContactingSource, NeverContactSource`},
		{"never, and yet a mirror", "idms [{source: q.io, mirrors: [m.io, q.io], mirrorSourcePolicy: NeverContactSource}]", "", "spec.imageDigestMirrors[0].mirrors[1]: is the source, which mirrorSourcePolicy NeverContactSource forbids to ask"},
		{
			"two policies for one source", "idms [{source: q.io, mirrors: [m.io], mirrorSourcePolicy: NeverContactSource}]\nitms [{source: q.io, mirrors: [m.io]}]", "",
			"b: spec.imageTagMirrors[0].mirrorSourcePolicy: is not what ImageDigestMirrorSet a says of the source q.io: a source has one policy",
		},
		{
			"the old kind allows its source", "idms [{source: q.io, mirrors: [m.io], mirrorSourcePolicy: NeverContactSource}]\nicsp [{source: q.io, mirrors: [m.io]}]", "",
			"b: spec.repositoryDigestMirrors[0].mirrorSourcePolicy: is not what ImageDigestMirrorSet a says of the source q.io: a source has one policy",
		},
		{"both allowed and blocked", "image {allowedRegistries: [q.io], blockedRegistries: [r.io]}", "", "spec.registrySources.allowedRegistries: does not go with blockedRegistries: remove one of the two"},
		{"a scope that is none", "image {insecureRegistries: ['*.q.io/x']}", "", `spec.registrySources.insecureRegistries[0]: "*.q.io/x" is none of host[:port], host[:port]/path, *.host`},

		{"a wildcard for containerd", "idms [{source: '*.q.io', mirrors: [m.io]}]", machine.Kubeadm, "a: spec.imageDigestMirrors[0]: containerd knows no wildcards: write each registry of *.q.io"},
		{
			"another path for containerd", "idms [{source: q.io/a, mirrors: [m.io/b]}]", machine.Kubeadm,
			"a: spec.imageDigestMirrors[0]: containerd keeps the path below a registry: the mirror m.io/b of q.io/a must end in /a",
		},
		{
			"a part of a name is no path", "idms [{source: q.io/a, mirrors: [m.io/xa]}]", machine.Kubeadm,
			"a: spec.imageDigestMirrors[0]: containerd keeps the path below a registry: the mirror m.io/xa of q.io/a must end in /a",
		},
		{
			"a part of a registry is never asked", "idms [{source: q.io/a, mirrors: [m.io/a], mirrorSourcePolicy: NeverContactSource}]", machine.Kubeadm,
			"a: spec.imageDigestMirrors[0]: containerd can keep whole registries from being asked, not q.io/a alone: write the source q.io",
		},
		{
			"never asked on k3s", "idms [{source: q.io, mirrors: [m.io], mirrorSourcePolicy: NeverContactSource}]", machine.K3s,
			"a: spec.imageDigestMirrors[0]: k3s cannot keep one registry from being asked: start it with --disable-default-registry-endpoint and write AllowContactingSource",
		},
		{
			"sources for containerd", "image {insecureRegistries: [q.io]}", machine.K3s,
			"cluster: kind: Image is for CRI-O, and nodes of the profile k3s run containerd: write its configuration in a MachineConfig",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files, got := rendered(t, tt.objects, tt.on)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if len(files) > 0 {
				t.Errorf("files beside a mistake: %v", files)
			}
		})
	}
}

func TestContainerd(t *testing.T) {
	for _, tt := range []struct {
		name, objects string
		on            machine.Profile
		want          map[string]string
	}{
		{"a registry", "idms [{source: q.io, mirrors: ['m.io:5000', n.io/cache]}]", machine.Kubeadm, map[string]string{
			certsDir + "q.io/hosts.toml": `server = "https://q.io"

[host."https://m.io:5000"]
  capabilities = ["pull"]

[host."https://n.io/v2/cache"]
  capabilities = ["pull"]
  override_path = true
`,
		}},
		{"tags may be resolved", "idms [{source: q.io, mirrors: [m.io]}]\nitms [{source: q.io, mirrors: [n.io, m.io]}]", machine.Kubeadm, map[string]string{
			certsDir + "q.io/hosts.toml": `server = "https://q.io"

[host."https://m.io"]
  capabilities = ["pull", "resolve"]

[host."https://n.io"]
  capabilities = ["pull", "resolve"]
`,
		}},
		{"paths that stay the same", "idms [{source: q.io/a, mirrors: [m.io/a]}, {source: q.io/b, mirrors: [n.io/x/b]}]", machine.Kubeadm, map[string]string{
			certsDir + "q.io/hosts.toml": `server = "https://q.io"

[host."https://m.io"]
  capabilities = ["pull"]

[host."https://n.io/v2/x"]
  capabilities = ["pull"]
  override_path = true
`,
		}},
		{"a registry that is never asked", "idms [{source: docker.io, mirrors: [m.io, n.io/hub], mirrorSourcePolicy: NeverContactSource}]", machine.Kubeadm, map[string]string{
			certsDir + "docker.io/hosts.toml": `server = "https://n.io/v2/hub"
capabilities = ["pull"]
override_path = true

[host."https://m.io"]
  capabilities = ["pull"]
`,
		}},
		{"the hub answers under another name", "itms [{source: docker.io, mirrors: [m.io]}]", machine.Kubeadm, map[string]string{
			certsDir + "docker.io/hosts.toml": `server = "https://registry-1.docker.io"

[host."https://m.io"]
  capabilities = ["pull", "resolve"]
`,
		}},
		{"k3s", "itms [{source: q.io, mirrors: [m.io]}]\nidms [{source: docker.io, mirrors: [m.io/hub, n.io]}]", machine.K3s, map[string]string{
			k3sConf: `mirrors:
  docker.io:
    endpoint:
    - https://m.io/v2/hub
    - https://n.io
  q.io:
    endpoint:
    - https://m.io
`,
		}},
		{"nothing to say", "idms [{source: q.io}]", machine.K3s, map[string]string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files, mistakes := rendered(t, tt.objects, tt.on)
			if mistakes != "" {
				t.Fatal(mistakes)
			}
			if diff := cmp.Diff(tt.want, files); diff != "" {
				t.Error(diff)
			}
			for path, contents := range files {
				if err := toml.Unmarshal([]byte(contents), &map[string]any{}); strings.HasSuffix(path, ".toml") && err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
		})
	}
}

func TestNotices(t *testing.T) {
	for _, tt := range []struct {
		name, objects string
		on            machine.Profile
		want          string
	}{
		{"nothing to say", "idms [{source: q.io, mirrors: [m.io]}]", "", ""},
		{
			"a policy without mirrors", "idms [{source: q.io, mirrorSourcePolicy: NeverContactSource}]", "",
			"spec.imageDigestMirrors[0] of ImageDigestMirrorSet a has no effect: without mirrors its source is asked nevertheless",
		},
		{"k3s does not tell tags from digests", "idms [{source: q.io, mirrors: [m.io]}]", machine.K3s, "k3s asks the mirrors for tags, too, not only for digests"},
		{"tags are what k3s does", "itms [{source: q.io, mirrors: [m.io]}]", machine.K3s, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			objects, err := parse(t, tt.objects)
			if err != nil {
				t.Fatal(err)
			}
			_, notices, wrong := Files(objects, tt.on)
			if got := strings.Join(notices, "\n"); got != tt.want || len(wrong) > 0 {
				t.Errorf("%q, %v, want %q", got, wrong, tt.want)
			}
		})
	}
}

// What a change of mirrors costs a node: to add one for digests must not drain.
func TestCostOfAChange(t *testing.T) {
	const one = "idms [{source: q.io/a, mirrors: [m.io/a]}]"
	const where = " < " + registriesConf
	for _, tt := range []struct{ name, old, new, want string }{
		{"the first mirror", "idms []", one, "reload crio.service" + where},
		{"another mirror of a source", one, "idms [{source: q.io/a, mirrors: [m.io/a, n.io/a]}]", "reload crio.service" + where},
		{"a mirror that is asked first", one, one + "\nidms [{source: q.io/a, mirrors: [b.io/a, m.io/a]}]", "reload crio.service" + where},
		{"another source", one, one + "\nidms [{source: q.io/b, mirrors: [m.io/b]}]", "reload crio.service" + where},
		{"another object for the same", one, one + "\nidms [{source: q.io/a, mirrors: [m.io/a]}]", ""},
		{"the old kind gives way to the new", strings.Replace(one, "idms", "icsp", 1), one, ""},
		{"a mirror for tags", one, one + "\nitms [{source: q.io/b, mirrors: [m.io/b]}]", "drain, reload crio.service" + where},
		{"a source goes", one + "\nidms [{source: q.io/b, mirrors: [m.io/b]}]", one, "drain, reload crio.service" + where},
		{"a source is no longer asked", one, "idms [{source: q.io/a, mirrors: [m.io/a], mirrorSourcePolicy: NeverContactSource}]", "drain, reload crio.service" + where},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var was, will machine.Config
			for _, side := range []struct {
				lines string
				into  *machine.Config
			}{{tt.old, &was}, {tt.new, &will}} {
				objects, err := parse(t, side.lines)
				if err != nil {
					t.Fatal(err)
				}
				side.into.Files, _, _ = Files(objects, machine.OpenShift)
			}
			var kinds []string
			for _, a := range impact.Diff(was, will, nil) {
				word := strings.TrimSpace(a.Kind.String() + " " + a.Unit)
				if !strings.HasPrefix(a.Cause, registriesConf) {
					t.Errorf("%s is caused by %s", word, a.Cause)
				}
				kinds = append(kinds, word)
			}
			got := strings.Join(kinds, ", ")
			if got != "" {
				got += where
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever is read without a mistake gives a file that a runtime reads back as it was meant.
func FuzzParse(f *testing.F) {
	f.Add(DigestMirrors, []byte(`{"metadata":{"name":"a"},"spec":{"imageDigestMirrors":[{"source":"q.io/a","mirrors":["m.io:5000/a","q.io/a"],"mirrorSourcePolicy":"AllowContactingSource"}]}}`))
	f.Add(TagMirrors, []byte(`{"metadata":{"name":"a"},"spec":{"imageTagMirrors":[{"source":"*.q.io","mirrors":["m.io"],"mirrorSourcePolicy":"NeverContactSource"}]}}`))
	f.Add(ContentSource, []byte(`{"metadata":{"name":"a"},"spec":{"repositoryDigestMirrors":[{"source":"docker.io","mirrors":["b","a"]},{"source":"docker.io","mirrors":["a","b"]}]}}`))
	f.Add(Image, []byte(`{"metadata":{"name":"cluster"},"spec":{"registrySources":{"insecureRegistries":["*.a"],"blockedRegistries":["b.a:1/c"],"containerRuntimeSearchRegistries":["x"]}}}`))
	f.Fuzz(func(t *testing.T, kind string, doc []byte) {
		o, err := Parse(kind, doc)
		if err != nil {
			return
		}
		for _, p := range []machine.Profile{machine.OpenShift, machine.Kubeadm, machine.K3s} {
			files, _, _ := Files([]Object{o}, p)
			for _, file := range files {
				if strings.HasSuffix(file.Path, ".conf") || strings.HasSuffix(file.Path, ".toml") {
					if err := toml.Unmarshal(file.Contents, &map[string]any{}); err != nil {
						t.Errorf("%s: %v\n%s", file.Path, err, file.Contents)
					}
				}
				if strings.Contains(file.Path, "..") {
					t.Errorf("leaves its directory: %s", file.Path)
				}
			}
		}
	})
}
