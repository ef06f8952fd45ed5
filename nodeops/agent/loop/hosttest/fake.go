// Package hosttest holds what every disk, service manager and OS of a node must do, as tests
// that run against any of them, and fakes that pass those tests.
package hosttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"sync"
	"syscall"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// Disk is a disk in memory. Symlinks on the way to a path are never followed.
type Disk struct {
	// Fail, if set, is asked before each path is put; its error stops the Put there.
	Fail func(path string) error

	mu   sync.Mutex
	tree agent.Tree
}

// Set puts an entry without any care, as a hostile or clumsy administrator would.
func (d *Disk) Set(p string, e agent.Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tree == nil {
		d.tree = agent.Tree{}
	}
	delete(d.tree, p)
	if e.Kind != agent.Absent {
		d.above(p)
		d.tree[p] = e
	}
}

// Tree is what stands on the disk.
func (d *Disk) Tree() agent.Tree {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.tree)
}

// Look says what stands at a path.
func (d *Disk) Look(p string) (agent.Entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.look(p), nil
}

func (d *Disk) look(p string) agent.Entry {
	for up := path.Dir(p); up != "/"; up = path.Dir(up) {
		if e, ok := d.tree[up]; ok && e.Kind != agent.Dir {
			return agent.Entry{Kind: agent.Other, Target: "(below " + up + ")"}
		}
	}
	if e, ok := d.tree[p]; ok {
		return e
	}
	return agent.Entry{Kind: agent.Absent}
}

// Put makes every path of the tree be so.
func (d *Disk) Put(t agent.Tree) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tree == nil {
		d.tree = agent.Tree{}
	}
	for _, p := range slices.Sorted(maps.Keys(t)) {
		if err := d.refuse(p, t[p], d.look(p)); err != nil {
			return fmt.Errorf("write %q: %w", p, err)
		}
	}
	for _, p := range slices.Backward(slices.Sorted(maps.Keys(t))) {
		want, have := t[p], d.look(p)
		if want.Kind != agent.Absent && want.Kind != agent.Vacant || have.Kind == agent.Absent {
			continue
		}
		if want.Kind == agent.Vacant && (have.Kind != agent.Dir || d.full(p)) {
			continue
		}
		delete(d.tree, p)
	}
	for _, p := range slices.Sorted(maps.Keys(t)) {
		want := t[p]
		if want.Kind == agent.Absent || want.Kind == agent.Vacant || agent.Met(want, d.look(p)) {
			continue
		}
		if d.Fail != nil {
			if err := d.Fail(p); err != nil {
				return fmt.Errorf("write %q: %w", p, err)
			}
		}
		d.above(p)
		want.Unit, want.Enables, want.UID, want.GID = "", "", max(want.UID, 0), max(want.GID, 0)
		d.tree[p] = want
	}
	return nil
}

func (d *Disk) refuse(p string, want, have agent.Entry) error {
	switch {
	case want.Kind == agent.Vacant:
		return nil
	case have.Kind == agent.Dir && want.Kind != agent.Dir:
		return syscall.EISDIR
	case want.Kind == agent.Dir && have.Kind != agent.Dir && have.Kind != agent.Absent:
		return syscall.ENOTDIR
	case have.Kind == agent.Other:
		return syscall.ELOOP
	}
	return nil
}

func (d *Disk) above(p string) {
	for up := path.Dir(p); up != "/"; up = path.Dir(up) {
		if _, ok := d.tree[up]; !ok {
			d.tree[up] = agent.Entry{Kind: agent.Dir, Mode: 0o755}
		}
	}
}

func (d *Disk) full(p string) bool {
	for q := range d.tree {
		if q != p && path.Dir(q) == p {
			return true
		}
	}
	return false
}

// Inbox hands out one order, and any config that was put into it.
type Inbox struct {
	Want    nodeops.Order
	Configs map[machine.Digest]machine.Config
	Told    []nodeops.Report
	Silent  error // what every call answers while it is set
}

// Send makes an order of a config, with a ceiling that allows everything.
func (i *Inbox) Send(generation uint64, c machine.Config) {
	d := c.Digest()
	if i.Configs == nil {
		i.Configs = map[machine.Digest]machine.Config{}
	}
	i.Configs[d] = c
	i.Want = nodeops.Order{Node: "w1", Generation: generation, Config: d, Ceiling: impact.Reboot}
}

// Order is what was sent last.
func (i *Inbox) Order(context.Context) (nodeops.Order, error) { return i.Want, i.Silent }

// Config is what was sent under a digest.
func (i *Inbox) Config(_ context.Context, d machine.Digest) (machine.Config, error) {
	c, ok := i.Configs[d]
	if i.Silent == nil && !ok {
		return c, errors.New("no such config")
	}
	return c, i.Silent
}

// Tell keeps the report, unless it is what was told last.
func (i *Inbox) Tell(_ context.Context, r nodeops.Report) error {
	if n := len(i.Told); i.Silent == nil && (n == 0 || !reflect.DeepEqual(i.Told[n-1], r)) {
		i.Told = append(i.Told, r)
	}
	return i.Silent
}

// Services is a service manager that keeps what it was asked for, in words.
type Services struct {
	Did  []string
	Fail map[string]error // by unit
}

// Do keeps "reload crio.service".
func (u *Services) Do(_ context.Context, kind impact.Kind, unit string) error {
	if kind != impact.Reload && (kind != impact.Restart || unit == "") {
		return fmt.Errorf("%s of unit %q is not a deed of the service manager", kind, unit)
	}
	u.Did = append(u.Did, kind.String()+" "+unit)
	return u.Fail[unit]
}

// Box is a machine in memory.
type Box struct {
	Boots  int
	Now    agent.Booted
	Next   *agent.Booted
	Asked  int
	Dead   bool                      // a reboot that was asked for does not happen
	Deny   error                     // what a reboot is answered with
	Refuse func(machine.Config) bool // what is staged of such a config does not come up
}

// BootID counts the boots.
func (o *Box) BootID(context.Context) (string, error) { return fmt.Sprintf("boot-%d", o.Boots), nil }

// Booted is what runs.
func (o *Box) Booted(context.Context) (agent.Booted, error) { return o.Now, nil }

// Stage prepares the next boot.
func (o *Box) Stage(_ context.Context, c machine.Config) error {
	o.Next = &agent.Booted{Image: c.OSImage, Kargs: slices.Clone(c.KernelArgs)}
	if o.Refuse != nil && o.Refuse(c) {
		o.Next = nil
	}
	return nil
}

// Reboot boots at once, unless the machine is dead to it.
func (o *Box) Reboot(context.Context) error {
	o.Asked++
	if o.Deny != nil {
		return o.Deny
	}
	if !o.Dead {
		o.Boots++
		if o.Next != nil {
			o.Now, o.Next = *o.Next, nil
		}
	}
	return loop.ErrReboot
}
