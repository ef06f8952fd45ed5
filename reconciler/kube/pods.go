package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/kubectl/pkg/drain"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
)

// leftover is a pod that keeps a node from being empty.
type leftover struct {
	pod  *corev1.Pod
	goes bool   // it is to be evicted
	kept bool   // by the policy's own word, whatever happens
	why  string // it is not evicted, or has not ended; "" when that takes its time only
}

// left are the pods that have to leave a node, by namespace and name. What the drain library
// leaves where it is, stays: pods of DaemonSets and static ones. Of those that it would only
// delete by force, the ones that nobody would create again are refused, as previews foretell.
func (f *Fleet) left(ctx context.Context, client *Client, node *corev1.Node, d reconciler.Drain) ([]leftover, error) {
	helper := &drain.Helper{
		Ctx: ctx, Client: daemonSets{client.core, &f.sets}, Force: true, GracePeriodSeconds: -1, IgnoreAllDaemonSets: true, DeleteEmptyDirData: true,
		Out: io.Discard, ErrOut: io.Discard,
	}
	if !ready(node) {
		helper.SkipWaitForDeleteTimeoutSeconds = 1 // nobody is there to say that they have ended
	}
	list, errs := helper.GetPodsForDeletion(node.Name)
	if len(errs) > 0 {
		return nil, fmt.Errorf("list the pods of node %s: %w", node.Name, errors.Join(errs...))
	}
	var out []leftover
	for _, pod := range list.Pods() {
		if l := judge(&pod, d, f.Client.Clock.Now()); l.pod != nil {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b leftover) int {
		return cmp.Or(cmp.Compare(a.pod.Namespace, b.pod.Namespace), cmp.Compare(a.pod.Name, b.pod.Name))
	})
	return out, nil
}

// judge says what becomes of a pod that the library would delete by force; one that may stay is none.
func judge(pod *corev1.Pod, d reconciler.Drain, now time.Time) leftover {
	l := leftover{pod: pod}
	action := actionOf(d.Pods, pod)
	finished := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	owner := metav1.GetControllerOf(pod)
	switch {
	case action == "skip":
		return leftover{}
	case pod.DeletionTimestamp != nil:
		if late := now.Sub(pod.DeletionTimestamp.Time); late > time.Minute {
			l.why = fmt.Sprintf("its grace period was over %s ago and it is still there", late.Round(time.Minute))
			if len(pod.Finalizers) > 0 {
				l.why += ", kept by " + strings.Join(pod.Finalizers, ", ")
			}
		}
	case finished:
		l.goes = true
	case action == "block":
		l.kept, l.why = true, "drain.pods of the policy says block"
	case d.Force:
		l.goes = true
	case action == "wait":
		l.why = "drain.pods of the policy says wait, and it has not ended yet"
	case owner == nil:
		l.why = "it has no controller: once evicted nobody would create it again"
	case owner.Kind == "DaemonSet": // the library passes over those whose DaemonSet is there
		l.why = "its DaemonSet is gone"
	default:
		l.goes = true
	}
	return l
}

// actionOf is what the first entry that matches a pod says of it; "" where none does.
func actionOf(rules []policy.Pods, pod *corev1.Pod) string {
	for _, r := range rules {
		if r.Namespace != "" && r.Namespace != pod.Namespace {
			continue
		}
		fits := true
		for key, value := range r.Labels {
			has, ok := pod.Labels[key]
			fits = fits && ok && has == value
		}
		if fits {
			return r.Action
		}
	}
	return ""
}

// evictAll asks those that are to leave, some at a time. It answers with why each of them does not,
// "" for those that do.
func (f *Fleet) evictAll(ctx context.Context, left []leftover, force bool) map[types.UID]string {
	var group sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, 8)
	tried := map[types.UID]string{}
	for _, l := range left {
		if !l.goes {
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			why := ""
			if err := f.evict(ctx, l.pod, force); err != nil {
				why = refusal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			tried[l.pod.UID] = why
		})
	}
	group.Wait()
	return tried
}

// evict asks one pod to leave; with force, one that may not is deleted. Only this very pod: a
// namesake that was made elsewhere meanwhile is none of ours. The request is sent once: the client
// would wait as long as the server asks for, and nobody would hear why.
func (f *Fleet) evict(ctx context.Context, pod *corev1.Pod, force bool) error {
	only := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}}
	body := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}, DeleteOptions: &only}
	err := f.evictor().core.CoreV1().RESTClient().Post().MaxRetries(0).Namespace(pod.Namespace).Resource("pods").Name(pod.Name).
		SubResource("eviction").VersionedParams(&metav1.CreateOptions{}, scheme.ParameterCodec).Body(body).Do(ctx).Error()
	if force && err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		forced := f.evictor().core.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, only)
		if apierrors.IsForbidden(forced) { // an installation may do without force
			forced = fmt.Errorf("%s; by force: %w: the chart's rbac.deletePods gives the controller that right", refusal(err), forced)
		}
		err = forced
	}
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// refusal is why an eviction was refused; of a budget, which one and what it counts.
func refusal(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		for _, cause := range status.Status().Details.Causes {
			if cause.Type == policyv1.DisruptionBudgetCause {
				return strings.TrimSuffix(strings.Replace(cause.Message, "The disruption budget ", "PodDisruptionBudget ", 1), ".")
			}
		}
	}
	return err.Error()
}

// emptiness says whether a node under our cordon is empty, and what stands in the way.
func (f *Fleet) emptiness(ctx context.Context, node *corev1.Node) (drained bool, blocked string, err error) {
	f.mu.Lock()
	job := f.job(node.Name)
	f.mu.Unlock()
	if job.left, err = f.left(ctx, f.Client, node, job.said); err != nil {
		return false, "", err
	}
	drained, blocked = job.standing(node)
	f.mu.Lock()
	defer f.mu.Unlock()
	if delete(f.emptied, node.Name); drained {
		if f.emptied == nil {
			f.emptied = map[string]time.Time{}
		}
		f.emptied[node.Name] = time.Now()
	}
	return drained, blocked, nil
}

// standing is what keeps a node from being empty, as it was seen last. Of a node that does not answer
// it is enough that all were asked: it must not stay out of reach.
func (job drainage) standing(node *corev1.Node) (drained bool, blocked string) {
	var why []string
	drained = true
	for _, l := range job.left {
		refused, asked := job.tried[l.pod.UID]
		if ready(node) || l.kept || l.pod.DeletionTimestamp != nil || l.goes && !asked || job.rounds == 0 {
			drained = false
		}
		if l.why = cmp.Or(l.why, refused); l.why != "" {
			why = append(why, fmt.Sprintf("pod %s/%s: %s", l.pod.Namespace, l.pod.Name, l.why))
		}
	}
	if drained || len(why) == 0 {
		return drained, ""
	}
	if more := len(why) - 1; more > 0 {
		return false, fmt.Sprintf("%s (and %d more)", why[0], more)
	}
	return false, why[0]
}
