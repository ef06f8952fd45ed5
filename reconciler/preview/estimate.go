package preview

import (
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
)

// Estimate is how long the waves of a pool will take, from how long its nodes took of late. Time
// spent waiting for a window is not in it.
type Estimate struct {
	Typical time.Duration `json:"typical"` // nanoseconds: every wave at the median
	Slow    time.Duration `json:"slow"`    // every wave at the 95th percentile
	Samples int           `json:"samples"` // the smallest number of nodes that a wave is judged by
}

// estimate adds up the waves: each takes as long as its slowest node. It is nil as soon as one
// wave has a kind that the pool has no history of.
func estimate(p Pool, st reconciler.Pool, r policy.Rollout) *Estimate {
	kind := map[string]string{}
	for k, nodes := range p.Nodes {
		for _, n := range nodes {
			kind[n] = k
		}
	}
	var e Estimate
	for _, wave := range p.Waves {
		var typical, slow time.Duration
		for _, n := range wave {
			took := slices.Sorted(slices.Values(st.Pace[kind[n]]))
			if len(took) == 0 {
				return nil
			}
			typical = max(typical, took[len(took)/2])
			slow = max(slow, took[(len(took)*95-1)/100])
			if e.Samples == 0 || len(took) < e.Samples {
				e.Samples = len(took)
			}
		}
		e.Typical += typical
		e.Slow += slow
	}
	if len(p.Waves) == 0 {
		return nil
	}
	rest := time.Duration(len(p.Waves)-1) * length(r.Soak)
	if r.Canary != nil && len(p.Waves) > 1 {
		rest += length(r.Canary.Soak)
	}
	e.Typical, e.Slow = e.Typical+rest, e.Slow+rest
	return &e
}

// length is how long a soak is; render has refused what cannot be read.
func length(soak string) time.Duration {
	d, err := time.ParseDuration(soak)
	if err != nil {
		return 0
	}
	return d
}

// prompt says that the first node of a pool is taken at once.
func (w *world) prompt(pool string) bool {
	return !w.begun[pool][0].at.After(w.start.Add(2 * tick))
}

// calms says that nodes of the pool wait for a minute of calm: they have just rebooted.
func (p *Pool) calms() bool {
	return slices.ContainsFunc(p.Held, func(f policy.Finding) bool { return f.Check == "calm" })
}

// plan says when the waves of a pool begin, where that is not at once: each turn is the waves that
// one window has room for.
func (w *world) plan(p *Pool) {
	begun := w.begun[p.Name]
	if len(begun) == 0 {
		return
	}
	if first := begun[0]; first.waits > 0 || p.calms() && !w.prompt(p.Name) || len(p.After) > 0 && first.at.Sub(w.start) > time.Hour {
		p.Start = first.at
	}
	for i, t := range begun {
		if i == 0 || t.waits != begun[i-1].waits {
			p.Windows = append(p.Windows, Turn{From: t.at})
		}
		last := &p.Windows[len(p.Windows)-1]
		last.Waves++
		last.Nodes += len(p.Waves[i])
	}
	if len(p.Windows) == 1 {
		p.Windows = nil // it is Start
	}
}
