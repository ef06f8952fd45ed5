package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler/preview"
)

func policyCommand() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Ask a RolloutPolicy", Args: cobra.ArbitraryArgs, RunE: needCommand}
	c.AddCommand(windowCommand(), checkCommand())
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
			rollout, err := readPolicy(args[0])
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

func checkCommand() *cobra.Command {
	var base, head, output string
	var nodes nodesOf
	var exitCode bool
	at := time.Time{}
	c := &cobra.Command{
		Use:   "check [PATH] --base R --head R",
		Short: "Say whether a change may be rolled out, with every finding",
		Long: "Check judges what merging a revision would start, at the moment of the merge, by the rules of\n" +
			"both revisions and the guardrail. What only the controller can ask (approvals, signatures,\n" +
			"health gates) is not known here, and waits. Nodes come from where preview takes them.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if base == "" || head == "" {
				return usage("policy check needs --base and --head, the revisions to compare")
			}
			report, err := makePreview(c.Context(), pathOf(args), base, head, nodes, at)
			if err != nil {
				return err
			}
			if output == "json" {
				err = printJSON(c.OutOrStdout(), map[string]any{"base": report.Base, "head": report.Head, "verdict": report.Verdict, "findings": report.Findings})
			} else {
				err = printFindings(c.OutOrStdout(), report)
			}
			if err == nil && exitCode && report.Verdict == policy.Deny {
				return verdict(3)
			}
			return err
		},
	}
	c.Flags().StringVar(&base, "base", "", "the revision that the fleet follows now")
	c.Flags().StringVar(&head, "head", "", "the revision that would be merged")
	nodes.flags(c)
	c.Flags().TimeVar(&at, "at", time.Time{}, []string{time.RFC3339}, "judge at this time instead of now")
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit 3 when the verdict is deny")
	outputFlag(c, &output, "text", "json")
	return c
}

func printFindings(w io.Writer, r preview.Report) error {
	fmt.Fprintln(w, r.Verdict)
	for _, f := range r.Findings {
		if _, err := fmt.Fprintf(w, "  %-5s %s: %s\n", f.Outcome, f.Check, f.Reason); err != nil {
			return err
		}
	}
	return nil
}
