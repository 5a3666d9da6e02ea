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
	discoverEvery      = 10 * time.Minute // after the end of the previous list
	discoverAgainAfter = time.Minute      // after a failure, and after the first list without some known providers
)

// discovery lists the credential providers for credential_providers: all. It has its own timer and does not wait for walks.
type discovery struct {
	list      func(context.Context) ([]poller.Listed, error)
	apply     func([]poller.Target)
	collector *collector.Collector
	log       *slog.Logger
	changed   chan struct{} // holds one signal: watch or next has changed

	mu        sync.Mutex // guards the fields below, and orders the calls of apply
	watch     config.Watchlist
	lists     *poller.Lists   // replaced, never changed
	next      time.Time       // earliest time of the next list; zero: none was made
	failing   poller.Reason   // of the latest list; empty: it succeeded, or none was made
	unwatched []poller.Listed // those with a problem in the latest list
}

// watching replaces the watch list. A reload by an operator also confirms a doubted list.
func (d *discovery) watching(w config.Watchlist, operator bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	lists := d.lists
	if operator && lists.Providers.Doubted != nil {
		lists = &poller.Lists{Providers: lists.Providers.Confirmed()}
		d.next = time.Now()
	}
	targets, err := w.Targets(lists.Providers.Items())
	if err != nil {
		return err
	}
	d.watch, d.lists = w, lists
	d.apply(targets)
	select {
	case d.changed <- struct{}{}:
	default:
	}
	return nil
}

// settled reports whether the providers were listed or are not needed.
func (d *discovery) settled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.next.IsZero() || !d.watch.Discovers()
}

// withLists returns s with the current lists.
func (d *discovery) withLists(s poller.Snapshot) *poller.Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watch.Discovers() {
		s.Lists = d.lists
	}
	return &s
}

func (d *discovery) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-time.After(d.discover(ctx)):
		case <-d.changed:
		case <-ctx.Done():
		}
	}
}

// discover lists the providers if it is time, and returns the time until the next list.
func (d *discovery) discover(ctx context.Context) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.watch.Discovers() {
		d.collector.NotDiscovering()
		d.failing, d.next, d.unwatched = "", time.Time{}, nil
		return discoverEvery
	}
	if wait := time.Until(d.next); wait > 0 {
		return wait
	}
	d.mu.Unlock()
	found, err := d.list(ctx)
	d.mu.Lock()
	if ctx.Err() != nil {
		return 0
	}
	if err == nil {
		err = d.believe(found)
	}
	d.collector.Discovered(err)
	wait, reason := discoverEvery, poller.Reason("")
	if err != nil {
		reason = poller.ReasonOf(err)
	}
	switch {
	case reason != "" && reason != d.failing:
		d.log.Warn("credential provider discovery failed, targets unchanged", "reason", reason, "error", err)
	case reason == "" && d.failing != "":
		d.log.Info("credential provider discovery recovered", "after", d.failing)
	}
	if d.failing = reason; reason != "" || d.lists.Providers.Missing != nil {
		wait = discoverAgainAfter
	}
	d.next = time.Now().Add(wait)
	return wait
}

// believe applies a list. An error is the reason why the list counts as failed. d.mu must be held.
func (d *discovery) believe(found []poller.Listed) error {
	list := map[string]poller.Listed{}
	var unwatched []poller.Listed
	for _, p := range found {
		switch {
		case p.Problem == "":
			list[p.Identifier] = p
			continue
		case !slices.Contains(d.unwatched, p):
			d.log.Warn("credential provider not watched", "credential_provider", p.Identifier, "problem", p.Problem)
		}
		unwatched = append(unwatched, p)
	}
	d.unwatched = unwatched
	after, err := d.lists.Providers.Read(list, time.Now())
	if !maps.Equal(after.Known, d.lists.Providers.Known) {
		targets, tooMany := d.watch.Targets(after.Items())
		if tooMany != nil {
			return &poller.Error{Reason: poller.Doubted, Err: tooMany}
		}
		d.apply(targets)
	}
	if lists := (poller.Lists{Providers: after}); !reflect.DeepEqual(lists, *d.lists) {
		d.lists = &lists
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
