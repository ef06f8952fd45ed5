// Package metrics tells Prometheus how a fleet stands and what its controller does. What it says of
// pools and nodes is made anew from each look, so that a series goes when its pool or node goes.
package metrics

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluice-gitops/sluice/reconciler/loop"
)

// Fleet is the metrics of one controller of one fleet. It is a prometheus.Collector, and safe for
// use by several goroutines.
type Fleet struct {
	name  string
	descs map[string]*prometheus.Desc

	mu      sync.Mutex
	leads   bool
	picture []sample // of the last whole look
	git     []sample // of the last look
	left    int      // requests that the forge still takes; -1: it does not say
	counts  counts
	memory  memory
	took    prometheus.Histogram
}

// New is the metrics of a controller that does not lead yet.
func New(fleet string) *Fleet {
	f := &Fleet{name: fleet, descs: descriptions()}
	f.reset()
	return f
}

// reset forgets the fleet: another controller speaks of it.
func (f *Fleet) reset() {
	f.picture, f.git, f.left, f.memory = nil, nil, -1, memory{}
	f.counts = counts{}
	f.took = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: ticks, Help: ticksHelp, Buckets: buckets, ConstLabels: prometheus.Labels{"fleet": f.name},
	})
}

// Lead says whether this process is the controller. One that is not any more says nothing of the
// fleet: two would contradict each other.
func (f *Fleet) Lead(leads bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leads != leads {
		f.leads = leads
		content := f.counts.only("sluice_content_requests_total")
		f.reset()
		f.counts = content // every process serves content
	}
}

// Tell takes in a look.
func (f *Fleet) Tell(k loop.Look) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.took.Observe(k.Took.Seconds())
	f.counts.add(float64(k.Saves), "sluice_state_saves_total")
	f.counts.add(truth(k.Err != nil), "sluice_tick_errors_total")
	f.counts.add(truth(k.Mark != nil), "sluice_mark_errors_total")
	f.counts.add(truth(k.Asked && k.Git == nil), "sluice_git_looks_total", "ok")
	f.counts.add(truth(k.Asked && k.Git != nil), "sluice_git_looks_total", "error")
	f.git = []sample{one("sluice_git_silent", truth(k.Git != nil))}
	if !k.Heard.IsZero() {
		f.git = append(f.git, one("sluice_git_heard_timestamp_seconds", seconds(k.Heard)))
	}
	if !k.Whole {
		return // what was last seen of the fleet stands
	}
	home := homes(k.Seen)
	f.memory.learn(k, home, f.counts)
	f.picture = photograph(k, home, f.memory)
}

// ForgeCall counts one request to the forge, by its outcome, a word of few. Left is how many more
// the forge takes now; -1 where it does not say.
func (f *Fleet) ForgeCall(outcome string, left int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts.add(1, "sluice_forge_calls_total", outcome)
	if left >= 0 {
		f.left = left
	}
}

// ContentRequest counts one request of an agent by the status code of its answer.
func (f *Fleet) ContentRequest(code int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts.add(1, "sluice_content_requests_total", strconv.Itoa(code))
}

// Waited counts one request to the API server that waited for the controller's own limit.
func (f *Fleet) Waited(long time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts.add(1, "sluice_api_waits_total")
	f.counts.add(long.Seconds(), "sluice_api_wait_seconds_total")
}

// Describe is a prometheus.Collector's.
func (f *Fleet) Describe(to chan<- *prometheus.Desc) {
	for _, m := range table {
		to <- f.descs[m.name]
	}
	f.took.Describe(to)
}

// Collect is a prometheus.Collector's.
func (f *Fleet) Collect(to chan<- prometheus.Metric) {
	for _, m := range f.collected() {
		to <- m
	}
}

// collected is all that is said now. It does not wait for whoever reads it.
func (f *Fleet) collected() (out []prometheus.Metric) {
	f.mu.Lock()
	defer f.mu.Unlock()
	say := func(s sample, kind prometheus.ValueType) {
		out = append(out, prometheus.MustNewConstMetric(f.descs[s.name], kind, s.value, append([]string{f.name}, s.labels...)...))
	}
	say(one("sluice_leader", truth(f.leads)), gauge)
	for key, n := range f.counts {
		say(sample{key.name, n, key.labels()}, counter)
	}
	for _, s := range f.git {
		say(s, gauge)
	}
	for _, s := range f.picture {
		say(s, gauge)
	}
	if f.left >= 0 {
		say(one("sluice_forge_rate_limit_remaining", float64(f.left)), gauge)
	}
	if f.leads {
		out = append(out, f.took)
	}
	return out
}

// Handler serves the metrics, and those of the process, in Prometheus' formats.
func (f *Fleet) Handler(version string) http.Handler {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_build_info", Help: "The version of this program; always 1.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	r.MustRegister(f, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// seconds is a moment as Prometheus writes it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
