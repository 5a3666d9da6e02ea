package exporter

import (
	"context"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/collector"
	"github.com/idaas-exporter/idaas-token-exporter/config"
	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/state"
)

const (
	discoverEvery      = 10 * time.Minute // after the end of the previous list, unless it is wired otherwise
	discoverAgainAfter = time.Minute      // after a failure, and after the first list without some known items
)

// namesWithin is how long the targets are not shown while their names are unknown.
const namesWithin = time.Minute

// discovery resolves the watch list with the lists of the instance. It does not wait for walks.
type discovery struct {
	apply     func([]poller.Target)
	collector *collector.Collector
	log       *slog.Logger
	started   time.Time
	every     time.Duration // after the end of the previous list
	finders   []*finder

	mu       sync.Mutex // guards the fields below and those of the finders, and orders the calls of apply
	watch    config.Watchlist
	lists    *poller.Lists   // replaced, never changed
	resolved poller.Resolved // of watch with lists
}

// finder reads one of the lists, at its own times.
type finder struct {
	*discovery
	list    poller.List
	name    string // in log messages
	read    func(context.Context) ([]poller.Listed, error)
	changed chan struct{} // holds one signal: watch or next has changed

	next     time.Time       // earliest time of the next list; zero: none was made
	failing  poller.Reason   // of the latest list; empty: it succeeded, or none was made
	problems []poller.Listed // those with a problem in the latest list
}

// resolve applies a watch list and lists, unless they lead to too many targets. d.mu must be held.
func (d *discovery) resolve(w config.Watchlist, lists *poller.Lists) error {
	resolved, err := w.Resolve(lists)
	if err != nil {
		return err
	}
	for _, t := range resolved.Hidden {
		if !slices.ContainsFunc(d.resolved.Hidden, func(known poller.Target) bool { return known.Key() == t.Key() }) {
			d.log.Warn("target left out", "consumer", t.Label, "credential_provider", t.Provider, "problem", "another consumer is shown as this one")
		}
	}
	d.watch, d.lists, d.resolved = w, lists, resolved
	d.apply(resolved.Targets)
	return nil
}

// watching replaces the watch list. A reload by an operator also confirms doubted lists.
func (d *discovery) watching(w config.Watchlist, operator bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, lists := d.lists, d.lists
	for _, f := range d.finders {
		if operator {
			lists = lists.With(f.list, lists.Of(f.list).Confirmed())
		}
	}
	if err := d.resolve(w, lists); err != nil {
		return err
	}
	for _, f := range d.finders {
		if operator && before.Of(f.list).Doubted != nil {
			f.next = time.Now()
		}
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}
	return nil
}

// settled reports whether all lists that are needed were read, or failed.
func (d *discovery) settled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !slices.ContainsFunc(d.finders, func(f *finder) bool { return d.watch.Needs(f.list) && f.next.IsZero() })
}

// failed reports whether the latest list of any failed.
func (d *discovery) failed() bool {
	return slices.ContainsFunc(d.finders, func(f *finder) bool { return f.failing != "" })
}

// with returns s with what the lists show.
func (d *discovery) with(s poller.Snapshot) *poller.Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.Unwatched = d.resolved.Unwatched; d.watch.Needs(poller.Providers) || d.watch.Needs(poller.Applications) {
		s.Lists = d.lists
	}
	return &s
}

// named reports whether consumers have names, or need or get none.
func (d *discovery) named() bool {
	d.mu.Lock()
	known := !d.watch.Names() || d.lists.Applications.Known != nil
	d.mu.Unlock()
	return known || d.settled()
}

func (f *finder) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-time.After(f.discover(ctx)):
		case <-f.changed:
		case <-ctx.Done():
		}
	}
}

// discover reads the list if it is time, and returns the time until the next list.
func (f *finder) discover(ctx context.Context) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.watch.Needs(f.list) {
		f.collector.NotDiscovering(f.list)
		f.failing, f.next, f.problems = "", time.Time{}, nil
		return f.every
	}
	if wait := time.Until(f.next); wait > 0 {
		return wait
	}
	f.mu.Unlock()
	found, err := f.read(ctx)
	f.mu.Lock()
	if ctx.Err() != nil {
		return 0
	}
	if err == nil {
		err = f.believe(found)
	}
	f.collector.Discovered(f.list, err)
	wait, reason := f.every, poller.Reason("")
	if err != nil {
		reason = poller.ReasonOf(err)
	}
	switch {
	case reason != "" && reason != f.failing:
		f.log.Warn("discovery failed, targets unchanged", "list", f.name, "reason", reason, "error", err)
	case reason == "" && f.failing != "":
		f.log.Info("discovery recovered", "list", f.name, "after", f.failing)
	}
	if f.failing = reason; reason != "" || f.lists.Of(f.list).Missing != nil {
		wait = discoverAgainAfter
	}
	f.next = time.Now().Add(wait)
	return wait
}

// believe applies a list. An error is the reason why the list counts as failed. f.mu must be held.
func (f *finder) believe(found []poller.Listed) error {
	list := map[string]poller.Listed{}
	var problems []poller.Listed
	for _, item := range found {
		switch {
		case item.Problem == "":
			list[item.Identifier] = item
			continue
		case !slices.Contains(f.problems, item):
			f.log.Warn("listed item not watched", "list", f.name, "id", item.Identifier, "problem", item.Problem)
		}
		problems = append(problems, item)
	}
	f.problems = problems
	before := f.lists.Of(f.list)
	after, err := before.Read(list, time.Now())
	lists := f.lists.With(f.list, after)
	if f.watch.Names() {
		lists.Former = f.watch.Remembered(f.lists, lists)
	}
	if before.Known == nil || !maps.Equal(after.Known, before.Known) {
		if tooMany := f.resolve(f.watch, lists); tooMany != nil {
			return &poller.Error{Reason: poller.Doubted, Err: tooMany}
		}
	} else if !reflect.DeepEqual(lists, f.lists) {
		f.lists = lists
	}
	return err
}

// restoredLists returns the lists of a state file. Before version 3, only the targets have the providers.
func restoredLists(s state.Restored) *poller.Lists {
	if s.Lists != nil {
		return s.Lists
	}
	lists := &poller.Lists{Providers: poller.Belief{Known: map[string]poller.Listed{}}}
	for key, r := range s.Readings {
		if r.Census != nil {
			lists.Providers.Known[key.Provider] = poller.Listed{Identifier: key.Provider}
		}
	}
	return lists
}
