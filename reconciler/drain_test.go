package reconciler

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
)

func TestDrainIsTheMostCarefulThatAnybodySays(t *testing.T) {
	say := func(timeout, then string, pods ...policy.Pods) *policy.Drain {
		return &policy.Drain{Timeout: timeout, OnTimeout: then, Pods: pods}
	}
	skip, block := policy.Pods{Namespace: "a", Action: "skip"}, policy.Pods{Action: "block"}
	for _, tt := range []struct {
		name              string
		here, head, guard *policy.Drain
		want              drain
	}{
		{"nobody says", nil, nil, nil, drain{30 * time.Minute, "halt", nil}},
		{"the rules in force", say("5m", "skipNode", skip), say("5m", "skipNode", skip), nil, drain{5 * time.Minute, "skipNode", []policy.Pods{skip}}},
		{"a commit cannot allow itself force", nil, say("1m", "force"), nil, drain{30 * time.Minute, "halt", nil}},
		{"a commit that takes force away is heard at once", say("1m", "force"), nil, nil, drain{time.Minute, "halt", nil}},
		{"force where all agree", say("1m", "force"), say("1m", "force"), say("", "force"), drain{time.Minute, "force", nil}},
		{"the operator is more careful", say("1h", "force", skip), say("1h", "force"), say("10m", "", block), drain{10 * time.Minute, "halt", []policy.Pods{block, skip}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var guard *policy.Rollout
			if tt.guard != nil {
				guard = &policy.Rollout{Drain: tt.guard}
			}
			got := drainOf(policy.Rollout{Drain: tt.here}, policy.Rollout{Drain: tt.head}, guard)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(drain{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlainDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{30 * time.Minute: "30m", time.Hour: "1h", 90 * time.Second: "1m30s", 10 * time.Second: "10s", 90 * time.Minute: "1h30m", 20 * time.Minute: "20m"} {
		if got := plain(d); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
}

func TestExpectedBelievesNoOutlier(t *testing.T) {
	min := time.Minute
	for _, tt := range []struct {
		name string
		pace []time.Duration
		want time.Duration
	}{
		{"nothing is remembered", nil, 0},
		{"one", []time.Duration{3 * min}, 3 * min},
		{"the slow ones count", []time.Duration{6 * min, 2 * min, 3 * min}, 6 * min},
		{"a night out of order does not", []time.Duration{2 * min, 9 * time.Hour, 2 * min}, 8 * min},
		{"of twenty the second slowest", append(make([]time.Duration, 0, 20), 1*min, 1*min, 1*min, 1*min, 1*min, 1*min, 1*min, 1*min, 1*min, 1*min, 1*min, 1*min, 1*min, 1*min, 1*min, 1*min, 1*min, 1*min, 2*min, 3*min), 2 * min},
	} {
		p := Pool{Pace: map[string][]time.Duration{"reboot": tt.pace}}
		if got := p.expected(impact.Reboot); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestOwnNodeIsLastAndOthersKeepTheirOrder(t *testing.T) {
	at := time.Unix(1790000000, 0)
	node := func(name, zone string, born time.Time) *Node {
		return &Node{Name: name, Labels: map[string]string{zoneLabel: zone}, Created: born}
	}
	crew := []*Node{node("z", "", at), node("b", "2", at), node("a", "1", at.Add(time.Nanosecond)), node("c", "1", at), node("d", "1", at.Add(-time.Hour))}
	inOrder(crew, "d")
	var got []string
	for _, n := range crew {
		got = append(got, n.Name)
	}
	if diff := cmp.Diff([]string{"c", "a", "b", "z", "d"}, got); diff != "" {
		t.Error(diff)
	}
}

// WAITING ON shows one finding: what nobody but a person may end comes before what passes by itself.
func TestABlockedDrainIsNamedFirst(t *testing.T) {
	found := func(checks ...string) (out []policy.Finding) {
		for _, c := range checks {
			out = append(out, policy.Finding{Check: c, Outcome: policy.Wait})
		}
		return out
	}
	if diff := cmp.Diff(found("drain", "calm", "maxUnavailable"), urgent(found("calm", "maxUnavailable", "drain"))); diff != "" {
		t.Error(diff)
	}
}
