package page

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// filter leaves out targets by the value of a parameter.
type filter struct {
	name string
	pass func(r *row, value string) bool
}

var filters = []filter{
	{"q", func(r *row, part string) bool {
		return contains(r.Target.Label, part) || contains(r.Target.Provider, part)
	}},
	{"consumer", func(r *row, consumer string) bool { return r.Target.Label == consumer }},
	{"credential_provider", func(r *row, provider string) bool { return r.Target.Provider == provider }},
	{"state", func(r *row, state string) bool { return string(r.Status.State) == state }},
}

func contains(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

// query is what a request asks for. Empty parameters, which forms send, count as absent.
type query struct {
	url.Values
	limit, offset, Refresh int // Refresh is in seconds; 0: none
}

// parse returns the query of a request for the JSON or the page, or all its faults. The page ignores unknown parameters.
func parse(raw string, page bool) (query, error) {
	var accepted []string
	for _, f := range filters {
		accepted = append(accepted, f.name)
	}
	accepted = append(accepted, "sort", "limit", "offset")
	limit, most := math.MaxInt32, math.MaxInt32
	if page {
		accepted, limit, most = append(accepted, "open", "refresh"), 50, 500
	}
	values, err := url.ParseQuery(raw)
	faults := []error{err}
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case page && !slices.Contains(accepted, name):
			values.Del(name)
		case !slices.Contains(accepted, name):
			fault("unknown parameter %q: accepted are %s", name, strings.Join(accepted, ", "))
		case len(values[name]) > 1:
			fault("%s is given %d times: once is accepted", name, len(values[name]))
		case strings.TrimSpace(values.Get(name)) == "":
			values.Del(name)
		case name == "q":
			values.Set(name, strings.TrimSpace(values.Get(name)))
		}
	}
	number := func(name string, from, to, unset int) int {
		text := values.Get(name)
		if text == "" {
			return unset
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < from || n > to {
			fault("%s=%q: accepted is a whole number from %d to %d", name, text, from, to)
		}
		return n
	}
	q := query{values, number("limit", 1, most, limit), number("offset", 0, math.MaxInt32, 0), number("refresh", 5, 3600, 0)}
	if state := poller.State(q.Get("state")); state != "" && !slices.Contains(poller.Urgency(), state) {
		fault("state=%q: accepted are %v", state, poller.Urgency())
	}
	if orders[q.Get("sort")] == nil {
		fault("sort=%q: accepted are name, next, last, age, total", q.Get("sort"))
	}
	return q, errors.Join(faults...)
}

func (q query) without(names ...string) url.Values {
	values := maps.Clone(q.Values)
	maps.DeleteFunc(values, func(name string, _ []string) bool { return slices.Contains(names, name) })
	return values
}

// Link is the address of the same view with one parameter changed, or removed by an empty value.
func (q query) Link(name, value string) string {
	values := q.without("open", name)
	if name != "open" && name != "refresh" {
		values.Del("offset")
	}
	if value != "" {
		values.Set(name, value)
	}
	return "?" + values.Encode()
}

// Filtered reports whether a filter is set.
func (q query) Filtered() bool {
	return slices.ContainsFunc(filters, func(f filter) bool { return q.Get(f.name) != "" })
}

// wants reports whether a target passes the filters, without that of the name except.
func (q query) wants(r *row, except string) bool {
	return !slices.ContainsFunc(filters, func(f filter) bool { return f.name != except && q.Get(f.name) != "" && !f.pass(r, q.Get(f.name)) })
}

// columns of the table, with the sort parameter of each.
var columns = []struct{ Head, Sort, Direction string }{
	{"Target", "name", "ascending"},
	{"State", "", "descending"},
	{"Tokens", "total", "descending"},
	{"Next expires", "next", "ascending"},
	{"Last expires", "last", "ascending"},
	{"Data age", "age", "descending"},
}

// orders of targets, by the value of sort; without one, the most urgent is first.
var orders = map[string]func(a, b *row) int{
	"":      func(a, b *row) int { return cmp.Or(a.rank-b.rank, sooner(a.Latest, b.Latest), byName(a, b)) },
	"name":  byName,
	"next":  func(a, b *row) int { return cmp.Or(sooner(a.Earliest, b.Earliest), byName(a, b)) },
	"last":  func(a, b *row) int { return cmp.Or(sooner(a.Latest, b.Latest), byName(a, b)) },
	"age":   func(a, b *row) int { return cmp.Or(a.ReadAt.Compare(b.ReadAt), byName(a, b)) },
	"total": func(a, b *row) int { return cmp.Or(b.Total-a.Total, byName(a, b)) },
}

func byName(a, b *row) int {
	return cmp.Or(strings.Compare(a.Target.Label, b.Target.Label), strings.Compare(a.Target.Provider, b.Target.Provider))
}

// sooner compares times; 0, unknown, is the last.
func sooner(a, b int64) int { return cmp.Compare(uint64(a-1), uint64(b-1)) }
