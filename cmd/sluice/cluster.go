package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/kube"
	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/source/git"
)

// plugin is the name by which kubectl finds this program as its command sluice.
const plugin = "kubectl-sluice"

// clusterFlags say which fleet of which cluster.
type clusterFlags struct {
	kubeconfig, context, namespace, name string
}

func (k *clusterFlags) flags(f *pflag.FlagSet, kubeconfig string) {
	f.StringVar(&k.kubeconfig, "kubeconfig", "", kubeconfig)
	f.StringVar(&k.context, "context", "", "the context of the kubeconfig (default: its current one); alone, of the kubeconfig that kubectl takes")
	f.StringVarP(&k.namespace, "namespace", "n", "sluice-system", "where the controller keeps its Secrets (with --kubeconfig)")
	f.StringVar(&k.name, "fleet", "default", "the Fleet object (with --kubeconfig)")
}

// asked says that the fleet is that of a cluster: it was named, or the program is kubectl's.
func (k clusterFlags) asked(c *cobra.Command) bool {
	return k.named() || c.Root().Name() == plugin
}

func (k clusterFlags) named() bool { return k.kubeconfig != "" || k.context != "" }

func (k clusterFlags) client() (*kube.Client, error) { return kube.Reach(k.kubeconfig, k.context) }

// clusterFleet is a place: a Fleet object.
type clusterFleet struct {
	at     *fleetAt
	client *kube.Client
	spec   v1alpha1.FleetSpec
	self   string

	fetched *git.Repo
}

func (at *fleetAt) readCluster(ctx context.Context) (s snapshot, err error) {
	k := at.cluster
	client, err := k.client()
	if err != nil {
		return s, err
	}
	sight, err := kube.View{Client: client, Namespace: k.namespace, Fleet: k.name}.Look(ctx)
	if t := kube.TroubleOf(err); t.Reason == kube.NoKinds {
		return s, t // what the server says of a path that it does not know helps nobody
	}
	if err != nil {
		return s, err
	}
	s = snapshot{
		State: sight.State, Nodes: sight.Nodes, Partial: sight.Partial, now: client.Clock.Now(),
		place: &clusterFleet{at: at, client: client, spec: sight.Spec, self: sight.Self},
	}
	if sight.Wrong != nil { // as the controller takes it
		sight.Holds = []policy.Hold{loop.Unreadable(sight.Wrong)}
	}
	s.take(sight.Holds)
	for _, why := range []string{sight.Absent, sight.Trouble} {
		if why != "" {
			s.said = append(s.said, reason{Check: "controller", Outcome: policy.Wait, Reason: why})
		}
	}
	return s, nil
}

func (f *clusterFleet) String() string { return "Fleet " + f.at.cluster.name }

func (f *clusterFleet) rules([]reconciler.Node) (r rules, err error) {
	r.self = f.self
	r.options.ClusterDNS = f.spec.ClusterDNS
	r.config = (&kube.Store{Client: f.client, Namespace: f.at.cluster.namespace, Fleet: f.at.cluster.name}).Config
	if r.options.Profile, err = machine.ParseProfile(f.spec.Profile); err != nil {
		return r, fmt.Errorf("%s: spec.profile: %w", f, err)
	}
	if r.guardrail, err = guardrailOf(f.spec); err != nil {
		return r, fmt.Errorf("%s: %w", f, err)
	}
	return r, nil
}

// fetching bounds how long a command waits for Git.
const fetching = time.Minute

// repository is the clone that was named, else what is fetched into a folder that goes away again:
// from the address that was named, or without credentials from where the Fleet says.
func (f *clusterFleet) repository(ctx context.Context) (*git.Repo, error) {
	named := strings.Contains(f.at.repo, "://")
	if f.at.repo != "" && !named {
		return git.Open(f.at.repo)
	}
	if f.fetched != nil {
		return f.fetched, nil
	}
	f.at.close()
	dir, err := os.MkdirTemp("", "sluice-")
	if err != nil {
		return nil, err
	}
	f.at.scratch = dir
	ctx, cancel := context.WithTimeout(ctx, fetching)
	defer cancel()
	src := &git.Source{URL: f.spec.Source.URL, Branch: f.spec.Source.Branch, Dir: dir}
	advice := "it was asked without credentials, since only the Fleet names it: where that address is right, --repo URL with it sends your " + gitToken + " there; or give --repo PATH of a clone"
	if named {
		src, advice = ownSource(f.at.repo, f.spec.Source.Branch, dir), "set "+gitToken+", which goes there, or give --repo PATH of a clone"
	}
	if _, err := src.Look(ctx); err != nil {
		return nil, fmt.Errorf("%w; %s", err, advice)
	}
	f.fetched, err = git.Open(filepath.Join(dir, "mirror.git"))
	return f.fetched, err
}

func (f *clusterFleet) desk() desk {
	return clusterDesk{kube.Desk{Client: f.client, Fleet: f.at.cluster.name}}
}

// clusterDesk is the spec of a Fleet.
type clusterDesk struct{ kube.Desk }

// Me is who the server says that this is: others must be able to find them.
func (d clusterDesk) Me(ctx context.Context) string {
	if name, err := d.Client.Me(ctx); err == nil {
		return name
	}
	return me()
}
