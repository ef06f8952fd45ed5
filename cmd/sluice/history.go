package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/source"
)

func historyCommand() *cobra.Command {
	var at fleetAt
	var output string
	c := &cobra.Command{
		Use: "history [POOL]", Short: "Show which commits the pools have landed", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: at.completes(snapshot.pools),
		RunE: at.look(func(c *cobra.Command, args []string, s snapshot) error {
			past := map[string][]reconciler.Landing{}
			for name, p := range s.State.Pools {
				if len(args) == 0 || args[0] == name {
					past[name] = append([]reconciler.Landing{}, p.History...)
				}
			}
			if len(args) == 1 && len(past) == 0 {
				return fmt.Errorf("%s has no pool %q", s.place, args[0])
			}
			if output == "json" {
				return printJSON(c.OutOrStdout(), past)
			}
			t := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(t, "POOL\tCOMMIT\tLANDED\tCONFIG\tNODES")
			for _, name := range slices.Sorted(maps.Keys(past)) {
				for _, l := range past[name] {
					fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\n", name, source.Short(l.Commit), l.At.UTC().Format(time.DateTime), l.Config.Short(), l.Nodes)
				}
			}
			return t.Flush()
		}),
	}
	at.flags(c)
	outputFlag(c, &output, "text", "json")
	return c
}

// trail is how a path came to a node.
type trail struct {
	Node   string          `json:"node"`
	Path   string          `json:"path"`
	Pool   string          `json:"pool"`
	Commit string          `json:"commit"`
	Config machine.Digest  `json:"config"`
	File   string          `json:"file"`            // of the repository, at that commit
	Drift  []nodeops.Drift `json:"drift,omitempty"` // the path is not as that file says
}

func traceCommand() *cobra.Command {
	var at fleetAt
	var output string
	c := &cobra.Command{
		Use: "trace NODE PATH", Short: "Follow a file or unit of a node back to its commit", Args: cobra.ExactArgs(2),
		ValidArgsFunction: at.completes(snapshot.nodes),
		RunE: at.look(func(c *cobra.Command, args []string, s snapshot) error {
			t, err := s.trace(c.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(c.OutOrStdout(), t)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s on %s is from %s of commit %s (pool %s, config %s)\n", t.Path, t.Node, t.File, source.Short(t.Commit), t.Pool, t.Config.Short())
			for _, d := range t.Drift {
				fmt.Fprintf(c.OutOrStdout(), "it has drifted: %s %s\n", d.Kind, d.Why)
			}
			return nil
		}),
	}
	at.flags(c)
	at.repoFlag(c)
	outputFlag(c, &output, "text", "json")
	return c
}

func (s snapshot) trace(ctx context.Context, node, path string) (t trail, err error) {
	i := slices.IndexFunc(s.Nodes, func(n reconciler.Node) bool { return n.Name == node })
	if i < 0 {
		return t, fmt.Errorf("%s has no node %q", s.place, node)
	}
	n := s.Nodes[i]
	t = trail{Node: node, Path: path, Config: n.Report.Config}
	if t.Config == "" {
		return t, fmt.Errorf("node %s is the bare OS: nothing on it is from the repository", node)
	}
	for _, name := range s.pools() {
		if commit := s.State.Pools[name].Brought(t.Config); commit != "" {
			t.Pool, t.Commit = name, commit
			break
		}
	}
	if t.Commit == "" {
		return t, fmt.Errorf("node %s has config %s, and no commit is remembered that brought it", node, t.Config.Short())
	}
	pools, err := s.render(ctx, t.Commit)
	if err != nil {
		return t, fmt.Errorf("render %s: %w", source.Short(t.Commit), err)
	}
	for _, p := range pools {
		if p.Name == t.Pool {
			t.File = p.Origins[path]
		}
	}
	if t.File == "" {
		return t, fmt.Errorf("%s is not of the config that node %s has (commit %s, pool %s): it is the OS's own, or somebody's", path, node, source.Short(t.Commit), t.Pool)
	}
	for _, d := range n.Report.Drift {
		if d.Path == path {
			t.Drift = append(t.Drift, d)
		}
	}
	return t, nil
}
