package chart

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/reconciler/kube"
)

const (
	homes  = "/apis/sluice.dev/v1alpha1/nodeconfigs"
	fleets = "/apis/sluice.dev/v1alpha1/fleets"
	rbac   = "is forbidden: User" // no right to it
	order  = `{"spec": {"generation": 7, "config": "` + "0000000000000000000000000000000000000000000000000000000000000000" + `", "ceiling": "reboot"}}`
	said   = `{"status": {"generation": 7, "phase": "done"}}`
)

// manned are two nodes with their agents' pods, and NodeConfigs that the controller's account made.
// It answers with the pod of the first.
func manned(t *testing.T, config *rest.Config) *corev1.Pod {
	t.Helper()
	plane.Nodes(t, "n", 2)
	enroll(t, config)
	var pod *corev1.Pod
	await(t, "node n1 has its agent", func() bool {
		pods, err := clientOf(t, config).CoreV1().Pods(space).List(t.Context(), metav1.ListOptions{
			LabelSelector: "app.kubernetes.io/component=agent", FieldSelector: "spec.nodeName=n1",
		})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil })
		if i < 0 {
			return false
		}
		pod = &pods.Items[i]
		return true
	})
	return pod
}

// reports writes the status of a node as its agent does; and what an agent may not, in the same request.
func reports(what, no, node string) deed {
	return deed{what, func(a account) error {
		have, err := a.core.CoreV1().RESTClient().Get().RequestURI(homes + "/" + node).DoRaw(a.ctx)
		if err != nil {
			return err
		}
		var home map[string]any
		if err := json.Unmarshal(have, &home); err != nil {
			return err
		}
		home["status"] = map[string]any{"phase": "done"}
		home["spec"] = map[string]any{"generation": 9, "ceiling": "reboot", "config": strings.Repeat("0", 64)}
		meta := home["metadata"].(map[string]any)
		meta["labels"], meta["finalizers"] = map[string]any{"x": "y"}, []string{"x.example.com/y"}
		delete(meta, "ownerReferences")
		body, err := json.Marshal(home)
		if err != nil {
			return err
		}
		return a.write("PUT", homes+"/"+node+"/status", string(body))
	}, no}
}

// TestAgentsToken is what somebody can do who has taken over a node and holds its agent's token.
func TestAgentsToken(t *testing.T) {
	config := installed(t)
	pod := manned(t, config)
	plane.Apply(t, `{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "treasure", "namespace": "`+space+`"}}`)
	pods := "/api/v1/namespaces/" + space + "/pods/" + pod.Name
	agent := bearer(t, config, "sluice-agent", pod)
	table(t, "the agent of node n1", agent, []deed{
		reads("read its own order", "", homes+"/n1"),
		reads("watch its own order", "", homes+"?fieldSelector=metadata.name%3Dn1&watch=true&timeoutSeconds=1"),
		reports("report of its own node, and write all else with it", "", "n1"), // the server drops that, see below
		reports("report of another node", "an agent says how its own node is", "n2"),
		writes("apply a report of another node by force", rbac, "APPLY", homes+"/n2/status?dryRun=All", nodeConfig("n2", `, "status": {"phase": "done"}`)),
		writes("scale something", rbac, "PATCH", homes+"/n1/scale", `{"spec": {"replicas": 0}}`),
		writes("give itself an order", rbac, "PATCH", homes+"/n1", order),
		writes("label its NodeConfig", rbac, "PATCH", homes+"/n1", `{"metadata": {"labels": {"x": "y"}}}`),
		writes("keep its NodeConfig by a finalizer", rbac, "PATCH", homes+"/n1", `{"metadata": {"finalizers": ["x.example.com/y"]}}`),
		writes("take its NodeConfig from its node", rbac, "PATCH", homes+"/n1", `{"metadata": {"ownerReferences": []}}`),
		writes("make a NodeConfig", rbac, "POST", homes, nodeConfig("n3", "")),
		writes("delete its NodeConfig", rbac, "DELETE", homes+"/n1", ""),
		writes("delete all NodeConfigs", rbac, "DELETE", homes, ""),
		writes("hold the fleet", rbac, "PATCH", fleets+"/default", `{"spec": {"holds": []}}`),
		writes("send the fleet elsewhere", rbac, "PATCH", fleets+"/default", `{"spec": {"source": {"url": "https://evil.example.com"}}}`),
		writes("write how a pool stands", rbac, "PATCH", "/apis/sluice.dev/v1alpha1/pools/worker/status", `{"status": {"phase": "Updated"}}`),
		reads("read the fleet", rbac, fleets+"/default"),
		reads("read a Secret", rbac, "/api/v1/namespaces/"+space+"/secrets/treasure"),
		reads("list Secrets", rbac, "/api/v1/namespaces/"+space+"/secrets"),
		reads("list Secrets of another namespace", rbac, "/api/v1/namespaces/kube-system/secrets"),
		writes("make a Secret", rbac, "POST", "/api/v1/namespaces/"+space+"/secrets", `{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}`),
		writes("replace the CA of contents", rbac, "PATCH", "/api/v1/namespaces/"+space+"/configmaps/sluice-content-ca", `{"data": {"ca.crt": ""}}`),
		writes("make the CA of contents", rbac, "POST", "/api/v1/namespaces/"+space+"/configmaps", `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sluice-content-ca"}}`),
		writes("take the lease", rbac, "PATCH", "/apis/coordination.k8s.io/v1/namespaces/"+space+"/leases/sluice-default", `{"spec": {"holderIdentity": "x"}}`),
		reads("read nodes", rbac, "/api/v1/nodes"),
		writes("cordon another node", rbac, "PATCH", "/api/v1/nodes/n2", `{"spec": {"unschedulable": true}}`),
		writes("uncordon its own node", rbac, "PATCH", "/api/v1/nodes/n1", `{"spec": {"unschedulable": false}}`),
		writes("label its node into another pool", rbac, "PATCH", "/api/v1/nodes/n1", `{"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}`),
		writes("say that its node is ready", rbac, "PATCH", "/api/v1/nodes/n1/status", `{"status": {}}`),
		reads("list pods", rbac, "/api/v1/pods"),
		writes("evict a pod", rbac, "POST", pods+"/eviction", `{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "`+pod.Name+`"}}`),
		writes("delete a pod", rbac, "DELETE", pods, ""),
		writes("run a pod", rbac, "POST", "/api/v1/namespaces/"+space+"/pods", `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [{"name": "x", "image": "x"}]}}`),
		writes("change its own DaemonSet", rbac, "PATCH", "/apis/apps/v1/namespaces/"+space+"/daemonsets/sluice-agent", `{"spec": {"minReadySeconds": 0}}`),
		writes("ask whose a token is", rbac, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", `{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "x"}}`),
		writes("get a token of the controller", rbac, "POST", "/api/v1/namespaces/"+space+"/serviceaccounts/sluice-controller/token", `{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}`),
		{"be the controller", func(a account) error {
			return a.pretending(t, "system:serviceaccount:"+space+":sluice-controller").read(homes)
		}, rbac},
		{"be the administrator", func(a account) error { return a.pretending(t, "x", "system:masters").read(homes) }, rbac},
		writes("give itself rights", rbac, "PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterroles/sluice-agent", `{"rules": []}`),
		writes("switch a policy off", rbac, "DELETE", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/sluice-reports", ""),
		writes("write an event", rbac, "POST", "/apis/events.k8s.io/v1/namespaces/default/events", `{"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "x"}}`),
	})
	home := plane.Kubectl(t, "get", "nodeconfig", "n1", "-o", "yaml")
	for _, lost := range []string{"x: y", "finalizers:", "ceiling:"} {
		if strings.Contains(home, lost) {
			t.Errorf("through the status the agent has written %q:\n%s", lost, home)
		}
	}
	if !strings.Contains(home, "phase: done") || !strings.Contains(home, "ownerReferences:") {
		t.Errorf("the report is not there, or the owner is not any more:\n%s", home)
	}
	table(t, "a token of that account that is of no pod", bearer(t, config, "sluice-agent", nil), []deed{
		reads("read an order", "", homes+"/n1"),
		reports("report of a node", "an agent says how its own node is", "n1"),
	})
	t.Run("whoever deletes the node deletes its NodeConfig", func(t *testing.T) {
		plane.Apply(t, `{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gone"}}`)
		enroll(t, config)
		plane.Kubectl(t, "delete", "node", "gone")
		await(t, "the garbage collector has taken it", func() bool { return as(t, config).read(homes+"/gone") != nil })
	})
}

// enroll gives every node its NodeConfig, as the controller does.
func enroll(t *testing.T, config *rest.Config) {
	t.Helper()
	client, err := kube.Connect(bearer(t, config, "sluice-controller", nil).config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&kube.Fleet{Client: client, Name: "default", Enroll: true}).Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestControllersToken is what the controller's account cannot, beyond what it must.
func TestControllersToken(t *testing.T) {
	config := installed(t)
	manned(t, config)
	secrets := "/api/v1/namespaces/kube-system/secrets"
	table(t, "the controller", bearer(t, config, "sluice-controller", nil), []deed{
		reads("read the fleet", "", fleets+"/default"),
		writes("give an order", "", "PUT", homes+"/n1?dryRun=All", ordered(t)),
		writes("report in a node's place", rbac, "PATCH", homes+"/n1/status", said),
		writes("take a hold away", rbac, "PATCH", fleets+"/default", `{"spec": {"holds": []}}`),
		writes("relax the guardrail", rbac, "PATCH", fleets+"/default", `{"spec": {"guardrail": null}}`),
		writes("delete the fleet", rbac, "DELETE", fleets+"/default", ""),
		reads("read Secrets of another namespace", rbac, secrets),
		writes("write Secrets of another namespace", rbac, "POST", secrets, `{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}`),
		writes("delete a node", rbac, "DELETE", "/api/v1/nodes/n1", ""),
		writes("say that a node is ready", rbac, "PATCH", "/api/v1/nodes/n1/status", `{"status": {}}`),
		writes("run a pod", rbac, "POST", "/api/v1/namespaces/"+space+"/pods", `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [{"name": "x", "image": "x"}]}}`),
		writes("change the agents' DaemonSet", rbac, "PATCH", "/apis/apps/v1/namespaces/"+space+"/daemonsets/sluice-agent", `{"spec": {"minReadySeconds": 0}}`),
		writes("relax a budget", rbac, "DELETE", "/apis/policy/v1/namespaces/"+space+"/poddisruptionbudgets/sluice-controller", ""),
		writes("get a token of an agent", rbac, "POST", "/api/v1/namespaces/"+space+"/serviceaccounts/sluice-agent/token", `{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}`),
		{"be the administrator", func(a account) error { return a.pretending(t, "x", "system:masters").read(homes) }, rbac},
		writes("change its own kinds", rbac, "DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/fleets.sluice.dev", ""),
		writes("switch a policy off", rbac, "DELETE", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/sluice-orders", ""),
		writes("give itself rights", rbac, "PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterroles/sluice-controller", `{"rules": []}`),
	})
}

// ordered is n1's NodeConfig with an order, at the version that stands there.
func ordered(t *testing.T) string {
	t.Helper()
	meta := plane.Kubectl(t, "get", "nodeconfig", "n1", "-o", "jsonpath={.metadata}")
	return fmt.Sprintf(`{"apiVersion": "sluice.dev/v1alpha1", "kind": "NodeConfig", "metadata": %s, %s`, meta, order[1:])
}

// TestNobodyElseGivesOrders is an administrator who means well.
func TestNobodyElseGivesOrders(t *testing.T) {
	config := installed(t)
	manned(t, config)
	table(t, "the administrator", as(t, config), []deed{
		writes("give an order", "only the controller of Sluice gives orders", "PATCH", homes+"/n1", order),
		writes("give a node's order to another machine", "which node a NodeConfig belongs to", "PATCH", homes+"/n1", `{"metadata": {"ownerReferences": []}}`),
		writes("make a NodeConfig", "only the controller of Sluice makes", "POST", homes, nodeConfig("n3", "")),
		writes("delete a NodeConfig", "only the controller of Sluice deletes", "DELETE", homes+"/n1", ""),
		writes("report in a node's place", "only the agent of a node says", "PATCH", homes+"/n1/status", said),
		writes("label a NodeConfig", "", "PATCH", homes+"/n1", `{"metadata": {"labels": {"example.com/x": "y"}}}`),
	})
}

// held is a Fleet with what stops a rollout.
func held(name, spec string) string {
	return `{"apiVersion": "sluice.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "` + name + `"},
		"spec": {"source": {"url": "https://git.example.com/x"}` + spec + `}}`
}

// TestHoldsAndGuardrailsTakeARightOfTheirOwn has people with less and less.
func TestHoldsAndGuardrailsTakeARightOfTheirOwn(t *testing.T) {
	config := installed(t)
	plane.Apply(t, held("strict", `, "guardrail": {"soak": "1h"}, "trustedKeys": "olga ssh-ed25519 AAAA", "holds": [{"reason": "r", "by": "b"}]`))
	for user, role := range map[string]string{"editor": "editor", "olga": "sluice-operator", "gustav": "sluice-guardian", "vera": "sluice-view"} {
		plane.Apply(t, `{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "test-`+user+`"},
			"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "`+role+`"},
			"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "`+user+`"}]}`)
	}
	plane.Apply(t, `{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "editor"},
		"rules": [{"apiGroups": ["sluice.dev"], "resources": ["fleets"], "verbs": ["get", "create", "update", "patch", "delete", "deletecollection"]},
			{"apiGroups": ["sluice.dev"], "resources": ["fleets/status"], "verbs": ["patch"]}]}`)
	deeds := func(hold, guard, other, create string) []deed {
		path, dry := fleets+"/strict", "?dryRun=All"
		return []deed{
			reads("look at the fleet", "", path),
			writes("follow another branch", other, "PATCH", path+dry, `{"spec": {"source": {"branch": "live"}}}`),
			writes("hold", hold, "PATCH", path+dry, `{"spec": {"holds": [{"reason": "r", "by": "b"}, {"reason": "s", "by": "b"}]}}`),
			writes("change a hold", hold, "PATCH", path+dry, `{"spec": {"holds": [{"reason": "r", "by": "b", "until": "2020-01-01T00:00:00Z"}]}}`),
			writes("release", hold, "PATCH", path+dry, `{"spec": {"holds": null}}`),
			writes("follow a rewritten branch", hold, "PATCH", path+dry, `{"spec": {"rewind": "`+strings.Repeat("a", 40)+`"}}`),
			writes("relax the guardrail", guard, "PATCH", path+dry, `{"spec": {"guardrail": {"soak": "1m"}}}`),
			writes("take the guardrail away", guard, "PATCH", path+dry, `{"spec": {"guardrail": null}}`),
			writes("take one rule out of it", guard, "JSONPATCH", path+dry, `[{"op": "remove", "path": "/spec/guardrail/soak"}]`),
			writes("put another spec in its place", guard, "JSONPATCH", path+dry, `[{"op": "replace", "path": "/spec", "value": {"source": {"url": "https://git.example.com/x"}}}]`),
			writes("apply another by force", guard, "APPLY", path+dry, held("strict", `, "guardrail": {"soak": "1m"}`)),
			writes("trust a key of their own", guard, "PATCH", path+dry, `{"spec": {"trustedKeys": "eve ssh-ed25519 AAAA"}}`),
			writes("ask a forge of their own for approvals", guard, "PATCH", path+dry, `{"spec": {"github": {"repository": "e/v", "url": "https://eve.example.com/api/v3"}}}`),
			writes("ask a Prometheus of their own for alerts", guard, "PATCH", path+dry, `{"spec": {"prometheus": "https://eve.example.com"}}`),
			writes("let gates knock anywhere else", guard, "PATCH", path+dry, `{"spec": {"probeHosts": ["eve.example.com"]}}`),
			writes("delete a fleet with what it holds", guard, "DELETE", path+dry, ""),
			writes("make a fleet", create, "POST", fleets+dry, held("new", "")),
			writes("make a fleet with a guardrail", guard, "POST", fleets+dry, held("new", `, "guardrail": {"soak": "1h"}`)),
		}
	}
	hold, guard := `takes the verb "hold" on fleets.sluice.dev`, `fleets.sluice.dev`
	await(t, "the rights are known, and the policy is enforced", func() bool {
		err := anybody(t, config, "editor").write("DELETE", fleets+"/strict?dryRun=All", "")
		return err != nil && strings.Contains(err.Error(), hold) && anybody(t, config, "gustav").write("DELETE", fleets+"/strict?dryRun=All", "") == nil
	})
	table(t, "somebody with a role of their own: all of fleets, but neither verb", anybody(t, config, "editor"), append(deeds(hold, guard, "", ""),
		writes("delete all fleets at once", "denied request", "DELETE", fleets+"?fieldSelector=metadata.name%3Dstrict", ""),                 // what goes is not shown to the policy: nobody may
		writes("write the spec by way of the status", "", "PATCH", fleets+"/strict/status", `{"spec": {"guardrail": null, "holds": null}}`), // the server drops that
	))
	if spec := plane.Kubectl(t, "get", "fleet", "strict", "-o", "jsonpath={.spec}"); !strings.Contains(spec, "1h") || !strings.Contains(spec, "holds") {
		t.Errorf("after all that the fleet asks %s", spec)
	}
	table(t, "sluice-operator", anybody(t, config, "olga"), deeds("", guard, "", rbac))
	table(t, "sluice-guardian", anybody(t, config, "gustav"), deeds("", "", "", ""))
	table(t, "sluice-view", anybody(t, config, "vera"), deeds(rbac, rbac, rbac, rbac))
}

// listed are the lines of kubectl auth can-i --list; what every account has is left out.
func listed(t *testing.T, account, namespace string) string {
	t.Helper()
	list := func(as ...string) []string {
		lines := strings.Split(plane.Kubectl(t, append([]string{"auth", "can-i", "--list", "--no-headers", "-n", namespace}, as...)...), "\n")
		for i := range lines {
			lines[i] = strings.Join(strings.Fields(lines[i]), " ")
		}
		slices.Sort(lines)
		return lines
	}
	usual := list("--as=system:serviceaccount:" + space + ":nobody")
	var out strings.Builder
	for _, line := range list("--as=system:serviceaccount:" + space + ":" + account) {
		if !slices.Contains(usual, line) {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

// TestRights holds all that the accounts may.
func TestRights(t *testing.T) {
	installed(t)
	var out strings.Builder
	for _, account := range []string{"sluice-controller", "sluice-agent"} {
		for _, namespace := range []string{space, "default", "kube-system"} {
			fmt.Fprintf(&out, "# %s in %s: resources, other addresses, names, verbs\n%s\n", account, namespace, listed(t, account, namespace))
		}
	}
	golden(t, "rights.txt", out.String())
}
