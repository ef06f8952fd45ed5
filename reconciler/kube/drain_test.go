package kube

import (
	"context"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
)

func bare(p *corev1.Pod) { p.OwnerReferences = nil }

// TestDrain empties a node with one pod, whatever that is, and says what becomes of it.
func TestDrain(t *testing.T) {
	rule := func(action string) []policy.Pods {
		return []policy.Pods{{Namespace: "elsewhere", Action: "skip"}, {Labels: map[string]string{"app": "p"}, Action: action}}
	}
	for _, tt := range []struct {
		name    string
		pod     func(*corev1.Pod)
		budget  bool
		drain   reconciler.Drain
		weak    bool // the controller may not delete pods
		down    bool // the node does not answer
		stays   bool // the pod
		drained bool
		blocked []string
	}{
		{name: "a pod is evicted", drained: true},
		{name: "a budget holds it, and both are named", budget: true, stays: true, blocked: []string{"/p: ", "PodDisruptionBudget shop needs 1 healthy pods and has 1 currently"}},
		{name: "with force it is deleted all the same", budget: true, drain: reconciler.Drain{Force: true}, drained: true},
		{
			name: "without the right to force it stays, and both reasons are told", budget: true, weak: true, drain: reconciler.Drain{Force: true}, stays: true,
			blocked: []string{"PodDisruptionBudget shop needs 1 healthy pods", `cannot delete resource "pods"`, "rbac.deletePods"},
		},
		{name: "a pod that is evicted needs no force", weak: true, drain: reconciler.Drain{Force: true}, drained: true},
		{name: "a pod that nobody would create again stays", pod: bare, stays: true, blocked: []string{"/p: it has no controller"}},
		{name: "with force it does not", pod: bare, drain: reconciler.Drain{Force: true}, drained: true},
		{name: "skip leaves it there", drain: reconciler.Drain{Pods: rule("skip")}, stays: true, drained: true},
		{name: "block leaves it there, and says so", drain: reconciler.Drain{Pods: rule("block"), Force: true}, stays: true, blocked: []string{"says block"}},
		{name: "wait leaves it its time", drain: reconciler.Drain{Pods: rule("wait")}, stays: true, blocked: []string{"says wait"}},
		{name: "evict is what is done anyway", drain: reconciler.Drain{Pods: rule("evict")}, drained: true},
		{name: "a node that does not answer is out of reach for no budget", budget: true, down: true, stays: true, drained: true},
		{name: "nor for a pod that nobody would create again", pod: bare, down: true, stays: true, drained: true},
		{name: "but for a pod that the policy blocks", drain: reconciler.Drain{Pods: rule("block")}, down: true, stays: true, blocked: []string{"says block"}},
		{name: "when its time is over nobody is asked any more", drain: reconciler.Drain{Until: time.Unix(1, 0)}, stays: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.add("w1", nil)
			w.add("w2", nil)
			w.pod("p", "w1", tt.pod)
			w.pod("other", "w2", nil)
			if tt.budget {
				w.budget("shop", "p")
			}
			if tt.down {
				w.ready("w1", false)
			}
			f := w.fleet()
			if tt.weak {
				f.Evictor = w.weak()
			}
			tt.drain.Node = "w1"
			w.must(f.Drain(t.Context(), tt.drain))
			var n reconciler.Node
			w.await("the drain has come as far as it comes", func() bool {
				w.must(f.Drain(t.Context(), tt.drain)) // it is said at every tick
				n = w.node(f, "w1")
				f.mu.Lock()
				defer f.mu.Unlock()
				if job := f.drains["w1"]; job.running && job.rounds < 2 {
					return false
				}
				return n.Drained == tt.drained && (n.Blocked != "") == (tt.blocked != nil)
			})
			holds(t, "the node", n.Blocked, tt.blocked...)
			if is := slices.Contains(w.pods(), "p"); is != tt.stays {
				t.Errorf("the pod is there: %t", is)
			}
			if !slices.Contains(w.pods(), "other") {
				t.Error("a pod of another node went")
			}
			if tt.down && w.node(w.fleet(), "w1").Drained {
				t.Error("a new process that has asked nobody calls the node drained")
			}
			w.must(f.Uncordon(t.Context(), "w1"))
			if n := w.node(f, "w1"); n.Cordon != reconciler.Uncordoned || n.Drained || n.Blocked != "" {
				t.Errorf("handed back, it is %+v", n)
			}
		})
	}
}

// weak is a client of an account that may evict pods and not delete them.
func (w *world) weak() *Client {
	w.Helper()
	plane.Apply(w.T, `
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: weak}, rules: [
  {apiGroups: [""], resources: [nodes, pods], verbs: [get, list]}, {apiGroups: [apps], resources: [daemonsets], verbs: [get]},
  {apiGroups: [""], resources: [pods/eviction], verbs: [create]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: weak},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: weak}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: weak}]}`)
	config := rest.CopyConfig(w.client.config)
	config.Impersonate.UserName = "weak"
	client := connect(w.T, config)
	w.await("it has its rights", func() bool {
		_, err := client.core.CoreV1().Pods("").List(w.Context(), metav1.ListOptions{Limit: 1})
		return err == nil
	})
	return client
}

func TestPodsOfDaemonSetsStay(t *testing.T) {
	w := newWorld(t)
	w.add("w1", nil)
	plane.Kubectl(t, "-n", w.namespace, "create", "-f", "testdata/daemonset.yaml")
	w.await("its pod is there", func() bool { return len(w.pods()) == 1 })
	pods := w.pods()
	f := w.fleet()
	w.must(f.Drain(t.Context(), reconciler.Drain{Node: "w1"}))
	w.await("the node is drained", func() bool { return w.node(f, "w1").Drained })
	if !slices.Equal(pods, w.pods()) {
		t.Errorf("the pods were %v and are %v", pods, w.pods())
	}
}

// A drain ends when the cordon is taken away, or when it is handed back: nobody is evicted after.
func TestADrainEndsWithItsCordon(t *testing.T) {
	w := newWorld(t)
	w.add("w1", nil)
	w.pod("p", "w1", nil)
	w.budget("shop", "p")
	f := w.fleet()
	drain := reconciler.Drain{Node: "w1"}
	w.must(f.Drain(t.Context(), drain))
	w.await("the budget holds it up", func() bool { return w.node(f, "w1").Blocked != "" })
	w.unschedulable("w1", false)
	if n := w.node(f, "w1"); n.Cordon != reconciler.Uncordoned || n.Drained {
		t.Errorf("somebody lifted the cordon, and it is %q, drained %t", n.Cordon, n.Drained)
	}
	w.await("the drain ends by itself", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return !f.drains["w1"].running
	})
	w.unschedulable("w1", true) // our mark is still there
	if n := w.node(f, "w1"); n.Cordon != reconciler.Foreign {
		t.Errorf("a cordon that somebody set after he had lifted ours is %q", n.Cordon)
	}
	if err := f.Drain(t.Context(), drain); err == nil {
		t.Error("it is drained all the same")
	}
	w.must(f.Uncordon(t.Context(), "w1"))
	if n := w.node(f, "w1"); n.Cordon != reconciler.Foreign {
		t.Errorf("and was released to %q", n.Cordon)
	}
}

// Who lifts a cordon in the middle of a drain does not see it taken again without a word; who is handed
// his node back, or lifts what nobody drains any more, is told nothing.
func TestACordonThatIsTakenAgainIsTold(t *testing.T) {
	w := newWorld(t)
	w.add("w1", nil)
	w.pod("p", "w1", nil)
	w.budget("shop", "p")
	f := w.fleet()
	var told []string
	f.Retaken = func(node string) { told = append(told, node) }
	say := func(what string, want int) {
		t.Helper()
		w.must(f.Drain(t.Context(), reconciler.Drain{Node: "w1"}))
		if len(told) != want {
			t.Errorf("%s it is told %d times, want %d", what, len(told), want)
		}
	}
	say("cordoned for the first time", 0)
	say("said again", 0)
	w.unschedulable("w1", false)
	w.node(f, "w1")
	say("lifted", 1)
	say("and said again", 1)
	w.must(f.Uncordon(t.Context(), "w1"))
	say("handed back and begun anew", 1)
	w.unschedulable("w1", false)
	w.node(f, "w1")
	f.mu.Lock()
	f.drains["w1"].at = time.Now().Add(-silence)
	f.mu.Unlock()
	say("begun anew long after", 1)
}

func TestADrainThatNobodySaysAgainEnds(t *testing.T) {
	w := newWorld(t)
	w.add("w1", nil)
	w.pod("p", "w1", nil)
	f := w.fleet()
	_, err := f.takeOff(t.Context(), "w1")
	w.must(err)
	job := &drainage{said: reconciler.Drain{Node: "w1"}, at: time.Now().Add(-silence - time.Second)}
	if f.round(t.Context(), job) || !slices.Equal(w.pods(), []string{"p"}) {
		t.Errorf("it goes on, and the pods are %v", w.pods())
	}
	job.at = time.Now()
	if !f.round(t.Context(), job) || len(w.pods()) != 0 {
		t.Errorf("said again, it does not: the pods are %v", w.pods())
	}
}

// The node is drained by another process meanwhile, and the pod's namesake runs elsewhere.
func TestANamesakeElsewhereIsNotEvicted(t *testing.T) {
	w := newWorld(t)
	w.add("w1", nil)
	w.add("w2", nil)
	old := w.pod("p", "w1", nil)
	w.must(w.client.core.CoreV1().Pods(w.namespace).Delete(t.Context(), "p", metav1.DeleteOptions{}))
	w.must(w.client.core.CoreV1().ConfigMaps(w.namespace).Delete(t.Context(), "owner-p", metav1.DeleteOptions{}))
	w.pod("p", "w2", nil)
	for _, force := range []bool{false, true} {
		w.must(w.fleet().evict(t.Context(), old, force))
		if !slices.Equal(w.pods(), []string{"p"}) {
			t.Errorf("with force %t it went", force)
		}
	}
}

// What a node of the same name was told and said before is nothing to a new one.
func TestANewNodeOfAnOldName(t *testing.T) {
	w := newWorld(t)
	w.add("w1", nil)
	f := w.fleet()
	d := machine.Config{KernelArgs: []string{"a"}}.Digest()
	order := nodeops.Order{Node: "w1", Generation: 9, Config: d, Ceiling: impact.Reboot}
	w.must(f.Send(t.Context(), order))
	w.report("w1", nodeops.Report{Generation: 9, Config: d, Phase: nodeops.Done})
	if n := w.node(f, "w1"); n.Order.Generation != 9 || n.Report.Config != d {
		t.Fatalf("it is %+v", n)
	}
	orphan := metav1.DeletePropagationOrphan // as when the garbage collector has not come by yet
	w.must(w.client.core.CoreV1().Nodes().Delete(t.Context(), "w1", metav1.DeleteOptions{PropagationPolicy: &orphan}))
	w.await("the node is gone", func() bool {
		nodes, err := f.Nodes(t.Context())
		return err == nil && len(nodes) == 0
	})
	w.add("w1", nil)
	if n := w.node(f, "w1"); n.Order.Generation != 0 || n.Report.Config != "" {
		t.Errorf("the new node is %+v", n)
	}
	order.Generation = 3
	w.must(f.Send(t.Context(), order))
	if n := w.node(f, "w1"); n.Order.Generation != 3 {
		t.Errorf("the new node's order is %+v", n.Order)
	}
}

// What somebody keeps of an earlier node holds up the node of its name, and no other.
func TestANodeConfigThatIsKeptHoldsUpOneNode(t *testing.T) {
	w := newWorld(t)
	w.add("w1", nil)
	w.add("w2", nil)
	f := w.fleet()
	w.node(f, "w1")
	plane.Kubectl(t, "patch", "nodeconfig", "w1", "--type=merge", "-p", `{"metadata": {"finalizers": ["example.com/keep"]}}`)
	orphan := metav1.DeletePropagationOrphan
	w.must(w.client.core.CoreV1().Nodes().Delete(t.Context(), "w1", metav1.DeleteOptions{PropagationPolicy: &orphan}))
	w.await("the node is gone", func() bool {
		nodes, err := f.Nodes(t.Context())
		return err == nil && len(nodes) == 1
	})
	w.add("w1", nil)
	var nodes []reconciler.Node
	w.await("the fleet can be read", func() bool {
		var err error
		nodes, err = f.Nodes(t.Context()) // the first look deletes it
		return err == nil
	})
	if n := nodes[0]; n.Ready || n.Cordon != reconciler.Foreign {
		t.Errorf("the node is %+v", n)
	} else {
		holds(t, "the node", n.Report.Why, "NodeConfig w1 is of an earlier node", "example.com/keep")
	}
	if n := nodes[1]; !n.Ready || n.Cordon != reconciler.Uncordoned {
		t.Errorf("another is %+v", n)
	}
	plane.Kubectl(t, "patch", "nodeconfig", "w1", "--type=merge", "-p", `{"metadata": {"finalizers": null}}`)
	w.await("the node has one of its own", func() bool { n := w.node(f, "w1"); return n.Ready && n.Cordon == reconciler.Uncordoned })
}

// A controller that does not know better is refused by the server itself.
func TestTheServerRefusesAnOlderOrder(t *testing.T) {
	w := newWorld(t)
	w.add("w1", nil)
	w.must(w.fleet().Send(t.Context(), nodeops.Order{Node: "w1", Generation: 9, Config: machine.Config{}.Digest()}))
	home, err := w.client.configs.Get(t.Context(), "w1", metav1.GetOptions{})
	w.must(err)
	home.Spec.Generation = 8
	if _, err := w.client.configs.Update(t.Context(), home, metav1.UpdateOptions{}); err == nil {
		t.Error("it takes it")
	} else {
		holds(t, "the server", err.Error(), "may not be older")
	}
}

// A report of another version is one node's trouble, and says so.
func TestAReportThatCannotBeReadLeavesTheNodeAlone(t *testing.T) {
	w := newWorld(t)
	w.add("w1", nil)
	w.add("w2", nil)
	f := w.fleet()
	w.node(f, "w1")
	home, err := w.client.configs.Get(t.Context(), "w1", metav1.GetOptions{})
	w.must(err)
	home.Status.Phase = "dreaming"
	_, err = w.client.configs.UpdateStatus(t.Context(), home, metav1.UpdateOptions{})
	w.must(err)
	if n := w.node(f, "w1"); n.Ready || n.Cordon != reconciler.Foreign {
		t.Errorf("it is %+v", n)
	} else {
		holds(t, "the node", n.Report.Why, "w1", "dreaming")
	}
	if n := w.node(f, "w2"); !n.Ready {
		t.Errorf("another node is %+v", n)
	}
}

// What only reads makes nothing, and what was closed does nothing more.
func TestAFleetThatIsOnlyLookedAtIsNotWritten(t *testing.T) {
	w := newWorld(t)
	w.add("w1", nil)
	f := w.fleet()
	f.Enroll = false
	w.node(f, "w1")
	homes, err := w.client.configs.List(context.Background(), metav1.ListOptions{})
	w.must(err)
	if len(homes.Items) != 0 {
		t.Errorf("to look has made %d NodeConfigs", len(homes.Items))
	}
}
