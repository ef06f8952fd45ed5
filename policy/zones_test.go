package policy

import (
	"archive/zip"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A change is one change of the clocks of a zone.
type change struct {
	zone *time.Location
	at   time.Time
}

// zoneNames are all that Go's own database holds.
func zoneNames(t *testing.T) (names []string) {
	t.Helper()
	//lint:ignore SA1019 the test runs where it was built
	file := filepath.Join(runtime.GOROOT(), "lib", "time", "zoneinfo.zip")
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Skip("skipped: Go's list of time zones is not here: ", err)
	}
	defer z.Close()
	for _, f := range z.File {
		if !strings.HasSuffix(f.Name, "/") && f.Name != "Factory" {
			names = append(names, f.Name)
		}
	}
	return names
}

// changes are those of all zones from 2024 to 2030; zones that never differ count once.
func changes(t *testing.T, names []string) (all []change, zones int) {
	t.Helper()
	from, to := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	seen := map[string]bool{}
	for _, name := range names {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		var mine []change
		key := fmt.Sprint(offset(from, zone))
		for at := from; ; {
			_, next := at.In(zone).ZoneBounds()
			if next.IsZero() || !next.Before(to) {
				break
			}
			mine = append(mine, change{zone, next})
			key += fmt.Sprint(" ", next.Unix(), offset(next, zone))
			at = next
		}
		if !seen[key] {
			seen[key] = true
			zones++
			all = append(all, mine...)
		}
	}
	return all, zones
}

// TestNothingStartsOutsideAWindowWhereClocksChange asks the check of windows in the two days around
// a change of the clocks, and holds every minute against the walk of TestAgainstTheClock. One
// change of many is taken, since all take minutes; SLUICE_ALL_ZONES=1 takes all.
func TestNothingStartsOutsideAWindowWhereClocksChange(t *testing.T) {
	names := zoneNames(t)
	all, zones := changes(t, names)
	stride := 43
	if os.Getenv("SLUICE_ALL_ZONES") != "" {
		stride = 1
	}
	const needs = 5 // minutes that a node takes
	var taken, starts, outside, late, missed int
	for i := 0; i < len(all); i += stride {
		taken++
		from := all[i].at.Add(-48 * time.Hour)
		for _, w := range clockCases() {
			r := Rollout{Windows: []Window{{Schedule: w.schedule, Duration: w.length.String(), TimeZone: all[i].zone.String()}}}
			c, problems := r.calendar()
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			open := walk(w, all[i].zone, from, all[i].at.Add(48*time.Hour))
			for m, want := range open {
				now := from.Add(time.Duration(m) * time.Minute)
				if got, _ := c.look(now); got != want {
					if got {
						outside++
					} else {
						missed++
					}
					t.Errorf("%s in %s at %v: open %v, the clock says %v", w.schedule, all[i].zone, now, got, want)
				}
				if m%17 > 0 || m+needs > len(open) {
					continue
				}
				if got, _ := window(Request{Rollout: r, Now: now, Expected: needs * time.Minute}); got == Allow {
					starts++
					for _, still := range open[m : m+needs] {
						if !still {
							late++
							t.Errorf("%s in %s: a start at %v ends outside", w.schedule, all[i].zone, now)
							break
						}
					}
				}
			}
		}
	}
	t.Logf("%d zones, of which %d differ from 2024 to 2030; %d of %d changes of their clocks, each +-48 h by the minute: %d starts asked for and allowed, %d outside, %d that end outside, %d minutes closed by mistake",
		len(names), zones, taken, len(all), starts, outside, late, missed)
	if stride > 1 {
		t.Log("one change in", stride, "was taken; SLUICE_ALL_ZONES=1 takes all")
	}
	if taken < 5 || starts == 0 {
		t.Errorf("%d changes were looked at, and %d starts allowed: nothing is shown by that", taken, starts)
	}
}
