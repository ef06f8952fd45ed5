package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluice-gitops/sluice/api/clock"
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// stuck is how long an agent may neither end a look nor get anything done in one, beside the time
// between two. One unit may take host.JobTimeout, and a config may come slowly.
const stuck = 10 * time.Minute

// meter counts what an agent does, between it and its world.
type meter struct {
	phase   *prometheus.GaugeVec
	drift   *prometheus.GaugeVec
	order   prometheus.Gauge
	reboots prometheus.Counter
	ticks   prometheus.Histogram
	errors  *prometheus.CounterVec
	now     func() time.Time
	every   time.Duration // between two looks

	mu    sync.Mutex
	alive time.Time // when something ended last
	heard bool      // whoever orders has answered once
	wrong bool      // something was counted in this look
}

var (
	phases = map[nodeops.Phase]string{
		nodeops.Idle: "idle", nodeops.Working: "working", nodeops.Done: "done", nodeops.Restored: "restored",
		nodeops.Failed: "failed", nodeops.Refused: "refused", nodeops.Expired: "expired",
	}
	drifts = []nodeops.DriftKind{
		nodeops.DriftContent, nodeops.DriftMode, nodeops.DriftOwner, nodeops.DriftType, nodeops.DriftMissing,
		nodeops.DriftUnit, nodeops.DriftEnablement, nodeops.DriftKargs, nodeops.DriftImage,
	}
	deeds = []string{"order", "config", "report", "unit", "stage", "reboot", "look"}
)

// newMeter makes the metrics. None has the node's name: whoever scrapes knows whom.
func newMeter(in prometheus.Registerer, clock *clock.Clock, now func() time.Time, every time.Duration) *meter {
	m := &meter{
		phase:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sluice_agent_phase", Help: "1 for how far the node has come with its newest order, else 0."}, []string{"phase"}),
		drift:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sluice_agent_drift", Help: "How many things on the node are not as ordered."}, []string{"kind"}),
		order:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "sluice_agent_order_generation", Help: "Generation of the newest order that was taken up."}),
		reboots: prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_agent_reboots_total", Help: "Reboots that the agent has asked for, over the node's life."}),
		ticks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_agent_tick_seconds", Help: "How long one look took, with all that was done in it.",
			Buckets: []float64{.01, .03, .1, .3, 1, 3, 10, 30, 100, 300},
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sluice_agent_errors_total", Help: "What could not be found out, told or done."}, []string{"what"}),
		now:    now, every: every, alive: now(),
	}
	in.MustRegister(m.phase, m.drift, m.order, m.reboots, m.ticks, m.errors)
	for _, what := range deeds {
		m.errors.WithLabelValues(what)
	}
	if clock != nil {
		in.MustRegister(skew{clock})
	}
	return m
}

// skew is the difference of the clocks, which is not there before it is known.
type skew struct{ clock *clock.Clock }

var skewed = prometheus.NewDesc("sluice_agent_clock_skew_seconds", "How far the node's clock is ahead of the API server's.", nil, nil)

// Describe names the metric.
func (s skew) Describe(out chan<- *prometheus.Desc) { out <- skewed }

// Collect measures it.
func (s skew) Collect(out chan<- prometheus.Metric) {
	if ahead, known := s.clock.Skew(); known {
		out <- prometheus.MustNewConstMetric(skewed, prometheus.GaugeValue, ahead.Seconds())
	}
}

// serve puts a meter around an agent, and answers who asks for it until the context ends.
func serve(ctx context.Context, address string, a *loop.Loop, clock *clock.Clock, every time.Duration) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--metrics-listen: %w", err)
	}
	registry := prometheus.NewRegistry()
	m := newMeter(registry, clock, time.Now, every)
	m.around(a)
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", m.health)
	mux.HandleFunc("/readyz", m.ready)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute}
	go s.Serve(listener)
	context.AfterFunc(ctx, func() { s.Close() })
	return nil
}

// around has the agent's looks, inbox, units and OS pass through the meter.
func (m *meter) around(a *loop.Loop) {
	asked := tally{a.Files}
	m.reboots.Add(float64(asked.read()))
	a.Inbox, a.Units, a.OS, a.Ticked = inboxMeter{a.Inbox, m}, unitMeter{a.Units, m}, osMeter{a.OS, m, asked}, m.ticked
}

// did counts one deed, and passes on how it ended.
func (m *meter) did(what string, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.alive = m.now()
	if err != nil && !errors.Is(err, loop.ErrReboot) && !errors.Is(err, context.Canceled) {
		m.errors.WithLabelValues(what).Inc()
		m.wrong = true
	}
	m.heard = m.heard || what == "order" && err == nil
	return err
}

func (m *meter) ticked(r nodeops.Report, took time.Duration, err error) {
	m.ticks.Observe(took.Seconds())
	m.mu.Lock()
	known := m.wrong
	m.wrong = false
	m.mu.Unlock()
	if known { // what failed in it was counted by its name
		err = nil
	}
	m.did("look", err)
	if r.BootID == "" {
		return // it came to no word of the node
	}
	m.order.Set(float64(r.Generation))
	for phase, word := range phases {
		is := 0.0
		if phase == r.Phase {
			is = 1
		}
		m.phase.WithLabelValues(word).Set(is)
	}
	many := map[nodeops.DriftKind]float64{}
	for _, d := range r.Drift {
		many[d.Kind]++
	}
	for _, kind := range drifts {
		m.drift.WithLabelValues(string(kind)).Set(many[kind])
	}
}

// health fails where nothing ends any more: the agent is then better started anew.
func (m *meter) health(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	long := m.now().Sub(m.alive)
	m.mu.Unlock()
	if long > m.every+stuck {
		http.Error(w, fmt.Sprintf("nothing has ended for %s", long.Round(time.Second)), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// ready fails until whoever orders has answered once: an agent that never reaches them is not rolled
// out any further.
func (m *meter) ready(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	heard := m.heard
	m.mu.Unlock()
	if !heard {
		http.Error(w, "no order could be asked for yet", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

type inboxMeter struct {
	loop.Inbox
	meter *meter
}

func (i inboxMeter) Order(ctx context.Context) (nodeops.Order, error) {
	o, err := i.Inbox.Order(ctx)
	return o, i.meter.did("order", err)
}

func (i inboxMeter) Config(ctx context.Context, d machine.Digest) (machine.Config, error) {
	c, err := i.Inbox.Config(ctx, d)
	return c, i.meter.did("config", err)
}

func (i inboxMeter) Tell(ctx context.Context, r nodeops.Report) error {
	return i.meter.did("report", i.Inbox.Tell(ctx, r))
}

type unitMeter struct {
	loop.Units
	meter *meter
}

func (u unitMeter) Do(ctx context.Context, kind impact.Kind, unit string) error {
	return u.meter.did("unit", u.Units.Do(ctx, kind, unit))
}

type osMeter struct {
	loop.OS
	meter *meter
	asked tally
}

func (o osMeter) Stage(ctx context.Context, c machine.Config) error {
	return o.meter.did("stage", o.OS.Stage(ctx, c))
}

// Reboot counts before it asks: afterwards this process may be gone.
func (o osMeter) Reboot(ctx context.Context) error {
	o.meter.reboots.Inc()
	o.asked.add()
	return o.meter.did("reboot", o.OS.Reboot(ctx))
}

// tally is a count that outlives boots. Only a metric hangs on it: what cannot be read is none, and
// what cannot be written is not.
type tally struct{ files loop.Files }

const rebootsPath = agent.StateDir + "/reboots.json"

func (t tally) read() (n uint64) {
	if e, err := t.files.Look(rebootsPath); err == nil && e.Kind == agent.Regular && json.Unmarshal(e.Data, &n) != nil {
		return 0
	}
	return n
}

func (t tally) add() {
	_ = t.files.Put(agent.Tree{rebootsPath: {
		Kind: agent.Regular, Mode: 0o600, UID: agent.Anyone, GID: agent.Anyone, Data: fmt.Appendln(nil, t.read()+1),
	}})
}
