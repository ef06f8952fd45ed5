package hosttest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/agent"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// Text is a file of root.
func Text(mode uint32, data string) agent.Entry {
	return agent.Entry{Kind: agent.Regular, Mode: mode, Data: []byte(data)}
}

// Link is a symlink of root.
func Link(target string) agent.Entry { return agent.Entry{Kind: agent.Symlink, Target: target} }

var absent, vacant = agent.Entry{Kind: agent.Absent}, agent.Entry{Kind: agent.Vacant}

// Files tests a disk. Open gives a new, empty one.
func Files(t *testing.T, open func(t *testing.T) loop.Files) {
	for _, row := range []struct {
		name string
		puts []agent.Tree // all must succeed
		then agent.Tree   // must be so
		bad  agent.Tree   // this Put must fail, and leave Then as it is
	}{
		{"a file comes with its directories", []agent.Tree{{"/a/b/c": Text(0o640, "x")}}, agent.Tree{"/a/b/c": Text(0o640, "x"), "/a": {Kind: agent.Dir, Mode: 0o755}}, nil},
		{"an empty file", []agent.Tree{{"/e": Text(0o400, "")}}, agent.Tree{"/e": Text(0o400, "")}, nil},
		{"new contents and mode", []agent.Tree{{"/f": Text(0o644, "old")}, {"/f": Text(0o4755, "new")}}, agent.Tree{"/f": Text(0o4755, "new")}, nil},
		{"a file that is so already", []agent.Tree{{"/f": Text(0o600, "x")}, {"/f": Text(0o600, "x")}}, agent.Tree{"/f": Text(0o600, "x")}, nil},
		{"a link that points nowhere", []agent.Tree{{"/l": Link("/no/where")}}, agent.Tree{"/l": Link("/no/where")}, nil},
		{"a file replaces a link, and does not follow it", []agent.Tree{{"/t": Text(0o644, "t"), "/l": Link("t")}, {"/l": Text(0o644, "l")}}, agent.Tree{"/t": Text(0o644, "t"), "/l": Text(0o644, "l")}, nil},
		{"a link replaces a file", []agent.Tree{{"/l": Text(0o644, "l")}, {"/l": Link("x")}}, agent.Tree{"/l": Link("x")}, nil},
		{"a directory and its mode", []agent.Tree{{"/d": {Kind: agent.Dir, Mode: 0o700}, "/d/f": Text(0o600, "f")}}, agent.Tree{"/d": {Kind: agent.Dir, Mode: 0o700}, "/d/f": Text(0o600, "f")}, nil},
		{"what is absent goes", []agent.Tree{{"/f": Text(0o644, "f"), "/l": Link("x")}, {"/f": absent, "/l": absent, "/never": absent, "/no/dir": absent}}, agent.Tree{"/f": absent, "/l": absent, "/no": absent}, nil},
		{"a vacant directory goes with its files", []agent.Tree{{"/d/e/f": Text(0o644, "f")}, {"/d": vacant, "/d/e": vacant, "/d/e/f": absent}}, agent.Tree{"/d": absent}, nil},
		{"a vacant directory that others filled stays", []agent.Tree{{"/d/f": Text(0o644, "f"), "/d/g": Text(0o644, "g")}, {"/d": vacant, "/d/f": absent}}, agent.Tree{"/d/f": absent, "/d/g": Text(0o644, "g")}, nil},
		{"a vacant path that became a file stays", []agent.Tree{{"/d": Text(0o644, "d")}, {"/d": vacant}}, agent.Tree{"/d": Text(0o644, "d")}, nil},
		{"names as long as they may be", []agent.Tree{{"/" + string(slices.Repeat([]byte("n"), 255)): Text(0o644, "n")}}, nil, nil},
		{"no file takes a directory's place", []agent.Tree{{"/d/f": Text(0o644, "f")}}, agent.Tree{"/a": absent, "/d/f": Text(0o644, "f")}, agent.Tree{"/a": Text(0o644, "a"), "/d": Text(0o644, "d")}},
		{"a directory is never removed as a file", []agent.Tree{{"/d/f": Text(0o644, "f")}}, agent.Tree{"/d/f": Text(0o644, "f")}, agent.Tree{"/d": absent}},
		{"no directory takes a file's place", []agent.Tree{{"/f": Text(0o644, "f")}}, agent.Tree{"/f": Text(0o644, "f")}, agent.Tree{"/f": {Kind: agent.Dir, Mode: 0o755}}},
		{"nothing lies below a file", []agent.Tree{{"/f": Text(0o644, "f")}}, agent.Tree{"/f": Text(0o644, "f"), "/f/g": {Kind: agent.Other}}, agent.Tree{"/f/g": Text(0o644, "g")}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := open(t)
			for _, tree := range row.puts {
				if err := f.Put(tree); err != nil {
					t.Fatalf("put: %v", err)
				}
			}
			is(t, f, row.then)
			if row.bad == nil {
				return
			}
			if err := f.Put(row.bad); err == nil {
				t.Errorf("put %v succeeded", row.bad)
			}
			is(t, f, row.then)
		})
	}
}

func is(t *testing.T, f loop.Files, want agent.Tree) {
	t.Helper()
	for p, e := range want {
		have, err := f.Look(p)
		if err != nil {
			t.Fatalf("look at %s: %v", p, err)
		}
		if have.Kind != e.Kind || e.Kind != agent.Other && !agent.Met(e, have) {
			t.Errorf("%s is %+v, want %+v", p, have, e)
		}
	}
}

// Units tests a service manager. Open gives one that has a unit of the given name.
func Units(t *testing.T, unit string, open func(t *testing.T) loop.Units) {
	for _, row := range []struct {
		name string
		kind impact.Kind
		unit string
		ok   bool
	}{
		{"reads all unit files anew", impact.Reload, "", true},
		{"reloads a unit", impact.Reload, unit, true},
		{"restarts a unit", impact.Restart, unit, true},
		{"does not restart everything", impact.Restart, "", false},
		{"does not drain", impact.Drain, "", false},
		{"does not reboot", impact.Reboot, "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := open(t).Do(context.Background(), row.kind, row.unit)
			if (err == nil) != row.ok {
				t.Errorf("error %v, want success: %v", err, row.ok)
			}
		})
	}
}

// OS tests a machine. Open gives a new one that runs; restart is a new process on the same
// machine, after a Reboot in its next boot. One that is Fixed must refuse to be changed instead.
func OS(t *testing.T, open func(t *testing.T) (m loop.OS, restart func() loop.OS)) {
	ctx := context.Background()
	see := func(t *testing.T, m loop.OS) (string, agent.Booted) {
		t.Helper()
		id, err1 := m.BootID(ctx)
		booted, err2 := m.Booted(ctx)
		if err := errors.Join(err1, err2); err != nil || id == "" {
			t.Fatalf("boot id %q: %v", id, err)
		}
		return id, booted
	}
	next := machine.Config{OSImage: "os:2", KernelArgs: []string{"a=1", "a=1", "b"}}
	t.Run("a new process finds the same boot", func(t *testing.T) {
		m, restart := open(t)
		id, booted := see(t, m)
		if id2, booted2 := see(t, restart()); id2 != id || !reflect.DeepEqual(booted, booted2) {
			t.Errorf("boot %s %v became %s %v", id, booted, id2, booted2)
		}
	})
	first, _ := open(t)
	if _, booted := see(t, first); booted.Fixed {
		fixed(t, open, see)
		return
	}
	t.Run("what is staged waits for a reboot", func(t *testing.T) {
		m, restart := open(t)
		id, booted := see(t, m)
		if err := m.Stage(ctx, next); err != nil {
			t.Fatal(err)
		}
		if id2, booted2 := see(t, restart()); id2 != id || !reflect.DeepEqual(booted, booted2) {
			t.Errorf("boot %s %v became %s %v", id, booted, id2, booted2)
		}
	})
	t.Run("a reboot brings what was staged last", func(t *testing.T) {
		m, restart := open(t)
		id, _ := see(t, m)
		if err := errors.Join(m.Stage(ctx, machine.Config{OSImage: "os:1"}), m.Stage(ctx, next)); err != nil {
			t.Fatal(err)
		}
		if err := m.Reboot(ctx); err != nil && !errors.Is(err, loop.ErrReboot) {
			t.Fatal(err)
		}
		m = restart()
		id2, booted := see(t, m)
		if id2 == id || booted.Image != next.OSImage || !slices.Equal(booted.Kargs, next.KernelArgs) {
			t.Errorf("boot %s became %s with %v", id, id2, booted)
		}
		if err := m.Reboot(ctx); err != nil && !errors.Is(err, loop.ErrReboot) {
			t.Fatal(err)
		}
		if id3, again := see(t, restart()); id3 == id2 || id3 == id || !reflect.DeepEqual(again, booted) {
			t.Errorf("a plain reboot made %s %v of %s %v", id3, again, id2, booted)
		}
	})
}

// fixed tests a machine of which only the reboot can be asked for.
func fixed(t *testing.T, open func(*testing.T) (loop.OS, func() loop.OS), see func(*testing.T, loop.OS) (string, agent.Booted)) {
	ctx := context.Background()
	t.Run("what is fixed is not staged, and reboots all the same", func(t *testing.T) {
		m, restart := open(t)
		id, booted := see(t, m)
		if err := m.Stage(ctx, machine.Config{KernelArgs: booted.Kargs}); err != nil {
			t.Errorf("what it has already is refused: %v", err)
		}
		for _, c := range []machine.Config{{OSImage: "os:2"}, {KernelArgs: []string{"b=never"}}} {
			if err := m.Stage(ctx, c); err == nil {
				t.Errorf("%+v was staged", c)
			}
		}
		if err := m.Reboot(ctx); err != nil && !errors.Is(err, loop.ErrReboot) {
			t.Fatal(err)
		}
		if id2, booted2 := see(t, restart()); id2 == id || !reflect.DeepEqual(booted, booted2) {
			t.Errorf("boot %s %v became %s %v", id, booted, id2, booted2)
		}
	})
}
