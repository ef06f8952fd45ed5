// Package kube runs Sluice whole on a real API server: the chart's own manifests, two processes of
// the controller, an agent for each of some machines, Git over HTTP, and a forge that answers as
// GitHub does. What happens is judged by an observer with a client of its own, and by the server's
// audit log.
package kube

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluice-gitops/sluice/source/forge/loopback"
	"github.com/sluice-gitops/sluice/test/cluster"
)

// Names of the installation.
const (
	Namespace = "sluice-system"
	fleetName = "default"

	controllerName    = "sluice-controller"
	agentName         = "sluice-agent"
	controllerAccount = "system:serviceaccount:" + Namespace + ":" + controllerName
	agentAccount      = "system:serviceaccount:" + Namespace + ":" + agentName
)

// patience is how long anything may take on a machine that is busy.
const patience = 4 * time.Minute

// limits are how many nodes of each pool may be away.
var limits = map[string]int{"master": 1, "worker": 2, "edge": 1}

// zones are where a pool's nodes are, in their order.
var zones = []string{"a", "b", "c"}

// Rig is a cluster with Sluice in it.
type Rig struct {
	t     *testing.T
	dir   string
	plane cluster.Plane

	helmPath string
	config   *rest.Config
	core     kubernetes.Interface
	objects  dynamic.Interface

	server      *loopback.Server
	repo        *loopback.Repo
	observer    *observer
	controllers []*controller
	machines    map[string]*machine
	retired     []*machine // whose node was deleted
	dark        []Span     // when the server was away, or nobody had rights
}

// Sizes are how many nodes each pool has.
type Sizes struct{ Master, Worker, Edge int }

// Start brings all of it up. It goes away with the test.
func Start(t *testing.T, sizes Sizes) *Rig {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git on this machine to make and serve repositories with")
	}
	helm := findHelm()
	if helm == "" {
		t.Skip("there is no helm here: make test builds it")
	}
	dir, err := os.MkdirTemp("", "kube") // short: sockets have an end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &Rig{t: t, dir: dir, helmPath: helm, machines: map[string]*machine{}}
	r.startPlane()
	r.build(present)
	r.startForge()
	r.install()
	r.observer = observe(r.objects, poolOf)
	t.Cleanup(r.observer.close)
	for i := range 2 {
		r.controllers = append(r.controllers, &controller{rig: r, name: fmt.Sprintf("controller-%d", i+1)})
	}
	for _, c := range r.controllers {
		c.prepare()
	}
	t.Cleanup(r.stopAll)
	for _, c := range r.controllers {
		c.start()
	}
	r.await("somebody leads", func() bool { return r.leader() != nil })
	go r.publish(t.Context())
	for _, p := range []struct {
		pool string
		n    int
	}{{"master", sizes.Master}, {"worker", sizes.Worker}, {"edge", sizes.Edge}} {
		for i := range p.n {
			r.AddNode(fmt.Sprintf("%s-%d", p.pool, i+1), p.pool, zones[i%len(zones)])
		}
	}
	return r
}

func poolOf(labels map[string]string) string {
	for pool := range limits {
		if _, is := labels["node-role.kubernetes.io/"+pool]; is {
			return pool
		}
	}
	return ""
}

func (r *Rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// startPlane starts the API server, with its audit log, and a kubelet for all pods.
func (r *Rig) startPlane() {
	r.t.Helper()
	policy := filepath.Join(r.dir, "audit.yaml")
	r.must(os.WriteFile(policy, []byte(auditPolicy), 0o600))
	r.plane.Flags = []string{"--apiserver-arg=--audit-policy-file=" + policy, "--apiserver-arg=--audit-log-path=" + r.auditLog()}
	r.t.Cleanup(r.plane.Stop)
	file := r.plane.Kubeconfig(r.t)
	config, err := clientcmd.BuildConfigFromFlags("", file)
	r.must(err)
	config.QPS, config.WarningHandler = -1, rest.NoWarnings{}
	r.config = config
	r.core, err = kubernetes.NewForConfig(config)
	r.must(err)
	r.objects, err = dynamic.NewForConfig(config)
	r.must(err)
	r.plane.Nodes(r.t, "", 0) // no nodes of its own: it plays the kubelet of all pods
}

func (r *Rig) auditLog() string { return filepath.Join(r.dir, "audit.log") }

// here is the root of the module.
func here() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

func (r *Rig) startForge() {
	r.t.Helper()
	server, err := loopback.Start(filepath.Join(r.dir, "forge"))
	r.must(err)
	r.t.Cleanup(func() { server.Close() })
	r.server = server
	r.repo, err = server.Create(fleetRepo)
	r.must(err)
	r.clone()
}

// AddNode is a new machine that joins.
func (r *Rig) AddNode(name, pool, zone string) {
	r.t.Helper()
	m := &machine{rig: r, name: name, pool: pool, zone: zone, dir: filepath.Join(r.dir, "nodes", name)}
	r.must(m.start())
	r.machines[name] = m
}

// DeleteNode takes a machine and its Node away.
func (r *Rig) DeleteNode(name string) {
	r.t.Helper()
	m := r.machines[name]
	m.stop()
	delete(r.machines, name)
	r.retired = append(r.retired, m)
	r.plane.Kubectl(r.t, "delete", "node", name)
}

// stopAll ends machines and controllers, and holds that they do so when they are asked.
func (r *Rig) stopAll() {
	for _, m := range r.machines {
		m.power()
	}
	for _, m := range r.machines {
		m.stop()
	}
	for _, c := range r.controllers {
		c.end()
	}
	for _, w := range r.wrong() {
		r.t.Error(w)
	}
	logs, err := filepath.Glob(filepath.Join(r.dir, "*", "log"))
	r.must(err)
	agents, err := filepath.Glob(filepath.Join(r.dir, "nodes", "*", "agent.log"))
	r.must(err)
	for _, log := range append(logs, agents...) {
		text, err := os.ReadFile(log)
		r.must(err)
		if _, race, found := strings.Cut(string(text), "WARNING: DATA RACE"); found {
			r.t.Errorf("%s: a data race%s", log, race[:min(len(race), 4000)])
		}
	}
}

// wrong is what went wrong with machines since it was last asked.
func (r *Rig) wrong() (out []string) {
	for _, m := range append(slices.Collect(maps.Values(r.machines)), r.retired...) {
		m.mu.Lock()
		out = append(out, m.wrong...)
		m.wrong = nil
		m.mu.Unlock()
	}
	return out
}

// Tell shows what there is to see of a failure.
func (r *Rig) Tell(t *testing.T, from Mark) {
	t.Helper()
	var out strings.Builder
	say := func(title, text string) { fmt.Fprintf(&out, "--- %s\n%s\n", title, text) }
	for _, args := range [][]string{
		{"get", "fleets,pools,nodeconfigs"},
		{"get", "nodes"},
		{"get", "pools", "-o", "jsonpath={range .items[*]}{.metadata.name}: {.status.waiting}{\"\\n\"}{end}"},
		{"get", "events.events.k8s.io", "-A", "--sort-by=.metadata.creationTimestamp"},
	} {
		text, err := r.kubectl(args...)
		if err != nil {
			text = err.Error()
		}
		lines := strings.Split(text, "\n")
		say("kubectl "+strings.Join(args[:2], " "), strings.Join(lines[max(0, len(lines)-40):], "\n"))
	}
	for _, c := range r.controllers {
		say(c.name, tail(c.log(), 40))
	}
	record := r.observer.record().Since(from.Version)
	nodes := r.observer.nodes()
	for _, name := range slices.Sorted(maps.Keys(r.machines)) {
		n := nodes[name]
		if n.away() || len(r.machines[name].wrong) > 0 {
			say(name, record.story(name)+tail(r.machines[name].log(), 15))
		}
	}
	t.Log("\n" + out.String())
}

// kubectl is for what may fail.
func (r *Rig) kubectl(args ...string) (string, error) {
	out, err := exec.Command(r.plane.Binary(r.t), append([]string{"kubectl", "--request-timeout=10s", "--kubeconfig", r.plane.Kubeconfig(r.t)}, args...)...).CombinedOutput()
	return string(out), err
}

// away has the API server away while something is done.
func (r *Rig) away(meanwhile func()) {
	r.t.Helper()
	from := time.Now()
	r.plane.Down(r.t)
	meanwhile()
	r.plane.Again(r.t)
	r.dark = append(r.dark, Span{from, time.Now()})
}

// await looks until something has come true.
func (r *Rig) await(what string, look func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for !look() {
		if ctx.Err() != nil {
			r.t.Fatalf("it does not come to be within %s: %s", patience, what)
		}
		pause(ctx)
	}
}
