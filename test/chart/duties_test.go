package chart

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	nodekube "github.com/sluice-gitops/sluice/nodeops/host/kube"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/kube"
)

// witness notes which rights the requests of a client need.
type witness struct {
	mu     sync.Mutex
	rights map[string]bool
}

// watched is a token whose requests are noted.
func (w *witness) watched(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return passing{w, next} })
	return config
}

type passing struct {
	by   *witness
	next http.RoundTripper
}

func (p passing) RoundTrip(r *http.Request) (*http.Response, error) {
	p.by.mu.Lock()
	p.by.rights[right(r)] = true
	p.by.mu.Unlock()
	return p.next.RoundTrip(r)
}

// leftOver complains of rights that nobody has needed.
func (w *witness) leftOver(t *testing.T, rules []rbacv1.PolicyRule) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for has := range granted(rules...) {
		if !w.rights[has] {
			t.Errorf("the right %q is never used", has)
		}
	}
}

// right is what a request needs, as GROUP/RESOURCE[/SUBRESOURCE] VERB.
func right(r *http.Request) string {
	words := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	group := ""
	if words[0] == "apis" {
		group, words = words[1], words[1:]
	}
	words = words[2:]
	if words[0] == "namespaces" && len(words) > 2 {
		words = words[2:]
	}
	verb := map[string]string{"GET": "list", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "deletecollection"}[r.Method]
	switch {
	case r.URL.Query().Get("watch") == "true" || r.URL.Query().Get("watch") == "1":
		verb = "watch"
	case len(words) > 1 && verb == "list":
		verb = "get"
	case len(words) > 1 && verb == "deletecollection":
		verb = "delete"
	}
	resource := words[0]
	if len(words) > 2 {
		resource += "/" + words[2]
	}
	return group + "/" + resource + " " + verb
}

// granted are the rights of roles.
func granted(rules ...rbacv1.PolicyRule) map[string]bool {
	out := map[string]bool{}
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					out[group+"/"+resource+" "+verb] = true
				}
			}
		}
	}
	return out
}

// TestControllersRightsAreThoseItUses has the controller's parts do all that they do, with a token
// of its account: nothing is refused, and no right is left over.
func TestControllersRightsAreThoseItUses(t *testing.T) {
	config := installed(t)
	plane.Nodes(t, "duty", 1)
	seen := &witness{rights: map[string]bool{}}
	client, err := kube.Connect(seen.watched(bearer(t, config, "sluice-controller", nil).config))
	if err != nil {
		t.Fatal(err)
	}
	for _, duty := range []struct {
		what string
		do   func(*testing.T, *rest.Config, *kube.Client) error
	}{
		{"see the fleet's nodes, of which one has been made anew", enrolls},
		{"give an order", orders},
		{"drain a node, by force", drains},
		{"remember", remembers},
		{"show how pools and the fleet stand", shows},
		{"look after the certificate", certifies},
		{"ask whose a token is", asks},
		{"tell events", tells},
		{"hold the lease", holds},
	} {
		if err := duty.do(t, config, client); err != nil {
			t.Errorf("%s: %v", duty.what, err)
		}
	}
	roles := clientOf(t, config).RbacV1()
	cluster, err1 := roles.ClusterRoles().Get(t.Context(), "sluice-controller", metav1.GetOptions{})
	local, err2 := roles.Roles(space).Get(t.Context(), "sluice-controller", metav1.GetOptions{})
	events, err3 := roles.Roles("default").Get(t.Context(), "sluice-controller-events", metav1.GetOptions{})
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	seen.leftOver(t, slices.Concat(cluster.Rules, local.Rules, events.Rules))
}

// TestAgentsRightsAreThoseItUses does the same for the agent.
func TestAgentsRightsAreThoseItUses(t *testing.T) {
	config := installed(t)
	pod := manned(t, config)
	seen := &witness{rights: map[string]bool{}}
	client, err := nodekube.Connect(seen.watched(bearer(t, config, "sluice-agent", pod).config), nil)
	if err != nil {
		t.Fatal(err)
	}
	inbox := &nodekube.Inbox{Client: client, Node: "n1"}
	if _, err := inbox.Order(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	over := make(chan struct{})
	go func() { defer close(over); inbox.Watch(ctx, stop) }()
	if err := inbox.Tell(t.Context(), nodeops.Report{Phase: nodeops.Done, BootID: "b"}); err != nil {
		t.Error(err)
	}
	await(t, "somebody's change wakes it", func() bool {
		plane.Kubectl(t, "annotate", "--overwrite", "nodeconfig", "n1", "example.com/at="+strconv.FormatInt(time.Now().UnixNano(), 10))
		return ctx.Err() != nil
	})
	<-over
	role, err := clientOf(t, config).RbacV1().ClusterRoles().Get(t.Context(), "sluice-agent", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen.leftOver(t, role.Rules)
}

func enrolls(t *testing.T, config *rest.Config, client *kube.Client) error {
	if err := bearer(t, config, "sluice-controller", nil).write("POST", homes, nodeConfig("reborn", "")); err != nil {
		return err
	}
	plane.Apply(t, `{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "reborn"}}`)
	_, err := (&kube.Fleet{Client: client, Name: "default", Enroll: true}).Nodes(t.Context())
	return err
}

func orders(t *testing.T, _ *rest.Config, client *kube.Client) error {
	order := nodeops.Order{Node: "duty1", Generation: 1, Config: machine.Config{}.Digest(), Ceiling: impact.Reboot}
	return (&kube.Fleet{Client: client, Name: "default", Enroll: true}).Send(t.Context(), order)
}

// drains meets a pod of a DaemonSet, one that a budget keeps, and one that nobody would make again.
func drains(t *testing.T, config *rest.Config, client *kube.Client) error {
	for _, name := range []string{"kept", "bare"} {
		plane.Apply(t, `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "`+name+`", "namespace": "default", "labels": {"app": "`+name+`"}},
			"spec": {"nodeName": "duty1", "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "none"}]}}`)
	}
	plane.Apply(t, `{"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "kept", "namespace": "default"},
		"spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "kept"}}}}`)
	core := clientOf(t, config)
	await(t, "the budget is counted, and the agent's pod is there", func() bool {
		budget, err := core.PolicyV1().PodDisruptionBudgets("default").Get(t.Context(), "kept", metav1.GetOptions{})
		pods, wrong := core.CoreV1().Pods(space).List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=duty1"})
		return err == nil && wrong == nil && budget.Status.ObservedGeneration > 0 && budget.Status.CurrentHealthy == 1 && len(pods.Items) > 0
	})
	fleet := &kube.Fleet{Client: client, Name: "default", Retry: 50 * time.Millisecond}
	defer fleet.Close()
	if err := fleet.Drain(t.Context(), reconciler.Drain{Node: "duty1", Force: true}); err != nil {
		return err
	}
	await(t, "the node is empty", func() bool {
		nodes, err := fleet.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(nodes, func(n reconciler.Node) bool { return n.Name == "duty1" && n.Drained })
	})
	return fleet.Uncordon(t.Context(), "duty1")
}

func remembers(t *testing.T, _ *rest.Config, client *kube.Client) error {
	store := &kube.Store{Client: client, Namespace: space, Fleet: "duties"}
	if _, err := store.Load(t.Context()); err != nil {
		return err
	}
	for i := range 13 {
		c := machine.Config{Files: []machine.File{{Path: fmt.Sprintf("/etc/%d", i)}}}
		for range 2 { // the second time it is there
			if err := store.Keep(t.Context(), c); err != nil {
				return err
			}
		}
		if err := store.Save(t.Context(), reconciler.State{Seen: fmt.Sprint(i)}); err != nil {
			return err
		}
	}
	return store.Collect(t.Context(), time.Now().Add(48*time.Hour), nil)
}

func shows(t *testing.T, _ *rest.Config, client *kube.Client) error {
	board := &kube.Board{Client: client, Fleet: "default"}
	state := reconciler.State{Pools: map[string]reconciler.Pool{"duty": {Phase: reconciler.Updated}}}
	if err := board.Show(t.Context(), state); err != nil {
		return err
	}
	if err := board.Show(t.Context(), reconciler.State{}); err != nil {
		return err
	}
	_, err := client.Asked(t.Context(), "default")
	return err
}

func certifies(t *testing.T, _ *rest.Config, client *kube.Client) error {
	c := &kube.Certificate{Client: client, Namespace: space, Log: slog.New(slog.DiscardHandler)}
	if err := c.Check(t.Context(), time.Now); err != nil {
		return err
	}
	return c.Check(t.Context(), func() time.Time { return time.Now().AddDate(11, 0, 0) }) // all of it has run out
}

func asks(t *testing.T, config *rest.Config, client *kube.Client) error {
	var pod *corev1.Pod
	core := clientOf(t, config)
	await(t, "node duty1 has its agent", func() bool {
		pods, err := core.CoreV1().Pods(space).List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=duty1", LabelSelector: "app.kubernetes.io/component=agent"})
		if err != nil || len(pods.Items) == 0 {
			return false
		}
		pod = &pods.Items[0]
		return true
	})
	token, err := core.CoreV1().ServiceAccounts(space).CreateToken(t.Context(), "sluice-agent", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences:      []string{"sluice-content"},
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	node, _, err := (&kube.Content{Client: client, Namespace: space}).Ordered(t.Context(), token.Status.Token)
	if err == nil && node != "duty1" {
		err = fmt.Errorf("it is of node %q", node)
	}
	return err
}

func tells(t *testing.T, config *rest.Config, client *kube.Client) error {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var said strings.Builder
	events := &kube.Events{Client: client, Fleet: "default", Log: slog.New(slog.NewTextHandler(&said, nil))}
	over := make(chan struct{})
	go func() { defer close(over); events.Run(ctx) }()
	board := &kube.Board{Client: client, Fleet: "default"}
	if err := board.Show(ctx, reconciler.State{Pools: map[string]reconciler.Pool{"duty": {Phase: reconciler.Updated}}}); err != nil {
		return err
	}
	news := kube.News{Kind: "Node", Name: "duty1", Reason: "Tested", Note: "twice"}
	events.Tell(kube.News{Kind: "Pool", Name: "duty", Reason: "Seen"}, news, news)
	deadline, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for deadline.Err() == nil {
		all, err := clientOf(t, config).EventsV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "reason=Tested"})
		if err == nil && len(all.Items) == 1 && all.Items[0].Series != nil {
			break
		}
		select {
		case <-deadline.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	stop()
	<-over
	if said.Len() > 0 || deadline.Err() != nil {
		return fmt.Errorf("no event that counts two: %s", said.String())
	}
	return nil
}

func holds(t *testing.T, _ *rest.Config, client *kube.Client) error {
	lease := &kube.Lease{Client: client, Namespace: space, Name: "sluice-default", Identity: "a test"}
	worked := false
	err := lease.Hold(t.Context(), func(context.Context) error { worked = true; return nil })
	if err == nil && !worked {
		err = fmt.Errorf("it was not held")
	}
	return err
}
