package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/reconciler/loop"
)

// snapshot is a fleet as its folder shows it, read beside whatever controller runs on it.
type snapshot struct {
	State reconciler.State  `json:"state"`
	Nodes []reconciler.Node `json:"nodes"`
	Holds []policy.Hold     `json:"holds,omitempty"` // those in force
	dir   string
	now   time.Time
}

func readSnapshot(ctx context.Context, dir string) (s snapshot, err error) {
	if dir == "" {
		return s, usage("which fleet? give --local DIR")
	}
	store := &local.Store{Dir: dir}
	if s.State, err = store.Load(ctx); err != nil {
		return s, err
	}
	if s.Nodes, err = (local.Fleet{Dir: dir}).Nodes(ctx); err != nil {
		return s, err
	}
	if len(s.Nodes) == 0 {
		return s, fmt.Errorf("there is no fleet in %s", dir)
	}
	s.dir, s.now = dir, time.Now()
	all, err := local.Desk{Dir: dir}.Holds(ctx)
	if err != nil { // as the controller takes it
		all = []policy.Hold{loop.Unreadable(err)}
	}
	for _, h := range all {
		if h.InForce(h.Pool, s.now) {
			s.Holds = append(s.Holds, h)
		}
	}
	return s, nil
}

// heldBy are the holds in force of a pool.
func (s snapshot) heldBy(pool string) (out []policy.Hold) {
	for _, h := range s.Holds {
		if h.InForce(pool, s.now) {
			out = append(out, h)
		}
	}
	return out
}

func getCommand() *cobra.Command {
	var dir, output string
	c := &cobra.Command{
		Use: "get", Short: "Show the pools and nodes of a fleet", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := readSnapshot(c.Context(), dir)
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(c.OutOrStdout(), s)
			}
			return s.table(c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&dir, "local", "", "the folder of the fleet")
	outputFlag(c, &output, "text", "json")
	return c
}

func (s snapshot) table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "POOL\tPHASE\tCOMMIT\tTARGET\tNODES\tUPDATED\tUNAVAILABLE\tDRIFTED")
	for _, name := range slices.Sorted(maps.Keys(s.State.Pools)) {
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
