package reconciler_test

import (
	"reflect"
	"testing"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
)

// What Stand says must be what Step then does: a node that it calls free gets an effect, and one
// that it names a reason for gets none that disturbs it.
func TestStandSaysWhatStepDoes(t *testing.T) {
	for name, at := range map[string]func(int) (reconciler.State, reconciler.Observed){"mid-rollout": midRollout, "window closed": windowClosed, "at rest": atRest} {
		t.Run(name, func(t *testing.T) {
			s, o := at(100)
			o.Holds = []policy.Hold{{Pool: "edge", By: "ann", Reason: "a look"}}
			before := s
			standing := reconciler.Stand(s, o)
			if !reflect.DeepEqual(before, s) {
				t.Error("Stand has changed the state")
			}
			_, effects := reconciler.Step(s, o)
			begun := map[string]bool{}
			for _, e := range effects {
				switch e := e.(type) {
				case reconciler.Send:
					begun[e.Order.Node] = true
				case reconciler.Drain:
					begun[e.Node] = true
				}
			}
			for _, n := range o.Nodes {
				st, ok := standing[n.Name]
				free := len(st.Why) == 1 && st.Why[0].Outcome == policy.Allow
				switch {
				case !ok || st.Pool == "":
					t.Errorf("%s: nothing is said", n.Name)
				case begun[n.Name] != free:
					t.Errorf("%s: begun %t, and said is %v", n.Name, begun[n.Name], st.Why)
				case !st.Reached && len(st.Why) == 0:
					t.Errorf("%s: is not there, and no reason is said", n.Name)
				}
			}
			if name == "window closed" {
				if st := standing["edge-0000"]; st.Why[0].Check != "hold" {
					t.Errorf("edge-0000 is held, and said is %v", st.Why)
				}
			}
		})
	}
}
