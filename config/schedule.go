package config

import (
	"errors"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// parseSchedule refuses, beside what cron refuses, what makes cron panic, come due never or more often than written, or in
// another zone than meant.
func parseSchedule(spec string) (cron.Schedule, error) {
	zone, fields := time.Local, strings.Fields(spec)
	if len(fields) > 0 {
		if name, place, ok := strings.Cut(fields[0], "="); ok && (name == "TZ" || name == "CRON_TZ") {
			var err error
			if zone, err = time.LoadLocation(place); err != nil {
				return nil, err
			}
			if place == "" {
				return nil, errors.New("no zone right after " + fields[0])
			}
			fields = fields[1:]
		}
	}
	text := strings.Join(fields, " ")
	if every, ok := strings.CutPrefix(text, "@every "); ok {
		pause, err := parseDuration(every)
		if err == nil && pause < time.Second {
			err = errors.New("due more than once a second")
		}
		return cron.Every(pause), err
	}
	if !strings.HasPrefix(text, "@") {
		text = " " + text // cron panics for another zone that nothing follows
	}
	parsed, err := cron.ParseStandard(text)
	if err != nil {
		return nil, err
	}
	c := calendar{parsed.(*cron.SpecSchedule), zone}
	c.clock.Location = time.UTC
	if c.clock.Next(time.Unix(0, 0)).IsZero() {
		return nil, errors.New("never due")
	}
	return c, nil
}

// calendar comes due when the clocks of a zone show certain times. Cron itself loses those that the clocks skip and, on
// such days, others too.
type calendar struct {
	clock *cron.SpecSchedule // on a clock that is never set, UTC for want of another
	zone  *time.Location     // time.Local: that of the time asked about
}

// Next returns the first due time after t. A time that the clocks skip is due when they have, and one that they show twice
// the first time; but what is due in every hour follows the time that passes, as in the cron of Unix.
func (c calendar) Next(t time.Time) time.Time {
	zone := c.zone
	if zone == time.Local {
		zone = t.Location()
	}
	const everyHour = 1<<24 - 1
	passing := c.clock.Hour&everyHour == everyHour
	now := t.In(zone)
	after := shown(now)
	for {
		// Between two settings of the clocks.
		start, end := now.ZoneBounds()
		if before := shown(start.Add(-time.Second)); !passing && before.After(after) {
			after = before
		}
		due := now.Add(c.next(after).Sub(shown(now)))
		if due.Before(start) {
			due = start
		}
		if end.IsZero() || due.Before(end) {
			return due.In(t.Location())
		}
		now, after = end, time.Time{}
		if passing {
			after = shown(end).Add(-time.Second)
		}
	}
}

// shown is what a clock shows at t, as a time in UTC.
func shown(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// next returns the first due time after another on a clock that is never set.
func (c calendar) next(after time.Time) time.Time {
	for {
		if next := c.clock.Next(after); !next.IsZero() {
			return next
		}
		after = after.AddDate(5, 0, 0) // no further does cron look, and there is no 29 February for eight years
	}
}
