package chart

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

var (
	once sync.Once
	done bool
)

// installed is a real API server on which one helm install was all that was done. It answers with
// the administrator's access to it.
func installed(t *testing.T) *rest.Config {
	t.Helper()
	config := admin(t, plane.Kubeconfig(t))
	once.Do(func() {
		helm(t, "install", release, folder, "--namespace", space, "--create-namespace", "--kubeconfig", plane.Kubeconfig(t), "--set", made)
		enforced(t, config)
		done = true
	})
	if !done {
		t.Skip("the chart could not be installed, as was said before")
	}
	return config
}

func admin(t *testing.T, kubeconfig string) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return config
}

func clientOf(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// enforced waits until the policies are: the server takes them up a moment after they were made.
func enforced(t *testing.T, config *rest.Config) {
	t.Helper()
	probe := as(t, config)
	await(t, "the policies are enforced", func() bool {
		err := probe.write("POST", "/apis/sluice.dev/v1alpha1/nodeconfigs?dryRun=All", nodeConfig("probe", ""))
		spec := probe.write("POST", "/apis/sluice.dev/v1alpha1/fleets?dryRun=All", `{"apiVersion": "sluice.dev/v1alpha1", "kind": "Fleet",
			"metadata": {"name": "probe"}, "spec": {"source": {"url": "https://git.example.com/x"}}}`)
		return err != nil && strings.Contains(err.Error(), "only the controller") && spec == nil
	})
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("it never comes to be: %s", what)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestOneStepInstallsAll holds that the first installation makes the Fleet, too, though its kind
// comes with it, and that the server finds nothing wrong with the policies.
func TestOneStepInstallsAll(t *testing.T) {
	core := clientOf(t, installed(t))
	if got := plane.Kubectl(t, "get", "fleet", "default", "-o", "name"); got != "fleet.sluice.dev/default\n" {
		t.Errorf("the Fleet is %q", got)
	}
	for _, name := range []string{"sluice-orders", "sluice-reports", "sluice-fleets"} {
		policies := core.AdmissionregistrationV1().ValidatingAdmissionPolicies()
		await(t, "policy "+name+" is looked at", func() bool {
			p, err := policies.Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if p.Status.ObservedGeneration != p.Generation || p.Status.TypeChecking == nil {
				return false
			}
			for _, w := range p.Status.TypeChecking.ExpressionWarnings {
				t.Errorf("policy %s: %s: %s", name, w.FieldRef, w.Warning)
			}
			return true
		})
	}
}

// TestNotesNameTheFleet holds that the commands which Helm prints find a fleet that is not where they look by themselves.
func TestNotesNameTheFleet(t *testing.T) {
	installed(t)
	out := helm(t, "install", "other", folder, "--dry-run=client", "--kubeconfig", plane.Kubeconfig(t), "--namespace", "elsewhere", "--set", made+",crds.enabled=false,fleet.name=prod")
	if !strings.Contains(out, "kubectl sluice why --namespace elsewhere --fleet prod\n") {
		t.Errorf("the notes do not say where:\n%s", out[strings.Index(out, "NOTES:"):])
	}
}

// toggles are values other than those that the chart has, at least one for each.
var toggles = []string{
	"image.repository=registry.example.com/sluice",
	"image.tag=v9",
	"image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	"image.pullPolicy=Always",
	"imagePullSecrets[0].name=pull",
	"fleet.create=false",
	"fleet.name=prod",
	"fleet.spec.guardrail.soak=1h",
	"controller.replicas=1",
	"controller.priorityClassName=system-node-critical",
	"controller.resources.limits.cpu=2",
	"controller.nodeSelector.pool=infra",
	"controller.tolerations[0].operator=Exists",
	"controller.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey=kubernetes.io/hostname",
	"controller.extraArgs[0]=--prometheus=http://prometheus:9090",
	"controller.env[0].name=X",
	"controller.extraVolumes[0].name=ca,controller.extraVolumes[0].configMap.name=ca",
	"controller.extraVolumes[0].name=ca,controller.extraVolumes[0].emptyDir.medium=Memory,controller.extraVolumeMounts[0].name=ca,controller.extraVolumeMounts[0].mountPath=/ca",
	"controller.podAnnotations.x=y",
	"controller.podLabels.x=y",
	"agent.enabled=false",
	"agent.priorityClassName=system-cluster-critical",
	"agent.resources.requests.memory=64Mi",
	"agent.nodeSelector.pool=worker",
	"agent.tolerations[0].key=x,agent.tolerations[0].operator=Exists",
	"agent.maxUnavailable=3",
	"agent.hostNetwork=true",
	"agent.extraArgs[0]=--interval=20s",
	"agent.env[0].name=X",
	"agent.podAnnotations.x=y",
	"agent.podLabels.x=y",
	"crds.enabled=false",
	"namespace.create=true",
	"rbac.aggregateToView=false",
	"rbac.deletePods=false",
	"admission.enabled=false",
	"admission.breakGlassGroups={system:masters,it's}",
	"networkPolicy.enabled=false",
	"networkPolicy.apiServerPorts={6443,16443}",
	"networkPolicy.gitPorts={8443}",
	"networkPolicy.monitoring[0].namespaceSelector.matchLabels.x=y",
	"networkPolicy.controllerEgress[0].ports[0].port=9090",
	"podMonitor.enabled=true",
	"podMonitor.enabled=true,podMonitor.interval=1m",
	"podMonitor.enabled=true,podMonitor.labels.x=y",
	"rules.enabled=true",
	"rules.enabled=true,rules.labels.x=y",
	"dashboard.enabled=true",
	"dashboard.enabled=true,dashboard.labels.x=y",
}

// TestEveryValueIsToggled holds that there is no value which the table above forgets.
func TestEveryValueIsToggled(t *testing.T) {
	has := map[string]bool{}
	for _, toggle := range toggles {
		for _, setting := range strings.Split(toggle, ",") {
			path, _, _ := strings.Cut(setting, "=")
			words := strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' })
			has[words[0]] = true
			if len(words) > 1 {
				has[words[0]+"."+words[1]] = true
			}
		}
	}
	for path := range values(t) {
		if !has[path] {
			t.Errorf("nobody toggles %s", path)
		}
	}
}

// values are the paths of values.yaml, of one word or two, with what each says.
func values(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := yaml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for key, value := range all {
		if below, is := value.(map[string]any); is {
			for name, v := range below {
				out[key+"."+name] = v
			}
			continue
		}
		out[key] = value
	}
	return out
}

// TestTheServerTakesEveryRendering gives the server what a value changes; it knows every field.
func TestTheServerTakesEveryRendering(t *testing.T) {
	installed(t)
	elsewhere(t)
	other := func(t *testing.T, values ...string) map[string]string {
		return objects(helm(t, "template", "other", folder, "--namespace", "elsewhere", "--set", strings.Join(values, ",")))
	}
	usual := other(t, made)
	for _, set := range append([]string{""}, toggles...) {
		name, _, _ := strings.Cut(set, ",")
		t.Run(name, func(t *testing.T) {
			changed := other(t, made, set)
			news := maps.Clone(changed)
			if set != "" {
				for key, text := range usual {
					if news[key] == text {
						delete(news, key)
					}
				}
				if len(news) == 0 && len(changed) == len(usual) {
					t.Fatal("it changes nothing")
				}
			}
			if len(news) > 0 {
				strictly(t, news)
			}
		})
	}
}

// elsewhere is a namespace in which nothing is installed, on a server that knows every kind.
func elsewhere(t *testing.T) {
	t.Helper()
	plane.Kubectl(t, "apply", "-f", "testdata/monitoring.coreos.com.yaml")
	plane.Kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=120s")
	plane.Apply(t, `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}}`)
	plane.Apply(t, `{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sluice-test", "namespace": "elsewhere"}}`)
}

// objects are the documents of a rendering, by where they come from and their names.
func objects(rendering string) map[string]string {
	out := map[string]string{}
	for _, text := range strings.Split("\n"+rendering, "\n---\n") {
		var o metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(text), &o); err == nil && o.Kind != "" {
			out[o.Kind+" "+o.Namespace+"/"+o.Name] = text
		}
	}
	return out
}

// strictly has the server check objects without keeping them: unknown fields are mistakes.
func strictly(t *testing.T, docs map[string]string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "objects.yaml")
	text := strings.Join(slices.Collect(maps.Values(docs)), "\n---\n")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	plane.Kubectl(t, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", file)
}

// TestEverythingIsTaken does the same for the renderings that are compared as a whole.
func TestEverythingIsTaken(t *testing.T) {
	installed(t)
	elsewhere(t)
	for _, name := range []string{"everything", "least"} {
		strictly(t, objects(helm(t, "template", "other", folder, "--namespace", "elsewhere", "--values", filepath.Join("testdata", name+".values.yaml"))))
	}
}

// TestFilesArriveAsTheyAre holds that Helm, whose templates have braces as the rules have, changes nothing.
func TestFilesArriveAsTheyAre(t *testing.T) {
	all := objects(helm(t, "template", release, folder, "--namespace", space, "--set", "rules.enabled=true,dashboard.enabled=true"))
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(folder, "files", name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var rule struct{ Spec any }
	var want any
	if err := errors.Join(yaml.Unmarshal([]byte(all["PrometheusRule "+space+"/sluice"]), &rule), yaml.Unmarshal(read("alerts.yaml"), &want)); err != nil {
		t.Fatal(err)
	}
	if want == nil || !reflect.DeepEqual(rule.Spec, want) {
		t.Error("the rules are not those of files/alerts.yaml")
	}
	var board struct{ Data map[string]string }
	if err := yaml.Unmarshal([]byte(all["ConfigMap "+space+"/sluice-dashboard"]), &board); err != nil {
		t.Fatal(err)
	}
	if got := board.Data["sluice.json"]; strings.TrimSpace(got) != strings.TrimSpace(string(read("dashboard.json"))) {
		t.Error("the dashboard is not files/dashboard.json")
	}
}

// TestBadValuesAreRefused holds that a mistake is told by its place.
func TestBadValuesAreRefused(t *testing.T) {
	for set, says := range map[string]string{
		"fleet.create=true": "at '/fleet/spec': missing property 'source'",
		"fleet.create=true,fleet.spec.source.url=git@github.com:a/b":        "at '/fleet/spec/source/url'",
		"fleet.create=true,fleet.spec.source.url=https://u:p@git.example/x": "at '/fleet/spec/source/url'",
		made + ",fleet.spec.hold[0].reason=r":                               `fleet.spec has no field "hold"; it has: clusterDNS, github, guardrail, holds,`,
		made + ",fleet.spec.guardrail.freezes[0].form=2026-12-24":           `fleet.spec.guardrail.freezes[0] has no field "form"; it has: duration, from,`,
		made + ",fleet.spec.guardrail.canary.labels.any=x,x=y":              "additional properties 'x' not allowed", // its names are free: only the other is wrong
		"controler.replicas=3":                                              "additional properties 'controler' not allowed",
		"controller.replica=3":                                              "at '/controller': additional properties 'replica' not allowed",
		"controller.replicas=two":                                           "at '/controller/replicas': got string, want integer",
		"controller.resources.limits.memory=1 GB":                           "at '/controller/resources/limits/memory'",
		"agent.maxUnavailable=0":                                            "at '/agent/maxUnavailable': minimum: got 0, want 1",
		"agent.maxUnavailable=0%":                                           "at '/agent/maxUnavailable'",
		"image.digest=latest":                                               "at '/image/digest'",
		"image.repository=":                                                 "at '/image/repository'",
		"fleet.name=Prod":                                                   "at '/fleet/name'",
		"fleet.name=" + strings.Repeat("a", 64):                             "at '/fleet/name'", // it is the value of labels
		"networkPolicy.apiServerPorts[0]=0":                                 "at '/networkPolicy/apiServerPorts/0': minimum: got 0, want 1",
		"rules.enabled=yes":                                                 "at '/rules/enabled': got string, want boolean",
		"admission.breakGlassGroups=system:masters":                         "at '/admission/breakGlassGroups': got string, want array",
	} {
		out, err := try(t, "template", release, folder, "--namespace", space, "--set", set)
		if err == nil || !strings.Contains(out, says) {
			t.Errorf("%s: it says %q, want %q", set, out, says)
		}
	}
}

// nodeConfig is one as JSON, with what else is in it.
func nodeConfig(name, more string) string {
	meta, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		panic(err)
	}
	return `{"apiVersion": "sluice.dev/v1alpha1", "kind": "NodeConfig", "metadata": ` + string(meta) + more + `}`
}
