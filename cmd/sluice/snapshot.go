package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source/git"
)

// snapshot is a fleet as its folder or its cluster shows it, read beside whatever controller runs
// on it.
type snapshot struct {
	State   reconciler.State  `json:"state"`
	Nodes   []reconciler.Node `json:"nodes"`
	Holds   []policy.Hold     `json:"holds,omitempty"`   // those in force
	Partial string            `json:"partial,omitempty"` // why the state holds only what Pools show; "" where it is whole
	said    []reason          // by the place about the fleet as a whole, such as that no controller runs
	place   place
	now     time.Time
}

// place is where a fleet is kept. Its String is the fleet as messages name it.
type place interface {
	fmt.Stringer
	// desk is where operators ask.
	desk() desk
	// rules are what its controller goes by besides the repository.
	rules(nodes []reconciler.Node) (rules, error)
	// repository is one that has the commits of the branch. It is only read.
	repository(ctx context.Context) (*git.Repo, error)
}

// desk takes what operators ask. What two ask at once is kept, both.
type desk interface {
	Hold(ctx context.Context, h policy.Hold) error
	Release(ctx context.Context, mine func(policy.Hold) bool) ([]policy.Hold, error)
	Allow(ctx context.Context, commit string) error
	Me(ctx context.Context) string // the name of whoever asks
}

// rules are what the controller of a fleet goes by besides the repository.
type rules struct {
	options   render.Options
	guardrail *policy.Rollout
	self      string // the node that it runs on; "" is not known
	config    func(context.Context, machine.Digest) (machine.Config, bool, error)
}

// take puts the holds that are in force into the snapshot.
func (s *snapshot) take(holds []policy.Hold) {
	for _, h := range holds {
		if h.InForce(h.Pool, s.now) {
			s.Holds = append(s.Holds, h)
		}
	}
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

func (s snapshot) pools() []string { return slices.Sorted(maps.Keys(s.State.Pools)) }

func (s snapshot) nodes() (names []string) {
	for _, n := range s.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// fleetAt is the fleet that a command is about.
type fleetAt struct {
	dir     string
	cluster clusterFlags
	repo    string // a clone of what the fleet of a cluster follows, or its address
	scratch string // what was fetched for want of one; "" is nothing
}

func (at *fleetAt) flags(c *cobra.Command) {
	c.Flags().StringVar(&at.dir, "local", "", "the folder of the fleet")
	at.cluster.flags(c.Flags(), "the kubeconfig `FILE` of the cluster whose fleet it is")
}

// repoFlag is for commands that read the repository.
func (at *fleetAt) repoFlag(c *cobra.Command) {
	c.Flags().StringVar(&at.repo, "repo", "", "the `PATH` of a clone of what the cluster's fleet follows; or its URL, which is asked with your SLUICE_GIT_TOKEN (default: the URL that the Fleet names, asked without a token)")
}

// look makes a command of what is done with a snapshot.
func (at *fleetAt) look(do func(*cobra.Command, []string, snapshot) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		defer at.close()
		s, err := at.read(c)
		if err != nil {
			return err
		}
		return do(c, args, s)
	}
}

func (at *fleetAt) read(c *cobra.Command) (snapshot, error) {
	f := c.Flags()
	switch {
	case at.dir != "" && at.cluster.named():
		return snapshot{}, usage("which fleet? give --local or --kubeconfig, not both")
	case at.dir != "" || !at.cluster.asked(c):
		for _, name := range []string{"namespace", "fleet", "repo"} {
			if f.Changed(name) {
				return snapshot{}, usage("--" + name + " goes with --kubeconfig")
			}
		}
		return readSnapshot(c.Context(), at.dir)
	}
	return at.readCluster(c.Context())
}

// close takes away what was fetched.
func (at *fleetAt) close() {
	if at.scratch != "" {
		os.RemoveAll(at.scratch)
	}
}

// completes the first argument with names from the fleet.
func (at *fleetAt) completes(names ...func(snapshot) []string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) (out []cobra.Completion, _ cobra.ShellCompDirective) {
		if len(args) == 0 {
			if s, err := at.read(c); err == nil {
				for _, of := range names {
					out = append(out, of(s)...)
				}
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}
