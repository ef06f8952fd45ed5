package nodeops_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// An order of another version must be answered, so it is read; but nothing may be done by it.
func TestOrderOnTheWire(t *testing.T) {
	rule := impact.Rule{Path: "/etc/a*", Own: true, Actions: []impact.Action{{Kind: impact.Drain}, {Kind: impact.Restart, Unit: "a.service"}}}
	whole := nodeops.Order{Node: "w1", Generation: 7, Config: "abc", Ceiling: impact.Drain, Rules: []impact.Rule{rule}, NotAfter: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	encoded, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	var back nodeops.Order
	if err := json.Unmarshal(encoded, &back); err != nil || !reflect.DeepEqual(back, whole) {
		t.Errorf("%s came back as %+v, %v", encoded, back, err)
	}
	for _, row := range []struct{ name, json, strange string }{
		{"no rules", `{"generation":8,"ceiling":"reload"}`, ""},
		{"no ceiling", `{"generation":8}`, ""},
		{"a ceiling of another version", `{"generation":8,"ceiling":"explode","rules":[]}`, `ceiling: impact kind "explode" is not known`},
		{"an action of another version", `{"generation":8,"ceiling":"reload","rules":[{"path":"/a","actions":[{"kind":"none"}]},{"path":"/b","actions":[{"kind":"explode"}]}]}`, `rules: impact kind "explode" is not known`},
		{"a rule that says more than is known here", `{"generation":8,"ceiling":"reload","rules":[{"path":"/a","unless":"/b","actions":[{"kind":"none"}]}]}`, `rules: json: unknown field "unless"`},
		{"rules of another form", `{"generation":8,"ceiling":"reload","rules":"default"}`, `rules: json: cannot unmarshal string into Go value of type []impact.Rule`},
	} {
		t.Run(row.name, func(t *testing.T) {
			var o nodeops.Order
			err := json.Unmarshal([]byte(row.json), &o)
			if err != nil || o.Generation != 8 || o.Strange != row.strange || row.strange != "" && len(o.Rules) > 0 {
				t.Errorf("%+v, %v; want it strange for %q", o, err, row.strange)
			}
		})
	}
	var o nodeops.Order
	if err := json.Unmarshal([]byte(`{"generation":"many"}`), &o); err == nil {
		t.Error("an order whose generation cannot be read was taken")
	}
}

func TestReportOnTheWire(t *testing.T) {
	for _, row := range []struct {
		name, json string
		phase      nodeops.Phase
		ok         bool
	}{
		{"no phase", `{"generation":1}`, nodeops.Idle, true},
		{"an empty phase", `{"phase":""}`, nodeops.Idle, true},
		{"a phase", `{"phase":"restored"}`, nodeops.Restored, true},
		{"a phase of another version", `{"phase":"paused"}`, nodeops.Idle, false},
		{"a phase in other letters", `{"phase":"Done"}`, nodeops.Idle, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var r nodeops.Report
			if err := json.Unmarshal([]byte(row.json), &r); (err == nil) != row.ok || r.Phase != row.phase {
				t.Errorf("phase %q, %v", r.Phase, err)
			}
		})
	}
	for _, p := range []nodeops.Phase{nodeops.Idle, nodeops.Working, nodeops.Done, nodeops.Restored, nodeops.Failed, nodeops.Refused, nodeops.Expired} {
		var got nodeops.Report
		data, err := json.Marshal(nodeops.Report{Phase: p})
		if err != nil || json.Unmarshal(data, &got) != nil || got.Phase != p {
			t.Errorf("%q comes back as %q, %v", p, got.Phase, err)
		}
	}
}
