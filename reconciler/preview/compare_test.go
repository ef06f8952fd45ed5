package preview

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
)

// at puts a node at a config, as its report says.
func at(n reconciler.Node, c machine.Config, drift ...nodeops.Drift) reconciler.Node {
	n.Order = nodeops.Order{Node: n.Name, Generation: 1, Config: c.Digest()}
	n.Report = nodeops.Report{Generation: 1, Config: c.Digest(), Phase: nodeops.Done, Drift: drift}
	return n
}

// landedAt is a pool at rest on the last of its landings.
func landedAt(rules policy.Rollout, limit string, landings ...reconciler.Landing) reconciler.State {
	last := landings[0]
	p := reconciler.Pool{
		Phase: reconciler.Updated, Target: last.Config, Generation: 1, History: landings,
		Rules: reconciler.Rules{Rollout: rules, MaxUnavailable: limit},
	}
	p.Revision.Commit = last.Commit
	return reconciler.State{Generation: 1, Pools: map[string]reconciler.Pool{"worker": p}}
}

func TestTheThreeComparisonsAreToldApart(t *testing.T) {
	const older = "cccccccccccccccccccccccccccccccccccccccc"
	old, now := file("/etc/containers/policy.json"), file("/etc/containers/policy.json")
	now.KernelArgs = []string{"quiet"}
	next := file("/etc/containers/policy.json")
	next.KernelArgs = now.KernelArgs
	next.Files[0].Contents = []byte("y")
	nodes := fleet("worker", 3)
	nodes[0], nodes[1], nodes[2] = at(nodes[0], now), at(nodes[1], old), at(nodes[2], now, nodeops.Drift{Path: "/etc/x", Kind: nodeops.DriftContent, Why: "differs"})
	in := input(one(pool("worker", "", now)), one(pool("worker", "", next)), nodes...)
	in.Known = map[machine.Digest]machine.Config{old.Digest(): old}
	in.State = landedAt(policy.Rollout{}, "", reconciler.Landing{Commit: base, Config: now.Digest()}, reconciler.Landing{Commit: older, Config: old.Digest()})
	if got := in.Behind(); !slices.Equal(got, []string{older}) {
		t.Fatalf("nodes are at %v, want %s", got, older)
	}
	in.Queued = map[string][]string{older: {base}}
	r := Make(in)
	p := r.Pools[0]
	if len(p.Actions) != 1 || p.Actions[0].Kind != impact.Reload {
		t.Errorf("the request is %+v, want one reload", p.Actions)
	}
	if a := p.Also; a == nil || !slices.Equal(a.Nodes, []string{"worker-2"}) || a.Since != older || !slices.Equal(a.Commits, []string{base}) ||
		a.Kind != impact.Reboot || !a.Worse || a.Cause != "kernelArguments" {
		t.Errorf("the longer way is %+v", p.Also)
	}
	if p.Revert == nil || *p.Revert != (Revert{Kind: impact.Reload, Symmetric: true, Cause: "/etc/containers/policy.json"}) {
		t.Errorf("the revert is %+v", p.Revert)
	}
	if p.Kind != impact.Reboot || r.Kinds()["worker"] != impact.Reboot {
		t.Errorf("the pool is said to cost %v, want what the worst of its nodes pays", p.Kind)
	}
	if len(p.Drifted) != 1 || p.Drifted[0].Node != "worker-3" || !p.Drifted[0].Waits {
		t.Errorf("drifted are %+v, want worker-3, which waits", p.Drifted)
	}
	for form, text := range map[string]string{"markdown": r.Markdown(), "text": r.Text()} {
		plain := strings.NewReplacer("`", "").Replace(text)
		for _, want := range []string{
			"1 node of pool worker (worker-2) also takes up 1 earlier commit (aaaaaaa), which makes it reboot, for kernelArguments",
			"a revert costs the same: reload", "node worker-3 has drifted: /etc/x (content): not taken until somebody puts it back",
		} {
			if !strings.Contains(plain, want) {
				t.Errorf("the %s does not say %q:\n%s", form, want, text)
			}
		}
	}
}

func TestARevertMayCostMoreThanTheChange(t *testing.T) {
	cheap := pool("worker", "", file("/etc/x"))
	cheap.Rules = []impact.Rule{{Path: "/etc/x", Actions: []impact.Action{{Kind: impact.Nothing}}}}
	r := Make(input(one(pool("worker", "", machine.Config{})), one(cheap), fleet("worker", 1)...))
	if p := r.Pools[0]; p.Kind != impact.Nothing || p.Revert == nil || p.Revert.Kind != impact.Reboot || p.Revert.Symmetric {
		t.Errorf("kind %v, revert %+v: the rule that makes it cheap goes with the revert", p.Kind, p.Revert)
	}
	if text := r.Markdown(); !strings.Contains(text, "a revert costs: reboot, for `/etc/x`") {
		t.Errorf("the comment does not say so:\n%s", text)
	}
}

// The branch goes on while a pull request is open: merging it takes nothing back.
func TestWhatTheBranchHasSinceIsNotUndone(t *testing.T) {
	fork, head, now := file("/etc/containers/policy.json"), file("/etc/containers/policy.json"), file("/etc/containers/policy.json")
	head.Files[0].Contents = []byte("y")
	now.KernelArgs = []string{"quiet"}
	nodes := fleet("worker", 2)
	for i := range nodes {
		nodes[i] = at(nodes[i], now)
	}
	in := input(one(pool("worker", "", fork)), one(pool("worker", "", head)), nodes...)
	in.MergeBase, in.Standing = strings.Repeat("c", 40), one(pool("worker", "", now), pool("later", "", now))
	r := Make(in)
	if got, want := r.Sentence(), "2 nodes reload only (worker)."; got != want || r.Verdict != policy.Allow {
		t.Errorf("%q, %v, want %q", got, r.Verdict, want)
	}
	if i := slices.IndexFunc(r.Pools, func(p Pool) bool { return p.Name == "later" }); i < 0 || r.Pools[i].Changed {
		t.Errorf("a pool that the branch has since is %+v", r.Pools)
	}
	in.Standing[0].Config.Files = file("/etc/containers/policy.json").Files
	in.Standing[0].Config.Files[0].Contents = []byte("z")
	if r := Make(in); r.Verdict != policy.Warn || !strings.Contains(r.Markdown(), "was changed on the branch, too") {
		t.Errorf("both have changed one file, and the verdict is %v:\n%s", r.Verdict, r.Markdown())
	}
}

func TestARenamedPoolIsOneThing(t *testing.T) {
	as := func(name string) render.Pool {
		p := pool(name, "", file("/etc/x"))
		p.Selector = labels.SelectorFromSet(labels.Set{"node-role.kubernetes.io/worker": ""})
		return p
	}
	for name, nodes := range map[string][]reconciler.Node{"with nodes": fleet("worker", 2), "without": nil} {
		t.Run(name, func(t *testing.T) {
			r := Make(input(one(as("worker")), one(as("edge")), nodes...))
			p := r.Pools[0]
			if p.Was != "worker" || p.Changed || len(p.Waves) > 0 || len(r.Findings) != 1 {
				t.Errorf("the pool is %+v, with %+v", p, r.Findings)
			}
			if text := r.Text(); !strings.Contains(text, "pool worker is called edge now") || strings.Contains(text, "goes") {
				t.Errorf("it says\n%s", text)
			}
		})
	}
	both := func(name string) render.Pool {
		p := pool(name, "", file("/etc/x"))
		return p
	}
	in := input(one(both("edge"), both("worker")), one(both("edge")), slices.Concat(fleet("edge", 1), fleet("worker", 2))...)
	in.Nodes[1].Labels["node-role.kubernetes.io/edge"] = ""
	delete(in.Nodes[1].Labels, "node-role.kubernetes.io/worker")
	if text := Make(in).Text(); !strings.Contains(text, "pool worker goes: its nodes stay as they are, without a pool") {
		t.Errorf("it says\n%s", text)
	}
}

func TestThePlanGoesByTheTimeThatNodesTake(t *testing.T) {
	night := policy.Rollout{Windows: []policy.Window{{Schedule: "0 2 * * *", Duration: "1h"}}}
	now, next := machine.Config{}, machine.Config{KernelArgs: []string{"quiet"}}
	before, after := pool("worker", "", now), pool("worker", "", next)
	before.Policy, after.Policy = night, night
	nodes := fleet("worker", 5)
	for i := range nodes {
		nodes[i] = at(nodes[i], now)
	}
	in := input(one(before), one(after), nodes...)
	in.State = landedAt(night, "", reconciler.Landing{Commit: base, Config: now.Digest()})
	p := in.State.Pools["worker"]
	p.Pace = map[string][]time.Duration{"reboot": {25 * time.Minute, 25 * time.Minute, 25 * time.Minute}}
	in.State.Pools["worker"] = p

	got := Make(in).Pools[0]
	if len(got.Waves) != 5 || len(got.Left) > 0 {
		t.Fatalf("waves %v, left %v", got.Waves, got.Left)
	}
	first := time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)
	want := []Turn{{first, 2, 2}, {first.AddDate(0, 0, 1), 2, 2}, {first.AddDate(0, 0, 2), 1, 1}}
	if !slices.EqualFunc(got.Windows, want, func(a, b Turn) bool {
		return a.Waves == b.Waves && a.Nodes == b.Nodes && a.From.Sub(b.From).Abs() < time.Minute
	}) {
		t.Errorf("the windows take %v, want two nodes of 25 minutes each hour: %v", got.Windows, want)
	}
	if e := got.Estimate; e == nil || e.Typical != 125*time.Minute || e.Samples != 3 {
		t.Errorf("the estimate is %+v", got.Estimate)
	}
	text := Make(in).Text()
	for _, want := range []string{"waves 1 to 2 (2 nodes) from Tue 24 Nov 2026 02:00 UTC", "wave 5 (1 node) from Thu 26 Nov", "about 2h05m (slow 2h05m, n=3)"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	p.Pace = nil
	in.State.Pools = map[string]reconciler.Pool{"worker": p}
	if text := Make(in).Text(); !strings.Contains(text, "no history to say how long") {
		t.Errorf("it does not say that it guesses:\n%s", text)
	}
}

func TestKernelArgumentsShowNoSecrets(t *testing.T) {
	before := pool("worker", "", machine.Config{KernelArgs: []string{"quiet", "hugepages=64", "vconsole.keymap=us"}})
	after := pool("worker", "", machine.Config{KernelArgs: []string{
		"quiet", "hugepages=128", "vconsole.keymap=de", "rootpw=hunter1", "app.token=hunter2", "wifi.psk=hunter3",
		"inst.ks=https://me:hunter4@example.com/ks", "systemd.set_credential=db:hunter5",
	}})
	r := Make(input(one(before), one(after), fleet("worker", 1)...))
	for form, text := range map[string]string{"markdown": r.Markdown(), "text": r.Text(), "json": fmt.Sprintf("%+v", r)} {
		if strings.Contains(text, "hunter") {
			t.Errorf("the %s shows a secret:\n%s", form, text)
		}
		for _, want := range []string{"+hugepages=128", "+vconsole.keymap=de", "+rootpw=(not shown: ", "-hugepages=64"} {
			if !strings.Contains(text, want) {
				t.Errorf("the %s does not show %q:\n%s", form, want, text)
			}
		}
	}
}

// What only people can give is said, and does not hide what happens once they do.
func TestAPlanIsMadeForWhenPeopleAgree(t *testing.T) {
	p := pool("worker", "", machine.Config{})
	p.Policy = policy.Rollout{Approvals: &policy.Approvals{Count: 2}, RequirePreviewMatch: true, Signed: true}
	after := p
	after.Config = machine.Config{KernelArgs: []string{"quiet"}}
	r := Make(input(one(p), one(after), fleet("worker", 2)...))
	checks := map[string]bool{}
	for _, f := range r.Findings {
		checks[f.Check] = true
	}
	if !maps.Equal(checks, map[string]bool{"approvals": true, "signed": true}) || r.Verdict != policy.Wait {
		t.Errorf("verdict %v: %+v", r.Verdict, r.Findings)
	}
	if got := len(r.Pools[0].Waves); got != 2 {
		t.Errorf("%d waves, want two: %+v", got, r.Pools[0])
	}
}
