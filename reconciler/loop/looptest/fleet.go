package looptest

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/loop"
)

// FleetRig is a fleet, and hands to do what nodes and other people do. All functions fail the
// test by themselves.
type FleetRig struct {
	Fleet loop.Fleet
	// Restart returns Fleet as a new process has it.
	Restart func() loop.Fleet

	Add    func(name string, labels map[string]string)
	Report func(node string, r nodeops.Report) // the node says what it is
	Ready  func(node string, ready bool)
	Cordon func(node string) // somebody else does
	Idle   bool              // nodes run nothing that would have to leave: a drain is done at once
}

// Fleet runs the suite. open makes a new, empty fleet for each test.
func Fleet(t *testing.T, open func(t *testing.T) FleetRig) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, FleetRig)
	}{
		{"an empty fleet has no nodes", fleetEmpty},
		{"nodes come sorted, with labels and reports", fleetSorted},
		{"an order is seen at once, also by a new process", fleetSend},
		{"an older order changes nothing", fleetOlder},
		{"a drain cordons as ours, and is lifted", fleetDrain},
		{"a foreign cordon is neither taken nor released", fleetForeign},
		{"an order or a drain for nobody is an error and makes nobody", fleetNobody},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func nodes(t *testing.T, f loop.Fleet) []reconciler.Node {
	t.Helper()
	all, err := f.Nodes(context.Background())
	if err != nil {
		t.Fatalf("Nodes: %v", err)
	}
	return all
}

// node is one of the fleet, which must have it.
func node(t *testing.T, f loop.Fleet, name string) reconciler.Node {
	t.Helper()
	all := nodes(t, f)
	i := slices.IndexFunc(all, func(n reconciler.Node) bool { return n.Name == name })
	if i < 0 {
		t.Fatalf("there is no node %s", name)
	}
	return all[i]
}

func order(name string, generation uint64) nodeops.Order {
	return nodeops.Order{
		Node: name, Generation: generation, Config: machine.Config{KernelArgs: []string{name}}.Digest(), Ceiling: impact.Drain,
		NotAfter: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func fleetEmpty(t *testing.T, rig FleetRig) {
	if got := nodes(t, rig.Fleet); len(got) != 0 {
		t.Errorf("an empty fleet has %v", got)
	}
}

func fleetSorted(t *testing.T, rig FleetRig) {
	labels := map[string]string{"node-role.kubernetes.io/worker": "", "topology.kubernetes.io/zone": "a"}
	for _, name := range []string{"w2", "edge-1", "w10"} {
		rig.Add(name, labels)
	}
	said := nodeops.Report{Generation: 3, Phase: nodeops.Restored, Why: "it did not hold", BootID: "b", Drift: []nodeops.Drift{{Path: "/x", Kind: nodeops.DriftMode, Why: "is 0600"}}}
	rig.Report("w2", said)
	rig.Ready("w10", false)
	got := nodes(t, rig.Fleet)
	if len(got) != 3 || got[0].Name != "edge-1" || got[1].Name != "w10" || got[2].Name != "w2" {
		t.Fatalf("got %+v, want edge-1, w10 and w2", got)
	}
	for _, n := range got {
		if !maps.Equal(n.Labels, labels) || n.Cordon != reconciler.Uncordoned || !reflect.DeepEqual(n.Order, nodeops.Order{}) {
			t.Errorf("a new node is %+v", n)
		}
		if n.Ready == (n.Name == "w10") {
			t.Errorf("node %s is ready: %t", n.Name, n.Ready)
		}
	}
	if r := got[2].Report; r.Generation != 3 || r.Phase != said.Phase || r.Why != said.Why || r.BootID != "b" || !slices.Equal(r.Drift, said.Drift) {
		t.Errorf("the report is %+v, want %+v", r, said)
	}
}

func fleetSend(t *testing.T, rig FleetRig) {
	rig.Add("w1", nil)
	for _, generation := range []uint64{4, 4, 9} {
		want := order("w1", generation)
		if err := rig.Fleet.Send(context.Background(), want); err != nil {
			t.Fatalf("Send(%+v): %v", want, err)
		}
		for what, f := range map[string]loop.Fleet{"Nodes": rig.Fleet, "a new process": rig.Restart()} {
			if got := node(t, f, "w1").Order; !reflect.DeepEqual(got, want) {
				t.Errorf("%s shows %+v, want %+v", what, got, want)
			}
		}
	}
}

func fleetOlder(t *testing.T, rig FleetRig) {
	rig.Add("w1", nil)
	want := order("w1", 9)
	if err := rig.Fleet.Send(context.Background(), want); err != nil {
		t.Fatal(err)
	}
	_ = rig.Fleet.Send(context.Background(), order("w1", 8)) // whether it says so is its own affair
	if got := node(t, rig.Fleet, "w1").Order; !reflect.DeepEqual(got, want) {
		t.Errorf("an older order made it %+v, want %+v", got, want)
	}
}

func fleetDrain(t *testing.T, rig FleetRig) {
	rig.Add("w1", nil)
	rig.Add("w2", nil)
	ctx := context.Background()
	for range 2 {
		if err := rig.Fleet.Drain(ctx, reconciler.Drain{Node: "w1"}); err != nil {
			t.Fatalf("Drain: %v", err)
		}
		if n := node(t, rig.Restart(), "w1"); n.Cordon != reconciler.Ours || rig.Idle && !n.Drained {
			t.Errorf("after a drain: cordon %q, drained %t", n.Cordon, n.Drained)
		}
	}
	if n := node(t, rig.Fleet, "w2"); n.Cordon != reconciler.Uncordoned || n.Drained {
		t.Errorf("another node: cordon %q, drained %t", n.Cordon, n.Drained)
	}
	for range 2 {
		if err := rig.Fleet.Uncordon(ctx, "w1"); err != nil {
			t.Fatalf("Uncordon: %v", err)
		}
		if n := node(t, rig.Restart(), "w1"); n.Cordon != reconciler.Uncordoned || n.Drained {
			t.Errorf("after an uncordon: cordon %q, drained %t", n.Cordon, n.Drained)
		}
	}
}

func fleetForeign(t *testing.T, rig FleetRig) {
	rig.Add("w1", nil)
	rig.Cordon("w1")
	_ = rig.Fleet.Drain(context.Background(), reconciler.Drain{Node: "w1"}) // what matters is what it leaves
	if n := node(t, rig.Fleet, "w1"); n.Cordon != reconciler.Foreign {
		t.Errorf("a drain made a foreign cordon %q", n.Cordon)
	}
	if err := rig.Fleet.Uncordon(context.Background(), "w1"); err != nil {
		t.Errorf("Uncordon: %v", err)
	}
	if n := node(t, rig.Fleet, "w1"); n.Cordon != reconciler.Foreign {
		t.Errorf("an uncordon made a foreign cordon %q", n.Cordon)
	}
}

func fleetNobody(t *testing.T, rig FleetRig) {
	rig.Add("w1", nil)
	ctx := context.Background()
	if err := rig.Fleet.Send(ctx, order("w9", 1)); err == nil {
		t.Error("Send says nothing of a node that is not there")
	}
	if err := rig.Fleet.Drain(ctx, reconciler.Drain{Node: "w9"}); err == nil {
		t.Error("Drain says nothing of a node that is not there")
	}
	if got := nodes(t, rig.Fleet); len(got) != 1 {
		t.Errorf("the fleet is now %+v", got)
	}
}
