package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/source"
)

// What the Board says of a Fleet whose newest revision is not followed, of one before its first, and
// of one whose repository does not answer.
const (
	refused  = "Refused"
	starting = "Starting"
	silent   = "GitSilent"
)

// Reach connects as a person does: by the kubeconfig file that is named, else by the standard rules
// ($KUBECONFIG, ~/.kube/config, the pod's own account), in the context that is named, else in the
// current one.
func Reach(kubeconfig, context string) (*Client, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	rules.WarnIfAllMissing = false
	overrides := &clientcmd.ConfigOverrides{CurrentContext: context}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, errors.New("read kubeconfig: none is found: give --kubeconfig FILE, or set KUBECONFIG")
	}
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return Connect(config)
}

// View is a fleet as people see it beside its controller. It only reads, and makes do with what the
// reader may read: the Fleet, Pools, NodeConfigs and nodes.
type View struct {
	Client    *Client
	Namespace string // of the controller
	Fleet     string
}

// Sight is what a View shows.
type Sight struct {
	Spec  v1alpha1.FleetSpec
	State reconciler.State
	Nodes []reconciler.Node
	Holds []policy.Hold // those whose time is over included
	Wrong error         // why the holds cannot be read; the controller takes that as a hold of everything

	Partial string // why the state holds only what Pools show; "" where it is whole
	Trouble string // what the Fleet says of itself, unless it is ready; not what the state says anyway
	Absent  string // that no controller runs; "" where one does, or it cannot be looked for
	Self    string // the node that the controller runs on; "" is not known
}

// Look reads the fleet.
func (v View) Look(ctx context.Context) (s Sight, err error) {
	desk := Desk{Client: v.Client, Fleet: v.Fleet}
	fleet, err := desk.fleet(ctx)
	if err != nil {
		return s, v.left(ctx, err)
	}
	s.Spec = fleet.Spec
	s.Holds, s.Wrong = desk.holds(fleet.Spec)
	if s.Nodes, err = (&Fleet{Client: v.Client, Name: v.Fleet}).Nodes(ctx); err != nil {
		return s, err
	}
	s.State, s.Partial, err = v.state(ctx, fleet)
	if err != nil {
		return s, err
	}
	s.Trouble = trouble(fleet, s.State)
	holder, absent := v.controller(ctx, v.Client.Clock.Now())
	s.Absent = absent
	if pod, _, _ := strings.Cut(holder, "_"); pod != "" { // as a controller signs that runs in a pod
		if is, err := v.Client.core.CoreV1().Pods(v.Namespace).Get(ctx, pod, metav1.GetOptions{}); err == nil {
			s.Self = is.Spec.NodeName
		}
	}
	return s, nil
}

// left adds to why there is no Fleet what it has left: nobody releases its cordons any more, unless a
// controller still finishes what is under way.
func (v View) left(ctx context.Context, why error) error {
	nodes, err := (&Fleet{Client: v.Client, Name: v.Fleet}).Nodes(ctx)
	var cordoned []string
	for _, n := range nodes {
		if n.Cordon == reconciler.Ours {
			cordoned = append(cordoned, n.Name)
		}
	}
	if err != nil || len(cordoned) == 0 {
		return why
	}
	return fmt.Errorf("%w; its cordon is still on %d nodes; a controller that runs gives them back once they are finished, else: kubectl uncordon %s", why, len(cordoned), strings.Join(cordoned, " "))
}

// state is what the controller remembers; of whoever may not read it, what it shows.
func (v View) state(ctx context.Context, fleet *v1alpha1.Fleet) (state reconciler.State, partial string, err error) {
	store := Store{Client: v.Client, Namespace: v.Namespace, Fleet: v.Fleet}
	state, err = store.Load(ctx)
	forbidden := apierrors.IsForbidden(err)
	switch {
	case forbidden:
		partial = err.Error()
	case err != nil:
		return state, "", fmt.Errorf("load state: %w", err)
	case store.version != "":
		return state, "", nil
	default:
		partial = fmt.Sprintf("there is no secret %s/%s: does the controller run in another namespace?", v.Namespace, store.name())
	}
	mine := labels.SelectorFromSet(labels.Set{fleetLabel: v.Fleet}).String()
	pools, err := v.Client.pools.List(ctx, metav1.ListOptions{LabelSelector: mine})
	if err != nil {
		return state, "", fmt.Errorf("list Pools: %w", err)
	}
	if len(pools.Items) == 0 && fleet.Status.Commit == "" && !forbidden {
		return state, "", nil // no controller ever ran
	}
	state, err = shown(fleet, pools.Items)
	return state, partial, err
}

// shown is as much of a state as its Board shows.
func shown(fleet *v1alpha1.Fleet, pools []v1alpha1.Pool) (reconciler.State, error) {
	good := source.Revision{Repo: fleet.Spec.Source.URL, Ref: fleet.Spec.Source.Branch, Commit: fleet.Status.Commit}
	s := reconciler.State{Good: good, Seen: good.Commit, Pools: map[string]reconciler.Pool{}}
	if c := meta.FindStatusCondition(fleet.Status.Conditions, v1alpha1.Ready); c != nil && c.Reason == refused {
		refusal := source.Status{State: source.Failure, Summary: c.Message}
		if strings.HasPrefix(c.Message, "held: ") {
			refusal.State = source.Pending
		}
		s.Refused = []source.Status{refusal}
	}
	for _, p := range pools {
		is, err := poolShown(p.Status)
		if err != nil {
			return s, fmt.Errorf("read Pool %s: %w", p.Name, err)
		}
		is.Revision.Repo, is.Revision.Ref = good.Repo, good.Ref
		s.Pools[p.Name] = is
	}
	return s, nil
}

// poolShown reads what poolStatus writes.
func poolShown(s v1alpha1.PoolStatus) (p reconciler.Pool, err error) {
	p = reconciler.Pool{
		Phase: reconciler.Phase(s.Phase), Revision: source.Revision{Commit: s.Commit}, Target: machine.Digest(s.Target),
		Spurned: machine.Digest(s.Spurned), RollbackOf: s.RollbackOf,
		Counts: reconciler.Counts{
			Nodes: int(s.Nodes.Total), Updated: int(s.Nodes.Updated), Unavailable: int(s.Nodes.Unavailable),
			Failed: int(s.Nodes.Failed), Drifted: int(s.Nodes.Drifted),
		},
	}
	if p.Since, err = moment(s.Since); err != nil {
		return p, fmt.Errorf("status.since: %w", err)
	}
	if err := v1alpha1.Carry(s.Waiting, &p.Waiting); err != nil {
		return p, fmt.Errorf("status.waiting: %w", err)
	}
	waits := slices.IndexFunc(p.Waiting, func(f policy.Finding) bool { return f.Outcome >= policy.Wait })
	if waits < 0 || p.Waiting[waits].Reason != s.WaitingOn {
		p.Halt = s.WaitingOn
	}
	for i, l := range s.History {
		at, err := moment(l.At)
		if err != nil {
			return p, fmt.Errorf("status.history[%d].at: %w", i, err)
		}
		p.History = append(p.History, reconciler.Landing{Commit: l.Commit, Config: machine.Digest(l.Config), At: at, Nodes: int(l.Nodes)})
	}
	return p, nil
}

// moment reads what stamp writes.
func moment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, text)
}

// trouble is what a Fleet that is not ready says of itself, and the state does not say.
func trouble(fleet *v1alpha1.Fleet, state reconciler.State) string {
	c := meta.FindStatusCondition(fleet.Status.Conditions, v1alpha1.Ready)
	switch {
	case c == nil || c.Status == metav1.ConditionTrue || c.Reason == refused:
		return ""
	case state.Silent != "" && c.Reason == silent:
		return ""
	case state.Seen == "" && c.Reason == starting:
		return ""
	}
	return cmp.Or(c.Message, c.Reason)
}

// slack is by how much the time on a lease may be behind the server's: others may go by a clock of their own.
const slack = time.Minute

// controller is who holds the lease, or says that nobody does; it is neither where the lease cannot
// be read.
func (v View) controller(ctx context.Context, now time.Time) (holder, absent string) {
	name := "sluice-" + v.Fleet
	lease, err := v.Client.core.CoordinationV1().Leases(v.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return "", ""
	}
	const nothing = "nothing moves, and pushes are not seen, until one does; look at the controller's pods in that namespace"
	if err != nil || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || lease.Spec.RenewTime == nil || lease.Spec.LeaseDurationSeconds == nil {
		return "", fmt.Sprintf("no controller holds the lease %s/%s: %s", v.Namespace, name, nothing)
	}
	holder = *lease.Spec.HolderIdentity
	if now.Sub(lease.Spec.RenewTime.Time) < time.Duration(*lease.Spec.LeaseDurationSeconds)*time.Second+slack {
		return holder, ""
	}
	return holder, fmt.Sprintf("controller %s has not renewed the lease %s/%s since %s: %s",
		holder, v.Namespace, name, lease.Spec.RenewTime.UTC().Format("2006-01-02 15:04:05 UTC"), nothing)
}
