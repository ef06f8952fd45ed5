package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-gitops/sluice/machine"
)

const head = "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata: {name: x, labels: {a: b}}\n"

func read(t *testing.T, doc []byte) machine.Config {
	t.Helper()
	m, err := Parse(doc)
	if err != nil {
		t.Fatalf("parse: %v\n%s", err, doc)
	}
	c, err := Config(m.Spec)
	if err != nil {
		t.Fatalf("config: %v\n%s", err, doc)
	}
	return c
}

func TestConfigReadsWhatANodeKeeps(t *testing.T) {
	got := read(t, []byte(head+`spec:
  kernelArguments: [a, b, a]
  osImageURL: registry.example.com/os:1
  extensions: [usbguard]
  kernelType: default
  fips: true
  config:
    ignition: {version: 3.1.0, timeouts: {httpTotal: 7}}
    passwd:
      groups: [{name: g}]
      users:
      - {name: other, sshAuthorizedKeys: [k]}
      - {name: core, sshAuthorizedKeys: [k2, k1], passwordHash: h, shell: /bin/sh}
    storage:
      disks: [{device: /dev/sda, wipeTable: false}]
      files:
      - {path: /z, mode: 0o755, user: {name: root}, group: {id: 7}, contents: {source: 'data:text/plain;charset=utf-8;base64,aGk='}}
      - {path: /e}
      - {path: /c, contents: {source: 'data:,a%20b+c', verification: {hash: sha256-135c10dbc1ce50d64010d2d34bcccd2a13065f0c9e686071ca3d8ddea085b89e}}}
    systemd:
      units:
      - {name: m.service, mask: true, enabled: false}
      - {name: a.service, enabled: true, contents: "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=x.target\n", dropins: [{name: b.conf}, {name: a.conf, contents: "[Unit]\n"}]}
`))
	want := machine.Config{
		KernelArgs: []string{"a", "b", "a"}, OSImage: "registry.example.com/os:1", Extensions: []string{"usbguard"}, FIPS: true,
		Files: []machine.File{
			{Path: "/c", Mode: 0o644, Contents: []byte("a b+c")},
			{Path: "/e", Mode: 0o644, Contents: []byte{}},
			{Path: "/z", Mode: 0o755, Group: "7", Contents: []byte("hi")},
		},
		Units: []machine.Unit{
			{
				Name: "a.service", Enablement: machine.Enabled, Contents: "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=x.target\n",
				DropIns: []machine.DropIn{{Name: "a.conf", Contents: "[Unit]\n"}, {Name: "b.conf"}},
			},
			{Name: "m.service", Enablement: machine.Disabled, Mask: true},
		},
		Users: []machine.User{{Name: "core", SSHKeys: []string{"k2", "k1"}, PasswordHash: "h"}},
		FirstBoot: []machine.Section{
			{Name: "ignition.timeouts", Body: json.RawMessage(`{"httpTotal":7}`)},
			{Name: "passwd.groups", Body: json.RawMessage(`[{"name":"g"}]`)},
			{Name: "passwd.users", Body: json.RawMessage(`[{"name":"other","sshAuthorizedKeys":["k"]},{"name":"core","shell":"/bin/sh"}]`)},
			{Name: "storage.disks", Body: json.RawMessage(`[{"device":"/dev/sda","wipeTable":false}]`)},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestConfigRefusesWhatItCannotKeep(t *testing.T) {
	file := func(f string) string {
		return "  config: {ignition: {version: 3.5.0}, storage: {files: [" + f + "]}}\n"
	}
	for _, c := range []struct{ name, spec, want string }{
		{
			"contents that do not fit their hash", file(`{path: /a, contents: {source: 'data:,hunter2', verification: {hash: sha256-` + strings.Repeat("0", 64) + `}}}`),
			"spec.config.storage.files[/a].contents.verification.hash: does not fit the contents",
		},
		{"a data URL that is damaged", file(`{path: /a, contents: {source: 'data:;base64,hunter2!'}}`), "spec.config.storage.files[0].contents.source: is not a valid data: URL"},
		{"a path with a line break", file(`{path: "/a\nb"}`), "is not a clean absolute path"},
		{"a negative owner", file(`{path: /a, user: {id: -1}}`), "spec.config.storage.files[/a].user.id: is negative"},
		{"a mode that is a string", file(`{path: /a, mode: "0644"}`), "mode: is a string: write the number 0644 (decimal 420)"},
		{
			"a drop-in that climbs", "  config: {ignition: {version: 3.5.0}, systemd: {units: [{name: a.service, dropins: [{name: ../b.conf}]}]}}\n",
			"spec.config.systemd.units[a.service].dropins[../b.conf].name: is not the name of a unit file",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse([]byte(head + "spec:\n" + c.spec))
			if err == nil {
				_, err = Config(m.Spec)
			}
			want := strings.ReplaceAll(c.want, "files[0]", "files[/a]")
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("error %v, want %s", err, want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v quotes contents", err)
			}
		})
	}
}

func TestParseWantsExactlyOneMachineConfig(t *testing.T) {
	for name, c := range map[string]struct{ doc, want string }{
		"two documents":  {head + "---\n" + head, "holds 2 YAML documents, expected one"},
		"none":           {"# nothing\n", "holds 0 YAML documents, expected one"},
		"another kind":   {"apiVersion: v1\nkind: Pod\n", "is v1 Pod, expected machineconfiguration.openshift.io/v1 MachineConfig"},
		"a list of them": {"[]", "expected an object"},
	} {
		if _, err := Parse([]byte(c.doc)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", name, err, c.want)
		}
	}
}

func TestParseWarnsOfKeysThatIgnitionIgnores(t *testing.T) {
	m, err := Parse([]byte(head + "spec:\n  config: {ignition: {version: 3.5.0}, storage: {file: []}}\n"))
	if err != nil || len(m.Warnings) != 1 || !strings.HasPrefix(m.Warnings[0].Error(), "spec.config.storage.file: is not a key") {
		t.Errorf("warnings %v, error %v, want one warning of the key file", m.Warnings, err)
	}
}

func TestDocumentsAreSplitAtMarkersOnly(t *testing.T) {
	stream := "%YAML 1.2\n---\n# only a comment\n--- {a: 1}\n---\nb: |\n  ---\n  x\n---c: 2\n...\n---\r\nd: 1\n---"
	var got []string
	for _, d := range Documents([]byte(stream)) {
		got = append(got, strings.TrimSpace(string(d)))
	}
	if want := []string{"{a: 1}", "b: |\n  ---\n  x\n---c: 2\n...", "d: 1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMarshalReadsBackToTheSameDigest(t *testing.T) {
	for seed := range uint64(100) {
		c := someConfig(rand.New(rand.NewPCG(seed, 7)))
		for form, marshal := range map[string]func(string, map[string]string, machine.Config) ([]byte, error){"YAML": Marshal, "JSON": JSON} {
			doc, err := marshal("rendered", map[string]string{"k": "v"}, c)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if back := read(t, doc); back.Digest() != c.Digest() {
				t.Fatalf("seed %d: %s reads back as another config (-want +got):\n%s", seed, form, cmp.Diff(c.Canonical(), back))
			}
			again, err := marshal("rendered", map[string]string{"k": "v"}, c)
			if err != nil || !bytes.Equal(doc, again) {
				t.Fatalf("seed %d: %s is written in two ways, error %v", seed, form, err)
			}
		}
	}
}

func TestMarshalRefusesASectionThatIsNotIgnitions(t *testing.T) {
	if _, err := Marshal("x", nil, machine.Config{FirstBoot: []machine.Section{{Name: "storage.tapes", Body: []byte("[]")}}}); err == nil {
		t.Error("no error for a section that would be lost")
	}
}

func someConfig(random *rand.Rand) machine.Config {
	words := []string{"", "yes", "0x10", "1e3", "a: b", "# c", "%41+ &", "ä\u2028\U0001F600", "two\nlines\n", " \ttab\r\n", "<&>", "null", "~", "---\n"}
	word := func() string { return words[random.IntN(len(words))] }
	c := machine.Config{OSImage: word(), FIPS: random.IntN(2) == 0}
	for range random.IntN(3) {
		c.KernelArgs = append(c.KernelArgs, word())
		c.Extensions = append(c.Extensions, word())
	}
	c.KernelType = []string{"", "realtime", "64k-pages"}[random.IntN(3)]
	owners := []string{"", "core", "7", "007"}
	for i := range random.IntN(4) {
		contents := []byte(word())
		if random.IntN(3) == 0 {
			contents = []byte{0, 0xff, byte(random.IntN(256)), '%'}
		}
		if random.IntN(5) == 0 {
			contents = nil
		}
		c.Files = append(c.Files, machine.File{
			Path: fmt.Sprint("/etc/f 'ü%41", i), Mode: uint32(random.IntN(0o1000)),
			User: owners[random.IntN(4)], Group: owners[random.IntN(4)], Contents: contents,
		})
	}
	for i := range random.IntN(3) {
		u := machine.Unit{Name: fmt.Sprint("u", i, ".service"), Mask: random.IntN(2) == 0}
		u.Enablement = []machine.Enablement{machine.Preset, machine.Enabled, machine.Disabled}[random.IntN(3)]
		if random.IntN(2) == 0 {
			u.Contents = "[Service]\nEnvironment=X=" + strings.ReplaceAll(word(), "\n", "") + "\n"
		}
		for j := range random.IntN(3) {
			u.DropIns = append(u.DropIns, machine.DropIn{Name: fmt.Sprint(j, ".conf"), Contents: "[Unit]\nDescription=\U0001F600\n"})
		}
		c.Units = append(c.Units, u)
	}
	if random.IntN(2) == 0 {
		c.Users = []machine.User{{Name: Core, SSHKeys: []string{"ssh-ed25519 AAAA a@b", "ssh-rsa BBBB"}[:random.IntN(3)], PasswordHash: "$6$x"}}
	}
	for name, body := range map[string]string{
		"passwd.users":                   `[{"groups":["wheel"],"name":"core"},{"name":"other","uid":0}]`,
		"storage.luks":                   `[{"clevis":{"tpm2":true},"device":"/dev/x","name":"x"}]`,
		"storage.disks":                  `[{"device":"/dev/x","partitions":[{"number":1,"sizeMiB":0}]}]`,
		"kernelArguments.shouldNotExist": `["quiet"]`,
		"ignition.proxy":                 `{"httpProxy":"http://p"}`,
	} {
		if random.IntN(3) == 0 {
			c.FirstBoot = append(c.FirstBoot, machine.Section{Name: name, Body: json.RawMessage(body)})
		}
	}
	return c
}

// FuzzParse holds for any input: no panic, and what can be read can be written and read back.
func FuzzParse(f *testing.F) {
	f.Add([]byte(head + "spec:\n  config: {ignition: {version: 3.2.0}, storage: {files: [{path: /a, mode: 0600, contents: {source: 'data:,x'}}]}}\n"))
	f.Add([]byte(head + "spec:\n  kernelArguments: [a]\n  config: {ignition: {version: 3.5.0}, systemd: {units: [{name: a.service, enabled: true, dropins: [{name: a.conf, contents: x}]}]}}\n"))
	f.Add([]byte(`{"apiVersion":"machineconfiguration.openshift.io/v1","kind":"MachineConfig","metadata":{"name":"x"},"spec":{"config":{"ignition":{"version":"3.0.0"},"passwd":{"users":[{"name":"core","sshAuthorizedKeys":["k"]}]}}}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		m, err := Parse(doc)
		if err != nil {
			return
		}
		c, err := Config(m.Spec)
		if err != nil {
			return
		}
		out, err := Marshal(m.Name, m.Labels, c)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if back := read(t, out); back.Digest() != c.Digest() {
			t.Fatalf("reads back as another config (-want +got):\n%s", cmp.Diff(c, back))
		}
	})
}
