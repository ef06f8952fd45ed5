package loop_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
)

var pairs = []struct {
	name     string
	old, new machine.Config
}{
	{"bare to quiet", machine.Config{}, quiet},
	{"quiet to loud", quiet, loud},
	{"loud to other", loud, other},
}

// prepare brings a node to the old config and orders the new one; also the pictures of both.
func prepare(t *testing.T, old, new machine.Config) (w *world, before, after map[string]string) {
	w = newWorld(t)
	if r := w.send(old); r.Phase != nodeops.Done {
		t.Fatalf("old config: %+v", r)
	}
	before = w.picture()
	w.inbox.Send(w.inbox.Want.Generation+1, new)
	done := w.copied()
	if r := done.settle(); r.Phase != nodeops.Done {
		t.Fatalf("new config: %+v", r)
	}
	return w, before, done.picture()
}

// stride is how many changes lie between two that are tried: one, unless time is short.
func stride() int {
	if testing.Short() {
		return 9
	}
	return 1
}

func killAt(k int) func(int, string) error {
	return func(n int, _ string) error {
		if n == k {
			panic(killed{})
		}
		return nil
	}
}

// Wherever the agent is killed, the next one brings the node wholly to the new config; or wholly
// back to the old one, if that is what is ordered by then.
func TestKilledAnywhere(t *testing.T) {
	for _, pair := range pairs {
		t.Run(pair.name, func(t *testing.T) {
			t.Parallel()
			w, before, after := prepare(t, pair.old, pair.new)
			k := 1
			for ; ; k += stride() {
				on := w.copied()
				on.at = killAt(k)
				if on.settle(); on.done < k {
					break
				}
				if d := differs(after, on.picture()); d != "" {
					t.Fatalf("killed at change %d and run again, the node is not at the new config:\n%s", k, d)
				}
				back := w.copied()
				back.at = killAt(k)
				back.tick()
				back.at = nil
				if r := back.send(pair.old); r.Phase != nodeops.Done {
					t.Fatalf("killed at change %d, the way back ends as %+v", k, r)
				}
				if d := differs(before, back.picture()); d != "" {
					t.Fatalf("killed at change %d and ordered back, the node is not at the old config:\n%s", k, d)
				}
			}
			if k < 20 {
				t.Fatalf("only %d changes were seen: something writes past the trace", k)
			}
			t.Logf("%d points", k)
		})
	}
}

// The same with two deaths, and a third config ordered in between.
func TestKilledTwiceAnywhere(t *testing.T) {
	t.Parallel()
	w, _, _ := prepare(t, quiet, loud)
	third := w.copied()
	third.send(other)
	after := third.picture()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 60 / stride() {
		first, second := 1+rng.IntN(90), 1+rng.IntN(90)
		on := w.copied()
		on.at = killAt(first)
		on.tick()
		on.start()
		on.at, on.done = killAt(second), 0
		on.inbox.Send(9, other)
		on.tick()
		on.at = nil
		if r := on.settle(); r.Phase != nodeops.Done {
			t.Fatalf("killed at %d and %d: %+v", first, second, r)
		}
		if d := differs(after, on.picture()); d != "" {
			t.Fatalf("killed at change %d, then at %d of the next order, the node is mixed:\n%s", first, second, d)
		}
	}
}

// files leaves out directories: empty ones may stand while a full disk is waited for.
func files(picture map[string]string) map[string]string {
	maps.DeleteFunc(picture, func(_, what string) bool { return strings.HasPrefix(what, "d") })
	return picture
}

// An order that was killed before its first change was never begun: what an administrator does
// afterwards is what a later revert gives back.
func TestOriginalsAreThoseOfTheOrderThatWroteThem(t *testing.T) {
	w := newWorld(t)
	w.send(quiet)
	w.inbox.Send(2, loud)
	w.at = func(_ int, what string) error {
		if what == "rename /var/lib/sluice/journal.json" {
			panic(killed{})
		}
		return nil
	}
	if _, _, alive := w.tick(); alive {
		t.Fatal("no journal was written")
	}
	w.at = nil
	w.inbox.Send(3, quiet)
	w.settle()
	write(t, filepath.Join(w.dir, "etc/motd"), "the administrator's own\n", 0o600)
	before := w.picture()
	for _, c := range []machine.Config{loud, quiet} {
		if r := w.send(c); r.Phase != nodeops.Done {
			t.Fatalf("%+v", r)
		}
	}
	if d := differs(before, w.picture()); d != "" {
		t.Errorf("the revert gave back something else:\n%s", d)
	}
}

func full(n int, what string) error {
	switch verb, _, _ := strings.Cut(what, " "); verb {
	case "create", "write", "mkdir", "sync": // a directory is synced without more space
		return syscall.ENOSPC
	}
	return nil
}

// A change that fails once, wherever: the node is wholly at one of the two configs, and says
// which. What fails before the first path has changed leaves the old one.
func TestFailedChangeAnywhere(t *testing.T) {
	for _, pair := range pairs {
		t.Run(pair.name, func(t *testing.T) {
			t.Parallel()
			w, before, after := prepare(t, pair.old, pair.new)
			restored := 0
			for k := 1; ; k += stride() {
				on := w.copied()
				on.at = func(n int, what string) error {
					if n == k {
						return syscall.EIO
					}
					return nil
				}
				for range 6 { // errors of Tick are told and tried again
					on.start()
					on.tick()
				}
				if on.done < k {
					break
				}
				r := on.settle()
				want := before
				switch {
				case r.Phase == nodeops.Done:
					want = after
				case r.Phase == nodeops.Restored && r.Why != "":
					restored++
				default:
					t.Fatalf("change %d failed: %+v", k, r)
				}
				if d := differs(want, on.picture()); d != "" {
					t.Fatalf("change %d failed, and the node says %s of a mixture:\n%s", k, r.Phase, d)
				}
			}
			if restored == 0 {
				t.Error("no failure led to an undo")
			}
		})
	}
}

// A disk that is full from some moment on: nothing has changed as long as it fills up before all
// contents are written, and with space again the node gets to the end.
func TestFullDiskFromAnywhere(t *testing.T) {
	for _, pair := range pairs {
		t.Run(pair.name, func(t *testing.T) {
			t.Parallel()
			w, before, after := prepare(t, pair.old, pair.new)
			for k := 1; ; k += stride() {
				on := w.copied()
				renamed := false
				on.at = func(n int, what string) error {
					if n < k || strings.HasPrefix(what, "re") { // rename, remove
						own := strings.Contains(what, "/var/lib/sluice")
						renamed = renamed || !own && strings.HasPrefix(what, "re") && !strings.Contains(what, "/.sluice-")
						return nil
					}
					return full(n, what)
				}
				r, err, _ := on.tick()
				if on.done < k {
					break
				}
				if !renamed {
					if d := differs(files(maps.Clone(before)), files(on.picture())); d != "" {
						t.Fatalf("full at change %d, the node is not as before:\n%s", k, d)
					}
				}
				if r.Phase != nodeops.Done && r.Why == "" && err == nil {
					t.Fatalf("full at change %d: nothing was said: %+v", k, r)
				}
				on.at = nil
				r = on.settle()
				if r.Phase != nodeops.Done { // it was undone, and a new order may try again
					if d := differs(before, on.picture()); d != "" {
						t.Fatalf("full at change %d, then undone, the node is mixed:\n%s", k, d)
					}
					r = on.send(pair.new)
				}
				if d := differs(after, on.picture()); d != "" || r.Phase != nodeops.Done {
					t.Fatalf("full at change %d, with space again: %+v\n%s", k, r, d)
				}
			}
		})
	}
}

// A revert gives back every byte, mode, link and absence, whatever the two configs are.
func TestRevertRestoresAnything(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40 / stride()) {
		rng := rand.New(rand.NewPCG(seed, 0))
		w := newWorld(t)
		bare := w.picture()
		a, b := randomConfig(rng), randomConfig(rng)
		w.send(a)
		atA := w.picture()
		if r := w.send(b); r.Phase != nodeops.Done {
			t.Fatalf("seed %d: %+v", seed, r)
		}
		if r := w.send(a); r.Phase != nodeops.Done {
			t.Fatalf("seed %d: revert: %+v", seed, r)
		}
		if d := differs(atA, w.picture()); d != "" {
			t.Fatalf("seed %d: reverted, the node differs:\n%s", seed, d)
		}
		w.send(machine.Config{})
		if d := differs(bare, w.picture()); d != "" {
			t.Fatalf("seed %d: an empty config does not give the OS back:\n%s", seed, d)
		}
	}
}

func randomConfig(rng *rand.Rand) (c machine.Config) {
	for i, p := range []string{"/etc/motd", "/etc/resolv.conf", "/a/b/c", "/a/d", "/etc/x/y", "/opt/z", "/etc/systemd/zram.conf"} {
		if rng.IntN(2) == 0 {
			c.Files = append(c.Files, machine.File{
				Path: p, Mode: []uint32{0o600, 0o644, 0o755}[rng.IntN(3)], User: []string{"", "core"}[rng.IntN(2)],
				Contents: fmt.Appendf(nil, "%d %d", i, rng.IntN(3)),
			})
		}
	}
	for _, n := range []string{"one.service", "two.timer", "chronyd.service", "t@x.service"} {
		u := machine.Unit{Name: n, Enablement: []machine.Enablement{machine.Preset, machine.Enabled, machine.Disabled}[rng.IntN(3)]}
		switch rng.IntN(4) {
		case 0:
			u.Mask = true
		case 1:
			u.Contents = fmt.Sprintf("[Install]\nWantedBy=w%d.target\nRequiredBy=r.target\n", rng.IntN(2))
		case 2:
			u.DropIns = []machine.DropIn{{Name: "d.conf", Contents: fmt.Sprint(rng.IntN(2))}}
		default:
			continue
		}
		c.Units = append(c.Units, u)
	}
	if rng.IntN(2) == 0 {
		c.Users = []machine.User{{Name: "core", SSHKeys: []string{fmt.Sprint("key ", rng.IntN(2))}}}
	}
	if rng.IntN(3) == 0 {
		c.KernelArgs, c.OSImage = []string{fmt.Sprint("k=", rng.IntN(2))}, fmt.Sprint("image:", rng.IntN(2))
	}
	return c
}
