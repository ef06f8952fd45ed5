package kube

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/source"
)

// TestNews holds what is told of two photographs. Each row begins with a fleet that is well.
func TestNews(t *testing.T) {
	a, b := machine.Config{KernelArgs: []string{"a"}}.Digest(), machine.Config{KernelArgs: []string{"b"}}.Digest()
	well := func() photo {
		return photo{
			nodes: []reconciler.Node{{Name: "w1", Order: nodeops.Order{Generation: 1, Config: a}, Report: nodeops.Report{Generation: 1, Config: a, Phase: nodeops.Done}}},
			state: reconciler.State{
				Good:  source.Revision{Commit: "1111111aaaa"},
				Pools: map[string]reconciler.Pool{"worker": {Phase: reconciler.Waiting, Waiting: []policy.Finding{{Check: "soak", Outcome: policy.Wait, Reason: "for 5m"}}}},
			},
		}
	}
	pool := func(p *photo, change func(*reconciler.Pool)) {
		w := p.state.Pools["worker"]
		w.Waiting = slices.Clone(w.Waiting)
		change(&w)
		p.state.Pools["worker"] = w
	}
	type row struct {
		name string
		was  func(*photo)
		is   func(*photo)
		want []string
	}
	for _, tt := range []row{
		{name: "nothing"},
		{name: "a new revision", is: func(p *photo) { p.state.Good.Commit = "2222222bbbb" }, want: []string{"Normal Fleet f NewRevision: follows 2222222"}},
		{name: "a revision that is refused", is: func(p *photo) { p.state.Refused = []source.Status{{Summary: "no"}} }, want: []string{"Warning Fleet f Refused: no"}},
		{name: "one that stays refused", was: func(p *photo) { p.state.Refused = []source.Status{{Summary: "no"}} }, is: func(p *photo) { p.state.Refused = []source.Status{{Summary: "no"}} }},
		{name: "Git falls silent", is: func(p *photo) { p.state.Silent = "401" }, want: []string{"Warning Fleet f GitSilent: spec.source: no push is followed until the branch can be read: 401; 1111111 stays in force"}},
		{name: "it stays so, in other words", was: func(p *photo) { p.state.Silent = "401" }, is: func(p *photo) { p.state.Silent = "no route" }},
		{name: "Git answers again", was: func(p *photo) { p.state.Silent = "401" }, want: []string{"Normal Fleet f GitAnswers: Git answers again"}},
		{name: "a pool goes on", is: func(p *photo) { pool(p, func(w *reconciler.Pool) { w.Phase, w.Waiting = reconciler.Progressing, nil }) }, want: []string{"Normal Pool worker Progressing: 0/0 nodes are updated"}},
		{name: "a pool halts", is: func(p *photo) { pool(p, func(w *reconciler.Pool) { w.Phase, w.Halt = reconciler.Halted, "w1 failed" }) }, want: []string{"Warning Pool worker Halted: w1 failed"}},
		{name: "a pool waits, and counts on", is: func(p *photo) { pool(p, func(w *reconciler.Pool) { w.Waiting[0].Reason = "for 4m" }) }},
		{
			name: "a pool waits for something else", is: func(p *photo) {
				pool(p, func(w *reconciler.Pool) {
					w.Waiting[0] = policy.Finding{Check: "window", Outcome: policy.Wait, Reason: "closed"}
				})
			},
			want: []string{"Normal Pool worker Waiting: closed"},
		},
		{name: "a pool that is new", was: func(p *photo) { p.state.Pools = nil }},
		{name: "a drain", is: func(p *photo) { p.nodes[0].Cordon = reconciler.Ours }, want: []string{"Normal Node w1 Draining: cordoned, and its pods are asked to leave"}},
		{name: "somebody else's cordon", is: func(p *photo) { p.nodes[0].Cordon = reconciler.Foreign }},
		{name: "a drain that is blocked, with what comes next", is: func(p *photo) {
			p.nodes[0].Blocked = "pod s/db: its budget"
			pool(p, func(w *reconciler.Pool) {
				w.Waiting = append(w.Waiting, policy.Finding{Check: "drain", Outcome: policy.Wait, Reason: "node w1 cannot be emptied: pod s/db: its budget; tried until 10:00"})
			})
		}, want: []string{"Warning Node w1 DrainBlocked: node w1 cannot be emptied: pod s/db: its budget; tried until 10:00"}},
		{name: "a cordon of ours that somebody lifts in mid-drain", was: func(p *photo) { p.nodes[0].Cordon = reconciler.Ours }, is: func(p *photo) {
			pool(p, func(w *reconciler.Pool) { w.Begun = map[string]reconciler.Begun{"w1": {Drain: time.Unix(1, 0)}} })
		}},
		{
			name: "one that somebody lifts from a node at work", was: func(p *photo) { p.nodes[0].Cordon, p.nodes[0].Order.Generation = reconciler.Ours, 2 }, is: func(p *photo) { p.nodes[0].Order.Generation = 2 },
			want: []string{"Warning Node w1 CordonLifted: somebody has uncordoned it while it is being updated: pods that come to it now may go down with it"},
		},
		{name: "a node that has gone back and takes work again", was: func(p *photo) {
			p.nodes[0].Cordon = reconciler.Ours
			pool(p, func(w *reconciler.Pool) { w.Begun = map[string]reconciler.Begun{"w1": {Drain: time.Unix(1, 0)}} })
		}, is: func(p *photo) {
			pool(p, func(w *reconciler.Pool) { w.Begun = map[string]reconciler.Begun{"w1": {Drain: time.Unix(1, 0)}} })
		}, want: []string{"Normal Node w1 Uncordoned: takes work again"}},
		{name: "a drain that is blocked", is: func(p *photo) { p.nodes[0].Blocked = "pod s/db: its budget" }, want: []string{"Warning Node w1 DrainBlocked: pod s/db: its budget"}},
		{name: "the same pod, for longer", was: func(p *photo) { p.nodes[0].Blocked = "pod s/db: its budget" }, is: func(p *photo) { p.nodes[0].Blocked = "pod s/db: still there" }},
		{
			name: "an order", is: func(p *photo) { p.nodes[0].Order = nodeops.Order{Generation: 2, Config: b, Ceiling: impact.Reboot} },
			want: []string{"Normal Node w1 Sent: order 2: reboot, from " + a.Short() + " to " + b.Short()},
		},
		{name: "a node at work", is: func(p *photo) { p.nodes[0].Report.Phase = nodeops.Working }},
		{
			name: "a node that has come there, and takes work again", was: func(p *photo) { p.nodes[0].Report.Phase, p.nodes[0].Cordon = nodeops.Working, reconciler.Ours },
			want: []string{"Normal Node w1 Updated: is at " + a.Short(), "Normal Node w1 Uncordoned: takes work again"},
		},
		{name: "a node that has gone back", is: func(p *photo) { p.nodes[0].Report.Phase, p.nodes[0].Report.Why = nodeops.Restored, "unit x" }, want: []string{"Warning Node w1 Restored: unit x"}},
		{name: "a node that refuses", is: func(p *photo) { p.nodes[0].Report.Phase, p.nodes[0].Report.Why = nodeops.Refused, "too much" }, want: []string{"Warning Node w1 Refused: too much"}},
		{name: "a node that is new", was: func(p *photo) { p.nodes = nil }},
		{name: "a node that is gone", is: func(p *photo) { p.nodes = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			was, is := well(), well()
			if tt.was != nil {
				tt.was(&was)
			}
			if tt.is != nil {
				tt.is(&is)
			}
			var got []string
			for _, n := range news("f", was, is) {
				got = append(got, fmt.Sprintf("%s %s %s %s: %s", n.kind(), n.Kind, n.Name, n.Reason, n.Note))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("it tells %q, want %q", got, tt.want)
			}
		})
	}
}
