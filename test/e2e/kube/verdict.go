package kube

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Mark is a moment from which on something is judged.
type Mark struct {
	Version uint64
	At      time.Time
	boots   map[string]int
}

// Mark is now.
func (r *Rig) Mark() Mark {
	r.t.Helper()
	list, err := r.core.CoreV1().Nodes().List(r.t.Context(), metav1.ListOptions{Limit: 1})
	r.must(err)
	m := Mark{At: time.Now(), boots: r.boots()}
	m.Version, err = strconv.ParseUint(list.ResourceVersion, 10, 64)
	r.must(err)
	return m
}

// boots is how often each machine has booted.
func (r *Rig) boots() map[string]int {
	out := map[string]int{}
	for name, m := range r.machines {
		m.mu.Lock()
		out[name] = m.boots
		m.mu.Unlock()
	}
	return out
}

// Judge holds everything that was promised of what happened since a mark: with reboots of exactly
// these nodes, once each.
func (r *Rig) Judge(t *testing.T, from Mark, reboots ...string) {
	t.Helper()
	v, record := r.look(t, from.Version)
	slices.Sort(reboots)
	want := map[string]int{}
	for _, name := range reboots {
		want[name] = 1
	}
	if !maps.Equal(v.reboots, want) {
		v.complaints = append(v.complaints, fmt.Sprintf("reboots: these nodes rebooted, and how often: %v; want each of these once: %v", v.reboots, reboots))
	}
	for name, n := range r.boots() { // the machines' own count, beside what their Nodes said
		if before, known := from.boots[name]; known && n-before != want[name] {
			v.complaints = append(v.complaints, fmt.Sprintf("reboots: machine %s has booted %d times, want %d", name, n-before, want[name]))
		}
	}
	r.complain(t, v)
	t.Logf("judged:\n  %s", v.summary(record.After(from.At)))
}

// JudgeAll holds it of all that has happened, with as many reboots as the machines have had.
func (r *Rig) JudgeAll(t *testing.T) {
	t.Helper()
	v, record := r.look(t, 0)
	for name, n := range r.boots() {
		if seen := v.reboots[name] + 1; seen != n { // the first boot is none
			v.complaints = append(v.complaints, fmt.Sprintf("reboots: machine %s has booted %d times, and its Node has shown %d", name, n, seen))
		}
	}
	r.complain(t, v)
	t.Logf("judged, from the beginning to the end:\n  %s\n  %d moments were seen, and %d objects had changed unseen while the server was away; %d requests stand in the audit log",
		v.summary(record), len(record.Moments), r.observer.missed(), len(record.Calls))
}

// look reads all there is, and asks every rule about what came after a version.
func (r *Rig) look(t *testing.T, after uint64) (verdict, Record) {
	t.Helper()
	r.await("the observer has seen all there is", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return r.observer.caughtUp(ctx) == nil
	})
	record := r.observer.record().Since(after)
	var err error
	record.Calls, err = readCalls(r.auditLog())
	r.must(err)
	record.Dark = r.dark
	v := record.judge(limits, "sluice-"+fleetName)
	v.complaints = append(v.complaints, r.wrong()...)
	return v, record
}

func (r *Rig) complain(t *testing.T, v verdict) {
	t.Helper()
	for _, complaint := range v.complaints {
		for _, c := range r.controllers { // the audit log knows them by their tokens only
			complaint = strings.ReplaceAll(complaint, c.token, c.name)
		}
		t.Error(complaint)
	}
}

// verdict is what a record amounts to.
type verdict struct {
	complaints       []string
	reboots, cordons map[string]int
	most             map[string]int
	fewest           int
	changes, refused int
}

// judge asks every rule.
func (r Record) judge(limit map[string]int, lease string) (v verdict) {
	var said []string
	hear := func(complaints []string) { said = append(said, complaints...) }
	var c []string
	v.most, c = r.Budget(limit)
	hear(c)
	v.cordons, c = r.Cordons()
	hear(c)
	v.reboots, _, c = r.Reboots()
	hear(c)
	v.fewest, c = r.Floor("shop", 2)
	hear(c)
	v.changes, v.refused, c = r.Deposed(lease)
	hear(c)
	hear(r.Orders())
	hear(r.Rights())
	v.complaints = said
	return v
}

// summary says in figures what was judged; the calls are those of the time.
func (v verdict) summary(during Record) string {
	var away []string
	for _, pool := range slices.Sorted(maps.Keys(v.most)) {
		if pool != "" {
			away = append(away, fmt.Sprintf("%s %d of %d", pool, v.most[pool], limits[pool]))
		}
	}
	lines := []string{
		fmt.Sprintf("%d reboots of %d nodes, %d cordons of ours; most away at once: %s", sum(v.reboots), len(v.reboots), sum(v.cordons), cmp.Or(strings.Join(away, ", "), "none")),
		fmt.Sprintf("the fewest pods of the shop at work: %d of 3", v.fewest),
		fmt.Sprintf("the lease has changed hands %d times so far; writes that were tried without it and refused: %d", v.changes, v.refused),
	}
	controllers, agents := during.Writes(controllerAccount), during.Writes(agentAccount)
	if n := sum(v.reboots); n > 0 {
		lines = append(lines, fmt.Sprintf("writes of Nodes and NodeConfigs for each reboot: %.1f by controllers, %.1f by agents",
			float64(sum(controllers))/float64(n), float64(sum(agents))/float64(n)))
	}
	return strings.Join(lines, "\n  ")
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}
