package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/reconciler/sim"
)

func simCommand() *cobra.Command {
	var script, output string
	var seeds, seed uint64
	var check, shrink bool
	opt := sim.Options{}
	var future forecastOf
	c := &cobra.Command{
		Use:   "sim [PATH]",
		Short: "Forecast a rollout on your nodes; or live through worlds of faults, and count broken promises",
		Long: "With --inventory and --policy, sim says what a change would do to these nodes and when: each wave,\n" +
			"on a timeline, in text and with --svg as a picture. With PATH, --base and --head it does so for two\n" +
			"revisions of a repository. Otherwise it lives through seeded worlds of fake nodes and faults, and counts\n" +
			"the promises that were broken.",
		Example: "  sluice sim --inventory nodes.json --policy policy.yaml --kind reboot --svg rollout.svg",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case future.wanted(args):
				return future.run(c.Context(), c.OutOrStdout(), args, output)
			case seeds == 0:
				return usage("--seeds 0 lives through no world and shows nothing: give at least 1")
			case script != "":
				return runScript(c.OutOrStdout(), script)
			case check:
				return foretell(c, seeds, output)
			case c.Flags().Changed("seed"):
				return replay(c.OutOrStdout(), seed, shrink, opt, output)
			}
			return liveThrough(c, seeds, opt, output)
		},
	}
	c.Flags().StringVar(&script, "script", "", "run this script, and print what happens")
	c.Flags().Uint64Var(&seeds, "seeds", 300, "how many worlds")
	c.Flags().Uint64Var(&seed, "seed", 0, "replay this one world, and print what happens")
	c.Flags().BoolVar(&shrink, "shrink", false, "with --seed: make the story of the first broken promise as short as it gets, and print it as a script")
	c.Flags().BoolVar(&check, "check-preview", false, "hold previews of seeded changes against what then happens")
	c.Flags().IntVar(&opt.Nodes, "nodes", 0, "nodes of each world; 0 leaves it to the seed")
	c.Flags().IntVar(&opt.Ticks, "ticks", 0, "ticks with faults of each world; 0 is 400")
	future.flags(c)
	outputFlag(c, &output, "text", "json")
	return c
}

type tally struct {
	Seeds      uint64       `json:"seeds"`
	Ticks      int          `json:"ticks"`
	Reboots    int          `json:"reboots"`
	Violations int          `json:"violations"`
	Seconds    float64      `json:"seconds"`
	Failed     []sim.Result `json:"failed,omitempty"`
}

func liveThrough(c *cobra.Command, seeds uint64, opt sim.Options, output string) error {
	t := tally{Seeds: seeds}
	start, line := time.Now(), newProgress(c.ErrOrStderr())
	live := func(seed uint64) sim.Result {
		r := sim.Run(seed, opt)
		r.Events = nil
		return r
	}
	err := eachSeed(c.Context(), seeds, live, func(seed uint64, r sim.Result) {
		t.Ticks += r.Ticks
		t.Reboots += r.Reboots
		t.Violations += len(r.Violations)
		if len(r.Violations) > 0 && len(t.Failed) < 10 {
			t.Failed = append(t.Failed, r)
		}
		line.at(seed+1, seeds, fmt.Sprint(t.Violations, " violations"))
	})
	line.over()
	if err != nil {
		return err
	}
	t.Seconds = time.Since(start).Seconds()
	if output == "json" {
		if err := printJSON(c.OutOrStdout(), t); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.OutOrStdout(), "%d seeds, %d ticks, %d reboots: %d violations (%.1f s)\n", t.Seeds, t.Ticks, t.Reboots, t.Violations, t.Seconds)
		for _, f := range t.Failed {
			fmt.Fprintf(c.OutOrStdout(), "seed %d: %s\n  replay it with: sluice sim --seed %d, and --shrink for a short story\n", f.Seed, f.Violations[0], f.Seed)
		}
	}
	if t.Violations > 0 {
		return fmt.Errorf("%d promises were broken", t.Violations)
	}
	return nil
}

// foretell counts the changes whose preview came true: node set, kind and order.
func foretell(c *cobra.Command, seeds uint64, output string) error {
	var t struct {
		Seeds uint64   `json:"seeds"`
		True  int      `json:"true"`
		Wrong []string `json:"wrong,omitempty"`
	}
	t.Seeds = seeds
	line := newProgress(c.ErrOrStderr())
	err := eachSeed(c.Context(), seeds, sim.Foretell, func(seed uint64, wrong []string) {
		if len(wrong) == 0 {
			t.True++
		} else if len(t.Wrong) < 10 {
			t.Wrong = append(t.Wrong, fmt.Sprintf("seed %d: %s", seed, wrong[0]))
		}
		line.at(seed+1, seeds, fmt.Sprint(t.True, " came true"))
	})
	line.over()
	if err != nil {
		return err
	}
	if output == "json" {
		if err := printJSON(c.OutOrStdout(), t); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.OutOrStdout(), "%d of %d previews came true\n", t.True, t.Seeds)
		for _, line := range t.Wrong {
			fmt.Fprintln(c.OutOrStdout(), line)
		}
	}
	if uint64(t.True) < seeds {
		return fmt.Errorf("%d previews did not come true", seeds-uint64(t.True))
	}
	return nil
}

// replay lives one world and prints what happens; shrunk, it prints the shortest script that still
// breaks the first promise that the world broke.
func replay(w io.Writer, seed uint64, shrink bool, opt sim.Options, output string) error {
	r := sim.Run(seed, opt)
	if shrink && len(r.Violations) > 0 {
		r = sim.Shrink(r.Story, opt)
		r.Seed = seed
	}
	if output == "json" {
		return printJSON(w, r)
	}
	lines := r.Events
	if shrink {
		lines = r.Story
	}
	if !shrink || len(r.Violations) > 0 {
		for _, line := range lines {
			fmt.Fprintln(w, line)
		}
	}
	for _, v := range r.Violations {
		fmt.Fprintln(w, "VIOLATION", v)
	}
	fmt.Fprintf(w, "seed %d: %d ticks, %d reboots, %d violations\n", r.Seed, r.Ticks, r.Reboots, len(r.Violations))
	if len(r.Violations) > 0 {
		return fmt.Errorf("seed %d breaks %d promises", seed, len(r.Violations))
	}
	return nil
}

// runScript runs the commands of a script and prints each with what it did. What stands between
// ---- and the next empty line, the answer of an earlier run, is passed over.
func runScript(w io.Writer, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	s := sim.NewScript()
	answer := false
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		line = strings.TrimSpace(line)
		switch {
		case line == "----":
			answer = true
		case line == "":
			answer = false
		case !answer && line != "run":
			out, err := s.Do(line)
			if err != nil {
				return fmt.Errorf("%s:%d: %w", path, number, err)
			}
			fmt.Fprintln(w, ">", line)
			if out != "" {
				fmt.Fprintln(w, out)
			}
		}
	}
	return nil
}
