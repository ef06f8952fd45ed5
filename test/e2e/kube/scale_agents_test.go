package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop/hosttest"
	hostkube "github.com/sluice-gitops/sluice/nodeops/host/kube"
)

// crowd is many nodes with their agents, all in this process: of each the whole mind, its inbox on
// the server, and its configs over TLS, each with the credentials of its own pod. Only disk, services
// and boots are in memory.
type crowd struct {
	rig   *Rig
	names []string
	group sync.WaitGroup
	stop  context.CancelFunc
}

func nodeName(i int) string { return fmt.Sprintf("node-%05d", i) }

// atOnce does something for each of n, some at a time.
func atOnce(n int, do func(i int) error) error {
	var group sync.WaitGroup
	errs := make([]error, n)
	slots := make(chan struct{}, 16)
	for i := range n {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			errs[i] = do(i)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// populate makes the Nodes of one pool. Nobody renews their leases: they are ready while they say so.
func (r *Rig) populate(t *testing.T, n int) []string {
	t.Helper()
	names := make([]string, n)
	began := time.Now()
	r.must(atOnce(n, func(i int) error {
		m := &machine{rig: r, name: nodeName(i), pool: "worker"}
		names[i] = m.name
		labels := map[string]string{
			"node-role.kubernetes.io/worker": "", "topology.kubernetes.io/zone": zones[i%len(zones)],
			corev1.LabelHostname: m.name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		}
		if _, err := r.core.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.name, Labels: labels}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		return m.post(t.Context(), true, "boot-0") // as a hosttest.Box calls it
	}))
	t.Logf("%d nodes stand after %s", n, time.Since(began).Round(time.Second))
	return names
}

// join starts an agent for each node. They go away with the test.
func (r *Rig) join(t *testing.T, names []string) *crowd {
	t.Helper()
	began := time.Now()
	pods := map[string]*corev1.Pod{}
	r.await("the DaemonSet has a pod on every node", func() bool {
		list, err := r.core.CoreV1().Pods(Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=agent"})
		r.must(err)
		for i := range list.Items {
			if p := &list.Items[i]; p.Spec.NodeName != "" && p.DeletionTimestamp == nil {
				pods[p.Spec.NodeName] = p
			}
		}
		return len(pods) >= len(names)
	})
	r.await("the authority of the contents is published", func() bool { _, err := os.Stat(r.contentCA()); return err == nil })
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{rig: r, names: names, stop: stop}
	t.Cleanup(func() { stop(); c.group.Wait() })
	r.must(os.MkdirAll(filepath.Join(r.dir, "tokens"), 0o700))
	r.must(atOnce(len(names), func(i int) error {
		inbox, err := c.inbox(ctx, names[i], pods[names[i]])
		if err != nil {
			return err
		}
		c.group.Go(func() { c.live(ctx, inbox) })
		return nil
	}))
	t.Logf("%d agents run after %s", len(names), time.Since(began).Round(time.Second))
	return c
}

func (c *crowd) inbox(ctx context.Context, node string, pod *corev1.Pod) (*hostkube.Inbox, error) {
	bound := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	token, err := c.rig.token(ctx, agentName, bound)
	if err != nil {
		return nil, err
	}
	content, err := c.rig.token(ctx, agentName, bound, "sluice-content")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(c.rig.dir, "tokens", node)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		return nil, err
	}
	server := rest.TLSClientConfig{CAData: c.rig.config.CAData, CAFile: c.rig.config.CAFile}
	client, err := hostkube.Connect(&rest.Config{Host: c.rig.config.Host, BearerToken: token, TLSClientConfig: server}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	inbox := &hostkube.Inbox{Client: client, Node: node, Content: hostkube.Content{CA: c.rig.contentCA(), Token: file}}
	for _, k := range c.rig.controllers {
		inbox.Content.URLs = append(inbox.Content.URLs, "https://"+k.content)
	}
	return inbox, nil
}

// live is one node: an agent for each boot.
func (c *crowd) live(ctx context.Context, inbox *hostkube.Inbox) {
	disk, box, wake := &hosttest.Disk{}, &hosttest.Box{}, make(chan struct{}, 1)
	go inbox.Watch(ctx, func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	for ctx.Err() == nil {
		agent := &loop.Loop{
			Inbox: inbox, Files: disk, Units: &hosttest.Services{}, OS: box,
			Now: inbox.Client.Clock.Now, Wary: true,
		}
		if agent.Run(ctx, time.Minute, wake) == nil {
			return // the context has ended
		}
		kubelet := &machine{rig: c.rig, name: inbox.Node}
		for ctx.Err() == nil {
			if id, _ := box.BootID(ctx); kubelet.post(ctx, true, id) == nil {
				break
			}
			pause(ctx)
		}
	}
}
