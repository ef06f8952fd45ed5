package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler/preview"
	"github.com/sluice-gitops/sluice/reconciler/sim"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source/git"
)

// forecastOf is what a forecast is asked: which nodes, which change, under which policy, from when.
type forecastOf struct {
	inventory, policy, kind, most, base, head, svg string

	start time.Time
	pace  sim.Pace
}

func (f *forecastOf) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.inventory, "inventory", "", "forecast: a `FILE` with the nodes; with PATH, inventory.json of the base where none is named")
	c.Flags().StringVar(&f.policy, "policy", "", "forecast: a `FILE` with a RolloutPolicy, for every pool of the inventory")
	c.Flags().StringVar(&f.kind, "kind", "reboot", "forecast: what the change costs a node: reload, restart, drain or reboot")
	c.Flags().StringVar(&f.most, "max-unavailable", "", "forecast: maxUnavailable of every pool, a number or a percentage; none is 1")
	c.Flags().StringVar(&f.base, "base", "", "forecast of a repository: the revision that the fleet follows now")
	c.Flags().StringVar(&f.head, "head", "", "forecast of a repository: the revision that would be merged")
	c.Flags().TimeVar(&f.start, "start", time.Time{}, []string{time.RFC3339}, "forecast: when the change is merged, instead of now")
	c.Flags().DurationVar(&f.pace.Node, "node-time", 8*time.Minute, "forecast: how long a node that reboots is away")
	c.Flags().DurationVar(&f.pace.Drain, "drain-time", 2*time.Minute, "forecast: how much of that it takes to empty it")
	c.Flags().DurationVar(&f.pace.Quick, "reload-time", 30*time.Second, "forecast: how long a node takes that is not drained")
	c.Flags().StringVar(&f.svg, "svg", "", "forecast: write the timeline as a picture to this `FILE`")
}

// wanted says that a forecast is asked, and not a world with faults.
func (f *forecastOf) wanted(args []string) bool {
	return f.inventory != "" || f.policy != "" || f.base != "" || f.head != "" || f.svg != "" || len(args) > 0
}

func (f *forecastOf) run(ctx context.Context, w io.Writer, args []string, output string) error {
	for name, d := range map[string]time.Duration{"node-time": f.pace.Node, "drain-time": f.pace.Drain, "reload-time": f.pace.Quick} {
		if d <= 0 {
			return usage("--" + name + " must be longer than zero")
		}
	}
	if f.start.IsZero() {
		f.start = time.Now().Truncate(time.Minute)
	}
	in, err := f.input(args)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t := sim.Forecast(in, f.pace)
	if f.svg != "" {
		if err := os.WriteFile(f.svg, []byte(t.SVG()), 0o644); err != nil {
			return err
		}
	}
	if output == "json" {
		return printJSON(w, t)
	}
	_, err = io.WriteString(w, t.Text())
	return err
}

func (f *forecastOf) input(args []string) (preview.Input, error) {
	in := preview.Input{Base: "base", Head: "head", Gate: policy.Default(), Now: f.start}
	switch {
	case f.base != "" && f.head != "":
		err := f.ofRepository(&in, pathOf(args))
		return in, err
	case f.base != "" || f.head != "" || len(args) > 0:
		return in, usage("the forecast of a repository needs --base and --head, the revisions to compare")
	case f.inventory == "":
		return in, usage("a forecast needs --inventory, a file with the nodes")
	}
	err := f.ofPolicy(&in)
	return in, err
}

// ofRepository forecasts what merging a revision would do.
func (f *forecastOf) ofRepository(in *preview.Input, path string) error {
	repo, err := git.Open(path)
	if err != nil {
		return err
	}
	at := func(revision string) (commit string, pools []render.Pool, err error) {
		if commit, err = repo.Resolve(revision); err != nil {
			return "", nil, err
		}
		tree, err := repo.Tree(commit)
		if err != nil {
			return "", nil, err
		}
		r, err := renderTree(tree, nil, render.Options{})
		return commit, r.Pools, err
	}
	if in.Base, in.Before, err = at(f.base); err != nil {
		return fmt.Errorf("render %s: %w", f.base, err)
	}
	if in.Head, in.After, err = at(f.head); err != nil {
		return err
	}
	tree, err := repo.Tree(in.Base)
	if err != nil {
		return err
	}
	inv, err := readInventory(f.inventory, tree)
	in.Nodes = inv.nodes()
	if err == nil && len(in.Nodes) == 0 {
		return fmt.Errorf("forecast %s: no nodes are known: give --inventory FILE", path)
	}
	return err
}

// ofPolicy forecasts a change of a kind on every pool that the roles in the labels make.
func (f *forecastOf) ofPolicy(in *preview.Input) error {
	inv, err := readInventory(f.inventory, nil)
	if err != nil {
		return err
	}
	in.Nodes = inv.nodes()
	var rollout policy.Rollout
	if f.policy != "" {
		if rollout, err = readPolicy(f.policy); err != nil {
			return err
		}
	}
	kind, err := impact.ParseKind(f.kind)
	if err != nil || kind == impact.Nothing || kind == impact.Impossible {
		return usage(fmt.Sprintf("--kind %q: want reload, restart, drain or reboot", f.kind))
	}
	if _, err := policy.Limit(f.most, len(in.Nodes)); err != nil {
		return usage("--max-unavailable: " + err.Error())
	}
	const role, path = "node-role.kubernetes.io/", "/etc/change"
	var names []string
	for _, n := range in.Nodes {
		for key := range n.Labels {
			if name, ok := strings.CutPrefix(key, role); ok && name != "" {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return fmt.Errorf("%s: no node has a label %sPOOL: it says which pool a node is in", f.inventory, role)
	}
	for _, name := range slices.Compact(names) {
		p := render.Pool{
			Name: name, Selector: labels.SelectorFromSet(labels.Set{role + name: ""}), Policy: rollout,
			Strategy: render.Strategy{MaxUnavailable: f.most}, Rules: []impact.Rule{{Path: path, Actions: []impact.Action{{Kind: kind, Unit: "change.service"}}}},
		}
		if impact.Drains(kind) {
			p.Rules[0].Actions[0].Unit = ""
		}
		in.Before = append(in.Before, p)
		p.Config = machine.Config{Files: []machine.File{{Path: path, Mode: 0o644, Contents: []byte("new")}}}
		in.After = append(in.After, p)
	}
	return nil
}
