package cluster_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler/blockers"
	"github.com/sluice-gitops/sluice/reconciler/cluster"
	"github.com/sluice-gitops/sluice/reconciler/preview"
	"github.com/sluice-gitops/sluice/render"
)

// BenchmarkPreview is a preview from the bytes of a recorded cluster to the comment: 5,000 nodes
// with twelve pods each, as large as kubectl prints them.
func BenchmarkPreview(b *testing.B) {
	const nodes, podsPerNode = 5000, 12
	file := filepath.Join(b.TempDir(), "cluster.json")
	size := writeFleet(b, file, nodes, podsPerNode)
	var peak uint64
	worked := cpuTime(b)
	b.ReportAllocs()
	for b.Loop() {
		stop, most := make(chan struct{}), make(chan uint64)
		go watch(stop, most)
		s, err := cluster.ReadFiles(file)
		if err != nil {
			b.Fatal(err)
		}
		report := preview.Make(previewOf(s))
		comment := report.Markdown()
		close(stop)
		peak = max(peak, <-most)
		if len(s.Pods) != nodes*podsPerNode || len(report.Pools[0].Blockers) == 0 || comment == "" {
			b.Fatalf("%d pods, %d blockers: this is not the preview that the name says", len(s.Pods), len(report.Pools[0].Blockers))
		}
	}
	b.ReportMetric((cpuTime(b)-worked).Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
	b.ReportMetric(float64(size)/(1<<20), "MiB-file")
}

// cpuTime is what the process has taken of the processors so far: other than the time on the wall,
// it says the same on a busy machine.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// watch looks at how much memory the process holds, again and again, and tells the most.
func watch(stop <-chan struct{}, most chan<- uint64) {
	held := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	var peak uint64
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		metrics.Read(held)
		peak = max(peak, held[0].Value.Uint64()-held[1].Value.Uint64())
		select {
		case <-stop:
			tick.Stop()
			most <- peak
			return
		case <-tick.C:
		}
	}
}

func previewOf(s *blockers.Snapshot) preview.Input {
	pool := func(word string) []render.Pool {
		return []render.Pool{{
			Name: "worker", Selector: labels.SelectorFromSet(labels.Set{"node-role.kubernetes.io/worker": ""}),
			Strategy: render.Strategy{MaxUnavailable: "2%"}, Config: machine.Config{KernelArgs: []string{word}},
		}}
	}
	return preview.Input{
		Base: "c1", MergeBase: "c1", Head: "c2", Before: pool("old"), After: pool("new"),
		Nodes: cluster.Nodes(s), Cluster: s, Gate: policy.Default(), Now: noon.Time,
	}
}

// writeFleet writes a fleet as kubectl prints it, and returns how many bytes that are. Two pods of
// each node belong to DaemonSets, the others to Deployments of five replicas with a budget
// each, of which one of a hundred never allows an eviction.
func writeFleet(tb testing.TB, file string, nodes, podsPerNode int) int64 {
	tb.Helper()
	f, err := os.Create(file)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<20)
	sep := "{\n    \"apiVersion\": \"v1\",\n    \"items\": [\n"
	put := func(item []byte) {
		out.WriteString(sep)
		out.Write(item)
		sep = ",\n"
	}
	var w world
	for i := range nodes {
		w.node(fmt.Sprintf("node-%04d", i))
	}
	w.daemonSet("kube-system", "network")
	w.daemonSet("kube-system", "logs")
	apps := nodes * (podsPerNode - 2) / 5
	for a := range apps {
		ns, app := fmt.Sprintf("team-%03d", a%200), fmt.Sprintf("app-%05d", a)
		w.deployment(ns, app, 5)
		if a%100 == 0 {
			w.budget(ns, app, app, [4]int32{5, 5, 5, 0}, maxUnavailable("0"))
		} else {
			w.budget(ns, app, app, [4]int32{5, 5, 4, 1}, maxUnavailable("1"))
		}
		w.service(ns, app, app+"-0", app+"-1", app+"-2", app+"-3", app+"-4")
	}
	for _, o := range w.objects {
		raw, err := json.MarshalIndent(o, "        ", "    ")
		if err != nil {
			tb.Fatal(err)
		}
		put(raw)
	}
	template := printedPod(tb)
	for i := range nodes {
		for j := range podsPerNode {
			ns, app, owner, kind := "kube-system", "network", "network", "DaemonSet"
			name := fmt.Sprintf("network-%04d-%d", i, j)
			if j >= 2 {
				n := i*(podsPerNode-2) + j - 2
				ns, app, kind = fmt.Sprintf("team-%03d", n%apps%200), fmt.Sprintf("app-%05d", n%apps), "ReplicaSet"
				owner, name = app+"-1", fmt.Sprintf("%s-%d", app, n/apps)
			}
			put([]byte(strings.NewReplacer("NAMESPACE", ns, "PODNAME", name, "NODENAME", fmt.Sprintf("node-%04d", i), "APPNAME", app, "OWNERKIND", kind, "OWNERNAME", owner).Replace(template)))
		}
	}
	out.WriteString("\n    ],\n    \"kind\": \"List\",\n    \"metadata\": {\n        \"resourceVersion\": \"\"\n    }\n}\n")
	if err := out.Flush(); err != nil {
		tb.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		tb.Fatal(err)
	}
	return info.Size()
}

// printedPod is a pod with what pods commonly have, as kubectl prints it; words in capitals are to
// be replaced.
func printedPod(tb testing.TB) string {
	tb.Helper()
	var w world
	w.pod("NAMESPACE", "PODNAME", "NODENAME", "APPNAME", of("OWNERKIND", "OWNERNAME"),
		volume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}),
		volume(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}))
	p := w.objects[0].(*corev1.Pod)
	p.UID, p.ResourceVersion, p.GenerateName, p.CreationTimestamp = "0b5dd3b8-1111-4aaa-8bbb-123456789abc", "123456789", "PODNAME-", noon
	p.Annotations = map[string]string{"example.com/config-hash": strings.Repeat("0123456789abcdef", 4), "prometheus.io/scrape": "true", "prometheus.io/port": "9090"}
	p.Labels["app.kubernetes.io/instance"], p.Labels["pod-template-hash"] = "main", "6d5f8c9b7c"
	c := &p.Spec.Containers[0]
	c.Image, c.ImagePullPolicy, c.TerminationMessagePath = "registry.example.com/team/app@sha256:"+strings.Repeat("0123456789abcdef", 4), "IfNotPresent", "/dev/termination-log"
	for i := range 8 {
		c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", i), Value: fmt.Sprintf("value number %d with \"quotes\" and \\ and {braces}", i)})
	}
	for i := range 3 {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: fmt.Sprintf("v%d", i), MountPath: fmt.Sprintf("/var/lib/app/%d", i), ReadOnly: true})
		p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: fmt.Sprintf("example.com/%d", i), Operator: "Exists", Effect: "NoExecute", TolerationSeconds: ptr(int64(300))})
	}
	probe := &corev1.Probe{FailureThreshold: 3, PeriodSeconds: 10, SuccessThreshold: 1, TimeoutSeconds: 1}
	probe.HTTPGet = &corev1.HTTPGetAction{Path: "/healthz", Scheme: "HTTP"}
	c.LivenessProbe, c.ReadinessProbe, c.StartupProbe = probe, probe, probe
	c.SecurityContext = &corev1.SecurityContext{AllowPrivilegeEscalation: ptr(false), RunAsNonRoot: ptr(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
	p.Spec.DNSPolicy, p.Spec.RestartPolicy, p.Spec.SchedulerName, p.Spec.ServiceAccountName = "ClusterFirst", "Always", "default-scheduler", "app"
	for _, kind := range []corev1.PodConditionType{"PodReadyToStartContainers", "Initialized", "ContainersReady", "PodScheduled"} {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: kind, Status: "True", LastTransitionTime: noon})
	}
	for _, c := range p.Spec.Containers {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Ready: true, Started: ptr(true), Image: c.Image, ImageID: c.Image, ContainerID: "containerd://" + strings.Repeat("0123456789abcdef", 4),
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: noon}},
		})
	}
	p.Status.HostIP, p.Status.PodIP, p.Status.QOSClass, p.Status.StartTime = "192.0.2.1", "198.51.100.7", "Burstable", &metav1.Time{Time: noon.Time}
	raw, err := json.MarshalIndent(p, "        ", "    ")
	if err != nil {
		tb.Fatal(err)
	}
	return string(bytes.TrimSpace(raw))
}
