package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/host"
	"github.com/sluice-gitops/sluice/nodeops/host/local"
)

// node is the machine beneath a root.
type node struct {
	files   *host.Files
	machine local.Machine
}

// open opens a root. The root of the running system is not one that this version can reboot.
func open(root string) (*node, error) {
	if root == "" {
		return nil, usage{errors.New("--root is missing: name the directory that is the node's root")}
	}
	own, err := os.Stat("/")
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(root)
	if err != nil {
		return nil, fmt.Errorf("--root: %w", err)
	}
	if os.SameFile(own, info) {
		return nil, errors.New("--root /: this version keeps directories only; name another directory")
	}
	files, err := host.Open(root)
	if err != nil {
		return nil, fmt.Errorf("--root %s: %w", root, err)
	}
	return &node{files: files, machine: local.Machine{Files: files}}, nil
}

func (n *node) loop(inbox loop.Inbox, log *slog.Logger) *loop.Loop {
	return &loop.Loop{
		Inbox: inbox, Files: n.files, Units: host.Recorder{Files: n.files}, OS: n.machine,
		Now: time.Now, Log: log,
	}
}

func rootFlag(c *cobra.Command, root *string) {
	c.Flags().StringVar(root, "root", "", "the directory that is the node's root")
}

func runCommand() *cobra.Command {
	var root, inbox string
	var interval time.Duration
	c := &cobra.Command{
		Use:   "run --root DIR --inbox FLEET/nodes/NAME",
		Short: "Follow the orders of a fleet's folder until the node reboots or a signal comes",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			fleet, name, err := split(inbox)
			if err != nil {
				return err
			}
			if interval <= 0 {
				return usage{fmt.Errorf("--interval %s: is not a time to wait", interval)}
			}
			return follow(c, root, fleet, name, interval)
		},
	}
	rootFlag(c, &root)
	c.Flags().StringVar(&inbox, "inbox", "", "the node's folder in the fleet: FLEET/nodes/NAME")
	c.Flags().DurationVar(&interval, "interval", 5*time.Second, "how often to look for orders and drift")
	return c
}

// split finds the fleet's folder and the node's name in the path of the node's own folder.
func split(inbox string) (fleet, name string, err error) {
	if inbox == "" {
		return "", "", usage{errors.New("--inbox is missing: name the node's folder, FLEET/nodes/NAME")}
	}
	abs, err := filepath.Abs(inbox)
	if err != nil {
		return "", "", err
	}
	nodes := filepath.Dir(abs)
	if filepath.Base(nodes) != "nodes" {
		return "", "", usage{fmt.Errorf("--inbox %s: is not of the form FLEET/nodes/NAME", inbox)}
	}
	return filepath.Dir(nodes), filepath.Base(abs), nil
}

func follow(c *cobra.Command, root, fleet, name string, interval time.Duration) error {
	n, err := open(root)
	if err != nil {
		return err
	}
	defer n.files.Close()
	lock, err := n.files.Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := n.machine.Boot(); err != nil {
		return err
	}
	folder, err := host.Open(fleet)
	if err != nil {
		return fmt.Errorf("--inbox: %w", err)
	}
	defer folder.Close()
	log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil)).With("node", name)
	agent := n.loop(local.Inbox{Fleet: folder, Node: name}, log)
	agent.Wary = true
	err = agent.Run(c.Context(), interval)
	if errors.Is(err, loop.ErrReboot) {
		fmt.Fprintf(c.OutOrStdout(), "%s reboots: start the agent again to boot it\n", name)
		return nil
	}
	return err
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
