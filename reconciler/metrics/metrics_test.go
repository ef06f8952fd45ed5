package metrics

import (
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) // a Monday
	ago  = func(d time.Duration) time.Time { return noon.Add(-d) }
)

const commit = "c0ffee0123456789c0ffee0123456789c0ffee01"

func pool(name string, policy policy.Rollout) render.Pool {
	return render.Pool{Name: name, Selector: labels.SelectorFromSet(labels.Set{"pool": name}), Policy: policy, Digest: "new-0123456789abcdef"}
}

func node(name, pool string, change func(*reconciler.Node)) reconciler.Node {
	n := reconciler.Node{Name: name, Labels: map[string]string{"pool": pool}, Ready: true}
	n.Order = nodeops.Order{Node: name, Generation: 7, Config: "new-0123456789abcdef"}
	n.Report = nodeops.Report{Generation: 7, Config: n.Order.Config, Phase: nodeops.Done, BootID: "b1"}
	if change != nil {
		change(&n)
	}
	return n
}

// old is a node that has not been begun.
func old(n *reconciler.Node) {
	n.Order.Generation, n.Order.Config, n.Report.Generation, n.Report.Config = 6, "old", 6, "old"
}

// everything is a look at a fleet in which all that has a metric happens at once.
func everything() loop.Look {
	saturday := policy.Rollout{Windows: []policy.Window{{Schedule: "0 2 * * 6", Duration: "4h"}}}
	o := reconciler.Observed{
		Now:     noon,
		Head:    reconciler.Head{Revision: source.Revision{Commit: commit}, Pools: []render.Pool{pool("edge", saturday), pool("worker", policy.Rollout{})}},
		Broken:  &reconciler.Broken{Why: "x"},
		Rewound: &reconciler.Broken{Why: "y"},
		Holds: []policy.Hold{
			{By: "ada", Since: ago(time.Hour)}, {Pool: "edge", Since: ago(2 * time.Hour)}, {Pool: "worker", Since: ago(9 * time.Hour), Until: ago(time.Minute)},
		},
	}
	o.Nodes = []reconciler.Node{
		node("alone", "", func(n *reconciler.Node) { n.Cordon = reconciler.Ours }),
		node("e1", "edge", old),
		node("w1", "worker", func(n *reconciler.Node) { n.Created = ago(3 * time.Hour) }),
		node("w2", "worker", func(n *reconciler.Node) {
			old(n)
			n.Cordon, n.Blocked = reconciler.Ours, "pod shop/db-0: PodDisruptionBudget db needs 2 healthy pods and has 2 currently"
		}),
		node("w3", "worker", func(n *reconciler.Node) { n.Report.Generation, n.Cordon = 6, reconciler.Ours }),
		node("w4", "worker", func(n *reconciler.Node) { n.Report.Phase = nodeops.Failed }),
		node("w5", "worker", func(n *reconciler.Node) { old(n); n.Cordon, n.Drained = reconciler.Ours, true }),
		node("w6", "worker", func(n *reconciler.Node) {
			n.Created, n.Order, n.Report = ago(2*time.Hour), nodeops.Order{}, nodeops.Report{}
		}),
		node("w7", "worker", func(n *reconciler.Node) {
			n.Report.Drift = []nodeops.Drift{{Path: "/a", Kind: nodeops.DriftContent}, {Path: "/b", Kind: nodeops.DriftContent}, {Path: "/c", Kind: "<odd>"}}
		}),
		node("w8", "worker", func(n *reconciler.Node) { n.Report.Phase = nodeops.Refused }),
		node("w9", "worker", func(n *reconciler.Node) { n.Report.Phase = nodeops.Restored }),
	}
	state := reconciler.State{
		Good: source.Revision{Commit: commit}, Strays: map[string]string{"alone": "two pools"},
		Reviewed: &reconciler.Reviewed{Commit: commit, Kinds: map[string]impact.Kind{"worker": impact.Reload}},
		Pools: map[string]reconciler.Pool{
			"edge": {
				Phase: reconciler.Waiting, Since: ago(time.Hour), AttemptAt: ago(2 * time.Hour), Revision: source.Revision{Commit: commit}, Target: "new-0123456789abcdef",
				Rules: reconciler.Rules{Rollout: saturday}, Counts: reconciler.Counts{Nodes: 1},
				Waiting: []policy.Finding{
					{Check: "window", Outcome: policy.Wait}, {Check: "hold", Outcome: policy.Wait}, {Check: "hold", Outcome: policy.Wait, Reason: "2"}, {Check: "soak", Outcome: policy.Warn},
				},
			},
			"worker": {
				Phase: reconciler.Progressing, Since: ago(time.Hour), AttemptAt: ago(time.Hour), LastAt: ago(time.Minute), Revision: source.Revision{Commit: commit},
				Target: "new-0123456789abcdef", Rules: reconciler.Rules{MaxUnavailable: "50%"}, Counts: reconciler.Counts{Nodes: 9, Unavailable: 4},
				Skipped: map[string]string{"w5": "late"},
				Begun:   map[string]reconciler.Begun{"w2": {At: ago(50 * time.Minute), Drain: ago(50 * time.Minute)}, "w3": {At: ago(5 * time.Minute), Drain: ago(5 * time.Minute)}},
			},
		},
	}
	return loop.Look{
		Loaded: true, Whole: true, Seen: o, State: state, Took: 200 * time.Millisecond, Saves: 2, Asked: true, Heard: noon,
		Effects: []reconciler.Effect{reconciler.Drain{Node: "w2"}, reconciler.Send{Order: nodeops.Order{Node: "w5", Ceiling: impact.Reboot}}},
	}
}

// exposition is what Prometheus would read of the fleet.
func exposition(t *testing.T, f *Fleet) string {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(f); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s %v", w.Code, body, err)
	}
	return string(body)
}

// full is a fleet of which every metric is said.
func full() *Fleet {
	f := New("prod")
	f.Lead(true)
	f.Tell(everything())
	f.ForgeCall("ok", 4999)
	f.ContentRequest(200)
	f.Waited(1500 * time.Millisecond)
	return f
}

func TestExposition(t *testing.T) {
	got := exposition(t, full())
	golden := filepath.Join("testdata", "everything.prom")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("with -update it is written anew, if it should be so:\n%s", diff)
	}
	for _, m := range table {
		if !strings.Contains(got, "\n"+m.name+"{") {
			t.Errorf("the look at everything has no %s", m.name)
		}
	}
	if !slices.IsSortedFunc(table, func(a, b metric) int { return strings.Compare(a.name, b.name) }) {
		t.Error("the table is not in order")
	}
}

// TestSeriesGoWithWhatTheySpeakOf holds that nothing is said of a pool or node that is gone, nor by
// a controller that another has taken the lease from.
func TestSeriesGoWithWhatTheySpeakOf(t *testing.T) {
	f := full()
	k := everything()
	delete(k.State.Pools, "edge")
	k.Seen.Head.Pools = k.Seen.Head.Pools[1:]
	k.Seen.Nodes = slices.DeleteFunc(k.Seen.Nodes, func(n reconciler.Node) bool { return n.Name == "w2" || n.Name == "e1" })
	f.Tell(k)
	for _, gone := range []string{`pool="edge"`, `node="w2"`} {
		if got := exposition(t, f); strings.Contains(got, gone) || !strings.Contains(got, `pool="worker"`) {
			t.Errorf("%s is still spoken of, or the worker pool is not:\n%s", gone, got)
		}
	}
	f.Tell(loop.Look{Loaded: true, Err: errors.New("no answer")})
	if got := exposition(t, f); !strings.Contains(got, `pool="worker"`) || !strings.Contains(got, `sluice_tick_errors_total{fleet="prod"} 1`) {
		t.Errorf("a tick that saw nothing takes away what was seen, or is not counted:\n%s", got)
	}
	f.Lead(false)
	want := `# HELP sluice_content_requests_total Requests of agents for their configs, by the status code that they got.
# TYPE sluice_content_requests_total counter
sluice_content_requests_total{code="200",fleet="prod"} 1
# HELP sluice_leader 1 where this process is the fleet's controller, 0 where it waits for the lease.
# TYPE sluice_leader gauge
sluice_leader{fleet="prod"} 0
`
	if diff := cmp.Diff(want, exposition(t, f)); diff != "" {
		t.Errorf("of a fleet that another controls it says more: %s", diff)
	}
}

func TestCounts(t *testing.T) {
	reboot := func(k *loop.Look) { k.Seen.Nodes[2].Report.BootID = "b2" }
	mute := func(k *loop.Look) { k.Seen.Nodes[2].Report.BootID = "" }
	worker := func(change func(*reconciler.Pool)) func(*loop.Look) {
		return func(k *loop.Look) {
			p := k.State.Pools["worker"]
			change(&p)
			k.State.Pools["worker"] = p
		}
	}
	back := func(p *reconciler.Pool) { p.RollbackOf, p.Generation, p.Target = "c0", 9, "old" }
	taken := func(p *reconciler.Pool) { back(p); p.Spurned = "new-0123456789abcdef" }
	sends := func(kind impact.Kind, node string) func(*loop.Look) {
		return func(k *loop.Look) {
			k.Effects = []reconciler.Effect{reconciler.Send{Order: nodeops.Order{Node: node, Ceiling: kind}}}
		}
	}
	unreviewed := func(k *loop.Look) { sends(impact.Reboot, "w5")(k); k.State.Reviewed = nil }
	another := func(k *loop.Look) { sends(impact.Reboot, "w5")(k); k.State.Reviewed.Commit = "c1" }
	silent := func(k *loop.Look) { k.Git = errors.New("no route") }
	still := func(k *loop.Look) { k.Effects = nil }
	const (
		reboots  = `sluice_pool_reboots_total{fleet="prod",pool="worker"} `
		byCommit = `sluice_pool_rollbacks_total{by="commit",fleet="prod",pool="worker"} `
		byPolicy = `sluice_pool_rollbacks_total{by="policy",fleet="prod",pool="worker"} `
		missed   = `sluice_pool_preview_mismatches_total{fleet="prod",pool="worker"} `
	)
	for _, row := range []struct {
		name  string
		looks []func(*loop.Look)
		want  string
	}{
		{"nothing is counted at the first look", []func(*loop.Look){still}, reboots + "0"},
		{"a new boot is a reboot", []func(*loop.Look){still, reboot, reboot}, reboots + "1"},
		{"a node that says nothing for a while has not rebooted", []func(*loop.Look){still, mute, still}, reboots + "0"},
		{"a node that is silent and comes back anew has", []func(*loop.Look){still, mute, reboot}, reboots + "1"},
		{"a revert is a rollback, once", []func(*loop.Look){still, worker(back), worker(back)}, byCommit + "1"},
		{"what was under way at the start is no rollback of now", []func(*loop.Look){worker(back), worker(back)}, byCommit + "0"},
		{"the policy's own", []func(*loop.Look){still, worker(taken)}, byPolicy + "1"},
		{"the policy's own is none by a commit", []func(*loop.Look){still, worker(taken)}, byCommit + "0"},
		{"a reboot of which a preview said reload, once for each commit", []func(*loop.Look){sends(impact.Reboot, "w5"), sends(impact.Reboot, "w2")}, missed + "1"},
		{"as was said", []func(*loop.Look){sends(impact.Reload, "w5")}, missed + "0"},
		{"a failed node pays what it needs", []func(*loop.Look){sends(impact.Reboot, "w4")}, missed + "0"},
		{"a bare node, too", []func(*loop.Look){sends(impact.Reboot, "w6")}, missed + "0"},
		{"the way back of the policy is not the commit's", []func(*loop.Look){func(k *loop.Look) { worker(taken)(k); sends(impact.Reboot, "w5")(k) }}, missed + "0"},
		{"no preview was shown", []func(*loop.Look){unreviewed}, missed + "0"},
		{"the preview was of another commit", []func(*loop.Look){another}, missed + "0"},
		{"Git answers", []func(*loop.Look){still}, `sluice_git_silent{fleet="prod"} 0`},
		{"Git does not answer", []func(*loop.Look){still, silent}, `sluice_git_silent{fleet="prod"} 1`},
		{"each question to Git is counted", []func(*loop.Look){still, silent, still}, `sluice_git_looks_total{fleet="prod",outcome="ok"} 2`},
		{"so is one without an answer", []func(*loop.Look){still, silent, still}, `sluice_git_looks_total{fleet="prod",outcome="error"} 1`},
		{
			"the operator's guardrail shuts a pool's window",
			[]func(*loop.Look){func(k *loop.Look) { k.Seen.Guardrail = &k.Seen.Head.Pools[0].Policy }},
			`sluice_pool_window_open{fleet="prod",pool="worker"} 0`,
		},
		{
			"so does the newest commit",
			[]func(*loop.Look){func(k *loop.Look) { k.Seen.Head.Pools[1].Policy = k.Seen.Head.Pools[0].Policy }},
			`sluice_pool_window_open{fleet="prod",pool="worker"} 0`,
		},
		{
			"a node that has failed is drained as any other",
			[]func(*loop.Look){func(k *loop.Look) { k.Seen.Nodes[3].Report.Phase = nodeops.Failed }},
			`sluice_node_drain_begun_timestamp_seconds{fleet="prod",node="w2",pool="worker"} 1.7954322e+09`,
		},
		{"a tick in which nodes could not be marked", []func(*loop.Look){still, func(k *loop.Look) { k.Mark = errors.New("no right") }, still}, `sluice_mark_errors_total{fleet="prod"} 1`},
		{"saves add up", []func(*loop.Look){still, still}, `sluice_state_saves_total{fleet="prod"} 4`},
		{
			"since when a node does not answer stays what it was",
			[]func(*loop.Look){still, func(k *loop.Look) { k.Seen.Now = noon.Add(time.Hour) }},
			`sluice_node_unanswered_timestamp_seconds{fleet="prod",node="w3",pool="worker"} 1.7954352e+09`,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := New("prod")
			f.Lead(true)
			for _, change := range row.looks {
				k := everything()
				change(&k)
				f.Tell(k)
			}
			if got := exposition(t, f); !strings.Contains(got, row.want+"\n") {
				name, _, _ := strings.Cut(row.want, "{")
				t.Errorf("want %s, got\n%s", row.want, strings.Join(regexp.MustCompile(`(?m)^`+name+`\{.*$`).FindAllString(got, -1), "\n"))
			}
		})
	}
}

// TestProgress holds from when a pool is reckoned that does not get on: what keeps it back for a reason
// that was meant does not count, and to and fro is no progress.
func TestProgress(t *testing.T) {
	type moment struct {
		phase  reconciler.Phase
		checks []string
	}
	going := moment{phase: reconciler.Progressing}
	waits := func(checks ...string) moment { return moment{reconciler.Waiting, checks} }
	arrived := moment{phase: "arrived"}
	// Looks are ten minutes apart, the first is at noon. The phase had last changed at 11, the attempt began at 10.
	for _, row := range []struct {
		name  string
		looks []moment
		want  time.Duration // after noon
	}{
		{"of what nobody looked at, the last change is known", []moment{going, going}, -time.Hour},
		{"to and fro is no progress", []moment{going, waits("maxUnavailable"), going, waits("drain"), going}, -time.Hour},
		{"a node at the target is", []moment{going, arrived, going}, 10 * time.Minute},
		{"a closed window does not count", []moment{going, waits("window", "approvals"), going}, 10 * time.Minute},
		{"nor does a hold", []moment{waits("health", "hold"), going, going}, 0},
		{"nor a pause", []moment{going, {phase: reconciler.Paused}, going}, 10 * time.Minute},
		{"nor a soak", []moment{going, waits("soak"), going}, 10 * time.Minute},
		{"nor the canaries' soak", []moment{going, waits("canary"), going}, 10 * time.Minute},
		{"nor another pool that is first", []moment{going, waits("after"), going}, 10 * time.Minute},
		{"nor being at rest", []moment{{phase: reconciler.Updated}, {phase: reconciler.Updated}, going}, 10 * time.Minute},
		{"a missing approval does", []moment{going, waits("approvals"), going}, -time.Hour},
		{"a closed gate does", []moment{going, waits("health"), waits("expression")}, -time.Hour},
		{"a canary that waits for a gate does", []moment{going, waits("canary", "health")}, -time.Hour},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := New("prod")
			f.Lead(true)
			p := reconciler.Pool{Since: ago(time.Hour), AttemptAt: ago(2 * time.Hour)}
			var k loop.Look
			for i, m := range row.looks {
				now := noon.Add(time.Duration(i) * 10 * time.Minute)
				if m.phase != p.Phase && i > 0 {
					p.Since = now
				}
				if p.Phase, p.Waiting = m.phase, nil; m.phase == arrived.phase {
					p.Phase, p.LastAt = reconciler.Progressing, now
				}
				for _, check := range m.checks {
					p.Waiting = append(p.Waiting, policy.Finding{Check: check, Outcome: policy.Wait})
				}
				k = loop.Look{Loaded: true, Whole: true, Seen: reconciler.Observed{Now: now}, State: reconciler.State{Pools: map[string]reconciler.Pool{"worker": p}}}
				f.Tell(k)
			}
			got := regexp.MustCompile(`(?m)^sluice_pool_progress_timestamp_seconds\{.*\} (.*)$`).FindStringSubmatch(exposition(t, f))
			at, err := strconv.ParseFloat(got[1], 64)
			if err != nil || !time.Unix(int64(at), 0).Equal(noon.Add(row.want)) {
				t.Errorf("it is reckoned from %s after noon, want %s", time.Unix(int64(at), 0).Sub(noon), row.want)
			}
		})
	}
}

func TestWindows(t *testing.T) {
	in := func(schedule, duration string) policy.Rollout {
		return policy.Rollout{Windows: []policy.Window{{Schedule: schedule, Duration: duration}}}
	}
	frozen := policy.Rollout{Freezes: []policy.Freeze{{From: ago(time.Hour), To: noon.Add(48 * time.Hour)}}}
	at := func(s string) time.Time {
		when, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, row := range []struct {
		name  string
		rules []policy.Rollout
		open  bool
		next  time.Time
	}{
		{"no window is always open", []policy.Rollout{{}}, true, time.Time{}},
		{"closed until the night", []policy.Rollout{in("0 2 * * *", "4h")}, false, at("2026-11-24 02:00")},
		{"open, and again tomorrow", []policy.Rollout{in("0 11 * * *", "4h")}, true, at("2026-11-24 11:00")},
		{"a freeze without windows", []policy.Rollout{frozen}, false, at("2026-11-25 12:00")},
		{"a freeze shuts the others' windows", []policy.Rollout{in("0 2 * * *", "4h"), frozen}, false, at("2026-11-26 02:00")},
		{"all must be open at once", []policy.Rollout{in("0 2 * * *", "4h"), in("0 4 * * 6", "6h")}, false, at("2026-11-28 04:00")},
		{"one opens every night, another in March", []policy.Rollout{in("0 2 * * *", "4h"), in("0 3 1 3 *", "2h")}, false, at("2027-03-01 03:00")},
		{"they never are", []policy.Rollout{in("0 2 * * *", "1h"), in("0 4 * * *", "1h")}, false, time.Time{}},
		{"a rule that cannot be read is closed for ever", []policy.Rollout{in("never", "1h"), {}}, false, time.Time{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var next time.Time
			got := window("worker", row.rules, noon)
			for _, s := range got[1:] {
				next = time.Unix(int64(s.value), 0).UTC()
			}
			if open := got[0].value == 1; open != row.open || !next.Equal(row.next) {
				t.Errorf("open %v, next %v; want %v, %v", open, next, row.open, row.next)
			}
		})
	}
}

// TestObstaclesAreTheFleetsWords reads the words of blocked drains where they are made: reworded
// there, all drains would be blocked by "other" here.
func TestObstaclesAreTheFleetsWords(t *testing.T) {
	said, err := os.ReadFile("../kube/pods.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range obstacles {
		if !strings.Contains(string(said), o.word) {
			t.Errorf("the fleet says %q no more", o.word)
		}
	}
	if got := obstacle("something new"); got != "other" {
		t.Errorf("what nobody knows is %q", got)
	}
}
