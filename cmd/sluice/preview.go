package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler/cluster"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/reconciler/preview"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source/git"
)

func previewCommand() *cobra.Command {
	var base, head, output string
	var nodes nodesOf
	var exitCode bool
	var at time.Time
	c := &cobra.Command{
		Use:   "preview [PATH] --base R --head R",
		Short: "Say what merging a revision would do to which nodes, in which order",
		Long: "Preview renders two revisions of the repository at PATH and says what the newer one would\n" +
			"do: per pool the kind, its causes, the nodes and the waves. The nodes come from --local, as they\n" +
			"are now; or from --inventory, as if they were at the base; else from " + inventoryFile + " at the root of the base revision; with neither it says what any\n" +
			"node would pay. With --cluster, the objects of a cluster as kubectl prints them, it also says what drain\n" +
			"would refuse and what would be down; its nodes are taken where no others are named.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if base == "" || head == "" {
				return usage("preview needs --base and --head, the revisions to compare")
			}
			report, err := makePreview(c.Context(), pathOf(args), base, head, nodes, at)
			var mistakes render.Errors
			if errors.As(err, &mistakes) && output == "markdown" {
				fmt.Fprint(c.OutOrStdout(), preview.Mistakes(head, mistakes))
			}
			if err != nil {
				return err
			}
			switch output {
			case "json":
				err = printJSON(c.OutOrStdout(), report)
			case "markdown":
				_, err = fmt.Fprint(c.OutOrStdout(), report.Markdown())
			default:
				_, err = fmt.Fprint(c.OutOrStdout(), report.Text())
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
	c.Flags().TimeVar(&at, "at", time.Time{}, []string{time.RFC3339}, "judge windows at this time instead of now")
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit 3 when the verdict is deny")
	outputFlag(c, &output, "text", "markdown", "json")
	return c
}

// makePreview compares two revisions of a local repository. Who the nodes are is read from the
// base: a proposal cannot choose whom it is judged by. The zero time is now, by the clock of a cluster
// that is read.
func makePreview(ctx context.Context, path, base, head string, nodes nodesOf, now time.Time) (preview.Report, error) {
	var none preview.Report
	if err := nodes.recall(ctx); err != nil {
		return none, err
	}
	repo, err := git.Open(path)
	if err != nil {
		return none, err
	}
	in := preview.Input{Gate: policy.Default(), Now: now}
	if in.Base, err = repo.Resolve(base); err != nil {
		return none, fetched(err)
	}
	if in.Head, err = repo.Resolve(head); err != nil {
		return none, fetched(err)
	}
	if in.MergeBase, err = repo.MergeBase(in.Base, in.Head); err != nil {
		return none, err
	}
	if in.MergeBase == "" {
		return none, fmt.Errorf("compare %s with %s: they share no commit", base, head)
	}
	at := func(commit string) (render.Result, error) {
		tree, err := repo.Tree(commit)
		if err != nil {
			return render.Result{}, err
		}
		return renderTree(tree, nil, nodes.options)
	}
	before, err := at(in.MergeBase)
	if err != nil {
		return none, fmt.Errorf("render the base %s: %w", in.MergeBase[:7], err)
	}
	after, err := at(in.Head)
	if err != nil {
		return none, err
	}
	in.Before, in.After = before.Pools, after.Pools
	if in.Base != in.MergeBase {
		standing, err := at(in.Base)
		if err != nil {
			return none, fmt.Errorf("render the base %s: %w", in.Base[:7], err)
		}
		in.Standing = standing.Pools
	}
	in.Notices = render.Added(before.Notices, after.Notices)
	tree, err := repo.Tree(in.Base)
	if err != nil {
		return none, err
	}
	if err := nodes.fill(ctx, &in, tree); err != nil {
		return none, err
	}
	if in.Now.IsZero() {
		in.Now = time.Now()
	}
	tellQueued(&in, repo)
	return preview.Make(in), nil
}

// tellQueued finds the commits that nodes have yet to take up. What cannot be found is not told: the
// fleet may follow another clone.
func tellQueued(in *preview.Input, repo *git.Repo) {
	for _, commit := range in.Behind() {
		if list, err := repo.Between(commit, in.Base); err == nil {
			if in.Queued == nil {
				in.Queued = map[string][]string{}
			}
			in.Queued[commit] = append(list, in.Base)
		}
	}
}

// fetched says what to do when a clone lacks a revision: those that pipelines make often do.
func fetched(err error) error {
	return fmt.Errorf("%w; a pipeline must fetch the whole history and the base branch: fetch-depth 0, or git fetch --unshallow origin, and give origin/BRANCH as the base", err)
}

// nodesOf is where the nodes of a preview come from, and what they are.
type nodesOf struct {
	file    string   // a file with the nodes
	fleet   string   // the folder of a local fleet
	cluster []string // files with the recorded objects of a cluster
	live    bool     // those of a cluster that is read now
	at      clusterFlags
	options render.Options

	guardrail string         // a file with rules that hold besides theirs
	given     *pflag.FlagSet // what the user said; nil is nothing
	command   *cobra.Command // that was called; nil is none
}

func (from *nodesOf) flags(c *cobra.Command) {
	c.Flags().StringVar(&from.file, "inventory", "", "a file with the nodes")
	c.Flags().StringVar(&from.fleet, "local", "", "the folder of a fleet, whose nodes are taken as they are")
	c.Flags().StringArrayVar(&from.cluster, "cluster", nil, "a `FILE` that a cluster was recorded in by kubectl get -o json (docs/inventory.md); may be given again")
	from.at.flags(c.Flags(), "take the nodes of this cluster's fleet as they are now, and its pods and budgets; nothing is written")
	renderVars(c, &from.options)
	guardrailFlag(c.Flags(), &from.guardrail)
	from.given, from.command = c.Flags(), c
}

// recall takes what a fleet remembers of itself where no flag says otherwise: its controller goes
// by that, so a preview that did not would be of another fleet.
func (from *nodesOf) recall(ctx context.Context) error {
	elsewhere := from.file != "" || from.fleet != "" || len(from.cluster) > 0
	from.live = from.at.named() || from.command != nil && from.at.asked(from.command) && !elsewhere
	switch {
	case from.live && (from.file != "" || from.fleet != ""):
		return usage("the nodes come from --kubeconfig, from --local or from --inventory: give one of them")
	case from.live:
		return from.at.recall(ctx, from)
	case from.fleet == "":
		return nil
	case from.file != "":
		return usage("the nodes come from --local or from --inventory: give one of them")
	}
	set, err := folder(from.fleet).settings()
	if err != nil {
		return fmt.Errorf("read fleet: %w", err)
	}
	kept := set.options()
	for flag, take := range map[string]func(){
		"profile":     func() { from.options.Profile = kept.Profile },
		"cluster-dns": func() { from.options.ClusterDNS = kept.ClusterDNS },
		"keep-zero":   func() { from.options.KeepZero = kept.KeepZero },
		"guardrail":   func() { from.guardrail = set.Guardrail },
	} {
		if from.given == nil || !from.given.Changed(flag) {
			take()
		}
	}
	return nil
}

// fill puts the nodes into a preview, what they have, and the rules that hold for them all.
func (from nodesOf) fill(ctx context.Context, in *preview.Input, tree fs.FS) error {
	var err error
	if in.Guardrail, err = readGuardrail(from.guardrail); err != nil {
		return err
	}
	if len(from.cluster) > 0 {
		if in.Cluster, err = cluster.ReadFiles(from.cluster...); err != nil {
			return err
		}
	}
	switch {
	case from.live:
		return from.at.fill(ctx, in)
	case from.fleet != "":
	case in.Cluster != nil && from.file == "":
		in.Nodes = cluster.Nodes(in.Cluster)
		return nil
	default:
		inv, err := readInventory(from.file, tree)
		in.Nodes = inv.nodes()
		return err
	}
	s, err := readSnapshot(ctx, from.fleet)
	if err != nil {
		return err
	}
	set, err := folder(from.fleet).settings()
	if err != nil {
		return fmt.Errorf("read fleet: %w", err)
	}
	in.State, in.Nodes = s.State, s.Nodes
	in.Holds, in.Self = s.Holds, set.self(s.Nodes)
	in.Known, err = known(ctx, (&local.Store{Dir: from.fleet}).Config, s.State, s.Nodes)
	return err
}
