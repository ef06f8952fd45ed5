package sim

import (
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/sluice-gitops/sluice/reconciler"
)

var seeds = flag.Uint64("seeds", 300, "how many seeded worlds to live through")

// TestSeeds lives through faulty worlds; `sluice sim --seed N` replays the one that it names.
func TestSeeds(t *testing.T) {
	reboots, failed := 0, 0
	for seed := range *seeds {
		r := Run(seed, Options{})
		reboots += r.Reboots
		if len(r.Violations) == 0 {
			continue
		}
		t.Errorf("seed %d, %d ticks: %s", seed, r.Ticks, r.Violations[0])
		if failed++; failed == 1 {
			t.Logf("its story, shrunk:\n%s", strings.Join(Shrink(r.Story, Options{}).Story, "\n"))
		}
		if failed == 5 {
			break
		}
	}
	if reboots == 0 {
		t.Fatal("no node ever rebooted: the worlds prove nothing")
	}
}

// TestShrink breaks Step on purpose: the story that is left is a few lines, still breaks the same
// promise, and comes out the same every time.
func TestShrink(t *testing.T) {
	opt := Options{Step: func(s reconciler.State, o reconciler.Observed) (reconciler.State, []reconciler.Effect) {
		for i := range o.Nodes {
			o.Nodes[i].Ready = true // a dead node holds no slot
		}
		return reconciler.Step(s, o)
	}}
	r := Result{}
	for seed := uint64(0); len(r.Violations) == 0; seed++ {
		r = Run(seed, opt)
	}
	short, again := Shrink(r.Story, opt), Shrink(r.Story, opt)
	if len(short.Story) > 10 || len(short.Violations) == 0 {
		t.Errorf("%d lines that break %v:\n%s", len(short.Story), short.Violations, strings.Join(short.Story, "\n"))
	}
	if kind(short.Violations[0]) != kind(r.Violations[0]) || !slices.Equal(short.Story, again.Story) {
		t.Errorf("%q became %q", r.Violations[0], short.Violations[0])
	}
	if sane := Replay(short.Story, Options{}); len(sane.Violations) > 0 {
		t.Errorf("the sane Step breaks %v, too: the story shows nothing", sane.Violations)
	}
	t.Logf("%d lines became\n%s", len(r.Story), strings.Join(short.Story, "\n"))
}

// TestPreviewsComeTrue previews seeded changes, merges them, and compares.
func TestPreviewsComeTrue(t *testing.T) {
	for seed := range *seeds {
		if wrong := Foretell(seed); len(wrong) > 0 {
			t.Fatalf("seed %d: %s", seed, strings.Join(wrong, "\n"))
		}
	}
}

// TestScripts runs the flows, each a page of text that says what people see.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := NewScript()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "run" {
				d.Fatalf(t, "a block begins with run")
			}
			var out []string
			for line := range strings.Lines(d.Input) {
				events, err := s.Do(strings.TrimSpace(line))
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				if events != "" {
					out = append(out, events)
				}
			}
			return strings.Join(out, "\n") + "\n"
		})
	})
}
