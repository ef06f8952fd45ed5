package impact

import "strings"

// Rule says what a change costs. Exactly one of Path, Unit and SSHKey is set. Later rules win
// over earlier ones with the same match, so append(Defaults(), own...) is how a repository
// replaces a default.
type Rule struct {
	Path    string   `json:"path,omitempty"`    // a file, or a directory and all below it; the closest path wins
	Unit    string   `json:"unit,omitempty"`    // the exact name of a unit; its drop-ins count as the unit
	SSHKey  bool     `json:"sshKey,omitempty"`  // the keys and the password of user core
	Mirrors bool     `json:"mirrors,omitempty"` // the file is a registries.conf: its contents say whether a drain comes on top
	Actions []Action `json:"actions"`           // Kind and Unit only; none at all is no rule, and costs a Reboot
}

const (
	crio    = "crio.service"
	kubelet = "kubelet.service"
	caTrust = "coreos-update-ca-trust.service"
	iri     = "iri-registry.service"
)

// Defaults is the table that holds where a repository says nothing: the cluster defaults of
// MCO main, and the rules of our own at its end.
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
			Actions: append(does(Reload, ""), does(Restart, kubelet)...),
		},
		{Path: "/etc/iri-registry", Actions: does(Restart, iri)},
		{Path: "/usr/local/bin/load-registry-image.sh", Actions: does(Restart, iri)},
		{Path: "/etc/pki/ca-trust/source/anchors/iri-root-ca.crt", Actions: does(Restart, caTrust)},
		{Unit: iri, Actions: append(does(Reload, ""), does(Restart, iri)...)},
		{SSHKey: true, Actions: does(Nothing, "")},

		// MCO 4.11 had this rule. Its main dropped it only because the file left the config; where
		// the file is still in a config, a certificate must not reboot a fleet.
		{Path: "/etc/kubernetes/kubelet-ca.crt", Actions: does(Nothing, "")},
		// containerd reads it anew at every pull.
		{Path: "/etc/containerd/certs.d", Actions: does(Nothing, "")},
		// It orders MCO's agent to ignore what it knows. MCO main refuses it in a config.
		{Path: "/run/machine-config-daemon-force", Actions: does(Impossible, "")},
	}
}

func does(k Kind, unit string) []Action { return []Action{{Kind: k, Unit: unit}} }

// forPath finds the rule of a file: an exact path or the closest parent directory, as MCO main
// does. The zero Rule stands for none.
func forPath(rules []Rule, path string) (closest Rule) {
	length := -1
	for _, r := range rules {
		own := strings.TrimRight(r.Path, "/")
		within := path == own || strings.HasPrefix(path, own+"/")
		if r.Path != "" && within && len(own) >= length {
			closest, length = r, len(own)
		}
	}
	return closest
}

func forUnit(rules []Rule, name string) (last Rule) {
	for _, r := range rules {
		if r.Unit != "" && r.Unit == name {
			last = r
		}
	}
	return last
}

func forSSHKey(rules []Rule) (last Rule) {
	for _, r := range rules {
		if r.SSHKey {
			last = r
		}
	}
	return last
}
