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
	discoverEvery      = 10 * time.Minute // after the end of the list before
	discoverAgainAfter = time.Minute      // after a failure, and when known providers are missing for the first time
)

// discovery lists the credential providers that targets mean by all. It has its own timer and runs beside the walks.
type discovery struct {
	list      func(context.Context) ([]poller.Provider, error)
	apply     func([]poller.Target)
	collector *collector.Collector
	log       *slog.Logger
	changed   chan struct{} // holds one: watch or next has changed

	mu        sync.Mutex // guards what follows, and orders the calls of apply
	watch     config.Watchlist
	lists     *poller.Lists     // replaced, never changed
	next      time.Time         // no list before; zero: there was none
	failing   poller.Reason     // of the latest list; empty: none, or it did not fail
	unwatched []poller.Provider // those with a problem in the latest list
}

// watching replaces what is watched. A reload by an operator also confirms a list that is doubted.
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

// settled reports whether the providers were listed, or need not be.
func (d *discovery) settled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.next.IsZero() || !d.watch.Discovers()
}

// withLists returns s with the lists as they are now.
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

// discover lists the providers if that is due, and returns how long it is until the next time.
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

// believe puts into effect what a list shows. Its error says why the list counts as failed. d.mu must be held.
func (d *discovery) believe(found []poller.Provider) error {
	list := map[string]poller.Provider{}
	var unwatched []poller.Provider
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

// restoredLists returns the lists of a state file. One of an older exporter has the providers only in its targets.
func restoredLists(s state.Restored) *poller.Lists {
	if s.Lists != nil {
		return s.Lists
	}
	lists := &poller.Lists{Providers: poller.Belief[poller.Provider]{Known: map[string]poller.Provider{}}}
	for key, r := range s.Readings {
		if r.Census != nil {
			lists.Providers.Known[key.Provider] = poller.Provider{Identifier: key.Provider}
		}
	}
	return lists
}
