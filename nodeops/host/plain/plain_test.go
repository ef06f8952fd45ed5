package plain_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bus "github.com/godbus/dbus/v5"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop/hosttest"
	"github.com/sluice-gitops/sluice/nodeops/host"
	"github.com/sluice-gitops/sluice/nodeops/host/plain"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// rig is a directory that looks as the root of a host that runs: its kernel's files, and sockets
// behind which stand a systemd and a logind that keep what they are asked.
type rig struct {
	*testing.T
	dir string

	mu    sync.Mutex
	boots int
	asked []string
	says  map[string]string // the error with which a call is answered
	conns []net.Conn        // of systemd itself, which tells all of them of its jobs
}

func newRig(t *testing.T, sockets ...string) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "h") // short: the path of a socket has an end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rig{T: t, dir: dir, says: map[string]string{}}
	r.put("proc/1/comm", "systemd\n")
	r.put("proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/vda1 quiet\n")
	r.boot()
	for _, socket := range sockets {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, socket)), 0o755); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", filepath.Join(dir, socket))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go r.accept(l, socket == host.SystemdSocket)
	}
	return r
}

const system = "run/dbus/system_bus_socket"

func (r *rig) put(name, text string) {
	p := filepath.Join(r.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(text), 0o644)); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) boot() {
	r.boots++
	r.put("proc/sys/kernel/random/boot_id", fmt.Sprintf("0000-%d\n", r.boots))
}

func (r *rig) accept(l net.Listener, private bool) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if private {
			r.mu.Lock()
			r.conns = append(r.conns, conn)
			r.mu.Unlock()
		}
		go r.serve(conn)
	}
}

// serve speaks D-Bus: the greeting in lines, then messages.
func (r *rig) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.Trim(line, "\x00\r\n")
		switch {
		case line == "AUTH":
			fmt.Fprint(conn, "REJECTED EXTERNAL\r\n")
		case strings.HasPrefix(line, "AUTH EXTERNAL"), strings.HasPrefix(line, "DATA"):
			fmt.Fprint(conn, "OK 0123456789abcdef0123456789abcdef\r\n")
		case line == "BEGIN":
			for {
				m, err := bus.DecodeMessage(in)
				if err != nil {
					return
				}
				r.answer(conn, m)
			}
		default:
			fmt.Fprint(conn, "ERROR\r\n")
		}
	}
}

func (r *rig) answer(conn io.Writer, m *bus.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := m.Headers[bus.FieldMember].Value().(string)
	words := []string{name}
	for _, arg := range m.Body {
		words = append(words, fmt.Sprint(arg))
	}
	call := strings.Join(words, " ")
	if name != "Hello" && name != "AddMatch" {
		r.asked = append(r.asked, call)
	}
	reply := &bus.Message{Type: bus.TypeMethodReply, Headers: map[bus.HeaderField]bus.Variant{bus.FieldReplySerial: bus.MakeVariant(m.Serial())}}
	if wrong := r.says[name]; wrong != "" {
		reply.Type = bus.TypeError
		reply.Headers[bus.FieldErrorName] = bus.MakeVariant(wrong)
		reply.Body = []any{"it says no"}
	}
	over := ""
	switch {
	case reply.Type == bus.TypeError:
	case name == "Hello":
		reply.Body = []any{":1.1"}
	case name == "ReloadUnit" || name == "RestartUnit" || name == "StartUnit":
		reply.Body = []any{bus.ObjectPath("/org/freedesktop/systemd1/job/7")}
		over = m.Body[0].(string)
	}
	if (call == "RebootWithFlags 1" || call == "Reboot false") && reply.Type != bus.TypeError || strings.HasPrefix(call, "StartUnit reboot.target") {
		r.boot()
	}
	send(conn, reply)
	if over == "" {
		return
	}
	how := "done"
	if strings.HasPrefix(over, "broken") {
		how = "failed"
	}
	for _, c := range r.conns {
		send(c, &bus.Message{
			Type: bus.TypeSignal, Headers: map[bus.HeaderField]bus.Variant{
				bus.FieldPath:      bus.MakeVariant(bus.ObjectPath("/org/freedesktop/systemd1")),
				bus.FieldInterface: bus.MakeVariant("org.freedesktop.systemd1.Manager"), bus.FieldMember: bus.MakeVariant("JobRemoved"),
			},
			Body: []any{uint32(7), bus.ObjectPath("/org/freedesktop/systemd1/job/7"), over, how},
		})
	}
}

func send(w io.Writer, m *bus.Message) {
	if len(m.Body) > 0 {
		m.Headers[bus.FieldSignature] = bus.MakeVariant(bus.SignatureOf(m.Body...))
	}
	var out strings.Builder
	if err := m.EncodeTo(&out, binary.LittleEndian); err != nil {
		panic(err)
	}
	io.WriteString(w, out.String()) // who hung up needs no answer
}

func (r *rig) did() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

func TestMachine(t *testing.T) {
	hosttest.OS(t, func(t *testing.T) (loop.OS, func() loop.OS) {
		r := newRig(t, system, host.SystemdSocket)
		return plain.Machine{Root: r.dir}, func() loop.OS { return plain.Machine{Root: r.dir} }
	})
}

func TestSystemd(t *testing.T) {
	hosttest.Units(t, "crio.service", func(t *testing.T) loop.Units {
		return host.Systemd{Root: newRig(t, host.SystemdSocket).dir}
	})
	r := newRig(t, host.SystemdSocket)
	err := host.Systemd{Root: r.dir}.Do(t.Context(), impact.Restart, "broken.service")
	if err == nil || !strings.Contains(err.Error(), `ended as "failed"`) {
		t.Errorf("a unit that does not come up: %v", err)
	}
	if got := r.did(); !slices.Equal(got, []string{"RestartUnit broken.service replace"}) {
		t.Errorf("systemd was asked for %q", got)
	}
	if err := (host.Systemd{Root: t.TempDir()}).Do(t.Context(), impact.Reload, ""); err == nil || !strings.Contains(err.Error(), "reach systemd") {
		t.Errorf("without systemd: %v", err)
	}
}

// Who is asked to reboot, and what is done where the answer is no.
func TestReboot(t *testing.T) {
	both, ask, instead := []string{system, host.SystemdSocket}, "RebootWithFlags 1", "StartUnit reboot.target replace-irreversibly"
	for _, row := range []struct {
		name    string
		sockets []string
		logind  string // its error
		want    []string
		ok      bool
	}{
		{"logind is asked, so that others finish first", both, "", []string{ask}, true},
		{"somebody inhibits it", both, "org.freedesktop.login1.BlockedByInhibitorLock", []string{ask}, false},
		{"it goes down already", both, "org.freedesktop.login1.OperationInProgress", []string{ask}, true},
		{"it is not allowed", both, "org.freedesktop.DBus.Error.AccessDenied", []string{ask}, false},
		{"logind is too old for flags", both, "org.freedesktop.DBus.Error.UnknownMethod", []string{ask, "Reboot false"}, true},
		{"there is no logind", both, "org.freedesktop.DBus.Error.ServiceUnknown", []string{ask, instead}, true},
		{"there is no bus", both[1:], "", []string{instead}, true},
		{"nobody is there", nil, "", nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, row.sockets...)
			r.says["RebootWithFlags"] = row.logind
			err := plain.Machine{Root: r.dir}.Reboot(t.Context())
			if got := r.did(); !slices.Equal(got, row.want) || (err == nil) != row.ok {
				t.Errorf("asked %q, %v", got, err)
			}
		})
	}
}

// What a fixed host cannot do is refused before anything is touched, and what it can do is done.
func TestOrdersOfAFixedHost(t *testing.T) {
	text := func(p, text string) machine.File { return machine.File{Path: p, Mode: 0o644, Contents: []byte(text)} }
	files := []machine.File{text("/etc/containers/policy.json", "{}"), text("/etc/needs-a-boot", "x")}
	for _, row := range []struct {
		name  string
		c     machine.Config
		phase nodeops.Phase
		why   string
	}{
		{"a file that needs a reboot", machine.Config{Files: files}, nodeops.Done, ""},
		{"arguments that it was booted with", machine.Config{Files: files, KernelArgs: []string{"quiet"}}, nodeops.Done, ""},
		{"another argument", machine.Config{Files: files, KernelArgs: []string{"secret=1"}}, nodeops.Refused, "kernelArguments: secret is not on the kernel command line, and sluice cannot change what this node boots"},
		{"an image", machine.Config{Files: files, OSImage: "quay.io/os:2"}, nodeops.Refused, "osImageURL"},
		{"another kernel", machine.Config{Files: files, KernelType: "realtime"}, nodeops.Refused, "kernelType"},
		{"extensions", machine.Config{Files: files, Extensions: []string{"usbguard"}}, nodeops.Refused, "extensions"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, system, host.SystemdSocket)
			files, err := host.Open(r.dir)
			if err != nil {
				t.Fatal(err)
			}
			defer files.Close()
			in := &hosttest.Inbox{}
			in.Send(1, row.c)
			report := nodeops.Report{}
			for range 4 { // each a process; a reboot ends the one that asked for it
				agent := &loop.Loop{Inbox: in, Files: files, Units: host.Systemd{Root: r.dir}, OS: plain.Machine{Root: r.dir}, Now: time.Now}
				if report, err = agent.Tick(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			if report.Phase != row.phase || !strings.Contains(report.Why, row.why) {
				t.Errorf("it is %s: %s", report.Phase, report.Why)
			}
			_, missing := os.Stat(filepath.Join(r.dir, "etc/needs-a-boot"))
			if touched := missing == nil || r.boots > 1; touched != (row.phase == nodeops.Done) {
				t.Errorf("touched: %t; %d boots, asked %q", touched, r.boots, r.did())
			}
			if strings.Contains(report.Why, "=1") {
				t.Errorf("the value is told: %s", report.Why)
			}
		})
	}
}

func TestRunning(t *testing.T) {
	if host.Running(t.TempDir()) {
		t.Error("a directory runs")
	}
	for _, sign := range []string{"proc/1", "run/systemd/system"} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, sign), 0o755); err != nil {
			t.Fatal(err)
		}
		if !host.Running(dir) {
			t.Errorf("with %s it does not run", sign)
		}
	}
}
