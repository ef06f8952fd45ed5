package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

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

// ask has the filters of the drain library judge the pods, one of each look.
func (c *Collector) ask() error {
	refusing, err := kubernetes.NewForConfigAndClient(&rest.Config{Host: "https://record.invalid"}, &http.Client{Transport: sealed{}})
	if err != nil {
		return fmt.Errorf("open the record: %w", err)
	}
	r := &record{Interface: refusing, sets: c.sets}
	library := helper(r)
	answers := map[look]answer{}
	for _, p := range c.pods {
		like := p.look()
		a, ok := answers[like]
		if !ok {
			if a, err = p.alone(library, r); err != nil {
				return err
			}
			answers[like] = a
		}
		p.Fate, p.Refusal, p.Why = a.fate, a.refusal, a.why
	}
	return nil
}

// look is all of a pod that the library's filters look at, its name apart, which is in their words
// only. Pods that look alike fare alike, in whatever company.
type look struct {
	namespace, phase          string
	scratch, static, deleting bool
	owned                     bool
	version, kind, name       string // of the controller
}

func (p *pod) look() look {
	_, static := p.notes[corev1.MirrorPodAnnotationKey]
	l := look{namespace: p.Namespace, phase: p.Phase, scratch: p.Scratch, static: static, deleting: !p.Deleting.IsZero()}
	for _, o := range p.owners {
		if o.Controller != nil && *o.Controller {
			l.owned, l.version, l.kind, l.name = true, o.APIVersion, o.Kind, o.Name
			break
		}
	}
	return l
}

// answer is what the library says of a look.
type answer struct {
	fate    blockers.Fate
	refusal blockers.Refusal
	why     string
}

// helper drains with the options that MCO uses, but for one: force is off, so that a pod that
// nobody would create again is refused instead of lost.
func helper(r *record) *drain.Helper {
	return &drain.Helper{
		Ctx: context.Background(), Client: r, GracePeriodSeconds: -1, IgnoreAllDaemonSets: true, DeleteEmptyDirData: true,
		Out: io.Discard, ErrOut: io.Discard,
	}
}

// alone asks about one pod.
func (p *pod) alone(library *drain.Helper, r *record) (answer, error) {
	r.node, r.pods = p.Node, append(r.pods[:0], p.shown())
	goes, why := library.GetPodsForDeletion(r.node)
	switch {
	case goes == nil:
		return answer{}, fmt.Errorf("ask the drain library about node %s: %w", r.node, errors.Join(why...))
	case len(why) == 0 && len(goes.Pods()) == 0:
		return answer{fate: blockers.Stays}, nil
	case len(why) == 0:
		return answer{fate: blockers.Evicted}, nil
	}
	a := answer{blockers.Refused, blockers.Other, strings.TrimSuffix(why[0].Error(), ": "+p.Namespace+"/"+p.Name)}
	switch up, ok := controller(p.Namespace, p.owners); {
	case !ok:
		a.refusal = blockers.Bare
	case up.kind == "DaemonSet":
		a.refusal = blockers.Orphan
	}
	return a, nil
}

// shown is the pod as far as the library's filters look at it.
func (p *pod) shown() corev1.Pod {
	out := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: p.Namespace, Name: p.Name, Labels: p.Labels, Annotations: p.notes, Finalizers: p.Finalizers, OwnerReferences: p.owners,
	}}
	if !p.Deleting.IsZero() {
		out.DeletionTimestamp = &metav1.Time{Time: p.Deleting}
	}
	out.Spec.NodeName = p.Node
	if p.Scratch {
		out.Spec.Volumes = scratch
	}
	out.Status.Phase = corev1.PodPhase(p.Phase)
	return out
}

var scratch = []corev1.Volume{{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
