package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/render"
)

func impactCommand() *cobra.Command {
	var output string
	var files []string
	var profile machine.Profile
	c := &cobra.Command{
		Use:   "impact OLD NEW",
		Short: "Say what it costs a node to go from one MachineConfig to another",
		Long: `Say what it costs a node to go from one MachineConfig to another.

OLD and NEW hold one MachineConfig each, in YAML or JSON; what "sluice render --pool P" prints will do.
RULES hold a MachineConfiguration, a RolloutPolicy, or one of each; without any the table of the profile holds.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			before, err := readConfig(args[0])
			if err != nil {
				return err
			}
			after, err := readConfig(args[1])
			if err != nil {
				return err
			}
			rules, notices, err := readRules(files, profile)
			for _, n := range notices {
				fmt.Fprintln(c.ErrOrStderr(), "sluice: note:", n)
			}
			if err != nil {
				return err
			}
			actions := impact.Diff(before, after, rules)
			if output == "json" {
				return printImpact(c.OutOrStdout(), actions)
			}
			fmt.Fprintln(c.OutOrStdout(), impact.Worst(actions))
			for _, a := range actions {
				fmt.Fprintf(c.OutOrStdout(), "  %-10s %s", a.Kind, a.Cause)
				if a.Unit != "" {
					fmt.Fprintf(c.OutOrStdout(), " -> %s", a.Unit)
				}
				fmt.Fprintln(c.OutOrStdout())
			}
			return nil
		},
	}
	c.Flags().StringArrayVar(&files, "rules", nil, "a `FILE` with a MachineConfiguration or RolloutPolicy, whose rules hold; may be given several times")
	profileVar(c, &profile)
	outputFlag(c, &output, "text", "json")
	return c
}

// readConfig reads the one MachineConfig of a file, YAML or JSON, as the config that it stands for.
// A List of one counts as that one. Several are refused: how they merge is a matter of a pool.
func readConfig(path string) (machine.Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return machine.Config{}, err
	}
	one := data
	if docs := manifest.Documents(data); len(docs) > 0 {
		one = docs[0]
		if len(docs) > 1 {
			return machine.Config{}, several(path, len(docs), "documents")
		}
	}
	var list struct {
		Kind  string            `json:"kind"`
		Items []json.RawMessage `json:"items"`
	}
	if encoded, err := manifest.FromYAML(one); err == nil && json.Unmarshal(encoded, &list) == nil && strings.HasSuffix(list.Kind, "List") {
		if len(list.Items) != 1 {
			return machine.Config{}, several(path, len(list.Items), "items")
		}
		one = list.Items[0]
	}
	m, err := manifest.Parse(one)
	if err != nil {
		return machine.Config{}, fmt.Errorf("%s: %w", path, err)
	}
	c, err := manifest.Config(m.Spec)
	if err != nil {
		return machine.Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func several(path string, n int, what string) error {
	return fmt.Errorf("%s: holds %d %s: give a file with one MachineConfig, such as sluice render --pool prints", path, n, what)
}

// readRules reads the rules of all files together, over the table of the profile.
func readRules(files []string, profile machine.Profile) (rules []impact.Rule, notices []string, err error) {
	var docs []render.Document
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			return nil, nil, err
		}
		docs = append(docs, render.Document{File: f, Line: 1, Body: body})
	}
	return render.Options{Profile: profile}.ImpactRules(docs)
}

func printImpact(w io.Writer, actions []impact.Action) error {
	if actions == nil {
		actions = []impact.Action{}
	}
	kind := impact.Worst(actions)
	drains := func(a impact.Action) bool { return impact.Drains(a.Kind) }
	return printJSON(w, struct {
		Kind    impact.Kind     `json:"kind"`
		Drain   bool            `json:"drain"`
		Actions []impact.Action `json:"actions"`
	}{kind, slices.ContainsFunc(actions, drains), actions})
}
