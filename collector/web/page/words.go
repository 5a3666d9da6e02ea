package page

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// words is a duration as people say it, to two units at most.
func words(d time.Duration) string {
	const day = 24 * time.Hour
	whole := func(unit time.Duration) int { return int(d / unit) }
	switch {
	case d < time.Second:
		return "0 s"
	case d < time.Minute:
		return fmt.Sprintf("%d s", whole(time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%d min", whole(time.Minute))
	case d < day:
		return strings.TrimSuffix(fmt.Sprintf("%d h %d min", whole(time.Hour), whole(time.Minute)%60), " 0 min")
	case d < 2*day:
		return strings.TrimSuffix(fmt.Sprintf("1 day %d h", whole(time.Hour)%24), " 0 h")
	case d < 100*day:
		return fmt.Sprintf("%d days", whole(day))
	case d < 730*day:
		return fmt.Sprintf("%d months", whole(day)*12/365)
	}
	return fmt.Sprintf("%d years", whole(day)/365)
}

// count is a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprint(n, " ", thing, "s")
}

func exact(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// moment is a time as seen from now; the zero time is unknown.
type moment struct{ at, now time.Time }

// Known reports whether there is such a time.
func (m moment) Known() bool { return !m.at.IsZero() }

// Words is how far away it is.
func (m moment) Words() string {
	if m.at.After(m.now) {
		return "in " + words(m.at.Sub(m.now))
	}
	return words(m.now.Sub(m.at)) + " ago"
}

// Age is how long ago it was.
func (m moment) Age() string { return words(m.now.Sub(m.at)) }

// Exact is for people, Machine for programs.
func (m moment) Exact() string   { return exact(m.at) }
func (m moment) Machine() string { return m.at.UTC().Format(time.RFC3339) }

func (r *row) moment(ms int64) moment { return moment{instant(ms), r.now} }

// Key names the target in an address.
func (r *row) Key() string { return r.Target.Label + ":" + r.Target.Provider }

// Address opens the target whatever the filters are.
func (r *row) Address() string { return "?open=" + url.QueryEscape(r.Key()) + "#open" }

func (r *row) Next() moment  { return r.moment(r.Earliest) }
func (r *row) Last() moment  { return r.moment(r.Latest) }
func (r *row) Ended() moment { return r.moment(r.LastActive) }
func (r *row) Read() moment  { return moment{r.ReadAt(), r.now} }

// FailingSince and FailedAt are the first and the latest failure of a row.
func (r *row) FailingSince() moment { return moment{r.Failure.Since, r.now} }
func (r *row) FailedAt() moment     { return moment{r.Failure.At, r.now} }

func (r *row) Issue(e poller.Expiry) moment { return r.moment(e.Issued) }
func (r *row) End(e poller.Expiry) moment   { return r.moment(e.Expires) }

// Took is how long the last complete walk was under way.
func (r *row) Took() string { return r.Census.Took.Round(time.Millisecond).String() }

// Lifetime in words; empty: unknown.
func (r *row) Lifetime() string {
	if r.Census.Lifetime == 0 {
		return ""
	}
	return words(time.Duration(min(r.Census.Lifetime, 1e12)) * time.Millisecond)
}

// Within says how many tokens end in each window of the target.
func (r *row) Within() string {
	var out []string
	for _, w := range r.Target.Windows {
		out = append(out, fmt.Sprintf("%d within %s", r.Expiring(w.Duration), w.Label))
	}
	return strings.Join(out, ", ")
}

// symbol stands beside the word, so that colour is not the only sign.
func symbol(v poller.Verdict) string {
	return map[poller.Verdict]string{poller.Lost: "✕", poller.AtRisk: "▲", poller.Empty: "○", poller.Unknown: "?", poller.OK: "●"}[v]
}

// word is a verdict without its underscore.
func word(v poller.Verdict) string { return strings.ReplaceAll(string(v), "_", " ") }

// part is one stretch of a stacked bar of width 100.
type part struct {
	Name     string
	X, Width float64
}

// Parts is the bar of a row's tokens.
func (r *row) Parts() (parts []part) {
	x := 0.0
	for _, p := range []struct {
		name  string
		count int
	}{{"active", r.Active}, {"expired", r.Expired}, {"revoked", r.Revoked}} {
		if p.count > 0 {
			width := 100 * float64(p.count) / float64(r.Total)
			parts = append(parts, part{p.name, x, width})
			x += width
		}
	}
	return parts
}
