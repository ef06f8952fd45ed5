package preview

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/blockers"
	"github.com/sluice-gitops/sluice/render"
)

// A node that joined while its pool was held has nothing yet: a change that disturbs nobody else
// brings it everything.
func TestANodeThatNeverHadAnOrderIsBareInAFleetThatIsRemembered(t *testing.T) {
	now, next := file("/etc/x"), file("/etc/x")
	next.Users = []machine.User{{Name: "core", SSHKeys: []string{"ssh-ed25519 AAAA"}}}
	nodes := fleet("worker", 2)
	nodes[0] = at(nodes[0], now)
	in := input(one(pool("worker", "", now)), one(pool("worker", "", next)), nodes...)
	in.State = landedAt(policy.Rollout{}, "", reconciler.Landing{Commit: base, Config: now.Digest()})
	r := Make(in)
	if got := r.Pools[0].Nodes["reboot"]; !slices.Equal(got, []string{"worker-2"}) || r.Assumed != 0 {
		t.Errorf("%v reboot, %d assumed; want worker-2, which has nothing, and none", got, r.Assumed)
	}
	in.State = reconciler.State{}
	if r := Make(in); len(r.Pools[0].Nodes["reboot"]) > 0 || r.Assumed != 1 {
		t.Errorf("without a controller's memory %v reboot, %d assumed; want none, and 1", r.Pools[0].Nodes, r.Assumed)
	}
}

// A node on its way to the base may be half way there: going back costs it something, although it
// still reports what it shall go back to.
func TestANodeOnItsWayPaysForTheWayBack(t *testing.T) {
	old, now := machine.Config{}, machine.Config{KernelArgs: []string{"quiet"}}
	nodes := fleet("worker", 1)
	nodes[0] = at(nodes[0], old)
	nodes[0].Order = nodeops.Order{Node: "worker-1", Generation: 2, Config: now.Digest()}
	nodes[0].Report.Phase = nodeops.Working
	in := input(one(pool("worker", "", now)), one(pool("worker", "", old)), nodes...)
	in.Known = map[machine.Digest]machine.Config{old.Digest(): old, now.Digest(): now}
	in.State = landedAt(policy.Rollout{}, "", reconciler.Landing{Commit: base, Config: now.Digest()})
	p := Make(in).Pools[0]
	if got := p.Nodes["reboot"]; !slices.Equal(got, []string{"worker-1"}) {
		t.Errorf("the nodes pay %v, want a reboot of worker-1", p.Nodes)
	}
}

// Nodes that a request takes from another pool are at the base: it is the request that moves them,
// and no earlier commit.
func TestNodesThatChangePoolsAreSaidToComeFromThere(t *testing.T) {
	before := []render.Pool{pool("edge", "", machine.Config{KernelArgs: []string{"edge"}}), pool("worker", "", machine.Config{})}
	nodes := fleet("worker", 2)
	nodes[1].Labels["node-role.kubernetes.io/edge"] = "" // a custom pool wins
	r := Make(input(before, before[1:], nodes...))
	p := r.Pools[0]
	if len(p.Joining) != 1 || p.Joining[0].From != "edge" || !slices.Equal(p.Joining[0].Nodes, []string{"worker-2"}) || p.Joining[0].Kind != impact.Reboot || p.Joining[0].Cause != "kernelArguments" {
		t.Errorf("those that come are %+v", p.Joining)
	}
	if p.Also != nil {
		t.Errorf("%+v are said to be behind, and are at the base", p.Also)
	}
	for _, want := range []string{"| 1 node comes: `kernelArguments` |", "1 node (`worker-2`) comes to pool `worker` from pool `edge`: reboot, for `kernelArguments`", "the request changes no config here"} {
		if text := r.Markdown(); !strings.Contains(text, want) {
			t.Errorf("the comment does not say %q:\n%s", want, text)
		}
	}
}

// What the table gives as the reason must be what makes the kind beside it.
func TestTheReasonInTheTableMakesTheKind(t *testing.T) {
	old, now, next := file("/etc/containers/policy.json"), file("/etc/containers/policy.json"), file("/etc/containers/policy.json")
	now.KernelArgs, next.KernelArgs = []string{"quiet"}, []string{"quiet"}
	next.Files[0].Contents = []byte("y")
	in := input(one(pool("worker", "", now)), one(pool("worker", "", next)), at(fleet("worker", 1)[0], old))
	in.Known = map[machine.Digest]machine.Config{old.Digest(): old}
	in.State = landedAt(policy.Rollout{}, "", reconciler.Landing{Commit: base, Config: now.Digest()})
	if text, want := Make(in).Markdown(), "| drain, reboot | earlier commits: `kernelArguments` |"; !strings.Contains(text, want) {
		t.Errorf("the table does not say %q:\n%s", want, text)
	}
}

// That later nodes wait for the first is the plan, and no reason to wait with the merge.
func TestAPlanInTurnIsNoReasonToWait(t *testing.T) {
	nodes := fleet("worker", 4)
	for i := range nodes {
		nodes[i].Labels["topology.kubernetes.io/zone"] = []string{"a", "b"}[i%2]
	}
	was, will := pool("worker", "3", machine.Config{}), pool("worker", "3", machine.Config{KernelArgs: []string{"quiet"}})
	rules := policy.Rollout{Canary: &policy.Canary{Nodes: "1", Soak: "10m"}, Order: &policy.Order{Zones: "barrier", MaxUnavailablePerZone: 1}, Soak: "1m"}
	was.Policy, will.Policy = rules, rules
	r := Make(input(one(was), one(will), nodes...))
	if r.Verdict != policy.Allow || len(r.Findings) > 0 || len(r.Pools[0].Left) > 0 {
		t.Errorf("verdict %v, findings %v, left %v; want allow and none", r.Verdict, r.Findings, r.Pools[0].Left)
	}
	nodes[0].Cordon = reconciler.Foreign // the zone is never finished
	if r := Make(input(one(was), one(will), nodes...)); r.Verdict != policy.Wait || len(r.Pools[0].Left) == 0 {
		t.Errorf("verdict %v, left %v; want wait, and the reason why nodes are left", r.Verdict, r.Pools[0].Left)
	}
}

// Of several pools, a finding says which it holds.
func TestAFindingOfOnePoolNamesIt(t *testing.T) {
	night := policy.Rollout{Windows: []policy.Window{{Schedule: "0 2 * * *", Duration: "1h"}}}
	before := []render.Pool{pool("edge", "", machine.Config{}), pool("worker", "", machine.Config{})}
	after := []render.Pool{pool("edge", "", file("/etc/x")), pool("worker", "", file("/etc/x"))}
	before[0].Policy, after[0].Policy = night, night
	r := Make(input(before, after, append(fleet("edge", 1), fleet("worker", 1)...)...))
	if len(r.Findings) != 1 || !strings.HasPrefix(r.Findings[0].Reason, "pool edge: outside every window") {
		t.Errorf("findings are %+v", r.Findings)
	}
	if want := "2 nodes reboot (edge, worker)."; r.Sentence() != want { // one of them at once
		t.Errorf("sentence %q, want %q", r.Sentence(), want)
	}
}

func TestTheSentenceSaysThatNobodyIsDisturbedYet(t *testing.T) {
	paused := pool("worker", "", file("/etc/x"))
	paused.Strategy.Paused = true
	r := Make(input(one(pool("worker", "", machine.Config{})), one(paused), fleet("worker", 2)...))
	if want := "2 nodes reboot (worker). None as things stand."; r.Sentence() != want {
		t.Errorf("sentence %q, want %q", r.Sentence(), want)
	}
}

// A label misspelt makes a node of no pool: it must not pass for one that nothing happens to.
func TestNodesOfNoPoolAreCounted(t *testing.T) {
	stray := reconciler.Node{Name: "stray", Ready: true, Labels: map[string]string{"node-role.kubernetes.io/wroker": ""}}
	r := Make(input(one(pool("worker", "", machine.Config{})), one(pool("worker", "", file("/etc/x"))), stray))
	if r.Outside != 1 || !strings.Contains(r.Text(), "1 node is in no pool") || !strings.Contains(r.Markdown(), "; 1 node is in no pool.") || strings.Contains(r.Markdown(), "reports") {
		t.Errorf("%d nodes are outside:\n%s", r.Outside, r.Markdown())
	}
}

// A record of another cluster knows no blocker, and that is no good news.
func TestNodesThatAreNotInTheRecordAreAFinding(t *testing.T) {
	in := input(one(pool("worker", "", machine.Config{})), one(pool("worker", "", file("/etc/x"))), fleet("worker", 2)...)
	in.Cluster = &blockers.Snapshot{At: noon.Add(-time.Minute)}
	r := Make(in)
	if r.Verdict != policy.Warn || !slices.ContainsFunc(r.Findings, func(f policy.Finding) bool {
		return f.Check == "cluster" && strings.Contains(f.Reason, "not in the record")
	}) {
		t.Errorf("verdict %v, findings %+v", r.Verdict, r.Findings)
	}
}

// Nodes that have just rebooted wait for a minute of calm. That is a late start, and no reason to
// wait with the merge.
func TestAMinuteOfCalmIsALateStart(t *testing.T) {
	now, next := machine.Config{KernelArgs: []string{"now"}}, machine.Config{KernelArgs: []string{"next"}}
	nodes := fleet("worker", 2)
	for i := range nodes {
		nodes[i] = at(nodes[i], now)
	}
	in := input(one(pool("worker", "", now)), one(pool("worker", "", next)), nodes...)
	in.State = landedAt(policy.Rollout{}, "", reconciler.Landing{Commit: base, Config: now.Digest()})
	p := in.State.Pools["worker"]
	p.Phase, p.Lately = reconciler.Progressing, map[string]time.Time{"worker-1": noon.Add(-2 * time.Minute), "worker-2": noon.Add(-2 * time.Minute)}
	in.State.Pools["worker"] = p
	r := Make(in)
	if got := r.Pools[0].Start.Sub(noon); r.Verdict != policy.Allow || got < time.Minute || got > 2*time.Minute {
		t.Errorf("verdict %v, %v; starts after %v, want allow and about a minute", r.Verdict, r.Findings, got)
	}
	p.Lately = nil
	in.State.Pools["worker"] = p
	if r := Make(in); !r.Pools[0].Start.IsZero() {
		t.Errorf("starts %v, and nothing keeps it", r.Pools[0].Start)
	}
}

// The text says, as the comment does, how many nodes are only taken to be at the base.
func TestTheTextSaysWhichNodesAreAssumed(t *testing.T) {
	r := Make(input(one(pool("worker", "", machine.Config{})), one(pool("worker", "", file("/etc/x"))), fleet("worker", 2)...))
	if want := "2 nodes of the inventory are taken to be at the base"; !strings.Contains(r.Text(), want) {
		t.Errorf("the text does not say %q:\n%s", want, r.Text())
	}
}

// The plan is for when all agree: a pool that asks nobody is not ahead of one that waits for people,
// where one of them holds the other.
func TestAPlanForWhenPeopleAgreeLetsNobodyGoAhead(t *testing.T) {
	before := []render.Pool{pool("edge", "", machine.Config{}), pool("worker", "", machine.Config{})}
	before[0].Policy = policy.Rollout{Approvals: &policy.Approvals{Count: 1}}
	after := slices.Clone(before)
	for i := range after {
		after[i].Config = machine.Config{KernelArgs: []string{"quiet"}}
	}
	nodes := append(fleet("edge", 1), fleet("worker", 2)...)
	for i := range nodes {
		nodes[i].Labels["node-role.kubernetes.io/control-plane"] = "" // of three members one may be away
	}
	in := input(digested(before), digested(after), nodes...)
	in.Standing = in.Before
	w, pools := rest(in, in.After), []Pool{{Name: "edge"}, {Name: "worker"}}
	w.run(pools)
	if edge, worker := w.begun["edge"], w.begun["worker"]; len(edge) != 1 || len(worker) != 2 || !edge[0].at.Before(worker[0].at) {
		t.Errorf("edge begins %v, worker %v; edge comes first, as it does when both may begin", edge, worker)
	}
}
