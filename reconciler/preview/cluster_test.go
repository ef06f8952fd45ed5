package preview

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/blockers"
	"github.com/sluice-gitops/sluice/render"
)

// TestWhatStopsADrainIsAFinding holds a fleet of two nodes, of which one has a pod that drain
// refuses, to what the report says: by the rules in force, and only of nodes that are drained.
func TestWhatStopsADrainIsAFinding(t *testing.T) {
	skip := &policy.Drain{Timeout: "10m", OnTimeout: "skipNode"}
	force := &policy.Drain{OnTimeout: "force"}
	reboot, file := machine.Config{KernelArgs: []string{"x"}}, machine.Config{Files: []machine.File{{Path: "/etc/containers/policy.json"}}}
	for _, c := range []struct {
		name         string
		change       machine.Config
		before, head *policy.Drain
		want         string
		outcome      policy.Outcome
	}{
		{name: "a reboot meets it", change: reboot, outcome: policy.Warn, want: "pool worker: drain would not end: bare-pod ops/debug; after 30m the node is given back and the rollout halts"},
		{name: "the policy says what then", change: reboot, before: skip, head: skip, outcome: policy.Warn, want: "after 10m the node is given back and left out"},
		{name: "a proposal cannot make its own drain forceful", change: reboot, head: force, outcome: policy.Warn, want: "the rollout halts"},
		{name: "force gets past it", change: reboot, before: force, head: force},
		{name: "a change that drains nobody meets nothing", change: file},
	} {
		t.Run(c.name, func(t *testing.T) {
			pools := func(config machine.Config, d *policy.Drain) []render.Pool {
				return []render.Pool{{
					Name: "worker", Selector: labels.SelectorFromSet(labels.Set{"pool": "worker"}), Strategy: render.Strategy{MaxUnavailable: "1"},
					Config: config, Policy: policy.Rollout{Drain: d},
				}}
			}
			node := func(name string) reconciler.Node {
				return reconciler.Node{Name: name, Labels: map[string]string{"pool": "worker"}, Ready: true}
			}
			at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
			r := Make(Input{
				Base: "c1", MergeBase: "c1", Head: "c2", Before: pools(machine.Config{}, c.before), After: pools(c.change, c.head),
				Nodes: []reconciler.Node{node("a"), node("b")}, Gate: policy.Default(), Now: at,
				Cluster: &blockers.Snapshot{
					At: at, Nodes: []blockers.Node{{Name: "a", Ready: true}, {Name: "b", Ready: true}},
					Pods: []blockers.Pod{{Namespace: "ops", Name: "debug", Node: "b", Phase: "Running", Fate: blockers.Refused, Refusal: blockers.Bare}},
				},
			})
			var said string
			for _, f := range r.Findings {
				if f.Check == "drain" {
					said = f.Reason
				}
			}
			if r.Verdict != c.outcome || (said == "") != (c.want == "") || !strings.Contains(said, c.want) {
				t.Errorf("verdict %s, %q; want %s, %q", r.Verdict, said, c.outcome, c.want)
			}
			if c.want != "" {
				for form, text := range map[string]string{"markdown": r.Markdown(), "text": r.Text()} {
					if !strings.Contains(text, "ops/debug") || !strings.Contains(text, "1 refused") {
						t.Errorf("the %s does not name the pod, or count it:\n%s", form, text)
					}
				}
			}
			if !r.Recorded.Equal(at) {
				t.Errorf("recorded at %s", r.Recorded)
			}
		})
	}
}
