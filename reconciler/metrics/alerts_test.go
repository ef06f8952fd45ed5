package metrics

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	rulesFile = "../../charts/sluice/files/alerts.yaml"
	boardFile = "../../charts/sluice/files/dashboard.json"
)

// promtool is the program, or why the test cannot run.
func promtool(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("SLUICE_PROMTOOL"); path != "" {
		return path
	}
	out, err := exec.Command("../../test/promtool/build.sh", "--cached").Output()
	if path := strings.TrimSpace(string(out)); err == nil && path != "" {
		return path
	}
	const why = "there is no promtool: test/promtool/build.sh builds it"
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip("skipped: " + why)
	return ""
}

// tool runs promtool, which must be content.
func tool(t *testing.T, in string, args ...string) {
	t.Helper()
	c := exec.Command(promtool(t), args...)
	c.Stdin = strings.NewReader(in)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) (out []rule) {
	t.Helper()
	data, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		out = append(out, g.Rules...)
	}
	if len(out) < 10 {
		t.Fatalf("%d rules: the file is not read", len(out))
	}
	return out
}

const (
	prod   = `fleet="prod"`
	worker = `fleet="prod",pool="worker"`
	w1     = `fleet="prod",pool="worker",node="w1"`
	day    = 1440
)

// scenes are what Prometheus has seen up to a minute, minute by minute, or every half an hour where
// that takes days; and of the alert that is
// asked about the labels with which it fires then, "" where it must be silent. Every alert has both.
type scene struct {
	alert, name string
	series      []string // NAME{LABELS} VALUES
	minute      int      // when it is asked; a multiple of 30 where it takes days
	fires       string
}

var scenes = []scene{
	{"SluiceNoLeader", "nobody holds the lease", []string{`sluice_leader{` + prod + `,pod="a"} 0x60`, `sluice_leader{` + prod + `,pod="b"} 0x60`}, 10, prod},
	{"SluiceNoLeader", "nobody is there", nil, 10, `-`},
	{"SluiceNoLeader", "one leads, another waits", []string{`sluice_leader{` + prod + `,pod="a"} 0x60`, `sluice_leader{` + prod + `,pod="b"} 1x60`}, 10, ""},
	{"SluiceNoLeader", "the lease changes hands", []string{`sluice_leader{` + prod + `,pod="a"} 1x5 0x60`, `sluice_leader{` + prod + `,pod="b"} 0x7 1x60`}, 10, ""},

	{"SluiceTickErrors", "each tick fails", []string{`sluice_tick_errors_total{` + prod + `} 0+4x60`, `sluice_tick_duration_seconds_count{` + prod + `} 0+4x60`}, 30, prod},
	{"SluiceTickErrors", "also by turns", []string{`sluice_tick_errors_total{` + prod + `,pod="a"} 0+1x60`, `sluice_tick_duration_seconds_count{` + prod + `,pod="a"} 0+2x60`}, 30, prod},
	{"SluiceTickErrors", "one has failed", []string{`sluice_tick_errors_total{` + prod + `} 0x10 1x60`, `sluice_tick_duration_seconds_count{` + prod + `} 0+2x60`}, 15, ""},
	{"SluiceTickErrors", "one fails every ten minutes", []string{`sluice_tick_errors_total{` + prod + `} 0x9 1x9 2x9 3x9 4x9 5x9`, `sluice_tick_duration_seconds_count{` + prod + `} 0+2x60`}, 50, ""},
	{"SluiceTickErrors", "all failed for some minutes", []string{`sluice_tick_errors_total{` + prod + `} 0x10 0+4x3 12x60`, `sluice_tick_duration_seconds_count{` + prod + `} 0+4x60`}, 25, ""},

	{"SluiceGitSilent", "for an hour", []string{`sluice_git_silent{` + prod + `} 1x60`}, 30, prod},
	{"SluiceGitSilent", "for some minutes, twice", []string{`sluice_git_silent{` + prod + `} 1x10 0x5 1x60`}, 20, ""},

	{"SluiceRevisionRefused", "a mistake", []string{`sluice_fleet_refused{` + prod + `,reason="render"} 1x60`}, 30, prod + `,reason="render"`},
	{"SluiceRevisionRefused", "mended at once", []string{`sluice_fleet_refused{` + prod + `,reason="render"} 1x5 0x60`}, 30, ""},

	{"SluicePoolHalted", "halted", []string{`sluice_pool_phase{` + worker + `,phase="Halted"} 1x60`}, 5, worker},
	{"SluicePoolHalted", "going on", []string{`sluice_pool_phase{` + worker + `,phase="Halted"} 0x60`, `sluice_pool_phase{` + worker + `,phase="Progressing"} 1x60`}, 5, ""},

	{"SluicePoolStuck", "no node in more than an hour", []string{`sluice_pool_phase{` + worker + `,phase="Progressing"} 1x120`, `sluice_pool_progress_timestamp_seconds{` + worker + `} 0x120`}, 70, worker},
	{"SluicePoolStuck", "also when the controller is another now", []string{
		`sluice_pool_phase{` + worker + `,phase="Progressing",pod="a"} 1x62`, `sluice_pool_progress_timestamp_seconds{` + worker + `,pod="a"} 0x62`,
		`sluice_pool_phase{` + worker + `,phase="Progressing",pod="b"} _x62 1x60`, `sluice_pool_progress_timestamp_seconds{` + worker + `,pod="b"} _x62 0x60`,
	}, 70, worker},
	{"SluicePoolStuck", "also when it waits every other minute", []string{
		`sluice_pool_phase{` + worker + `,phase="Progressing"} ` + strings.Repeat("0x4 1x4 ", 12), `sluice_pool_progress_timestamp_seconds{` + worker + `} 0x120`,
	}, 73, worker},
	{"SluicePoolStuck", "in a window that has just opened", []string{
		`sluice_pool_phase{` + worker + `,phase="Progressing"} 0x60 1x60`, `sluice_pool_progress_timestamp_seconds{` + worker + `} 0+60x60 3600x60`,
	}, 110, ""},
	{"SluicePoolStuck", "a node every half an hour", []string{`sluice_pool_phase{` + worker + `,phase="Progressing"} 1x120`, `sluice_pool_progress_timestamp_seconds{` + worker + `} 0x30 1800x30 3600x60`}, 110, ""},
	{"SluicePoolStuck", "at rest", []string{`sluice_pool_phase{` + worker + `,phase="Progressing"} 0x120`, `sluice_pool_progress_timestamp_seconds{` + worker + `} 0x120`}, 70, ""},

	{"SluiceGateClosedLong", "an approval is missing", []string{`sluice_pool_waiting{` + worker + `,check="approvals"} 1x200`, `sluice_pool_progress_timestamp_seconds{` + worker + `} 0x200`}, 130, worker},
	{"SluiceGateClosedLong", "a health gate opens now and then, and no node gets there", []string{
		`sluice_pool_waiting{` + worker + `,check="health"} ` + strings.Repeat("1 _x9 ", 20), `sluice_pool_progress_timestamp_seconds{` + worker + `} 0x200`,
	}, 130, worker},
	{"SluiceGateClosedLong", "outside the window", []string{
		`sluice_pool_waiting{` + worker + `,check="approvals"} 1x200`, `sluice_pool_waiting{` + worker + `,check="window"} 1x200`, `sluice_pool_progress_timestamp_seconds{` + worker + `} 0+60x200`,
	}, 180, ""},
	{"SluiceGateClosedLong", "for an hour", []string{`sluice_pool_waiting{` + worker + `,check="health"} 1x200`, `sluice_pool_progress_timestamp_seconds{` + worker + `} 0x200`}, 65, ""},
	{"SluiceGateClosedLong", "it is waited for room only", []string{`sluice_pool_waiting{` + worker + `,check="maxUnavailable"} 1x200`, `sluice_pool_progress_timestamp_seconds{` + worker + `} 0x200`}, 130, ""},

	{"SluicePoolPausedLong", "paused", []string{`sluice_pool_phase{` + worker + `,phase="Paused"} 1x600`, `sluice_pool_phase_since_timestamp_seconds{` + worker + `} 0x600`}, 7*day + 60, worker},
	{"SluicePoolPausedLong", "held", []string{`sluice_pool_hold_since_timestamp_seconds{` + worker + `} 0x600`}, 7*day + 60, worker},
	{"SluicePoolPausedLong", "up to date for as long", []string{`sluice_pool_phase{` + worker + `,phase="Paused"} 0x600`, `sluice_pool_phase_since_timestamp_seconds{` + worker + `} 0x600`}, 7*day + 60, ""},
	{"SluicePoolPausedLong", "for some days", []string{`sluice_pool_phase{` + worker + `,phase="Paused"} 1x600`, `sluice_pool_phase_since_timestamp_seconds{` + worker + `} 0x600`, `sluice_pool_hold_since_timestamp_seconds{` + worker + `} 0x600`}, 6 * day, ""},

	{"SluiceWindowNeverOpens", "none within a year", []string{`sluice_pool_waiting{` + worker + `,check="window"} 1x300`, `sluice_pool_window_open{` + worker + `} 0x300`, `sluice_pool_phase_since_timestamp_seconds{` + worker + `} 0x300`}, 70, worker},
	{"SluiceWindowNeverOpens", "the next in a month", []string{`sluice_pool_waiting{` + worker + `,check="window"} 1x300`, `sluice_pool_window_open{` + worker + `} 0x300`, `sluice_pool_window_next_open_timestamp_seconds{` + worker + `} 2592000x300`}, 70, worker},
	{"SluiceWindowNeverOpens", "open every night, and too short", []string{`sluice_pool_waiting{` + worker + `,check="window"} 1x600`, `sluice_pool_window_open{` + worker + `} 1x600`, `sluice_pool_window_next_open_timestamp_seconds{` + worker + `} 86400+1800x600`, `sluice_pool_phase_since_timestamp_seconds{` + worker + `} 0x600`}, 8*day + 90, worker},
	{"SluiceWindowNeverOpens", "tonight", []string{`sluice_pool_waiting{` + worker + `,check="window"} 1x300`, `sluice_pool_window_open{` + worker + `} 0x300`, `sluice_pool_window_next_open_timestamp_seconds{` + worker + `} 36000x300`, `sluice_pool_phase_since_timestamp_seconds{` + worker + `} 0x300`}, 70, ""},
	{"SluiceWindowNeverOpens", "frozen for a month, and nothing waits", []string{`sluice_pool_window_open{` + worker + `} 0x300`, `sluice_pool_window_next_open_timestamp_seconds{` + worker + `} 2592000x300`}, 70, ""},

	{"SluiceDriftUnresolved", "all day", []string{`sluice_pool_drifted_nodes{` + worker + `,kind="content"} 2x300`}, 70, worker + `,kind="content"`},
	{"SluiceDriftUnresolved", "put back", []string{`sluice_pool_drifted_nodes{` + worker + `,kind="content"} 2x30 _x300`}, 70, ""},

	{"SluicePreviewMismatch", "a commit", []string{`sluice_pool_preview_mismatches_total{` + worker + `} 0x10 1x60`}, 20, worker},
	{"SluicePreviewMismatch", "none", []string{`sluice_pool_preview_mismatches_total{` + worker + `} 1x60`}, 20, ""},

	{"SluiceDrainBlocked", "by a budget", []string{`sluice_node_drain_blocked{` + w1 + `,reason="budget"} 1x60`, `sluice_node_drain_begun_timestamp_seconds{` + w1 + `} 0x60`}, 25, w1 + `,reason="budget"`},
	{"SluiceDrainBlocked", "begun just now", []string{`sluice_node_drain_blocked{` + w1 + `,reason="budget"} 1x60`, `sluice_node_drain_begun_timestamp_seconds{` + w1 + `} 1200x60`}, 25, ""},
	{"SluiceDrainBlocked", "long, and nothing in the way", []string{`sluice_node_drain_begun_timestamp_seconds{` + w1 + `} 0x60`}, 25, ""},

	{"SluiceNodeStranded", "left behind", []string{`sluice_node_stranded{` + w1 + `} 1x60`}, 20, w1},
	{"SluiceNodeStranded", "given back at the next tick", []string{`sluice_node_stranded{` + w1 + `} 1 _x60`}, 20, ""},

	{"SluiceAgentSilent", "for half an hour", []string{`sluice_node_unanswered_timestamp_seconds{` + w1 + `} 0x60`}, 20, worker},
	{"SluiceAgentSilent", "one after the other is ordered", []string{`sluice_node_unanswered_timestamp_seconds{` + w1 + `} 0x5 _x60`, `sluice_node_unanswered_timestamp_seconds{fleet="prod",pool="worker",node="w2"} _x17 1080x15`}, 20, ""},

	{"SluiceAgentNeverHeard", "a node without an agent", []string{`sluice_node_unheard_timestamp_seconds{` + w1 + `} 0x60`}, 45, worker},
	{"SluiceAgentNeverHeard", "new nodes all the time", []string{
		`sluice_node_unheard_timestamp_seconds{` + w1 + `} 0x20 _x100`, `sluice_node_unheard_timestamp_seconds{fleet="prod",pool="worker",node="w2"} _x15 900x20 _x100`,
		`sluice_node_unheard_timestamp_seconds{fleet="prod",pool="worker",node="w3"} _x30 1800x20 _x100`, `sluice_node_unheard_timestamp_seconds{fleet="prod",pool="worker",node="w4"} _x45 2700x20 _x100`,
	}, 60, ""},

	{"SluiceClockSkew", "slow", []string{`sluice_agent_clock_skew_seconds{instance="a"} -40x60`}, 20, `instance="a"`},
	{"SluiceClockSkew", "within what is usual", []string{`sluice_agent_clock_skew_seconds{instance="a"} 2x60`}, 20, ""},
}

// TestAlerts has promtool play every scene.
func TestAlerts(t *testing.T) {
	tool(t, "", "check", "rules", "--lint=all", "--lint-fatal", rulesFile)
	abs, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	severity, said := map[string]string{}, map[string][2]int{}
	for _, r := range rules(t) {
		severity[r.Alert] = r.Labels["severity"]
	}
	plays := map[string][]map[string]any{}
	for _, s := range scenes {
		step, counts := "1m", said[s.alert]
		if s.minute > 300 {
			step = "30m"
		}
		if counts[1]++; s.fires != "" {
			counts[0], counts[1] = counts[0]+1, counts[1]-1
		}
		said[s.alert] = counts
		plays[step] = append(plays[step], s.play(step, severity[s.alert]))
	}
	for alert := range severity {
		if said[alert][0] == 0 || said[alert][1] == 0 {
			t.Errorf("%s fires in %d scenes and is silent in %d: want both", alert, said[alert][0], said[alert][1])
		}
	}
	for step, tests := range plays {
		text, err := yaml.Marshal(map[string]any{"rule_files": []string{abs}, "evaluation_interval": step, "tests": tests})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), step+".yaml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		tool(t, "", "test", "rules", file)
	}
}

// play is a scene as promtool reads it.
func (s scene) play(step, severity string) map[string]any {
	in := []map[string]string{}
	for _, line := range s.series {
		name, values, _ := strings.Cut(line, "} ")
		in = append(in, map[string]string{"series": name + "}", "values": values})
	}
	samples := []map[string]any{}
	if s.fires != "" {
		labels := []string{`alertname="` + s.alert + `"`, `alertstate="firing"`, `severity="` + severity + `"`}
		if s.fires != "-" { // "-": with no labels of its own
			labels = append(labels, s.fires)
		}
		samples = append(samples, map[string]any{"labels": "ALERTS{" + strings.Join(labels, ",") + "}", "value": 1})
	}
	return map[string]any{
		"name": s.alert + ": " + s.name, "interval": step, "input_series": in,
		"promql_expr_test": []map[string]any{{"expr": `ALERTS{alertname="` + s.alert + `",alertstate="firing"}`, "eval_time": fmt.Sprintf("%dm", s.minute), "exp_samples": samples}},
	}
}

// TestMetricsAreClean has promtool look for what is unusual about names, types and help.
func TestMetricsAreClean(t *testing.T) { tool(t, exposition(t, full()), "check", "metrics") }

// TestEveryAlertSaysWhatToDo reads the rules against docs/alerts.md.
func TestEveryAlertSaysWhatToDo(t *testing.T) {
	doc, err := os.ReadFile("../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := regexp.MustCompile(`(?m)^## (Sluice\w+)$`).FindAllStringSubmatch(string(doc), -1)
	var want []string
	for _, r := range rules(t) {
		want = append(want, r.Alert)
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) || r.Annotations["summary"] == "" {
			t.Errorf("%s has severity %q and summary %q", r.Alert, r.Labels["severity"], r.Annotations["summary"])
		}
		if !strings.Contains(r.Annotations["description"], "kubectl ") {
			t.Errorf("%s names no command: %s", r.Alert, r.Annotations["description"])
		}
		if !strings.HasSuffix(r.Annotations["runbook_url"], "/docs/alerts.md#"+strings.ToLower(r.Alert)) {
			t.Errorf("%s leads to %s", r.Alert, r.Annotations["runbook_url"])
		}
	}
	var have []string
	for _, s := range sections {
		have = append(have, s[1])
	}
	if !slices.Equal(have, want) {
		t.Errorf("docs/alerts.md has sections %q, the alerts are %q", have, want)
	}
}

// panel is one picture of the dashboard, or a row of them.
type panel struct {
	ID      int
	Title   string
	Type    string
	Targets []struct{ Expr string }
	Panels  []panel
}

// expressions are all that the dashboard asks, as Prometheus would read it.
func expressions(t *testing.T) (out []string) {
	t.Helper()
	data, err := os.ReadFile(boardFile)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title, UID    string
		SchemaVersion int
		Panels        []panel
		Templating    struct{ List []struct{ Name, Type string } }
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	seen := map[int]string{}
	var walk func([]panel)
	walk = func(panels []panel) {
		for _, p := range panels {
			if other, twice := seen[p.ID]; twice || p.Title == "" || p.ID == 0 {
				t.Errorf("panel %q has the number %d, as %q: want one of its own, and a title", p.Title, p.ID, other)
			}
			if seen[p.ID] = p.Title; p.Type != "row" && len(p.Targets) == 0 {
				t.Errorf("panel %q asks nothing", p.Title)
			}
			for _, q := range p.Targets {
				out = append(out, strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h").Replace(q.Expr))
			}
			walk(p.Panels)
		}
	}
	walk(board.Panels)
	if board.UID == "" || board.SchemaVersion < 39 || len(out) < 15 {
		t.Errorf("the dashboard has uid %q, schema %d and %d questions", board.UID, board.SchemaVersion, len(out))
	}
	return out
}

func TestDashboardAsksWhatPrometheusUnderstands(t *testing.T) {
	var rules []map[string]any
	for i, expr := range expressions(t) {
		rules = append(rules, map[string]any{"record": fmt.Sprintf("question:%d", i), "expr": expr})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []map[string]any{{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "", "check", "rules", file)
}

// TestEveryMetricThatIsAskedForIsThere holds that alerts and dashboard ask for no metric that nobody
// says, nor for one of its labels that it has not.
func TestEveryMetricThatIsAskedForIsThere(t *testing.T) {
	labels := agentMetrics(t)
	for _, m := range table {
		labels[m.name] = append([]string{"fleet"}, m.labels...)
	}
	for _, tail := range []string{"_bucket", "_sum", "_count"} {
		labels[ticks+tail] = []string{"fleet", "le"}
	}
	var asked []string
	for _, r := range rules(t) {
		asked = append(asked, r.Expr)
	}
	asked = append(asked, expressions(t)...)
	board, err := os.ReadFile(boardFile)
	if err != nil {
		t.Fatal(err)
	}
	asked = append(asked, regexp.MustCompile(`\bsluice_\w+`).FindAllString(string(board), -1)...) // what its variables ask, too
	selector := regexp.MustCompile(`\b(sluice_\w+)(?:\{([^}]*)\})?`)
	label := regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	for _, expr := range asked {
		for _, m := range selector.FindAllStringSubmatch(expr, -1) {
			has, known := labels[m[1]]
			if !known {
				t.Errorf("nobody says %s: %s", m[1], expr)
			}
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				if has != nil && !slices.Contains(has, l[1]) {
					t.Errorf("%s has no label %s: %s", m[1], l[1], expr)
				}
			}
		}
	}
}

// agentMetrics are the names of what the agent says; its labels are not known here.
func agentMetrics(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("../../cmd/sluice-agent/*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bsluice_agent_\w+`).FindAllString(string(text), -1) {
			for _, tail := range []string{"", "_bucket", "_sum", "_count"} {
				out[name+tail] = nil
			}
		}
	}
	return out
}

var row = regexp.MustCompile("(?m)^\\| `(sluice_\\w+)` \\| (\\w+) \\| ([^|]*) \\| ([^|]*) \\|$")

// TestEveryMetricIsInTheDocs reads docs/metrics.md against the table, both ways.
func TestEveryMetricIsInTheDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[bool]string{true: "counter", false: "gauge"}
	want := map[string]string{ticks: "histogram | fleet | " + ticksHelp}
	for _, m := range table {
		want[m.name] = fmt.Sprintf("%s | %s | %s", kinds[m.kind == counter], strings.Join(append([]string{"fleet"}, m.labels...), ", "), m.help)
	}
	have := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(string(doc), -1) {
		if !strings.HasPrefix(m[1], "sluice_agent_") {
			have[m[1]] = strings.Join(m[2:], " | ")
		}
	}
	for name, says := range want {
		if have[name] != says {
			t.Errorf("docs/metrics.md wants the row\n| `%s` | %s |\nand has %q", name, says, have[name])
		}
	}
	for name := range have {
		if want[name] == "" {
			t.Errorf("docs/metrics.md tells of %s, which nobody says", name)
		}
	}
}
