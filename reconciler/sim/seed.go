package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
)

// Options are the size of a seeded world; zero fields take the defaults that Run names.
type Options struct {
	Nodes int // 0 = three to twelve, by seed
	Ticks int // 0 = 400, faults on; then up to 400 more without faults to converge
	Step  func(reconciler.State, reconciler.Observed) (reconciler.State, []reconciler.Effect)
}

// Result is what became of one seed.
type Result struct {
	Seed       uint64   `json:"seed"`
	Ticks      int      `json:"ticks"`
	Reboots    int      `json:"reboots"`
	Violations []string `json:"violations,omitempty"`
	Events     []string `json:"events,omitempty"`
}

// Run lives one seed: pushes, reverts, poison, pauses, dead nodes and foreign cordons with a
// faulty controller, then a calm time in which everything must come to the head.
func Run(seed uint64, opt Options) Result {
	w := New(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC))
	w.rng, w.faults = rand.New(rand.NewPCG(seed, 1)), true
	if opt.Step != nil {
		w.Step = opt.Step
	}
	fleet := newFleet(w, opt)
	ticks := opt.Ticks
	if ticks == 0 {
		ticks = 400
	}
	for range ticks {
		fleet.weather()
		w.Tick()
	}
	fleet.calm()
	settled, why := false, ""
	for range 400 {
		w.Tick()
		if settled, why = w.Settled(); settled {
			break
		}
	}
	if !settled {
		w.violate("did not converge: %s", why)
	}
	r := Result{Seed: seed, Ticks: w.tick, Violations: w.violated, Events: w.Events}
	for _, n := range w.nodes {
		r.Reboots += n.booted
	}
	return r
}

// fleet is the author and the operators of a seeded world.
type fleet struct {
	*World
	pools   []render.Pool
	commits int
	past    [][]render.Pool
}

func newFleet(w *World, opt Options) *fleet {
	f := &fleet{World: w}
	nodes := opt.Nodes
	if nodes == 0 {
		nodes = 3 + w.rng.IntN(10)
	}
	names := []string{"worker", "edge"}
	for i := range nodes {
		pool := names[i%(1+w.rng.IntN(2))]
		w.nodes = append(w.nodes, &node{Node: reconciler.Node{
			Name: fmt.Sprintf("%s-%d", pool, i), Ready: true,
			Labels: map[string]string{"node-role.kubernetes.io/" + pool: "", "topology.kubernetes.io/zone": fmt.Sprint("z", i%3)},
		}})
	}
	for _, name := range names {
		f.pools = append(f.pools, render.Pool{
			Name:     name,
			Selector: labels.SelectorFromSet(labels.Set{"node-role.kubernetes.io/" + name: ""}),
			Strategy: render.Strategy{MaxUnavailable: pick(w, "", "1", "2", "34%")},
		})
	}
	for i := range f.pools {
		f.pools[i].Policy = rules(w)
		if c := f.pools[i].Policy.Canary; c != nil && len(c.Labels) > 0 && !f.labelled(f.pools[i].Name, c.Labels) {
			f.pools[i].Policy.Canary = nil // it would be closed for ever, rightly
		}
	}
	if w.rng.IntN(6) == 0 {
		f.pools[0].Policy.Order = &policy.Order{After: []string{f.pools[1].Name}}
	}
	f.push()
	return f
}

// labelled says that a node of the pool has the labels.
func (f *fleet) labelled(pool string, want map[string]string) bool {
	for _, n := range f.nodes {
		_, member := n.Labels["node-role.kubernetes.io/"+pool]
		if zone := "topology.kubernetes.io/zone"; member && n.Labels[zone] == want[zone] {
			return true
		}
	}
	return false
}

// rules are a pool's policy: each part by a throw of the dice.
func rules(w *World) (r policy.Rollout) {
	if w.rng.IntN(4) == 0 {
		r.Windows = []policy.Window{{Schedule: "0 * * * *", Duration: "40m"}}
	}
	switch w.rng.IntN(5) {
	case 0:
		r.Canary = &policy.Canary{Nodes: pick(w, "", "2"), Soak: pick(w, "", "2m")}
	case 1:
		r.Canary = &policy.Canary{Labels: map[string]string{"topology.kubernetes.io/zone": "z1"}, Soak: "1m"}
	}
	switch w.rng.IntN(5) {
	case 0:
		r.Order = &policy.Order{Zones: "barrier"}
	case 1:
		r.Order = &policy.Order{MaxUnavailablePerZone: 1}
	}
	if w.rng.IntN(5) == 0 {
		r.Soak = "1m"
	}
	switch w.rng.IntN(4) {
	case 0:
		r.FailureBudget = &policy.FailureBudget{Nodes: "2"}
	case 1:
		r.FailureBudget = &policy.FailureBudget{Action: "rollback"}
	}
	return r
}

// weather is what people and machines do to each other between two ticks.
func (f *fleet) weather() {
	if f.chance(.03) {
		f.push()
	}
	if f.chance(.01) && len(f.past) > 1 { // a revert: an old content under a new commit
		f.pools = f.past[len(f.past)-2]
		f.commit()
	}
	if f.chance(.01) {
		f.commits++
		f.PushBroken(fmt.Sprintf("c%d", f.commits), "base/kustomization.yaml: no such file")
	}
	if f.chance(.02) {
		f.edit(func(p *render.Pool) { p.Strategy.Paused = !p.Strategy.Paused })
	}
	n := f.nodes[f.rng.IntN(len(f.nodes))]
	switch {
	case f.chance(.02):
		n.dead, n.Ready = true, false
	case f.chance(.1) && n.dead:
		n.dead, n.Ready = false, n.work == 0
	case f.chance(.02):
		n.silent = !n.silent
	case f.chance(.01) && n.Cordon == reconciler.Uncordoned:
		n.Cordon = reconciler.Foreign
	case f.chance(.1) && n.Cordon == reconciler.Foreign:
		n.Cordon = reconciler.Uncordoned
	}
}

// push changes the content of one pool; one change in five does not hold on any node.
func (f *fleet) push() {
	f.commits++
	f.edit(func(p *render.Pool) {
		value := fmt.Sprint(f.commits)
		p.Config = content(*p, pick(f.World, "none", "reload", "reboot"), value)
		if f.chance(.2) && f.commits > 1 {
			fate := nodeops.Restored
			if f.chance(.5) {
				fate = nodeops.Failed
			}
			f.poison[p.Config.Digest()] = fate
		}
	})
}

func (f *fleet) edit(change func(*render.Pool)) {
	pools := append([]render.Pool(nil), f.pools...)
	change(&pools[f.rng.IntN(len(pools))])
	f.pools = pools
	f.commit()
}

func (f *fleet) commit() {
	f.commits++
	f.past = append(f.past, f.pools)
	f.Push(fmt.Sprintf("c%d", f.commits), f.pools)
}

// calm ends all faults, wakes every node and pushes a revision that holds.
func (f *fleet) calm() {
	f.faults = false
	for _, n := range f.nodes {
		if n.dead {
			n.Ready = n.work == 0
		}
		n.dead, n.silent = false, false
		if n.Cordon == reconciler.Foreign {
			n.Cordon = reconciler.Uncordoned
		}
	}
	for i := range f.pools {
		f.pools[i].Strategy.Paused = false
		f.pools[i].Config = content(f.pools[i], "reboot", "final")
	}
	f.commit()
}

// content is a pool's config with one thing changed, of which the word says what it costs.
func content(p render.Pool, word, value string) machine.Config {
	c := machine.Config{Files: append([]machine.File(nil), p.Config.Files...), KernelArgs: p.Config.KernelArgs}
	if word == "reboot" {
		c.KernelArgs = []string{value}
		return c
	}
	file := machine.File{Path: paths[word], Mode: 0o644, Contents: []byte(value)}
	for i, old := range c.Files {
		if old.Path == file.Path {
			c.Files[i] = file
			return c
		}
	}
	c.Files = append(c.Files, file)
	return c.Canonical()
}

// paths are files of the default table, by the word for what their change costs.
var paths = map[string]string{
	"none":   "/var/lib/kubelet/config.json",
	"reload": "/etc/containers/policy.json",
}

func word(path string) string {
	for w, p := range paths {
		if p == path {
			return w
		}
	}
	return path
}

func pick(w *World, words ...string) string { return words[w.rng.IntN(len(words))] }
