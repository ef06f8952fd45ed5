package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/render"
)

func policyCommand() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Ask a RolloutPolicy", Args: cobra.ArbitraryArgs, RunE: needCommand}
	c.AddCommand(windowCommand())
	return c
}

func windowCommand() *cobra.Command {
	var output string
	at := time.Time{}
	c := &cobra.Command{
		Use:   "window FILE --at TIME",
		Short: "Say whether a RolloutPolicy lets a node start at a time, and when that changes",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			rollout, err := render.Rollout(render.Document{File: args[0], Body: data})
			if err != nil {
				return err
			}
			if at.IsZero() {
				at = time.Now()
			}
			st := rollout.State(at)
			if output == "json" {
				return printJSON(c.OutOrStdout(), map[string]any{"open": st.Open, "until": orNull(st.Until), "next": orNull(st.Next), "reason": st.Reason})
			}
			word := "closed"
			if st.Open {
				word = "open"
			}
			fmt.Fprint(c.OutOrStdout(), word)
			if !st.Until.IsZero() {
				fmt.Fprintf(c.OutOrStdout(), " until %s", st.Until.In(at.Location()).Format(time.RFC3339))
			}
			if st.Reason != "" {
				fmt.Fprintf(c.OutOrStdout(), ": %s", st.Reason)
			}
			fmt.Fprintln(c.OutOrStdout())
			return nil
		},
	}
	c.Flags().TimeVar(&at, "at", time.Time{}, []string{time.RFC3339}, "the time, as in 2026-11-22T02:00:00+01:00; now without it")
	outputFlag(c, &output, "text", "json")
	return c
}

func orNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Format(time.RFC3339)
}
