package sim

import (
	"flag"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

var seeds = flag.Uint64("seeds", 300, "how many seeded worlds to live through")

// TestSeeds lives through faulty worlds; `sluice sim --seed N` replays the one that it names.
func TestSeeds(t *testing.T) {
	reboots := 0
	for seed := range *seeds {
		r := Run(seed, Options{})
		reboots += r.Reboots
		if len(r.Violations) > 0 {
			t.Fatalf("seed %d, %d ticks: %s\nlast events:\n%s", seed, r.Ticks, strings.Join(r.Violations, "\n"), strings.Join(r.Events[max(0, len(r.Events)-60):], "\n"))
		}
	}
	if reboots == 0 {
		t.Fatal("no node ever rebooted: the worlds prove nothing")
	}
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
