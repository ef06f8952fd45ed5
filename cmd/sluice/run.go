package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/durable"
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/render"
)

// settings is what a local fleet follows, and whom it tells. It is kept in DIR/fleet.json, so
// that the next run needs no flags.
type settings struct {
	Name       string          `json:"name"` // in every commit status, as sluice/NAME/POOL
	Repo       string          `json:"repo"` // https, http on loopback, or a path
	Branch     string          `json:"branch"`
	Poll       time.Duration   `json:"poll"`             // nanoseconds; how often Git is asked
	GitHub     string          `json:"github,omitempty"` // OWNER/REPO that gets statuses and comments
	GitHubURL  string          `json:"githubURL,omitempty"`
	Profile    machine.Profile `json:"profile,omitempty"` // where nodes that are not OpenShift's read their kubelet's settings
	ClusterDNS string          `json:"clusterDNS,omitempty"`
	KeepZero   bool            `json:"keepZero,omitempty"` // of KubeletConfigs; MCO main loses such fields
	Self       string          `json:"self,omitempty"`     // the node that the controller runs on; "" is the one with the name of the host
	BootTime   time.Duration   `json:"bootTime"`           // nanoseconds; how long a directory takes to reboot
	outside

	metricsListen string // of this run only
}

func (s settings) validate() error {
	switch {
	case s.Repo == "":
		return usage("which repository does the fleet follow? give --repo once")
	case scpStyle.MatchString(s.Repo):
		return usage("--repo: ssh is not supported: give the https address, or a path")
	case hasCredentials(s.Repo):
		return usage("--repo: the address holds credentials, which would be kept on disk: give the token in SLUICE_GIT_TOKEN")
	case s.BootTime < 0:
		return usage("--boot-time: less than nothing")
	case s.Poll < time.Second/10:
		return usage("--poll: asking Git more often than ten times a second helps nobody")
	case s.GitHub != "" && strings.Count(s.GitHub, "/") != 1:
		return usage("--github: want OWNER/REPO")
	case s.Name == "" || strings.ContainsAny(s.Name, "/ \t\n"):
		return usage("--name: want a word without slashes")
	}
	return nil
}

// options are how the fleet's repository is rendered.
func (s settings) options() render.Options {
	return render.Options{Profile: s.Profile, ClusterDNS: s.ClusterDNS, KeepZero: s.KeepZero}
}

// self is the node that the controller runs on; "" is none of these.
func (s settings) self(nodes []reconciler.Node) string {
	if s.Self != "" {
		return s.Self
	}
	name, err := os.Hostname()
	if err == nil && slices.ContainsFunc(nodes, func(n reconciler.Node) bool { return n.Name == name }) {
		return name
	}
	return ""
}

var scpStyle = regexp.MustCompile(`^[\w.-]+@[\w.-]+:`)

// hasCredentials says that a URL holds a password or a query: neither is written anywhere.
func hasCredentials(repo string) bool {
	if !strings.Contains(repo, "://") {
		return false
	}
	u, err := url.Parse(repo)
	return err != nil || u.User != nil || u.RawQuery != ""
}

func runCommand() *cobra.Command {
	var dir, nodes string
	var set settings
	var options render.Options
	var once bool
	var far kubeFleet
	c := &cobra.Command{
		Use:   "run [--local DIR | --kubeconfig FILE]",
		Short: "Be the controller of a fleet",
		Long: "Run follows a repository and rolls every push out to the fleet in DIR, whose nodes are the\n" +
			"directories DIR/nodes/NAME/root, each with an agent of its own in this process. What was given\n" +
			"once is remembered in DIR/fleet.json. Tokens come from SLUICE_GIT_TOKEN and SLUICE_GITHUB_TOKEN.\n" +
			"With --kubeconfig, or in a pod without --local, the nodes are those of a cluster, a Fleet object\n" +
			"says what they follow, and tokens come from the Secrets that it names.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := far.given(c.Flags()); err != nil {
				return err
			}
			log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
			if far.remote(c.Flags()) {
				far.unused(log)
				return far.run(c, set, log)
			}
			if dir == "" {
				return usage("which fleet? give --local DIR, or --kubeconfig FILE for that of a cluster")
			}
			set.Profile, set.ClusterDNS, set.KeepZero = options.Profile, options.ClusterDNS, options.KeepZero
			set, err := recall(c, dir, set)
			if err != nil {
				return err
			}
			return runHere(c.Context(), dir, nodes, set, once, log)
		},
	}
	f := c.Flags()
	far.flags(f)
	f.StringVar(&dir, "local", "", "the folder of the fleet")
	f.StringVar(&nodes, "inventory", "", "make the nodes of this file, or give them its labels")
	f.StringVar(&set.Name, "name", "", "the fleet's name in statuses and comments (default: the folder's)")
	f.StringVar(&set.Repo, "repo", "", "the fleet repository: https, http on loopback, or a path")
	f.StringVar(&set.Branch, "branch", "main", "the branch to follow")
	f.DurationVar(&set.Poll, "poll", 30*time.Second, "how often Git is asked")
	f.StringVar(&set.GitHub, "github", "", "OWNER/REPO on GitHub that gets statuses and comments")
	f.StringVar(&set.GitHubURL, "github-url", "", "the API of a GitHub Enterprise Server")
	renderVars(c, &options)
	set.outside.flags(f)
	f.StringVar(&set.Self, "self", "", "the node that this controller runs on, which is the last of its pool (default: the one with the host's name; on Kubernetes $NODE_NAME)")
	f.DurationVar(&set.BootTime, "boot-time", time.Second, "how long a node takes to reboot")
	metricsFlag(f, &set.metricsListen)
	f.BoolVar(&once, "once", false, "stop when every pool is at rest")
	return c
}

// runHere is the one controller of the fleet in a folder, which it makes where it is new.
func runHere(ctx context.Context, dir, nodes string, set settings, once bool, log *slog.Logger) error {
	release, err := local.Lock(dir) // before anything is changed: another controller may run on it
	if err != nil {
		return err
	}
	defer release()
	if err := durable.WriteJSON(filepath.Join(dir, settingsFile), set, 0o600); err != nil {
		return err
	}
	if nodes != "" {
		if err := enlist(dir, nodes); err != nil {
			return err
		}
	}
	return runLocal(ctx, dir, set, once, log)
}

// settingsFile is where a fleet remembers what it was told.
const settingsFile = "fleet.json"

// recall merges the flags that were given into what the fleet's folder remembers.
func recall(c *cobra.Command, dir string, given settings) (settings, error) {
	file := filepath.Join(dir, settingsFile)
	set := given
	if set.Name == "" {
		set.Name = fleetName(dir)
	}
	kept := set
	if _, err := durable.ReadJSON(file, &kept); err != nil {
		return set, fmt.Errorf("read fleet: %w: put the file right, or take it away and give the flags again", err)
	}
	for flag, take := range map[string]func(){
		"name": func() { kept.Name = given.Name }, "repo": func() { kept.Repo = given.Repo },
		"branch": func() { kept.Branch = given.Branch }, "poll": func() { kept.Poll = given.Poll },
		"github": func() { kept.GitHub = given.GitHub }, "github-url": func() { kept.GitHubURL = given.GitHubURL },
		"profile": func() { kept.Profile = given.Profile }, "cluster-dns": func() { kept.ClusterDNS = given.ClusterDNS },
		"keep-zero": func() { kept.KeepZero = given.KeepZero },
		"self":      func() { kept.Self = given.Self },
		"boot-time": func() { kept.BootTime = given.BootTime },

		"prometheus": func() { kept.Prometheus = given.Prometheus }, "probe-hosts": func() { kept.ProbeHosts = given.ProbeHosts },
		"trusted-keys": func() { kept.TrustedKeys = given.TrustedKeys }, "guardrail": func() { kept.Guardrail = given.Guardrail },
	} {
		if c.Flags().Changed(flag) {
			take()
		}
	}
	if err := errors.Join(kept.validate(), kept.outside.validate()); err != nil {
		return kept, err
	}
	if !strings.Contains(kept.Repo, "://") {
		abs, err := filepath.Abs(kept.Repo)
		if err != nil {
			return kept, err
		}
		kept.Repo = abs
	}
	return kept, nil
}

func fleetName(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "local"
	}
	return path.Base(filepath.ToSlash(abs))
}

// enlist makes the nodes of an inventory.
func enlist(dir, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	inv, err := parseInventory(file, data)
	if err != nil {
		return err
	}
	for _, n := range inv.Nodes {
		created := n.Created.Time
		if created.IsZero() {
			created = time.Now()
		}
		if err := local.Enlist(dir, n.Name, n.Labels, created); err != nil {
			return err
		}
	}
	return nil
}

// runLocal is a controller and the agents of all nodes, until the context ends or, with once,
// until the fleet is at rest.
func runLocal(ctx context.Context, dir string, set settings, once bool, log *slog.Logger) error {
	f, err := newLocalFleet(dir, set, log)
	if err != nil {
		return err
	}
	quiet, err := f.serve(ctx)
	if err != nil {
		return err
	}
	defer quiet()
	ctx, stop := context.WithCancel(ctx)
	agents, err := f.startAgents(ctx)
	if err != nil {
		stop()
		return err
	}
	defer agents() // waits: no agent is left half way by a stop
	defer stop()
	if !once {
		return f.loop.Run(ctx, time.Second, f.wake)
	}
	return f.untilRest(ctx)
}

// untilRest ticks until no pool moves and everything was said.
func (f *localFleet) untilRest(ctx context.Context) error {
	for {
		moving, err := f.loop.Tick(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case !moving:
			return f.outcome(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		case <-time.After(time.Second):
		}
	}
}

// outcome is an error when the fleet is not what the repository asks, and will not be without
// somebody: a script should notice.
func (f *localFleet) outcome(ctx context.Context) error {
	state, err := f.loop.Store.Load(ctx)
	if err != nil {
		return err
	}
	errs := []error{f.loop.Git()}
	for _, name := range slices.Sorted(maps.Keys(state.Pools)) {
		if p := state.Pools[name]; p.Phase == reconciler.Halted {
			errs = append(errs, fmt.Errorf("pool %s is halted at %s: %s", name, p.Revision.Short(), p.Reason()))
		}
	}
	if len(state.Refused) > 0 {
		errs = append(errs, errors.New(state.Refused[0].Summary))
	}
	return errors.Join(errs...)
}
