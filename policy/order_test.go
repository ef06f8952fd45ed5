package policy

import (
	"strings"
	"testing"
	"time"
)

func TestOrderOfARollout(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	labelled := &Canary{Labels: map[string]string{"a": "b"}, Soak: "10m"}
	for name, c := range map[string]struct {
		check func(Request) (Outcome, string)
		r     Request
		want  Outcome
		why   string
	}{
		"no canary holds nobody":                      {canary, Request{}, Allow, ""},
		"the first canary may go":                     {canary, Request{Nodes: 5, Rollout: Rollout{Canary: &Canary{}}}, Allow, ""},
		"the second node waits for the canary":        {canary, Request{Nodes: 5, Rollout: Rollout{Canary: &Canary{}}, Stage: Stage{Started: 1}}, Wait, "0 of 1 canaries"},
		"it waits for the canary's soak":              {canary, Request{Nodes: 5, Now: now, Rollout: Rollout{Canary: &Canary{Soak: "10m"}}, Stage: Stage{Started: 1, Reached: 1, CanaryAt: now.Add(-9 * time.Minute)}}, Wait, "until 2026-11-23 12:01:00"},
		"after the soak it goes":                      {canary, Request{Nodes: 5, Now: now, Rollout: Rollout{Canary: &Canary{Soak: "10m"}}, Stage: Stage{Started: 1, Reached: 1, CanaryAt: now.Add(-10 * time.Minute)}}, Allow, ""},
		"a canary by label goes":                      {canary, Request{Canary: true, Rollout: Rollout{Canary: labelled}, Stage: Stage{Labelled: 1, Canaries: []string{"w1"}}}, Allow, ""},
		"others wait for it":                          {canary, Request{Rollout: Rollout{Canary: labelled}, Stage: Stage{Labelled: 1, Canaries: []string{"w1"}}}, Wait, "w1"},
		"a label that no node has holds everybody":    {canary, Request{Rollout: Rollout{Canary: labelled}}, Wait, "no node"},
		"a node that was begun keeps its turn":        {canary, Request{Begun: true, Rollout: Rollout{Canary: labelled}}, Allow, ""},
		"another zone waits at a barrier":             {zones, Request{Zone: "b", Rollout: Rollout{Order: &Order{Zones: "barrier"}}, Stage: Stage{Zone: "a"}}, Wait, `"b" waits until zone "a"`},
		"without a barrier it does not":               {zones, Request{Zone: "b", Rollout: Rollout{Order: &Order{}}, Stage: Stage{Zone: "a"}}, Allow, ""},
		"a canary by label passes a barrier":          {zones, Request{Zone: "b", Canary: true, Rollout: Rollout{Order: &Order{Zones: "barrier"}}, Stage: Stage{Zone: "a"}}, Allow, ""},
		"a zone is full":                              {zones, Request{Zone: "b", Rollout: Rollout{Order: &Order{MaxUnavailablePerZone: 1}}, Stage: Stage{ZoneAway: map[string]int{"b": 1}}}, Wait, "1 of at most 1"},
		"another zone's nodes do not count":           {zones, Request{Zone: "b", Rollout: Rollout{Order: &Order{MaxUnavailablePerZone: 1}}, Stage: Stage{ZoneAway: map[string]int{"a": 1}}}, Allow, ""},
		"the next node waits for the last one's soak": {soak, Request{Now: now, Rollout: Rollout{Soak: "5m"}, Stage: Stage{LastAt: now.Add(-time.Minute)}}, Wait, "until 2026-11-23 12:04:00"},
		"the first node waits for nobody's":           {soak, Request{Now: now, Rollout: Rollout{Soak: "5m"}}, Allow, ""},
		"a pool that comes first is named":            {after, Request{Stage: Stage{Behind: []string{"canaries"}}}, Wait, "pool canaries must"},
		"a soak that cannot be read is denied":        {soak, Request{Now: now, Rollout: Rollout{Soak: "soon"}, Stage: Stage{LastAt: now}}, Deny, "soon"},
	} {
		t.Run(name, func(t *testing.T) {
			got, why := c.check(c.r)
			if got != c.want || !strings.Contains(why, c.why) || got > Allow && why == "" {
				t.Errorf("%v %q, want %v with %q", got, why, c.want, c.why)
			}
		})
	}
}

func TestMistakesInTheOrderAreNamed(t *testing.T) {
	for field, r := range map[string]Rollout{
		"soak":                        {Soak: "soon"},
		"canary.nodes":                {Canary: &Canary{Nodes: "some"}},
		"canary.soak":                 {Canary: &Canary{Soak: "-1m"}},
		"canary":                      {Canary: &Canary{Nodes: "1", Labels: map[string]string{"a": "b"}}},
		"order.zones":                 {Order: &Order{Zones: "wall"}},
		"order.maxUnavailablePerZone": {Order: &Order{MaxUnavailablePerZone: -1}},
		"failureBudget.nodes":         {FailureBudget: &FailureBudget{Nodes: "few"}},
		"failureBudget.action":        {FailureBudget: &FailureBudget{Action: "panic"}},
	} {
		if wrong := r.Problems(); len(wrong) != 1 || wrong[0].Field != field || wrong[0].Why == "" {
			t.Errorf("%s: got %+v", field, wrong)
		}
	}
	if wrong := (Rollout{Soak: "5m", Canary: &Canary{Nodes: "10%"}, Order: &Order{Zones: "barrier"}, FailureBudget: &FailureBudget{Nodes: "2", Action: "rollback"}}).Problems(); len(wrong) > 0 {
		t.Errorf("nothing is wrong, got %+v", wrong)
	}
}

func TestABudgetStopsAtItsNumber(t *testing.T) {
	for _, c := range []struct {
		r     Rollout
		nodes int
		want  int
	}{
		{Rollout{}, 50, 1},
		{Rollout{FailureBudget: &FailureBudget{}}, 50, 1},
		{Rollout{FailureBudget: &FailureBudget{Nodes: "3"}}, 50, 3},
		{Rollout{FailureBudget: &FailureBudget{Nodes: "10%"}}, 50, 5},
		{Rollout{FailureBudget: &FailureBudget{Nodes: "many"}}, 50, 1},
	} {
		if got := c.r.Stops(c.nodes); got != c.want {
			t.Errorf("%+v of %d nodes stops at %d, want %d", c.r.FailureBudget, c.nodes, got, c.want)
		}
	}
}
