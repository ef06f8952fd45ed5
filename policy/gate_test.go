package policy

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

func TestLimit(t *testing.T) {
	for _, tt := range []struct {
		name, max string
		nodes     int
		want      int // 0 = an error
	}{
		{"nothing said is one", "", 50, 1},
		{"a number", "3", 50, 3},
		{"more than there are", "9", 2, 9},
		{"zero is one", "0", 50, 1},
		{"a percentage rounds down", "10%", 19, 1},
		{"a percentage", "10%", 30, 3},
		{"a percentage of few is one", "10%", 5, 1},
		{"all", "100%", 7, 7},
		{"zero percent is one", "0%", 50, 1},
		{"a percentage of a great number", "100%", 1 << 40, 1 << 40},
		{"a negative number", "-1", 50, 0},
		{"a blank before the sign", "40 %", 50, 0},
		{"a sign alone", "%", 50, 0},
		{"a word", "all", 50, 0},
		{"a fraction", "0.5", 50, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Limit(tt.max, tt.nodes)
			if got != tt.want || (err != nil) != (tt.want == 0) {
				t.Errorf("got %d, %v; want %d", got, err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), "maxUnavailable") {
				t.Errorf("%q does not name the field", err)
			}
		})
	}
}

// step is a request that every check allows.
func step() Request {
	return Request{
		Pool: "worker", Node: "w1", Nodes: 10, MaxUnavailable: "2",
		Actions: []impact.Action{{Kind: impact.Reboot, Cause: "/etc/a"}},
		Now:     time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC),
		Rollout: Rollout{Windows: []Window{{Schedule: "0 12 * * *", Duration: "1h"}}},
	}
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Request)
		want   Outcome
		says   []string // what the reasons hold, in their order
	}{
		{"nothing speaks against it", func(*Request) {}, Allow, nil},
		{"a paused pool", func(r *Request) { r.Paused = true }, Wait, []string{"pool worker is paused"}},
		{"outside the window", func(r *Request) { r.Now = r.Now.Add(time.Hour) }, Wait, []string{"next opens 2026-11-29 12:00 UTC"}},
		{"a schedule that cannot be read", func(r *Request) { r.Rollout.Windows[0].Schedule = "noon" }, Wait, []string{"windows[0].schedule"}},
		{"the repair of a node waits for no window", func(r *Request) { r.Now, r.Failing = r.Now.Add(time.Hour), true }, Allow, nil},
		{"a node that is there already is not judged", func(r *Request) { r.Actions, r.Paused = nil, true }, Allow, nil},
		{"what cannot be done in place", func(r *Request) { r.Actions = []impact.Action{{Kind: impact.Impossible, Cause: "fips"}} }, Deny, []string{"fips cannot be changed in place"}},
		{"a node that has drifted", func(r *Request) { r.Drift = []nodeops.Drift{{Path: "/etc/b", Kind: nodeops.DriftMode}} }, Wait, []string{"node w1 has drifted: /etc/b (mode)"}},
		{"one slot is left", func(r *Request) { r.Unavailable = []string{"w2 (cordoned)"} }, Allow, nil},
		{"no slot is left", func(r *Request) { r.Unavailable = []string{"w2", "w3"} }, Wait, []string{"2 of 10 nodes may be unavailable, 2 are: w2, w3"}},
		{"a node that is away takes no further slot", func(r *Request) { r.Unavailable, r.Away = []string{"w1", "w3"}, true }, Allow, nil},
		{"a long list is cut", func(r *Request) { r.Unavailable = []string{"a", "b", "c", "d", "e"} }, Wait, []string{"a, b, c and 2 more"}},
		{"a budget that cannot be read", func(r *Request) { r.MaxUnavailable = "few" }, Deny, []string{`maxUnavailable "few"`}},
		{"everything is heard at once, and the worst wins", func(r *Request) {
			r.Paused, r.MaxUnavailable, r.Now = true, "few", r.Now.Add(time.Hour)
		}, Deny, []string{"is paused", "outside every window", "maxUnavailable"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := step()
			tt.change(&r)
			v := Default().Judge(r)
			if v.Outcome != tt.want {
				t.Errorf("%v, want %v: %v", v.Outcome, tt.want, v.Findings)
			}
			reasons := v.Reasons()
			if len(reasons) != len(tt.says) {
				t.Fatalf("reasons %v, want %d", reasons, len(tt.says))
			}
			for i, f := range reasons {
				if !strings.Contains(f.Reason, tt.says[i]) {
					t.Errorf("%s says %q, want %q in it", f.Check, f.Reason, tt.says[i])
				}
			}
		})
	}
}

// TestEveryCheckIsAskedAndDocumented lets every check speak at once, in the order of the table that
// people read.
func TestEveryCheckIsAskedAndDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/concepts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| check | holds a node back |")
	table, _, _ = strings.Cut(table, "\n\n")
	want := strings.Fields("inPlace paused hold approvals signed previewMatch health expression window drift after canary zones soak quorum maxUnavailable")
	var documented []string
	for line := range strings.Lines(table) {
		if name, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ = strings.Cut(name, "`")
			if slices.Contains(want, name) { // the others are said by Step itself
				documented = append(documented, name)
			}
		}
	}
	r := step()
	r.Actions[0].Kind, r.Paused, r.Now = impact.Impossible, true, r.Now.Add(time.Hour)
	r.Holds, r.Drift, r.Quorum = []Hold{{By: "ada"}}, []nodeops.Drift{{Path: "/etc/b"}}, &Quorum{Members: 3, Down: []string{"w2"}}
	r.Rollout.Approvals, r.Rollout.Signed, r.Rollout.RequirePreviewMatch = &Approvals{Count: 1}, true, true
	r.Rollout.Health = []HealthGate{{Name: "a", Query: "up"}, {Name: "b", Expression: "false"}}
	r.Rollout.Canary, r.Rollout.Order, r.Rollout.Soak = &Canary{Soak: "1h"}, &Order{MaxUnavailablePerZone: 1}, "1h"
	r.Stage = Stage{Started: 1, ZoneAway: map[string]int{"": 1}, LastAt: r.Now, Behind: []string{"edge"}}
	r.Unavailable = []string{"w2", "w3"}
	var spoke []string
	for _, f := range Default().Judge(r).Reasons() {
		spoke = append(spoke, f.Check)
	}
	if diff := cmp.Diff(want, spoke); diff != "" {
		t.Error("the checks that spoke:", diff)
	}
	if diff := cmp.Diff(want, documented); diff != "" {
		t.Error("the table of docs/concepts.md:", diff)
	}
}

func TestOutcomesTravelByName(t *testing.T) {
	for o := Allow; o <= Deny; o++ {
		text, err := o.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Outcome
		if err := back.UnmarshalText(text); err != nil || back != o {
			t.Errorf("%v became %s, then %v (%v)", o, text, back, err)
		}
	}
	var o Outcome
	if err := o.UnmarshalText([]byte("perhaps")); err == nil {
		t.Error("a word that is not known was taken")
	}
	if diff := cmp.Diff("outcome(7)", Outcome(7).String()); diff != "" {
		t.Error(diff)
	}
}
