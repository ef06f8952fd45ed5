package blockers

import (
	"fmt"
	"strconv"
	"strings"
)

// budgets holds the pods that a wave evicts against their PodDisruptionBudgets, as the eviction
// handler of the API does.
func (f *finder) budgets(w *wave) {
	asked := map[*Budget][]*Pod{} // the pods that need the budget's leave
	var order []*Budget
	for _, p := range w.leaving {
		switch {
		case p.unprotected() || len(p.Budgets) == 0:
		case len(p.Budgets) > 1:
			f.overlap(w, p)
		case p.Budgets[0].free(p):
		default:
			b := p.Budgets[0]
			if asked[b] == nil {
				order = append(order, b)
			}
			asked[b] = append(asked[b], p)
		}
	}
	for _, b := range order {
		f.budget(w, b, asked[b])
	}
}

// free says whether a pod that is not ready may go without the budget's leave.
func (b *Budget) free(p *Pod) bool {
	return !p.Ready && (b.AlwaysAllow || b.Healthy >= b.Desired && b.Desired > 0)
}

func (f *finder) overlap(w *wave, p *Pod) {
	var names []string
	for _, b := range p.Budgets {
		names = append(names, b.Name)
	}
	f.say(w, p.workloadBlocker(PDBOverlap, f.hard(), AsRecorded,
		fmt.Sprintf("pod %s is selected by %d budgets (%s): the API evicts no such pod", p.Name, len(names), strings.Join(names, ", "))))
}

// budget says what one budget answers to a wave.
func (f *finder) budget(w *wave, b *Budget, pods []*Pod) {
	out := Blocker{Namespace: b.Namespace, Name: b.Name, Node: pods[0].Node, Severity: f.hard()}
	never, mark := b.never()
	switch {
	case never != "":
		out.Kind, out.Mark, out.Reason = PDBNever, mark, "it never allows an eviction: "+never
	case b.Stale:
		out.Kind, out.Mark = PDBNow, AsRecorded
		out.Reason = "its status is older than its spec: the API refuses every eviction until the pods are counted again"
	case b.Allowed <= 0:
		out.Kind, out.Mark = PDBNow, AsRecorded
		out.Reason = fmt.Sprintf("it allows no eviction now: %d of its %d pods are healthy, and %d must be", b.Healthy, b.Expected, b.Desired)
		if !pods[0].Ready {
			out.Reason += fmt.Sprintf("; pod %s is not ready and may not go either (unhealthyPodEvictionPolicy)", pods[0].Name)
		}
	case len(pods) > b.Allowed:
		rounds := (len(pods) + b.Allowed - 1) / b.Allowed
		out.Kind, out.Mark, out.Severity = PDBWave, Estimate, Warns
		out.Reason = fmt.Sprintf("%d of its pods are in the wave and %d may be away at a time: the wave takes about %d rounds, each as long as a new pod takes to be ready",
			len(pods), b.Allowed, rounds)
	default:
		return
	}
	f.say(w, out)
}

// never says why the budget allows no eviction even when all its pods are healthy. What the spec
// alone says is exact; what depends on the number of pods is as recorded.
func (b *Budget) never() (why string, m Mark) {
	switch {
	case isZero(b.MaxUnavailable):
		return "maxUnavailable is " + b.MaxUnavailable, Exact
	case b.MinAvailable == "100%":
		return "minAvailable is 100%", Exact
	case b.Stale || b.Expected <= 0 || b.Desired < b.Expected:
		return "", ""
	case b.MinAvailable != "":
		return fmt.Sprintf("minAvailable %s of %s is all of them", b.MinAvailable, plural(b.Expected, "pod", "pods")), AsRecorded
	}
	return fmt.Sprintf("%d of %s must be healthy", b.Desired, plural(b.Expected, "pod", "pods")), AsRecorded
}

func isZero(value string) bool {
	n, err := strconv.Atoi(strings.TrimSuffix(value, "%"))
	return err == nil && n == 0
}

// spared says whether budgets keep some of these pods at work while others go: then they are never
// all away at once. Force deletes them in the end, so it spares nothing.
func (f *finder) spared(pods []*Pod) bool {
	if f.drain.OnTimeout == "force" {
		return false
	}
	held := map[*Budget]int{}
	for _, p := range pods {
		if p.Fate != Evicted || p.unprotected() {
			continue
		}
		if len(p.Budgets) > 1 {
			return true // not evicted at all
		}
		for _, b := range p.Budgets {
			if held[b]++; !b.free(p) && (held[b] > b.Allowed || b.Stale) {
				return true
			}
		}
	}
	return false
}
