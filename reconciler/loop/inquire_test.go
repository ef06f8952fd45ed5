package loop_test

import (
	"context"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/source"
)

// oracle knows what a test tells it, and counts.
type oracle struct {
	asked   int
	healthy bool
	rules   []policy.Rollout
	now     func() time.Time
}

func (o *oracle) Look(_ context.Context, _ source.Revision, rules []policy.Rollout) policy.Facts {
	o.asked++
	o.rules = rules
	f := policy.Facts{Probes: map[policy.HealthGate]policy.Probe{}}
	for _, r := range rules {
		for _, g := range r.Health {
			f.Probes[g] = policy.Probe{Healthy: o.healthy, Why: "it is sick", At: o.now()}
		}
	}
	return f
}

func withPolicy(files map[string]string, spec string) map[string]string {
	files["policy.yaml"] = "apiVersion: sluice.dev/v1alpha1\nkind: RolloutPolicy\nmetadata: {name: p}\nspec: " + spec + "\n"
	return files
}

func TestFactsAreAskedForWhileAPoolHasAWay(t *testing.T) {
	w := newWorld(t)
	facts := &oracle{now: func() time.Time { return w.now }}
	w.loop.Facts = facts
	const gate = `{health: [{name: door, http: "https://example.com"}]}`
	c1 := w.source.Push(withPolicy(reboots("a"), gate))
	w.run(5)
	if p := w.state().Pools["worker"]; p.Phase != reconciler.Waiting || p.Counts.Updated != 0 {
		t.Fatalf("the gate is closed, and the pool is %+v", p)
	}
	facts.healthy = true
	w.settle()
	w.holdAt(c1)
	before := facts.asked
	w.run(5)
	if facts.asked != before {
		t.Errorf("a fleet at rest asks %d times", facts.asked-before)
	}

	// The commit that opens the gate is still judged by it.
	facts.healthy = false
	w.source.Push(withPolicy(reboots("b"), `{}`))
	w.run(5)
	if p := w.state().Pools["worker"]; p.Counts.Updated != 0 || len(facts.rules) != 2 || len(facts.rules[0].Health) != 1 {
		t.Errorf("%+v, asked for %+v", p.Counts, facts.rules)
	}
}

func TestNoCommitRelaxesTheGuardrail(t *testing.T) {
	w := newWorld(t)
	guard := policy.Rollout{Windows: []policy.Window{{Schedule: "0 22 * * *", Duration: "2h"}}}
	w.loop.Guard = &guard
	w.source.Push(withPolicy(reboots("a"), `{overrun: allow}`))
	w.run(5)
	c2 := w.source.Push(withPolicy(reboots("a"), `{soak: 1s}`)) // rules alone come into force at once
	w.run(5)
	p := w.state().Pools["worker"]
	if p.Phase != reconciler.Waiting || p.Counts.Updated != 0 {
		t.Fatalf("it is eight in the morning, and the pool is %+v", p)
	}
	for _, n := range w.nodes() {
		if n.Order.Generation != 0 || n.Cordon != reconciler.Uncordoned {
			t.Errorf("%s was touched: %+v", n.Name, n)
		}
	}
	w.now = time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC)
	w.settle()
	w.holdAt(c2)
}
