package config

import (
	"errors"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// parseSchedule returns the schedule with spec as its text.
func parseSchedule(spec string) (poller.Schedule, error) {
	c, err := parseCalendar(spec)
	return poller.Schedule{Text: spec, Calendar: c}, err
}

// parseCalendar also refuses what cron accepts but panics for, never schedules, or schedules more often or in another zone than
// written.
func parseCalendar(spec string) (poller.Calendar, error) {
	zone, fields := time.Local, strings.Fields(spec)
	if len(fields) > 0 {
		if name, place, ok := strings.Cut(fields[0], "="); ok && (name == "TZ" || name == "CRON_TZ") {
			var err error
			if zone, err = time.LoadLocation(place); err != nil {
				return nil, err
			}
			if place == "" {
				return nil, errors.New("no zone after " + fields[0])
			}
			fields = fields[1:]
		}
	}
	text := strings.Join(fields, " ")
	if every, ok := strings.CutPrefix(text, "@every "); ok {
		pause, err := parseDuration(every)
		if err == nil && (pause < time.Second || pause > 10*year) {
			err = errors.New("not every 1s to 10y")
		}
		return multiples(pause.Milliseconds()), err
	}
	if !strings.HasPrefix(text, "@") {
		text = " " + text // cron panics for a second zone without fields
	}
	parsed, err := cron.ParseStandard(text)
	if err != nil {
		return nil, err
	}
	c := calendar{parsed.(*cron.SpecSchedule), zone}
	c.clock.Location = time.UTC
	if c.clock.Next(time.Unix(0, 0)).IsZero() {
		return nil, errors.New("never scheduled")
	}
	return c, nil
}

// multiples schedules the multiples of this many milliseconds since 1970 UTC, so that restarts and other processes do not move them.
type multiples int64

func (m multiples) Next(t time.Time) time.Time {
	since := (t.UnixMilli()%int64(m) + int64(m)) % int64(m)
	return time.UnixMilli(t.UnixMilli() - since + int64(m)).In(t.Location())
}

const year = 365 * 24 * time.Hour

// calendar schedules times of the clocks in a zone. Cron loses the times that a clock change skips, and others on such days.
type calendar struct {
	clock *cron.SpecSchedule // in UTC, on clocks without changes
	zone  *time.Location     // time.Local: the zone of the argument of Next
}

// Next returns the first scheduled time after t. A time that a clock change skips is scheduled at the change, a repeated time only at
// its first occurrence. A schedule with every hour uses the elapsed time instead, as Unix cron does.
func (c calendar) Next(t time.Time) time.Time {
	zone := c.zone
	if zone == time.Local {
		zone = t.Location()
	}
	const everyHour = 1<<24 - 1
	hourly := c.clock.Hour&everyHour == everyHour
	now := t.In(zone)
	after := wallClock(now)
	for {
		// Between two clock changes.
		start, end := now.ZoneBounds()
		if before := wallClock(start.Add(-time.Second)); !hourly && before.After(after) {
			after = before
		}
		due := now.Add(c.next(after).Sub(wallClock(now)))
		if due.Before(start) {
			due = start
		}
		if end.IsZero() || due.Before(end) {
			return due.In(t.Location())
		}
		now, after = end, time.Time{}
		if hourly {
			after = wallClock(end).Add(-time.Second)
		}
	}
}

// wallClock returns the time that a clock shows at t, as a time in UTC.
func wallClock(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// next returns the first scheduled time after another on clocks without changes.
func (c calendar) next(after time.Time) time.Time {
	for {
		if next := c.clock.Next(after); !next.IsZero() {
			return next
		}
		after = after.AddDate(5, 0, 0) // the limit of cron; two leap years may be 8 years apart
	}
}
