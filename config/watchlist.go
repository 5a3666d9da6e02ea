package config

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Watchlist has the targets of IDAAS_TARGETS and the targets file, of all processes.
type Watchlist struct {
	pairs        []pair           // those that take precedence first
	aliases      map[string]alias // by consumer
	label        string           // IDAAS_CONSUMER_LABEL
	client       string           // id of the client of the exporter
	defaults     poller.Target
	providers    map[string]poller.Target // values of all targets of a provider
	index, count int                      // of the shard
}

// pair gives targets: of a consumer or those that are found, at a provider or those that are found.
type pair struct {
	at                   string
	consumer, provider   string // empty: found
	consumers, providers selector
	own                  poller.Target // values of the entry
}

// rank is less for a pair that takes precedence.
func (p pair) rank() int {
	return 3 - 2*min(1, len(p.consumer)) - min(1, len(p.provider))
}

// selector selects items of a list. Without a match, it selects none.
type selector struct {
	at    string
	types []string // empty: of any type
	match *regexp.Regexp
}

// takes reports whether s selects an item, by the name of an application or the identifier of a provider.
func (s selector) takes(item poller.Listed) bool {
	return s.match != nil && (item.Type == "" || s.types == nil || slices.Contains(s.types, item.Type)) &&
		s.match.MatchString(cmp.Or(item.Name, item.Identifier))
}

func (p pair) selector(list poller.List) selector {
	if list == poller.Applications {
		return p.consumers
	}
	return p.providers
}

// Needs reports whether a list is needed, for targets or for the names of consumers.
func (w Watchlist) Needs(list poller.List) bool {
	return list == poller.Applications && w.label == "name" ||
		slices.ContainsFunc(w.pairs, func(p pair) bool { return p.selector(list).match != nil })
}

// Names reports whether consumers are shown by the names of applications.
func (w Watchlist) Names() bool { return w.label == "name" }

// discovers returns what needs a list; empty: nothing.
func (w Watchlist) discovers() string {
	for _, p := range w.pairs {
		if at := cmp.Or(p.consumers.at, p.providers.at); at != "" {
			return at
		}
	}
	if w.Names() {
		return "IDAAS_CONSUMER_LABEL=name"
	}
	return ""
}

// Resolve returns the targets with these lists. More than maxTargets of all processes are an error.
func (w Watchlist) Resolve(lists *poller.Lists) (poller.Resolved, error) {
	found := poller.Resolved{}
	if !w.Needs(poller.Applications) {
		lists = lists.With(poller.Applications, poller.Belief{})
	}
	labels, applications, allProviders := w.labels(lists), lists.Applications.Items(), lists.Providers.Items()
	have, shown := make(map[poller.Key]bool), make(map[poller.Key]bool)
	for _, p := range w.pairs {
		providers := p.providers.of(allProviders, p.provider)
		for _, consumer := range p.consumers.of(applications, p.consumer) {
			label := w.labelOf(consumer, labels)
			_, listed := lists.Applications.Known[consumer]
			for _, provider := range providers {
				key, as := poller.Key{Consumer: consumer, Provider: provider}, poller.Key{Consumer: label, Provider: provider}
				if have[key] {
					continue
				}
				have[key] = true
				t := w.target(p, provider)
				t.Consumer, t.Label, t.Found = consumer, label, p.rank() > 0
				if listed && label != consumer && w.label != "hash" {
					t.Application = consumer
				}
				if shown[as] {
					found.Hidden = append(found.Hidden, t)
					continue
				}
				shown[as] = true
				if found.Targets = append(found.Targets, t); len(found.Targets) > maxTargets {
					return poller.Resolved{}, fmt.Errorf(
						"more than %d targets with the discovered consumers and credential providers; accepted: up to %[1]d", maxTargets,
					)
				}
			}
		}
	}
	found.Targets = poller.Share(found.Targets, w.index, w.count)
	if lists.Applications.Known != nil {
		found.Unwatched = w.unwatched(applications, labels)
	}
	return found, nil
}

// unwatched returns the applications that no entry takes, other than the client of the exporter.
func (w Watchlist) unwatched(applications []poller.Listed, labels map[string]string) []poller.Unwatched {
	named, unwatched := map[string]bool{w.client: true}, []poller.Unwatched{}
	for _, p := range w.pairs {
		named[p.consumer] = true
	}
	for _, a := range applications {
		if named[a.Identifier] || slices.ContainsFunc(w.pairs, func(p pair) bool { return p.consumers.takes(a) }) {
			continue
		}
		u := poller.Unwatched{Label: w.labelOf(a.Identifier, labels), Listed: a}
		if w.label == "hash" {
			u.Identifier, u.Name = "", ""
		}
		unwatched = append(unwatched, u)
	}
	return unwatched
}

// of returns the identifiers of the items that s selects, or only the named one if there is one.
func (s selector) of(items []poller.Listed, named string) (identifiers []string) {
	if named != "" {
		return []string{named}
	}
	for _, item := range items {
		if s.takes(item) {
			identifiers = append(identifiers, item.Identifier)
		}
	}
	return identifiers
}

// Idle returns the places of entries that select none of a list.
func (w Watchlist) Idle(list poller.List, found []poller.Listed) (places []string) {
	for _, p := range w.pairs {
		if s := p.selector(list); s.match != nil && !slices.Contains(places, s.at) && !slices.ContainsFunc(found, s.takes) {
			places = append(places, s.at)
		}
	}
	return places
}

// Remembered returns the applications whose names are still needed after their list has changed.
func (w Watchlist) Remembered(before, after *poller.Lists) map[string]poller.Listed {
	var former map[string]poller.Listed
	for _, p := range w.pairs {
		known, ok := before.Applications.Known[p.consumer]
		if !ok {
			known, ok = before.Former[p.consumer]
		}
		if _, still := after.Applications.Known[p.consumer]; ok && !still {
			if former == nil {
				former = make(map[string]poller.Listed)
			}
			former[p.consumer] = known
		}
	}
	return former
}

// labels returns the names of applications that are not shown otherwise, by id: the oldest of those with a name has it.
func (w Watchlist) labels(lists *poller.Lists) map[string]string {
	taken, labels := make(map[string]string), make(map[string]string) // taken: to which id
	for consumer, alias := range w.aliases {
		taken[alias.text] = consumer
	}
	for _, p := range w.pairs {
		taken[cmp.Or(p.consumer, " ")] = p.consumer
	}
	all := maps.Clone(lists.Former)
	if all == nil {
		all = make(map[string]poller.Listed)
	}
	maps.Copy(all, lists.Applications.Known)
	for id := range all {
		taken[id] = id
	}
	for _, a := range slices.SortedFunc(maps.Values(all), func(a, b poller.Listed) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Identifier, b.Identifier))
	}) {
		holder, held := taken[a.Name]
		if poller.CheckText(a.Name) != nil || held && holder != a.Identifier {
			continue
		}
		taken[a.Name], labels[a.Identifier] = a.Identifier, a.Name
	}
	return labels
}

// labelOf returns how a consumer is shown.
func (w Watchlist) labelOf(consumer string, labels map[string]string) string {
	switch {
	case w.aliases[consumer].text != "":
		return w.aliases[consumer].text
	case w.label == "hash":
		return fmt.Sprintf("%x", sha256.Sum256([]byte(consumer)))[:12]
	case w.label == "name":
		return cmp.Or(labels[consumer], consumer)
	}
	return consumer
}
