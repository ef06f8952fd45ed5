package sim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/machine"
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

// Result is what became of one story.
type Result struct {
	Seed       uint64   `json:"seed"`
	Ticks      int      `json:"ticks"`
	Reboots    int      `json:"reboots"`
	Violations []string `json:"violations,omitempty"`
	Events     []string `json:"events,omitempty"`
	Story      []string `json:"story,omitempty"` // the script that it came from
}

// Run lives one seed: what people, machines and networks do to each other while the controller
// works, then a calm time in which everything must come to the head. All of it is a script, which
// the seed writes while it is played.
func Run(seed uint64, opt Options) Result {
	a := newAuthor(seed, 1, opt)
	a.hush()
	a.push()
	ticks := opt.Ticks
	if ticks == 0 {
		ticks = 400
	}
	for range ticks {
		a.weather()
		a.do("tick")
	}
	a.ending()
	r := result(a.Script)
	r.Seed, r.Story = seed, a.story
	return r
}

func result(s *Script) Result {
	r := Result{Ticks: s.World.tick, Violations: s.World.violated, Events: s.World.Events}
	for _, n := range s.World.nodes {
		r.Reboots += n.booted
	}
	return r
}

// author writes a story by throwing dice, and plays each line as it is written: what comes next
// depends on how things stand.
type author struct {
	*Script
	rng     *rand.Rand
	story   []string
	pools   []string
	commits int
	joined  int
}

func newAuthor(seed, stream uint64, opt Options) *author {
	a := &author{Script: NewScript(), rng: rand.New(rand.NewPCG(seed, stream))}
	if opt.Step != nil {
		a.World.Step = opt.Step
	}
	nodes := opt.Nodes
	if nodes == 0 {
		nodes = 3 + a.rng.IntN(10)
	}
	a.pools = []string{"worker", "edge"}
	plane := 0
	if a.chance(.3) {
		a.pools = append(a.pools, "master")
		plane = min([]int{1, 3, 3, 5}[a.rng.IntN(4)], nodes-1)
	}
	zones := map[string][]string{}
	for i := range nodes {
		pool := a.pick("worker", "edge")
		switch {
		case i == 0:
			pool = "worker"
		case i <= plane:
			pool = "master"
		}
		zones[pool] = append(zones[pool], fmt.Sprint("z", i%3))
	}
	for _, name := range a.pools {
		limit := ""
		if max := a.pick("", "1", "2", "34%"); max != "" {
			limit = " max=" + max
		}
		a.do("pool %s nodes=%d%s zones=%s", name, len(zones[name]), limit, strings.Join(zones[name], ","))
		a.rules(name)
	}
	a.surroundings()
	return a
}

// do plays a line and writes it down.
func (a *author) do(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	a.story = append(a.story, line)
	if err := a.run(line, strings.Fields(line)); err != nil {
		a.World.violate("the story is wrong: %v", err)
	}
}

func (a *author) pick(words ...string) string { return words[a.rng.IntN(len(words))] }

func (a *author) chance(p float64) bool { return a.rng.Float64() < p }

// rules are a pool's policy: each part by a throw of the dice.
func (a *author) rules(pool string) {
	var r policy.Rollout
	if a.rng.IntN(4) == 0 {
		r.Windows = []policy.Window{{Schedule: "0 * * * *", Duration: "40m"}}
	}
	switch a.rng.IntN(5) {
	case 0:
		r.Canary = &policy.Canary{Nodes: a.pick("", "2"), Soak: a.pick("", "2m")}
	case 1:
		if a.labelled(pool) { // else it would be closed for ever, rightly
			r.Canary = &policy.Canary{Labels: map[string]string{zone: "z1"}, Soak: "1m"}
		}
	}
	switch a.rng.IntN(6) {
	case 0:
		r.Order = &policy.Order{Zones: "barrier"}
	case 1:
		r.Order = &policy.Order{MaxUnavailablePerZone: 1}
	case 2:
		if pool == "worker" {
			r.Order = &policy.Order{After: []string{"edge"}}
		}
	}
	if a.rng.IntN(5) == 0 {
		r.Soak = "1m"
	}
	switch a.rng.IntN(4) {
	case 0:
		r.FailureBudget = &policy.FailureBudget{Nodes: "2"}
	case 1:
		r.FailureBudget = &policy.FailureBudget{Action: "rollback"}
	}
	a.gates(&r)
	a.policyLine(pool, r)
}

func (a *author) policyLine(pool string, r policy.Rollout) {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers
	}
	a.do("policy %s %s", pool, text)
}

// labelled says that a node of the pool has the labels of the canaries.
func (a *author) labelled(pool string) bool {
	for _, n := range a.World.nodes {
		if _, member := n.Labels[role(pool)]; member && n.Labels[zone] == "z1" {
			return true
		}
	}
	return false
}

// commit is the name of a new one.
func (a *author) commit() string {
	a.commits++
	return fmt.Sprintf("c%d", a.commits)
}

// push changes the content of one pool; one change in five does not hold on any node.
func (a *author) push() {
	commit := a.commit()
	change := a.pick(a.standing()...) + "=" + a.pick("none", "reload", "reboot") + ":" + commit
	if a.commits > 1 && a.chance(.2) {
		a.do("poison %s %s", a.pick("restored", "failed", "validate", "apply", "boot", "ready", "soak"), change)
	}
	a.do("push %s %s", commit, change)
	if a.chance(.5) { // what people had read before they merged it, rightly or not
		a.do("preview %s", a.pick("none", "reload", "reboot", "reboot", "reboot"))
	}
}

// weather is what people, machines and networks do between two ticks.
func (a *author) weather() {
	a.people()
	a.bystanders()
	a.machines()
	a.network()
}

func (a *author) people() {
	pool := a.pick(a.standing()...)
	if a.chance(.03) {
		a.push()
	}
	if a.chance(.003) { // a storm
		for range 10 {
			a.push()
			a.do("tick")
		}
	}
	if a.chance(.01) && a.commits > 1 {
		if old := fmt.Sprintf("c%d", a.commits-1); a.Script.past[old] != nil {
			a.do("revert %s %s", a.commit(), old)
		}
	}
	if a.chance(.01) {
		a.do("broken %s base/kustomization.yaml: no such file", a.commit())
	}
	switch paused := a.Script.pools[pool].Strategy.Paused; {
	case paused && a.chance(.05):
		a.do("resume %s %s", pool, a.commit())
	case !paused && a.chance(.01):
		a.do("pause %s %s", pool, a.commit())
	}
	switch {
	case a.chance(.005):
		a.rules(pool)
		a.do("same %s", a.commit())
	case a.chance(.004): // a freeze in mid-rollout
		r := a.Script.pools[pool].Policy
		now := a.World.Now.Truncate(time.Minute)
		r.Freezes = []policy.Freeze{{From: now, To: now.Add(time.Duration(5+a.rng.IntN(20)) * time.Minute)}}
		a.policyLine(pool, r)
		a.do("same %s", a.commit())
	case a.chance(.004):
		a.do("max %s %s", pool, a.pick("1", "2", "3", "50%"))
		a.do("same %s", a.commit())
	}
}

func (a *author) machines() {
	w := a.World
	n := w.nodes[a.rng.IntN(len(w.nodes))]
	on := func(what string) { a.do("node %s %s", n.Name, what) }
	switch {
	case a.chance(.02):
		on("dead")
	case a.chance(.1) && n.dead:
		on("back")
	case a.chance(.02):
		on(map[bool]string{true: "loud", false: "silent"}[n.silent])
	case a.chance(.01) && n.Cordon == reconciler.Uncordoned:
		a.do("cordon %s", n.Name)
	case a.chance(.1) && n.Cordon == reconciler.Foreign, a.chance(.03) && n.Cordon == reconciler.Ours:
		a.do("uncordon %s", n.Name)
	case a.chance(.005):
		on("stuck")
	case a.chance(.005):
		on("amnesia")
	case a.chance(.05):
		on(fmt.Sprint("pace=", a.rng.IntN(4)))
	case a.chance(.01) && n.Report.Phase.Whole():
		on("drift=/etc/x")
	case a.chance(.1) && len(n.Report.Drift) > 0:
		on("heal")
	case a.chance(.004) && len(w.nodes) > 3:
		on("gone")
	case a.chance(.004):
		a.do("label %s %s", n.Name, a.pick(a.pools...))
	case a.chance(.006) && len(w.nodes) < 12:
		if name := a.join(a.pick(a.pools...), fmt.Sprint("z", a.rng.IntN(3))); a.chance(.6) {
			a.unheard(name)
		}
	case a.chance(.02) && n.Cordon == reconciler.Ours && !n.silent:
		on("silent")
	case a.chance(.003) && !n.Mute: // what the cluster keeps of it is deleted
		on("mute")
	case a.chance(.05) && n.Mute && n.silent:
		on("loud")
	}
}

func (a *author) join(pool, z string) string {
	a.joined++
	name := fmt.Sprintf("new-%d", a.joined)
	a.do("node %s joins=%s,%s", name, pool, z)
	return name
}

func (a *author) network() {
	w := a.World
	for _, outage := range []struct {
		what string
		away bool
	}{{"api", w.apiAway}, {"git", w.gitAway}} {
		switch {
		case outage.away && a.chance(.1):
			a.do("%s back", outage.what)
		case !outage.away && a.chance(.004):
			a.do("%s away", outage.what)
		}
	}
	if w.gitAway && a.chance(.12) || a.chance(.002) {
		a.do("restart")
	}
	switch {
	case w.skew != 0 && a.chance(.1):
		a.do("skew 0s")
	case w.skew == 0 && a.chance(.003):
		a.do("skew %s", a.pick("2h", "25m", "-5m", "-1m"))
	}
	for _, n := range w.nodes {
		if a.chance(.15) {
			a.do("fault slow %s", n.Name)
		}
		if a.chance(.03) {
			a.do("fault lost %s", n.Name)
		}
		if a.chance(.01) {
			a.do("fault twice %s", n.Name)
		}
		if a.chance(.01) {
			a.do("fault later %s %d", n.Name, 1+a.rng.IntN(6))
		}
	}
	for _, f := range []struct {
		p    float64
		line string
	}{
		{.05, "lost forge"},
		{.05, "mute"},
		{.2, "drags"},
		{.03, fmt.Sprint("crash ", a.rng.IntN(3))},
		{.02, fmt.Sprint("stale ", 1+a.rng.IntN(6))},
		{.01, fmt.Sprint("stall ", 1+a.rng.IntN(5))},
		{.01, fmt.Sprint("rival ", 1+a.rng.IntN(5))},
	} {
		if a.chance(f.p) {
			a.do("fault %s", f.line)
		}
	}
}

// content is a pool's config with one thing changed, of which the word says what it costs.
func content(p render.Pool, word, value string) machine.Config {
	c := machine.Config{Files: append([]machine.File(nil), p.Config.Files...), KernelArgs: p.Config.KernelArgs, FIPS: p.Config.FIPS}
	if word == "fips" { // what only a first boot can do
		c.FIPS = value == "on"
		return c
	}
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

// paths are files of the default table, by the word for what their change costs, and one of an app
// that only the rules of a repository know: without them it costs a reboot.
var paths = map[string]string{
	"none":   "/var/lib/kubelet/config.json",
	"reload": "/etc/containers/policy.json",
	"app":    "/etc/app.conf",
}

func word(path string) string {
	for w, p := range paths {
		if p == path {
			return w
		}
	}
	return path
}
