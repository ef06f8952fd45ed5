package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	typedapps "k8s.io/client-go/kubernetes/typed/apps/v1"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/kubectl/pkg/drain"

	"github.com/sluice-gitops/sluice/reconciler/blockers"
)

func labelSet(m map[string]string) labels.Set { return m }

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
}

// record answers the drain library's questions from what was collected: the pods of one node, and
// whether a DaemonSet is there. Every other call reaches a transport that refuses it.
type record struct {
	kubernetes.Interface
	sets map[key]bool
	node string
	pods []corev1.Pod
}

func (r *record) CoreV1() typedcore.CoreV1Interface { return &recordedCore{r.Interface.CoreV1(), r} }
func (r *record) AppsV1() typedapps.AppsV1Interface { return &recordedApps{r.Interface.AppsV1(), r} }

type recordedCore struct {
	typedcore.CoreV1Interface
	from *record
}

func (c *recordedCore) Pods(namespace string) typedcore.PodInterface {
	return &recordedPods{c.CoreV1Interface.Pods(namespace), c.from}
}

type recordedPods struct {
	typedcore.PodInterface
	from *record
}

// List answers for the node that is asked about, and for no other.
func (p *recordedPods) List(_ context.Context, opts metav1.ListOptions) (*corev1.PodList, error) {
	if want := "spec.nodeName=" + p.from.node; opts.FieldSelector != want {
		return nil, fmt.Errorf("list pods with %q: the record is open at %q", opts.FieldSelector, want)
	}
	return &corev1.PodList{Items: p.from.pods}, nil
}

type recordedApps struct {
	typedapps.AppsV1Interface
	from *record
}

func (a *recordedApps) DaemonSets(namespace string) typedapps.DaemonSetInterface {
	return &recordedSets{a.AppsV1Interface.DaemonSets(namespace), namespace, a.from}
}

type recordedSets struct {
	typedapps.DaemonSetInterface
	namespace string
	from      *record
}

func (s *recordedSets) Get(_ context.Context, name string, _ metav1.GetOptions) (*appsv1.DaemonSet, error) {
	if !s.from.sets[key{s.namespace, name}] {
		return nil, apierrors.NewNotFound(appsv1.Resource("daemonsets"), name)
	}
	return &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}, nil
}

// sealed is a transport that nothing passes.
type sealed struct{}

func (sealed) RoundTrip(req *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, errSealed)
}

var errSealed = errors.New("a record answers no such question, and changes nothing")

// ask has the filters of the drain library judge every pod, node by node; nodes are shared among
// the processors.
func (c *Collector) ask() error {
	refusing, err := kubernetes.NewForConfigAndClient(&rest.Config{Host: "https://record.invalid"}, &http.Client{Transport: sealed{}})
	if err != nil {
		return fmt.Errorf("open the record: %w", err)
	}
	var crews sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	errs := make([]error, n)
	for i := range n {
		from, to := c.border(len(c.pods)*i/n), c.border(len(c.pods)*(i+1)/n)
		crews.Go(func() { errs[i] = c.judge(refusing, c.pods[from:to]) })
	}
	crews.Wait()
	return errors.Join(errs...)
}

// border is the first place from i on at which another node begins.
func (c *Collector) border(i int) int {
	for i > 0 && i < len(c.pods) && c.pods[i].Node == c.pods[i-1].Node {
		i++
	}
	return i
}

// helper drains with the options that MCO uses, but for one: force is off, so that a pod that
// nobody would create again is refused instead of lost.
func helper(r *record) *drain.Helper {
	return &drain.Helper{
		Ctx: context.Background(), Client: r, GracePeriodSeconds: -1, IgnoreAllDaemonSets: true, DeleteEmptyDirData: true,
		Out: io.Discard, ErrOut: io.Discard,
	}
}

// judge asks about the pods of some nodes. The library tells what it would evict, and what it refuses only in words about a whole node: where
// it refuses, it is asked again about each pod that it would not evict.
func (c *Collector) judge(refusing kubernetes.Interface, pods []pod) error {
	r := &record{Interface: refusing, sets: c.sets}
	library := helper(r)
	for len(pods) > 0 {
		n := slices.IndexFunc(pods, func(p pod) bool { return p.Node != pods[0].Node })
		if n < 0 {
			n = len(pods)
		}
		mine := pods[:n]
		pods = pods[n:]
		r.node, r.pods = mine[0].Node, r.pods[:0]
		for i := range mine {
			r.pods = append(r.pods, mine[i].shown())
		}
		goes, refusals := library.GetPodsForDeletion(r.node)
		if goes == nil {
			return fmt.Errorf("ask the drain library about node %s: %w", r.node, errors.Join(refusals...))
		}
		evicted := map[key]bool{}
		for _, p := range goes.Pods() {
			evicted[key{p.Namespace, p.Name}] = true
		}
		for i := range mine {
			p := &mine[i]
			p.Fate = blockers.Stays
			if evicted[key{p.Namespace, p.Name}] {
				p.Fate = blockers.Evicted
			} else if len(refusals) > 0 {
				p.alone(library, r)
			}
		}
	}
	return nil
}

// alone asks about one pod.
func (p *pod) alone(library *drain.Helper, r *record) {
	r.pods = append(r.pods[:0], p.shown())
	_, why := library.GetPodsForDeletion(r.node)
	if len(why) == 0 {
		return
	}
	words := why[0].Error()
	p.Fate, p.Refusal, p.Why = blockers.Refused, blockers.Other, strings.TrimSuffix(words, ": "+p.Namespace+"/"+p.Name)
	switch up, ok := controller(p.Namespace, p.meta.OwnerReferences); {
	case !ok:
		p.Refusal = blockers.Bare
	case up.kind == "DaemonSet":
		p.Refusal = blockers.Orphan
	}
}

// shown is the pod as far as the library's filters look at it.
func (p *pod) shown() corev1.Pod {
	out := corev1.Pod{ObjectMeta: p.meta}
	out.Spec.NodeName = p.Node
	if p.Scratch {
		out.Spec.Volumes = scratch
	}
	out.Status.Phase = corev1.PodPhase(p.Phase)
	return out
}

var scratch = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
