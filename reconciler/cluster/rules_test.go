package cluster_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler/blockers"
)

// three adds nodes a, b and c, with a Deployment that has a replica on each, room to spare, a
// Service and a budget that lets one go: nothing of it stands in the way of one node at a time.
func three(w *world) {
	for _, n := range []string{"a", "b", "c"} {
		w.node(n)
		w.pod("kube-system", "net-"+n, n, "net", of("DaemonSet", "net"), volume(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/run"}}))
		w.pod("shop", "web-"+n, n, "web", of("ReplicaSet", "web-1"))
	}
	w.daemonSet("kube-system", "net")
	w.deployment("shop", "web", 3)
	w.budget("shop", "web", "web", [4]int32{3, 3, 2, 1}, maxUnavailable("1"))
	w.service("shop", "web", "web-a", "web-b", "web-c")
}

var oneByOne = [][]string{{"a"}, {"b"}, {"c"}}

func find(s *blockers.Snapshot, waves [][]string, d policy.Drain) ([]blockers.Blocker, blockers.Totals) {
	return blockers.Find(s, waves, func(string) impact.Kind { return impact.Reboot }, d)
}

// TestBlockers holds each rule to what it finds in a cluster that was printed and read again:
// severity, mark, wave, kind and object of every blocker, and words of the reason.
func TestBlockers(t *testing.T) {
	local := func(w *world) {
		w.statefulSet("shop", "db", 3)
		w.pod("shop", "db-0", "a", "db", of("StatefulSet", "db"), volume(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-db-0"}}))
		w.add(&corev1.PersistentVolumeClaim{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"}, ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "data-db-0"},
			Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "disk-7"},
		}, &corev1.PersistentVolume{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolume"}, ObjectMeta: metav1.ObjectMeta{Name: "disk-7"},
			Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/disk"}}},
		})
	}
	pair := func(w *world, change ...func(*corev1.Pod)) { // a Deployment of two, both on a
		w.deployment("shop", "api", 2)
		w.pod("shop", "api-0", "a", "api", append(change, of("ReplicaSet", "api-1"))...)
		w.pod("shop", "api-1", "a", "api", of("ReplicaSet", "api-1"))
	}
	etcd := func(w *world, bad ...string) {
		for i, n := range []string{"m1", "m2", "m3"} {
			w.node(n, func(n *corev1.Node) { n.Labels = map[string]string{"node-role.kubernetes.io/control-plane": ""} })
			w.pod("kube-system", "etcd-"+n, n, "etcd", func(p *corev1.Pod) {
				p.Labels["component"] = "etcd"
				p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
				if i < len(bad) {
					unready(p)
				}
			})
		}
	}
	gpu := func(w *world) {
		for _, n := range []string{"g1", "g2"} {
			w.node(n, func(n *corev1.Node) {
				n.Spec.Taints = []corev1.Taint{{Key: "gpu", Value: "yes", Effect: corev1.TaintEffectNoSchedule}}
				n.Status.Allocatable["nvidia.com/gpu"] = resource.MustParse("2")
			})
		}
		w.deployment("ml", "train", 2)
		for i := range 2 {
			w.pod("ml", fmt.Sprintf("train-%d", i), fmt.Sprintf("g%d", i+1), "train", of("ReplicaSet", "train-1"), func(p *corev1.Pod) {
				p.Spec.Containers[0].Resources.Requests["nvidia.com/gpu"] = resource.MustParse("2")
			})
		}
	}
	for _, c := range []struct {
		name  string
		build func(w *world)
		waves [][]string // nil is one by one
		drain policy.Drain
		want  []string // "severity mark wave kind object: words of the reason"
	}{
		{name: "a healthy fleet meets nothing", build: func(*world) {}},
		{name: "a pod without a controller is refused", build: func(w *world) {
			w.pod("ops", "debug", "b", "debug")
		}, want: []string{"blocks snapshot 2 bare-pod ops/debug: nobody would create it again"}},
		{name: "a finished pod without a controller just goes", build: func(w *world) {
			w.pod("ops", "debug", "b", "debug", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })
		}},
		{name: "a static pod stays", build: func(w *world) {
			w.pod("kube-system", "proxy-a", "a", "proxy", func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} })
		}},
		{name: "a pod whose DaemonSet is gone is refused", build: func(w *world) {
			w.pod("kube-system", "old-c", "c", "old", of("DaemonSet", "old"))
		}, want: []string{"blocks snapshot 3 orphan-pod kube-system/old-c: DaemonSet is gone"}},
		{name: "force deletes what it cannot evict", drain: policy.Drain{OnTimeout: "force"}, build: func(w *world) {
			w.pod("ops", "debug", "b", "debug")
		}, want: []string{"warns snapshot 2 bare-pod ops/debug: "}},
		{name: "data on the node holds its pod back", build: local, want: []string{"warns snapshot 1 replicas-down shop/db: 1 ready pod,", "warns snapshot 1 local-storage shop/db: local volume disk-7"}},
		{name: "a folder of the node is another one elsewhere", build: func(w *world) {
			w.deployment("shop", "cache", 2)
			w.pod("shop", "cache-0", "a", "cache", of("ReplicaSet", "cache-1"), volume(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/data"}}))
			w.pod("shop", "cache-1", "b", "cache", of("ReplicaSet", "cache-1"))
		}, want: []string{"warns snapshot 1 local-storage shop/cache: uses /data of the node"}},
		{name: "one replica behind a Service is down for a while", build: func(w *world) {
			w.deployment("shop", "legacy", 1)
			w.pod("shop", "legacy-0", "b", "legacy", of("ReplicaSet", "legacy-1"))
			w.service("shop", "legacy", "legacy-0")
		}, want: []string{"warns snapshot 2 service-down shop/legacy: ready endpoints (1)", "warns snapshot 2 single-replica shop/legacy: Deployment has one replica"}},
		{name: "all replicas in one wave are down together", build: func(w *world) {
			pair(w)
			w.service("shop", "api", "api-0", "api-1")
		}, want: []string{"warns snapshot 1 service-down shop/api: (2)", "warns snapshot 1 replicas-down shop/api: 2 ready pods"}},
		{name: "a budget that keeps one at work spares the service", build: func(w *world) {
			pair(w)
			w.service("shop", "api", "api-0", "api-1")
			w.budget("shop", "api", "api", [4]int32{2, 2, 1, 1}, minAvailable("1"))
		}, want: []string{"warns estimate 1 pdb-wave shop/api: 2 of its pods are in the wave and 1 may be away at a time: the wave takes about 2 rounds"}},
		{
			name: "a budget that a wave fills is taken in rounds", waves: [][]string{{"a", "b"}}, build: func(*world) {},
			want: []string{"warns estimate 1 pdb-wave shop/web: about 2 rounds"},
		},
		{name: "an endpoint outside the cluster keeps a Service up", build: func(w *world) {
			w.deployment("shop", "edge", 2)
			w.pod("shop", "edge-0", "a", "edge", of("ReplicaSet", "edge-1"))
			w.pod("shop", "edge-1", "b", "edge", of("ReplicaSet", "edge-1"))
			w.service("shop", "edge", "edge-0", "elsewhere")
		}},
		{name: "two budgets on one pod", build: func(w *world) {
			w.budget("shop", "all", "web", [4]int32{3, 3, 1, 2}, minAvailable("1"))
		}, want: []string{"blocks snapshot 1 pdb-overlap shop/web: selected by 2 budgets (all, web)"}},
		{name: "maxUnavailable 0 never allows", build: func(w *world) {
			pair(w)
			w.budget("shop", "api", "api", [4]int32{2, 2, 2, 0}, maxUnavailable("0"))
		}, want: []string{"blocks exact 1 pdb-never shop/api: maxUnavailable is 0"}},
		{name: "minAvailable 100% never allows", build: func(w *world) {
			pair(w)
			w.budget("shop", "api", "api", [4]int32{2, 2, 2, 0}, minAvailable("100%"))
		}, want: []string{"blocks exact 1 pdb-never shop/api: minAvailable is 100%"}},
		{name: "minAvailable of all replicas never allows at this size", build: func(w *world) {
			pair(w)
			w.budget("shop", "api", "api", [4]int32{2, 2, 2, 0}, minAvailable("2"))
		}, want: []string{"blocks snapshot 1 pdb-never shop/api: minAvailable 2 of 2 pods is all of them"}},
		{name: "a budget without slack now", build: func(w *world) {
			pair(w)
			w.budget("shop", "api", "api", [4]int32{3, 2, 2, 0}, maxUnavailable("1"))
		}, want: []string{"blocks snapshot 1 pdb-now shop/api: 2 of its 3 pods are healthy, and 2 must be"}},
		{name: "a pod that is not ready goes without the budget's leave where enough are healthy", build: func(w *world) {
			w.deployment("shop", "api", 3)
			w.pod("shop", "api-0", "a", "api", of("ReplicaSet", "api-1"), unready)
			w.budget("shop", "api", "api", [4]int32{3, 2, 2, 0}, maxUnavailable("1"))
		}},
		{name: "a pod that is not ready is held where too few are healthy", build: func(w *world) {
			w.deployment("shop", "api", 3)
			w.pod("shop", "api-0", "a", "api", of("ReplicaSet", "api-1"), unready)
			w.budget("shop", "api", "api", [4]int32{3, 1, 2, 0}, maxUnavailable("1"))
		}, want: []string{"blocks snapshot 1 pdb-now shop/api: pod api-0 is not ready and may not go either"}},
		{name: "AlwaysAllow lets it go", build: func(w *world) {
			w.deployment("shop", "api", 3)
			w.pod("shop", "api-0", "a", "api", of("ReplicaSet", "api-1"), unready)
			w.budget("shop", "api", "api", [4]int32{3, 1, 2, 0}, maxUnavailable("1"), func(b *policyv1.PodDisruptionBudget) {
				b.Spec.UnhealthyPodEvictionPolicy = ptr(policyv1.AlwaysAllow)
			})
		}},
		{name: "a stale status refuses every eviction", build: func(w *world) {
			pair(w)
			w.budget("shop", "api", "api", [4]int32{2, 2, 1, 1}, minAvailable("1"), func(b *policyv1.PodDisruptionBudget) { b.Status.ObservedGeneration = 1 })
		}, want: []string{"blocks snapshot 1 pdb-now shop/api: older than its spec"}},
		{name: "a pod that does not go away", build: func(w *world) {
			w.deployment("shop", "api", 3)
			w.pod("shop", "api-0", "a", "api", of("ReplicaSet", "api-1"), func(p *corev1.Pod) {
				p.DeletionTimestamp, p.Finalizers = ptr(metav1.NewTime(noon.Add(-time.Hour))), []string{"example.com/hold"}
				unready(p)
			})
		}, want: []string{"blocks snapshot 1 terminating shop/api-0: 1h0m0s before the snapshot and it is still there, kept by example.com/hold"}},
		{name: "a pod that may take longer than the drain waits", build: func(w *world) {
			w.statefulSet("shop", "slow", 2)
			w.pod("shop", "slow-1", "b", "slow", of("StatefulSet", "slow"))
			w.pod("shop", "slow-0", "a", "slow", of("StatefulSet", "slow"), func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = ptr(int64(3600)) })
		}, want: []string{"warns exact 1 grace-period shop/slow: pod slow-0 may take 1h to end, and the drain gives up after 30m"}},
		{name: "a Job at work", build: func(w *world) {
			w.pod("batch", "import-x", "a", "import", of("Job", "import"))
		}, want: []string{"warns snapshot 1 running-job batch/import: pod import-x is at work"}},
		{name: "a pod that asks not to be disturbed", build: func(w *world) {
			w.deployment("shop", "calm", 2)
			w.pod("shop", "calm-0", "a", "calm", of("ReplicaSet", "calm-1"), func(p *corev1.Pod) {
				p.Annotations = map[string]string{"karpenter.sh/do-not-disrupt": "true", "cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}
			})
			w.pod("shop", "calm-1", "b", "calm", of("ReplicaSet", "calm-1"))
		}, want: []string{"warns snapshot 1 veto-annotation shop/calm: (karpenter.sh/do-not-disrupt=true)"}},
		{name: "the majority of a StatefulSet", waves: [][]string{{"a", "b"}}, build: func(w *world) {
			w.statefulSet("shop", "zk", 3)
			for i, n := range []string{"a", "b", "c"} {
				w.pod("shop", fmt.Sprintf("zk-%d", i), n, "zk", of("StatefulSet", "zk"))
			}
		}, want: []string{"warns estimate 1 quorum shop/zk: leaves 1 of its 3 replicas ready", "warns estimate 1 pdb-wave shop/web: about 2 rounds"}},
		{name: "one member of etcd at a time is fine", waves: [][]string{{"m1"}, {"m2"}, {"m3"}}, build: func(w *world) { etcd(w) }},
		{
			name: "two members of etcd are too many", waves: [][]string{{"m1", "m2"}}, build: func(w *world) { etcd(w) },
			want: []string{"blocks snapshot 1 quorum etcd: leaves 1 of 3 etcd members up, and 2 are needed"},
		},
		{
			name: "a member of etcd that is down already counts", waves: [][]string{{"m2"}}, build: func(w *world) { etcd(w, "m1") },
			want: []string{"blocks snapshot 1 quorum etcd: leaves 1 of 3"},
		},
		{name: "the only node of a control plane", waves: [][]string{{"m"}}, build: func(w *world) {
			w.node("m", func(n *corev1.Node) { n.Labels = map[string]string{"node-role.kubernetes.io/control-plane": ""} })
		}, want: []string{"warns snapshot 1 quorum control-plane: the API is away while the node is"}},
		{
			name: "no room for what a GPU node evicts", waves: [][]string{{"g1"}}, build: gpu,
			want: []string{"warns estimate 1 headroom nvidia.com/gpu: ask for 2 nvidia.com/gpu, and the other nodes with the taints gpu=yes:NoSchedule have 0 nvidia.com/gpu free"},
		},
		{name: "no room for memory", build: func(w *world) {
			w.deployment("shop", "big", 3)
			for i, n := range []string{"a", "b", "c"} {
				w.pod("shop", fmt.Sprintf("big-%d", i), n, "big", of("ReplicaSet", "big-1"), func(p *corev1.Pod) {
					p.Spec.Containers[0].Resources.Requests["memory"] = resource.MustParse("12Gi")
				})
			}
		}, want: []string{"warns estimate 1 headroom memory: ask for 12.1 GiB of memory, and the other nodes have 7.5 GiB of memory free, by requests and taints alone: some wait until a node is back; met again in 2 later waves"}},
		{name: "a cordoned node is no room", waves: [][]string{{"a"}}, build: func(w *world) {
			w.deployment("shop", "big", 2)
			w.node("d", func(n *corev1.Node) { n.Spec.Unschedulable = true })
			w.pod("shop", "big-0", "a", "big", of("ReplicaSet", "big-1"), func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Requests["cpu"] = resource.MustParse("3800m") })
			w.pod("shop", "big-1", "b", "big", of("ReplicaSet", "big-1"), func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Requests["cpu"] = resource.MustParse("3800m") })
			w.pod("shop", "big-2", "c", "big", of("ReplicaSet", "big-1"), func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Requests["cpu"] = resource.MustParse("3800m") })
		}, want: []string{"warns estimate 1 headroom cpu: ask for 3.9 cores"}},
		{name: "the policy blocks, waits for and skips pods", drain: policy.Drain{Pods: []policy.Pods{
			{Namespace: "ops", Labels: map[string]string{"app": "debug"}, Action: "skip"},
			{Labels: map[string]string{"app": "import"}, Action: "wait"},
			{Namespace: "vm", Action: "block"},
		}}, build: func(w *world) {
			w.pod("ops", "debug", "b", "debug")
			w.pod("batch", "import-x", "a", "import", of("Job", "import"))
			w.pod("vm", "guest", "c", "guest", of("Guest", "guest"))
		}, want: []string{"blocks exact 3 blocked-by-rule vm/guest: says block", "warns snapshot 1 waited-for batch/import-x: ended by itself"}},
		{
			name: "a node that was not recorded", waves: [][]string{{"a"}, {"x"}}, build: func(*world) {},
			want: []string{"warns snapshot 2 unknown : 1 node of the waves is not in the record, such as x"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w world
			three(&w)
			c.build(&w)
			waves := c.waves
			if waves == nil {
				waves = oneByOne
			}
			got, _ := find(w.recorded(t), waves, c.drain)
			for i, b := range got {
				line := fmt.Sprintf("%s %s %d %s %s: %s", b.Severity, b.Mark, b.Wave, b.Kind, strings.TrimPrefix(b.Namespace+"/"+b.Name, "/"), b.Reason)
				if i >= len(c.want) {
					t.Errorf("found besides: %s", line)
					continue
				}
				head, words, _ := strings.Cut(c.want[i], ": ")
				if !strings.HasPrefix(line, head+": ") || !strings.Contains(line, words) {
					t.Errorf("found %s\n want %s", line, c.want[i])
				}
			}
			for _, missing := range c.want[min(len(got), len(c.want)):] {
				t.Errorf("not found: %s", missing)
			}
		})
	}
}
