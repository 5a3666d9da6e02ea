package exporter

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/collector"
	"github.com/idaas-exporter/idaas-token-exporter/config"
	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const (
	discoverEvery      = 10 * time.Minute
	discoverAgainAfter = time.Minute // a failure
)

// discovery finds the credential providers that targets mean by all: beside the walks, which it thus cannot hold up.
type discovery struct {
	list      func(context.Context) ([]poller.Provider, error)
	apply     func([]poller.Target)
	collector *collector.Collector
	log       *slog.Logger

	wanted  chan struct{} // holds one
	failing poller.Reason // of the latest attempt; empty: none, or it did not fail

	mu    sync.Mutex // guards what follows, and orders the calls of apply
	watch config.Watchlist
	found []poller.Provider
	next  time.Time // no attempt before; zero: there was none
}

// watching replaces what is watched.
func (d *discovery) watching(w config.Watchlist) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch = w
	d.apply(w.Targets(d.found))
	d.want()
}

// settled reports whether the providers were looked for, if need be.
func (d *discovery) settled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.next.IsZero() || !d.watch.Discovers()
}

// want has run discover, if that is due.
func (d *discovery) want() {
	select {
	case d.wanted <- struct{}{}:
	default:
	}
}

func (d *discovery) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-d.wanted:
			d.discover(ctx)
		case <-ctx.Done():
		}
	}
}

func (d *discovery) discover(ctx context.Context) {
	now := time.Now().Truncate(time.Second) // as schedules count
	d.mu.Lock()
	asked := d.watch.Discovers()
	if !asked {
		d.collector.NotDiscovering()
		d.failing, d.next = "", time.Time{}
	}
	due := asked && !now.Before(d.next)
	d.mu.Unlock()
	if !due {
		return
	}
	found, err := d.list(ctx)
	if ctx.Err() != nil {
		return
	}
	d.collector.Discovered(err)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.next = now.Add(discoverAgainAfter)
		if reason := poller.ReasonOf(err); reason != d.failing {
			d.log.Warn("credential providers not listed, targets stay as they were", "reason", reason, "error", err)
			d.failing = reason
		}
		return
	}
	d.next = now.Add(discoverEvery)
	if d.failing != "" {
		d.log.Info("credential providers listed again", "after", d.failing)
		d.failing = ""
	}
	if !slices.Equal(found, d.found) {
		d.found = found
		d.apply(d.watch.Targets(found))
	}
}

// known returns what a state file shows of the providers there are.
func known(restored map[poller.Key]*poller.Reading) []poller.Provider {
	var found []poller.Provider
	for key := range restored {
		found = append(found, poller.Provider{Identifier: key.Provider, Consumer: key.Consumer})
	}
	return found
}
