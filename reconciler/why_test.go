package reconciler_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	k8slabels "k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
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

// A node that may not be back before its window ends says so of itself for as long as it is under
// way, and its pool does; nobody else does.
func TestANodeThatMayOverrunItsWindowSaysSo(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 50, 0, 0, time.UTC)
	rules := policy.Rollout{Windows: []policy.Window{{Schedule: "0 9 * * *", Duration: "1h"}}, Overrun: "allow"}
	labels := map[string]string{"node-role.kubernetes.io/worker": ""}
	want := render.Pool{Name: "worker", Policy: rules, Config: machine.Config{KernelArgs: []string{"new"}}, Selector: k8slabels.SelectorFromSet(labels)}
	for name, c := range map[string]struct {
		begun time.Time
		warns bool
	}{"begun in time": {now.Add(-40 * time.Minute), false}, "begun late": {now.Add(-time.Minute), true}} {
		t.Run(name, func(t *testing.T) {
			s := reconciler.State{Pools: map[string]reconciler.Pool{"worker": {
				Phase: reconciler.Progressing, Target: want.Target(), Generation: 2, Revision: source.Revision{Commit: "c"}, Rules: reconciler.Rules{Rollout: rules},
				Begun: map[string]reconciler.Begun{"w1": {At: c.begun, Kind: "reboot"}},
			}}}
			o := reconciler.Observed{
				Now: now, Gate: policy.Default(), Head: reconciler.Head{Revision: source.Revision{Commit: "c"}, Pools: []render.Pool{want}},
				Known: map[machine.Digest]machine.Config{want.Target(): want.Config},
				Nodes: []reconciler.Node{
					{
						Name: "w1", Labels: labels, Cordon: reconciler.Ours, Drained: true,
						Order:  nodeops.Order{Node: "w1", Generation: 2, Config: want.Target(), Ceiling: impact.Reboot, NotAfter: now.Add(10 * time.Minute)},
						Report: nodeops.Report{Generation: 2, Phase: nodeops.Working},
					},
					{Name: "w2", Labels: labels, Ready: true},
				},
			}
			said := func(name string) bool {
				return slices.ContainsFunc(reconciler.Stand(s, o)[name].Why, func(f policy.Finding) bool {
					return f.Check == "window" && f.Outcome == policy.Warn && f.Reason == "may run past the window's end at 2026-11-23 10:00 UTC"
				})
			}
			next, _ := reconciler.Step(s, o)
			if p := next.Pools["worker"]; said("w1") != c.warns || said("w2") || (len(p.Warned) > 0) != c.warns || strings.Contains(p.Status.Summary, "may run past") != c.warns {
				t.Errorf("w1 says so: %t, w2: %t, the pool: %v %q", said("w1"), said("w2"), p.Warned, p.Status.Summary)
			}
		})
	}
}
