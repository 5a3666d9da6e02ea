package idaas

import (
	"context"
	"sync"
	"time"
)

const (
	// shareFailure is how long a failure is returned to later callers: walks that fail for it call at the same time.
	shareFailure = time.Second
	// maxRenewPause bounds the time between two attempts to renew a value that is still good.
	maxRenewPause = 30 * time.Second
	// minRefreshInterval is the minimum time between two attempts to refresh a value that may be outdated.
	minRefreshInterval = 15 * time.Second
)

// lease limits the use of a value. Zero times mean no limit.
type lease struct {
	renew time.Time // it should be replaced from then on
	until time.Time // it must not be used from then on
}

// cached is a value that all walks use. One caller at a time fetches it. It is safe for concurrent use.
type cached[T any] struct {
	// fetch makes one attempt. If renewing, the value in use is still good: fetch needs no retries, because a later call tries again.
	fetch func(ctx context.Context, renewing bool) (T, lease, error)

	mu        sync.Mutex
	value     T
	lease     lease
	have      bool
	outdated  bool          // the value may be wrong: fetch before the next use
	fetched   time.Time     // the end of the latest attempt, successful or not
	err       error         // of the latest attempt
	attempted chan struct{} // closed at the end of the attempt in flight; nil: none
}

// get returns the value, fetched if necessary.
func (c *cached[T]) get(ctx context.Context) (T, error) {
	var none T
	for {
		c.mu.Lock()
		now := time.Now()
		good := c.have && (c.lease.until.IsZero() || now.Before(c.lease.until))
		due := c.outdated || !c.lease.renew.IsZero() && !now.Before(c.lease.renew)
		value, err, inFlight := c.value, c.err, c.attempted
		switch {
		case good && (!due || inFlight != nil && !c.outdated):
			c.mu.Unlock()
			return value, nil
		case !good && err != nil && now.Sub(c.fetched) < shareFailure:
			c.mu.Unlock()
			return none, err
		case inFlight == nil:
			c.attempted = make(chan struct{})
			c.mu.Unlock()
			c.attempt(ctx, good)
			if err := ctx.Err(); err != nil {
				return none, err
			}
			continue
		}
		c.mu.Unlock()
		select {
		case <-inFlight:
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
}

// attempt fetches once and stores the result.
func (c *cached[T]) attempt(ctx context.Context, renewing bool) {
	v, l, err := c.fetch(ctx, renewing)
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.attempted)
	c.attempted, c.outdated = nil, false
	if err != nil && ctx.Err() != nil {
		return // the caller has ended, which is not a failure of the fetch
	}
	now := time.Now()
	c.fetched = now
	switch {
	case err == nil:
		c.value, c.lease, c.have, c.err = v, l, true, nil
	case !renewing:
		c.err = err
	case !c.lease.until.IsZero(): // not a failure to share: it had no retries, and the value may have expired meanwhile
		c.lease.renew = now.Add(min(maxRenewPause, max(shareFailure, c.lease.until.Sub(now)/4)))
	}
}

// drop removes the value if it matches.
func (c *cached[T]) drop(matches func(T) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.have = c.have && !matches(c.value)
}

// refresh has the value fetched before its next use, at most once in minRefreshInterval. The value stays if that fails.
func (c *cached[T]) refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outdated = c.outdated || c.have && time.Since(c.fetched) >= minRefreshInterval
}
