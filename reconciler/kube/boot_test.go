package kube

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-gitops/sluice/nodeops"
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
