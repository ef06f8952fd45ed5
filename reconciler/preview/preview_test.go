package preview

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
)

const (
	base = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	head = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func file(path string) machine.Config {
	return machine.Config{Files: []machine.File{{Path: path, Mode: 0o644, Contents: []byte("x")}}}
}

func pool(name, limit string, c machine.Config) render.Pool {
	return render.Pool{
		Name: name, Config: c, Strategy: render.Strategy{MaxUnavailable: limit},
		Selector: labels.SelectorFromSet(labels.Set{"node-role.kubernetes.io/" + name: ""}),
	}
}

func fleet(pool string, n int) (out []reconciler.Node) {
	for i := range n {
		out = append(out, reconciler.Node{Name: fmt.Sprintf("%s-%d", pool, i+1), Ready: true, Labels: map[string]string{"node-role.kubernetes.io/" + pool: ""}})
	}
	return out
}

func input(before, after []render.Pool, nodes ...reconciler.Node) Input {
	return Input{Base: base, Head: head, MergeBase: base, Before: before, After: after, Nodes: nodes, Gate: policy.Default(), Now: noon}
}

func one(p ...render.Pool) []render.Pool { return p }

func TestPreviewSaysWhatAChangeDoes(t *testing.T) {
	reboot := machine.Config{KernelArgs: []string{"quiet"}}
	reload := file("/etc/containers/policy.json")
	held := func(p render.Pool, r policy.Rollout) render.Pool { p.Policy = r; return p }
	night := policy.Rollout{Windows: []policy.Window{{Schedule: "0 2 * * *", Duration: "1h"}}}
	for name, c := range map[string]struct {
		in       Input
		sentence string
		verdict  policy.Outcome
		waves    string
		left     int
	}{
		"kernel arguments reboot in waves of the budget": {
			in:       input(one(pool("worker", "2", machine.Config{})), one(pool("worker", "2", reboot)), fleet("worker", 3)...),
			sentence: "3 nodes reboot (worker).", waves: "[[worker-1 worker-2] [worker-3]]",
		},
		"a reload disturbs nobody more than it must": {
			in:       input(one(pool("worker", "", machine.Config{})), one(pool("worker", "", reload)), fleet("worker", 1)...),
			sentence: "1 node reloads only (worker).", waves: "[[worker-1]]",
		},
		"what did not change changes nothing": {
			in:       input(one(pool("worker", "", reload)), one(pool("worker", "", reload)), fleet("worker", 2)...),
			sentence: "No node changes.", waves: "[]",
		},
		"a file that costs nothing is rolled out all the same": {
			in:       input(one(pool("worker", "2", machine.Config{})), one(pool("worker", "2", file("/var/lib/kubelet/config.json"))), fleet("worker", 2)...),
			sentence: "No node is disturbed.", waves: "[[worker-1 worker-2]]",
		},
		"without an inventory it says what any node would pay": {
			in:       input(one(pool("worker", "", machine.Config{})), one(pool("worker", "", reboot))),
			sentence: "each node of worker reboots.", waves: "[]",
		},
		"outside the window the first wave waits for it": {
			in:       input(one(held(pool("worker", "", machine.Config{}), night)), one(held(pool("worker", "", reboot), night)), fleet("worker", 1)...),
			sentence: "1 node reboots (worker). None before Tue 24 Nov 2026 02:00 UTC.", verdict: policy.Wait, waves: "[[worker-1]]",
		},
		"a change that takes away its own window waits for the old one": {
			in:       input(one(held(pool("worker", "", machine.Config{}), night)), one(pool("worker", "", reboot)), fleet("worker", 1)...),
			sentence: "1 node reboots (worker). None before Tue 24 Nov 2026 02:00 UTC.", verdict: policy.Wait, waves: "[[worker-1]]",
		},
		"what cannot be done in place is denied before a node is touched": {
			in:       input(one(pool("worker", "", machine.Config{})), one(pool("worker", "", machine.Config{FIPS: true})), fleet("worker", 2)...),
			sentence: "2 nodes cannot change in place (worker).", verdict: policy.Deny, waves: "[]", left: 2,
		},
		"it is denied without an inventory, too": {
			in:       input(one(pool("worker", "", machine.Config{})), one(pool("worker", "", machine.Config{FIPS: true}))),
			sentence: "each node of worker cannot change in place.", verdict: policy.Deny, waves: "[]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := Make(c.in)
			if got := r.Sentence(); got != c.sentence {
				t.Errorf("sentence %q, want %q", got, c.sentence)
			}
			if r.Verdict != c.verdict {
				t.Errorf("verdict %v, want %v: %v", r.Verdict, c.verdict, r.Findings)
			}
			if got := fmt.Sprint(r.Pools[0].Waves); got != c.waves {
				t.Errorf("waves %s, want %s", got, c.waves)
			}
			if got := len(r.Pools[0].Left); got != c.left {
				t.Errorf("%d nodes are left, want %d", got, c.left)
			}
			if late := c.verdict == policy.Wait; late != !r.Pools[0].Start.IsZero() {
				t.Errorf("starts %v", r.Pools[0].Start)
			}
		})
	}
}

func TestPreviewGoesByWhatNodesHave(t *testing.T) {
	old, before := machine.Config{KernelArgs: []string{"old"}}, file("/etc/containers/policy.json")
	after := file("/etc/containers/policy.json")
	after.Files[0].Contents = []byte("y")
	nodes := fleet("worker", 2)
	nodes[1].Order = nodeops.Order{Node: "worker-2", Generation: 1, Config: old.Digest()}
	nodes[1].Report = nodeops.Report{Generation: 1, Config: old.Digest(), Phase: nodeops.Done}
	in := input(one(pool("worker", "2", before)), one(pool("worker", "2", after)), nodes...)
	in.Known = map[machine.Digest]machine.Config{old.Digest(): old}
	p := Make(in).Pools[0]
	if !slices.Equal(p.Nodes["reload"], []string{"worker-1"}) || !slices.Equal(p.Nodes["reboot"], []string{"worker-2"}) {
		t.Errorf("nodes %v: worker-2 lags behind the base and must reboot", p.Nodes)
	}
	in.Known = nil
	if p := Make(in).Pools[0]; !slices.Equal(p.Nodes["reboot"], []string{"worker-2"}) {
		t.Errorf("nodes %v: a config that nobody knows any more costs a reboot", p.Nodes)
	}
}

// A node that nobody judges, since somebody else has cordoned it, may be the only one that cannot
// follow.
func TestANodeThatCannotFollowIsNamedThoughNothingChanges(t *testing.T) {
	old := machine.Config{FIPS: true}
	nodes := fleet("worker", 2)
	nodes[1].Order = nodeops.Order{Node: "worker-2", Generation: 1, Config: old.Digest()}
	nodes[1].Report = nodeops.Report{Generation: 1, Config: old.Digest(), Phase: nodeops.Done}
	nodes[1].Cordon = reconciler.Foreign
	in := input(one(pool("worker", "", machine.Config{})), one(pool("worker", "", machine.Config{})), nodes...)
	in.Known = map[machine.Digest]machine.Config{old.Digest(): old}
	r := Make(in)
	if r.Verdict != policy.Deny || !strings.Contains(r.Markdown(), "worker-2: fips") {
		t.Errorf("verdict %v:\n%s", r.Verdict, r.Markdown())
	}
}

func TestALargeFleetIsForetoldInFull(t *testing.T) {
	in := input(one(pool("worker", "1", machine.Config{})), one(pool("worker", "1", machine.Config{OSImage: "x"})), fleet("worker", 1000)...)
	p := Make(in).Pools[0]
	taken := map[string]bool{}
	for _, wave := range p.Waves {
		if len(wave) != 1 {
			t.Fatalf("wave %v is larger than the budget", wave)
		}
		taken[wave[0]] = true
	}
	if len(taken) != 1000 || len(p.Left) != 0 {
		t.Errorf("%d of 1000 nodes are in a wave, %d left", len(taken), len(p.Left))
	}
}

func TestTheCommentSaysWhatWasCompared(t *testing.T) {
	in := input(one(pool("worker", "", machine.Config{})), one(pool("worker", "", machine.Config{})), fleet("worker", 1)...)
	in.MergeBase = strings.Repeat("c", 40)
	text := Make(in).Markdown()
	for _, want := range []string{"Compared `ccccccc` with `bbbbbbb`", "on top of what the branch has since (`aaaaaaa`)", "1 node of the inventory is taken to be at the base"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}
