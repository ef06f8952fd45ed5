package impact

import (
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/machine"
)

// Rule says what a change costs. Exactly one of Path, Unit and SSHKey is set. Where two rules fit
// as closely, the later one wins.
type Rule struct {
	Path    string   `json:"path,omitempty"`    // a file, or a directory and all below it; the closest path wins
	Unit    string   `json:"unit,omitempty"`    // the name of a unit; its drop-ins count as the unit
	SSHKey  bool     `json:"sshKey,omitempty"`  // the keys of user core
	Own     bool     `json:"own,omitempty"`     // of the pool's RolloutPolicy: asked before all others, and Path and Unit may be globs
	Mirrors bool     `json:"mirrors,omitempty"` // the file is a registries.conf: its contents say whether a drain comes on top
	Kubelet bool     `json:"kubelet,omitempty"` // the file is a KubeletConfiguration: its contents say whether Actions are enough, or it takes a Reboot
	Actions []Action `json:"actions"`           // Kind and Unit only; none at all is no rule, and costs a Reboot
}

// MostRules is how many rules an order may carry: it is sent to every node of its pool.
const MostRules = 500

const (
	crio    = "crio.service"
	kubelet = "kubelet.service"
	caTrust = "coreos-update-ca-trust.service"
	iri     = "iri-registry.service"
	k3s     = "k3s.service" + or + "k3s-agent.service" // a server has the one, any other node the other
)

// or stands between the units of which a node has one. No unit's name holds a space.
const or = " or "

// Units are the units that an action names. Where they are several, it is about the first that a
// node has.
func Units(unit string) []string { return strings.Split(unit, or) }

// Defaults is the table of OpenShift's nodes, which holds where a repository says nothing: the
// cluster defaults of MCO main, and the rules of our own at its end.
func Defaults() []Rule {
	return []Rule{
		{Path: "/var/lib/kubelet/config.json", Actions: does(Nothing, "")},
		{Path: "/etc/machine-config-daemon/no-reboot/containers-gpg.pub", Actions: does(Reload, crio)},
		{Path: "/etc/containers/policy.json", Actions: does(Reload, crio)},
		{Path: "/etc/containers/registries.conf", Mirrors: true, Actions: does(Reload, crio)},
		{Path: "/etc/containers/registries.d", Actions: does(Reload, crio)},
		{Path: "/etc/crio/policies", Actions: does(Reload, crio)},
		{Path: "/etc/nmstate/openshift", Actions: does(Nothing, "")},
		{
			Path:    "/etc/pki/ca-trust/source/anchors/openshift-config-user-ca-bundle.crt",
			Actions: append(does(Restart, caTrust), does(Restart, crio)...),
		},
		{Path: "/etc/kubernetes/credential-providers", Actions: does(Restart, kubelet)},
		{
			Path:    "/etc/systemd/system/kubelet.service.d/40-kubelet-crio-image-credential-provider.conf",
			Actions: anew(kubelet),
		},
		{Path: "/etc/iri-registry", Actions: does(Restart, iri)},
		{Path: "/usr/local/bin/load-registry-image.sh", Actions: does(Restart, iri)},
		{Path: "/etc/pki/ca-trust/source/anchors/iri-root-ca.crt", Actions: does(Restart, caTrust)},
		{Unit: iri, Actions: anew(iri)},
		{SSHKey: true, Actions: does(Nothing, "")},

		// MCO 4.11 had this rule. Its main dropped it only because the file left the config; where
		// the file is still in a config, a certificate must not reboot a fleet.
		{Path: "/etc/kubernetes/kubelet-ca.crt", Actions: does(Nothing, "")},
		{Path: certsD, Actions: does(Nothing, "")},
	}
}

// certsD is read anew by containerd at every pull.
const certsD = "/etc/containerd/certs.d"

// For is the table of the nodes of a profile. Nodes that are not OpenShift's have neither CRI-O nor
// its services, so only what is surely enough there costs less than a reboot: containerd's own
// configuration is not among it, since it may name another snapshotter or cgroup driver.
func For(p machine.Profile) []Rule {
	both := []Rule{
		{Path: "/var/lib/kubelet/config.json", Actions: does(Nothing, "")}, // the kubelet looks at it every few minutes
		{Path: certsD, Actions: does(Nothing, "")},
		{SSHKey: true, Actions: does(Nothing, "")},
	}
	switch p {
	case machine.Kubeadm:
		return append(both,
			Rule{Path: "/etc/kubernetes/kubelet.conf.d", Kubelet: true, Actions: does(Restart, kubelet)},
			Rule{Path: "/etc/systemd/system/kubelet.service.d/20-kubeletconfig.conf", Actions: anew(kubelet)}, // only says that the folder above is read
			Rule{Path: "/etc/kubernetes/credential-providers", Actions: does(Restart, kubelet)})
	case machine.K3s: // containers go on running while k3s restarts
		return append(both,
			Rule{Path: "/etc/rancher/k3s/registries.yaml", Actions: does(Restart, k3s)},
			Rule{Path: "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d", Kubelet: true, Actions: does(Restart, k3s)})
	}
	return Defaults()
}

func does(k Kind, unit string) []Action { return []Action{{Kind: k, Unit: unit}} }

// anew has systemd read a unit anew, and restarts it.
func anew(unit string) []Action { return append(does(Reload, ""), does(Restart, unit)...) }

// Over is a table with rules of one's own, each in the place of what has its very path or unit, as
// MCO main merges. Rules that are Own take no other's place.
func Over(table, own []Rule) []Rule {
	out := slices.DeleteFunc(slices.Clone(table), func(r Rule) bool {
		return slices.ContainsFunc(own, func(o Rule) bool { return same(r, o) })
	})
	return append(out, own...)
}

// same says that two rules are about one thing.
func same(a, b Rule) bool {
	return a.Path == b.Path && a.Unit == b.Unit && a.SSHKey == b.SSHKey && a.Own == b.Own
}
