// Package plain is the OS of a host that runs and that others have installed: it reboots, but what it
// boots is not Sluice's to change.
package plain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bus "github.com/godbus/dbus/v5"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/agent"
	"github.com/sluice-gitops/sluice/nodeops/host"
)

// Machine is the host whose root is mounted at a directory, its /proc and /run included. It is a
// loop.OS.
type Machine struct{ Root string }

// BootID is the kernel's own.
func (m Machine) BootID(context.Context) (string, error) {
	id, err := m.read("proc/sys/kernel/random/boot_id")
	if err == nil && id == "" {
		err = errors.New("proc/sys/kernel/random/boot_id: is empty")
	}
	return id, err
}

// Booted is the kernel's command line. Which image it is nobody says, and it is fixed.
func (m Machine) Booted(context.Context) (agent.Booted, error) {
	line, err := m.read("proc/cmdline")
	return agent.Booted{Kargs: strings.Fields(line), Fixed: true}, err
}

func (m Machine) read(name string) (string, error) {
	data, err := os.ReadFile(filepath.Join(m.Root, name))
	return strings.TrimSpace(string(data)), err
}

// Stage has nothing to do for a config that asks for what runs already. Decide refuses any other
// before it comes here.
func (m Machine) Stage(ctx context.Context, c machine.Config) error {
	now, err := m.Booted(ctx)
	if err != nil {
		return err
	}
	missing := slices.ContainsFunc(c.KernelArgs, func(arg string) bool { return !slices.Contains(now.Kargs, arg) })
	if missing || c.OSImage != "" {
		return errors.New("what this host boots cannot be changed")
	}
	return nil
}

// asking is how long the host may take to say that it will reboot.
const asking = time.Minute

// Reboot asks logind, which lets the kubelet and others finish first, and which refuses while
// somebody, such as a package manager at work, inhibits it. Only where there is no logind systemd is
// asked itself.
func (m Machine) Reboot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	err := m.login(ctx)
	var refused bus.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused) && refused.Name == underWay: // by an agent before this one, or by others
		return nil
	case errors.As(err, &refused) && !slices.Contains(nobody, refused.Name):
		return fmt.Errorf("ask logind to reboot: %w", err)
	}
	instead := m.call(ctx, host.SystemdSocket, false, "org.freedesktop.systemd1", "StartUnit", "reboot.target", "replace-irreversibly")
	if instead != nil {
		return fmt.Errorf("ask logind to reboot: %w; ask systemd: %w", err, instead)
	}
	return nil
}

// heedInhibitors is logind's flag for what root would else override, before systemd 257.
const heedInhibitors = uint64(1)

// login asks logind. One before systemd 248 takes no flags.
func (m Machine) login(ctx context.Context) error {
	err := m.call(ctx, "run/dbus/system_bus_socket", true, "org.freedesktop.login1", "RebootWithFlags", heedInhibitors)
	var refused bus.Error
	if errors.As(err, &refused) && refused.Name == "org.freedesktop.DBus.Error.UnknownMethod" {
		return m.call(ctx, "run/dbus/system_bus_socket", true, "org.freedesktop.login1", "Reboot", false)
	}
	return err
}

// underWay is logind's word for a machine that goes down already.
const underWay = "org.freedesktop.login1.OperationInProgress"

// nobody are the bus's own words for a service that is not there.
var nobody = []string{
	"org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner",
	"org.freedesktop.DBus.Error.UnknownObject", "org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.UnitMasked",
}

// call asks the manager of a service.
func (m Machine) call(ctx context.Context, socket string, greet bool, service, method string, args ...any) error {
	conn, err := host.Bus(ctx, filepath.Join(m.Root, socket), greet)
	if err != nil {
		return err
	}
	defer conn.Close()
	at := bus.ObjectPath("/" + strings.ReplaceAll(service, ".", "/"))
	return conn.Object(service, at).CallWithContext(ctx, service+".Manager."+method, 0, args...).Err
}
