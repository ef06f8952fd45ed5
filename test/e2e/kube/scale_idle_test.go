package kube

import (
	"os"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	desired "github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
)

// scaleIdle is the variable by which make bench-cluster says how many nodes there are without agents.
const scaleIdle = "SLUICE_SCALE_IDLE"

// TestScaleIdle measures a controller whose nodes stand in the API server only: their reports are
// written here. First none has anything to do, then a tenth has an order that nobody answers.
func TestScaleIdle(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv(scaleIdle))
	if err != nil {
		t.Skip("make bench-cluster runs it: it takes many minutes")
	}
	r := bareRig(t)
	r.plane.Kubectl(t, "-n", Namespace, "delete", "daemonset", agentName, "--wait=false")
	const pool = "pools/worker/pool.yaml"
	r.edit(pool, "maxUnavailable: 2", "maxUnavailable: 10%\n  paused: true")
	r.write(workerRegistries, registriesOf("one"))
	r.edit("pools/worker/kustomization.yaml", "  - 50-hugepages.yaml", "  - 50-hugepages.yaml\n  - 60-registries.yaml")
	first := r.push("start the fleet")
	r.patchFleet(`{"spec": {"source": {"interval": "5s"}}}`)
	names := r.populate(t, n)
	homes := r.settle(names)
	c := r.lone()
	r.slowly("the pool has its target", func() bool { p := r.pool("worker"); return p.Commit == first && p.Target != "" })
	r.report(homes, desired.Digest(r.pool("worker").Target))
	r.edit(pool, `\n  paused: true`, "")
	r.reached(r.push("go"), n)
	m := &meter{rig: r, pid: c.proc.cmd.Process.Pid, metrics: c.metrics, nodes: n}
	m.measure(t, "at rest, for a minute", func() { time.Sleep(time.Minute) })
	r.write(workerRegistries, registriesOf("two"))
	m.measure(t, "a tenth has orders, for a minute and a half", func() { r.push("another mirror"); time.Sleep(90 * time.Second) })
	m.print(t)
}

// settle makes the NodeConfigs of nodes.
func (r *Rig) settle(names []string) []*v1alpha1.NodeConfig {
	r.t.Helper()
	out := make([]*v1alpha1.NodeConfig, len(names))
	r.must(atOnce(len(names), func(i int) error {
		var node *corev1.Node
		var err error
		if node, err = r.core.CoreV1().Nodes().Get(r.t.Context(), names[i], metav1.GetOptions{}); err != nil {
			return err
		}
		out[i] = &v1alpha1.NodeConfig{
			TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "NodeConfig"},
			ObjectMeta: metav1.ObjectMeta{Name: node.Name, OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID},
			}},
		}
		return r.put(out[i], false)
	}))
	return out
}

// report has each node say that it is at a config.
func (r *Rig) report(homes []*v1alpha1.NodeConfig, d desired.Digest) {
	r.t.Helper()
	r.must(atOnce(len(homes), func(i int) error {
		if err := homes[i].Say(nodeops.Report{Config: d, Phase: nodeops.Done, BootID: "boot-0"}, metav1.Now()); err != nil {
			return err
		}
		return r.put(homes[i], true)
	}))
}

// put makes a NodeConfig, or writes its status.
func (r *Rig) put(c *v1alpha1.NodeConfig, status bool) error {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(c)
	if err != nil {
		return err
	}
	client, u := r.objects.Resource(configsResource), &unstructured.Unstructured{Object: object}
	if status {
		u, err = client.UpdateStatus(r.t.Context(), u, metav1.UpdateOptions{})
	} else {
		u, err = client.Create(r.t.Context(), u, metav1.CreateOptions{})
	}
	if err != nil {
		return err
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, c)
}
