// Package local is a node that is a directory: its boots are written down in a file, and its
// orders lie in a fleet's folder beside it.
package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/agent"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
)

// MachinePath is where a machine's boots are written down, beneath its root.
const MachinePath = agent.StateDir + "/machine.json"

// Machine is the OS of a directory. Its image and kernel arguments change at a reboot, and a
// reboot is two things: Reboot, after which the agent's process has to end, and Boot, when the
// next one starts. A process that starts without a Reboot before finds the same boot as the last.
type Machine struct{ Files loop.Files }

// state is the whole machine: replaced at once, so that a boot happens or does not.
type state struct {
	BootID    string        `json:"bootID"`
	Booted    agent.Booted  `json:"booted"`
	Staged    *agent.Booted `json:"staged,omitempty"`
	Rebooting bool          `json:"rebooting,omitempty"`
}

// Boot starts the machine: after a Reboot, and when it never ran before, in a new boot with what
// was staged; else in the boot that it is in. Whoever starts an agent calls it first.
func (m Machine) Boot() error {
	s, err := m.load()
	if err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	if s.BootID != "" && !s.Rebooting {
		return nil
	}
	if s.Staged != nil {
		s.Booted = *s.Staged
	}
	var id [16]byte
	rand.Read(id[:]) // never fails
	if err := m.save(state{BootID: hex.EncodeToString(id[:]), Booted: s.Booted}); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	return nil
}

// BootID names the boot; Boot has to have been called once.
func (m Machine) BootID(context.Context) (string, error) {
	s, err := m.load()
	if err == nil && s.BootID == "" {
		err = fmt.Errorf("%s: the machine was never booted", MachinePath)
	}
	return s.BootID, err
}

// Booted is what the machine runs; nothing at all on one that was never booted.
func (m Machine) Booted(context.Context) (agent.Booted, error) {
	s, err := m.load()
	return s.Booted, err
}

// Stage prepares the next boot.
func (m Machine) Stage(_ context.Context, c machine.Config) error {
	s, err := m.load()
	if err != nil {
		return err
	}
	next := agent.Booted{Image: c.OSImage, Kargs: slices.Clone(c.KernelArgs)}
	s.Staged = &next
	return m.save(s)
}

// Reboot marks the machine as going down and returns loop.ErrReboot.
func (m Machine) Reboot(context.Context) error {
	s, err := m.load()
	if err != nil {
		return err
	}
	s.Rebooting = true
	if err := m.save(s); err != nil {
		return err
	}
	return loop.ErrReboot
}

func (m Machine) load() (s state, err error) {
	e, err := m.Files.Look(MachinePath)
	switch {
	case err != nil:
		return s, fmt.Errorf("read %s: %w", MachinePath, err)
	case e.Kind == agent.Absent:
		return s, nil
	case e.Kind != agent.Regular:
		return s, fmt.Errorf("read %s: it is no file", MachinePath)
	}
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", MachinePath, err)
	}
	return s, nil
}

func (m Machine) save(s state) error {
	e, err := encode(s, 0o600)
	if err != nil {
		return err
	}
	return m.Files.Put(agent.Tree{
		agent.StateDir: {Kind: agent.Dir, Mode: 0o700, UID: agent.Anyone, GID: agent.Anyone},
		MachinePath:    e,
	})
}

// encode is a value as a JSON file.
func encode(v any, mode uint32) (agent.Entry, error) {
	encoded, err := json.MarshalIndent(v, "", "  ")
	return agent.Entry{
		Kind: agent.Regular, Mode: mode, UID: agent.Anyone, GID: agent.Anyone, Data: append(encoded, '\n'),
	}, err
}
