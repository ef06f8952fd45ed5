package impact

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-gitops/sluice/machine"
)

// has is a config with one file of each path.
func has(paths ...string) (c machine.Config) {
	for _, p := range paths {
		c.Files = append(c.Files, machine.File{Path: p, Mode: 0o644, Contents: []byte("of " + p)})
	}
	return c
}

// lines is how the tables below write actions.
func lines(actions []Action) string {
	var out []string
	for _, a := range actions {
		out = append(out, strings.Join(strings.Fields(fmt.Sprint(a.Kind, " ", a.Unit, " < ", a.Cause)), " "))
	}
	return strings.Join(out, "\n")
}

func TestDefaultTable(t *testing.T) {
	const anchors = "/etc/pki/ca-trust/source/anchors/"
	for path, want := range map[string]string{
		"/var/lib/kubelet/config.json":                                "none",
		"/etc/machine-config-daemon/no-reboot/containers-gpg.pub":     "reload crio.service",
		"/etc/containers/policy.json":                                 "reload crio.service",
		"/etc/containers/registries.d/a.yaml":                         "reload crio.service",
		"/etc/containers/registries.d/deep/b.yaml":                    "reload crio.service",
		"/etc/crio/policies/ns.json":                                  "reload crio.service",
		"/etc/nmstate/openshift/w1.yml":                               "none",
		anchors + "openshift-config-user-ca-bundle.crt":               "restart coreos-update-ca-trust.service, restart crio.service",
		"/etc/kubernetes/credential-providers/ecr.yaml":               "restart kubelet.service",
		"/etc/iri-registry/config.yaml":                               "restart iri-registry.service",
		"/usr/local/bin/load-registry-image.sh":                       "restart iri-registry.service",
		anchors + "iri-root-ca.crt":                                   "restart coreos-update-ca-trust.service",
		"/etc/kubernetes/kubelet-ca.crt":                              "none",
		"/etc/containerd/certs.d/quay.io/hosts.toml":                  "none",
		"/run/machine-config-daemon-force":                            "impossible",
		"/etc/chrony.conf":                                            "reboot",
		"/etc/kubernetes/kubelet.conf":                                "reboot",
		"/etc/containers/registries.dx/a.yaml":                        "reboot", // a longer name is no child
		"/etc/containers":                                             "reboot",
		anchors + "another.crt":                                       "reboot",
		"/etc/systemd/system/kubelet.service.d/10-other.conf":         "reboot",
		"/etc/systemd/system/kubelet.service.d/" + providerDropIn:     "reload, restart kubelet.service",
		"/etc/containers/registries.conf.d/01-unqualified-search.txt": "reboot",
	} {
		for _, way := range []struct {
			name     string
			old, new machine.Config
		}{
			{"added", machine.Config{}, has(path)},
			{"removed", has(path), machine.Config{}},
			{"changed", has(path), machine.Config{Files: []machine.File{{Path: path, Mode: 0o600, Contents: []byte("of " + path)}}}},
		} {
			t.Run(strings.TrimPrefix(path, "/")+" "+way.name, func(t *testing.T) {
				var wants []string
				for _, w := range strings.Split(want, ", ") {
					wants = append(wants, w+" < "+path)
				}
				if diff := cmp.Diff(strings.Join(wants, "\n"), lines(Diff(way.old, way.new, nil))); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

const providerDropIn = "40-kubelet-crio-image-credential-provider.conf"

func TestDiff(t *testing.T) {
	unit := func(name, contents string, dropIns ...machine.DropIn) machine.Config {
		return machine.Config{Units: []machine.Unit{{Name: name, Contents: contents, DropIns: dropIns}}}
	}
	user := func(name, hash string, keys ...string) machine.Config {
		return machine.Config{Users: []machine.User{{Name: name, PasswordHash: hash, SSHKeys: keys}}}
	}
	section := func(name, body string) machine.Config {
		return machine.Config{FirstBoot: []machine.Section{{Name: name, Body: json.RawMessage(body)}}}
	}
	var bare machine.Config
	for _, tt := range []struct {
		name     string
		old, new machine.Config
		want     string
	}{
		{"two empty configs", bare, bare, ""},
		{"a unit that no rule knows", bare, unit("app.service", "a"), "reboot < app.service"},
		{"a unit that goes", unit("app.service", "a"), bare, "reboot < app.service"},
		{"a drop-in is a change of its unit", unit("app.service", "a"), unit("app.service", "a", machine.DropIn{Name: "1.conf"}), "reboot < app.service"},
		{"a mask", machine.Config{Units: []machine.Unit{{Name: "a.service"}}}, machine.Config{Units: []machine.Unit{{Name: "a.service", Mask: true}}}, "reboot < a.service"},
		{"an enablement", machine.Config{Units: []machine.Unit{{Name: "a.service"}}}, machine.Config{Units: []machine.Unit{{Name: "a.service", Enablement: machine.Enabled}}}, "reboot < a.service"},
		{"drop-ins in another order", unit("a.service", "", machine.DropIn{Name: "1.conf"}, machine.DropIn{Name: "2.conf"}), unit("a.service", "", machine.DropIn{Name: "2.conf"}, machine.DropIn{Name: "1.conf"}), ""},
		{"a unit with a rule is read anew first", bare, unit("iri-registry.service", "a"), "reload < iri-registry.service\nrestart iri-registry.service < iri-registry.service"},
		{"only the exact name of a unit counts", bare, unit("iri-registry.service.d", "a"), "reboot < iri-registry.service.d"},
		{"ssh keys of core", user("core", "", "k1"), user("core", "", "k1", "k2"), "none < passwd.users[core].sshAuthorizedKeys"},
		{"the password of core", user("core", "x"), user("core", "y"), "impossible < passwd.users[core].passwordHash"},
		{"all keys of core go", user("core", "", "k1"), bare, "none < passwd.users[core].sshAuthorizedKeys"},
		{"a core without keys is as none", user("core", ""), bare, ""},
		{"another account", bare, user("admin", "", "k1"), "impossible < passwd.users[admin]"},
		{"another account goes", user("admin", ""), bare, "impossible < passwd.users[admin]"},
		{"kernel arguments", bare, machine.Config{KernelArgs: []string{"quiet"}}, "reboot < kernelArguments"},
		{"kernel arguments in another order", machine.Config{KernelArgs: []string{"a", "b"}}, machine.Config{KernelArgs: []string{"b", "a"}}, "reboot < kernelArguments"},
		{"a kernel argument once more", machine.Config{KernelArgs: []string{"a"}}, machine.Config{KernelArgs: []string{"a", "a"}}, "reboot < kernelArguments"},
		{"another image", machine.Config{OSImage: "q/a@1"}, machine.Config{OSImage: "q/a@2"}, "reboot < osImageURL"},
		{"another kernel", bare, machine.Config{KernelType: "realtime"}, "reboot < kernelType"},
		{"the default kernel by its name", bare, machine.Config{KernelType: "default"}, ""},
		{"another image to install extensions from", machine.Config{ExtensionsImage: "q/x@1"}, machine.Config{ExtensionsImage: "q/x@2"}, "reboot < baseOSExtensionsContainerImage"},
		{"an extension", bare, machine.Config{Extensions: []string{"usbguard"}}, "reboot < extensions"},
		{"fips", bare, machine.Config{FIPS: true}, "impossible < fips"},
		{"a disk", bare, section("storage.disks", `[{"device":"/dev/sdb"}]`), "impossible < storage.disks"},
		{"luks is refused, not ignored", section("storage.luks", `[]`), section("storage.luks", `[{"name":"x"}]`), "impossible < storage.luks"},
		{"how a first boot fetches costs a living node nothing", bare, section("ignition.timeouts", `{"httpTotal":5}`), "none < ignition.timeouts"},
		{"a link goes", section("storage.links", `[{"path":"/a"},{"path":"/b"}]`), section("storage.links", `[{"path":"/b"}]`), "none < storage.links"},
		{"every link goes", section("storage.links", `[{"path":"/a"}]`), bare, "none < storage.links"},
		{"a link comes", bare, section("storage.links", `[{"path":"/a"}]`), "impossible < storage.links"},
		{"a link changes", section("storage.links", `[{"path":"/a","target":"/x"}]`), section("storage.links", `[{"path":"/a","target":"/y"}]`), "impossible < storage.links"},
		{"links that are no JSON", section("storage.links", `[{}]`), section("storage.links", `[`), "impossible < storage.links"},
		{"a reboot swallows the lesser, and all its causes are named", has("/etc/b", "/etc/containers/policy.json"), machine.Config{KernelArgs: []string{"q"}, Files: has("/etc/a").Files}, "reboot < /etc/a\nreboot < /etc/b\nreboot < kernelArguments"},
		{"what is refused comes first, and the rest is told", bare, machine.Config{FIPS: true, Files: has("/etc/containers/policy.json", "/etc/nmstate/openshift/x").Files}, "impossible < fips\nreload crio.service < /etc/containers/policy.json"},
		{"what costs nothing is not told beside what does", bare, has("/etc/nmstate/openshift/x", "/etc/containers/policy.json"), "reload crio.service < /etc/containers/policy.json"},
		{"two causes of one deed are both told", bare, has("/etc/crio/policies/a", "/etc/containers/policy.json"), "reload crio.service < /etc/containers/policy.json\nreload crio.service < /etc/crio/policies/a"},
		{"an owner", has("/etc/a"), machine.Config{Files: []machine.File{{Path: "/etc/a", Mode: 0o644, User: "core", Contents: []byte("of /etc/a")}}}, "reboot < /etc/a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, lines(Diff(tt.old, tt.new, nil))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOwnRules(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		own        []Rule
		want       string
	}{
		{"a default is replaced", "/etc/containers/policy.json", []Rule{{Path: "/etc/containers/policy.json", Actions: does(Restart, "crio.service")}}, "restart crio.service < /etc/containers/policy.json"},
		{"the last of two wins", "/etc/a", []Rule{{Path: "/etc/a", Actions: does(Nothing, "")}, {Path: "/etc/a", Actions: does(Drain, "")}}, "drain < /etc/a"},
		{"the closest path wins, whatever the order", "/etc/a/b/c", []Rule{{Path: "/etc/a/b", Actions: does(Nothing, "")}, {Path: "/etc/a", Actions: does(Drain, "")}}, "none < /etc/a/b/c"},
		{"a slash at the end says nothing", "/etc/a/b", []Rule{{Path: "/etc/a/", Actions: does(Nothing, "")}}, "none < /etc/a/b"},
		{"the root holds everything", "/etc/a", []Rule{{Path: "/", Actions: does(Nothing, "")}}, "none < /etc/a"},
		{"the escape from the registries drain", "/etc/containers/registries.conf", []Rule{{Path: "/etc/containers/registries.conf", Actions: does(Nothing, "")}}, "none < /etc/containers/registries.conf"},
		{"a rule without actions is none", "/etc/a", []Rule{{Path: "/etc/a"}}, "reboot < /etc/a"},
		{"restarts keep the order of their rule", "/etc/a", []Rule{{Path: "/etc/a", Actions: []Action{{Kind: Restart, Unit: "z.service"}, {Kind: Restart, Unit: "a.service"}}}}, "restart z.service < /etc/a\nrestart a.service < /etc/a"},
		{"an action that is written twice is told once", "/etc/a", []Rule{{Path: "/etc/a", Actions: append(does(Drain, ""), does(Drain, "")...)}}, "drain < /etc/a"},
		{"drain, daemon-reload, reload, restart", "/etc/a", []Rule{{Path: "/etc/a", Actions: []Action{{Kind: Restart, Unit: "r.service"}, {Kind: Reload, Unit: "l.service"}, {Kind: Reload}, {Kind: Drain}}}}, "drain < /etc/a\nreload < /etc/a\nreload l.service < /etc/a\nrestart r.service < /etc/a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Diff(machine.Config{}, has(tt.path), append(Defaults(), tt.own...))
			if diff := cmp.Diff(tt.want, lines(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := Diff(machine.Config{}, has("/etc/nmstate/openshift/a"), []Rule{}); Worst(got) != Reboot {
		t.Errorf("no rules at all: %v, want a reboot", got)
	}
}

// randomConfig draws from few names, so that two configs share some of them.
func randomConfig(r *rand.Rand) (c machine.Config) {
	paths := []string{
		"/etc/a", "/etc/b/c", "/etc/containers/policy.json", "/etc/crio/policies/x", "/etc/nmstate/openshift/y",
		"/etc/pki/ca-trust/source/anchors/openshift-config-user-ca-bundle.crt", "/etc/kubernetes/credential-providers/z",
	}
	for _, p := range paths {
		if r.Intn(2) == 0 {
			c.Files = append(c.Files, machine.File{Path: p, Mode: 0o644, Contents: []byte{byte(r.Intn(2))}})
		}
	}
	for _, u := range []string{"iri-registry.service", "a.service"} {
		if r.Intn(3) == 0 {
			c.Units = append(c.Units, machine.Unit{Name: u, Mask: r.Intn(2) == 0, DropIns: []machine.DropIn{{Name: "1.conf"}, {Name: "2.conf"}}})
		}
	}
	if r.Intn(8) == 0 {
		c.FIPS = true
	}
	if r.Intn(4) == 0 {
		c.Users = []machine.User{{Name: "core", SSHKeys: []string{"k"}}}
	}
	return c
}

func shuffled(r *rand.Rand, c machine.Config) machine.Config {
	c.Files, c.Units = slices.Clone(c.Files), slices.Clone(c.Units)
	r.Shuffle(len(c.Files), func(i, j int) { c.Files[i], c.Files[j] = c.Files[j], c.Files[i] })
	r.Shuffle(len(c.Units), func(i, j int) { c.Units[i], c.Units[j] = c.Units[j], c.Units[i] })
	return c
}

func TestDiffLaws(t *testing.T) {
	for seed := range int64(3000) {
		r := rand.New(rand.NewSource(seed))
		a, b := randomConfig(r), randomConfig(r)
		ab := Diff(a, b, nil)
		if got := Diff(a, shuffled(r, a), nil); got != nil {
			t.Fatalf("seed %d: a config against itself: %v, want nil", seed, got)
		}
		if diff := cmp.Diff(ab, Diff(shuffled(r, a), shuffled(r, b), nil)); diff != "" {
			t.Fatalf("seed %d: the order of the input shows: %s", seed, diff)
		}
		if back := Diff(b, a, nil); Worst(back) != Worst(ab) {
			t.Fatalf("seed %d: there %v, back %v", seed, Worst(ab), Worst(back))
		}
		if (a.Digest() != b.Digest()) != (ab != nil) {
			t.Fatalf("seed %d: digests %v and %v, but %v", seed, a.Digest().Short(), b.Digest().Short(), ab)
		}
		for i, x := range ab {
			if i > 0 && (x == ab[i-1] || rank(x) < rank(ab[i-1])) {
				t.Fatalf("seed %d: %v stands behind %v", seed, x, ab[i-1])
			}
			if x.Kind == Nothing && len(ab) > 1 && Worst(ab) > Nothing {
				t.Fatalf("seed %d: %v beside something to do", seed, x)
			}
		}
	}
}

// A path that the table does not name costs a reboot, however much it looks like one that it does.
func FuzzUnknownPath(f *testing.F) {
	for _, r := range Defaults() {
		f.Add(r.Path)
		f.Add(r.Path + "x")
		f.Add(r.Path + "/x")
	}
	f.Fuzz(func(t *testing.T, path string) {
		known := path == forceFile
		for _, r := range Defaults() {
			known = known || r.Path != "" && (path == r.Path || strings.HasPrefix(path, r.Path+"/"))
		}
		got := Diff(machine.Config{}, has(path), nil)
		if !known && Worst(got) != Reboot {
			t.Errorf("%q costs %v, want a reboot", path, got)
		}
		if known && Worst(got) == Reboot {
			t.Errorf("%q costs a reboot, though the table names it", path)
		}
	})
}
