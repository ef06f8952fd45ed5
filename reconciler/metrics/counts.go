package metrics

import (
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/loop"
)

// counts are the counters that this process has, each at its value.
type counts map[series]float64

// series names a counter: no counter has more labels than two.
type series struct {
	name   string
	values [2]string // of the labels
	n      int
}

func (s series) labels() []string { return s.values[:s.n] }

// add counts; with 0 it makes sure that the series is there from the start, so that the first
// increase is one.
func (c counts) add(by float64, name string, labels ...string) {
	s := series{name: name, n: len(labels)}
	copy(s.values[:], labels)
	c[s] += by
}

// only are the counters of one metric.
func (c counts) only(name string) counts {
	out := counts{}
	for s, n := range c {
		if s.name == name {
			out[s] = n
		}
	}
	return out
}

// perPool are the counters that go with their pool, and the values of their second label.
var perPool = map[string][]string{
	"sluice_pool_preview_mismatches_total": nil,
	"sluice_pool_reboots_total":            nil,
	"sluice_pool_rollbacks_total":          {"commit", "policy"},
}

// memory is what must be known of the looks before to count.
type memory struct {
	boots      map[string]string    // node -> its last boot
	unanswered map[string]time.Time // node -> since when it has an order that it has not taken up
	moved      map[string]time.Time // pool -> when it last got on, or was not meant to
	pools      map[string]reconciler.Pool
	missed     map[string]string // pool -> the last commit that cost more than was foretold
}

// learn counts what has come since the look before. What happened while nobody looked is not
// counted, but for reboots.
func (m *memory) learn(k loop.Look, home map[string]string, c counts) {
	for s := range c {
		_, ours := perPool[s.name]
		if _, there := k.State.Pools[s.values[0]]; ours && !there {
			delete(c, s)
		}
	}
	for name, p := range k.State.Pools {
		for counter, seconds := range perPool {
			if seconds == nil {
				c.add(0, counter, name)
			}
			for _, second := range seconds {
				c.add(0, counter, name, second)
			}
		}
		before, known := m.pools[name]
		if known && p.RollbackOf != "" && p.Generation != before.Generation && p.Target != before.Target {
			by := "commit"
			if p.Spurned != "" {
				by = "policy"
			}
			c.add(1, "sluice_pool_rollbacks_total", name, by)
		}
	}
	m.pools = k.State.Pools
	m.progress(k)
	m.nodes(k, home, c)
	m.mismatches(k, home, c)
}

// progress notes when each pool last got on: a node came to the target, the attempt began, or it was
// not meant to get on. That a pool goes from waiting to being updated and back is no progress. Of
// what was before the first look, the last change of its phase is known.
func (m *memory) progress(k loop.Look) {
	moved := make(map[string]time.Time, len(k.State.Pools))
	for name, p := range k.State.Pools {
		at, known := m.moved[name]
		if !known {
			at = p.Since
		}
		for _, then := range []time.Time{p.AttemptAt, p.LastAt} {
			if then.After(at) {
				at = then
			}
		}
		if rests(p) {
			at = k.Seen.Now
		}
		moved[name] = at
	}
	m.moved = moved
}

// rests says that a pool is not meant to get on now: it has nothing to do, or what holds it was asked
// for and ends by itself or by who asked for it. Gates that somebody must open are not that; neither
// is a canary that waits itself for one of those.
func rests(p reconciler.Pool) bool {
	if p.Phase != reconciler.Waiting {
		return p.Phase != reconciler.Progressing
	}
	soaks := false
	for _, f := range p.Waiting {
		switch {
		case f.Outcome < policy.Wait:
		case slices.Contains([]string{"window", "hold", "paused", "soak", "after"}, f.Check):
			return true
		case f.Check == "canary":
			soaks = true
		}
	}
	return soaks && !slices.ContainsFunc(p.Waiting, func(f policy.Finding) bool { return f.Outcome >= policy.Wait && f.Check != "canary" })
}

// nodes counts reboots, and notes who does not answer.
func (m *memory) nodes(k loop.Look, home map[string]string, c counts) {
	boots, unanswered := make(map[string]string, len(k.Seen.Nodes)), map[string]time.Time{}
	for i := range k.Seen.Nodes {
		n := &k.Seen.Nodes[i]
		before, now := m.boots[n.Name], n.Report.BootID
		if now == "" {
			now = before // it says nothing just now
		}
		if boots[n.Name] = now; before != "" && now != before && home[n.Name] != "" {
			c.add(1, "sluice_pool_reboots_total", home[n.Name])
		}
		if n.Order.Generation > n.Report.Generation {
			since, known := m.unanswered[n.Name]
			if !known {
				since = k.Seen.Now
			}
			unanswered[n.Name] = since
		}
	}
	m.boots, m.unanswered = boots, unanswered
}

// mismatches counts commits that cost a node more than people were shown before the merge, once for
// each pool. What a node pays that has failed, or that was bare, no preview could foretell; and
// what the policy takes back is not what the commit asked for.
func (m *memory) mismatches(k loop.Look, home map[string]string, c counts) {
	if k.State.Reviewed == nil {
		return
	}
	nodes := make(map[string]*reconciler.Node, len(k.Seen.Nodes))
	for i := range k.Seen.Nodes {
		nodes[k.Seen.Nodes[i].Name] = &k.Seen.Nodes[i]
	}
	if m.missed == nil {
		m.missed = map[string]string{}
	}
	for _, e := range k.Effects {
		send, ok := e.(reconciler.Send)
		if !ok {
			continue
		}
		n, name := nodes[send.Order.Node], home[send.Order.Node]
		p, there := k.State.Pools[name]
		commit := p.Revision.Commit
		switch {
		case n == nil || !there || p.Spurned != "" || commit != k.State.Reviewed.Commit || m.missed[name] == commit:
		case n.Report.Phase == nodeops.Failed || n.Report.Config == "":
		case send.Order.Ceiling > k.State.Reviewed.Kinds[name]:
			m.missed[name] = commit
			c.add(1, "sluice_pool_preview_mismatches_total", name)
		}
	}
}
