package impact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-gitops/sluice/machine"
)

func TestProfiles(t *testing.T) {
	const kubeadmConf, k3sConf = "/etc/kubernetes/kubelet.conf.d/90-kubeletconfig.conf", "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/90-kubeletconfig.conf"
	const reboots = "reboot < "
	for _, tt := range []struct {
		profile  machine.Profile
		path     string
		contents string
		want     string
	}{
		{machine.Kubeadm, "/etc/containerd/certs.d/quay.io/hosts.toml", "", "none < "},
		{machine.Kubeadm, "/etc/containerd/config.toml", "", reboots},
		{machine.Kubeadm, "/etc/containers/policy.json", "", reboots}, // there is no CRI-O that would read it
		{machine.Kubeadm, "/etc/kubernetes/credential-providers/a.yaml", "", "restart kubelet.service < "},
		{machine.Kubeadm, kubeadmConf, "kind: KubeletConfiguration\nlogging: {verbosity: 4}\n", "restart kubelet.service < "},
		{machine.Kubeadm, kubeadmConf, "kind: KubeletConfiguration\nmaxPods: 100\n", reboots},
		{machine.Kubeadm, "/etc/systemd/system/kubelet.service.d/20-kubeletconfig.conf", "", "reload < \nrestart kubelet.service < "},
		{machine.Kubeadm, "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf", "", reboots},
		{machine.K3s, "/etc/rancher/k3s/registries.yaml", "", "restart k3s.service or k3s-agent.service < "},
		{machine.K3s, "/etc/rancher/k3s/config.yaml", "", reboots},
		{machine.K3s, k3sConf, "logging: {verbosity: 4}\n", "restart k3s.service or k3s-agent.service < "},
		{machine.K3s, k3sConf, "evictionHard: {memory.available: 1Gi}\n", reboots},
		{machine.K3s, kubeadmConf, "logging: {}\n", reboots}, // nobody reads it there
		{machine.OpenShift, "/etc/containers/policy.json", "", "reload crio.service < "},
		{"", "/etc/containers/policy.json", "", "reload crio.service < "},
		{machine.OpenShift, "/etc/rancher/k3s/registries.yaml", "", reboots},
	} {
		t.Run(string(tt.profile)+" "+strings.TrimPrefix(tt.path, "/"), func(t *testing.T) {
			now := machine.Config{Files: []machine.File{{Path: tt.path, Contents: []byte(tt.contents)}}}
			got := lines(Diff(machine.Config{}, now, For(tt.profile)))
			got, _, _ = strings.Cut(strings.ReplaceAll(got, tt.path, ""), ": ")
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	for _, p := range []machine.Profile{machine.Kubeadm, machine.K3s} {
		for _, r := range For(p) {
			for _, a := range r.Actions {
				if strings.Contains(a.Unit, "crio") || strings.Contains(a.Unit, "coreos") {
					t.Errorf("%s: %s asks for %s, which such a node has not", p, r.Path, a.Unit)
				}
			}
		}
		if Worst(Diff(machine.Config{}, machine.Config{Users: []machine.User{{Name: "core", SSHKeys: []string{"k"}}}}, For(p))) != Nothing {
			t.Errorf("%s: ssh keys cost something", p)
		}
	}
}

func TestKubeletConfiguration(t *testing.T) {
	const path = "/etc/kubernetes/kubelet.conf.d/9.conf"
	const head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
	conf := func(body string) (c machine.Config) {
		if body != "" {
			c.Files = []machine.File{{Path: path, Contents: []byte(body)}}
		}
		return c
	}
	const restarts = "restart kubelet.service < " + path
	for _, tt := range []struct{ name, old, new, want string }{
		{"what is read at the start comes", "", head + "eventRecordQPS: 5\n", restarts},
		{"it changes", head + "eventRecordQPS: 5\n", head + "eventRecordQPS: 6\n", restarts},
		{"it goes", head + "eventRecordQPS: 5\n", "", restarts},
		{"the same in other words", head + "eventRecordQPS: 5\n", "{kind: KubeletConfiguration, apiVersion: kubelet.config.k8s.io/v1beta1, eventRecordQPS: 5}", restarts},
		{"how pods are placed", head + "eventRecordQPS: 5\n", head + "eventRecordQPS: 6\ncpuManagerPolicy: static\n", "reboot < " + path + ": a change of cpuManagerPolicy takes more than a restart of the kubelet"},
		{"how many pods there may be goes", head + "maxPods: 500\n", "", "reboot < " + path + ": a change of maxPods takes more than a restart of the kubelet"},
		{"a field that nobody knows", head, head + "newest: 1\n", "reboot < " + path + ": a change of newest takes more than a restart of the kubelet"},
		{"another version of the whole", head, "apiVersion: kubelet.config.k8s.io/v1\nkind: KubeletConfiguration\n", "reboot < " + path + ": a change of apiVersion takes more than a restart of the kubelet"},
		{"what cannot be read", head, "[", "reboot < " + path + ": the new file cannot be read as a KubeletConfiguration"},
		{"what could not be read", "[", head, "reboot < " + path + ": the old file cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, lines(Diff(conf(tt.old), conf(tt.new), For(machine.Kubeadm)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOverReplacesByName(t *testing.T) {
	table := []Rule{{Path: "/a", Mirrors: true, Actions: does(Reload, crio)}, {Path: "/b", Actions: does(Nothing, "")}, {Unit: "/a"}}
	got := Over(table, []Rule{{Path: "/a", Actions: does(Nothing, "")}, {Path: "/b", Own: true}})
	want := []Rule{{Path: "/b", Actions: does(Nothing, "")}, {Unit: "/a"}, {Path: "/a", Actions: does(Nothing, "")}, {Path: "/b", Own: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(table) != 3 || !table[0].Mirrors {
		t.Error("the table that was given has changed")
	}
}

// No rule of a repository lets the file in that makes MCO's agent forget what it knows.
func TestTheForceFileIsRefusedByNoRule(t *testing.T) {
	for _, rules := range [][]Rule{nil, {}, For(machine.K3s), {{Path: forceFile, Actions: does(Nothing, "")}}, {{Path: "/**", Own: true, Actions: does(Nothing, "")}}} {
		if got := Worst(Diff(machine.Config{}, has(forceFile), rules)); got != Impossible {
			t.Errorf("%v with %d rules", got, len(rules))
		}
	}
}

// A node that is half way pays for all that it may be, each deed once and in the order of doing.
func TestDiffFromSeveral(t *testing.T) {
	rules := append(Defaults(), Rule{Path: "/etc/x", Actions: append(anew("x.service"), does(Drain, "")...)})
	target := has("/etc/x", "/etc/containers/policy.json")
	got := lines(DiffAny([]machine.Config{has("/etc/x"), has("/etc/containers/policy.json"), {}}, target, rules))
	want := "drain < /etc/x\nreload < /etc/x\nreload crio.service < /etc/containers/policy.json\nrestart x.service < /etc/x"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := DiffAny(nil, target, rules); got != nil {
		t.Errorf("from nowhere: %v", got)
	}
}

func TestRulesChanged(t *testing.T) {
	own := func(r Rule) []Rule { return Over(Defaults(), []Rule{r}) }
	for _, tt := range []struct {
		name          string
		before, after []Rule
		want          string
	}{
		{"nothing", nil, Defaults(), ""},
		{"a default is replaced", nil, own(Rule{Path: "/etc/containers/registries.conf", Actions: does(Nothing, "")}), "/etc/containers/registries.conf: none (was reload crio.service, drain if pulls could break)"},
		{"a rule comes", nil, own(Rule{Unit: "a.service", Actions: anew("a.service")}), "a.service: daemon-reload, restart a.service (new)"},
		{"a rule goes", own(Rule{Path: "/etc/a", Own: true, Actions: does(Drain, "")}), nil, "/etc/a: no rule of its own any more (was drain)"},
		{"ssh keys", nil, own(Rule{SSHKey: true, Actions: does(Reboot, "")}), "ssh keys: reboot (was none)"},
		{"another order of the same", own(Rule{Path: "/etc/a", Actions: does(Drain, "")}), append([]Rule{{Path: "/etc/a", Actions: does(Drain, "")}}, Defaults()...), ""},
		{"a rule about the contents of a file", Defaults(), append(Defaults(), Rule{Path: "/k", Kubelet: true, Actions: does(Restart, kubelet)}), "/k: restart kubelet.service, reboot if a restart is not enough (new)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(RulesChanged(tt.before, tt.after), "\n"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
