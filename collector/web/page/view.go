package page

import (
	"cmp"
	"fmt"
	"maps"
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
	poll    *poller.Snapshot
	all     []row
	matched []*row

	Matched int
	Rows    []*row // of this page
	First   int    // position of the first of them
	States  []choice
	Summary summary
}

// choice is a filter with what it would leave.
type choice struct {
	State poller.Verdict // empty: all
	Count int
}

func newView(c Config, q query, now time.Time) *view {
	v := &view{query: q, now: now, Version: c.Version, poll: c.Snapshot()}
	interval := v.poll.NextCycle.Sub(v.poll.LastCycle)
	v.all = make([]row, len(v.poll.Readings))
	counts := map[poller.Verdict]int{}
	for i, r := range v.poll.Readings {
		v.all[i] = newRow(r, now, interval, c.MaxStaleness)
		if row := &v.all[i]; q.wants(r.Target) {
			counts[row.Verdict]++
			counts[""]++
			if q.State == "" || q.State == row.Verdict {
				v.matched = append(v.matched, row)
			}
		}
	}
	for _, state := range append([]poller.Verdict{""}, poller.Verdicts()...) {
		v.States = append(v.States, choice{state, counts[state]})
	}
	slices.SortFunc(v.matched, orders[q.Sort])
	v.Matched = len(v.matched)
	v.First = min(q.offset, v.Matched)
	if q.Open != "" {
		if i := slices.IndexFunc(v.matched, func(r *row) bool { return r.Key() == q.Open }); i >= 0 {
			v.First = i - i%q.limit
		}
	}
	v.Rows = v.matched[v.First:min(v.First+q.limit, v.Matched)]
	v.Summary = summarize(v.all)
	return v
}

// Now is when the view was made, NextPoll when there will be something new.
func (v *view) Now() moment      { return moment{v.now, v.now} }
func (v *view) NextPoll() moment { return moment{v.poll.NextCycle, v.now} }

// InProgress counts the targets queued or being walked.
func (v *view) InProgress() int { return v.poll.InProgress }

// Targets counts those configured.
func (v *view) Targets() int { return len(v.all) }

// Pages are the addresses of the pages before and after this one, where there are any.
func (v *view) Pages() (p struct{ Before, After string }) {
	if v.First > 0 {
		p.Before = v.Link("offset", fmt.Sprint(max(0, v.First-v.limit)))
	}
	if after := v.First + v.limit; after < v.Matched {
		p.After = v.Link("offset", fmt.Sprint(after))
	}
	return p
}

// API is the address of the same view as JSON, as far as that knows how to ask for it.
func (v *view) API() string {
	values := maps.Clone(v.values)
	for _, name := range pageParameters[len(parameters):] {
		values.Del(name)
	}
	return "/api/v1/targets?" + values.Encode()
}

// Missing reports whether the target to be opened is not among those shown.
func (v *view) Missing() bool {
	return v.Open != "" && !slices.ContainsFunc(v.Rows, func(r *row) bool { return r.Key() == v.Open })
}

// summary is the state of all targets.
type summary struct {
	Level      poller.Verdict // the worst of what there is, Unknown also for data that is stale
	Text       string
	Next       *row   // loses its last token next, of those at risk
	Lost       []*row // the latest first
	Trust, Why string // whether the data can be relied on
}

func summarize(all []row) (s summary) {
	var risk, failing, stale, unread int
	var since, oldest time.Time
	for i := range all {
		r := &all[i]
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
			if since.IsZero() || r.Failure.Since.Before(since) {
				since = r.Failure.Since
			}
		}
		switch {
		case r.Census == nil:
			unread++
		case r.Stale || !r.Known:
			stale++
			fallthrough
		default:
			if oldest.IsZero() || r.ReadAt().Before(oldest) {
				oldest = r.ReadAt()
			}
		}
	}
	slices.SortFunc(s.Lost, func(a, b *row) int { return cmp.Compare(b.LastActive, a.LastActive) })

	s.Level = poller.OK
	var parts []string
	part := func(level poller.Verdict, text string) {
		if s.Level == poller.OK {
			s.Level = level
		}
		parts = append(parts, text)
	}
	if n := len(s.Lost); n > 0 {
		part(poller.Lost, count(n, "target")+" lost")
	}
	if risk > 0 {
		part(poller.AtRisk, count(risk, "target")+" at risk")
	}
	switch {
	case len(all) == 0:
		part(poller.Unknown, "no targets")
	case failing == len(all):
		part(poller.Unknown, "API failing since "+exact(since))
	case unread == len(all):
		part(poller.Unknown, "nothing read yet")
	case stale > 0:
		part(poller.Unknown, "data of "+count(stale, "target")+" stale")
	case unread > 0:
		part(poller.Unknown, count(unread, "target")+" not read yet")
	}
	s.Text = strings.Join(parts, ", ")
	if s.Text == "" {
		s.Text = "all well, no target at risk"
	}
	s.Text = strings.ToUpper(s.Text[:1]) + s.Text[1:]

	switch bad := stale + unread; {
	case bad == 0 && len(all) > 0:
		s.Trust = "Yes"
	case bad < len(all):
		s.Trust = "Partly"
	default:
		s.Trust = "No"
	}
	s.Why = fmt.Sprintf("%d of %s up to date", len(all)-stale-unread, count(len(all), "target"))
	if !oldest.IsZero() && len(all) > 0 {
		s.Why += ", oldest data " + words(all[0].now.Sub(oldest)) + " old"
	}
	if failing > 0 {
		s.Why += fmt.Sprintf("; %s failing, for up to %s", count(failing, "target"), words(all[0].now.Sub(since)))
	}
	return s
}

// From and To are the positions shown, counted from one.
func (v *view) From() int { return min(v.First+1, v.Matched) }
func (v *view) To() int   { return v.First + len(v.Rows) }

// column is one of the table: with a Head to sort by, or Plain.
type column struct{ Head, Plain, Link, Sorted string }

// Columns are the heads of the table.
func (v *view) Columns() []column {
	sorted := func(head, sort, direction string) column {
		c := column{Head: head, Link: v.Link("sort", sort)}
		if v.Sort == sort {
			c.Sorted = direction
		}
		return c
	}
	return []column{
		sorted("Target", "name", "ascending"), sorted("State", "", "descending"), sorted("Tokens", "total", "descending"),
		sorted("Next ends", "next", "ascending"), sorted("Last ends", "last", "ascending"), sorted("Data age", "age", "descending"),
		{Plain: "Error"},
	}
}

// Kept are the parameters that the form does not ask for but keeps.
func (v *view) Kept() (kept []struct{ Name, Value string }) {
	for _, name := range []string{"consumer", "credential_provider", "state", "sort", "limit", "refresh"} {
		if value := v.values.Get(name); value != "" {
			kept = append(kept, struct{ Name, Value string }{name, value})
		}
	}
	return kept
}
