package policy

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// span is a time that is covered: [from, to), or again and again for a length from each start
// of a schedule.
type span struct {
	field, reason string
	from, to      time.Time // set, or else:
	starts        cron.Schedule
	zone          *time.Location
	length        time.Duration
}

const (
	maxLength = 31 * 24 * time.Hour
	cronForm  = `five fields "minute hour day month weekday" as in "0 2 * * 6"`
)

// span reads a window; field is where it stands.
func (w Window) span(field string) (span, []Problem) {
	s := span{field: field, reason: strings.TrimSpace(w.Reason)}
	var problems []Problem
	note := func(name string, err error) {
		if err != nil {
			problems = append(problems, Problem{field + "." + name, err.Error()})
		}
	}
	var err error
	s.starts, err = parseSchedule(w.Schedule)
	note("schedule", err)
	s.length, err = parseLength(w.Duration)
	note("duration", err)
	s.zone, err = parseZone(w.TimeZone)
	note("timeZone", err)
	return s, problems
}

// parseSchedule takes five fields and nothing else. The parser of robfig/cron panics on a zone
// prefix without a space, and takes an empty list as a field that never comes.
func parseSchedule(text string) (cron.Schedule, error) {
	if strings.Contains(text, "=") {
		return nil, fmt.Errorf("%q holds a time zone: write it into timeZone", text)
	}
	if strings.HasPrefix(text, "@") || len(strings.Fields(text)) != 5 {
		return nil, fmt.Errorf("%q is no schedule: give %s", text, cronForm)
	}
	for _, field := range strings.Fields(text) {
		if slices.Contains(strings.Split(field, ","), "") {
			return nil, fmt.Errorf("%q is no schedule: the list %q has an empty place", text, field)
		}
	}
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(text)
	if err != nil && strings.Contains(strings.Fields(text)[4], "7") {
		return nil, fmt.Errorf("%q is no schedule: weekdays are 0 (Sunday) to 6, or SUN to SAT: write 0 in the place of 7", text)
	}
	if err != nil {
		return nil, fmt.Errorf("%q is no schedule: %w", text, err)
	}
	leap := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // a year in which every date of the calendar comes
	if parsed.Next(leap).IsZero() {
		return nil, fmt.Errorf("%q never comes: no month of it has such a day", text)
	}
	return parsed, nil
}

func parseLength(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no duration: give hours and minutes as in \"4h30m\"", text)
	case d <= 0:
		return 0, fmt.Errorf("%q is not longer than zero", text)
	case d > maxLength:
		return 0, fmt.Errorf("%q is longer than 31 days (744h)", text)
	}
	return d, nil
}

func parseZone(name string) (*time.Location, error) {
	if name == "Local" { // it would depend on who asks
		return nil, fmt.Errorf("%q is no time zone: give an IANA name as in \"Europe/Berlin\"", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is no time zone that is known here: give an IANA name as in \"Europe/Berlin\"", name)
	}
	return zone, nil
}

// covers says whether t is covered, and a time up to which it surely is.
func (s span) covers(t time.Time) (end time.Time, covered bool) {
	if s.starts == nil {
		return s.to, !t.Before(s.from) && t.Before(s.to)
	}
	begun := s.after(t.Add(-s.length)) // the first start that has not ended by t
	if begun.IsZero() || begun.After(t) {
		return time.Time{}, false
	}
	return begun.Add(s.length), true
}

// after is the first start after t; zero when there is none. The schedule runs on a clock that
// knows no summer time and shows the local wall; what it shows is then found in real time.
// (robfig/cron's own way leaves out starts that the clock skips, and repeats others.)
func (s span) after(t time.Time) time.Time {
	if s.starts == nil {
		if s.from.After(t) {
			return s.from
		}
		return time.Time{}
	}
	// A start after t shows a later wall than t does: the other way round holds not, where the
	// wall is set back, so some candidates have been before.
	for shown := s.starts.Next(wall(t, s.zone)); !shown.IsZero(); shown = s.starts.Next(shown) {
		if at := firstShown(shown, s.zone); at.After(t) {
			return at
		}
	}
	return time.Time{}
}

// wall is what a local clock shows at t, as if it were UTC.
func wall(t time.Time, zone *time.Location) time.Time {
	return t.UTC().Add(offset(t, zone))
}

func offset(t time.Time, zone *time.Location) time.Duration {
	_, seconds := t.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}

// firstShown is the first instant at which a local clock shows this wall or a later one: a wall
// that is skipped comes at the jump, one that is repeated comes the first time.
func firstShown(shown time.Time, zone *time.Location) time.Time {
	const day = 24 * time.Hour // no zone is further from UTC, and none changes twice in two
	before, after := offset(shown.Add(-day), zone), offset(shown.Add(day), zone)
	early, late := shown.Add(-max(before, after)), shown.Add(-min(before, after))
	for _, t := range []time.Time{early, late} {
		if wall(t, zone).Equal(shown) {
			return t
		}
	}
	// Skipped: the clock jumps between early and late, which have one offset each.
	jump := sort.Search(int(late.Sub(early)/time.Second), func(i int) bool {
		return offset(early.Add(time.Duration(i)*time.Second), zone) == after
	})
	return early.Add(time.Duration(jump) * time.Second)
}
