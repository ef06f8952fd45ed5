package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/preview"
	"github.com/sluice-gitops/sluice/render"
)

var monday = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)

// foreseen is a reboot of a pool of workers, one node for each of the zones.
func foreseen(rules policy.Rollout, limit string, zones ...string) Timeline {
	before := render.Pool{
		Name: "worker", Selector: labels.SelectorFromSet(labels.Set{role("worker"): ""}), Policy: rules, Strategy: render.Strategy{MaxUnavailable: limit},
	}
	after := before
	after.Config = machine.Config{KernelArgs: []string{"quiet"}}
	in := preview.Input{Base: "base", Head: "head", Gate: policy.Default(), Now: monday, Before: []render.Pool{before}, After: []render.Pool{after}}
	for i, z := range zones {
		in.Nodes = append(in.Nodes, reconciler.Node{Name: fmt.Sprintf("w%d", i+1), Ready: true, Labels: map[string]string{role("worker"): "", zone: z}})
	}
	return Forecast(in, Pace{Node: 10 * time.Minute, Drain: 2 * time.Minute, Quick: 30 * time.Second})
}

// begins are the nodes in their order, each with the minutes after the merge.
func begins(t Timeline) (out []string) {
	for _, r := range t.Pools[0].Rows {
		out = append(out, fmt.Sprintf("%s+%d", r.Node, int(r.From.Sub(t.Start).Minutes())))
	}
	return out
}

// A forecast keeps every rule that the rollout will keep, in the time that nodes are said to take.
func TestAForecastKeepsTheRules(t *testing.T) {
	nights := []policy.Window{{Schedule: "0 22 * * *", Duration: "1h"}}
	for name, c := range map[string]struct {
		rules    policy.Rollout
		limit    string
		zones    []string
		finished bool
		want     string
	}{
		"one after the other":             {policy.Rollout{}, "", []string{"a", "a"}, true, "[w1+0 w2+10]"},
		"as many as may be unavailable":   {policy.Rollout{}, "2", []string{"a", "a", "a"}, true, "[w1+0 w2+0 w3+10]"},
		"in windows, with the time left":  {policy.Rollout{Windows: nights}, "", []string{"a", "a", "a", "a", "a", "a"}, true, "[w1+120 w2+130 w3+141 w4+151 w5+162 w6+1560]"},
		"the canary soaks":                {policy.Rollout{Canary: &policy.Canary{Soak: "30m"}}, "2", []string{"a", "a", "a"}, true, "[w1+0 w2+40 w3+40]"},
		"zones behind a barrier":          {policy.Rollout{Order: &policy.Order{Zones: "barrier"}}, "3", []string{"b", "a", "a"}, true, "[w2+0 w3+0 w1+10]"},
		"a node that never fits overruns": {policy.Rollout{Windows: []policy.Window{{Schedule: "0 22 * * *", Duration: "5m"}}}, "", []string{"a", "a"}, true, "[w1+120 w2+1560]"},
		"no window ever comes":            {policy.Rollout{Freezes: []policy.Freeze{{From: monday.Add(-time.Hour), To: monday.Add(400 * 24 * time.Hour)}}}, "", []string{"a"}, false, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			got := foreseen(c.rules, c.limit, c.zones...)
			if fmt.Sprint(begins(got)) != c.want || got.Finished != c.finished {
				t.Errorf("begins %v, finished %t; want %s, %t (%v)", begins(got), got.Finished, c.want, c.finished, got.Pools[0].Waiting)
			}
			if !c.finished && (len(got.Pools[0].Waiting) == 0 || !strings.Contains(got.Text(), "not within 30 days")) {
				t.Errorf("it does not say that it is never done:\n%s", got.Text())
			}
		})
	}
}

// A soak is drawn from when the node is done until the next is begun, whatever other pools do
// meanwhile; and a pool that is done does not keep a forecast from the window of another.
func TestAForecastOfTwoPools(t *testing.T) {
	pool := func(name string, rules policy.Rollout) render.Pool {
		return render.Pool{Name: name, Selector: labels.SelectorFromSet(labels.Set{role(name): ""}), Policy: rules}
	}
	in := preview.Input{Base: "base", Head: "head", Gate: policy.Default(), Now: monday, Before: []render.Pool{
		pool("edge", policy.Rollout{Soak: "10m"}),
		pool("worker", policy.Rollout{Freezes: []policy.Freeze{{From: monday.Add(25 * time.Minute), To: monday.Add(20 * 24 * time.Hour)}}}),
	}}
	for _, p := range in.Before {
		for i := range len(p.Name) / 2 { // two, and three
			in.Nodes = append(in.Nodes, reconciler.Node{Name: fmt.Sprintf("%s-%d", p.Name, i+1), Ready: true, Labels: map[string]string{role(p.Name): ""}})
		}
		p.Config = machine.Config{KernelArgs: []string{"quiet"}}
		in.After = append(in.After, p)
	}
	got := Forecast(in, Pace{Node: 10 * time.Minute, Drain: 2 * time.Minute, Quick: 30 * time.Second})
	soaks, rows := got.Pools[0].Soaks, got.Pools[1].Rows
	if from := monday.Add(10 * time.Minute); len(soaks) != 1 || !soaks[0].From.Equal(from) || from.Add(10*time.Minute).Sub(soaks[0].To) > time.Minute {
		t.Errorf("the first pool soaks %v; want ten minutes from %v", soaks, from)
	}
	if !got.Finished || len(rows) != 3 || rows[2].From.Before(monday.Add(20*24*time.Hour)) {
		t.Errorf("the second pool begins %v (%v); want its last node after the freeze", rows, got.Pools[1].Waiting)
	}
}

// A node whose window closes while it is emptied is given back: it is not drawn as away until the
// next one opens.
func TestAForecastGivesBackWhatItCannotBegin(t *testing.T) {
	got := foreseen(policy.Rollout{Windows: []policy.Window{{Schedule: "0 22 * * *", Duration: "11m"}}}, "", "a", "a")
	for _, r := range got.Pools[0].Rows {
		if took := r.To.Sub(r.From); took > time.Hour {
			t.Errorf("%s is away for %s", r.Node, took)
		}
	}
	if want := "[w1+120 w2+1560]"; fmt.Sprint(begins(got)) != want {
		t.Errorf("begins %v, want %s", begins(got), want)
	}
}

// The picture is golden: whoever changes how it looks sees it here, and writes it anew with -rewrite.
func TestThePictureOfAForecast(t *testing.T) {
	rules := policy.Rollout{Windows: []policy.Window{{Schedule: "0 21 * * *", Duration: "1h"}}, Canary: &policy.Canary{Soak: "10m"}}
	got := foreseen(rules, "2", "a", "b", "a").SVG()
	file := filepath.Join("pictures", "canary.svg") // testdata holds scripts
	if f := flag.Lookup("rewrite"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the picture is now:\n%s", got)
	}
}
