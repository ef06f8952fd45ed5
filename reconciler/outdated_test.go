package reconciler_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
)

// TestOutdated holds which nodes of a rollout new work should rather not go to: those that are yet
// to be emptied, while their pool goes on.
func TestOutdated(t *testing.T) {
	begun := func() (reconciler.State, reconciler.Observed) {
		s, o := landed(4, policy.Rollout{})
		o.Head = head("c2", "b", policy.Rollout{})
		know(o)
		s, _ = reconciler.Step(s, o)
		return s, o
	}
	pool := func(s *reconciler.State, change func(*reconciler.Pool)) {
		s.Pools = maps.Clone(s.Pools)
		for name, p := range s.Pools {
			change(&p)
			s.Pools[name] = p
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*reconciler.State, *reconciler.Observed)
		want   string // the nodes in their order: + marked, - not marked, . as they are
	}{
		{"a rollout that has begun", nil, "++++"},
		{"a node under our cordon needs no mark", func(_ *reconciler.State, o *reconciler.Observed) { o.Nodes[0].Cordon = reconciler.Ours }, "-+++"},
		{"nor does one that somebody else has cordoned", func(_ *reconciler.State, o *reconciler.Observed) { o.Nodes[0].Cordon = reconciler.Foreign }, "-+++"},
		{"a node that is there", func(s *reconciler.State, o *reconciler.Observed) {
			p := s.Pools[o.Head.Pools[0].Name]
			n := &o.Nodes[0]
			n.Order = nodeops.Order{Generation: p.Generation, Config: p.Target}
			n.Report = nodeops.Report{Generation: p.Generation, Config: p.Target, Phase: nodeops.Done}
		}, "-+++"},
		{"a node in no pool", func(_ *reconciler.State, o *reconciler.Observed) { o.Nodes[0].Labels = nil }, "-+++"},
		{"a node that was given up", func(s *reconciler.State, o *reconciler.Observed) {
			pool(s, func(p *reconciler.Pool) { p.Skipped = map[string]string{o.Nodes[0].Name: "its pod stays"} })
		}, "-+++"},
		{"the pool waits for a while", func(s *reconciler.State, o *reconciler.Observed) {
			pool(s, func(p *reconciler.Pool) { p.Phase, p.Since = reconciler.Waiting, o.Now })
		}, "...."},
		{"it waits, and a node is there", func(s *reconciler.State, o *reconciler.Observed) {
			pool(s, func(p *reconciler.Pool) { p.Phase, p.Since = reconciler.Waiting, o.Now })
			o.Nodes[0].Cordon = reconciler.Ours
		}, "-..."},
		{"it waits for more than an hour", func(s *reconciler.State, o *reconciler.Observed) {
			pool(s, func(p *reconciler.Pool) { p.Phase, p.Since = reconciler.Waiting, o.Now.Add(-2*time.Hour) })
		}, "----"},
		{"it is paused", func(s *reconciler.State, _ *reconciler.Observed) {
			pool(s, func(p *reconciler.Pool) { p.Phase = reconciler.Paused })
		}, "----"},
		{"it is halted", func(s *reconciler.State, _ *reconciler.Observed) {
			pool(s, func(p *reconciler.Pool) { p.Phase = reconciler.Halted })
		}, "----"},
		{"it is at rest", func(s *reconciler.State, _ *reconciler.Observed) {
			pool(s, func(p *reconciler.Pool) { p.Phase = reconciler.Updated })
		}, "----"},
		{"no revision is known", func(_ *reconciler.State, o *reconciler.Observed) { o.Head = reconciler.Head{} }, "...."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, o := begun()
			o.Nodes = slices.Clone(o.Nodes)
			if tt.change != nil {
				tt.change(&s, &o)
			}
			marks := reconciler.Outdated(s, o)
			var got strings.Builder
			for _, n := range o.Nodes {
				switch marked, said := marks[n.Name]; {
				case !said:
					got.WriteString(".")
				case marked:
					got.WriteString("+")
				default:
					got.WriteString("-")
				}
			}
			if got.String() != tt.want {
				t.Errorf("the nodes are %s, want %s", &got, tt.want)
			}
		})
	}
}

// A change that drains nobody marks nobody.
func TestAChangeThatDrainsNobodyMarksNobody(t *testing.T) {
	s, o := landed(2, policy.Rollout{})
	o.Head = head("c2", "old", policy.Rollout{})
	for i := range o.Head.Pools {
		p := &o.Head.Pools[i]
		p.Config.Files = append(slices.Clip(p.Config.Files), machine.File{Path: "/etc/kubernetes/kubelet-ca.crt", Mode: 0o644, Contents: []byte("new")})
		p.Digest = p.Config.Digest()
	}
	know(o)
	s, _ = reconciler.Step(s, o)
	if phase := s.Pools["worker"].Phase; phase != reconciler.Progressing {
		t.Fatalf("the pool is %s", phase)
	}
	for name, marked := range reconciler.Outdated(s, o) {
		if marked {
			t.Errorf("node %s is marked", name)
		}
	}
}
