package config

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Reloader re-reads the targets, all or nothing. It is safe for concurrent use: there is one reload at a time.
type Reloader struct {
	config  *Config
	apply   func([]poller.Target)
	told    func(error)
	mu      sync.Mutex
	read    string
	watch   watchlist
	found   []poller.Provider
	hangups chan os.Signal
}

// NewReloader returns a Reloader of the targets of c at the credential providers found so far that hands good ones to apply and,
// after it, every outcome to told; neither may call the Reloader. From now on, SIGHUP no longer ends the process.
func (c *Config) NewReloader(found []poller.Provider, apply func([]poller.Target), told func(error)) *Reloader {
	r := &Reloader{config: c, apply: apply, told: told, read: c.read, watch: c.watch, found: found, hangups: make(chan os.Signal, 1)}
	signal.Notify(r.hangups, syscall.SIGHUP)
	return r
}

// Reload reads the targets; the error is of type Faults.
func (r *Reloader) Reload() error { return r.reload(true) }

// Run reloads at each SIGHUP until ctx ends.
func (r *Reloader) Run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-r.hangups:
			_ = r.Reload() // which told
		case <-ctx.Done():
		}
	}
}

// ReloadIfChanged does the same if the bytes of the targets file are not those last read, be they good or bad.
func (r *Reloader) ReloadIfChanged() { _ = r.reload(false) }

// Discovers reports whether an entry asks for all credential providers there are.
func (r *Reloader) Discovers() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.watch.all) > 0
}

// Found applies the targets at the credential providers there are, if these are others than before.
func (r *Reloader) Found(providers []poller.Provider) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(providers, r.found) {
		r.found = providers
		r.apply(r.config.share(r.watch, providers))
	}
}

func (r *Reloader) reload(always bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	data, read, err := r.config.readTargetsFile()
	if read == r.read && !always {
		return nil
	}
	r.read = read
	watch, err := r.config.watchlist(data, err)
	if err == nil {
		r.watch = watch
		r.apply(r.config.share(watch, r.found))
	}
	r.told(err)
	return err
}
