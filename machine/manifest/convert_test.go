package manifest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-gitops/sluice/machine"
)

func TestIgnition2BecomesWhatItMeant(t *testing.T) {
	got := read(t, []byte(head+`spec:
  config:
    ignition: {version: 2.2.0, timeouts: {httpTotal: 7}}
    networkd: {}
    passwd:
      users:
      - {name: core, sshAuthorizedKeys: [k1, k2], passwordHash: old}
      - {name: core, sshAuthorizedKeys: [k3, k1]}
    storage:
      filesystems: [{name: root, path: /sysroot}]
      directories: [{filesystem: root, path: /var/lib/app, mode: 493}]
      links: [{filesystem: root, path: /etc/localtime, target: ../usr/share/zoneinfo/UTC}]
      files:
      - {filesystem: root, path: /etc/twice, mode: 384, contents: {source: 'data:,first'}}
      - {filesystem: root, path: /etc/empty, mode: 420, overwrite: false}
      - {filesystem: root, path: /etc//packed, user: {name: ''}, group: {id: 7}, contents: {compression: gzip, source: 'data:;base64,H4sIAAAAAAAC/ytITM5OTeECAEPgQS8HAAAA', verification: {}}}
      - {filesystem: root, path: /etc/twice, contents: {compression: '', source: 'data:,second'}}
    systemd:
      units:
      - {name: a.service, enable: true, contents: "[Unit]\n", dropins: [{name: 1.conf, contents: "[Service]\nNice=1\n"}, {name: 2.conf, contents: "[Service]\nNice=2\n"}]}
      - {name: a.service, enable: true, enabled: false, dropins: [{name: 2.conf, contents: "[Service]\nNice=3\n"}]}
      - {name: b.service, enable: true, mask: false, contents: ''}
      - {name: c.service, mask: true}
`))
	want := machine.Config{
		Files: []machine.File{
			{Path: "/etc/empty", Mode: 0o644, Contents: []byte{}},
			{Path: "/etc/packed", Mode: 0o644, Group: "7", Contents: []byte("packed\n")},
			{Path: "/etc/twice", Mode: 0o644, Contents: []byte("second")},
		},
		Units: []machine.Unit{
			{Name: "a.service", Enablement: machine.Disabled, DropIns: []machine.DropIn{
				{Name: "1.conf", Contents: "[Service]\nNice=1\n"}, {Name: "2.conf", Contents: "[Service]\nNice=3\n"},
			}},
			{Name: "b.service", Enablement: machine.Enabled},
			{Name: "c.service", Mask: true},
		},
		Users: []machine.User{{Name: "core", SSHKeys: []string{"k3", "k1", "k2"}}},
		FirstBoot: []machine.Section{
			{Name: "ignition.timeouts", Body: json.RawMessage(`{"httpTotal":7}`)},
			{Name: "storage.directories", Body: json.RawMessage(`[{"mode":493,"path":"/var/lib/app"}]`)},
			{Name: "storage.links", Body: json.RawMessage(`[{"path":"/etc/localtime","target":"../usr/share/zoneinfo/UTC"}]`)},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Each version has the fields of its own time, and the oldest another meaning of no mode.
func TestEveryVersionOfIgnitionIsRead(t *testing.T) {
	for _, version := range []string{
		"2.0.0", "2.1.0", "2.2.0", "2.3.0", "2.4.0", "2.5.0-experimental",
		"3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0", "3.5.0", "3.6.0",
	} {
		filesystem := ""
		if version[0] == '2' {
			filesystem = "filesystem: root, "
		}
		c := read(t, []byte(head+"spec:\n  config: {ignition: {version: "+version+"}, storage: {files: [{"+filesystem+"path: /a, contents: {source: 'data:,x'}}]}}\n"))
		want := uint32(0o644)
		if version < "2.2" {
			want = 0
		}
		if len(c.Files) != 1 || c.Files[0].Path != "/a" || string(c.Files[0].Contents) != "x" || c.Files[0].Mode != want {
			t.Errorf("%s: files %+v, want /a with x and mode %#o", version, c.Files, want)
		}
	}
}

func TestWhatCannotBeConvertedIsNamed(t *testing.T) {
	two := func(rest string) string { return "  config: {ignition: {version: 2.2.0}, " + rest + "}\n" }
	three := func(version, rest string) string {
		return "  config: {ignition: {version: " + version + "}, " + rest + "}\n"
	}
	for _, c := range []struct{ name, spec, want string }{
		{"networkd", two(`networkd: {units: [{name: 00-eth.network, contents: hunter2}]}`), "networkd.units[00-eth.network]: Ignition 3 has no networkd section"},
		{"a filesystem", two(`storage: {filesystems: [{name: var, mount: {device: /dev/vda, format: xfs}}]}`), "storage.filesystems[var]: only the filesystem root"},
		{"a root that is made without force", two(`storage: {filesystems: [{name: root, mount: {device: /dev/vda, format: xfs, create: {options: [x]}}}]}`), "storage.filesystems[root].mount.create: "},
		{"a file elsewhere", two(`storage: {files: [{filesystem: var, path: /a}]}`), "storage.files[/a].filesystem: only root"},
		{"a file nowhere", two(`storage: {files: [{path: /a}]}`), `storage.files[/a].filesystem: is missing: write "root"`},
		{"a link elsewhere", two(`storage: {links: [{filesystem: var, path: /a, target: /b}]}`), "storage.links[/a].filesystem: only root"},
		{"an appended file", two(`storage: {files: [{filesystem: root, path: /a, append: true, contents: {source: 'data:,hunter2'}}]}`), "storage.files[/a].append: cannot be done on a living node"},
		{"a file through a link", two(`storage: {links: [{filesystem: root, path: /l, target: /b}], files: [{filesystem: root, path: /l/a}]}`), "storage.files[/l/a].path: leads through the link /l"},
		{"a file and a directory", two(`storage: {directories: [{filesystem: root, path: /a}], files: [{filesystem: root, path: /a}]}`), "[/a]: stands twice: keep one of them"},
		{"a relative path", two(`storage: {files: [{filesystem: root, path: a}]}`), "storage.files[a].path: is not absolute: begin it with /"},
		{"another user", two(`passwd: {users: [{name: root, sshAuthorizedKeys: [hunter2]}]}`), "passwd.users[root]: only the user core"},
		{"a user that is created", two(`passwd: {users: [{name: core, create: {uid: 7}}]}`), "passwd.users[core].create: "},
		{"sectors", two(`storage: {disks: [{device: /dev/vda, partitions: [{number: 1, size: 2048}]}]}`), "storage.disks[/dev/vda].partitions: size and start in sectors"},
		{"a unit without a suffix", two(`systemd: {units: [{name: app}]}`), "systemd.units[app].name: has no suffix that systemd knows"},
		{"a mode that is a string", two(`storage: {files: [{filesystem: root, path: /a, mode: "0600"}]}`), "storage.files[/a].mode: is a string: write the number 0600 (decimal 384)"},
		{"a list that is an object", two(`systemd: {units: {hunter2: x}}`), "systemd.units: is of type object, expected a list"},
		{"a Clevis pin of 3.6", three("3.6.0", `storage: {luks: [{name: x, device: /dev/x, clevis: {custom: {pin: mine, config: hunter2}}}]}`), "storage.luks[x].clevis.custom.pin: "},
		{"a sticky directory of 3.6", three("3.6.0", `storage: {directories: [{path: /a, mode: 01777}]}`), "storage.directories[/a].mode: 01777 is not between"},
		{"3.7", three("3.7.0-experimental", `storage: {}`), "ignition.version: is not read by this version"},
		{"append as in Ignition 2", three("3.2.0", `storage: {files: [{path: /a, append: true}]}`), "storage.files[/a].append: is of type bool, expected a list"},
		{"a decimal mode", three("3.2.0", `storage: {files: [{path: /a, mode: 777}]}`), "storage.files[/a].mode: 777 is decimal, and more than 0777 (decimal 511): write 0777 (decimal 511) if that was meant"},
		{"both owners", three("3.2.0", `storage: {files: [{path: /a, user: {id: 7, name: x}}]}`), "storage.files[/a].user: "},
		{"a file that a unit writes", three("3.2.0", `storage: {files: [{path: /etc/systemd/system/a.service}]}, systemd: {units: [{name: a.service, contents: "[Unit]\n"}]}`), "storage.files[/etc/systemd/system/a.service].path: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := errorOf(head + "spec:\n" + c.spec)
			if err == nil || !strings.Contains(err.Error(), "spec.config."+strings.TrimPrefix(c.want, "[/a]")) && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %s", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v quotes contents", err)
			}
		})
	}
}

func errorOf(doc string) error {
	m, err := Parse([]byte(doc))
	if err == nil {
		_, err = Config(m.Spec)
	}
	return err
}

func TestWhatWasProbablyNotMeantIsAWarning(t *testing.T) {
	for _, c := range []struct{ name, spec, want string }{
		{
			"a key of Ignition 2", "  config: {ignition: {version: 3.2.0}, storage: {files: [{path: /a, filesystem: root}]}}\n",
			"spec.config.storage.files[/a].filesystem: is not a key of this version of Ignition: it is ignored. It is of Ignition 2: remove it",
		},
		{"networkd", "  config: {ignition: {version: 3.2.0}, networkd: {units: []}}\n", "spec.config.networkd: is not a key"},
		{"enable", "  config: {ignition: {version: 3.2.0}, systemd: {units: [{name: a.service, enable: true}]}}\n", "spec.config.systemd.units[a.service].enable: is not a key"},
		{
			"a key that Ignition 2 does not know", "  config: {ignition: {version: 2.2.0}, systemd: {units: [{name: a.service, enalbed: true}]}}\n",
			"spec.config.systemd.units[a.service].enalbed: is not a key",
		},
		{
			"a mode in decimal digits", "  config: {ignition: {version: 3.2.0}, storage: {files: [{path: /a, mode: 400}]}}\n",
			"spec.config.storage.files[/a].mode: 400 is read as 0620: write 0400 (decimal 256) if that was meant",
		},
		{"units in the wrong place", "  systemd: {units: []}\n", "spec.systemd: is not a field of a MachineConfig, so it is ignored: it belongs below spec.config"},
		{"a field that does not exist", "  kernelArgs: [a]\n", "spec.kernelArgs: is not a known field"},
		{"no mode in 2.1", "  config: {ignition: {version: 2.1.0}, storage: {files: [{filesystem: root, path: /a}]}}\n", "spec.config.storage.files[/a].mode: is missing, which is mode 0"},
		{"a root filesystem", "  config: {ignition: {version: 2.2.0}, storage: {filesystems: [{name: root, path: /sysroot}]}}\n", "spec.config.storage.filesystems[root]: is left out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse([]byte(head + "spec:\n" + c.spec))
			if err != nil || len(m.Warnings) != 1 || !strings.HasPrefix(m.Warnings[0].Error(), c.want) {
				t.Errorf("warnings %v, error %v, want %s", m.Warnings, err, c.want)
			}
		})
	}
	for _, mode := range []string{"0644", "0o644", "420", "256", "511", "0400", "0"} {
		m, err := Parse([]byte(head + "spec:\n  config: {ignition: {version: 3.2.0}, storage: {files: [{path: /a, mode: " + mode + "}]}}\n"))
		if err != nil || len(m.Warnings) > 0 {
			t.Errorf("mode %s: warnings %v, error %v, want none", mode, m.Warnings, err)
		}
	}
}

func TestAllMistakesComeAtOnce(t *testing.T) {
	err := errorOf(head + `spec:
  kernelType: fast
  config:
    ignition: {version: 3.2.0}
    storage:
      files:
      - {path: /a, mode: 0o1777, contents: {source: 'data:;base64,hunter2!'}}
      - {path: b, contents: {source: 'https://hunter2'}}
      - {path: /c, contents: {source: 'data:,%zz'}}
    systemd:
      units:
      - {name: app}
`)
	for _, want := range []string{
		"spec.kernelType: ", "files[/a].mode: ", "files[/a].contents.source: is not a valid data: URL", "files[b].path: ", "files[b].contents.source: only data:",
		"files[/c].contents.source: is not a valid data: URL", "units[app].name: ",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %s:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("quotes contents: %v", err)
	}
}

// FuzzConvert holds for any Ignition 2 config: no panic, and what is read is written and read
// back as the same node.
func FuzzConvert(f *testing.F) {
	f.Add([]byte(`{"ignition":{"version":"2.2.0"},"storage":{"files":[{"filesystem":"root","path":"/a","mode":420,"contents":{"source":"data:,x"}},{"filesystem":"root","path":"/a","append":true}],"links":[{"filesystem":"root","path":"/l","target":"/b"}],"disks":[{"device":"/dev/a","partitions":[{"size":7}]}]}}`))
	f.Add([]byte(`{"ignition":{"version":"2.0.0","config":{"append":[{"source":"data:,x"}],"replace":{"source":"http://x"}}},"networkd":{"units":[{"name":"x"}]},"passwd":{"users":[{"name":"core","sshAuthorizedKeys":["k"],"create":{}}]}}`))
	f.Add([]byte(`{"ignition":{"version":"2.4.0"},"systemd":{"units":[{"name":"a.service","enable":true,"dropins":[{"name":"a.conf","contents":"x"}]},{"name":"a.service","enabled":false,"mask":true}]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		version, errs := versionOf(raw)
		if errs != nil || version[0] != '2' {
			return
		}
		config, _, errs := convert(raw, version)
		if errs != nil {
			return
		}
		c, err := Config(Spec{Ignition: config})
		if err != nil {
			return
		}
		doc, err := Marshal("x", nil, c)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if back := read(t, doc); back.Digest() != c.Digest() {
			t.Fatalf("reads back as another config (-want +got):\n%s", cmp.Diff(c, back))
		}
	})
}
