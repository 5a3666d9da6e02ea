package config

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Reloader re-reads the targets, all or nothing. It is safe for concurrent use: there is one reload at a time.
type Reloader struct {
	config  *Config
	apply   func(Watchlist)
	told    func(error)
	mu      sync.Mutex
	read    string
	hangups chan os.Signal
}

// NewReloader returns a Reloader of the targets of c that hands good ones to apply and, after it, every outcome to told;
// neither may call the Reloader. From now on, SIGHUP no longer ends the process.
func (c *Config) NewReloader(apply func(Watchlist), told func(error)) *Reloader {
	r := &Reloader{config: c, apply: apply, told: told, read: c.read, hangups: make(chan os.Signal, 1)}
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
		r.apply(watch)
	}
	r.told(err)
	return err
}
