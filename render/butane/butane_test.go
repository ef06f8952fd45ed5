package butane_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/render/butane"
)

const openshift = `variant: openshift
version: 4.20.0
metadata:
  name: 50-banner
  labels:
    machineconfiguration.openshift.io/role: worker
storage:
  files:
    - path: /etc/motd
      mode: 0644
      overwrite: true
      contents:
        inline: |
          hello
systemd:
  units:
    - name: hello.service
      enabled: true
      contents: |
        [Service]
        ExecStart=/bin/true
        [Install]
        WantedBy=multi-user.target
openshift:
  kernel_arguments: [quiet]
`

const fcos = `variant: fcos
version: 1.5.0
storage:
  files:
    - path: /etc/motd
      mode: 0644
      contents:
        inline: hello
`

func TestButaneIsTheMachineConfigThatItStandsFor(t *testing.T) {
	for _, c := range []struct {
		name, file, source string
		wantName, wantRole string
		wantFile, wantArgs string
	}{
		{"openshift names itself", "pools/a/x.bu", openshift, "50-banner", "worker", "hello\n", "quiet"},
		{"fcos is named as its file", "pools/a/60-motd.bu", fcos, "60-motd", "", "hello", ""},
		{"flatcar, too", "60-motd.bu", strings.Replace(strings.Replace(fcos, "fcos", "flatcar", 1), "1.5.0", "1.1.0", 1), "60-motd", "", "hello", ""},
		{"r4e, too", "60-motd.bu", strings.Replace(strings.Replace(fcos, "fcos", "r4e", 1), "1.5.0", "1.1.0", 1), "60-motd", "", "hello", ""},
		{"lines may end as on Windows", "60-motd.bu", strings.ReplaceAll(fcos, "\n", "\r\n"), "60-motd", "", "hello", ""},
		{"a data URL is no address", "60-motd.bu", strings.Replace(fcos, "inline: hello", "source: 'data:,hello'", 1), "60-motd", "", "hello", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			encoded, warnings, err := butane.MachineConfig(c.file, []byte(c.source))
			if err != nil || len(warnings) > 0 {
				t.Fatalf("error %v, warnings %q", err, warnings)
			}
			m, err := manifest.Parse(encoded)
			if err != nil {
				t.Fatalf("%v in\n%s", err, encoded)
			}
			got, err := manifest.Config(m.Spec)
			if err != nil {
				t.Fatal(err)
			}
			if role := m.Labels["machineconfiguration.openshift.io/role"]; m.Name != c.wantName || role != c.wantRole {
				t.Errorf("name %q, role %q, want %q, %q", m.Name, role, c.wantName, c.wantRole)
			}
			if len(got.Files) != 1 || got.Files[0].Path != "/etc/motd" || string(got.Files[0].Contents) != c.wantFile || got.Files[0].Mode != 0o644 {
				t.Errorf("files %+v", got.Files)
			}
			if strings.Join(got.KernelArgs, " ") != c.wantArgs {
				t.Errorf("kernel arguments %q, want %q", got.KernelArgs, c.wantArgs)
			}
		})
	}
}

func TestWhatButaneWarnsOfIsPassedOn(t *testing.T) {
	_, warnings, err := butane.MachineConfig("a.bu", []byte(strings.Replace(fcos, "mode: 0644", "mode: 0644\n      moed: 1", 1)))
	if err != nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0], "storage.files[0] (line 7): unused key moed") {
		t.Errorf("error %v, warnings %q, want one of line 7", err, warnings)
	}
}

// The mistakes of an author name field and line. What would read a file or an address is one.
func TestMistakesInButane(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	calls := 0
	before := http.DefaultTransport
	http.DefaultTransport = transport(func(r *http.Request) (*http.Response, error) { calls++; return nil, http.ErrUseLastResponse })
	defer func() { http.DefaultTransport = before }()
	contents := func(s string) string { return strings.Replace(fcos, "inline: hello", s, 1) }
	const version = "variant: fcos\nversion: 1.5.0\n"
	for _, c := range []struct{ name, source, want string }{
		{"nothing", "", "is empty: write variant and version"},
		{"no YAML", "a: b: c", "is no YAML: mapping values are not allowed in this context"},
		{"two documents", fcos + "---\n" + fcos, "holds more than one YAML document"},
		{"no variant", "version: 1.5.0", "variant (line 1): is missing: write openshift, or fcos"},
		{"a version that is not known", "variant: fcos\nversion: 9.9.9", "variant: is not known in this version: check variant and version"},
		{"a name that is missing", strings.Replace(openshift, "  name: 50-banner\n", "", 1), "metadata.name (line 4): metadata.name is required"},
		{"a role that is missing", strings.Replace(openshift, "    machineconfiguration.openshift.io/role: worker\n", "    a: b\n", 1), "role label is required"},
		{"a path that is not absolute", strings.Replace(fcos, "/etc/motd", "etc/motd", 1), "storage.files[0].path (line 5): path not absolute"},
		{"a wrong type, without its value", strings.Replace(fcos, "0644", "s3cret", 1), "line 6: is of type string, expected a number, without quotes"},
		{"two wrong types", strings.Replace(strings.Replace(fcos, "0644", "s3cret", 1), "inline: hello", "inline: [s3cret]", 1), "line 6: is of type string, expected a number, without quotes\nline 8: is of type array, expected a string"},
		{"a file beside it", contents("local: secret"), "storage.files[0].contents.local (line 8): files beside it are not read: write the contents inline"},
		{"a unit beside it", version + "systemd:\n  units: [{name: a.service, contents_local: secret}]", "systemd.units[0].contents_local (line 4): files beside it are not read"},
		{"keys beside it", version + "passwd:\n  users: [{name: core, ssh_authorized_keys_local: [secret]}]", "passwd.users[0].ssh_authorized_keys_local (line 4): files beside it are not read"},
		{"a tree beside it", version + "storage:\n  trees: [{local: .}]", "storage.trees (line 4): files beside it are not read"},
		{"an address", contents("source: http://127.0.0.1:1/x"), "storage.files[0].contents.source (line 8): nothing is fetched: write the contents inline"},
		{"an address by an alias", strings.Replace(contents("source: *u"), "version", "x: &u http://127.0.0.1:1/x\nversion", 1), "storage.files[0].contents.source (line 9): nothing is fetched"},
		{"a config to merge", version + "ignition:\n  config:\n    merge: [{source: 'https://127.0.0.1:1/x'}]", "ignition.config.merge[0].source (line 5): nothing is fetched"},
		{"a config beside it", version + "ignition:\n  config:\n    replace: {local: secret}", "ignition.config.replace.local (line 5): files beside it are not read"},
		{"a list that is too deep", version + "storage: " + strings.Repeat("[", 500) + strings.Repeat("]", 500), "is nested deeper than 100 levels"},
	} {
		t.Run(c.name, func(t *testing.T) {
			encoded, _, err := butane.MachineConfig("a.bu", []byte(c.source))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v and %q, want %s", err, encoded, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %q quotes a value", err)
			}
		})
	}
	if calls > 0 {
		t.Errorf("%d requests were sent", calls)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func FuzzMachineConfig(f *testing.F) {
	for _, s := range []string{
		"", "variant: fcos\nversion: 1.5.0\n", openshift, fcos,
		"variant: openshift\nversion: 4.20.0\nopenshift: {fips: true, extensions: [usbguard]}",
		"variant: flatcar\nversion: 1.1.0\npasswd: {users: [{name: core, ssh_authorized_keys: [a]}]}",
		"variant: fcos\nversion: 1.5.0\nboot_device: {mirror: {devices: [/dev/a, /dev/b]}}\nstorage: {luks: [{name: x, clevis: {tpm2: true}}]}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		encoded, warnings, err := butane.MachineConfig("fuzz.bu", source)
		if (err == nil) != (encoded != nil) {
			t.Fatalf("error %v with %q", err, encoded)
		}
		if err != nil {
			return
		}
		again, said, err := butane.MachineConfig("fuzz.bu", source)
		if err != nil || string(again) != string(encoded) || !slices.Equal(said, warnings) {
			t.Fatalf("twice gives %q and %q, %v", encoded, again, err)
		}
		if _, err := manifest.FromYAML(encoded); err != nil {
			t.Fatalf("%q is no manifest: %v", encoded, err)
		}
	})
}
