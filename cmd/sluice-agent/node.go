package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/host"
	"github.com/sluice-gitops/sluice/nodeops/host/local"
	"github.com/sluice-gitops/sluice/nodeops/host/plain"
)

// node is the machine beneath a root.
type node struct {
	files *host.Files
	units loop.Units
	os    loop.OS
	boot  func() error // before an agent starts
}

// place is where a node is found, as flags say it.
type place struct{ root, machine string }

func (p *place) flags(c *cobra.Command) {
	c.Flags().StringVar(&p.root, "root", "", "the directory that is the node's root")
	c.Flags().StringVar(&p.machine, "machine", "", "directory: play a machine, its units and reboots included, where nothing is one (by default found out)")
}

// open opens a root. A system that runs there is asked for its units and its reboots; any other
// directory plays a machine. The two must not be taken for one another: a machine that is played on
// a host would report reboots that never were.
func (p place) open(ctx context.Context) (*node, error) {
	switch {
	case p.root == "":
		return nil, usage{errors.New("--root is missing: name the directory that is the node's root")}
	case p.machine != "" && p.machine != "directory":
		return nil, usage{fmt.Errorf("--machine %q: is not directory", p.machine)}
	}
	own, err := os.Stat("/")
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(p.root)
	if err != nil {
		return nil, fmt.Errorf("--root: %w", err)
	}
	if p.machine != "" && os.SameFile(own, info) {
		return nil, errors.New("--root /: is no directory to play with; name another")
	}
	files, err := host.Open(p.root)
	if err != nil {
		return nil, fmt.Errorf("--root %s: %w", p.root, err)
	}
	if p.machine != "" || !os.SameFile(own, info) && !host.Running(p.root) {
		m := local.Machine{Files: files}
		return &node{files: files, units: host.Recorder{Files: files}, os: m, boot: m.Boot}, nil
	}
	systemd := host.Systemd{Root: p.root}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := systemd.Answers(ctx); err != nil {
		files.Close()
		return nil, fmt.Errorf("--root %s: a system runs there, and its systemd cannot be asked: %w; mount the whole root of the host, or give --machine directory for a trial", p.root, err)
	}
	return &node{files: files, units: systemd, os: plain.Machine{Root: p.root}, boot: func() error { return nil }}, nil
}

func (n *node) loop(inbox loop.Inbox, log *slog.Logger) *loop.Loop {
	return &loop.Loop{Inbox: inbox, Files: n.files, Units: n.units, OS: n.os, Now: time.Now, Log: log}
}

// byHand is an inbox with one order in it.
type byHand struct {
	order  nodeops.Order
	config machine.Config
}

func (b byHand) Order(context.Context) (nodeops.Order, error) { return b.order, nil }
func (b byHand) Config(_ context.Context, d machine.Digest) (machine.Config, error) {
	if d != b.order.Config {
		return machine.Config{}, fmt.Errorf("only config %s is at hand", b.order.Config.Short())
	}
	return b.config, nil
}
func (b byHand) Tell(context.Context, nodeops.Report) error { return nil }

// read reads a rendered MachineConfig. What its author probably did not mean is said on warn.
func read(file string, warn io.Writer) (machine.Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return machine.Config{}, err
	}
	m, err := manifest.Parse(data)
	if err != nil {
		return machine.Config{}, inFile(file, err)
	}
	for _, w := range m.Warnings {
		fmt.Fprintf(warn, "sluice-agent: warning: %s: %s\n", file, w)
	}
	c, err := manifest.Config(m.Spec)
	if err != nil {
		return machine.Config{}, inFile(file, err)
	}
	return c, nil
}

// inFile names the file in every line of an author's mistakes.
func inFile(file string, err error) error {
	var many manifest.Errors
	if !errors.As(err, &many) {
		return fmt.Errorf("%s: %w", file, err)
	}
	var all []error
	for _, one := range many {
		all = append(all, fmt.Errorf("%s: %w", file, one))
	}
	return errors.Join(all...)
}
