package policy

import (
	"testing"
	"time"
	_ "time/tzdata" // the tests need no zones of the machine
)

// clockCase is a schedule twice: as cron, and as a question about one local minute.
type clockCase struct {
	schedule string
	starts   func(wall time.Time) bool
	length   time.Duration
}

// TestAgainstTheClock walks real time minute by minute over changes of the clock. The walk knows
// nothing of schedules or offsets: a local minute starts a window when the local clock first shows
// it or leaps over it.
func TestAgainstTheClock(t *testing.T) {
	day := time.Hour * 24
	cases := clockCases()
	for _, place := range []struct{ zone, change string }{
		{"Europe/Berlin", "2026-03-29T01:00:00Z"},
		{"Europe/Berlin", "2026-10-25T01:00:00Z"},
		{"America/New_York", "2026-03-08T07:00:00Z"},
		{"America/New_York", "2026-11-01T06:00:00Z"},
		{"Australia/Lord_Howe", "2026-10-03T15:30:00Z"},
		{"Australia/Lord_Howe", "2026-04-04T15:00:00Z"},
		{"America/Havana", "2026-03-08T05:00:00Z"}, // midnight itself is skipped
		{"Pacific/Apia", "2011-12-30T10:00:00Z"},   // a whole day is skipped
		{"Europe/Berlin", "2028-12-31T12:00:00Z"},  // the last day of a leap year
		{"UTC", "2026-03-29T01:00:00Z"},
	} {
		t.Run(place.zone+" "+place.change, func(t *testing.T) {
			zone, err := time.LoadLocation(place.zone)
			if err != nil {
				t.Fatal(err)
			}
			change := at(t, place.change)
			for _, c := range cases {
				from := change.Add(-day)
				open := walk(c, zone, from, change.Add(day))
				r := Rollout{Windows: []Window{{Schedule: c.schedule, Duration: c.length.String(), TimeZone: place.zone}}}
				compare(t, r, from, open)
			}
		})
	}
}

func clockCases() []clockCase {
	return []clockCase{
		{"30 2 * * *", func(w time.Time) bool { return w.Hour() == 2 && w.Minute() == 30 }, 45 * time.Minute},
		{"15,45 1-2 * * *", func(w time.Time) bool { return (w.Hour() == 1 || w.Hour() == 2) && w.Minute()%30 == 15 }, 10 * time.Minute},
		{"0 0 * * 0", func(w time.Time) bool { return w.Weekday() == time.Sunday && w.Hour() == 0 && w.Minute() == 0 }, 25 * time.Hour},
		{"*/20 * * * *", func(w time.Time) bool { return w.Minute()%20 == 0 }, 7 * time.Minute},
		{"59 23 * * *", func(w time.Time) bool { return w.Hour() == 23 && w.Minute() == 59 }, 3 * time.Hour},
	}
}

// walk says for each minute from the first on whether a window is open. It begins 9 days earlier,
// so that windows are open that began before.
func walk(c clockCase, zone *time.Location, from, to time.Time) (open []bool) {
	var shown, end time.Time // the latest wall that has been shown; the end of the latest window
	for now := from.Add(-9 * 24 * time.Hour); now.Before(to); now = now.Add(time.Minute) {
		local := now.In(zone)
		wall := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), 0, 0, time.UTC)
		if shown.IsZero() {
			shown = wall
		}
		for shown.Before(wall) {
			shown = shown.Add(time.Minute)
			if c.starts(shown) {
				end = now.Add(c.length)
			}
		}
		if !now.Before(from) {
			open = append(open, now.Before(end))
		}
	}
	return open
}

func compare(t *testing.T, r Rollout, from time.Time, open []bool) {
	t.Helper()
	c, problems := r.calendar()
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for i, want := range open {
		now := from.Add(time.Duration(i) * time.Minute)
		if got, _ := c.look(now); got != want {
			t.Errorf("%s at %v: open %v, the clock says %v", r.Windows[0].Schedule, now, got, want)
			return
		}
		if i%31 > 0 {
			continue
		}
		flip := i
		for flip < len(open) && open[flip] == want {
			flip++
		}
		if until := r.State(now).Until; flip < len(open) && !until.Equal(from.Add(time.Duration(flip)*time.Minute)) {
			t.Errorf("%s at %v: until %v, the clock says %v", r.Windows[0].Schedule, now, until, from.Add(time.Duration(flip)*time.Minute))
			return
		}
	}
}

func BenchmarkState(b *testing.B) {
	r := Rollout{
		Windows: []Window{{Schedule: "0 2 * * 6", Duration: "4h", TimeZone: "Europe/Berlin"}},
		Freezes: []Freeze{{From: time.Date(2026, 12, 19, 0, 0, 0, 0, time.UTC), To: time.Date(2027, 1, 4, 0, 0, 0, 0, time.UTC)}},
	}
	for b.Loop() {
		r.State(time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC))
	}
}
