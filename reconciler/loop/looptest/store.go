package looptest

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/source"
)

// Store runs the suite. open makes a new, empty store for each test; what it returns gives the
// store as one more controller has it.
func Store(t *testing.T, open func(t *testing.T) func() loop.Store) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, func() loop.Store)
	}{
		{"an empty store holds the zero state", storeEmpty},
		{"a state comes back whole, also to a new process", storeWhole},
		{"a deposed controller cannot save", storeDeposed},
		{"a config comes back by its digest", storeConfig},
		{"what is no digest names no config", storeHostile},
		{"configs that nothing names are deleted, but for the young and the last", storeCollects},
		{"a deposed controller deletes no config", storeDeposedCollects},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func load(t *testing.T, s loop.Store) reconciler.State {
	t.Helper()
	state, err := s.Load(context.Background())
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return state
}

func save(t *testing.T, s loop.Store, state reconciler.State) {
	t.Helper()
	if err := s.Save(context.Background(), state); err != nil {
		t.Fatalf("Save: %v", err)
	}
}

func storeEmpty(t *testing.T, open func() loop.Store) {
	if got := load(t, open()); !reflect.DeepEqual(got, reconciler.State{}) {
		t.Errorf("got %+v", got)
	}
}

// sample is a state in which nothing is zero.
func sample() reconciler.State {
	at := time.Date(2026, 11, 22, 2, 30, 0, 0, time.UTC)
	said := source.Status{Commit: "c1", Pool: "worker", State: source.Pending, Summary: "1 of 4 nodes updated"}
	return reconciler.State{
		Generation: 7, Seen: "c2",
		Good: source.Revision{Ref: "refs/heads/main", Commit: "c1"},
		Pools: map[string]reconciler.Pool{"worker": {
			Phase: reconciler.Waiting, Since: at, Revision: source.Revision{Commit: "c1"}, Target: "d2", Generation: 7, RollbackOf: "c0",
			Rules: reconciler.Rules{MaxUnavailable: "10%", Rollout: policy.Rollout{
				Windows: []policy.Window{{Schedule: "0 2 * * *", Duration: "4h", TimeZone: "Europe/Berlin", Reason: "night"}},
				Freezes: []policy.Freeze{{From: at, To: at.Add(time.Hour), Window: policy.Window{Reason: "sale"}}},
			}},
			Waiting: []policy.Finding{{Check: "window", Outcome: policy.Wait, Reason: "closed"}},
			Halt:    "node w1 restored", Counts: reconciler.Counts{Nodes: 4, Updated: 1, Unavailable: 1, Failed: 1, Drifted: 1},
			History: []reconciler.Landing{{Commit: "c0", Config: "d1", At: at}}, Status: said,
		}},
		Refused: []source.Status{{Commit: "c2", Pool: "worker", State: source.Failure, Summary: "not rendered"}},
		Strays:  map[string]string{"w9": "is in two pools"}, Outbox: []source.Status{said}, Said: []source.Status{said},
		Commented: map[int]string{7: "hash"},
	}
}

func storeWhole(t *testing.T, open func() loop.Store) {
	s := open()
	load(t, s)
	for _, want := range []reconciler.State{sample(), {Generation: 8}, sample()} {
		save(t, s, want)
		for what, from := range map[string]loop.Store{"the same": s, "a new process": open()} {
			if got := load(t, from); !reflect.DeepEqual(got, want) {
				t.Errorf("%s loads %+v, want %+v", what, got, want)
			}
		}
	}
}

func storeDeposed(t *testing.T, open func() loop.Store) {
	first, second := open(), open()
	load(t, first)
	load(t, second)
	save(t, first, reconciler.State{Generation: 1})
	if err := second.Save(context.Background(), reconciler.State{Generation: 99}); err == nil {
		t.Error("the second controller saves over what the first one saved")
	}
	if got := load(t, open()); got.Generation != 1 {
		t.Errorf("the state is of generation %d, want that of the first", got.Generation)
	}
	save(t, first, reconciler.State{Generation: 2}) // its own saves are no reason to fail
	if err := second.Save(context.Background(), reconciler.State{Generation: 99}); err == nil {
		t.Error("the second controller saves after it was told not to")
	}
	load(t, second)
	save(t, second, reconciler.State{Generation: 3}) // it has seen what there is
	if err := first.Save(context.Background(), reconciler.State{Generation: 99}); err == nil {
		t.Error("the first controller saves over what the second one saved")
	}
}

func storeConfig(t *testing.T, open func() loop.Store) {
	ctx, s := context.Background(), open()
	want := machine.Config{
		Files:      []machine.File{{Path: "/etc/x", Mode: 0o644, Contents: []byte("\x00\xff<&>")}, {Path: "/etc/empty", Contents: []byte{}}},
		Units:      []machine.Unit{{Name: "a.service", Contents: "[Unit]\n", Enablement: machine.Enabled, DropIns: []machine.DropIn{{Name: "10.conf", Contents: "x"}}}},
		KernelArgs: []string{"b", "a", "b"},
		FirstBoot:  []machine.Section{{Name: "storage.disks", Body: []byte(`[{"device":"/dev/sda"}]`)}},
	}
	d := want.Digest()
	if _, ok, err := s.Config(ctx, d); ok || err != nil {
		t.Fatalf("before it is kept: %t, %v", ok, err)
	}
	for range 2 {
		if err := s.Keep(ctx, want); err != nil {
			t.Fatalf("Keep: %v", err)
		}
	}
	got, ok, err := open().Config(ctx, d)
	if err != nil || !ok || got.Digest() != d {
		t.Errorf("a new process gets %+v, %t, %v", got, ok, err)
	}
}

func storeHostile(t *testing.T, open func() loop.Store) {
	s := open()
	load(t, s)
	save(t, s, sample())
	for _, d := range []machine.Digest{"", "..", "../state", "/etc/passwd", "a\x00b"} {
		if c, ok, err := s.Config(context.Background(), d); ok && err == nil {
			t.Errorf("%q names the config %+v", d, c)
		}
	}
}

// numbered keeps so many configs, the oldest first.
func numbered(t *testing.T, s loop.Store, n int) (out []machine.Digest) {
	t.Helper()
	load(t, s)
	save(t, s, reconciler.State{Generation: 1})
	for i := range n {
		c := machine.Config{KernelArgs: []string{strconv.Itoa(i)}}
		if err := s.Keep(context.Background(), c); err != nil {
			t.Fatalf("Keep: %v", err)
		}
		out = append(out, c.Digest())
	}
	return out
}

// there are the numbers of the configs that are left.
func there(t *testing.T, s loop.Store, of []machine.Digest) (out []int) {
	t.Helper()
	for i, d := range of {
		if _, ok, err := s.Config(context.Background(), d); err != nil {
			t.Fatalf("Config: %v", err)
		} else if ok {
			out = append(out, i)
		}
	}
	return out
}

func storeCollects(t *testing.T, open func() loop.Store) {
	ctx, s, now := context.Background(), open(), time.Now()
	all := numbered(t, s, 14)
	if err := s.Keep(ctx, machine.Config{KernelArgs: []string{"1"}}); err != nil { // again: it is the last
		t.Fatal(err)
	}
	for _, c := range []struct {
		after time.Duration
		named []machine.Digest
		want  string
	}{
		{30 * time.Minute, nil, "[0 1 2 3 4 5 6 7 8 9 10 11 12 13]"},
		{2 * time.Hour, []machine.Digest{all[0], all[3]}, "[0 1 3 5 6 7 8 9 10 11 12 13]"},
		{150 * time.Minute, nil, "[0 1 3 5 6 7 8 9 10 11 12 13]"}, // within the hour
		{4 * time.Hour, nil, "[1 5 6 7 8 9 10 11 12 13]"},
	} {
		if err := s.Collect(ctx, now.Add(c.after), c.named); err != nil {
			t.Fatalf("Collect: %v", err)
		}
		if got := fmt.Sprint(there(t, open(), all)); got != c.want {
			t.Errorf("after %s there are %s, want %s", c.after, got, c.want)
		}
	}
	save(t, s, reconciler.State{Generation: 2}) // it is still the one that may
}

func storeDeposedCollects(t *testing.T, open func() loop.Store) {
	s, rival := open(), open()
	all := numbered(t, s, 12)
	load(t, rival)
	save(t, rival, reconciler.State{Generation: 2})
	_ = s.Collect(context.Background(), time.Now().Add(2*time.Hour), nil) // it may say so, or leave it to who may
	if got := there(t, rival, all); len(got) != len(all) {
		t.Errorf("%d of %d are left", len(got), len(all))
	}
}
