package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

func applyCommand() *cobra.Command {
	var at place
	var output string
	c := &cobra.Command{
		Use:   "apply --root DIR FILE",
		Short: "Make the node be as a rendered MachineConfig says, once",
		Long: "Make the node be as a rendered MachineConfig says, reboots included, or leave it as it was.\n" +
			"Killed on the way, the same command goes on. A MachineConfig that asks for nothing gives the OS back.",
		Args: oneFile,
		RunE: func(c *cobra.Command, args []string) error {
			if err := known(output); err != nil { // before anything is done
				return err
			}
			n, err := at.open(c.Context())
			if err != nil {
				return err
			}
			defer n.files.Close()
			config, err := read(args[0], c.ErrOrStderr())
			if err != nil {
				return err
			}
			report, err := n.apply(c.Context(), config)
			if err != nil {
				return err
			}
			done := report.Phase == nodeops.Done
			words := ""
			if done {
				words = "done: config " + report.Config.Short()
			}
			if err := print(c.OutOrStdout(), output, report, words); done || err != nil {
				return err
			}
			return fmt.Errorf("%s: %s", report.Phase, report.Why)
		},
	}
	at.flags(c)
	outputFlag(c, &output)
	return c
}

func oneFile(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage{fmt.Errorf("%s takes one FILE, a MachineConfig, and got %d", c.Name(), len(args))}
	}
	return nil
}

// maxBoots is more than one order needs: there, there again, and the same back.
const maxBoots = 6

// apply gives the node one order more than it ever had, and stays until it is done with it.
func (n *node) apply(ctx context.Context, c machine.Config) (r nodeops.Report, err error) {
	lock, err := n.files.Lock()
	if err != nil {
		return r, err
	}
	defer lock.Close()
	last, err := n.loop(nil, nil).Generation()
	if err != nil {
		return r, err
	}
	order := nodeops.Order{Generation: last + 1, Config: c.Digest(), Ceiling: impact.Reboot}
	for range maxBoots {
		if err := n.boot(); err != nil {
			return r, err
		}
		r, err = n.loop(byHand{order, c}, nil).Tick(ctx)
		if err == nil && r.Phase == nodeops.Working {
			r.Why += "; the host reboots: give the same command again afterwards"
		}
		if !errors.Is(err, loop.ErrReboot) {
			return r, err
		}
	}
	return r, fmt.Errorf("no end after %d boots: %s", maxBoots, r.Why)
}

func verifyCommand() *cobra.Command {
	var at place
	var output string
	c := &cobra.Command{
		Use:   "verify --root DIR FILE",
		Short: "Say how the node differs from a rendered MachineConfig; exit 1 if it does",
		Args:  oneFile,
		RunE: func(c *cobra.Command, args []string) error {
			if err := known(output); err != nil {
				return err
			}
			n, err := at.open(c.Context())
			if err != nil {
				return err
			}
			defer n.files.Close()
			config, err := read(args[0], c.ErrOrStderr())
			if err != nil {
				return err
			}
			drift, err := n.loop(nil, nil).Verify(c.Context(), config)
			if err != nil {
				return err
			}
			lines := []string{}
			for _, d := range drift {
				lines = append(lines, fmt.Sprintf("%s: %s: %s", d.Path, d.Kind, d.Why))
			}
			if drift == nil {
				drift = []nodeops.Drift{} // a list in JSON, too
			}
			found := map[string]any{"drift": drift}
			if err := print(c.OutOrStdout(), output, found, strings.Join(lines, "\n")); err != nil || len(drift) == 0 {
				return err
			}
			return errSaid
		},
	}
	at.flags(c)
	outputFlag(c, &output)
	return c
}
