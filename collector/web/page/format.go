package page

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

var functions = template.FuncMap{
	"plural": plural, "duration": duration, "word": word,
	"columns": func() any { return columns },
	"states":  func() []poller.State { return append([]poller.State{""}, poller.Urgency()...) },
	"symbol":  func(s poller.State) string { return symbols[s] },
	"reason":  func(s poller.State) string { return reasons[s] },
	"days": func(w []week) (days []string) {
		for d := range 7 {
			days = append(days, w[0].From.AddDate(0, 0, d).Format("Mon"))
		}
		return days
	},
	"millis": func(ms int64) string { return duration(time.Duration(min(ms, 1e12)) * time.Millisecond) },
}

// word is the name of a state in a text.
func word(s poller.State) string { return strings.ReplaceAll(string(s), "_", " ") }

// sentence returns text with an upper-case first letter.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// duration formats d in at most two units.
func duration(d time.Duration) string {
	const day = 24 * time.Hour
	whole := func(unit time.Duration) int { return int(d / unit) }
	switch {
	case d < time.Minute:
		return fmt.Sprint(max(0, whole(time.Second)), " s")
	case d < time.Hour:
		return fmt.Sprint(whole(time.Minute), " min")
	case d < day:
		return strings.TrimSuffix(fmt.Sprintf("%d h %d min", whole(time.Hour), whole(time.Minute)%60), " 0 min")
	case d < 14*day:
		return strings.TrimSuffix(fmt.Sprintf("%s %d h", plural(whole(day), "day"), whole(time.Hour)%24), " 0 h")
	case d < 100*day:
		return fmt.Sprint(whole(day), " days")
	case d < 730*day:
		return fmt.Sprint(whole(day)*12/365, " months")
	}
	return fmt.Sprint(whole(day)/365, " years")
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprint(n, " ", thing, "s")
}

// moment is a time, formatted relative to now. The zero time is unknown.
type moment struct{ at, now time.Time }

func (m moment) Known() bool     { return !m.at.IsZero() }
func (m moment) Age() string     { return duration(m.now.Sub(m.at)) }
func (m moment) Exact() string   { return m.at.UTC().Format("2006-01-02 15:04:05 UTC") }
func (m moment) Machine() string { return m.at.UTC().Format(time.RFC3339) }

// Relative is the time from now, or since then.
func (m moment) Relative() string {
	if m.at.After(m.now) {
		return "in " + duration(m.at.Sub(m.now))
	}
	return m.Age() + " ago"
}

// Clock is the time in minutes, with the date if it is not within a day.
func (m moment) Clock() string {
	if m.at.Sub(m.now).Abs() < 24*time.Hour {
		return m.at.UTC().Format("15:04 UTC")
	}
	return m.at.UTC().Format("2006-01-02 15:04 UTC")
}

// instant converts Unix milliseconds; 0 is unknown.
func instant(ms int64) time.Time {
	if ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(min(ms, 253402300799999)).UTC() // the latest time in RFC 3339
}
