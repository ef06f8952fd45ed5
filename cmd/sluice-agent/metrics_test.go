package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop/hosttest"
)

// metered is an agent in memory, with a meter around it and a clock that is set by hand.
type metered struct {
	*loop.Loop
	*testing.T
	inbox    *hosttest.Inbox
	box      *hosttest.Box
	disk     *hosttest.Disk
	registry *prometheus.Registry
	meter    *meter
	at       time.Time
}

func newMetered(t *testing.T) *metered {
	m := &metered{T: t, inbox: &hosttest.Inbox{}, box: &hosttest.Box{}, disk: &hosttest.Disk{}, at: time.Unix(1e9, 0)}
	m.restart()
	return m
}

// restart is a new process on the same node.
func (m *metered) restart() {
	now := func() time.Time { return m.at }
	m.Loop = &loop.Loop{Inbox: m.inbox, Files: m.disk, Units: &hosttest.Services{}, OS: m.box, Now: now}
	m.registry = prometheus.NewRegistry()
	m.meter = newMeter(m.registry, nil, now, interval)
	m.meter.around(m.Loop)
}

// interval is longer than a look may take: nothing is wrong with an agent that looks so seldom.
const interval = time.Hour

// look is one tick, as Run has it.
func (m *metered) look() error {
	r, err := m.Tick(context.Background())
	m.Ticked(r, time.Second, err)
	return err
}

// says is what a scrape of the named metrics says, but for what explains it.
func (m *metered) says(names string, want ...string) {
	m.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	var got []string
	for line := range strings.Lines(w.Body.String()) {
		if regexp.MustCompile("^(" + names + ")[ {]").MatchString(line) {
			got = append(got, strings.TrimSpace(line))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.Errorf("want, got:\n%s", diff)
	}
}

func answer(page http.HandlerFunc) int {
	w := httptest.NewRecorder()
	page(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w.Code
}

func TestMetrics(t *testing.T) {
	m := newMetered(t)
	if healthy, ready := answer(m.meter.health), answer(m.meter.ready); healthy != 200 || ready != 503 {
		t.Errorf("at first it is healthy %d, ready %d", healthy, ready)
	}
	m.inbox.Silent = errors.New("no answer")
	if err := m.look(); err == nil {
		t.Fatal("silence is no error")
	}
	if ready := answer(m.meter.ready); ready != 503 {
		t.Error("it is ready, and never heard anybody")
	}
	m.inbox.Silent = nil
	m.inbox.Send(7, machine.Config{KernelArgs: []string{"a"}, Files: []machine.File{{Path: "/etc/motd", Mode: 0o644, Contents: []byte("m")}}})
	if err := m.look(); !errors.Is(err, loop.ErrReboot) {
		t.Fatalf("it does not reboot: %v", err)
	}
	m.says("sluice_agent_phase|sluice_agent_errors_total",
		`sluice_agent_errors_total{what="config"} 0`,
		`sluice_agent_errors_total{what="look"} 0`,
		`sluice_agent_errors_total{what="order"} 1`,
		`sluice_agent_errors_total{what="reboot"} 0`,
		`sluice_agent_errors_total{what="report"} 1`,
		`sluice_agent_errors_total{what="stage"} 0`,
		`sluice_agent_errors_total{what="unit"} 0`,
		`sluice_agent_phase{phase="done"} 0`,
		`sluice_agent_phase{phase="expired"} 0`,
		`sluice_agent_phase{phase="failed"} 0`,
		`sluice_agent_phase{phase="idle"} 0`,
		`sluice_agent_phase{phase="refused"} 0`,
		`sluice_agent_phase{phase="restored"} 0`,
		`sluice_agent_phase{phase="working"} 1`,
	)
	m.restart()
	if err := m.look(); err != nil {
		t.Fatal(err)
	}
	m.disk.Set("/etc/motd", hosttest.Text(0o600, "x"))
	if err := m.look(); err != nil {
		t.Fatal(err)
	}
	m.says("sluice_agent_order_generation|sluice_agent_reboots_total|sluice_agent_drift",
		`sluice_agent_drift{kind="content"} 1`,
		`sluice_agent_drift{kind="enablement"} 0`,
		`sluice_agent_drift{kind="image"} 0`,
		`sluice_agent_drift{kind="kargs"} 0`,
		`sluice_agent_drift{kind="missing"} 0`,
		`sluice_agent_drift{kind="mode"} 0`,
		`sluice_agent_drift{kind="owner"} 0`,
		`sluice_agent_drift{kind="type"} 0`,
		`sluice_agent_drift{kind="unit"} 0`,
		`sluice_agent_order_generation 7`,
		`sluice_agent_reboots_total 1`,
	)
}

// An agent whose look never ends is started anew; one that gets something done in it is not.
func TestHealth(t *testing.T) {
	m := newMetered(t)
	m.at = m.at.Add(interval)
	if got := answer(m.meter.health); got != 200 {
		t.Errorf("before the second look it is %d", got)
	}
	m.at = m.at.Add(stuck + time.Second)
	if got := answer(m.meter.health); got != 503 {
		t.Errorf("%s after it was to look it is %d", stuck, got)
	}
	m.meter.did("unit", nil)
	m.at = m.at.Add(stuck)
	if got := answer(m.meter.health); got != 200 {
		t.Errorf("after something was done it is %d", got)
	}
}
