package host_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-gitops/sluice/nodeops/agent"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop/hosttest"
	"github.com/sluice-gitops/sluice/nodeops/host"
)

func open(t *testing.T, dir string) *host.Files {
	t.Helper()
	f, err := host.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestFiles(t *testing.T) {
	hosttest.Files(t, func(t *testing.T) loop.Files { return open(t, t.TempDir()) })
}

func TestRecorder(t *testing.T) {
	hosttest.Units(t, "crio.service", func(t *testing.T) loop.Units { return host.Recorder{Files: open(t, t.TempDir())} })
}

func TestSystemd(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		t.Skip("systemd does not run here: ", err)
	}
	if os.Getenv("SLUICE_TEST_SYSTEMD") == "" {
		t.Skip("restarts systemd-journald of this machine: set SLUICE_TEST_SYSTEMD=1 to allow it")
	}
	hosttest.Units(t, "systemd-journald.service", func(*testing.T) loop.Units { return host.Systemd{Root: "/"} })
}

// A path that leads through a symlink may leave the root, or be steered by whoever owns a home.
func TestLookAndPutFollowNoForeignLink(t *testing.T) {
	outside := t.TempDir()
	for _, row := range []struct {
		name, link, target string
		owner              int
		kind               agent.Kind // of /etc/app/f below it
	}{
		{"an absolute link", "etc/app", outside, 0, agent.Other},
		{"a relative link out of the root", "etc/app", "../../../../../../../.." + outside, 0, agent.Other},
		{"a link to itself", "etc/app", "app", 0, agent.Other},
		{"a link of an ordinary user", "etc/app", "../opt", 1000, agent.Other},
		{"a link of root within the root", "etc/app", "../opt", 0, agent.Regular},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.MkdirAll(filepath.Join(dir, "etc"), 0o755), os.MkdirAll(filepath.Join(dir, "opt"), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, "opt/f"), []byte("inside"), 0o644))
			must(t, os.WriteFile(filepath.Join(outside, "f"), []byte("outside"), 0o644))
			must(t, os.Symlink(row.target, filepath.Join(dir, row.link)))
			if row.owner != 0 {
				if os.Geteuid() != 0 {
					t.Skip("not root: a link cannot be given to another user")
				}
				must(t, os.Lchown(filepath.Join(dir, row.link), row.owner, row.owner))
			}
			f := open(t, dir)
			e, err := f.Look("/etc/app/f")
			if err != nil || e.Kind != row.kind {
				t.Fatalf("look: %v %v, want %s", e.Kind, err, row.kind)
			}
			err = f.Put(agent.Tree{"/etc/app/f": hosttest.Text(0o644, "ours")})
			if (err == nil) != (row.kind == agent.Regular) {
				t.Errorf("put: %v", err)
			}
			if data, _ := os.ReadFile(filepath.Join(outside, "f")); string(data) != "outside" {
				t.Errorf("a file out of the root now holds %q", data)
			}
		})
	}
}

func TestLookCallsADeviceOther(t *testing.T) {
	dir := t.TempDir()
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	if e, err := open(t, dir).Look("/fifo"); err != nil || e.Kind != agent.Other {
		t.Errorf("fifo is %v, %v", e.Kind, err)
	}
}

func TestPutOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: owners cannot be set")
	}
	f := open(t, t.TempDir())
	want := agent.Tree{
		"/d":   {Kind: agent.Dir, Mode: 0o700, UID: 1000, GID: 1001},
		"/d/f": {Kind: agent.Regular, Mode: 0o2755, UID: 1000, GID: 1001, Data: []byte("x")},
		"/d/l": {Kind: agent.Symlink, Target: "f", UID: 1000, GID: 1001},
	}
	must(t, f.Put(want))
	for p, e := range want {
		if have, err := f.Look(p); err != nil || !agent.Met(e, have) {
			t.Errorf("%s is %+v, %v", p, have, err)
		}
	}
	want["/d/f"] = agent.Entry{Kind: agent.Regular, Mode: 0o2755, UID: agent.Anyone, GID: agent.Anyone, Data: []byte("y")}
	must(t, f.Put(want)) // an owner that does not count is that of the agent
	if have, _ := f.Look("/d/f"); have.UID != 0 {
		t.Errorf("a new file of anyone belongs to %d", have.UID)
	}
}

func TestUnreadableFileOfAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root: every file can be read")
	}
	dir := t.TempDir()
	f := open(t, dir)
	if err := f.Put(agent.Tree{"/secret": hosttest.Text(0, "x")}); err == nil {
		t.Error("a file was put that cannot be looked at again")
	}
	must(t, os.WriteFile(filepath.Join(dir, "closed"), nil, 0))
	if e, err := f.Look("/closed"); err != nil || e.Kind != agent.Other {
		t.Errorf("closed is %v, %v", e.Kind, err)
	}
}

// A disk that fills up while the second of two files is written must show neither.
func TestPutChangesNothingOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	must(t, f.Put(agent.Tree{"/a": hosttest.Text(0o644, "old a"), "/b": hosttest.Text(0o644, "old b"), "/gone": hosttest.Text(0o644, "g")}))
	f.Trace = func(change, p string) error {
		if change == "write" && p == "/b" {
			return syscall.ENOSPC
		}
		return nil
	}
	err := f.Put(agent.Tree{"/a": hosttest.Text(0o644, "new a"), "/b": hosttest.Text(0o644, "new b"), "/gone": {Kind: agent.Absent}})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "/b") {
		t.Fatalf("put: %v, want ENOSPC that names /b", err)
	}
	for name, want := range map[string]string{"a": "old a", "b": "old b", "gone": "g"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); string(data) != want {
			t.Errorf("%s holds %q, %v", name, data, err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 3 {
		t.Errorf("something was left on the full disk: %v", entries)
	}
}

// What a node reports of a disk must read the same at each attempt, and name no file but the one asked for.
func TestPutSaysTheSameAtEachAttempt(t *testing.T) {
	for no, want := range map[syscall.Errno]string{
		syscall.ENOSPC: `write "/b": no space left on device: free space, and push again`,
		syscall.EROFS:  `write "/b": read-only file system`,
	} {
		for _, at := range []string{"create", "write", "sync", "rename"} {
			f, fd := open(t, t.TempDir()), 10
			f.Trace = func(change, p string) error {
				if change != at {
					return nil
				}
				fd++
				return &fs.PathError{Op: change, Path: fmt.Sprintf("/proc/self/fd/%d/.sluice-a7", fd), Err: no}
			}
			for range 2 {
				if err := f.Put(agent.Tree{"/b": hosttest.Text(0o644, "b")}); !errors.Is(err, no) || err.Error() != want {
					t.Errorf("%s: %v, want %s", at, err, want)
				}
			}
			if fd != 12 {
				t.Errorf("%s was met %d times", at, fd-10)
			}
		}
	}
}

func TestLockKeepsASecondAgentOff(t *testing.T) {
	dir := t.TempDir()
	first, err := open(t, dir).Lock()
	must(t, err)
	if _, err := open(t, dir).Lock(); !errors.Is(err, host.ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	must(t, first.Close())
	again, err := open(t, dir).Lock()
	must(t, err)
	must(t, again.Close())
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
