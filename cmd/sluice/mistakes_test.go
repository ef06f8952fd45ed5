package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/source/git/gittest"
	"github.com/sluice-gitops/sluice/test/cluster"
)

// rights are those of the controller in these tests, by resource, so that a row can take one away.
var rights = map[string]string{
	"fleets":      `{apiGroups: [sluice.dev], resources: [fleets, fleets/status], verbs: ["*"]}`,
	"pools":       `{apiGroups: [sluice.dev], resources: [pools, pools/status], verbs: ["*"]}`,
	"nodeconfigs": `{apiGroups: [sluice.dev], resources: [nodeconfigs], verbs: ["*"]}`,
	"nodes":       `{apiGroups: [""], resources: [nodes, pods, pods/eviction], verbs: ["*"]}`,
	"daemonsets":  `{apiGroups: [apps], resources: [daemonsets], verbs: [get]}`,
	"secrets":     `{apiGroups: [""], resources: [secrets, configmaps], verbs: ["*"]}`,
	"leases":      `{apiGroups: [coordination.k8s.io], resources: [leases], verbs: ["*"]}`,
	"events":      `{apiGroups: [events.k8s.io, ""], resources: [events], verbs: ["*"]}`,
	"reviews":     `{apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]}`,
}

const (
	wrongToken = "aTokenThatIsWrong"
	forgeToken = "aTokenOfTheForge"
)

const account = "system:serviceaccount:default:sluice-controller"

// mistakes is a cluster with one controller, which outlives all that is done wrong.
type mistakes struct {
	*testing.T
	plane cluster.Plane
	repo  *gittest.Repo
	web   *gittest.Server
	c     *controller
}

func (m *mistakes) allow(without ...string) {
	m.Helper()
	var rules []string
	for resource, rule := range rights {
		left := false
		for _, w := range without {
			left = left || w == resource
		}
		if !left {
			rules = append(rules, rule)
		}
	}
	m.plane.Apply(m.T, fmt.Sprintf(`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: sluice-controller}, rules: [%s]}`, strings.Join(rules, ", ")))
}

// secret makes or replaces the Secret that the Fleet names.
func (m *mistakes) secret(key, value string) {
	m.Helper()
	m.plane.Kubectl(m.T, "delete", "secret", "git", "--ignore-not-found")
	if key != "" {
		m.plane.Kubectl(m.T, "create", "secret", "generic", "git", "--from-literal="+key+"="+value)
	}
}

func (m *mistakes) fleet(name string) {
	m.Helper()
	m.plane.Apply(m.T, fmt.Sprintf("{apiVersion: sluice.dev/v1alpha1, kind: Fleet, metadata: {name: %s}, spec: {source: {url: %q, interval: 200ms, secretRef: {name: git}}}}", name, m.repo.URL))
}

func (m *mistakes) patch(spec string) {
	m.Helper()
	m.plane.Kubectl(m.T, "patch", "fleet", "prod", "--type=merge", "-p", fmt.Sprintf(`{"spec": %s}`, spec))
}

// ready is what the Fleet says of itself.
func (m *mistakes) ready(fleet string) metav1.Condition {
	m.Helper()
	var f v1alpha1.Fleet
	out := m.plane.Kubectl(m.T, "get", "fleet", fleet, "-o", "json", "--ignore-not-found")
	if out == "" {
		return metav1.Condition{}
	}
	if err := json.Unmarshal([]byte(out), &f); err != nil {
		m.Fatal(err)
	}
	for _, c := range f.Status.Conditions {
		if c.Type == v1alpha1.Ready && c.ObservedGeneration == f.Generation {
			return c
		}
	}
	return metav1.Condition{}
}

func (m *mistakes) await(what string, is func() bool) {
	m.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		select {
		case code := <-m.c.over:
			m.Fatalf("the controller has ended with %d", code)
		default:
		}
		if time.Now().After(deadline) {
			m.Fatalf("it never comes to be: %s; the Fleet says %+v; the controller %s", what, m.ready("prod"), m.c.log())
		}
	}
}

func all(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// TestMistakesAreSaidAndMended makes every mistake of an operator in turn with one controller, which
// says it where he looks, and goes on once it is mended.
func TestMistakesAreSaidAndMended(t *testing.T) {
	m := &mistakes{T: t, web: gittest.New(t)}
	t.Cleanup(m.plane.Stop)
	admin, err := os.ReadFile(m.plane.Kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	lesser := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(lesser, []byte(strings.Replace(string(admin), "user:\n", "user:\n    as: "+account+"\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	m.repo = m.web.Repo("fleet.git")
	m.repo.Commit("main", gittest.Files{"pool.yaml": "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: worker}\n"})
	m.web.Authorize("Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:good")))
	m.plane.Apply(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: sluice-controller}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: sluice-controller}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: "`+account+`"}]}`)

	args := []string{"run", "--kubeconfig", lesser, "--namespace", "default"}
	m.c = startController(t, append(args, "--fleet", "prod")...)
	m.beforeThereIsAFleet()
	m.table()
	m.secondFleet(args)
	everywhere := m.c.log() + m.plane.Kubectl(t, "get", "events,fleets,pools", "-A", "-o", "yaml")
	for _, token := range []string{wrongToken, forgeToken, base64.StdEncoding.EncodeToString([]byte("x-access-token:" + wrongToken))} {
		if strings.Contains(everywhere, token) {
			t.Errorf("the token %s is shown", token)
		}
	}
	m.c.stop()
	if code := <-m.c.over; code != 0 {
		t.Errorf("stopped, it exits with %d", code)
	}
}

// beforeThereIsAFleet holds what only the log can say.
func (m *mistakes) beforeThereIsAFleet() {
	logs := func(words ...string) {
		m.Helper()
		m.await("the log says "+strings.Join(words, ", "), func() bool { return all(m.c.log(), words) })
	}
	logs("NoRights", "leases.coordination.k8s.io", "kubectl auth can-i")
	m.allow()
	logs("NoKinds", "of its chart: kubectl apply --server-side -f crds/")
	m.plane.Kubectl(m.T, "apply", "-f", filepath.Join("..", "..", "api", "v1alpha1", "crds"))
	m.plane.Kubectl(m.T, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	logs("NoFleet", "there is no Fleet prod", "kubectl apply")
	for _, once := range []string{"reason=NoKinds", "reason=NoFleet"} {
		if n := strings.Count(m.c.log(), once); n != 1 {
			m.Errorf("%s is logged %d times", once, n)
		}
	}
	m.fleet("prod")
}

func (m *mistakes) table() {
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, `{"message": "Bad credentials"}`, http.StatusUnauthorized)
	}))
	m.Cleanup(hub.Close)
	for _, row := range []struct {
		mistake string
		make    func()
		reason  string
		words   []string
		mend    func()
	}{
		{"the Secret is missing", func() {}, "NoSecret", []string{"spec.source.secretRef", "no Secret git in namespace default", "kubectl"}, nil},
		{"the Secret lacks the key", func() { m.secret("passwort", "x") }, "NoSecret", []string{"spec.source.secretRef", "lacks the key token"}, nil},
		{
			"the Secret is an account's", func() {
				m.secret("", "")
				m.plane.Apply(m.T, `{apiVersion: v1, kind: Secret, metadata: {name: git, annotations: {kubernetes.io/service-account.name: default}}, type: kubernetes.io/service-account-token}`)
			}, "NoSecret",
			[]string{"spec.source.secretRef", "type kubernetes.io/service-account-token", "Opaque", "kubectl"},
			nil,
		},
		{"the token is wrong", func() { m.secret("token", wrongToken) }, "GitSilent", []string{"spec.source", "401"}, func() { m.secret("token", "good") }},
		{"the Secret goes while all is well", func() { m.secret("", "") }, "NoSecret", []string{"stays in force"}, func() { m.secret("token", "good") }},
		{
			"the Secret is one of Sluice's own", func() { m.patch(`{"source": {"secretRef": {"name": "prod-state"}}}`) }, "NoSecret",
			[]string{"prod-state", "type sluice.dev/data", "Opaque", "stays in force"},
			func() { m.patch(`{"source": {"secretRef": {"name": "git"}}}`) },
		},
		{
			"there is no such repository", func() { m.patch(`{"source": {"url": "` + m.web.URL + `/none.git"}}`) }, "GitSilent",
			[]string{"404", "check the url"},
			func() { m.patch(`{"source": {"url": "` + m.repo.URL + `"}}`) },
		},
		{"Git is away", m.web.Down, "GitSilent", []string{"no push is followed until the branch can be read"}, func() { m.web.Fault(nil) }},
		{"there is no such branch", func() { m.patch(`{"source": {"branch": "mian"}}`) }, "GitSilent", []string{`no branch "mian"`}, func() { m.patch(`{"source": {"branch": "main"}}`) }},
		{
			"the interval is too short", func() { m.patch(`{"source": {"interval": "1ms"}}`) }, "InvalidSpec",
			[]string{"spec.source.interval", "100ms", "stays in force"},
			func() { m.patch(`{"source": {"interval": "200ms"}}`) },
		},
		{
			"the guardrail makes no sense", func() { m.patch(`{"guardrail": {"windows": [{"schedule": "0 99 * * *", "duration": "1h"}]}}`) }, "InvalidSpec",
			[]string{"spec.guardrail.windows[0].schedule"},
			func() { m.patch(`{"guardrail": null}`) },
		},
		{"the address of Prometheus is none", func() { m.patch(`{"prometheus": "prometheus.svc"}`) }, "InvalidSpec", []string{"spec.prometheus"}, func() { m.patch(`{"prometheus": null}`) }},
		{"the trusted keys are none", func() { m.patch(`{"trustedKeys": "ada"}`) }, "InvalidSpec", []string{"spec.trustedKeys", "line 1"}, func() { m.patch(`{"trustedKeys": null}`) }},
		{"the forge does not know the token", func() {
			m.plane.Kubectl(m.T, "create", "secret", "generic", "hub", "--from-literal=token="+forgeToken)
			m.patch(`{"github": {"repository": "acme/fleet", "url": "` + hub.URL + `", "secretRef": {"name": "hub"}}}`)
		}, "ForgeRefuses", []string{"spec.github", "401"}, func() { m.patch(`{"github": null}`) }},
		{"no right to NodeConfigs", func() { m.allow("nodeconfigs") }, "NoRights", []string{"nodeconfigs.sluice.dev", account}, func() { m.allow() }},
		{"no right to Secrets", func() { m.allow("secrets") }, "NoRights", []string{"secrets"}, func() { m.allow() }},
		{"no right to nodes", func() { m.allow("nodes") }, "NoRights", []string{"nodes"}, func() { m.allow() }},
		{"no right to the lease", func() { m.allow("leases") }, "NoRights", []string{"leases.coordination.k8s.io"}, func() { m.allow() }},
	} {
		row.make()
		m.await(row.mistake+" is said as "+row.reason, func() bool {
			c := m.ready("prod")
			return c.Status == metav1.ConditionFalse && c.Reason == row.reason && all(c.Message, row.words)
		})
		m.await(row.mistake+" is an Event", func() bool {
			return all(m.plane.Kubectl(m.T, "get", "events", "--field-selector", "reason="+row.reason, "-o", "jsonpath={.items[*].message}"), row.words)
		})
		if row.mend == nil {
			continue // the next row is another way to be wrong
		}
		row.mend()
		m.await("the fleet is well once it is mended: "+row.mistake, func() bool { c := m.ready("prod"); return c.Status == metav1.ConditionTrue && c.Reason == "Following" })
		m.Logf("%-40s %s", row.mistake, row.reason)
	}
}

// secondFleet holds that of two Fleets the older has the nodes.
func (m *mistakes) secondFleet(args []string) {
	second := startController(m.T, append(args, "--fleet", "test")...)
	m.fleet("test")
	another := func() bool {
		c := m.ready("test")
		return c.Reason == "AnotherFleet" && all(c.Message, []string{"Fleet prod is older", "kubectl delete fleet prod"})
	}
	m.await("the second Fleet says that there is another", another)
	m.allow("leases") // as the chart does, which gives the lease of one Fleet
	m.await("nobody may take a lease", func() bool { return m.ready("prod").Reason == "NoRights" })
	m.plane.Kubectl(m.T, "patch", "fleet", "test", "--subresource=status", "--type=merge", "-p", `{"status": {"conditions": null}}`)
	m.await("the second Fleet says that there is another, without any lease", another)
	m.allow()
	m.await("the first is well again", func() bool { return m.ready("prod").Reason == "Following" })
	if c := m.ready("prod"); c.Status != metav1.ConditionTrue {
		m.Errorf("the first Fleet is %+v", c)
	}
	m.plane.Kubectl(m.T, "delete", "fleet", "prod")
	m.await("the second is followed once the first is gone", func() bool { return m.ready("test").Reason == "Following" })
	m.fleet("prod") // younger now
	m.await("the first comes back as the second", func() bool {
		c := m.ready("prod")
		return c.Reason == "AnotherFleet" && strings.Contains(c.Message, "Fleet test is older")
	})
	second.stop()
	<-second.over
}
