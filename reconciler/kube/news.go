package kube

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
)

// News is one thing to tell of one object, as an Event shows it.
type News struct {
	Kind, Name string // Node, Pool or Fleet
	Bad        bool
	Reason     string // one word, upper camel case
	Note       string
}

// photo is what two moments are compared by.
type photo struct {
	nodes []reconciler.Node
	state reconciler.State
}

// news is what has changed between two photographs, in a fixed order. It is derived from them alone:
// what happened while nobody looked and is over is not told.
func news(fleet string, was, is photo) []News {
	out := fleetNews(fleet, was.state, is.state)
	for _, name := range slices.Sorted(maps.Keys(is.state.Pools)) {
		if old, known := was.state.Pools[name]; known {
			out = append(out, poolNews(name, old, is.state.Pools[name])...)
		}
	}
	old := make(map[string]*reconciler.Node, len(was.nodes))
	for i := range was.nodes {
		old[was.nodes[i].Name] = &was.nodes[i]
	}
	for i := range is.nodes {
		if before := old[is.nodes[i].Name]; before != nil {
			out = append(out, nodeNews(before, &is.nodes[i], was.state, is.state)...)
		}
	}
	return out
}

func fleetNews(fleet string, was, is reconciler.State) (out []News) {
	add := func(bad bool, reason, note string) { out = append(out, News{"Fleet", fleet, bad, reason, note}) }
	if is.Good.Commit != was.Good.Commit {
		add(false, "NewRevision", "follows "+is.Good.Short())
	}
	if len(is.Refused) > 0 && (len(was.Refused) == 0 || was.Refused[0] != is.Refused[0]) {
		add(true, "Refused", is.Refused[0].Summary)
	}
	switch {
	case is.Silent != "" && was.Silent == "":
		add(true, "GitSilent", unheard(is))
	case is.Silent == "" && was.Silent != "":
		add(false, "GitAnswers", "Git answers again")
	}
	return out
}

// poolNews tells a phase, and of one that waits, another kind of reason: each node that takes its
// turn would be another note.
func poolNews(name string, was, is reconciler.Pool) []News {
	if is.Phase == was.Phase && (is.Phase != reconciler.Waiting || holder(is) == holder(was)) {
		return nil
	}
	said := poolStanding(is)
	return []News{{"Pool", name, is.Phase == reconciler.Halted || is.Phase == reconciler.Degraded, said.Reason, said.Message}}
}

// holder is the first check that makes a pool wait.
func holder(p reconciler.Pool) string {
	if i := slices.IndexFunc(p.Waiting, func(f policy.Finding) bool { return f.Outcome >= policy.Wait }); i >= 0 {
		return p.Waiting[i].Check
	}
	return ""
}

func nodeNews(was, is *reconciler.Node, then, now reconciler.State) (out []News) {
	add := func(bad bool, reason, note string) { out = append(out, News{"Node", is.Name, bad, reason, note}) }
	if is.Cordon == reconciler.Ours && was.Cordon != reconciler.Ours {
		add(false, "Draining", "cordoned, and its pods are asked to leave")
	}
	if is.Blocked != "" && culprit(is.Blocked) != culprit(was.Blocked) {
		add(true, "DrainBlocked", blocked(now, is))
	}
	if o := is.Order; o.Generation > was.Order.Generation {
		add(false, "Sent", fmt.Sprintf("order %d: %s, from %s to %s", o.Generation, o.Ceiling, short(is.Report.Config), short(o.Config)))
	}
	if r := is.Report; r.Generation != was.Report.Generation || r.Phase != was.Report.Phase {
		switch r.Phase {
		case nodeops.Done:
			add(false, "Updated", "is at "+short(r.Config))
		case nodeops.Failed, nodeops.Restored, nodeops.Refused, nodeops.Expired:
			phase := fmt.Sprint(r.Phase)
			add(true, strings.ToUpper(phase[:1])+phase[1:], r.Why)
		case nodeops.Idle, nodeops.Working:
		}
	}
	switch {
	case was.Cordon != reconciler.Ours || is.Cordon != reconciler.Uncordoned:
	case is.Order.Generation > is.Report.Generation || is.Report.Phase == nodeops.Working: // we would not
		add(true, "CordonLifted", "somebody has uncordoned it while it is being updated: pods that come to it now may go down with it")
	case drainOf(now, is.Name).After(drainOf(then, is.Name)): // it is cordoned again in a moment: see Events.Retaken
	default:
		add(false, "Uncordoned", "takes work again")
	}
	return out
}

// begun is the pool that takes a node to its target, and since when; "" is none.
func begun(s reconciler.State, node string) (pool string, at reconciler.Begun) {
	for name, p := range s.Pools {
		if at, is := p.Begun[node]; is {
			return name, at
		}
	}
	return "", at
}

func drainOf(s reconciler.State, node string) time.Time {
	_, at := begun(s, node)
	return at.Drain
}

// Retaken tells of a node whose cordon somebody has lifted in the middle of its drain.
func (e *Events) Retaken(node string) {
	pool := "POOL"
	e.mu.Lock()
	if e.was != nil {
		name, _ := begun(e.was.state, node)
		pool = cmp.Or(name, pool)
	}
	e.mu.Unlock()
	e.Tell(News{"Node", node, true, "CordonTaken", "somebody has uncordoned it in the middle of its drain, and the rollout has cordoned it again; to keep it at work: kubectl sluice hold " + pool + " --reason WHY"})
}

// blocked is what a pool says of a node that cannot be emptied, with what comes then; else what stands
// in the way.
func blocked(state reconciler.State, n *reconciler.Node) string {
	for _, p := range state.Pools {
		for _, f := range p.Waiting {
			if f.Check == "drain" && strings.HasPrefix(f.Reason, "node "+n.Name+" ") {
				return f.Reason
			}
		}
	}
	return n.Blocked
}

// culprit is the pod that a block names: how long it has been there changes all the time.
func culprit(blocked string) string {
	who, _, _ := strings.Cut(blocked, ": ")
	return who
}

func short(d machine.Digest) string {
	if d == "" {
		return "the bare OS"
	}
	return d.Short()
}

// kind is how Events call it.
func (n News) kind() string {
	if n.Bad {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}
