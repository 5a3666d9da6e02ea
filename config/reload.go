package config

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// lookEvery is how often the bytes of the targets file are compared with those last read.
const lookEvery = 10 * time.Second

// Reloader re-reads the targets, all or nothing. It is safe for concurrent use: there is one reload at a time.
type Reloader struct {
	config  *Config
	apply   func(w Watchlist, operator bool) error
	told    func(error)
	mu      sync.Mutex
	read    string
	hangups chan os.Signal
}

// NewReloader returns a Reloader of the targets of c. It calls apply with each valid Watchlist and whether an operator asked for the
// reload, then told with each outcome; neither may call the Reloader. From now on, SIGHUP no longer ends the process.
func (c *Config) NewReloader(apply func(w Watchlist, operator bool) error, told func(error)) *Reloader {
	r := &Reloader{config: c, apply: apply, told: told, read: c.read, hangups: make(chan os.Signal, 1)}
	signal.Notify(r.hangups, syscall.SIGHUP)
	return r
}

// Reload reads the targets, as an operator asks. The error is of type Faults, or that of apply.
func (r *Reloader) Reload() error { return r.reload(true) }

// Run reloads at each SIGHUP, and within 10 s after the bytes of the targets file have changed, until ctx ends.
func (r *Reloader) Run(ctx context.Context) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for ctx.Err() == nil {
		select {
		case <-look.C:
			_ = r.reload(false) // which told
		case <-r.hangups:
			_ = r.Reload() // which told
		case <-ctx.Done():
		}
	}
}

// reload reads the targets if an operator asks, or if the bytes of the targets file are not those last read, be they good or bad.
func (r *Reloader) reload(operator bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	data, read, err := r.config.readTargetsFile()
	if read == r.read && !operator {
		return nil
	}
	r.read = read
	watch, err := r.config.watchlist(data, err)
	if err == nil {
		err = r.apply(watch, operator)
	}
	r.told(err)
	return err
}
