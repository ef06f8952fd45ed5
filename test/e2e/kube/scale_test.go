package kube

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// scale is the variable by which make bench-cluster says how many nodes there are.
const scale = "SLUICE_SCALE"

// The goals.
const (
	mostWrites = 6   // of Nodes and NodeConfigs, for each node that is drained and updated
	mostMemory = 150 // MiB of the controller, at its peak
)

// TestScale measures one controller with many nodes, and prints a table. The agents are real but for
// their disks and boots, and so is all that goes over the wire.
func TestScale(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv(scale))
	if err != nil {
		t.Skip("make bench-cluster runs it: it takes many minutes")
	}
	r := bareRig(t)
	r.edit("pools/worker/pool.yaml", "maxUnavailable: 2", "maxUnavailable: 10%")
	r.write(workerRegistries, registriesOf("one"))
	r.edit("pools/worker/kustomization.yaml", "  - 50-hugepages.yaml", "  - 50-hugepages.yaml\n  - 60-registries.yaml")
	first := r.push("start the fleet")
	c := r.lone()
	r.patchFleet(`{"spec": {"source": {"interval": "5s"}}}`)
	names := r.populate(t, n)
	r.join(t, names)
	r.load(t, 5*n)
	m := &meter{rig: r, pid: c.proc.cmd.Process.Pid, metrics: c.metrics, nodes: n}
	m.measure(t, "first: every node is rebooted", func() { r.reached(first, n) })
	r.write(workerRegistries, registriesOf("two"))
	m.measure(t, "a file that is reloaded", func() { r.reached(r.push("another mirror"), n) })
	r.edit(hugepages, `hugepages=\d+`, "hugepages=128")
	m.measure(t, "a wave with drains and reboots", func() { r.reached(r.push("more huge pages"), n) })
	m.measure(t, "at rest, for half a minute", func() { time.Sleep(30 * time.Second) })
	m.print(t)
}

// bareRig is a cluster with the chart in it, and nobody at work yet.
func bareRig(t *testing.T) *Rig {
	t.Helper()
	helm := findHelm()
	if helm == "" {
		t.Skip("there is no helm here: make test builds it")
	}
	dir, err := os.MkdirTemp("", "scale")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &Rig{t: t, dir: dir, helmPath: helm, machines: map[string]*machine{}}
	r.startPlane()
	r.build(present)
	r.startForge()
	r.install()
	return r
}

// lone starts one controller.
func (r *Rig) lone() *controller {
	c := &controller{rig: r, name: "controller-1"}
	r.controllers = []*controller{c}
	c.prepare()
	r.t.Cleanup(c.end)
	c.start()
	r.await("somebody leads", func() bool { return r.leader() != nil })
	go r.publish(r.t.Context())
	return c
}

const workerRegistries = "pools/worker/60-registries.yaml"

// registriesOf is a file whose change reloads CRI-O, and drains nobody.
func registriesOf(mirror string) string {
	return fmt.Sprintf(`apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 60-registries, labels: {machineconfiguration.openshift.io/role: worker}}
spec:
  config:
    ignition: {version: 3.5.0}
    storage:
      files: [{path: /etc/containers/registries.d/60-site.yaml, mode: 0644, contents: {source: "data:,%s"}}]
`, mirror)
}

// load has a Deployment run so many pods.
func (r *Rig) load(t *testing.T, pods int) {
	t.Helper()
	began, replicas := time.Now(), int32(pods)
	labels := map[string]string{"app": "load"}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "load", Namespace: "default"},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "load", Image: "load"}}},
		}},
	}
	deployments := r.core.AppsV1().Deployments("default")
	_, err := deployments.Create(t.Context(), d, metav1.CreateOptions{})
	r.must(err)
	r.slowly("the pods run", func() bool {
		d, err := deployments.Get(t.Context(), "load", metav1.GetOptions{})
		return err == nil && d.Status.ReadyReplicas == replicas
	})
	t.Logf("%d pods run after %s", pods, time.Since(began).Round(time.Second))
}

// slowly waits as long as it takes: the timeout of the test bounds it.
func (r *Rig) slowly(what string, look func() bool) {
	r.t.Helper()
	said := time.Now()
	for !look() {
		if r.t.Context().Err() != nil {
			r.t.Fatal(what)
		}
		if time.Since(said) > time.Minute {
			said = time.Now()
			p := r.pool("worker")
			r.t.Logf("waiting until %s; worker: %s %s at %s", what, p.Phase, p.Updated, p.Revision)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// reached waits until every node is at a commit and back at work.
func (r *Rig) reached(commit string, n int) {
	r.t.Helper()
	r.slowly("all are at "+commit[:7], func() bool {
		p := r.pool("worker")
		return p.Commit == commit && p.Phase == "Updated" && p.Nodes.Updated == int64(n) && p.Nodes.Unavailable == 0
	})
}

// meter measures the process of a controller.
type meter struct {
	rig     *Rig
	pid     int
	metrics string // address
	nodes   int
	rows    [][]string
}

func (m *meter) measure(t *testing.T, what string, do func()) {
	t.Helper()
	cpu, ticks, seconds := m.cpu(), m.metric("sluice_tick_duration_seconds_count"), m.metric("sluice_tick_duration_seconds_sum")
	waits, waited := m.metric("sluice_api_waits_total"), m.metric("sluice_api_wait_seconds_total")
	from := time.Now()
	do()
	took := time.Since(from)
	calls, err := readCalls(m.rig.auditLog())
	m.rig.must(err)
	record := Record{Calls: calls}.After(from)
	ticks, seconds = m.metric("sluice_tick_duration_seconds_count")-ticks, m.metric("sluice_tick_duration_seconds_sum")-seconds
	writes, most := perNode(record)
	total, reads, peak := 0, 0, map[int64]int{}
	for _, c := range record.Calls {
		if c.Account == controllerAccount {
			total++
			peak[c.At.Unix()]++
			if !c.writes() {
				reads++
			}
		}
	}
	busiest := 0
	for _, k := range peak {
		busiest = max(busiest, k)
	}
	m.rows = append(m.rows, []string{
		what, took.Round(100 * time.Millisecond).String(), fmt.Sprintf("%.1f (%d)", float64(writes)/float64(m.nodes), most),
		fmt.Sprintf("%d", m.memory()), fmt.Sprintf("%.1f", m.cpu()-cpu), fmt.Sprintf("%d", total), fmt.Sprintf("%d", reads), fmt.Sprintf("%d", busiest),
		fmt.Sprintf("%.0f (%.1fs)", m.metric("sluice_api_waits_total")-waits, m.metric("sluice_api_wait_seconds_total")-waited),
		fmt.Sprintf("%.0f", ticks), time.Duration(seconds / max(ticks, 1) * float64(time.Second)).Round(time.Millisecond).String(), load(),
	})
	t.Log(strings.Join(m.rows[len(m.rows)-1], " | "))
	t.Log(kinds(record))
}

// perNode are the granted writes of Nodes and NodeConfigs, of controller and agents: of all, and of
// the node that had most.
func perNode(r Record) (all, most int) {
	sum := r.Writes(controllerAccount)
	for node, n := range r.Writes(agentAccount) {
		sum[node] += n
	}
	for _, n := range sum {
		all, most = all+n, max(most, n)
	}
	return all, most
}

// kinds are the requests by account and kind, those that are most first.
func kinds(r Record) string {
	count := map[string]int{}
	for _, c := range r.Calls {
		_, who, _ := strings.Cut(strings.TrimPrefix(c.Account, "system:serviceaccount:"), ":sluice-")
		count[fmt.Sprintf("%s %s %s %d", who, c.Verb, c.Resource, c.Code)]++
	}
	var out []string
	for what, n := range count {
		out = append(out, fmt.Sprintf("%7d %s", n, what))
	}
	slices.Sort(out)
	slices.Reverse(out)
	return "\n" + strings.Join(out[:min(len(out), 25)], "\n")
}

func (m *meter) print(t *testing.T) {
	t.Helper()
	var out strings.Builder
	columns := tabwriter.NewWriter(&out, 0, 8, 2, ' ', 0)
	heads := []string{
		fmt.Sprintf("%d nodes", m.nodes), "time", "writes per node (most)", "peak MiB", "CPU s", "requests", "reads", "busiest second",
		"waited for the limit", "ticks", "each", "load of the machine",
	}
	for _, row := range append([][]string{heads}, m.rows...) {
		fmt.Fprintln(columns, strings.Join(row, "\t"))
	}
	columns.Flush()
	fmt.Fprintf(&out, "goals: at most %d writes per node, %d MiB, and nobody waits for the limit\n", mostWrites, mostMemory)
	fmt.Println("\n" + out.String())
}

// memory is the most that the process has held, in MiB.
func (m *meter) memory() int {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(m.pid), "status"))
	m.rig.must(err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			m.rig.must(err)
			return kib >> 10
		}
	}
	m.rig.t.Fatal("the system does not say how much memory a process has")
	return 0
}

// cpu is the processor time of the process so far, in seconds.
func (m *meter) cpu() float64 { return m.metric("process_cpu_seconds_total") }

// metric is one that the controller says of itself; 0: it does not.
func (m *meter) metric(name string) float64 {
	answer, err := http.Get("http://" + m.metrics + "/metrics")
	m.rig.must(err)
	defer answer.Body.Close()
	lines, sum := bufio.NewScanner(answer.Body), 0.0
	for lines.Scan() {
		series, value, ok := strings.Cut(lines.Text(), " ")
		if base, _, _ := strings.Cut(series, "{"); ok && base == name {
			n, err := strconv.ParseFloat(value, 64)
			m.rig.must(err)
			sum += n
		}
	}
	return sum
}

// load is how busy the machine was within the last minute: figures of one that is busy are larger.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(text))[0]
}
