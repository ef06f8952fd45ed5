package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/sluice-gitops/sluice/durable"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/kube"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/source/git"
	"github.com/sluice-gitops/sluice/source/git/gittest"
	"github.com/sluice-gitops/sluice/test/cluster"
)

// rig is a fleet of a cluster that stands half-way: of four nodes one has the newest commit, one has
// its order and does not answer, and two wait.
type rig struct {
	*testing.T
	plane   cluster.Plane
	config  string
	at      []string // the flags that name the fleet
	repo    *gittest.Repo
	commits []string
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t}
	t.Cleanup(r.plane.Stop)
	r.config = r.plane.Kubeconfig(t)
	r.at = []string{"--kubeconfig", r.config, "--namespace", "default", "--fleet", "prod"}
	r.plane.Kubectl(t, "apply", "-f", filepath.Join("..", "..", "api", "v1alpha1", "crds"))
	r.plane.Kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	r.plane.Nodes(t, "n", 4)
	r.repo = gittest.New(t).Repo("fleet.git")
	r.push("a")
	r.plane.Apply(t, fmt.Sprintf("{apiVersion: sluice.dev/v1alpha1, kind: Fleet, metadata: {name: prod}, spec: {source: {url: %q, interval: 200ms}}}", r.repo.URL))
	c := startController(t, "run", "--kubeconfig", r.config, "--namespace", "default", "--fleet", "prod", "--content-listen", "", "--metrics-listen", "")
	t.Cleanup(func() {
		c.stop()
		<-c.over
	})
	r.await("the first commit lands", func() bool {
		obey(t, &r.plane)
		return r.status("{.items[0].status.phase} {.items[0].status.updated}") == "Updated 4/4"
	})
	r.push("b")
	r.await("one node is done and the next has its order", func() bool {
		ordered := r.plane.Kubectl(t, "get", "nodeconfigs", "-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.generation} {.status.generation}{"\n"}{end}`)
		var late []string
		for line := range strings.Lines(ordered) {
			if f := strings.Fields(line); len(f) == 3 && f[1] != f[2] {
				late = append(late, f[0])
			}
		}
		switch {
		case r.status("{.items[0].status.updated}") == "1/4":
			return len(late) == 1
		case len(late) == 1 && r.status("{.items[0].status.updated}") == "0/4":
			obey(t, &r.plane)
		}
		return false
	})
	return r
}

func (r *rig) push(word string) {
	r.commits = append(r.commits, r.repo.Commit("main", gittest.Files{
		"pool.yaml": "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: worker}\n",
		"args.yaml": fmt.Sprintf("apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata: {name: 10-args}\n"+
			"spec: {kernelArguments: [%s], config: {ignition: {version: 3.5.0}, storage: {files: [{path: /etc/site, contents: {source: \"data:,hello\"}}]}}}\n", word),
	}))
}

func (r *rig) status(path string) string {
	return r.plane.Kubectl(r.T, "get", "pools", "-o", "jsonpath="+path, "--ignore-not-found")
}

func (r *rig) await(what string, is func() bool) {
	r.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !is(); {
		if time.Now().After(deadline) {
			r.Fatalf("it never comes to be: %s", what)
		}
	}
}

// sluice runs the program, which must exit as it is said to.
func (r *rig) sluice(exit int, args ...string) (stdout, stderr string) {
	r.Helper()
	var out, errs bytes.Buffer
	if code := run(r.Context(), args, &out, &errs); code != exit {
		r.Fatalf("sluice %s exits with %d: %s%s", strings.Join(args, " "), code, &out, &errs)
	}
	return out.String(), errs.String()
}

// here runs a command on the fleet of the cluster.
func (r *rig) here(args ...string) string {
	r.Helper()
	out, _ := r.sluice(0, append(args, r.at...)...)
	return out
}

// twin is a local fleet that stands as the cluster's does.
func (r *rig) twin() (dir string) {
	r.Helper()
	must := func(err error) {
		r.Helper()
		if err != nil {
			r.Fatal(err)
		}
	}
	var s snapshot
	must(json.Unmarshal([]byte(r.here("get", "-o", "json")), &s))
	dir, ctx := r.TempDir(), r.Context()
	store := &local.Store{Dir: dir}
	_, err := store.Load(ctx)
	must(err)
	must(store.Save(ctx, s.State))
	client, err := kube.Reach(r.config, "")
	must(err)
	kept, err := known(ctx, (&kube.Store{Client: client, Namespace: "default", Fleet: "prod"}).Config, s.State, s.Nodes)
	must(err)
	for _, c := range kept {
		must(store.Keep(ctx, c))
	}
	nodes := local.Fleet{Dir: dir}
	for _, n := range s.Nodes {
		must(local.Enlist(dir, n.Name, n.Labels, n.Created))
		if n.Order.Generation > 0 {
			must(nodes.Send(ctx, n.Order))
		}
		must(durable.WriteJSON(filepath.Join(dir, "nodes", n.Name, "report.json"), n.Report, 0o644))
		if n.Cordon == reconciler.Ours {
			must(nodes.Drain(ctx, reconciler.Drain{Node: n.Name}))
		}
	}
	must(durable.WriteJSON(filepath.Join(dir, settingsFile), settings{Name: "prod", Repo: r.repo.URL, Branch: "main", Poll: time.Second}, 0o600))
	_, err = (&git.Source{URL: r.repo.URL, Branch: "main", Dir: filepath.Join(dir, "git")}).Look(ctx)
	must(err)
	release, err := local.Lock(dir)
	must(err)
	r.Cleanup(release)
	return dir
}

// account makes a service account that may do what the rules say, and its kubeconfig.
func (r *rig) account(name, rules string) (config string) {
	r.Helper()
	r.plane.Apply(r.T, fmt.Sprintf(`
{apiVersion: v1, kind: ServiceAccount, metadata: {name: %[1]s, namespace: default}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: %[1]s}, rules: [%[2]s]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: %[1]s}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %[1]s},
 subjects: [{kind: ServiceAccount, name: %[1]s, namespace: default}]}
`, name, rules))
	token := strings.TrimSpace(r.plane.Kubectl(r.T, "create", "token", name))
	return r.rewrite(name, func(c *api.Config) {
		for _, user := range c.AuthInfos {
			*user = api.AuthInfo{Token: token}
		}
	})
}

// rewrite is the administrator's kubeconfig, changed.
func (r *rig) rewrite(name string, change func(*api.Config)) string {
	r.Helper()
	c, err := clientcmd.LoadFromFile(r.config)
	if err != nil {
		r.Fatal(err)
	}
	change(c)
	file := filepath.Join(r.TempDir(), name)
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		r.Fatal(err)
	}
	return file
}

const mayView = `{apiGroups: [sluice.dev], resources: [fleets, pools, nodeconfigs], verbs: [get, list]}, {apiGroups: [""], resources: [nodes], verbs: [get, list]}`

// TestTheCommandLineOnACluster holds every command on a fleet of a cluster against what it says of a
// local fleet that stands in the same way, and against what accounts with few rights are told.
func TestTheCommandLineOnACluster(t *testing.T) {
	r := newRig(t)
	var s snapshot
	if err := json.Unmarshal([]byte(r.here("get", "-o", "json")), &s); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{} // how a node stands -> its name
	for _, n := range s.Nodes {
		switch {
		case n.Order.Generation > n.Report.Generation:
			names["ordered"] = n.Name
		case n.Report.Config == s.State.Pools["worker"].Target:
			names["done"] = n.Name
		default:
			names["waits"] = n.Name
		}
	}
	if len(names) != 3 {
		t.Fatalf("the fleet does not stand half-way: %v", names)
	}
	r.likeALocalFleet(names)
	r.whereNobodyMayReadSecrets(names)
	r.contextsAndNames()
	r.withoutTheRepository(names)
	r.holds()
	r.rightsToHold()
}

// likeALocalFleet compares word by word.
func (r *rig) likeALocalFleet(names map[string]string) {
	dir := r.twin()
	for _, args := range [][]string{
		{"get"},
		{"why"},
		{"why", "-o", "json"},
		{"why", "worker"},
		{"why", "worker", "-o", "json"},
		{"why", names["ordered"]},
		{"why", names["waits"]},
		{"why", names["done"]},
		{"history"},
		{"history", "worker", "-o", "json"},
		{"trace", names["done"], "/etc/site"},
		{"trace", names["waits"], "/etc/site", "-o", "json"},
	} {
		want, _ := r.sluice(0, append(args, "--local", dir)...)
		if got := r.here(args...); got != want {
			r.Errorf("sluice %s of a cluster:\n%s\nof a local fleet:\n%s", strings.Join(args, " "), got, want)
		}
	}
	for _, args := range [][]string{{"why", "nobody"}, {"history", "nobody"}, {"trace", "nobody", "/etc/site"}, {"trace", names["done"], "/etc/passwd"}, {"hold", "nobody", "--reason", "x"}} {
		var code int
		if args[0] == "hold" {
			code = 1
		}
		_, want := r.sluice(1+code, append(args, "--local", dir)...)
		_, got := r.sluice(1+code, append(args, r.at...)...)
		if want = strings.ReplaceAll(want, "the fleet in "+dir, "Fleet prod"); got != want {
			r.Errorf("sluice %s of a cluster complains: %s\nof a local fleet: %s", strings.Join(args, " "), got, want)
		}
	}
	why := r.here("why", "worker")
	r.says(why, "node "+names["ordered"]+": wait (order): has not answered its order yet", "node "+names["waits"]+": wait (")
	r.says(r.here("trace", names["waits"], "/etc/site"), "args.yaml of commit "+r.commits[0][:7])
	r.says(r.here("trace", names["done"], "/etc/site"), "args.yaml of commit "+r.commits[1][:7])
}

func (r *rig) says(got string, words ...string) {
	r.Helper()
	for _, word := range words {
		if !strings.Contains(got, word) {
			r.Errorf("it does not say %q:\n%s", word, got)
		}
	}
}

// whereNobodyMayReadSecrets is the account of somebody who may look.
func (r *rig) whereNobodyMayReadSecrets(names map[string]string) {
	viewer := r.account("viewer", mayView)
	at := []string{"--kubeconfig", viewer, "--namespace", "default", "--fleet", "prod"}
	for _, args := range [][]string{{"get"}, {"why"}, {"history"}, {"history", "-o", "json"}, {"trace", names["done"], "/etc/site"}} {
		got, _ := r.sluice(0, append(args, at...)...)
		if want := r.here(args...); got != want {
			r.Errorf("sluice %s says to somebody who may look:\n%s\nto the administrator:\n%s", strings.Join(args, " "), got, want)
		}
	}
	got, _ := r.sluice(0, append([]string{"get", "-o", "json"}, at...)...)
	r.says(got, `"partial": "`, `cannot get resource \"secrets\"`)
	got, _ = r.sluice(0, append([]string{"why", "worker"}, at...)...)
	r.says(got, "node "+names["ordered"]+": wait (order): has not answered its order yet", "fleet: wait (unknown): what each node waits for is not known: ", `cannot get resource "secrets"`)
	_, got = r.sluice(1, append([]string{"hold", "worker", "--reason", "x"}, at...)...)
	r.says(got, `system:serviceaccount:default:viewer lacks the verb "patch" and "hold" on fleets.sluice.dev`)
	blind := r.account("blind", `{apiGroups: [sluice.dev], resources: [fleets], verbs: [get]}`)
	_, got = r.sluice(1, "get", "--kubeconfig", blind, "--fleet", "prod")
	r.says(got, `cannot list resource "nodeconfigs"`)
	_, got = r.sluice(1, "get", "--kubeconfig", r.config, "--fleet", "nix")
	r.says(got, "there is no Fleet nix")
	_, got = r.sluice(0, "why", "--kubeconfig", r.config, "--fleet", "prod", "-n", "kube-system")
	if got != "" {
		r.Errorf("it complains: %s", got)
	}
	elsewhere, _ := r.sluice(0, "why", "worker", "--kubeconfig", r.config, "--fleet", "prod", "-n", "kube-system")
	r.says(elsewhere, "no controller holds the lease kube-system/sluice-prod", "there is no secret kube-system/prod-state: does the controller run in another namespace?")
}

// contextsAndNames finds the cluster as kubectl does.
func (r *rig) contextsAndNames() {
	want := r.here("get")
	two := r.rewrite("two", func(c *api.Config) {
		good := c.CurrentContext
		c.Contexts["good"] = c.Contexts[good]
		c.Clusters["off"] = &api.Cluster{Server: "https://127.0.0.1:1"}
		c.Contexts["off"] = &api.Context{Cluster: "off", AuthInfo: c.Contexts[good].AuthInfo}
		c.CurrentContext = "off"
	})
	fleet := []string{"--namespace", "default", "--fleet", "prod"}
	for what, args := range map[string][]string{
		"a context of a file":          {"get", "--kubeconfig", two, "--context", "good"},
		"a context of the environment": {"get", "--context", "good"},
		"preview":                      {"preview", r.repo.Dir, "--base", r.commits[0], "--head", r.commits[1], "--context", "good"},
	} {
		r.Setenv("KUBECONFIG", two)
		got, _ := r.sluice(0, append(args, fleet...)...)
		if what != "preview" && got != want || what == "preview" && !strings.Contains(got, "worker") {
			r.Errorf("%s: %s", what, got)
		}
	}
	_, got := r.sluice(1, append([]string{"get", "--kubeconfig", two}, fleet...)...)
	r.says(got, "127.0.0.1:1")
	for _, words := range [][]string{{"preview"}, {"policy", "check"}} {
		_, got := r.sluice(1, append(words, r.repo.Dir, "--base", r.commits[0], "--head", r.commits[1], "--kubeconfig", r.config, "--fleet", "nix")...)
		r.says(got, "there is no Fleet nix")
	}
	_, got = r.sluice(1, append([]string{"get", "--context", "nix"}, fleet...)...)
	r.says(got, "nix")

	exe, err := os.Executable()
	if err != nil {
		r.Fatal(err)
	}
	link := filepath.Join(r.TempDir(), plugin) // TestMain is the program under this name
	if err := os.Symlink(exe, link); err != nil {
		r.Fatal(err)
	}
	call := func(args ...string) string {
		cmd := exec.Command(link, args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+r.config)
		out, err := cmd.CombinedOutput()
		if err != nil && cmd.ProcessState.ExitCode() != 2 {
			r.Errorf("kubectl sluice %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	if got := call(append([]string{"get"}, fleet...)...); got != want {
		r.Errorf("kubectl sluice get says %s\nsluice says %s", got, want)
	}
	preview := call(append([]string{"preview", r.repo.Dir, "--base", r.commits[0], "--head", r.commits[1]}, fleet...)...)
	if want := r.here("preview", r.repo.Dir, "--base", r.commits[0], "--head", r.commits[1]); preview != want {
		r.Errorf("kubectl sluice preview says %s\nsluice says %s", preview, want)
	}
	r.says(call("get", "--help"), "kubectl sluice get [flags]")
	r.says(call("get", "--nix"), "see kubectl sluice get --help")
	r.says(call(append([]string{"__complete", "history"}, append(fleet, "")...)...), "worker")
}

// withoutTheRepository answers what can be answered.
func (r *rig) withoutTheRepository(names map[string]string) {
	want, clone := r.here("why", "worker"), r.TempDir()
	if out, err := exec.Command("git", "clone", "--quiet", r.repo.URL, clone).CombinedOutput(); err != nil {
		r.Fatalf("clone: %v: %s", err, out)
	}
	r.plane.Kubectl(r.T, "patch", "fleet", "prod", "--type=merge", "-p", `{"spec": {"source": {"url": "http://127.0.0.1:1/fleet.git"}}}`)
	got := r.here("why", "worker")
	r.says(got, "node "+names["ordered"]+": wait (order): ", "what each node waits for is not known: render "+r.commits[1][:7]+": ", "asked without credentials", "or give --repo PATH of a clone")
	if got := r.here("why", "worker", "--repo", clone); !strings.Contains(got, strings.TrimSpace(want)) {
		r.Errorf("with a clone it says %s\nwant %s", got, want)
	}
	_, got = r.sluice(1, append([]string{"trace", names["done"], "/etc/site"}, r.at...)...)
	r.says(got, "give --repo PATH of a clone")
	r.says(r.here("trace", names["done"], "/etc/site", "--repo", clone), "args.yaml of commit "+r.commits[1][:7])
	r.plane.Kubectl(r.T, "patch", "fleet", "prod", "--type=merge", "-p", fmt.Sprintf(`{"spec": {"source": {"url": %q}}}`, r.repo.URL))
	r.await("the controller follows again", func() bool { return r.here("why", "worker") == want })
}

// holds are given by many at once, and end.
func (r *rig) holds() {
	var all sync.WaitGroup
	var people []string
	for i := range 8 {
		by := fmt.Sprintf("p%d", i)
		people = append(people, by)
		all.Go(func() { r.here("hold", "worker", "--reason", "a look", "--by", by) })
	}
	all.Wait()
	var s snapshot
	if err := json.Unmarshal([]byte(r.here("get", "-o", "json")), &s); err != nil {
		r.Fatal(err)
	}
	var have []string
	for _, h := range s.Holds {
		have = append(have, h.By)
	}
	if slices.Sort(have); !slices.Equal(have, people) {
		r.Errorf("held by %v, want %v", have, people)
	}
	r.says(r.here("why", "worker"), "pool worker: wait (hold): held by p3 until it is released (a look)", "pool worker: allow (resume): when it goes on commit "+r.commits[1][:7]+" comes to 2 of 4 nodes: 2 reboot")
	out := r.here("release", "worker")
	r.says(out, "pool worker is released: was held by p3 (a look)", "pool worker: when it goes on commit "+r.commits[1][:7]+" comes")
	_, got := r.sluice(1, append([]string{"release", "--all"}, r.at...)...)
	r.says(got, "no pool is held")
	r.here("release", "--rewind", r.commits[0])
	if got := r.plane.Kubectl(r.T, "get", "fleet", "prod", "-o", "jsonpath={.spec.rewind}"); got != r.commits[0] {
		r.Errorf("the commit that may be followed is %q", got)
	}
}

// rightsToHold are asked for by name, and the hold bears the name that the server knows.
func (r *rig) rightsToHold() {
	r.plane.Apply(r.T, `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: holds}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [sluice.dev], apiVersions: ["*"], operations: [UPDATE], resources: [fleets]}]}
  validations:
  - expression: object.spec.?holds == oldObject.spec.?holds || authorizer.group("sluice.dev").resource("fleets").name(object.metadata.name).check("hold").allowed()
    message: holds are for those who may hold
---
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: holds}, spec: {policyName: holds, validationActions: [Deny]}}
`)
	const mayPatch = mayView + `, {apiGroups: [sluice.dev], resources: [fleets], verbs: [patch]}`
	writer := r.account("writer", mayPatch)
	holder := r.account("holder", mayPatch+`, {apiGroups: [sluice.dev], resources: [fleets], verbs: [hold]}`)
	at := func(config string) []string {
		return []string{"hold", "worker", "--reason", "a look", "--kubeconfig", config, "--namespace", "default", "--fleet", "prod"}
	}
	r.await("the policy is in force", func() bool {
		var out, errs bytes.Buffer
		if run(r.Context(), at(writer), &out, &errs) == 0 {
			return false
		}
		r.says(errs.String(), `system:serviceaccount:default:writer lacks the verb "hold" on fleets.sluice.dev`, "holds are for those who may hold")
		return true
	})
	out, _ := r.sluice(0, at(holder)...)
	r.says(out, "pool worker is held by system:serviceaccount:default:holder until it is released (a look)")
}
