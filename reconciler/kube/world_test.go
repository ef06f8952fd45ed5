package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/test/cluster"
)

var (
	plane    cluster.Plane
	prepared sync.Once
)

func TestMain(m *testing.M) {
	code := m.Run()
	plane.Stop()
	os.Exit(code)
}

// world is the real API server, emptied for each test.
type world struct {
	*testing.T
	client    *Client
	namespace string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", plane.Kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	prepared.Do(func() {
		plane.Kubectl(t, "apply", "-f", filepath.Join("..", "..", "api", "v1alpha1", "crds"))
		plane.Kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	})
	config.QPS = -1
	w := &world{T: t, client: connect(t, config)}
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	space, err = w.client.core.CoreV1().Namespaces().Create(t.Context(), space, metav1.CreateOptions{})
	w.must(err)
	w.namespace = space.Name
	t.Cleanup(w.clear)
	return w
}

func connect(t *testing.T, config *rest.Config) *Client {
	t.Helper()
	c, err := Connect(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// clear takes away what is not in the test's namespace.
func (w *world) clear() {
	ctx, all := context.Background(), metav1.ListOptions{}
	now := int64(0)
	w.must(w.client.core.CoreV1().Pods(w.namespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, all))
	w.must(w.client.core.CoreV1().Nodes().DeleteCollection(ctx, metav1.DeleteOptions{}, all))
	homes, err := w.client.configs.List(ctx, all)
	w.must(err)
	for _, home := range homes.Items {
		_ = w.client.configs.Delete(ctx, home.Name, metav1.DeleteOptions{}) // or it goes with its node
	}
}

// fleet is the fleet as one controller has it.
func (w *world) fleet() *Fleet {
	f := &Fleet{Client: w.client, Name: "f", Enroll: true, Retry: 50 * time.Millisecond}
	w.Cleanup(f.Close)
	return f
}

func (w *world) add(name string, labels map[string]string) {
	w.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	_, err := w.client.core.CoreV1().Nodes().Create(w.Context(), node, metav1.CreateOptions{})
	w.must(err)
	w.ready(name, true)
}

func (w *world) ready(name string, is bool) {
	w.Helper()
	status := "False"
	if is {
		status = "True"
	}
	patch := fmt.Sprintf(`{"status": {"conditions": [{"type": "Ready", "status": %q, "reason": "Test", "message": "", "lastHeartbeatTime": %q, "lastTransitionTime": %[2]q}]}}`,
		status, time.Now().UTC().Format(time.RFC3339))
	_, err := w.client.core.CoreV1().Nodes().Patch(w.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubelet"}, "status")
	w.must(err)
}

// report is what the agent of a node does.
func (w *world) report(name string, r nodeops.Report) {
	w.Helper()
	w.must(say(w.Context(), w.client, w.fleet(), name, r))
}

func say(ctx context.Context, c *Client, f *Fleet, name string, r nodeops.Report) error {
	if _, err := f.Nodes(ctx); err != nil { // the controller has seen the node
		return err
	}
	home, err := c.configs.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := home.Say(r, metav1.Now()); err != nil {
		return err
	}
	_, err = c.configs.UpdateStatus(ctx, home, metav1.UpdateOptions{FieldManager: "agent"})
	return err
}

// spec is what somebody else writes into a node.
func (w *world) unschedulable(name string, is bool) {
	w.Helper()
	patch := fmt.Sprintf(`{"spec": {"unschedulable": %t}}`, is)
	_, err := w.client.core.CoreV1().Nodes().Patch(w.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-cordon"})
	w.must(err)
}

// pod is one that runs on a node. Without owner nobody would create it again.
func (w *world) pod(name, node string, change func(*corev1.Pod)) *corev1.Pod {
	w.Helper()
	yes := true
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: w.namespace, Labels: map[string]string{"app": name},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "some", UID: "some", Controller: &yes}},
		},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "none"}}},
	}
	if change != nil {
		change(pod)
	}
	// The garbage collector takes pods whose owner it does not find: the owner comes with them.
	w.own(pod)
	zero := int64(0)
	pod.Spec.TerminationGracePeriodSeconds = &zero
	pod, err := w.client.core.CoreV1().Pods(w.namespace).Create(w.Context(), pod, metav1.CreateOptions{})
	w.must(err)
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	pod, err = w.client.core.CoreV1().Pods(w.namespace).UpdateStatus(w.Context(), pod, metav1.UpdateOptions{})
	w.must(err)
	return pod
}

// own makes the owner of a pod be there: a ConfigMap does, since only its kind is looked at.
func (w *world) own(pod *corev1.Pod) {
	w.Helper()
	for i := range pod.OwnerReferences {
		o := &pod.OwnerReferences[i]
		if o.Kind != "ReplicaSet" {
			continue
		}
		*o = metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "owner-" + pod.Name, Controller: o.Controller}
		owner, err := w.client.core.CoreV1().ConfigMaps(w.namespace).Create(w.Context(),
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: o.Name}}, metav1.CreateOptions{})
		w.must(err)
		o.UID = owner.UID
	}
}

// budget lets no pod of an app go.
func (w *world) budget(name, app string) {
	w.Helper()
	all := intstr.FromInt32(1)
	budgets := w.client.core.PolicyV1().PodDisruptionBudgets(w.namespace)
	_, err := budgets.Create(w.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &all, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}},
	}, metav1.CreateOptions{})
	w.must(err)
	w.await("the budget is counted", func() bool {
		b, err := budgets.Get(w.Context(), name, metav1.GetOptions{})
		return err == nil && b.Status.ObservedGeneration > 0 && b.Status.CurrentHealthy > 0
	})
}

// await asks until it is so.
func (w *world) await(what string, is func() bool) {
	w.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			w.Fatalf("it never comes to be: %s", what)
		}
		select {
		case <-w.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (w *world) node(f *Fleet, name string) reconciler.Node {
	w.Helper()
	nodes, err := f.Nodes(w.Context())
	w.must(err)
	i := slices.IndexFunc(nodes, func(n reconciler.Node) bool { return n.Name == name })
	if i < 0 {
		w.Fatalf("there is no node %s", name)
	}
	return nodes[i]
}

func (w *world) pods() (names []string) {
	w.Helper()
	all, err := w.client.core.CoreV1().Pods(w.namespace).List(w.Context(), metav1.ListOptions{})
	w.must(err)
	for _, p := range all.Items {
		names = append(names, p.Name)
	}
	return names
}

// fleetObject is what the operator has written.
func (w *world) fleetObject(change func(*v1alpha1.Fleet)) {
	w.Helper()
	f := &v1alpha1.Fleet{ObjectMeta: metav1.ObjectMeta{Name: "f"}, Spec: v1alpha1.FleetSpec{Source: v1alpha1.Source{URL: "https://git.example.com/fleet"}}}
	if change != nil {
		change(f)
	}
	_, err := w.client.fleets.Create(w.Context(), f, metav1.CreateOptions{})
	w.must(err)
	w.Cleanup(func() {
		w.must(w.client.fleets.Delete(context.Background(), "f", metav1.DeleteOptions{}))
		pools, err := w.client.pools.List(context.Background(), metav1.ListOptions{})
		w.must(err)
		for _, p := range pools.Items {
			if err := w.client.pools.Delete(context.Background(), p.Name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
				w.must(err) // else it has gone with its Fleet
			}
		}
	})
}

func holds(t *testing.T, what, got string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(got, word) {
			t.Errorf("%s says %q, want it to name %q", what, got, word)
		}
	}
}
