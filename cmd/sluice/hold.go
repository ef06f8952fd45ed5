package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/source"
)

// target is which pools a hold or a release is about.
type target struct {
	fleetAt
	all bool
}

func (t *target) flags(c *cobra.Command) {
	t.fleetAt.flags(c)
	c.Flags().BoolVar(&t.all, "all", false, "every pool")
}

// named holds that one pool was named, or all of them, before anybody is asked.
func (t target) named(args []string) error {
	switch {
	case len(args) == 0 && !t.all:
		return usage("which pool? name one, or give --all")
	case len(args) > 0 && t.all:
		return usage("a pool and --all: give one")
	}
	return nil
}

// pool is the one that was named; "" is all of them.
func (t target) pool(s snapshot, args []string) (string, error) {
	if t.all {
		return "", nil
	}
	_, ok := s.State.Pools[args[0]]
	if !ok && !slices.ContainsFunc(s.Holds, func(h policy.Hold) bool { return h.Pool == args[0] }) { // the pool may be gone, and its hold not
		have := strings.Join(s.pools(), ", ")
		return "", usage(fmt.Sprintf("%s has no pool %q; it has: %s", s.place, args[0], or(have, "none yet")))
	}
	return args[0], nil
}

func holdCommand() *cobra.Command {
	var t target
	var h policy.Hold
	var until string
	var lasts time.Duration
	c := &cobra.Command{
		Use: "hold POOL --reason WHY", Short: "Stop a pool, or all of them, until it is released", Args: cobra.MaximumNArgs(1),
		Long: "Hold keeps every node of a pool from being started, from the controller's next turn on. Nodes that\n" +
			"are under way are finished and handed back. It can be given while a controller runs, and ends with\n" +
			"sluice release, or by itself at --until or after --for.",
		ValidArgsFunction: t.completes(snapshot.pools),
		PreRunE: func(_ *cobra.Command, args []string) error {
			if h.Reason, h.By = oneLine(h.Reason), oneLine(h.By); h.Reason == "" {
				return cmp.Or(t.named(args), error(usage("--reason: why is it held? whoever finds it held will ask")))
			}
			return t.named(args)
		},
		RunE: t.look(func(c *cobra.Command, args []string, s snapshot) (err error) {
			if h.Pool, err = t.pool(s, args); err != nil {
				return err
			}
			h.Since = s.now.UTC().Truncate(time.Second)
			if h.Until, err = end(until, lasts, c.Flags().Changed("for"), h.Since); err != nil {
				return err
			}
			if h.By == "" {
				h.By = oneLine(s.place.desk().Me(c.Context()))
			}
			if err := s.place.desk().Hold(c.Context(), h); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s held by %s until %s (%s)\n", subject(h.Pool), h.By, ending(h), h.Reason)
			return nil
		}),
	}
	t.flags(c)
	c.Flags().StringVar(&h.Reason, "reason", "", "why; people read it in statuses")
	c.Flags().StringVar(&h.By, "by", "", "who (default: the user; of a cluster, as its server knows you)")
	c.Flags().StringVar(&until, "until", "", "when it ends by itself, such as 2026-12-24T08:00:00Z")
	c.Flags().DurationVar(&lasts, "for", 0, "after which time it ends by itself")
	return c
}

// oneLine is what somebody wrote, as a line of a table and a status can show it.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func subject(pool string) string {
	if pool == "" {
		return "all pools are"
	}
	return "pool " + pool + " is"
}

// end is when a hold ends; zero is when it is released.
func end(until string, lasts time.Duration, given bool, now time.Time) (at time.Time, err error) {
	switch {
	case until != "" && given:
		return at, usage("--until and --for: give one")
	case given && lasts < time.Second:
		return at, usage("--for: want at least a second, such as 90m")
	case given:
		return now.Add(lasts).Truncate(time.Second), nil
	case until == "":
		return at, nil
	}
	if at, err = time.Parse(time.RFC3339, until); err != nil {
		return at, usage(fmt.Sprintf("--until: %q is no time such as 2026-12-24T08:00:00Z", until))
	}
	if !at.After(now) {
		return at, usage("--until: " + until + " is over")
	}
	return at.UTC(), nil
}

func releaseCommand() *cobra.Command {
	var t target
	var rewind string
	c := &cobra.Command{
		Use: "release POOL", Short: "End a hold, or allow a branch that was rewritten", Args: cobra.MaximumNArgs(1),
		Long: "Release ends the holds of a pool, or with --all every hold, and says what comes then. With --rewind\n" +
			"it allows one commit that does not descend from the last one that the fleet followed.",
		ValidArgsFunction: t.completes(snapshot.pools),
		PreRunE: func(_ *cobra.Command, args []string) error {
			switch {
			case rewind == "":
				return t.named(args)
			case len(args) > 0 || t.all:
				return usage("--rewind is about the whole fleet: name no pool")
			}
			return nil
		},
		RunE: t.look(func(c *cobra.Command, args []string, s snapshot) error {
			if rewind != "" {
				return s.allow(c, rewind)
			}
			pool, err := t.pool(s, args)
			if err != nil {
				return err
			}
			return s.release(c, pool, t.all)
		}),
	}
	t.flags(c)
	t.repoFlag(c)
	c.Flags().StringVar(&rewind, "rewind", "", "allow this commit, which a rewritten branch has now")
	return c
}

// release ends holds, and says what comes then.
func (s snapshot) release(c *cobra.Command, pool string, all bool) error {
	gone, err := s.place.desk().Release(c.Context(), func(h policy.Hold) bool { return all || h.Pool == pool })
	if err != nil {
		return err
	}
	if len(gone) == 0 && all {
		return errors.New("no pool is held")
	}
	if len(gone) == 0 {
		return errors.New(subject(pool) + " not held by name; see sluice get")
	}
	s.Holds = slices.DeleteFunc(s.Holds, func(h policy.Hold) bool { return all || h.Pool == pool })
	for _, h := range gone {
		fmt.Fprintf(c.OutOrStdout(), "%s released: was held by %s (%s)\n", subject(h.Pool), h.By, h.Reason)
	}
	if s.Partial != "" {
		return nil
	}
	seen, err := s.photograph(c.Context())
	if err != nil {
		return nil // released it is; what comes of it is said by the controller
	}
	standing := reconciler.Stand(s.State, seen)
	for _, name := range s.pools() {
		if !all && name != pool {
			continue
		}
		fmt.Fprintf(c.OutOrStdout(), "pool %s: %s\n", name, s.resume(c.Context(), name, standing))
		for _, h := range s.heldBy(name) {
			fmt.Fprintf(c.OutOrStdout(), "pool %s: still held by %s until %s (%s)\n", name, h.By, ending(h), h.Reason)
		}
	}
	return nil
}

var fullCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)

// allow lets the fleet follow a branch that was rewritten.
func (s snapshot) allow(c *cobra.Command, commit string) error {
	for _, st := range s.State.Refused {
		if st.State == source.Pending && len(commit) >= 7 && strings.HasPrefix(st.Commit, commit) {
			commit = st.Commit
		}
	}
	if !fullCommit.MatchString(commit) {
		return usage(fmt.Sprintf("--rewind: no rewritten branch waits with commit %q; see sluice why, or give all 40 digits", commit))
	}
	if err := s.place.desk().Allow(c.Context(), commit); err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "commit %s may be followed, although it does not descend from %s\n", source.Short(commit), s.State.Good.Short())
	return nil
}
