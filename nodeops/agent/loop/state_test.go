package loop_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
)

// A disk that is really full: the order is undone, says so, and the next one that fits is taken.
func TestReallyFullDisk(t *testing.T) {
	w := newWorld(t)
	small := t.TempDir()
	if err := syscall.Mount("sluice", small, "tmpfs", 0, "size=512k"); err != nil {
		t.Skip("a small disk cannot be mounted here: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(small, syscall.MNT_DETACH) })
	must(t, filepath.WalkDir(w.dir, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(w.dir, p)
		return errors.Join(err, clone(p, filepath.Join(small, rel)))
	}))
	w.dir = small
	w.send(quiet)
	before := w.picture()
	large := machine.Config{Files: []machine.File{file("/a", "fits"), file("/b", strings.Repeat("x", 300<<10)), file("/etc/motd", "new")}}
	if r := w.send(large); r.Phase != nodeops.Restored || r.Config != quiet.Digest() || !strings.Contains(r.Why, `"/b"`) || !strings.Contains(r.Why, "no space left") {
		t.Errorf("%+v", r)
	}
	if d := differs(before, w.picture()); d != "" {
		t.Errorf("not as before:\n%s", d)
	}
	if r := w.send(other); r.Phase != nodeops.Done {
		t.Errorf("afterwards: %+v", r)
	}
}

// What a damaged journal said is found out from the disk, or not guessed at.
func TestDamagedState(t *testing.T) {
	w := newWorld(t)
	w.send(quiet)
	half := w.copied()
	half.inbox.Send(2, loud)
	half.at = func(_ int, what string) error {
		if strings.HasPrefix(what, "rename /opt/deep") {
			panic(killed{})
		}
		return nil
	}
	half.tick()
	half.at = nil
	at := func(w *world, name string) string { return filepath.Join(w.dir, "var/lib/sluice", name) }
	for _, row := range []struct {
		name   string
		from   *world
		damage func(w *world) error
		phase  nodeops.Phase
		why    string
	}{
		{"cut at rest", w, func(w *world) error { return os.Truncate(at(w, "journal.json"), 40) }, nodeops.Done, ""},
		{"empty at rest", w, func(w *world) error { return os.Truncate(at(w, "journal.json"), 0) }, nodeops.Done, ""},
		{"gone at rest", w, func(w *world) error { return os.Remove(at(w, "journal.json")) }, nodeops.Done, ""},
		{"gone, config too", w, func(w *world) error {
			return errors.Join(os.Remove(at(w, "journal.json")), os.RemoveAll(at(w, "configs")))
		}, nodeops.Done, ""},
		{"config gone at rest", w, func(w *world) error { return os.RemoveAll(at(w, "configs")) }, nodeops.Done, ""},
		{"cut at rest, and drifted", w, func(w *world) error {
			return errors.Join(os.Truncate(at(w, "journal.json"), 40), os.Remove(filepath.Join(w.dir, "etc/containers/policy.json")))
		}, nodeops.Failed, "journal.json is damaged"},
		{"cut half way", half, func(w *world) error { return os.Truncate(at(w, "journal.json"), 40) }, nodeops.Failed, "wholly at no config"},
		{"originals cut", w, func(w *world) error { return os.Truncate(at(w, "kept.json"), 40) }, nodeops.Failed, "kept.json is damaged"},
		{"originals gone", w, func(w *world) error { return os.Remove(at(w, "kept.json")) }, nodeops.Failed, "kept.json is missing"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := row.from.copied()
			must(t, row.damage(w))
			before := w.picture()
			w.start()
			r, err, _ := w.tick()
			if err != nil || r.Phase != row.phase || !strings.Contains(r.Why, row.why) {
				t.Errorf("%+v, %v", r, err)
			}
			if r.Generation != w.inbox.Want.Generation {
				t.Errorf("told of generation %d, and %d is ordered", r.Generation, w.inbox.Want.Generation)
			}
			if row.phase == nodeops.Done && r.Config != quiet.Digest() {
				t.Errorf("taken for %s", r.Config)
			}
			if d := differs(before, w.picture()); d != "" {
				t.Errorf("it wrote:\n%s", d)
			}
			if row.phase != nodeops.Done {
				return
			}
			if r := w.send(machine.Config{}); r.Phase != nodeops.Done {
				t.Errorf("afterwards: %+v", r)
			}
			if _, err := os.Lstat(filepath.Join(w.dir, "etc/containers")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("afterwards the OS is not back: %v", err)
			}
		})
	}
}

// Whatever stands in the journal, the agent does not panic, and writes nothing unless it can tell
// where the node is.
func TestJournalCutAnywhere(t *testing.T) {
	w := newWorld(t)
	w.send(quiet)
	at := filepath.Join(w.dir, "var/lib/sluice/journal.json")
	whole, err := os.ReadFile(at)
	must(t, err, os.WriteFile(filepath.Join(w.dir, "etc/containers/policy.json"), []byte("drift"), 0o644))
	before := w.picture()
	for n := 0; n < len(whole); n += 7 {
		flipped := slices.Clone(whole)
		flipped[n] ^= 0x10
		for _, bad := range [][]byte{whole[:n], flipped} {
			must(t, os.WriteFile(at, bad, 0o600))
			w.start()
			r, err, alive := w.tick()
			if !alive || err != nil || r.Phase != nodeops.Failed {
				t.Fatalf("at byte %d: %+v, %v", n, r, err)
			}
		}
	}
	if d := differs(before, w.picture()); d != "" {
		t.Errorf("it wrote:\n%s", d)
	}
}

// An agent whose memory is removed leaves the order that is there alone, whoever runs then, and
// begins it under a new generation.
func TestOrderFromBeforeTheMemory(t *testing.T) {
	node := newWorld(t)
	node.send(quiet)
	node.send(loud)
	state := func(w *world, name string) string { return filepath.Join(w.dir, "var/lib/sluice", name) }
	for _, row := range []struct {
		name   string
		order  machine.Config
		forget func(w *world) error
	}{
		{"all of it", loud, func(w *world) error { return os.RemoveAll(state(w, "")) }},
		{"all of it, and another order is there", other, func(w *world) error { return os.RemoveAll(state(w, "")) }},
		{"the journal cut, and another order is there", other, func(w *world) error { return os.Truncate(state(w, "journal.json"), 40) }},
		{"the journal gone, and another order is there", other, func(w *world) error { return os.Remove(state(w, "journal.json")) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := node.copied()
			w.wary = true
			w.start()
			w.inbox.Send(w.inbox.Want.Generation, row.order)
			w.tick()
			must(t, row.forget(w))
			before, reboots := w.picture(), w.box.Asked
			for range 2 { // the process that runs, and the next one
				for range 2 {
					r, err, _ := w.tick()
					if err != nil || r.Phase != nodeops.Expired || r.Generation != w.inbox.Want.Generation || !strings.Contains(r.Why, "order it anew") {
						t.Fatalf("%+v, %v", r, err)
					}
				}
				w.start()
			}
			if d := differs(before, w.picture()); d != "" || w.box.Asked != reboots {
				t.Errorf("%d reboots, and it wrote:\n%s", w.box.Asked-reboots, d)
			}
			if r := w.send(row.order); r.Phase != nodeops.Done || r.Config != row.order.Digest() {
				t.Errorf("ordered anew: %+v", r)
			}
		})
	}
}

// The memory of a wary agent begins once it has seen that there is no order, and is not written
// again; what is ordered from then on begins without a detour.
func TestMemoryBeginsBeforeTheFirstOrder(t *testing.T) {
	w := newWorld(t)
	w.wary = true
	w.start()
	w.inbox.Silent = errors.New("the inbox is away")
	if _, err, _ := w.tick(); !errors.Is(err, w.inbox.Silent) || w.done != 0 {
		t.Errorf("with no word of orders: %d changes, %v", w.done, err)
	}
	w.inbox.Silent = nil
	if r, err, _ := w.tick(); err != nil || w.done == 0 || r.Phase != nodeops.Idle || r.Generation != 0 {
		t.Errorf("without an order: %d changes, %+v, %v", w.done, r, err)
	}
	w.start()
	w.done = 0
	if r, err, _ := w.tick(); err != nil || w.done != 0 || r.Phase != nodeops.Idle {
		t.Errorf("again: %d changes, %+v, %v", w.done, r, err)
	}
	if r := w.send(quiet); r.Phase != nodeops.Done {
		t.Errorf("the first order: %+v", r)
	}
	for _, told := range w.inbox.Told {
		if told.Phase == nodeops.Expired {
			t.Errorf("a detour: %+v", told)
		}
	}
}
