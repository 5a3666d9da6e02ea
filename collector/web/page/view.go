package page

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// view is the snapshot, filtered and sorted for one query.
type view struct {
	query
	Now     time.Time
	Version string
	Poll    *poller.Snapshot
	All     []row
	Matched []*row
	Counts  map[poller.State]int // of targets that pass the other filters; the empty state is all of them
	Rows    []*row               // of this page
	First   int                  // number of targets on earlier pages
	Missing bool                 // the target to be opened is not among those that match
}

func newView(c Config, q query, now time.Time) *view {
	v := &view{query: q, Now: now, Version: c.Version, Poll: c.Snapshot(), Counts: map[poller.State]int{}}
	v.All = make([]row, len(v.Poll.Readings))
	for i, r := range v.Poll.Readings {
		v.All[i] = newRow(r, now, v.Poll.Interval(r), c.MaxStaleness)
		if row := &v.All[i]; q.wants(row, "state") {
			v.Counts[row.Status.State]++
			v.Counts[""]++
			if q.wants(row, "") {
				v.Matched = append(v.Matched, row)
			}
		}
	}
	slices.SortFunc(v.Matched, orders[q.Get("sort")])
	v.First = min(q.offset, len(v.Matched))
	if open := q.Get("open"); open != "" {
		i := slices.IndexFunc(v.Matched, func(r *row) bool { return r.Key() == open })
		if v.Missing = i < 0; !v.Missing {
			v.First = i - i%q.limit
		}
	}
	v.Rows = v.Matched[v.First:min(v.First+q.limit, len(v.Matched))]
	return v
}

// Next is the next scheduled time.
func (v *view) Next() (next time.Time) {
	for i, t := range v.Poll.Schedules {
		if i == 0 || t.Next.Before(next) {
			next = t.Next
		}
	}
	return next
}

// Page is the address of a later (or, below 0, earlier) page; empty: there is none.
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

// Kept are the parameters that the search form sends again.
func (v *view) Kept() url.Values { return v.without("q", "open", "offset") }

// At returns a time of a row, a time.Time or Unix milliseconds, for the template.
func (v *view) At(t any) moment {
	if ms, ok := t.(int64); ok {
		return moment{instant(ms), v.Now}
	}
	return moment{t.(time.Time), v.Now}
}

type summary struct {
	Level poller.State // of the headline: the most urgent; Unknown if data is missing
	Text  string
	Next  *row   // the endangered target whose last token expires first
	Gone  []*row // targets that are lost or overdue, the most urgent and latest first

	All, Good, Unread, Failing int           // numbers of targets; good ones have current data
	Down, Oldest               time.Duration // the longest failure, and the age of the oldest data
}

// Summary evaluates all targets, without filters.
func (v *view) Summary() (s summary) {
	var stale, outages, waiting int
	refused := map[string]int{} // targets that cannot be read, by reason
	states := map[poller.State]int{}
	for i := range v.All {
		r := &v.All[i]
		states[r.Status.State]++
		switch {
		case r.Status.State == poller.Lost || r.Status.State == poller.Overdue:
			s.Gone = append(s.Gone, r)
		case r.Endangered() && (s.Next == nil || r.Latest < s.Next.Latest):
			s.Next = r
		}
		if f := r.Failure; f != nil {
			s.Failing++
			s.Down = max(s.Down, v.Now.Sub(f.Since))
			permanent := f.Reason == poller.Forbidden || f.Reason == poller.NotFound || f.Reason == poller.ClientError
			if !permanent {
				outages++
			}
			if permanent || r.Census == nil {
				refused[string(f.Reason)]++
			}
		}
		if r.Census == nil {
			s.Unread++
			if r.Failure == nil {
				waiting++
			}
			continue
		}
		s.Oldest = max(s.Oldest, v.Now.Sub(r.ReadAt))
		if r.Stale || !r.Shown {
			stale++
		}
	}
	slices.SortFunc(s.Gone, func(a, b *row) int { return cmp.Or(a.rank-b.rank, cmp.Compare(b.Status.Since, a.Status.Since)) })

	var parts []string
	part := func(n int, level poller.State, before, after string) {
		if n > 0 {
			s.Level, parts = cmp.Or(s.Level, level), append(parts, before+plural(n, "target")+after)
		}
	}
	s.All = len(v.All)
	s.Good = s.All - stale - s.Unread
	for _, state := range poller.Urgency()[:5] {
		part(states[state], state, "", " "+word(state))
	}
	if s.Failing == s.All && outages > 0 {
		s.Level, parts = cmp.Or(s.Level, poller.Unknown), append(parts, "API failing since "+moment{at: v.Now.Add(-s.Down)}.Exact())
	} else {
		for _, reason := range slices.Sorted(maps.Keys(refused)) {
			part(refused[reason], poller.Unknown, "", " cannot be read: "+reason)
		}
		part(stale, poller.Unknown, "data of ", " stale")
		part(waiting, poller.Unknown, "", " not read yet")
	}
	switch {
	case s.All == 0:
		s.Level, parts = poller.Unknown, []string{"no targets"}
	case len(parts) == 0:
		s.Level, parts = poller.OK, []string{"no target at risk"}
	}
	s.Text = sentence(strings.Join(parts, ", "))
	return s
}
