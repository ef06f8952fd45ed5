package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/nodeops/impact"
)

func impactCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "impact OLD NEW",
		Short: "Say what it costs a node to go from one MachineConfig to another",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			before, err := readConfig(args[0])
			if err != nil {
				return err
			}
			after, err := readConfig(args[1])
			if err != nil {
				return err
			}
			actions := impact.Diff(before, after, nil)
			if actions == nil {
				actions = []impact.Action{}
			}
			kind := impact.Worst(actions)
			if output == "json" {
				return printJSON(c.OutOrStdout(), struct {
					Kind    impact.Kind     `json:"kind"`
					Drain   bool            `json:"drain"`
					Actions []impact.Action `json:"actions"`
				}{kind, impact.Drains(kind), actions})
			}
			fmt.Fprintln(c.OutOrStdout(), kind)
			for _, a := range actions {
				fmt.Fprintf(c.OutOrStdout(), "  %-10s %s", a.Kind, a.Cause)
				if a.Unit != "" {
					fmt.Fprintf(c.OutOrStdout(), " -> %s", a.Unit)
				}
				fmt.Fprintln(c.OutOrStdout())
			}
			return nil
		},
	}
	outputFlag(c, &output, "text", "json")
	return c
}
