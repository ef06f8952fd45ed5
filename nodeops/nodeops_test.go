package nodeops_test

import (
	"encoding/json"
	"testing"

	"github.com/sluice-gitops/sluice/nodeops"
)

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
