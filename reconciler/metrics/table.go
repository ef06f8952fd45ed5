package metrics

import "github.com/prometheus/client_golang/prometheus"

// metric is one row of what is said. Every metric has the label fleet before its own.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// table is all metrics that are made from looks, by name; docs/metrics.md tells the same.
var table = []metric{
	{"sluice_api_wait_seconds_total", "Time that requests to the API server have waited for the controller's own limit; drains and events have a limit apart.", counter, nil},
	{"sluice_api_waits_total", "Requests to the API server that have waited for the controller's own limit; drains and events have a limit apart.", counter, nil},
	{"sluice_content_requests_total", "Requests of agents for their configs, by the status code that they got.", counter, []string{"code"}},
	{"sluice_fleet_info", "The newest revision of the fleet's branch that renders; always 1.", gauge, []string{"revision"}},
	{"sluice_fleet_nodes", "Nodes of the fleet, whether in a pool or not.", gauge, nil},
	{"sluice_fleet_refused", "1 while the newest revision is not followed: because it does not render, or because the branch was rewritten.", gauge, []string{"reason"}},
	{"sluice_fleet_stray_nodes", "Nodes that get no config since their labels put them into several pools.", gauge, nil},
	{"sluice_forge_calls_total", "Requests to the forge, by outcome.", counter, []string{"outcome"}},
	{"sluice_forge_rate_limit_remaining", "Requests that the forge still takes in its present period, as it said last; absent where it says nothing.", gauge, nil},
	{"sluice_git_heard_timestamp_seconds", "When Git last answered; absent when it has not since the start.", gauge, nil},
	{"sluice_git_looks_total", "Questions to the Git remote, by outcome.", counter, []string{"outcome"}},
	{"sluice_git_silent", "1 while Git does not answer: the last revision stays in force.", gauge, nil},
	{"sluice_leader", "1 where this process is the fleet's controller, 0 where it waits for the lease.", gauge, nil},
	{"sluice_mark_errors_total", "Times that nodes could not be marked for new work to avoid; they are updated all the same.", counter, nil},
	{"sluice_node_drain_begun_timestamp_seconds", "When the drain of a node began that is not empty yet.", gauge, []string{"pool", "node"}},
	{"sluice_node_drain_blocked", "1 while something stands in the way of a node's drain, by what that is.", gauge, []string{"pool", "node", "reason"}},
	{"sluice_node_stranded", "1 while a node is cordoned by us, is whole, and nothing is under way for it.", gauge, []string{"pool", "node"}},
	{"sluice_node_unanswered_timestamp_seconds", "Since when a node has an order that its agent has not taken up.", gauge, []string{"pool", "node"}},
	{"sluice_node_unheard_timestamp_seconds", "When a node came to the cluster of which no agent has ever reported.", gauge, []string{"pool", "node"}},
	{"sluice_node_update_begun_timestamp_seconds", "When a node was begun that is being taken to its pool's target.", gauge, []string{"pool", "node"}},
	{"sluice_pool_drifted_nodes", "Nodes that are not what they were made, by the kind of what differs; a node counts once for each kind.", gauge, []string{"pool", "kind"}},
	{"sluice_pool_hold_since_timestamp_seconds", "When the oldest of the operators' holds in force was laid on the pool; absent when there is none.", gauge, []string{"pool"}},
	{"sluice_pool_holds", "Operators' holds in force for the pool, those of the whole fleet included.", gauge, []string{"pool"}},
	{"sluice_pool_info", "The commit that asked for the pool's target, and the target's digest, both short; always 1.", gauge, []string{"pool", "revision", "target"}},
	{"sluice_pool_max_unavailable_nodes", "How many nodes of the pool may be unavailable at a time; absent where the rule cannot be read.", gauge, []string{"pool"}},
	{"sluice_pool_nodes", "Nodes of the pool, by how far each is on the way to the target.", gauge, []string{"pool", "phase"}},
	{"sluice_pool_phase", "1 for the phase that the pool is in, 0 for the others.", gauge, []string{"pool", "phase"}},
	{"sluice_pool_phase_since_timestamp_seconds", "When the pool came into its phase.", gauge, []string{"pool"}},
	{"sluice_pool_preview_mismatches_total", "Commits that cost a node of the pool more than their preview had said.", counter, []string{"pool"}},
	{"sluice_pool_progress_timestamp_seconds", "When the pool last got on: a node came to the target, or its attempt began; now, while it is at rest, or held by a window, a hold, a pause, a soak or another pool.", gauge, []string{"pool"}},
	{"sluice_pool_reboots_total", "Reboots of the pool's nodes that were seen, whoever asked for them.", counter, []string{"pool"}},
	{"sluice_pool_rollbacks_total", "Times that the pool went back to an earlier target: by a commit, or because the policy took a failed one back.", counter, []string{"pool", "by"}},
	{"sluice_pool_skipped_nodes", "Nodes that the present attempt has given up.", gauge, []string{"pool"}},
	{"sluice_pool_unavailable_nodes", "Nodes of the pool that are not at work, whoever took them away.", gauge, []string{"pool"}},
	{"sluice_pool_waiting", "1 for each check that keeps the pool's next node from being begun.", gauge, []string{"pool", "check"}},
	{"sluice_pool_window_next_open_timestamp_seconds", "When the pool's windows next open; absent when that is not within a year.", gauge, []string{"pool"}},
	{"sluice_pool_window_open", "1 while the pool is in a window, or has none, and no freeze holds it.", gauge, []string{"pool"}},
	{"sluice_state_saves_total", "Times that the controller's state was saved.", counter, nil},
	{"sluice_tick_errors_total", "Ticks of the controller that ended in an error; each is tried again.", counter, nil},
	{"sluice_tick_timestamp_seconds", "When the controller last looked at the whole fleet and decided.", gauge, nil},
}

// ticks is the one histogram.
const (
	ticks     = "sluice_tick_duration_seconds"
	ticksHelp = "How long a tick of the controller took, from the first read to the last write."
)

// buckets reach from a fleet at rest to one whose Git remote or API server is slow.
var buckets = []float64{0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100}

// descriptions are what the rows of the table are to the library.
func descriptions() map[string]*prometheus.Desc {
	out := make(map[string]*prometheus.Desc, len(table))
	for _, m := range table {
		out[m.name] = prometheus.NewDesc(m.name, m.help, append([]string{"fleet"}, m.labels...), nil)
	}
	return out
}

// sample is one value of a metric, with the values of its labels but for the fleet's.
type sample struct {
	name   string
	value  float64
	labels []string
}

func one(name string, value float64, labels ...string) sample { return sample{name, value, labels} }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
