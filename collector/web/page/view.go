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
	now     time.Time
	Version string
	Poll    *poller.Snapshot
	All     []row
	Matched []*row
	States  []choice
	Rows    []*row // of this page
	First   int    // how many are on the pages before
	Missing bool   // the target to be opened is not among those that match
}

// choice is a filter by state, the empty one for all, with what it leaves.
type choice struct {
	State poller.Verdict
	Count int
}

func newView(c Config, q query, now time.Time) *view {
	v := &view{query: q, now: now, Version: c.Version, Poll: c.Snapshot()}
	interval := v.Poll.NextCycle.Sub(v.Poll.LastCycle)
	v.All = make([]row, len(v.Poll.Readings))
	counts := map[poller.Verdict]int{}
	for i, r := range v.Poll.Readings {
		v.All[i] = newRow(r, now, interval, c.MaxStaleness)
		if row := &v.All[i]; q.wants(r.Target) {
			counts[row.Verdict]++
			counts[""]++
			if q.State == "" || q.State == row.Verdict {
				v.Matched = append(v.Matched, row)
			}
		}
	}
	for _, state := range append([]poller.Verdict{""}, poller.Verdicts()...) {
		v.States = append(v.States, choice{state, counts[state]})
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

// API is the address of the same view as JSON, as far as that knows how to ask for it.
func (v *view) API() string { return "/api/v1/targets?" + v.without("q", "open", "refresh").Encode() }

// Kept are the parameters that the search form keeps.
func (v *view) Kept() url.Values { return v.without("q", "open", "offset") }

// At is a time as a row has it, seen from now; nil is now.
func (v *view) At(t any) moment {
	switch t := t.(type) {
	case int64:
		return moment{instant(t), v.now}
	case time.Time:
		return moment{t, v.now}
	}
	return moment{v.now, v.now}
}

// summary is the state of all targets.
type summary struct {
	Level      poller.Verdict // the worst of what there is; Unknown also when data is missing
	Text       string
	Next       *row   // loses its last token next, of those at risk
	Lost       []*row // the latest first
	Trust, Why string // whether the data can be relied on
}

// Summary judges all targets, whatever the query asks for.
func (v *view) Summary() (s summary) {
	var risk, failing, stale, unread int
	since, oldest := v.now, v.now
	for i := range v.All {
		r := &v.All[i]
		switch r.Verdict {
		case poller.Lost:
			s.Lost = append(s.Lost, r)
		case poller.AtRisk:
			risk++
			if s.Next == nil || r.Latest < s.Next.Latest {
				s.Next = r
			}
		}
		if r.Failure != nil {
			failing++
			if r.Failure.Since.Before(since) {
				since = r.Failure.Since
			}
		}
		if r.Census == nil {
			unread++
			continue
		}
		if r.Census.ReadAt.Before(oldest) {
			oldest = r.Census.ReadAt
		}
		if r.Stale || !r.Known {
			stale++
		}
	}
	slices.SortFunc(s.Lost, func(a, b *row) int { return cmp.Compare(b.LastActive, a.LastActive) })

	var parts []string
	part := func(there bool, level poller.Verdict, text string) {
		if there {
			s.Level, parts = cmp.Or(s.Level, level), append(parts, text)
		}
	}
	all, good := len(v.All), len(v.All)-stale-unread
	down := all > 0 && failing == all
	part(len(s.Lost) > 0, poller.Lost, count(len(s.Lost), "target")+" lost")
	part(risk > 0, poller.AtRisk, count(risk, "target")+" at risk")
	part(down, poller.Unknown, "API failing since "+exact(since))
	part(!down && stale > 0, poller.Unknown, "data of "+count(stale, "target")+" stale")
	part(!down && unread > 0, poller.Unknown, count(unread, "target")+" not read yet")
	part(all == 0, poller.Unknown, "no targets")
	part(len(parts) == 0, poller.OK, "all well, no target at risk")
	s.Text = strings.Join(parts, ", ")
	s.Text = strings.ToUpper(s.Text[:1]) + s.Text[1:]

	switch s.Trust = "Partly"; good {
	case 0:
		s.Trust = "No"
	case all:
		s.Trust = "Yes"
	}
	s.Why = fmt.Sprintf("%d of %s up to date", good, count(all, "target"))
	if all > unread {
		s.Why += ", oldest data " + words(v.now.Sub(oldest)) + " old"
	}
	if failing > 0 {
		s.Why += fmt.Sprintf("; %s failing, for up to %s", count(failing, "target"), words(v.now.Sub(since)))
	}
	return s
}
