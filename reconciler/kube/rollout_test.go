package kube

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/reconciler/loop/looptest"
	"github.com/sluice-gitops/sluice/render"
)

func build(tree fs.FS) ([]render.Build, error) {
	names, err := fs.Glob(tree, "*.yaml")
	b := render.Build{Dir: "."}
	for _, name := range names {
		body, err := fs.ReadFile(tree, name)
		if err != nil {
			return nil, err
		}
		b.Documents = append(b.Documents, render.Document{File: name, Body: body})
	}
	return []render.Build{b}, err
}

// reboots are the files of a commit whose content, and so whose reboot, hangs on a word.
func reboots(word string) map[string]string {
	return map[string]string{
		"pool.yaml": "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: worker}\n",
		"args.yaml": fmt.Sprintf("apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata: {name: 10-args}\nspec: {kernelArguments: [%s]}\n", word),
	}
}

// controller is one as a process has it.
func (w *world) controller(source loop.Source, forge loop.Forge) *loop.Loop {
	store := w.store()
	store.Board, store.Log = &Board{Client: w.client, Fleet: "f"}, slog.New(slog.DiscardHandler)
	return &loop.Loop{
		Source: source, Fleet: w.fleet(), Forge: forge, Store: store, Desk: Desk{w.client, "f"}, Build: build, Gate: policy.Default(),
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
}

// agents do on every node what is ordered, through their NodeConfigs.
func (w *world) agents(f *Fleet) {
	w.Helper()
	homes, err := w.client.configs.List(w.Context(), metav1.ListOptions{})
	w.must(err)
	for _, home := range homes.Items {
		order, err := home.Spec.Order(home.Name)
		w.must(err)
		switch {
		case order.Generation == 0 && home.Status.BootID == "":
			w.must(say(w.Context(), w.client, f, home.Name, nodeops.Report{BootID: "b"}))
		case order.Generation > uint64(home.Status.Generation):
			w.must(say(w.Context(), w.client, f, home.Name, nodeops.Report{Generation: order.Generation, Config: order.Config, Phase: nodeops.Done, BootID: "b"}))
		}
	}
}

// wake lets every agent say that it is there.
func (w *world) wake() {
	w.Helper()
	f := w.fleet()
	_, err := f.Nodes(w.Context()) // which gives each node its NodeConfig
	w.must(err)
	w.agents(f)
}

// web is three pods anywhere, of which two must always be there.
func (w *world) web() {
	three, two := int32(3), int64(0)
	labels := map[string]string{"app": "web"}
	_, err := w.client.core.AppsV1().Deployments(w.namespace).Create(w.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{Replicas: &three, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{TerminationGracePeriodSeconds: &two, Containers: []corev1.Container{{Name: "c", Image: "none"}}},
		}},
	}, metav1.CreateOptions{})
	w.must(err)
	w.await("the deployment is there", func() bool {
		d, err := w.client.core.AppsV1().Deployments(w.namespace).Get(w.Context(), "web", metav1.GetOptions{})
		return err == nil && d.Status.ReadyReplicas == 3
	})
	w.budget("web", "web")
}

// observer watches the nodes, and is the judge: of how many are off work at once, and of what runs
// on a node that is told to reboot.
type observer struct {
	mu     sync.Mutex
	off    map[string]bool
	most   int
	closed map[string]int // how often a node was cordoned
}

func (w *world) watch() *observer {
	w.Helper()
	o := &observer{off: map[string]bool{}, closed: map[string]int{}}
	ctx, stop := context.WithCancel(context.Background())
	watch, err := w.client.core.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{})
	w.must(err)
	var group sync.WaitGroup
	group.Go(func() {
		for event := range watch.ResultChan() {
			n, ok := event.Object.(*corev1.Node)
			if !ok {
				continue
			}
			o.mu.Lock()
			if n.Spec.Unschedulable && !o.off[n.Name] {
				o.closed[n.Name]++
			}
			o.off[n.Name] = n.Spec.Unschedulable
			now := 0
			for _, off := range o.off {
				if off {
					now++
				}
			}
			o.most = max(o.most, now)
			o.mu.Unlock()
		}
	})
	w.Cleanup(func() { watch.Stop(); stop(); group.Wait() })
	return o
}

// TestRollout takes three nodes through two reboots on the real API server, with pods that have a
// budget, a controller that is replaced half way, and another that believes it is the one.
func TestRollout(t *testing.T) {
	w := newWorld(t)
	plane.Nodes(t, "w", 3)
	w.fleetObject(nil)
	w.web()
	seen := w.watch()
	source, forge := &looptest.FakeSource{}, &looptest.FakeForge{}
	first := source.Push(reboots("a"))
	hands, old := w.fleet(), w.controller(source, forge)
	turn := func(l *loop.Loop) (moving bool) {
		moving, err := l.Tick(t.Context())
		if err != nil {
			t.Log(err)
		}
		w.agents(hands)
		return moving || err != nil
	}
	w.await("one node is under way", func() bool { turn(old); return w.closed(hands) > 0 })
	next := w.controller(source, forge) // the old one is not told
	w.await("the fleet is at the first commit", func() bool { return !turn(next) && w.updated(first) })
	if _, err := old.Tick(t.Context()); err != nil {
		t.Logf("the old controller: %v", err) // it may look, and finds nothing to do
	}
	state, err := next.Store.Load(t.Context())
	w.must(err)
	second := source.Push(reboots("b"))
	w.await("one node is under way again", func() bool { turn(next); return w.closed(hands) > 0 })
	if err := old.Store.Save(t.Context(), state); err == nil {
		t.Error("the old controller saves over what the new one has saved")
	}
	w.await("the fleet is at the second commit", func() bool { return !turn(next) && w.updated(second) })

	seen.mu.Lock()
	defer seen.mu.Unlock()
	if seen.most != 1 || len(seen.closed) != 3 {
		t.Errorf("%d nodes were off work at once, of these: %v", seen.most, seen.closed)
	}
	for name, n := range seen.closed {
		if n != 2 {
			t.Errorf("node %s was taken off work %d times for two commits", name, n)
		}
	}
	table := plane.Kubectl(t, "get", "pools,fleets,nodeconfigs")
	t.Log("\n" + table)
	holds(t, "kubectl", table, "Updated   3/3       "+second[:7], "the newest revision is in force", "done")
	plane.Kubectl(t, "wait", "--for=condition=Ready", "pool/worker", "fleet/f", "--timeout=1s")
}

// updated says that the Pool object shows the whole pool at a commit.
func (w *world) updated(commit string) bool {
	p, err := w.client.pools.Get(w.Context(), "worker", metav1.GetOptions{})
	return err == nil && p.Status.Commit == commit && p.Status.Phase == string(reconciler.Updated) && p.Status.Updated == "3/3"
}

func (w *world) closed(f *Fleet) (n int) {
	w.Helper()
	nodes, err := f.Nodes(w.Context())
	w.must(err)
	for _, node := range nodes {
		if node.Cordon == reconciler.Ours {
			n++
		}
	}
	return n
}

// TestWhatHoldsUpARolloutIsSaid: a budget, a foreign cordon and a hold stand in the Pool object.
func TestWhatHoldsUpARolloutIsSaid(t *testing.T) {
	w := newWorld(t)
	worker := map[string]string{"node-role.kubernetes.io/worker": ""}
	w.add("w1", worker)
	w.add("w2", worker)
	w.fleetObject(func(f *v1alpha1.Fleet) {
		f.Spec.Holds = []v1alpha1.Hold{{Pool: "worker", Reason: "the audit", By: "ada"}}
	})
	w.pod("shop", "w1", nil)
	w.budget("never", "shop")
	w.unschedulable("w2", true)
	source, files := &looptest.FakeSource{}, reboots("a")
	files["pool.yaml"] += "spec: {maxUnavailable: 2}\n" // the foreign cordon takes one
	source.Push(files)
	w.wake()
	l := w.controller(source, nil)
	says := func(words ...string) {
		t.Helper()
		said := ""
		w.await("the Pool says "+strings.Join(words, ", "), func() bool {
			if _, err := l.Tick(t.Context()); err != nil {
				t.Log(err)
			}
			p, err := w.client.pools.Get(t.Context(), "worker", metav1.GetOptions{})
			if err != nil {
				return false
			}
			said = p.Status.WaitingOn
			for _, f := range p.Status.Waiting {
				said += "\n" + f.Reason
			}
			for _, word := range words {
				if !strings.Contains(said, word) {
					return false
				}
			}
			return true
		})
	}
	says("held by ada", "the audit")
	f, err := w.client.fleets.Get(t.Context(), "f", metav1.GetOptions{})
	w.must(err)
	f.Spec.Holds = nil
	_, err = w.client.fleets.Update(t.Context(), f, metav1.UpdateOptions{})
	w.must(err)
	says("pod "+w.namespace+"/shop", "PodDisruptionBudget never needs 1 healthy pods and has 1 currently", "node w2 is cordoned by somebody else")
	if n := w.node(w.fleet(), "w2"); n.Cordon != reconciler.Foreign || n.Order.Generation != 0 {
		t.Errorf("the node that somebody else has cordoned is %+v", n)
	}
}
