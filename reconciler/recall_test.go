package reconciler

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// restored is a state as a store gives it back.
func restored(t *testing.T, s State) (out State) {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWhatIsRememberedOfACommitFollowsItsRules(t *testing.T) {
	c := machine.Config{KernelArgs: []string{"a"}}
	selector, err := labels.Parse("role in (edge, worker), !retired")
	if err != nil {
		t.Fatal(err)
	}
	frozen := policy.Rollout{Freezes: []policy.Freeze{{From: time.Date(2026, 11, 23, 8, 0, 0, 0, time.FixedZone("", 3600)), To: time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)}}}
	pool := render.Pool{Name: "edge", Selector: selector, Policy: frozen, Rules: impact.Defaults(), Config: c}
	head := Head{Revision: source.Revision{Commit: "c1"}, Pools: []render.Pool{pool, {Name: "nobody", Config: c}}}
	known := map[machine.Digest]machine.Config{c.Digest(): c}

	s, _ := Step(State{}, Observed{Head: head})
	s = restored(t, s)
	got, err := s.Recall(known)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range got.Pools {
		if is, want := p.Outline("c1"), head.Pools[i].Outline("c1"); !same([]render.Outline{is}, []render.Outline{want}) {
			t.Errorf("pool %s came back as %+v, want %+v", p.Name, is, want)
		}
	}
	if in, err := render.Member(got.Pools, map[string]string{"role": "edge"}); in != "edge" || err != nil {
		t.Errorf("a node is in pool %q (%v)", in, err)
	}
	if in, err := render.Member(got.Pools[1:], map[string]string{"role": "edge"}); in != "" || err != nil {
		t.Errorf("a pool that selects nobody selects a node: %q (%v)", in, err)
	}
	if again, _ := Step(s, Observed{Head: head}); !reflect.DeepEqual(again.Outlines, s.Outlines) {
		t.Errorf("a state that has not changed would be saved again:\n%+v\n%+v", again.Outlines, s.Outlines)
	}
	head.Pools[0].Strategy.Paused = true // the same commit, by another overlay
	s, _ = Step(s, Observed{Head: head})
	if got, err := restored(t, s).Recall(known); err != nil || !got.Pools[0].Strategy.Paused {
		t.Errorf("the rules of before are remembered: %+v (%v)", got.Pools[0].Strategy, err)
	}
	for name, broken := range map[string]State{"of another commit": {Good: source.Revision{Commit: "c2"}, Outlines: s.Outlines}, "of a controller before": {Good: s.Good}} {
		if _, err := broken.Recall(known); err == nil {
			t.Errorf("an outline %s is believed", name)
		}
	}
	if _, err := s.Recall(nil); err == nil {
		t.Error("a config that is not kept is believed")
	}
}

// A node that never answers is sent another config with each commit. What is remembered of that, and
// kept of their configs, has a bound; beyond it the node costs a reboot.
func TestWhatANodeWasSentHasABound(t *testing.T) {
	known := map[machine.Digest]machine.Config{}
	var s State
	n := Node{Name: "w", Ready: true, Labels: map[string]string{"node-role.kubernetes.io/worker": ""}, Report: nodeops.Report{BootID: "b"}}
	kind := impact.Nothing
	for i := range 50 {
		c := machine.Config{Files: []machine.File{{Path: "/etc/containers/policy.json", Mode: 0o644, Contents: fmt.Append(nil, i)}}}
		known[c.Digest()] = c
		selector := labels.SelectorFromSet(n.Labels)
		o := Observed{
			Now: time.Unix(int64(i), 0), Head: Head{Revision: source.Revision{Commit: fmt.Sprint("c", i)}, Pools: []render.Pool{{Name: "worker", Selector: selector, Config: c}}},
			Nodes: []Node{n}, Known: known,
		}
		var effects []Effect
		s, effects = Step(restored(t, s), o)
		for _, e := range effects {
			switch e := e.(type) {
			case Send:
				n.Order, kind = e.Order, e.Order.Ceiling
			case Drain:
				n.Cordon, n.Drained = Ours, true
			}
		}
		if i == 5 && kind != impact.Reload {
			t.Errorf("the order may cost a %s: it is one of few reloads", kind)
		}
	}
	if len(s.Sent["w"]) > mostSent || len(s.Named([]Node{n})) > mostSent+5 {
		t.Errorf("%d configs are remembered, and %d kept", len(s.Sent["w"]), len(s.Named([]Node{n})))
	}
	if kind != impact.Reboot {
		t.Errorf("the order may cost a %s; one of its configs is forgotten", kind)
	}
}
