package page

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

var functions = template.FuncMap{
	"count": count, "words": words,
	"columns": func() any { return columns },
	"states":  func() []poller.State { return append([]poller.State{""}, poller.Urgency()...) },
	// Beside the word, so that colour is not the only sign.
	"symbol": func(v poller.State) string {
		return map[poller.State]string{
			poller.Lost: "✕", poller.AboutToEnd: "▲", poller.Overdue: "!", poller.NotRenewed: "▲", poller.AtRisk: "▲", poller.Unknown: "?",
			poller.Paused: "‖", poller.Empty: "○", poller.Retired: "○", poller.OK: "●",
		}[v]
	},
	"word":   func(v poller.State) string { return strings.ReplaceAll(string(v), "_", " ") },
	"millis": func(ms int64) string { return words(time.Duration(min(ms, 1e12)) * time.Millisecond) },
}

// words is a duration as people say it, to two units at most.
func words(d time.Duration) string {
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
		return strings.TrimSuffix(fmt.Sprintf("%s %d h", count(whole(day), "day"), whole(time.Hour)%24), " 0 h")
	case d < 100*day:
		return fmt.Sprint(whole(day), " days")
	case d < 730*day:
		return fmt.Sprint(whole(day)*12/365, " months")
	}
	return fmt.Sprint(whole(day)/365, " years")
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprint(n, " ", thing, "s")
}

func exact(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// moment is a time as seen from now; the zero time is unknown.
type moment struct{ at, now time.Time }

func (m moment) Known() bool     { return !m.at.IsZero() }
func (m moment) Age() string     { return words(m.now.Sub(m.at)) }
func (m moment) Exact() string   { return exact(m.at) }
func (m moment) Machine() string { return m.at.UTC().Format(time.RFC3339) }

// Words is how far away it is.
func (m moment) Words() string {
	if m.at.After(m.now) {
		return "in " + words(m.at.Sub(m.now))
	}
	return m.Age() + " ago"
}
