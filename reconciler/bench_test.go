package reconciler_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// BenchmarkStep is one decision about a whole fleet: two pools, nine nodes of ten in the first,
// configs of sixty files.
func BenchmarkStep(b *testing.B) {
	for _, moment := range []struct {
		name string
		at   func(nodes int) (reconciler.State, reconciler.Observed)
		want reconciler.Phase
	}{
		{"nothing to do", atRest, reconciler.Updated},
		{"mid-rollout", midRollout, reconciler.Progressing},
		{"window closed", windowClosed, reconciler.Waiting},
	} {
		for _, nodes := range []int{100, 1000, 5000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d nodes", moment.name, nodes), func(b *testing.B) {
				state, seen := moment.at(nodes)
				var next reconciler.State
				worked := cpuTime(b)
				b.ReportAllocs()
				for b.Loop() {
					next, _ = reconciler.Step(state, seen)
				}
				b.ReportMetric(float64((cpuTime(b)-worked).Nanoseconds())/float64(b.N), "cpu-ns/op")
				if got := next.Pools["worker"].Phase; got != moment.want {
					b.Fatalf("the pool is %s, want %s: this is not the moment that the name says", got, moment.want)
				}
			})
		}
	}
}

// cpuTime is what the process has taken of the processors so far: other than the time on the wall,
// it says the same on a busy machine.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// config is what most fleets have: some dozens of files, and a word that tells commits apart.
func config(word string) machine.Config {
	c := machine.Config{KernelArgs: []string{word}}
	for i := range 60 {
		c.Files = append(c.Files, machine.File{Path: fmt.Sprintf("/etc/app/%02d.conf", i), Mode: 0o644, Contents: make([]byte, 300)})
	}
	return c
}

// pools are those of a head, digests computed as render does.
func pools(word string, rollout policy.Rollout) []render.Pool {
	var out []render.Pool
	for _, name := range []string{"edge", "worker"} {
		p := render.Pool{
			Name: name, Selector: labels.SelectorFromSet(labels.Set{"pool": name}), Strategy: render.Strategy{MaxUnavailable: "5%"},
			Policy: rollout, Config: config(name + word),
		}
		p.Digest = p.Config.Digest()
		out = append(out, p)
	}
	return out
}

func head(commit string, word string, rollout policy.Rollout) reconciler.Head {
	return reconciler.Head{Revision: source.Revision{Commit: commit}, Pools: pools(word, rollout)}
}

// landed is a fleet that is wholly at the first commit, and remembers that.
func landed(nodes int, rollout policy.Rollout) (reconciler.State, reconciler.Observed) {
	o := reconciler.Observed{
		Now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Head: head("c1", "old", rollout),
		Known: map[machine.Digest]machine.Config{}, Gate: policy.Default(),
	}
	for i := range nodes {
		pool := o.Head.Pools[1]
		if i%10 == 0 {
			pool = o.Head.Pools[0]
		}
		name := fmt.Sprintf("%s-%04d", pool.Name, i)
		o.Nodes = append(o.Nodes, reconciler.Node{
			Name: name, Ready: true, Created: o.Now.Add(time.Duration(i) * time.Minute),
			Labels: map[string]string{"pool": pool.Name, "topology.kubernetes.io/zone": string(rune('a' + i%3)), "kubernetes.io/hostname": name},
			Order:  nodeops.Order{Node: name, Generation: 1, Config: pool.Target()},
			Report: nodeops.Report{Generation: 1, Config: pool.Target(), Phase: nodeops.Done, BootID: "b"},
		})
	}
	know(o)
	return heard(reconciler.State{}, o), o
}

// heard steps until nothing is left to say.
func heard(s reconciler.State, o reconciler.Observed) reconciler.State {
	for range 3 {
		next, effects := reconciler.Step(s, o)
		for _, e := range effects {
			if p, ok := e.(reconciler.Post); ok {
				next = next.Heard(p.Status)
			}
		}
		s = next
	}
	return s
}

func atRest(nodes int) (reconciler.State, reconciler.Observed) {
	return landed(nodes, policy.Rollout{})
}

// midRollout is half way: every second node is done, and the budget is used up by nodes at work.
func midRollout(nodes int) (reconciler.State, reconciler.Observed) {
	s, o := landed(nodes, policy.Rollout{})
	o.Head = head("c2", "new", policy.Rollout{})
	know(o)
	s = heard(s, o)
	away := map[string]int{}
	for i := range o.Nodes {
		n := &o.Nodes[i]
		pool := n.Labels["pool"]
		p := s.Pools[pool]
		order := nodeops.Order{Node: n.Name, Generation: p.Generation, Config: p.Target, Ceiling: impact.Reboot}
		switch {
		case i%20 < 10: // both pools: every tenth node is of the other
			n.Order, n.Report.Generation, n.Report.Config = order, p.Generation, p.Target
		case away[pool] < nodes/30:
			away[pool]++
			n.Order, n.Report.Generation, n.Report.Phase = order, p.Generation, nodeops.Working
			n.Cordon, n.Drained = reconciler.Ours, true
		}
	}
	return heard(s, o), o
}

// windowClosed is a commit that no node may start.
func windowClosed(nodes int) (reconciler.State, reconciler.Observed) {
	night := policy.Rollout{Windows: []policy.Window{{Schedule: "0 2 * * *", Duration: "4h", TimeZone: "Europe/Berlin"}}}
	s, o := landed(nodes, night)
	o.Head = head("c2", "new", night)
	know(o)
	return heard(s, o), o
}

// know adds what the head names to what is known.
func know(o reconciler.Observed) {
	for _, p := range o.Head.Pools {
		o.Known[p.Target()] = p.Config
	}
}
