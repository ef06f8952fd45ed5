package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	if text == "" {
		return time.Time{}
	}
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func TestState(t *testing.T) {
	window := func(schedule, duration, zone string) Rollout {
		return Rollout{Windows: []Window{{Schedule: schedule, Duration: duration, TimeZone: zone}}}
	}
	nights := window("0 2 * * *", "4h", "Europe/Berlin")
	yearEnd := nights
	yearEnd.Freezes = []Freeze{{
		From: time.Date(2026, 12, 19, 0, 0, 0, 0, time.UTC), To: time.Date(2027, 1, 4, 0, 0, 0, 0, time.UTC),
		Window: Window{Reason: "year end"},
	}}
	fridays := Rollout{Freezes: []Freeze{{Window: Window{Schedule: "0 12 * * 5", Duration: "60h", TimeZone: "UTC"}}}}
	noon := window("0 8 * * *", "12h", "")
	noon.Freezes = []Freeze{{Window: Window{Schedule: "0 12 * * *", Duration: "1h"}}}
	overlap := Rollout{Freezes: []Freeze{
		{From: at(t, "2026-12-19T00:00:00Z"), To: at(t, "2026-12-25T00:00:00Z"), Window: Window{Reason: "stock-taking"}},
		{From: at(t, "2026-12-25T00:00:00Z"), To: at(t, "2027-01-25T00:00:00Z")},
		{From: at(t, "2027-02-25T00:00:00Z"), To: at(t, "2027-03-25T00:00:00Z"), Window: Window{Reason: "later"}},
	}}
	for _, tt := range []struct {
		name        string
		rollout     Rollout
		at          string
		open        bool
		until, next string
		reason      string
	}{
		{"nothing said is always open", Rollout{}, "2026-11-28T12:00:00Z", true, "", "", ""},
		{"the start belongs to the window", nights, "2026-11-28T01:00:00Z", true, "2026-11-28T05:00:00Z", "2026-11-29T01:00:00Z", ""},
		{"the moment before does not", nights, "2026-11-28T00:59:59.999999999Z", false, "2026-11-28T01:00:00Z", "2026-11-28T01:00:00Z", "outside every window; next opens 2026-11-28 02:00 CET"},
		{"the last moment belongs to it", nights, "2026-11-28T04:59:59.999999999Z", true, "2026-11-28T05:00:00Z", "2026-11-29T01:00:00Z", ""},
		{"the end does not", nights, "2026-11-28T05:00:00Z", false, "2026-11-29T01:00:00Z", "2026-11-29T01:00:00Z", "outside every window; next opens 2026-11-29 02:00 CET"},
		{"no time zone is UTC", window("0 2 * * *", "1h", ""), "2026-07-01T02:30:00Z", true, "2026-07-01T03:00:00Z", "2026-07-02T02:00:00Z", ""},
		{"the day is that of the local start", window("0 1 * * 6", "4h", "Asia/Tokyo"), "2026-11-27T17:00:00Z", true, "2026-11-27T20:00:00Z", "2026-12-04T16:00:00Z", ""},
		{"a window goes on into a day that is not named", window("0 22 * * 5", "8h", "UTC"), "2026-11-28T05:00:00Z", true, "2026-11-28T06:00:00Z", "2026-12-04T22:00:00Z", ""},
		{"windows that touch are one", Rollout{Windows: []Window{{Schedule: "0 2 * * *", Duration: "2h"}, {Schedule: "0 4 * * *", Duration: "1h"}}}, "2026-11-28T02:00:00Z", true, "2026-11-28T05:00:00Z", "2026-11-29T02:00:00Z", ""},
		{"a window longer than its period never closes", window("0 0 1 * *", "744h", ""), "2026-11-28T02:00:00Z", true, "", "", ""},
		{"a window of every minute never closes", window("* * * * *", "1m", ""), "2026-11-28T02:00:30Z", true, "", "", ""},
		{"a window in a leap year only is out of sight", window("0 0 29 2 *", "24h", ""), "2026-11-28T02:00:00Z", false, "", "", "outside every window; no opening is in sight"},
		{"a freeze is stronger than a window", yearEnd, "2026-12-20T02:00:00Z", false, "2027-01-04T01:00:00Z", "2027-01-04T01:00:00Z", "frozen until 2027-01-04 01:00 CET by freezes[0] (year end); next opens 2027-01-04 02:00 CET"},
		{"a freeze closes a window early", yearEnd, "2026-12-18T01:00:00Z", true, "2026-12-18T05:00:00Z", "2027-01-04T01:00:00Z", ""},
		{"the end of a freeze is outside it", yearEnd, "2027-01-04T00:00:00Z", false, "2027-01-04T01:00:00Z", "2027-01-04T01:00:00Z", "outside every window; next opens 2027-01-04 02:00 CET"},
		{"a freeze that begins within a window ends it", noon, "2026-12-19T11:00:00Z", true, "2026-12-19T12:00:00Z", "2026-12-19T13:00:00Z", ""},
		{"a freeze alone", fridays, "2026-11-27T11:59:00Z", true, "2026-11-27T12:00:00Z", "2026-11-30T00:00:00Z", ""},
		{"within a freeze that returns", fridays, "2026-11-28T00:00:00Z", false, "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z", "frozen until 2026-11-30 00:00 UTC by freezes[0]; next opens 2026-11-30 00:00 UTC"},
		{"a freeze without an end in sight", Rollout{Freezes: []Freeze{{From: time.Unix(0, 0), To: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}}}, "2026-11-28T00:00:00Z", false, "", "", "frozen until 2100-01-01 00:00 UTC by freezes[0]; no opening is in sight"},
		{"freezes that follow one another are one", overlap, "2026-12-21T00:00:00Z", false, "2027-01-25T00:00:00Z", "2027-01-25T00:00:00Z", "frozen until 2027-01-25 00:00 UTC by freezes[0] (stock-taking), freezes[1]; next opens 2027-01-25 00:00 UTC"},
		{"a freeze longer than its period never ends", Rollout{Freezes: []Freeze{{Window: Window{Schedule: "0 0 * * *", Duration: "30h", Reason: "always"}}}}, "2026-11-21T00:00:00Z", false, "", "", "frozen, with no end in sight, by freezes[0] (always); no opening is in sight"},

		{"Berlin, spring: a start that is skipped comes at the jump", window("30 2 29 3 *", "1h", "Europe/Berlin"), "2026-03-29T01:00:00Z", true, "2026-03-29T02:00:00Z", "2027-03-29T00:30:00Z", ""},
		{"Berlin, spring: and not before", window("30 2 29 3 *", "1h", "Europe/Berlin"), "2026-03-29T00:59:59Z", false, "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z", "outside every window; next opens 2026-03-29 03:00 CEST"},
		{"Berlin, autumn: a start that is repeated comes the first time", window("30 2 25 10 *", "20m", "Europe/Berlin"), "2026-10-25T00:30:00Z", true, "2026-10-25T00:50:00Z", "2027-10-25T00:30:00Z", ""},
		{"Berlin, autumn: and not the second", window("30 2 25 10 *", "20m", "Europe/Berlin"), "2026-10-25T01:30:00Z", false, "2027-10-25T00:30:00Z", "2027-10-25T00:30:00Z", "outside every window; next opens 2027-10-25 02:30 CEST"},
		{"Berlin, autumn: the duration is elapsed time", window("0 1 25 10 *", "3h", "Europe/Berlin"), "2026-10-25T01:59:00Z", true, "2026-10-25T02:00:00Z", "2027-10-24T23:00:00Z", ""},
		{"New York, spring: every start of the skipped hour is one", window("*/10 2 8 3 *", "15m", "America/New_York"), "2026-03-08T07:00:00Z", true, "2026-03-08T07:15:00Z", "2027-03-08T07:00:00Z", ""},
		{"New York, autumn", window("30 1 * * *", "10m", "America/New_York"), "2026-11-01T06:30:00Z", false, "2026-11-02T06:30:00Z", "2026-11-02T06:30:00Z", "outside every window; next opens 2026-11-02 01:30 EST"},
		{"Lord Howe, spring: half an hour is skipped", window("15 2 4 10 *", "10m", "Australia/Lord_Howe"), "2026-10-03T15:30:00Z", true, "2026-10-03T15:40:00Z", "2027-10-03T15:15:00Z", ""},
		{"Lord Howe, autumn: half an hour is repeated", window("45 1 5 4 *", "10m", "Australia/Lord_Howe"), "2026-04-04T15:15:00Z", false, "2027-04-04T15:15:00Z", "2027-04-04T15:15:00Z", "outside every window; next opens 2027-04-05 01:45 +1030"},
		{"Apia: a whole day is skipped", window("0 12 30 12 *", "1h", "Pacific/Apia"), "2011-12-30T10:00:00Z", true, "2011-12-30T11:00:00Z", "2012-12-29T22:00:00Z", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := WindowState{Open: tt.open, Until: at(t, tt.until), Next: at(t, tt.next), Reason: tt.reason}
			if diff := cmp.Diff(want, tt.rollout.State(at(t, tt.at))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMistakesClose(t *testing.T) {
	good := Window{Schedule: "0 2 * * *", Duration: "4h"}
	with := func(change func(*Window)) Window { w := good; change(&w); return w }
	day := time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		bad   Freeze // read as a window where it holds no more than one
		field string
		why   string
	}{
		{"no schedule", Freeze{Window: with(func(w *Window) { w.Schedule = "" })}, ".schedule", "five fields"},
		{"four fields", Freeze{Window: with(func(w *Window) { w.Schedule = "0 2 * *" })}, ".schedule", "five fields"},
		{"six fields", Freeze{Window: with(func(w *Window) { w.Schedule = "0 0 2 * * *" })}, ".schedule", "five fields"},
		{"a minute that is none", Freeze{Window: with(func(w *Window) { w.Schedule = "60 2 * * *" })}, ".schedule", "above maximum"},
		{"a Sunday that is 7", Freeze{Window: with(func(w *Window) { w.Schedule = "0 2 * * 7" })}, ".schedule", "write 0 in the place of 7"},
		{"a zone prefix without a space", Freeze{Window: with(func(w *Window) { w.Schedule = "TZ=Europe/Rome" })}, ".schedule", "write it into timeZone"},
		{"a zone prefix", Freeze{Window: with(func(w *Window) { w.Schedule = "CRON_TZ=Europe/Rome 0 2 * * *" })}, ".schedule", "write it into timeZone"},
		{"a descriptor", Freeze{Window: with(func(w *Window) { w.Schedule = "@daily" })}, ".schedule", "five fields"},
		{"an interval", Freeze{Window: with(func(w *Window) { w.Schedule = "@every 1h" })}, ".schedule", "five fields"},
		{"five words behind an at", Freeze{Window: with(func(w *Window) { w.Schedule = "@every 1h * * *" })}, ".schedule", "five fields"},
		{"an empty list", Freeze{Window: with(func(w *Window) { w.Schedule = ", 2 * * *" })}, ".schedule", "empty place"},
		{"a day that never comes", Freeze{Window: with(func(w *Window) { w.Schedule = "0 2 30 2 *" })}, ".schedule", "never comes"},
		{"no duration", Freeze{Window: with(func(w *Window) { w.Duration = "" })}, ".duration", "is no duration"},
		{"a number alone", Freeze{Window: with(func(w *Window) { w.Duration = "4" })}, ".duration", "is no duration"},
		{"a negative duration", Freeze{Window: with(func(w *Window) { w.Duration = "-1h" })}, ".duration", "not longer than zero"},
		{"more than 31 days", Freeze{Window: with(func(w *Window) { w.Duration = "744h1s" })}, ".duration", "31 days"},
		{"a zone that is none", Freeze{Window: with(func(w *Window) { w.TimeZone = "Europe/Atlantis" })}, ".timeZone", "IANA"},
		{"the zone of whoever asks", Freeze{Window: with(func(w *Window) { w.TimeZone = "Local" })}, ".timeZone", "IANA"},
		{"a freeze of nothing", Freeze{Window: Window{Reason: "x"}}, "", "says no time"},
		{"a freeze of both forms", Freeze{Window: good, From: day, To: day.AddDate(0, 0, 1)}, "", "choose one form"},
		{"dates with a time zone, which they carry themselves", Freeze{Window: Window{TimeZone: "UTC"}, From: day, To: day.AddDate(0, 0, 1)}, "", "choose one form"},
		{"a freeze without an end", Freeze{From: day}, ".to", "is missing"},
		{"a freeze without a start", Freeze{To: day}, ".from", "is missing"},
		{"a freeze that ends before it starts", Freeze{From: day, To: day}, ".to", "does not lie after from"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check := func(r Rollout, field string) {
				t.Helper()
				problems := r.Problems()
				if len(problems) != 1 || problems[0].Field != field || !strings.Contains(problems[0].Why, tt.why) {
					t.Errorf("problems: %v, want one of %s that says %q", problems, field, tt.why)
				}
				state := r.State(time.Date(2026, 11, 28, 2, 30, 0, 0, time.UTC))
				if state.Open || !state.Until.IsZero() || !strings.Contains(state.Reason, field) {
					t.Errorf("%+v: want closed with %s as the reason", state, field)
				}
			}
			check(Rollout{Windows: []Window{good}, Freezes: []Freeze{tt.bad}}, "freezes[0]"+tt.field)
			if tt.bad.From.IsZero() && tt.bad.To.IsZero() && tt.bad.Schedule+tt.bad.Duration != "" {
				check(Rollout{Windows: []Window{good, tt.bad.Window}}, "windows[1]"+tt.field)
			}
		})
	}
	several := Rollout{Windows: []Window{{Schedule: "x", Duration: "y", TimeZone: "z"}}}
	if got := several.Problems(); len(got) != 3 {
		t.Errorf("three mistakes in one window: %v, want all at once", got)
	}
}

func TestRolloutDecodes(t *testing.T) {
	const text = `
windows:
- {schedule: "0 2 * * 6", duration: 4h, timeZone: Europe/Berlin, reason: quiet}
freezes:
- {schedule: "0 12 * * 5", duration: 60h, timeZone: UTC, reason: weekend}
- {from: 2026-12-19T00:00:00Z, to: "2027-01-04T00:00:00+01:00", reason: year end}
`
	var got Rollout
	if err := yaml.UnmarshalStrict([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want := Rollout{
		Windows: []Window{{Schedule: "0 2 * * 6", Duration: "4h", TimeZone: "Europe/Berlin", Reason: "quiet"}},
		Freezes: []Freeze{
			{Window: Window{Schedule: "0 12 * * 5", Duration: "60h", TimeZone: "UTC", Reason: "weekend"}},
			{Window: Window{Reason: "year end"}, From: at(t, "2026-12-19T00:00:00Z"), To: at(t, "2027-01-04T00:00:00+01:00")},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	encoded, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var back Rollout
	if err := yaml.UnmarshalStrict(encoded, &back); err != nil || cmp.Diff(want, back) != "" {
		t.Errorf("%s came back as %+v (%v)", encoded, back, err)
	}
	for _, bad := range []string{"windows: [{shedule: x}]", "freezes: [{window: {schedule: x}}]", "freezes: [{from: yesterday}]"} {
		if err := yaml.UnmarshalStrict([]byte(bad), &Rollout{}); err == nil {
			t.Errorf("%s: taken without a word", bad)
		}
	}
}

// A schedule is the author's, so nothing in it may do more than close the rollout.
func FuzzSchedule(f *testing.F) {
	for _, s := range []string{"0 2 * * 6", "*/5 1-3,9 1 jan sun", "TZ=x", "CRON_TZ=x * * * * *", "@every 1s", ", , , , ,", "? ? ? ? ?", "1/99999999999999999999 * * * *", "0-0/9223372036854775807 * * * *"} {
		f.Add(s, "1h", "Europe/Berlin")
	}
	f.Fuzz(func(t *testing.T, schedule, duration, zone string) {
		now := time.Date(2026, 10, 25, 0, 59, 0, 0, time.UTC)
		r := Rollout{Windows: []Window{{Schedule: schedule, Duration: duration, TimeZone: zone}}}
		s := r.State(now)
		if len(r.Problems()) > 0 && s.Open {
			t.Errorf("open with %v", r.Problems())
		}
		if s.Open && !s.Until.IsZero() && (!s.Until.After(now) || r.State(s.Until).Open || !r.State(s.Until.Add(-1)).Open) {
			t.Errorf("open, but not up to %v", s.Until)
		}
		if !s.Open && !s.Next.IsZero() && (!s.Next.After(now) || !r.State(s.Next).Open || r.State(s.Next.Add(-1)).Open) {
			t.Errorf("%v is no opening", s.Next)
		}
	})
}
