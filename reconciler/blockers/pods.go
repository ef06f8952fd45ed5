package blockers

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/policy"
)

// Totals are the pods on the nodes that are drained, as recorded.
type Totals struct {
	Nodes    int           `json:"nodes"`    // that are drained
	Evicted  int           `json:"evicted"`  // asked to go, by the budgets' leave
	Deleted  int           `json:"deleted"`  // finished, never started or being deleted already: no budget protects them
	Stay     int           `json:"stay"`     // of DaemonSets, static, or skipped by the policy: they end with the node
	Refused  int           `json:"refused"`  // that drain will not touch
	Scratch  int           `json:"scratch"`  // of those that go, the pods whose emptyDir is lost
	Grace    time.Duration `json:"grace"`    // nanoseconds: the longest that a pod may take to end once it was told to; exact as a bound
	Headroom []Room        `json:"headroom"` // the tightest wave for each resource; an estimate
}

// String is the totals in one sentence.
func (t Totals) String() string {
	out := fmt.Sprintf("%s: %s evicted", plural(t.Nodes, "node is drained", "nodes are drained"), plural(t.Evicted, "pod", "pods"))
	for _, part := range []struct {
		n     int
		words string
	}{{t.Deleted, "deleted"}, {t.Stay, "end with the node"}, {t.Refused, "refused"}} {
		if part.n > 0 {
			out += fmt.Sprintf(", %d %s", part.n, part.words)
		}
	}
	if t.Scratch > 0 {
		out += fmt.Sprintf("; %s an emptyDir", plural(t.Scratch, "pod loses", "pods lose"))
	}
	if t.Grace > 0 {
		out += fmt.Sprintf("; a pod may take %s to end", plain(t.Grace))
	}
	return out
}

// action is what an entry of the policy says of a pod; "" when none matches.
func (f *finder) action(p *Pod) string {
	for _, rule := range f.drain.Pods {
		if matches(rule, p) {
			return rule.Action
		}
	}
	return ""
}

func matches(rule policy.Pods, p *Pod) bool {
	if rule.Namespace != "" && rule.Namespace != p.Namespace {
		return false
	}
	for key, value := range rule.Labels {
		if got, ok := p.Labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// pod sorts one pod of a drained node, and says what is to be said of it alone. What stays by its
// nature stays whatever the policy says; skip, wait and block hold for pods that drain would
// refuse, too.
func (f *finder) pod(w *wave, p *Pod, reboots bool) {
	action := f.action(p)
	finished := p.Phase == "Succeeded" || p.Phase == "Failed"
	switch {
	case p.Fate == Stays || action == "skip":
		f.totals.Stay++
		if reboots {
			w.ending = append(w.ending, p)
		}
		return
	case action == "block" && !finished:
		f.totals.Refused++
		f.say(w, p.blocker(BlockedByRule, f.hard(), Exact, "drain.pods of the policy says block: the node is not drained while the pod is there"))
		return
	case p.Fate == Refused && action != "wait":
		f.totals.Refused++
		f.refused(w, p)
		return
	case action == "wait" && !finished:
		f.totals.Deleted++ // once it has ended
		f.say(w, p.blocker(WaitedFor, Warns, AsRecorded, "drain.pods of the policy says wait: the node is drained when the pod has ended by itself"))
		return
	}
	if p.unprotected() {
		f.totals.Deleted++
	} else {
		f.totals.Evicted++
	}
	if !finished {
		w.leaving = append(w.leaving, p)
		f.alone(w, p)
	}
	if p.Scratch {
		f.totals.Scratch++
	}
}

// refused says why the drain library does not touch a pod.
func (f *finder) refused(w *wave, p *Pod) {
	switch p.Refusal {
	case Bare:
		f.say(w, p.blocker(BarePod, f.hard(), AsRecorded, "it has no controller: once evicted nobody would create it again, so drain refuses"))
	case Orphan:
		f.say(w, p.blocker(OrphanPod, f.hard(), AsRecorded, "its DaemonSet is gone: drain refuses"))
	default:
		f.say(w, p.blocker(RefusedPod, f.hard(), AsRecorded, "drain refuses: "+p.Why))
	}
}

// alone is what holds for a pod that goes, whoever goes with it.
func (f *finder) alone(w *wave, p *Pod) {
	if p.Deleting.IsZero() {
		f.totals.Grace = max(f.totals.Grace, p.Grace)
	}
	if stuck := f.At.Sub(p.Deleting); !p.Deleting.IsZero() && stuck > time.Minute {
		why := fmt.Sprintf("its grace period was over %s before the snapshot and it is still there", stuck.Round(time.Second))
		if len(p.Finalizers) > 0 {
			why += ", kept by " + strings.Join(p.Finalizers, ", ")
		}
		f.say(w, p.blocker(Terminating, f.hard(), AsRecorded, why))
	}
	if limit := timeout(f.drain); p.Deleting.IsZero() && p.Grace > limit {
		f.say(w, p.workloadBlocker(GracePeriod, Warns, Exact, fmt.Sprintf("pod %s may take %s to end, and the drain gives up after %s", p.Name, plain(p.Grace), plain(limit))))
	}
	if len(p.Pins) > 0 {
		f.say(w, p.workloadBlocker(LocalStorage, Warns, AsRecorded,
			fmt.Sprintf("pod %s has its data on the node (%s): it can start nowhere else, and waits until the node is back", p.Name, strings.Join(p.Pins, ", "))))
	} else if len(p.Folders) > 0 {
		f.say(w, p.workloadBlocker(LocalStorage, Warns, AsRecorded,
			fmt.Sprintf("pod %s uses %s of the node: on another node it finds that node's own", p.Name, strings.Join(p.Folders, ", "))))
	}
	if p.Job != "" && p.Phase == "Running" {
		b := p.blocker(RunningJob, Warns, AsRecorded, fmt.Sprintf("pod %s is at work: it is stopped, and its work is lost or done again", p.Name))
		b.Name = p.Job
		f.say(w, b)
	}
	if len(p.Vetoes) > 0 {
		f.say(w, p.workloadBlocker(Veto, Warns, AsRecorded,
			fmt.Sprintf("pod %s asks not to be disturbed (%s): drain does not ask, and evicts it", p.Name, strings.Join(p.Vetoes, ", "))))
	}
}

// unprotected says whether the API deletes the pod without asking a budget, as its eviction
// handler does.
func (p *Pod) unprotected() bool {
	return p.Phase == "Succeeded" || p.Phase == "Failed" || p.Phase == "Pending" || !p.Deleting.IsZero()
}

func (p *Pod) blocker(k Kind, s Severity, m Mark, why string) Blocker {
	return Blocker{Kind: k, Severity: s, Mark: m, Node: p.Node, Namespace: p.Namespace, Name: p.Name, Reason: why}
}

// workloadBlocker is named by the workload where there is one: its replicas are one thing.
func (p *Pod) workloadBlocker(k Kind, s Severity, m Mark, why string) Blocker {
	b := p.blocker(k, s, m, why)
	if p.Workload != nil {
		b.Name = p.Workload.Name
	}
	return b
}
