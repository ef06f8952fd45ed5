package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
)

var (
	nodesResource   = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	podsResource    = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	configsResource = v1alpha1.GroupVersion.WithResource("nodeconfigs")
)

// watched are the kinds that an observer sees.
var watched = []schema.GroupVersionResource{nodesResource, podsResource, configsResource}

// observer sees every version of Nodes, NodeConfigs and Pods, with a client of its own.
type observer struct {
	client dynamic.Interface
	poolOf func(labels map[string]string) string

	mu      sync.Mutex
	moments []Moment
	last    map[schema.GroupVersionResource]map[string]Moment
	hands   []uint64
	gaps    int // how often versions were lost, since the server no longer had them

	stop  context.CancelFunc
	group sync.WaitGroup
}

func observe(client dynamic.Interface, poolOf func(map[string]string) string) *observer {
	ctx, stop := context.WithCancel(context.Background())
	o := &observer{client: client, poolOf: poolOf, stop: stop, last: map[schema.GroupVersionResource]map[string]Moment{}}
	for _, kind := range watched {
		o.last[kind] = map[string]Moment{}
		o.group.Go(func() { o.follow(ctx, kind) })
	}
	return o
}

func (o *observer) close() {
	o.stop()
	o.group.Wait()
}

// follow sees one kind until the context ends. Where the server has stopped it goes on where it was.
func (o *observer) follow(ctx context.Context, kind schema.GroupVersionResource) {
	version, seen := "", false
	for ctx.Err() == nil {
		if version == "" {
			list, err := o.client.Resource(kind).List(ctx, metav1.ListOptions{})
			if err != nil {
				pause(ctx)
				continue
			}
			o.replace(kind, list, seen)
			version, seen = list.GetResourceVersion(), true
		}
		w, err := o.client.Resource(kind).Watch(ctx, metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true})
		if err == nil {
			version, err = o.see(kind, w, version)
			w.Stop()
		}
		if apierrors.IsGone(err) || apierrors.IsResourceExpired(err) {
			version = ""
		}
		pause(ctx)
	}
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(100 * time.Millisecond):
	}
}

// see takes what a watch brings, to its end.
func (o *observer) see(kind schema.GroupVersionResource, w watch.Interface, version string) (string, error) {
	for event := range w.ResultChan() {
		if event.Type == watch.Error {
			return version, apierrors.FromObject(event.Object)
		}
		object, ok := event.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		version = object.GetResourceVersion()
		if event.Type != watch.Bookmark {
			o.note(kind, object, event.Type == watch.Deleted)
		}
	}
	return version, nil
}

func (o *observer) note(kind schema.GroupVersionResource, object *unstructured.Unstructured, gone bool) {
	m, err := o.moment(kind, object)
	if err != nil {
		return // of a kind that cannot be read nothing was promised; replace and caughtUp would miss it
	}
	m.Gone = gone
	o.mu.Lock()
	defer o.mu.Unlock()
	o.add(kind, m)
}

func (o *observer) add(kind schema.GroupVersionResource, m Moment) {
	if known, ok := o.last[kind][m.Name]; ok && known.Version >= m.Version {
		return
	}
	o.moments = append(o.moments, m)
	if o.last[kind][m.Name] = m; m.Gone {
		delete(o.last[kind], m.Name)
	}
}

// replace takes a list in the place of what is known.
func (o *observer) replace(kind schema.GroupVersionResource, list *unstructured.UnstructuredList, gap bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	there := map[string]bool{}
	for i := range list.Items {
		m, err := o.moment(kind, &list.Items[i])
		if err != nil {
			continue
		}
		there[m.Name] = true
		if known, ok := o.last[kind][m.Name]; gap && (!ok || known.Version != m.Version) {
			o.gaps++
		}
		o.add(kind, m)
	}
	at, _ := strconv.ParseUint(list.GetResourceVersion(), 10, 64)
	for _, m := range maps.Clone(o.last[kind]) {
		if !there[m.Name] {
			m.Version, m.Gone = at, true
			o.gaps++
			o.add(kind, m)
		}
	}
}

// moment is what of an object counts.
func (o *observer) moment(kind schema.GroupVersionResource, object *unstructured.Unstructured) (m Moment, err error) {
	if m.Version, err = strconv.ParseUint(object.GetResourceVersion(), 10, 64); err != nil {
		return m, err
	}
	m.Name = object.GetName()
	read := func(into any) { err = runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into) }
	switch kind {
	case nodesResource:
		var n corev1.Node
		read(&n)
		m.Node = &Node{
			Pool: o.poolOf(n.Labels), Closed: n.Spec.Unschedulable, Mark: n.Annotations["sluice.dev/cordoned-by"],
			Ready: nodeReady(&n), BootID: n.Status.NodeInfo.BootID,
			Tainted: slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == "sluice.dev/outdated" }),
		}
	case configsResource:
		var c v1alpha1.NodeConfig
		read(&c)
		m.Order = &Order{UID: string(c.UID), Generation: c.Spec.Generation, Config: c.Spec.Config, Heard: c.Status.Generation}
	case podsResource:
		var p corev1.Pod
		read(&p)
		m.Name = p.Namespace + "/" + p.Name
		owner := metav1.GetControllerOf(&p)
		m.Pod = &Pod{
			Node: p.Spec.NodeName, App: p.Labels["app"], Daemon: owner != nil && owner.Kind == "DaemonSet",
			Ended: p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
			Works: p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			}),
		}
	}
	return m, err
}

func nodeReady(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// hand says that somebody who is no part of Sluice has written a version of a node.
func (o *observer) hand(version string) {
	v, _ := strconv.ParseUint(version, 10, 64)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hands = append(o.hands, v)
}

// caughtUp says what of the cluster as it is now was not seen yet; nil: nothing.
func (o *observer) caughtUp(ctx context.Context) error {
	for _, kind := range watched {
		list, err := o.client.Resource(kind).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		at, _ := strconv.ParseUint(list.GetResourceVersion(), 10, 64)
		there := map[string]uint64{}
		for i := range list.Items {
			m, err := o.moment(kind, &list.Items[i])
			if err != nil {
				return fmt.Errorf("%s %s: %w", kind.Resource, list.Items[i].GetName(), err)
			}
			there[m.Name] = m.Version
		}
		o.mu.Lock()
		var errs []error
		for name, version := range there {
			if o.last[kind][name].Version < version {
				errs = append(errs, fmt.Errorf("%s %s", kind.Resource, name))
			}
		}
		for name, m := range o.last[kind] {
			if _, ok := there[name]; !ok && m.Version <= at {
				errs = append(errs, fmt.Errorf("%s %s is gone", kind.Resource, name))
			}
		}
		o.mu.Unlock()
		if len(errs) > 0 {
			return errors.Join(errs...)
		}
	}
	return nil
}

// record is what was seen so far.
func (o *observer) record() Record {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := Record{Moments: slices.Clone(o.moments), Hands: slices.Clone(o.hands)}
	slices.SortStableFunc(r.Moments, func(a, b Moment) int { return cmp.Compare(a.Version, b.Version) })
	return r
}

// missed is how many objects had changed when the server could no longer say how.
func (o *observer) missed() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.gaps
}

// nodes are the nodes as they were seen last.
func (o *observer) nodes() map[string]Node {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string]Node{}
	for name, m := range o.last[nodesResource] {
		out[name] = *m.Node
	}
	return out
}

// story is what was seen of one node since a version, a line for each moment.
func (r Record) story(node string) string {
	var out strings.Builder
	for _, m := range r.Moments {
		switch {
		case m.Name != node:
		case m.Node != nil:
			fmt.Fprintf(&out, "%d node closed=%t by=%q ready=%t boot=%.8s gone=%t\n", m.Version, m.Node.Closed, m.Node.Mark, m.Node.Ready, m.Node.BootID, m.Gone)
		case m.Order != nil:
			fmt.Fprintf(&out, "%d order %d of %.8s, taken up %d\n", m.Version, m.Order.Generation, m.Order.Config, m.Order.Heard)
		}
	}
	return out.String()
}
