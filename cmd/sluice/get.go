package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/source"
)

// snapshot is a fleet as get and why read it.
type snapshot struct {
	State reconciler.State  `json:"state"`
	Nodes []reconciler.Node `json:"nodes"`
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
	return s, nil
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
	return t.Flush()
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// reason is one answer of why.
type reason struct {
	Pool    string         `json:"pool,omitempty"`
	Node    string         `json:"node,omitempty"`
	Check   string         `json:"check"`
	Outcome policy.Outcome `json:"outcome"`
	Reason  string         `json:"reason"`
}

func whyCommand() *cobra.Command {
	var dir, output string
	c := &cobra.Command{
		Use: "why [POOL or NODE]", Short: "Say why a fleet, a pool or a node is not moving", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := readSnapshot(c.Context(), dir)
			if err != nil {
				return err
			}
			reasons := s.why()
			if len(args) == 1 {
				if !s.has(args[0]) {
					return fmt.Errorf("the fleet in %s has no pool and no node %q", dir, args[0])
				}
				reasons = slices.DeleteFunc(reasons, func(r reason) bool { return r.Pool != args[0] && r.Node != args[0] })
			}
			if output == "json" {
				return printJSON(c.OutOrStdout(), reasons)
			}
			for _, r := range reasons {
				what := "pool " + r.Pool
				if r.Node != "" {
					what = "node " + r.Node
				} else if r.Pool == "" {
					what = "fleet"
				}
				fmt.Fprintf(c.OutOrStdout(), "%s: %s (%s): %s\n", what, r.Outcome, r.Check, r.Reason)
			}
			if len(reasons) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "nothing holds it: everything asked for is done or moving")
			}
			return nil
		},
	}
	c.Flags().StringVar(&dir, "local", "", "the folder of the fleet")
	outputFlag(c, &output, "text", "json")
	return c
}

func (s snapshot) has(name string) bool {
	_, pool := s.State.Pools[name]
	return pool || slices.ContainsFunc(s.Nodes, func(n reconciler.Node) bool { return n.Name == name })
}

// why gathers every reason for which something is not as the head asks.
func (s snapshot) why() []reason {
	out := []reason{}
	if s.State.Seen == "" {
		out = append(out, reason{Check: "git", Outcome: policy.Wait, Reason: "no revision of the repository was ever seen: see what sluice run logs"})
	}
	if len(s.State.Refused) > 0 {
		st := s.State.Refused[0]
		out = append(out, reason{Check: "render", Outcome: policy.Deny, Reason: source.Short(st.Commit) + " " + st.Summary + "; the last good revision stays in force"})
	}
	for _, name := range slices.Sorted(maps.Keys(s.State.Pools)) {
		p := s.State.Pools[name]
		if why := p.Reason(); why != "" {
			out = append(out, reason{Pool: name, Check: "halt", Outcome: policy.Deny, Reason: why + "; push a fix or a revert"})
		}
		for _, f := range p.Waiting {
			out = append(out, reason{Pool: name, Check: f.Check, Outcome: f.Outcome, Reason: f.Reason})
		}
	}
	for _, n := range s.Nodes {
		if why := s.State.Strays[n.Name]; why != "" {
			out = append(out, reason{Node: n.Name, Check: "pool", Outcome: policy.Wait, Reason: why})
		}
		if !n.Ready {
			out = append(out, reason{Node: n.Name, Check: "ready", Outcome: policy.Wait, Reason: "is not ready"})
		}
		for _, d := range n.Report.Drift {
			out = append(out, reason{Node: n.Name, Check: "drift", Outcome: policy.Warn, Reason: strings.TrimSpace(fmt.Sprintf("%s (%s) %s", d.Path, d.Kind, d.Why))})
		}
		if n.Report.Why != "" {
			out = append(out, reason{Node: n.Name, Check: string(n.Report.Phase), Outcome: policy.Wait, Reason: n.Report.Why})
		}
	}
	return out
}
