package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/policy"
)

func getCommand() *cobra.Command {
	var at fleetAt
	var output string
	c := &cobra.Command{
		Use: "get", Short: "Show the pools and nodes of a fleet", Args: cobra.NoArgs,
		RunE: at.look(func(c *cobra.Command, _ []string, s snapshot) error {
			if output == "json" {
				return printJSON(c.OutOrStdout(), s)
			}
			return s.table(c.OutOrStdout())
		}),
	}
	at.flags(c)
	outputFlag(c, &output, "text", "json")
	return c
}

func (s snapshot) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "POOL\tPHASE\tCOMMIT\tTARGET\tNODES\tUPDATED\tUNAVAILABLE\tDRIFTED")
	for _, name := range s.pools() {
		p := s.State.Pools[name]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\n", name, p.Phase, p.Revision.Short(), p.Target.Short(),
			p.Counts.Nodes, p.Counts.Updated, p.Counts.Unavailable, p.Counts.Drifted)
	}
	fmt.Fprintln(t, "\nNODE\tPHASE\tCONFIG\tORDER\tREADY\tCORDON\tDRIFT")
	for _, n := range s.Nodes {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%t\t%s\t%d\n", n.Name, or(string(n.Report.Phase), "idle"), or(n.Report.Config.Short(), "-"),
			or(n.Order.Config.Short(), "-"), n.Ready, or(string(n.Cordon), "-"), len(n.Report.Drift))
	}
	if len(s.Holds) > 0 {
		fmt.Fprintln(t, "\nHELD\tBY\tUNTIL\tREASON")
	}
	for _, h := range s.Holds {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", or(h.Pool, "all pools"), h.By, ending(h), h.Reason)
	}
	return t.Flush()
}

func ending(h policy.Hold) string {
	if h.Until.IsZero() && h.Since.IsZero() && h.By == policy.Controller {
		return "-"
	}
	if h.Until.IsZero() {
		return "it is released"
	}
	return h.Until.UTC().Format("2006-01-02 15:04:05 UTC")
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}
