package page

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// view is the snapshot as one query shows it.
type view struct {
	query
	Now     time.Time
	Version string
	Poll    *poller.Snapshot
	All     []row
	Matched []*row
	Counts  map[poller.State]int // what each filter by state leaves, the empty one for all
	Rows    []*row               // of this page
	First   int                  // how many are on the pages before
	Missing bool                 // the target to be opened is not among those that match
}

func newView(c Config, q query, now time.Time) *view {
	v := &view{query: q, Now: now, Version: c.Version, Poll: c.Snapshot(), Counts: map[poller.State]int{}}
	interval := v.Poll.NextCycle.Sub(v.Poll.LastCycle)
	v.All = make([]row, len(v.Poll.Readings))
	for i, r := range v.Poll.Readings {
		v.All[i] = newRow(r, now, interval, c.MaxStaleness)
		if row := &v.All[i]; q.wants(r.Target) {
			v.Counts[row.Status.State]++
			v.Counts[""]++
			if q.State == "" || q.State == row.Status.State {
				v.Matched = append(v.Matched, row)
			}
		}
	}
	slices.SortFunc(v.Matched, orders[q.Sort])
	v.First = min(q.offset, len(v.Matched))
	if q.Open != "" {
		i := slices.IndexFunc(v.Matched, func(r *row) bool { return r.Key() == q.Open })
		if v.Missing = i < 0; !v.Missing {
			v.First = i - i%q.limit
		}
	}
	v.Rows = v.Matched[v.First:min(v.First+q.limit, len(v.Matched))]
	return v
}

// Page is the address of the page that many pages after this one; empty: there is none.
func (v *view) Page(after int) string {
	first := max(0, v.First+after*v.limit)
	if first >= len(v.Matched) || first == v.First {
		return ""
	}
	return v.Link("offset", fmt.Sprint(first))
}

// API is the address of the same targets as JSON.
func (v *view) API() string {
	values := v.without("open", "refresh")
	values.Set("limit", fmt.Sprint(v.limit))
	values.Set("offset", fmt.Sprint(v.First))
	return "api/v1/targets?" + values.Encode()
}

// Kept are the parameters that the search form keeps.
func (v *view) Kept() url.Values { return v.without("q", "open", "offset") }

// At is a time as a row has it, seen from now.
func (v *view) At(t any) moment {
	if ms, ok := t.(int64); ok {
		return moment{instant(ms), v.Now}
	}
	return moment{t.(time.Time), v.Now}
}

type summary struct {
	Level poller.State // the worst of what there is; Unknown also when data is missing
	Text  string
	Next  *row   // loses its last token next, of those at risk
	Lost  []*row // the latest first

	All, Good, Unread, Failing int           // targets; good are those whose data is up to date
	Down, Oldest               time.Duration // the longest failure, and the age of the oldest data
}

// Summary judges all targets, whatever the query asks for.
func (v *view) Summary() (s summary) {
	var overdue, risk, stale int
	for i := range v.All {
		r := &v.All[i]
		switch {
		case r.Status.State == poller.Lost:
			s.Lost = append(s.Lost, r)
		case r.Status.State == poller.Overdue:
			overdue++
		case r.AtRisk():
			risk++
			if s.Next == nil || r.Latest < s.Next.Latest {
				s.Next = r
			}
		}
		if r.Failure != nil {
			s.Failing++
			s.Down = max(s.Down, v.Now.Sub(r.Failure.Since))
		}
		if r.Census == nil {
			s.Unread++
			continue
		}
		s.Oldest = max(s.Oldest, v.Now.Sub(r.ReadAt))
		if r.Stale || !r.Known {
			stale++
		}
	}
	slices.SortFunc(s.Lost, func(a, b *row) int { return cmp.Compare(b.Status.Since, a.Status.Since) })

	var parts []string
	part := func(there bool, level poller.State, text string) {
		if there {
			s.Level, parts = cmp.Or(s.Level, level), append(parts, text)
		}
	}
	s.All = len(v.All)
	s.Good = s.All - stale - s.Unread
	outage := s.All > 0 && s.Failing == s.All
	part(len(s.Lost) > 0, poller.Lost, count(len(s.Lost), "target")+" lost")
	part(overdue > 0, poller.Overdue, count(overdue, "target")+" overdue")
	part(risk > 0, poller.AtRisk, count(risk, "target")+" at risk")
	part(outage, poller.Unknown, "API failing since "+exact(v.Now.Add(-s.Down)))
	part(!outage && stale > 0, poller.Unknown, "data of "+count(stale, "target")+" stale")
	part(!outage && s.Unread > 0, poller.Unknown, count(s.Unread, "target")+" not read yet")
	part(s.All == 0, poller.Unknown, "no targets")
	part(len(parts) == 0, poller.OK, "all well, no target at risk")
	s.Text = strings.Join(parts, ", ")
	s.Text = strings.ToUpper(s.Text[:1]) + s.Text[1:]
	return s
}
