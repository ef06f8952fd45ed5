package local_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/durable"
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/reconciler/loop/looptest"
)

func TestFleet(t *testing.T) {
	looptest.Fleet(t, func(t *testing.T) looptest.FleetRig {
		dir := t.TempDir()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		f := local.Fleet{Dir: dir}
		return looptest.FleetRig{
			Fleet: f, Restart: func() loop.Fleet { return local.Fleet{Dir: dir} }, Idle: true,
			Add: func(name string, labels map[string]string) { must(local.Enlist(dir, name, labels, time.Now())) },
			Report: func(node string, r nodeops.Report) {
				must(durable.WriteJSON(filepath.Join(dir, "nodes", node, "report.json"), r, 0o644))
			},
			Ready: func(node string, ready bool) {
				if ready {
					must(f.Up(node))
					return
				}
				must(f.Down(node))
			},
			Cordon: func(node string) {
				must(os.WriteFile(filepath.Join(dir, "nodes", node, "cordon.json"), []byte(`{"by": "ada"}`), 0o644))
			},
		}
	})
}

func TestStore(t *testing.T) {
	looptest.Store(t, func(t *testing.T) func() loop.Store {
		dir := t.TempDir()
		return func() loop.Store { return &local.Store{Dir: dir} }
	})
}

func TestNudgeFollowsTheOrder(t *testing.T) {
	dir := t.TempDir()
	if err := local.Enlist(dir, "w1", nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	var nudged []string
	f := local.Fleet{Dir: dir, Nudge: func(node string) {
		if _, err := os.Stat(filepath.Join(dir, "nodes", node, "order.json")); err != nil {
			t.Errorf("the node is nudged before its order is there: %v", err)
		}
		nudged = append(nudged, node)
	}}
	if err := f.Send(t.Context(), nodeops.Order{Node: "w1", Generation: 1}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(nudged, []string{"w1"}) {
		t.Errorf("nudged: %v", nudged)
	}
}

func TestEnlist(t *testing.T) {
	dir, born := t.TempDir(), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, bad := range []string{"", "../w1", "W1", "w 1", "-w1", "w1/root", ".", strings.Repeat("w", 254)} {
		if err := local.Enlist(dir, bad, nil, born); err == nil {
			t.Errorf("%q became a node", bad)
		}
	}
	for i, zone := range []string{"a", "b"} { // the second time only the labels are new
		if err := local.Enlist(dir, "w1", map[string]string{"zone": zone}, born.AddDate(i, 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	nodes, err := local.Fleet{Dir: dir}.Nodes(t.Context())
	if err != nil || len(nodes) != 1 || nodes[0].Labels["zone"] != "b" || !nodes[0].Created.Equal(born) {
		t.Errorf("got %+v, %v; want w1 of zone b, as old as at first", nodes, err)
	}
}

// A node of which a file is damaged is left alone and says which: to go on as if the file were not
// there would make orders anew, or forget who cordoned it. The other nodes do not suffer for it.
func TestADamagedNodeIsLeftAlone(t *testing.T) {
	for _, file := range []string{"node.json", "order.json", "report.json", "cordon.json"} {
		t.Run(file, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"w1", "w2"} {
				if err := local.Enlist(dir, name, nil, time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "nodes", "w1", file), []byte(`{"gener`), 0o644); err != nil {
				t.Fatal(err)
			}
			nodes, err := local.Fleet{Dir: dir}.Nodes(t.Context())
			if err != nil || len(nodes) != 2 {
				t.Fatalf("got %+v, %v", nodes, err)
			}
			if n := nodes[0]; n.Ready || n.Cordon != reconciler.Foreign || !strings.Contains(n.Report.Why, "w1/"+file) {
				t.Errorf("got %+v, want a node that is left alone and names %s", n, file)
			}
			if !nodes[1].Ready || nodes[1].Cordon != reconciler.Uncordoned {
				t.Errorf("got %+v of the other node", nodes[1])
			}
		})
	}
}

func TestADamagedStateIsAnError(t *testing.T) {
	t.Run("state.json", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(`{"version": 3, "st`), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &local.Store{Dir: dir}
		if _, err := s.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "state.json") {
			t.Errorf("Load: %v", err)
		}
	})
}

func TestDamagedConfigIsGoneUntilItIsKeptAgain(t *testing.T) {
	dir := t.TempDir()
	s := &local.Store{Dir: dir}
	c := machine.Config{KernelArgs: []string{"a"}}
	if err := s.Keep(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "configs", string(c.Digest())+".json")
	for what, text := range map[string]string{"another config": `{"kernelArguments": ["b"]}`, "half a file": `{"kernelArg`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := s.Config(t.Context(), c.Digest()); ok || err != nil { // an error would end every tick
			t.Errorf("%s: got %t, %v; want it to be gone", what, ok, err)
		}
		if err := s.Keep(t.Context(), c); err != nil {
			t.Fatalf("%s: Keep: %v", what, err)
		}
		if _, ok, err := s.Config(t.Context(), c.Digest()); !ok || err != nil {
			t.Errorf("%s: kept again, it is %t, %v", what, ok, err)
		}
	}
}

func TestLockLetsOneControllerIn(t *testing.T) {
	dir := t.TempDir()
	release, err := local.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := local.Lock(dir); err == nil {
		t.Error("a second controller got in")
	}
	release()
	again, err := local.Lock(dir)
	if err != nil {
		t.Fatalf("after the first is gone: %v", err)
	}
	again()
}
