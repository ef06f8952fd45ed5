package kube

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/loop/looptest"
)

// TestTwoWitnessesOfABoot: a node is at work when kubelet and agent speak of the same boot. A cluster
// whose nodes name none goes by what the kubelet says.
func TestTwoWitnessesOfABoot(t *testing.T) {
	w := newWorld(t)
	f := w.fleet()
	for _, tt := range []struct {
		name, kubelet, agent string
		ready, want          bool
	}{
		{"both of one boot", "b1", "b1", true, true},
		{"the agent is back, and the kubelet has not spoken since: its Ready is of the boot before", "b1", "b2", true, false},
		{"the kubelet is back, and the agent is silent since", "b2", "b1", true, false},
		{"both are back", "b2", "b2", true, true},
		{"both are back, and it is not ready", "b2", "b2", false, false},
		{"the kubelet names none", "", "b1", true, true},
		{"the agent has not spoken yet", "b1", "", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{T: t, client: w.client, namespace: w.namespace}
			w.add("w1", nil)
			defer func() { w.must(w.client.core.CoreV1().Nodes().Delete(t.Context(), "w1", metav1.DeleteOptions{})) }()
			w.ready("w1", tt.ready)
			patch := fmt.Sprintf(`{"status": {"nodeInfo": {"bootID": %q}}}`, tt.kubelet)
			_, err := w.client.core.CoreV1().Nodes().Patch(t.Context(), "w1", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
			w.must(err)
			w.must(say(t.Context(), w.client, f, "w1", nodeops.Report{BootID: tt.agent, Phase: nodeops.Idle}))
			n := w.node(f, "w1")
			if n.Ready != tt.want || n.Conditions["Ready"] != tt.want {
				t.Errorf("it is ready: %t, its condition: %t, want %t", n.Ready, n.Conditions["Ready"], tt.want)
			}
		})
	}
}

// A node whose agent was never heard is not begun, is handed back where it was taken off, and says so;
// the others go on. Once the agent has spoken, it is a node like any other.
func TestANodeWithoutAnAgentIsLeftAtWork(t *testing.T) {
	w := newWorld(t)
	w.fleetObject(nil)
	for _, name := range []string{"w1", "w2"} {
		w.add(name, map[string]string{"node-role.kubernetes.io/worker": ""})
	}
	w.report("w2", nodeops.Report{BootID: "b"})
	source := &looptest.FakeSource{}
	commit := source.Push(reboots("a"))
	l, f := w.controller(source, nil), w.fleet()
	turn := func() {
		if _, err := l.Tick(t.Context()); err != nil {
			t.Log(err)
		}
		if n := w.node(f, "w1"); n.Report.BootID == "" && (n.Order.Generation > 0 || n.Cordon != reconciler.Uncordoned) {
			t.Fatalf("the node whose agent says nothing has cordon %q and order %d", n.Cordon, n.Order.Generation)
		}
		for _, name := range []string{"w1", "w2"} {
			if n := w.node(f, name); n.Order.Generation > n.Report.Generation {
				w.report(name, nodeops.Report{Generation: n.Order.Generation, Config: n.Order.Config, Phase: nodeops.Done, BootID: "b"})
			}
		}
	}
	w.await("the other node is done, and the Pool says why it waits", func() bool {
		turn()
		p, err := w.client.pools.Get(t.Context(), "worker", metav1.GetOptions{})
		return err == nil && p.Status.Updated == "1/2" && strings.Contains(p.Status.WaitingOn, "the agent of node w1 has said nothing yet")
	})
	w.report("w1", nodeops.Report{BootID: "b"})
	w.await("the fleet is at the commit", func() bool {
		turn()
		p, err := w.client.pools.Get(t.Context(), "worker", metav1.GetOptions{})
		return err == nil && p.Status.Updated == "2/2" && p.Status.Commit == commit
	})
}
