package kube

import (
	"os"
	"strconv"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	r.plane.Kubectl(t, "delete", "validatingadmissionpolicybindings", "--all") // they would let agents alone report
	r.populate(t, n)
	c := r.lone()
	r.slowly("the pool has its target", func() bool { p := r.pool("worker"); return p.Commit == first && p.Target != "" })
	target := desired.Digest(r.pool("worker").Target)
	r.slowly("the controller knows all nodes", func() bool { return r.report(target) == n })
	r.edit(pool, `\n  paused: true`, "")
	last := r.push("go")
	r.slowly("all are at "+last[:7], func() bool {
		r.report(target) // what is ordered costs nothing: it is answered
		p := r.pool("worker")
		return p.Commit == last && p.Phase == "Updated" && p.Nodes.Updated == int64(n)
	})
	m := &meter{rig: r, pid: c.proc.cmd.Process.Pid, metrics: c.metrics, nodes: n}
	m.measure(t, "at rest, for a minute", func() { time.Sleep(time.Minute) })
	r.write(workerRegistries, registriesOf("two"))
	m.measure(t, "a tenth has orders, for a minute and a half", func() { r.push("another mirror"); time.Sleep(90 * time.Second) })
	m.print(t)
}

// report has each node that has not said so yet say that it is at a config, as its newest order asks.
// It answers with how many nodes there are.
func (r *Rig) report(d desired.Digest) int {
	r.t.Helper()
	client := r.objects.Resource(configsResource)
	list, err := client.List(r.t.Context(), metav1.ListOptions{})
	r.must(err)
	r.must(atOnce(len(list.Items), func(i int) error {
		c := &v1alpha1.NodeConfig{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, c); err != nil {
			return err
		}
		order, err := c.Spec.Order(c.Name)
		if err != nil {
			return err
		}
		if was, err := c.Status.Report(); err != nil || was.Config == d && was.Generation == order.Generation {
			return err
		}
		if err := c.Say(nodeops.Report{Generation: order.Generation, Config: d, Phase: nodeops.Done, BootID: "boot-0"}, metav1.Now()); err != nil {
			return err
		}
		object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(c)
		if err != nil {
			return err
		}
		_, err = client.UpdateStatus(r.t.Context(), &unstructured.Unstructured{Object: object}, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) {
			return nil // it has a newer order meanwhile: the next call answers that
		}
		return err
	}))
	return len(list.Items)
}
