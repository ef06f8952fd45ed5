package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/kube"
	"github.com/sluice-gitops/sluice/test/cluster"
)

// earlier is the chart as an earlier version had it: another version, and kinds with less in them.
func earlier(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	change := func(file string, change func(string) string) {
		path := filepath.Join(dir, file)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(change(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	change("Chart.yaml", func(s string) string {
		return regexp.MustCompile(`(?m)^(version|appVersion): .*$`).ReplaceAllString(s, "$1: 0.0.9")
	})
	change("crds/sluice.dev_pools.yaml", func(s string) string {
		var crd map[string]any
		if err := yaml.Unmarshal([]byte(s), &crd); err != nil {
			t.Fatal(err)
		}
		delete(crd["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any), "additionalPrinterColumns")
		out, err := yaml.Marshal(crd)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	})
	return dir
}

// lasting is what no change of the installation may touch, each with how it is read.
var lasting = map[string][]string{
	"the kinds":          {"crd", "-o", "custom-columns=N:.metadata.name,U:.metadata.uid"},
	"the Fleet":          {"fleet", "default", "-o", "jsonpath={.metadata.uid} {.spec.holds} {.spec.source.url}"},
	"the orders":         {"nodeconfigs", "-o", "custom-columns=N:.metadata.name,U:.metadata.uid,S:.spec"},
	"the cordon":         {"node", "n1", "-o", "jsonpath={.spec.unschedulable} {.metadata.annotations}"},
	"what is remembered": {"secret", "default-state", "-n", space, "-o", "jsonpath={.metadata.uid} {.data}"},
}

// photograph is how they stand.
func photograph(t *testing.T, p *cluster.Plane) map[string]string {
	t.Helper()
	out := map[string]string{}
	for what, args := range lasting {
		out[what] = p.Kubectl(t, append([]string{"get"}, args...)...)
	}
	return out
}

func unchanged(t *testing.T, when string, before, after map[string]string) {
	t.Helper()
	for what, was := range before {
		if after[what] != was {
			t.Errorf("%s: %s was\n%s\nand is\n%s", when, what, was, after[what])
		}
	}
}

// TestUpgradeAndUninstall takes a fleet in the middle of a rollout through the life of an installation.
func TestUpgradeAndUninstall(t *testing.T) {
	var plane cluster.Plane
	defer plane.Stop()
	config := admin(t, plane.Kubeconfig(t))
	plane.Nodes(t, "n", 2)
	on := func(args ...string) string {
		return helm(t, append(args, "--namespace", space, "--kubeconfig", plane.Kubeconfig(t))...)
	}
	notes := on("install", release, earlier(t), "--create-namespace", "--set", made)
	if !strings.Contains(notes, "kubectl label namespace "+space+" pod-security.kubernetes.io/enforce=privileged") {
		t.Errorf("of a namespace that may not admit agents it says:\n%s", notes)
	}
	enforced(t, config)
	if got := plane.Kubectl(t, "get", "crd", "pools.sluice.dev", "-o", "jsonpath={.spec.versions[0].additionalPrinterColumns}"); strings.Contains(got, "waitingOn") {
		t.Fatalf("the earlier version is none: %s", got)
	}
	midway(t, &plane)
	before := photograph(t, &plane)
	workloads := []string{"get", "deployment,daemonset", "-n", space, "-o", "custom-columns=N:.metadata.name,U:.metadata.uid"}
	running := plane.Kubectl(t, workloads...)

	on("upgrade", release, folder, "--set", made+",fleet.spec.source.branch=live")
	unchanged(t, "after the upgrade", before, photograph(t, &plane))
	if got := plane.Kubectl(t, "get", "crd", "pools.sluice.dev", "-o", "jsonpath={.spec.versions[0].additionalPrinterColumns}"); !strings.Contains(got, "waitingOn") {
		t.Errorf("the kinds were not upgraded: %s", got)
	}
	if got := plane.Kubectl(t, "get", "fleet", "default", "-o", "jsonpath={.spec.source.branch}"); got != "live" {
		t.Errorf("the Fleet follows %q", got)
	}
	if got := plane.Kubectl(t, workloads...); got != running {
		t.Errorf("the workloads were made anew:\n%s\n%s", running, got)
	}
	await(t, "all pods are of the new version", func() bool {
		images := plane.Kubectl(t, "get", "pods", "-n", space, "-o", "jsonpath={.items[*].spec.containers[*].image}")
		return len(strings.Fields(images)) == 4 && !strings.Contains(images, "0.0.9")
	})

	path, newer := homes+"/n1?dryRun=All", strings.Replace(order, "7", "8", 1)
	if err := as(t, config).write("PATCH", path, newer); err == nil {
		t.Error("the administrator gives orders before he has broken the glass")
	}
	on("upgrade", release, folder, "--set", made+",admission.breakGlassGroups={system:masters}")
	await(t, "the glass is broken", func() bool { return as(t, config).write("PATCH", path, newer) == nil })
	unchanged(t, "after another", before, photograph(t, &plane))

	on("uninstall", release, "--wait")
	unchanged(t, "after it was uninstalled", before, photograph(t, &plane))
	if got := plane.Kubectl(t, "get", "deployment,daemonset,role,serviceaccount,service,networkpolicy", "-n", space, "-o", "name"); got != "serviceaccount/default\n" {
		t.Errorf("it leaves %s", got)
	}
	if got := plane.Kubectl(t, "get", "clusterrole,clusterrolebinding,validatingadmissionpolicy", "-l", "app.kubernetes.io/name=sluice", "-o", "name"); got != "" {
		t.Errorf("it leaves %s", got)
	}
	notes = on("install", release, folder, "--set", "fleet.create=true,fleet.spec.source.url=https://git.example.com/other")
	if !strings.Contains(notes, "Fleet default was there before, and follows another repository") {
		t.Errorf("of a Fleet that was left it says:\n%s", notes)
	}
	unchanged(t, "after it was installed again", before, photograph(t, &plane))
	restoresKinds(t, &plane, on)
}

// restoresKinds deletes the kinds, and with them the Fleet, and does what the controller then says.
func restoresKinds(t *testing.T, plane *cluster.Plane, on func(args ...string) string) {
	t.Helper()
	plane.Kubectl(t, "delete", "crd", "fleets.sluice.dev", "pools.sluice.dev", "nodeconfigs.sluice.dev", "rolloutpolicies.sluice.dev")
	out, err := try(t, "upgrade", release, folder, "--set", made, "--namespace", space, "--kubeconfig", plane.Kubeconfig(t))
	if err == nil || !strings.Contains(out, "ensure CRDs are installed first") {
		t.Errorf("without the kinds an upgrade says %v:\n%s", err, out)
	}
	plane.Kubectl(t, "apply", "--server-side", "-f", filepath.Join(folder, "crds"))
	plane.Kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	on("upgrade", release, folder, "--set", made)
	if got := plane.Kubectl(t, "get", "fleet", "default", "-o", "name"); got != "fleet.sluice.dev/default\n" {
		t.Errorf("the Fleet is %q", got)
	}
}

// midway leaves what a controller has done in the middle of a rollout, and an operator's hold.
func midway(t *testing.T, plane *cluster.Plane) {
	t.Helper()
	config := admin(t, plane.Kubeconfig(t))
	client, err := kube.Connect(bearer(t, config, "sluice-controller", nil).config)
	if err != nil {
		t.Fatal(err)
	}
	fleet := &kube.Fleet{Client: client, Name: "default", Enroll: true}
	defer fleet.Close()
	if _, err := fleet.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Drain(t.Context(), reconciler.Drain{Node: "n1"}); err != nil {
		t.Fatal(err)
	}
	store := &kube.Store{Client: client, Namespace: space, Fleet: "default"}
	if err := store.Save(t.Context(), reconciler.State{}); err != nil {
		t.Fatal(err)
	}
	var home map[string]any
	if err := json.Unmarshal([]byte(plane.Kubectl(t, "get", "nodeconfig", "n1", "-o", "json")), &home); err != nil {
		t.Fatal(err)
	}
	spec := map[string]any{}
	if err := json.Unmarshal([]byte(order), &spec); err != nil {
		t.Fatal(err)
	}
	home["spec"] = spec["spec"]
	body, err := json.Marshal(home)
	if err != nil {
		t.Fatal(err)
	}
	if err := bearer(t, config, "sluice-controller", nil).write("PUT", homes+"/n1", string(body)); err != nil {
		t.Fatal(err)
	}
	plane.Kubectl(t, "patch", "fleet", "default", "--type=merge", "-p", `{"spec": {"holds": [{"reason": "a bad night", "by": "olga"}]}}`)
}
