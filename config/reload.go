package config

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// compareEvery is the interval at which the targets file is compared with the last read.
const compareEvery = 10 * time.Second

// Reloader reads the targets again; all of them or none take effect. It is safe for concurrent use, with one reload at a time.
type Reloader struct {
	config      *Config
	apply       func(w Watchlist, operator bool) error
	onReload    func(error)
	mu          sync.Mutex
	fingerprint string // of the last read
	signals     chan os.Signal
}

// NewReloader returns a Reloader of the targets of c. It calls apply with each valid Watchlist and whether an operator requested the
// reload, then onReload with each result; neither may call the Reloader. SIGHUP no longer ends the process.
func (c *Config) NewReloader(apply func(w Watchlist, operator bool) error, onReload func(error)) *Reloader {
	r := &Reloader{config: c, apply: apply, onReload: onReload, fingerprint: c.fingerprint, signals: make(chan os.Signal, 1)}
	signal.Notify(r.signals, syscall.SIGHUP)
	return r
}

// Reload reads the targets for an operator. The error has type Faults or is the error of apply.
func (r *Reloader) Reload() error { return r.reload(true) }

// Run reloads at each SIGHUP, and within 10 s after a change of the targets file, until ctx is canceled.
func (r *Reloader) Run(ctx context.Context) {
	ticker := time.NewTicker(compareEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ticker.C:
			_ = r.reload(false) // onReload gets the error
		case <-r.signals:
			_ = r.Reload()
		case <-ctx.Done():
		}
	}
}

// reload reads the targets if an operator requests it, or if the targets file has changed since the last read, valid or not.
func (r *Reloader) reload(operator bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	data, fingerprint, err := r.config.readTargetsFile()
	if fingerprint == r.fingerprint && !operator {
		return nil
	}
	r.fingerprint = fingerprint
	watch, err := r.config.watchlist(data, err)
	if err == nil {
		err = r.apply(watch, operator)
	}
	r.onReload(err)
	return err
}
