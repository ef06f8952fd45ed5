package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop/hosttest"
	"github.com/sluice-gitops/sluice/nodeops/host"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// killed is what a world panics with where its process is meant to die.
type killed struct{}

// world is a node: a real directory, a machine in memory, an inbox. The process on it can be
// killed, or its disk be full, at any change that it makes.
type world struct {
	t     *testing.T
	dir   string
	inbox *hosttest.Inbox
	box   *hosttest.Box
	units *hosttest.Services
	files *host.Files
	loop  *loop.Loop
	now   time.Time
	wary  bool
	done  int                            // changes made so far
	at    func(n int, what string) error // called before the n-th change
}

// newWorld is a node in which an OS has put some files.
func newWorld(t *testing.T) *world {
	dir := tempDir(t)
	for p, text := range map[string]string{
		"etc/passwd":                             "root:x:0:0::/root:/bin/sh\ncore:x:1000:1000::/var/home/core:/bin/sh\n",
		"etc/group":                              "root:x:0:\nwheel:x:10:\n",
		"etc/motd":                               "the OS's own\n",
		"usr/lib/systemd/system/chronyd.service": "[Unit]\n[Install]\nWantedBy=multi-user.target\nAlias=ntp.service\n",
		"var/home/core/.keep":                    "",
		"var/lib/.keep":                          "",
	} {
		write(t, filepath.Join(dir, p), text, 0o644)
	}
	must(t, os.Chmod(filepath.Join(dir, "etc/motd"), 0o640))
	must(t, os.Symlink("../run/resolv.conf", filepath.Join(dir, "etc/resolv.conf")))
	w := &world{t: t, dir: dir, inbox: &hosttest.Inbox{}, box: &hosttest.Box{}, units: &hosttest.Services{}, now: time.Unix(1e9, 0)}
	w.start()
	return w
}

// tempDir is in memory where that can be had: these tests sync some ten thousand times, and none
// of them cuts the power.
func tempDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "sluice")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// start is a new process on the node.
func (w *world) start() {
	if w.files != nil {
		w.files.Close()
	}
	files, err := host.Open(w.dir)
	must(w.t, err)
	files.Trace = w.change
	w.files = files
	w.loop = &loop.Loop{
		Inbox: w.inbox, Files: files, Units: traced{w}, OS: traced{w},
		Now: func() time.Time { return w.now }, Wary: w.wary,
	}
}

func (w *world) change(what, p string) error {
	w.done++
	if w.at == nil {
		return nil
	}
	return w.at(w.done, what+" "+p)
}

// traced counts what is asked of the machine among the changes.
type traced struct{ w *world }

func (t traced) Do(ctx context.Context, k impact.Kind, unit string) error {
	return errors.Join(t.w.change(k.String(), unit), t.w.units.Do(ctx, k, unit))
}
func (t traced) BootID(ctx context.Context) (string, error)       { return t.w.box.BootID(ctx) }
func (t traced) Booted(ctx context.Context) (agent.Booted, error) { return t.w.box.Booted(ctx) }
func (t traced) Stage(ctx context.Context, c machine.Config) error {
	t.w.change("stage", "")
	return t.w.box.Stage(ctx, c)
}

func (t traced) Reboot(ctx context.Context) error {
	t.w.change("reboot", "")
	return t.w.box.Reboot(ctx)
}

// tick is one look of the process that runs; alive is false when it was killed in it.
func (w *world) tick() (r nodeops.Report, err error, alive bool) {
	defer func() {
		if p := recover(); p != nil && p != (killed{}) {
			panic(p)
		}
	}()
	r, err = w.loop.Tick(context.Background())
	return r, err, true
}

// settle starts processes and ticks until the node has nothing more to do for its order.
func (w *world) settle() nodeops.Report {
	w.t.Helper()
	for range 12 {
		w.start()
		r, err, alive := w.tick()
		switch {
		case !alive || errors.Is(err, loop.ErrReboot):
		case err != nil:
			w.t.Fatalf("tick: %v", err)
		case r.Phase.Whole() && r.Generation == w.inbox.Want.Generation:
			return r
		}
	}
	w.t.Fatalf("no end; last told %+v", w.inbox.Told[len(w.inbox.Told)-1])
	return nodeops.Report{}
}

// send orders a config and returns what the node says in the end.
func (w *world) send(c machine.Config) nodeops.Report {
	w.t.Helper()
	w.inbox.Send(w.inbox.Want.Generation+1, c)
	return w.settle()
}

// copied is another node that is the same as this one.
func (w *world) copied() *world {
	dir := tempDir(w.t)
	must(w.t, filepath.WalkDir(w.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(w.dir, p)
		return clone(p, filepath.Join(dir, rel))
	}))
	box := *w.box
	out := &world{t: w.t, dir: dir, box: &box, units: &hosttest.Services{}, now: w.now}
	out.inbox = &hosttest.Inbox{Want: w.inbox.Want, Configs: maps.Clone(w.inbox.Configs)}
	out.start()
	return out
}

func clone(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	default:
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, data, 0o600); err != nil {
			return err
		}
	}
	if st := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 {
		if err := os.Chown(to, int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(to, info.Mode())
}

// picture is everything on the node but Sluice's own: path -> type, mode, owner, content.
func (w *world) picture() map[string]string {
	w.t.Helper()
	out := map[string]string{}
	must(w.t, filepath.WalkDir(w.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(w.dir, p)
		if rel == "var/lib/sluice" {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := ""
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			what, err = os.Readlink(p)
		case info.Mode().IsRegular():
			var data []byte
			data, err = os.ReadFile(p)
			what = string(data)
		}
		st := info.Sys().(*syscall.Stat_t)
		out[rel] = fmt.Sprintf("%v %d:%d %q", info.Mode(), st.Uid, st.Gid, what)
		return err
	}))
	out["(booted)"] = fmt.Sprintf("%+v", w.box.Now)
	return out
}

// differs lists what two pictures do not share; empty when they are the same.
func differs(a, b map[string]string) string {
	var out []string
	for p := range a {
		if a[p] != b[p] {
			out = append(out, fmt.Sprintf("%s: %s -> %s", p, a[p], b[p]))
		}
	}
	for p := range b {
		if _, ok := a[p]; !ok {
			out = append(out, fmt.Sprintf("%s: nothing -> %s", p, b[p]))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func write(t *testing.T, p, text string, mode fs.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), mode))
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func file(p, text string) machine.File {
	return machine.File{Path: p, Mode: 0o644, Contents: []byte(text)}
}

// quiet only reloads; loud reboots, and touches everything that can be touched.
var (
	quiet = machine.Config{Files: []machine.File{
		file("/etc/containers/policy.json", "{}"),
		file("/etc/containers/registries.d/x/y.yaml", "x: 1"),
	}}
	loud = machine.Config{
		Files: []machine.File{
			file("/etc/motd", "sluice's\n"), file("/etc/resolv.conf", "nameserver ::1\n"),
			file("/opt/deep/er/file", "x"),
			{Path: "/usr/local/bin/tool", Mode: 0o755, Group: "wheel", Contents: []byte("#!/bin/sh\n")},
			file("/etc/containers/policy.json", `{"default":[]}`),
		},
		Units: []machine.Unit{
			{Name: "own.service", Contents: "[Unit]\n[Install]\nWantedBy=multi-user.target\nAlso=own.timer\n", Enablement: machine.Enabled},
			{Name: "own.timer", Contents: "[Timer]\n[Install]\nWantedBy=timers.target\n"},
			{Name: "chronyd.service", Enablement: machine.Enabled, DropIns: []machine.DropIn{{Name: "10-own.conf", Contents: "[Service]\nNice=1\n"}}},
			{Name: "bluetooth.service", Mask: true},
		},
		Users:      []machine.User{{Name: "core", SSHKeys: []string{"ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two"}}},
		KernelArgs: []string{"hugepages=4"}, OSImage: "quay.io/os:2",
	}
	other = machine.Config{
		Files:      []machine.File{file("/opt/deep/other", "o"), file("/etc/motd", "other's\n")},
		Units:      []machine.Unit{{Name: "chronyd.service", Enablement: machine.Disabled}, {Name: "own.service", Mask: true}},
		KernelArgs: []string{"hugepages=8"},
	}
)
