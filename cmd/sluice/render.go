package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/render"
)

const roleLabel = "machineconfiguration.openshift.io/role"

func renderCommand() *cobra.Command {
	var revision, pool, output string
	var paths []string
	var options render.Options
	c := &cobra.Command{
		Use:   "render [PATH or URL]",
		Short: "Print each pool's rendered config as the MachineConfig that it amounts to",
		Long: "Render prints each pool's config as the one MachineConfig that it amounts to.\n" +
			"A PATH without --revision is rendered as it lies on disk; a URL renders its branch (main).\n" +
			"Where a build is refused the pools of the others are printed all the same, and the exit code is 1.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			tree, done, err := openTree(c.Context(), pathOf(args), revision)
			if err != nil {
				return err
			}
			defer done()
			built, err := builds.Build(tree, paths)
			if err != nil {
				return err
			}
			result, refusal := options.Pools(built)
			pools := result.Pools
			if refusal != nil {
				pools = options.Sound(built).Pools
			}
			for _, n := range result.Notices {
				fmt.Fprintln(c.ErrOrStderr(), "sluice: note:", n)
			}
			if pool != "" {
				pools = slices.DeleteFunc(pools, func(p render.Pool) bool { return p.Name != pool })
			}
			if refusal != nil && (len(pools) == 0 || output == "ignition" && pool == "") {
				return refusal
			}
			if pool != "" && len(pools) == 0 {
				return usage(fmt.Sprintf("no pool %q is rendered from %s", pool, pathOf(args)))
			}
			if refusal != nil {
				fmt.Fprintln(c.ErrOrStderr(), "sluice: note: printed are the pools of the builds without mistakes; nothing of such a revision is rolled out")
			}
			return errors.Join(printPools(c.OutOrStdout(), pools, output), refusal)
		},
	}
	c.Flags().StringVar(&revision, "revision", "", "a commit, branch or tag of the repository at PATH; the branch of a URL")
	c.Flags().StringVar(&pool, "pool", "", "this pool only")
	c.Flags().StringSliceVar(&paths, "path", nil, "build these directories instead of the root or pools/*")
	renderVars(c, &options)
	outputFlag(c, &output, "yaml", "json", "ignition")
	return c
}

func pathOf(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

// printPools prints pools as MachineConfigs (a YAML stream, or a JSON List), or one pool as the
// Ignition config that a joining node would get.
func printPools(w io.Writer, pools []render.Pool, output string) error {
	if output == "ignition" {
		if len(pools) != 1 {
			return usage(fmt.Sprintf("an Ignition config is of one pool: name it with --pool (there are %d)", len(pools)))
		}
		config, err := manifest.Ignition(pools[0].Config)
		if err != nil {
			return fmt.Errorf("print pool %q: %w", pools[0].Name, err)
		}
		_, err = fmt.Fprintln(w, strings.TrimSpace(string(config)))
		return err
	}
	items := []json.RawMessage{}
	for i, p := range pools {
		name, labels := "rendered-"+p.Name+"-"+string(p.Target()[:32]), map[string]string{roleLabel: p.Name}
		if output == "json" {
			item, err := manifest.JSON(name, labels, p.Config)
			if err != nil {
				return fmt.Errorf("print pool %q: %w", p.Name, err)
			}
			items = append(items, item)
			continue
		}
		doc, err := manifest.Marshal(name, labels, p.Config)
		if err != nil {
			return fmt.Errorf("print pool %q: %w", p.Name, err)
		}
		if i > 0 {
			doc = append([]byte("---\n"), doc...)
		}
		if _, err := io.Copy(w, bytes.NewReader(doc)); err != nil {
			return err
		}
	}
	if output != "json" {
		return nil
	}
	return printJSON(w, map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
}
