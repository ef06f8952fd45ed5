package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	bus "github.com/godbus/dbus/v5"

	"github.com/sluice-gitops/sluice/nodeops/agent"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// JobTimeout is how long systemd may take for one unit.
const JobTimeout = 5 * time.Minute

// Systemd is the service manager of the system that runs at a root, over D-Bus.
type Systemd struct{ Root string }

// SystemdSocket is where systemd itself answers, without a bus, beneath the root.
const SystemdSocket = "run/systemd/private"

// Running says that a directory is the root of a system that runs, and not only a tree of files: its
// /proc is that of a kernel, or systemd is at work on it.
func Running(root string) bool {
	for _, sign := range []string{"proc/1", "run/systemd/system"} {
		if _, err := os.Lstat(filepath.Join(root, sign)); err == nil {
			return true
		}
	}
	return false
}

// Bus connects to a socket of D-Bus, until the context ends. Greet says that it is a bus, and not a
// service itself.
func Bus(ctx context.Context, socket string, greet bool) (*bus.Conn, error) {
	conn, err := bus.Dial("unix:path="+bus.EscapeBusAddressValue(socket), bus.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	err = conn.Auth([]bus.Auth{bus.AuthExternal(strconv.Itoa(os.Getuid()))}) // by number: a name would want a libc
	if err == nil && greet {
		err = conn.Hello()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (s Systemd) connect(ctx context.Context) (*dbus.Conn, error) {
	conn, err := dbus.NewConnection(func() (*bus.Conn, error) { return Bus(ctx, filepath.Join(s.Root, SystemdSocket), false) })
	if err != nil {
		return nil, fmt.Errorf("reach systemd: %w", err)
	}
	return conn, nil
}

// Answers says why systemd cannot be asked for anything.
func (s Systemd) Answers(ctx context.Context) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	conn.Close()
	return nil
}

// Do asks systemd and waits for the outcome. A unit is reloaded or restarted by a job, and only
// a job that ends as "done" has succeeded.
func (s Systemd) Do(ctx context.Context, kind impact.Kind, unit string) error {
	ctx, cancel := context.WithTimeout(ctx, JobTimeout)
	defer cancel()
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	outcome := make(chan string, 1)
	switch {
	case kind == impact.Reload && unit == "":
		return conn.ReloadContext(ctx)
	case kind == impact.Reload:
		_, err = conn.ReloadUnitContext(ctx, unit, "replace", outcome)
	case kind == impact.Restart && unit != "":
		_, err = conn.RestartUnitContext(ctx, unit, "replace", outcome)
	default:
		return notDone(kind, unit)
	}
	if err != nil {
		return err
	}
	select {
	case how := <-outcome:
		if how != "done" {
			return fmt.Errorf("job of %s ended as %q: see journalctl -u %s", unit, how, unit)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", unit, ctx.Err())
	}
}

func notDone(kind impact.Kind, unit string) error {
	return fmt.Errorf("%s of unit %q is not a deed of the service manager", kind, unit)
}

// Recorder stands in for the service manager of a root that is only a directory: it writes down
// what it was asked for, one line each, newest last.
type Recorder struct {
	Files interface {
		Look(path string) (agent.Entry, error)
		Put(agent.Tree) error
	}
}

// UnitsLog is where a Recorder writes.
const UnitsLog = agent.StateDir + "/units.log"

// maxLog is how much of the past a Recorder keeps, in bytes.
const maxLog = 64 << 10

// Do writes down "reload crio.service", "restart kubelet.service" or "daemon-reload".
func (r Recorder) Do(_ context.Context, kind impact.Kind, unit string) error {
	line := kind.String() + " " + unit + "\n"
	switch {
	case kind == impact.Reload && unit == "":
		line = "daemon-reload\n"
	case (kind == impact.Reload || kind == impact.Restart) && unit != "" && !strings.Contains(unit, "\n"):
	default:
		return notDone(kind, unit)
	}
	had, err := r.Files.Look(UnitsLog)
	if err != nil {
		return fmt.Errorf("record %q: %w", strings.TrimSpace(line), err)
	}
	log := string(had.Data) + line
	for len(log) > maxLog {
		_, log, _ = strings.Cut(log, "\n")
	}
	err = r.Files.Put(agent.Tree{UnitsLog: {
		Kind: agent.Regular, Mode: 0o600, UID: agent.Anyone, GID: agent.Anyone, Data: []byte(log),
	}})
	if err != nil {
		return fmt.Errorf("record %q: %w", strings.TrimSpace(line), err)
	}
	return nil
}
