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

var (
	parameters     = []string{"q", "consumer", "credential_provider", "state", "sort", "limit", "offset"}
	pageParameters = append(slices.Clone(parameters), "open", "refresh")
)

// query is what a request asks for. An empty parameter is one not given: a form sends those, too.
type query struct {
	values                 url.Values
	consumer, provider     string
	Search, Sort, Open     string // part of a consumer or a provider; one of orders; consumer:provider
	State                  poller.State
	limit, offset, Refresh int // Refresh is in seconds; 0: none
}

// parse returns the query of a request for the JSON or the page, or all that is wrong with it. The page ignores unknown parameters.
func parse(raw string, page bool) (query, error) {
	accepted, limit, most := parameters, math.MaxInt32, math.MaxInt32
	if page {
		accepted, limit, most = pageParameters, 50, 500
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
	q := query{
		values: values, consumer: values.Get("consumer"), provider: values.Get("credential_provider"),
		Search: values.Get("q"), Sort: values.Get("sort"), Open: values.Get("open"), State: poller.State(values.Get("state")),
		limit: number("limit", 1, most, limit), offset: number("offset", 0, math.MaxInt32, 0), Refresh: number("refresh", 5, 3600, 0),
	}
	if q.State != "" && !slices.Contains(poller.Urgency(), q.State) {
		fault("state=%q: accepted are %v", q.State, poller.Urgency())
	}
	if orders[q.Sort] == nil {
		fault("sort=%q: accepted are name, next, last, age, total", q.Sort)
	}
	return q, errors.Join(faults...)
}

func (q query) without(names ...string) url.Values {
	values := maps.Clone(q.values)
	maps.DeleteFunc(values, func(name string, _ []string) bool { return slices.Contains(names, name) })
	return values
}

// Link is the address of the same view with one parameter changed, or taken away by an empty value.
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

// Filtered reports whether targets may be left out.
func (q query) Filtered() bool { return q.consumer+q.provider+string(q.State)+q.Search != "" }

// wants reports whether a target passes the filters other than that of its state.
func (q query) wants(t poller.Target) bool {
	found := func(s string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(q.Search)) }
	return (q.consumer == "" || q.consumer == t.Label) && (q.provider == "" || q.provider == t.Provider) &&
		(q.Search == "" || found(t.Label) || found(t.Provider))
}

// columns of the table that it can be sorted by.
var columns = []struct{ Head, Sort, Direction string }{
	{"Target", "name", "ascending"},
	{"State", "", "descending"},
	{"Tokens", "total", "descending"},
	{"Next ends", "next", "ascending"},
	{"Last ends", "last", "ascending"},
	{"Data age", "age", "descending"},
}

// orders of targets by the name of their sort; without one, the most urgent come first.
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

// sooner compares times of which 0, unknown, is the last.
func sooner(a, b int64) int { return cmp.Compare(uint64(a-1), uint64(b-1)) }
