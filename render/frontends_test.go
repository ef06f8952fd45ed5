package render_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/render"
)

const (
	edgePool = "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: edge}\n"
	kubelets = "apiVersion: machineconfiguration.openshift.io/v1\nkind: KubeletConfig\nmetadata: {name: k}\nspec: {kubeletConfig: {maxPods: 30}}\n"
	mirrors  = "apiVersion: config.openshift.io/v1\nkind: ImageDigestMirrorSet\nmetadata: {name: some}\nspec: {imageDigestMirrors: [{source: quay.io, mirrors: [m.io]}]}\n"
	another  = "apiVersion: config.openshift.io/v1\nkind: ImageDigestMirrorSet\nmetadata: {name: other}\nspec: {imageDigestMirrors: [{source: ghcr.io, mirrors: [m.io]}]}\n"
)

func edge(t *testing.T, o render.Options, docs ...string) machine.Config {
	t.Helper()
	var b render.Build
	for _, d := range append(docs, edgePool) {
		b.Documents = append(b.Documents, render.Document{File: "all.yaml", Body: []byte(d)})
	}
	result, err := o.Pools([]render.Build{b})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Pools) != 1 {
		t.Fatalf("%d pools", len(result.Pools))
	}
	return result.Pools[0].Config
}

// The same objects write other files on other kinds of node.
func TestProfiles(t *testing.T) {
	for profile, want := range map[machine.Profile]string{
		"":                "/etc/containers/registries.conf /etc/kubernetes/kubelet.conf",
		machine.OpenShift: "/etc/containers/registries.conf /etc/kubernetes/kubelet.conf",
		machine.Kubeadm:   "/etc/containerd/certs.d/quay.io/hosts.toml /etc/kubernetes/kubelet.conf.d/90-kubeletconfig.conf /etc/systemd/system/kubelet.service.d/20-kubeletconfig.conf",
		machine.K3s:       "/etc/rancher/k3s/registries.yaml /var/lib/rancher/k3s/agent/etc/kubelet.conf.d/90-kubeletconfig.conf",
	} {
		var paths []string
		for _, f := range edge(t, render.Options{Profile: profile}, kubelets, mirrors).Files {
			paths = append(paths, f.Path)
		}
		if got := strings.Join(paths, " "); got != want {
			t.Errorf("profile %q: %s, want %s", profile, got, want)
		}
	}
}

// The order in which documents are read does not show.
func TestGeneratedConfigsAreDeterministic(t *testing.T) {
	docs := []string{kubelets, mirrors, another}
	want := edge(t, render.Options{}, docs...).Digest()
	for range 10 {
		slices.Reverse(docs)
		docs = append(docs[1:], docs[0])
		if got := edge(t, render.Options{}, docs...).Digest(); got != want {
			t.Fatalf("%s, want %s", got.Short(), want.Short())
		}
	}
}

// A mirror for digests reaches the nodes of a fleet without a drain.
func TestNewMirrorDoesNotDrain(t *testing.T) {
	for _, profile := range []machine.Profile{machine.OpenShift, machine.Kubeadm} {
		o := render.Options{Profile: profile}
		actions := impact.Diff(edge(t, o, mirrors), edge(t, o, mirrors, another), nil)
		if worst := impact.Worst(actions); len(actions) == 0 || worst > impact.Reload {
			t.Errorf("%s: %v", profile, actions)
		}
	}
}
