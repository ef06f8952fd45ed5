package main

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler/preview"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source/git"
)

func previewCommand() *cobra.Command {
	var base, head, file, output string
	var exitCode bool
	var at time.Time
	c := &cobra.Command{
		Use:   "preview [PATH] --base R --head R",
		Short: "Say what merging a revision would do to which nodes, in which order",
		Long: "Preview renders two revisions of the repository at PATH and says what the newer one would\n" +
			"do: per pool the kind, its causes, the nodes and the waves. The nodes come from --inventory,\n" +
			"else from " + inventoryFile + " at the root of the base revision; with neither it says what any\n" +
			"node would pay.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if base == "" || head == "" {
				return usage("preview needs --base and --head, the revisions to compare")
			}
			now := at
			if now.IsZero() {
				now = time.Now()
			}
			report, err := makePreview(pathOf(args), base, head, file, now)
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
	c.Flags().StringVar(&file, "inventory", "", "a file with the nodes")
	c.Flags().TimeVar(&at, "at", time.Time{}, []string{time.RFC3339}, "judge windows at this time instead of now")
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit 3 when the verdict is deny")
	outputFlag(c, &output, "text", "markdown", "json")
	return c
}

// makePreview compares two revisions of a local repository. Who the nodes are is read from the
// base: a proposal cannot choose whom it is judged by.
func makePreview(path, base, head, file string, now time.Time) (preview.Report, error) {
	var none preview.Report
	repo, err := git.Open(path)
	if err != nil {
		return none, err
	}
	in := preview.Input{Gate: policy.Default(), Now: now}
	if in.Base, err = repo.Resolve(base); err != nil {
		return none, err
	}
	if in.Head, err = repo.Resolve(head); err != nil {
		return none, err
	}
	if in.MergeBase, err = repo.MergeBase(in.Base, in.Head); err != nil {
		return none, err
	}
	if in.MergeBase == "" {
		return none, fmt.Errorf("compare %s with %s: they share no commit", base, head)
	}
	at := func(commit string) (fs.FS, []render.Pool, error) {
		tree, err := repo.Tree(commit)
		if err != nil {
			return nil, nil, err
		}
		result, err := renderTree(tree, nil)
		return tree, result.Pools, err
	}
	if _, in.Before, err = at(in.MergeBase); err != nil {
		return none, fmt.Errorf("render the base %s: %w", in.MergeBase[:7], err)
	}
	if _, in.After, err = at(in.Head); err != nil {
		return none, err
	}
	tree, err := repo.Tree(in.Base)
	if err != nil {
		return none, err
	}
	inv, err := readInventory(file, tree)
	if err != nil {
		return none, err
	}
	in.Nodes = inv.nodes()
	return preview.Make(in), nil
}
