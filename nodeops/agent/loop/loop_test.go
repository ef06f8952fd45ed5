package loop_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

func TestOrderIsCarriedOut(t *testing.T) {
	w := newWorld(t)
	bare := w.picture()
	r := w.send(quiet)
	if r.Phase != nodeops.Done || r.Config != quiet.Digest() || len(r.Drift) != 0 || r.BootID != "boot-0" {
		t.Errorf("quiet: %+v", r)
	}
	if !slices.Equal(w.units.Did, []string{"reload crio.service"}) || w.box.Asked != 0 {
		t.Errorf("did %v, %d reboots", w.units.Did, w.box.Asked)
	}
	w.units.Did = nil
	r = w.send(loud)
	if r.Phase != nodeops.Done || w.box.Asked != 1 || r.BootID != "boot-1" || w.box.Now.Image != loud.OSImage || w.units.Did != nil {
		t.Errorf("loud: %+v, %d reboots, did %v", r, w.box.Asked, w.units.Did)
	}
	var phases []nodeops.Phase
	for _, told := range w.inbox.Told {
		if n := len(phases); n == 0 || phases[n-1] != told.Phase {
			phases = append(phases, told.Phase)
		}
	}
	if !slices.Equal(phases, []nodeops.Phase{nodeops.Working, nodeops.Done, nodeops.Working, nodeops.Done}) {
		t.Errorf("told %v", phases)
	}
	must(t, os.Remove(filepath.Join(w.dir, "etc/containers/policy.json"))) // the revert takes it away in any case
	if r = w.send(machine.Config{}); r.Phase != nodeops.Done || w.box.Now.Image != "" {
		t.Errorf("bare: %+v", r)
	}
	if d := differs(bare, func() map[string]string { p := w.picture(); p["(booted)"] = bare["(booted)"]; return p }()); d != "" {
		t.Errorf("the OS is not back:\n%s", d)
	}
}

// A node at rest writes nothing at all, and a refusal touches nothing but the journal.
func TestRestAndRefusalTouchNothing(t *testing.T) {
	w := newWorld(t)
	if _, err, _ := w.tick(); err != nil || w.done != 0 {
		t.Errorf("without an order: %d changes, %v", w.done, err)
	}
	w.send(quiet)
	w.done = 0
	if r, err, _ := w.tick(); err != nil || w.done != 0 || r.Phase != nodeops.Done {
		t.Errorf("at rest: %d changes, %v, %+v", w.done, err, r)
	}
	before := w.picture()
	w.at = func(_ int, what string) error {
		if !strings.Contains(what, "/var/lib/sluice") {
			t.Errorf("refused, and yet: %s", what)
		}
		return nil
	}
	w.inbox.Send(2, loud)
	w.inbox.Want.Ceiling = impact.Reload
	if r := w.settle(); r.Phase != nodeops.Refused || r.Config != quiet.Digest() || r.Why == "" {
		t.Errorf("above the ceiling: %+v", r)
	}
	w.inbox.Send(3, loud)
	w.inbox.Configs[loud.Digest()] = other
	if r := w.settle(); r.Phase != nodeops.Refused || !strings.Contains(r.Why, "what came is config "+other.Digest().Short()) {
		t.Errorf("with foreign content: %+v", r)
	}
	w.inbox.Want = nodeops.Order{Generation: 4, Config: "../../../etc/passwd", Ceiling: impact.Reboot}
	if r := w.settle(); r.Phase != nodeops.Refused || !strings.Contains(r.Why, "is not a digest") {
		t.Errorf("with a digest that is none: %+v", r)
	}
	if d := differs(before, w.picture()); d != "" {
		t.Errorf("refused, and yet:\n%s", d)
	}
}

func TestFailingActionIsUndone(t *testing.T) {
	w := newWorld(t)
	before := w.picture()
	w.units.Fail = map[string]error{"crio.service": errors.New("unit crio.service not found")}
	if r := w.send(quiet); r.Phase != nodeops.Restored || !strings.Contains(r.Why, "unit crio.service not found") {
		t.Errorf("%+v", r)
	}
	if !slices.Equal(w.units.Did, []string{"reload crio.service", "reload crio.service"}) {
		t.Errorf("did %v", w.units.Did)
	}
	if d := differs(before, w.picture()); d != "" {
		t.Errorf("not undone:\n%s", d)
	}
}

func TestDriftIsFound(t *testing.T) {
	w := newWorld(t)
	w.send(loud)
	at := func(p string) string { return filepath.Join(w.dir, p) }
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "file"), []byte("x"), 0o644))
	for _, row := range []struct {
		name  string
		spoil func() error
		drift nodeops.Drift
	}{
		{"contents", func() error { return os.WriteFile(at("etc/motd"), []byte("hello"), 0o644) }, nodeops.Drift{Path: "/etc/motd", Kind: nodeops.DriftContent}},
		{"mode", func() error { return os.Chmod(at("usr/local/bin/tool"), 0o700) }, nodeops.Drift{Path: "/usr/local/bin/tool", Kind: nodeops.DriftMode}},
		{"deleted", func() error { return os.Remove(at("opt/deep/er/file")) }, nodeops.Drift{Path: "/opt/deep/er/file", Kind: nodeops.DriftMissing}},
		{"replaced by a link to the same contents", func() error {
			return errors.Join(os.Rename(at("etc/motd"), at("etc/motd.real")), os.Symlink("motd.real", at("etc/motd")))
		}, nodeops.Drift{Path: "/etc/motd", Kind: nodeops.DriftType}},
		{"its directory replaced by a link out of the root", func() error {
			return errors.Join(os.RemoveAll(at("opt/deep/er")), os.Symlink(outside, at("opt/deep/er")))
		}, nodeops.Drift{Path: "/opt/deep/er/file", Kind: nodeops.DriftType}},
		{"replaced by a directory", func() error { return errors.Join(os.Remove(at("etc/motd")), os.Mkdir(at("etc/motd"), 0o755)) }, nodeops.Drift{Path: "/etc/motd", Kind: nodeops.DriftType}},
		{"ssh keys", func() error {
			return os.WriteFile(at("var/home/core/.ssh/authorized_keys.d/ignition"), []byte("key of mallory"), 0o600)
		}, nodeops.Drift{Path: "/var/home/core/.ssh/authorized_keys.d/ignition", Kind: nodeops.DriftContent}},
		{"unit text", func() error { return os.WriteFile(at("etc/systemd/system/own.service"), []byte("x"), 0o644) }, nodeops.Drift{Path: "/etc/systemd/system/own.service", Kind: nodeops.DriftUnit}},
		{"drop-in", func() error { return os.Remove(at("etc/systemd/system/chronyd.service.d/10-own.conf")) }, nodeops.Drift{Path: "/etc/systemd/system/chronyd.service.d/10-own.conf", Kind: nodeops.DriftUnit}},
		{"unmasked", func() error { return os.Remove(at("etc/systemd/system/bluetooth.service")) }, nodeops.Drift{Path: "/etc/systemd/system/bluetooth.service", Kind: nodeops.DriftUnit}},
		{"disabled", func() error {
			return os.Remove(at("etc/systemd/system/multi-user.target.wants/own.service"))
		}, nodeops.Drift{Path: "own.service", Kind: nodeops.DriftEnablement}},
		{"kernel arguments", func() error { w.box.Now.Kargs = nil; return nil }, nodeops.Drift{Path: "kernelArguments", Kind: nodeops.DriftKargs}},
		{"image", func() error { w.box.Now.Image = "quay.io/os:1"; return nil }, nodeops.Drift{Path: "osImageURL", Kind: nodeops.DriftImage}},
	} {
		t.Run(row.name, func(t *testing.T) {
			whole := w
			w = whole.copied()
			defer func() { w = whole }()
			must(t, row.spoil())
			r, err, _ := w.tick()
			if err != nil || r.Phase != nodeops.Done || len(r.Drift) != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			if d := r.Drift[0]; d.Path != row.drift.Path || d.Kind != row.drift.Kind || d.Why == "" {
				t.Errorf("found %+v, want %+v", d, row.drift)
			}
			if drift, err := w.loop.Verify(context.Background(), loud); err != nil || len(drift) != 1 || drift[0] != r.Drift[0] {
				t.Errorf("verify: %+v, %v", drift, err)
			}
			if data, _ := os.ReadFile(filepath.Join(outside, "file")); string(data) != "x" {
				t.Errorf("out of the root stands %q", data)
			}
		})
	}
}

// Orders there and back raise no false alarm.
func TestNoDriftWithoutCause(t *testing.T) {
	w := newWorld(t)
	for n := range 24 {
		if r := w.send([]machine.Config{quiet, loud, other, {}}[n%4]); r.Phase != nodeops.Done || len(r.Drift) != 0 {
			t.Fatalf("order %d: %+v", n, r)
		}
	}
}

func TestRebootThatDoesNotHoldIsUndone(t *testing.T) {
	t.Run("the image does not come up", func(t *testing.T) {
		w := newWorld(t)
		w.send(quiet)
		before := w.picture()
		w.box.Refuse = func(c machine.Config) bool { return c.OSImage == loud.OSImage }
		r := w.send(loud)
		if r.Phase != nodeops.Restored || r.Config != quiet.Digest() || !strings.Contains(r.Why, "did not hold") {
			t.Errorf("%+v", r)
		}
		if d := differs(before, w.picture()); d != "" {
			t.Errorf("not restored:\n%s", d)
		}
		if w.box.Asked != 2 {
			t.Errorf("%d reboots, want there and back", w.box.Asked)
		}
		if r, _, _ := w.tick(); r.Phase != nodeops.Restored || w.box.Asked != 2 {
			t.Errorf("then %+v, %d reboots", r, w.box.Asked)
		}
	})
	t.Run("the machine does not reboot", func(t *testing.T) {
		w := newWorld(t)
		before := w.picture()
		w.box.Dead = true
		if r := w.send(loud); r.Phase != nodeops.Restored || !strings.Contains(r.Why, "did not happen") || w.box.Asked != 2 {
			t.Errorf("%+v, asked %d times", r, w.box.Asked)
		}
		w.box.Dead = false
		w.box.Reboot(context.Background()) // somebody else reboots it at last
		if d := differs(before, w.picture()); d != "" {
			t.Errorf("not restored:\n%s", d)
		}
	})
}

// Who inhibits a reboot is given time, and named when there is none left.
func TestARebootThatIsRefused(t *testing.T) {
	busy := errors.New("a package manager is at work")
	begun := func(t *testing.T) *world {
		w := newWorld(t)
		w.send(quiet)
		w.box.Deny = busy
		w.inbox.Send(2, loud)
		if r, err, _ := w.tick(); !errors.Is(err, busy) || r.Phase != nodeops.Working || !strings.Contains(r.Why, busy.Error()) {
			t.Fatalf("%+v, %v", r, err)
		}
		for range 3 { // woken or not
			if r, err, _ := w.tick(); err != nil || w.box.Asked != 1 || r.Phase != nodeops.Working || !strings.HasSuffix(r.Why, busy.Error()) {
				t.Fatalf("it waits with %+v, %v, asked %d times", r, err, w.box.Asked)
			}
		}
		w.now = w.now.Add(loop.Patience)
		return w
	}
	t.Run("and then is not", func(t *testing.T) {
		w := begun(t)
		w.box.Deny = nil
		if r := w.settle(); r.Phase != nodeops.Done || r.Config != loud.Digest() || w.box.Asked != 2 {
			t.Errorf("%+v, asked %d times", r, w.box.Asked)
		}
	})
	t.Run("for good", func(t *testing.T) {
		w := begun(t)
		if _, err, _ := w.tick(); !errors.Is(err, busy) {
			t.Fatal(err)
		}
		w.now = w.now.Add(loop.Patience)
		if r, err, _ := w.tick(); err != nil || r.Phase != nodeops.Restored || !strings.HasSuffix(r.Why, "did not happen: "+busy.Error()) || w.box.Asked != 2 {
			t.Errorf("%+v, %v, asked %d times", r, err, w.box.Asked)
		}
	})
}

// A unit that comes only with the new image is enabled once that has booted.
func TestUnitOfTheNextImageIsEnabled(t *testing.T) {
	w := newWorld(t)
	c := machine.Config{OSImage: "os:3", Units: []machine.Unit{{Name: "late.service", Enablement: machine.Enabled}}}
	w.inbox.Send(1, c)
	if _, err, _ := w.tick(); !errors.Is(err, loop.ErrReboot) {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.dir, "usr/lib/systemd/system/late.service"), "[Install]\nWantedBy=multi-user.target\n", 0o644)
	if r := w.settle(); r.Phase != nodeops.Done || len(r.Drift) != 0 {
		t.Errorf("%+v", r)
	}
	if _, err := os.Lstat(filepath.Join(w.dir, "etc/systemd/system/multi-user.target.wants/late.service")); err != nil {
		t.Error(err)
	}
}

// While the inbox is silent the node says nothing, but what was begun is finished.
func TestSilence(t *testing.T) {
	w := newWorld(t)
	w.inbox.Send(1, quiet)
	w.at = func(_ int, what string) error {
		if what == "rename /etc/containers/registries.d/x/y.yaml" {
			panic(killed{})
		}
		return nil
	}
	if _, _, alive := w.tick(); alive {
		t.Fatal("the file was not written")
	}
	w.at, w.inbox.Silent = nil, errors.New("no route")
	w.start()
	r, err, _ := w.tick()
	if err == nil || r.Phase != nodeops.Done || r.Config != quiet.Digest() {
		t.Errorf("%+v, %v", r, err)
	}
	w.inbox.Silent = nil
	if r, err, _ := w.tick(); err != nil || r.Phase != nodeops.Done || w.inbox.Told[len(w.inbox.Told)-1].Phase != nodeops.Done {
		t.Errorf("%+v, %v, told %+v", r, err, w.inbox.Told)
	}
}

// Our links are those that systemctl makes.
func TestEnablementAsSystemctl(t *testing.T) {
	systemctl, err := exec.LookPath("systemctl")
	if err != nil {
		t.Skip("there is no systemctl here: ", err)
	}
	c := machine.Config{Units: []machine.Unit{
		{Name: "one.service", Contents: "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target a.target\nRequiredBy=b.target\nAlias=uno.service\nAlso=one.socket\n", Enablement: machine.Enabled},
		{Name: "one.socket", Contents: "[Socket]\nListenStream=/run/x\n[Install]\nWantedBy=sockets.target\n"},
		{Name: "chronyd.service", Enablement: machine.Enabled},
		{Name: "t@.service", Contents: "[Service]\nExecStart=/bin/true\n[Install]\nDefaultInstance=d\nWantedBy=%p-%i.target\n"},
		{Name: "t@x.service", Enablement: machine.Enabled},
	}}
	theirs := newWorld(t)
	for _, u := range c.Units {
		if u.Contents != "" {
			write(t, filepath.Join(theirs.dir, "etc/systemd/system", u.Name), u.Contents, 0o644)
		}
	}
	for _, name := range []string{"one.service", "chronyd.service", "t@x.service"} {
		if out, err := exec.Command(systemctl, "--root="+theirs.dir, "enable", name).CombinedOutput(); err != nil {
			t.Skipf("systemctl does not work on a directory here: %v: %s", err, out)
		}
	}
	ours := newWorld(t)
	ours.send(c)
	if d := differs(theirs.picture(), ours.picture()); d != "" {
		t.Errorf("systemctl -> sluice:\n%s", d)
	}
}

func TestRunEndsWithItsContextAndAtAReboot(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.loop.Run(ctx, time.Hour, nil); err != nil {
		t.Errorf("a context that ended: %v", err)
	}
	w.inbox.Send(1, loud)
	if err := w.loop.Run(context.Background(), time.Hour, nil); !errors.Is(err, loop.ErrReboot) {
		t.Errorf("a reboot: %v", err)
	}
}

func TestRunIsWokenForAnOrder(t *testing.T) {
	w := newWorld(t)
	wake, ended := make(chan struct{}, 1), make(chan nodeops.Report)
	w.loop.Ticked = func(r nodeops.Report, _ time.Duration, _ error) { ended <- r }
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- w.loop.Run(ctx, 24*time.Hour, wake) }()
	if r := <-ended; r.Phase != nodeops.Idle {
		t.Errorf("before an order: %+v", r)
	}
	w.inbox.Send(1, quiet)
	wake <- struct{}{}
	select {
	case r := <-ended:
		if r.Generation != 1 || r.Phase != nodeops.Done {
			t.Errorf("woken: %+v", r)
		}
	case <-time.After(time.Minute):
		t.Error("it sleeps on")
	}
	cancel()
	must(t, <-over)
}

// While the config of an order does not come, whoever waits for the node hears why.
func TestAConfigThatDoesNotComeIsSaid(t *testing.T) {
	w := newWorld(t)
	w.send(quiet)
	w.inbox.Send(2, loud)
	w.inbox.Configs = nil
	r, err, _ := w.tick()
	if err == nil || r.Generation != 1 || r.Phase != nodeops.Done || !strings.Contains(r.Why, loud.Digest().Short()+" has not come yet") {
		t.Errorf("without its config: %+v, %v", r, err)
	}
	w.inbox.Send(2, loud)
	if r := w.settle(); r.Phase != nodeops.Done || r.Why != "" {
		t.Errorf("once it came: %+v", r)
	}
}
