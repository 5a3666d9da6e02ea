package idaas

import (
	"context"
	"sync"
	"time"
)

const (
	// shareFailure is how long a failure answers those who ask next: walks that fail for it ask all at once.
	shareFailure = time.Second
	// maxRenewPause bounds the time between two tries to renew a value that is still good.
	maxRenewPause = 30 * time.Second
	// maxDoubts is the least time between two attempts to get a value again because what it led to did not work.
	maxDoubts = 15 * time.Second
)

// lease says how long a value may be used. Zero times mean without end.
type lease struct {
	renew time.Time // from then on it should be replaced
	until time.Time // from then on it must not be used
}

// shared is a value that all walks use and one at a time fetches. It is safe for concurrent use.
type shared[T any] struct {
	// fetch makes one attempt. While renewing, a value is at hand that is still good, and retries are not worth it: the
	// next to ask tries again.
	fetch func(ctx context.Context, renewing bool) (T, lease, error)

	mu       sync.Mutex
	value    T
	lease    lease
	have     bool
	doubted  bool      // what it led to did not work: it is to be fetched again first
	fetched  time.Time // the latest attempt, good or not
	err      error     // of the latest attempt
	failedAt time.Time
	flight   chan struct{} // closed when the attempt under way has ended; nil: none is
}

// get returns the value, fetched if need be.
func (s *shared[T]) get(ctx context.Context) (T, error) {
	var none T
	for {
		s.mu.Lock()
		now := time.Now()
		good := s.have && (s.lease.until.IsZero() || now.Before(s.lease.until))
		due := s.doubted || !s.lease.renew.IsZero() && !now.Before(s.lease.renew)
		switch {
		case good && (!due || s.flight != nil && !s.doubted):
			v := s.value
			s.mu.Unlock()
			return v, nil
		case !good && s.err != nil && now.Sub(s.failedAt) < shareFailure:
			err := s.err
			s.mu.Unlock()
			return none, err
		case s.flight == nil:
			s.flight = make(chan struct{})
			s.mu.Unlock()
			s.attempt(ctx, good)
			if err := ctx.Err(); err != nil {
				return none, err
			}
			continue
		}
		flight := s.flight
		s.mu.Unlock()
		select {
		case <-flight:
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
}

// attempt fetches once and keeps what comes of it.
func (s *shared[T]) attempt(ctx context.Context, renewing bool) {
	v, l, err := s.fetch(ctx, renewing)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.flight)
	s.flight, s.doubted, s.fetched = nil, false, time.Now()
	switch {
	case err == nil:
		s.value, s.lease, s.have, s.err = v, l, true, nil
	case ctx.Err() != nil:
		// The walk that asked has ended: that says nothing about what it asked.
	case renewing && !s.lease.until.IsZero():
		// Not a failure to share: it had no retries, and the value may have ended meanwhile.
		now := time.Now()
		s.lease.renew = now.Add(min(maxRenewPause, max(shareFailure, s.lease.until.Sub(now)/4)))
	case !renewing:
		s.err, s.failedAt = err, time.Now()
	}
}

// drop forgets the value if it is still the one that is says.
func (s *shared[T]) drop(is func(T) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if is(s.value) {
		s.have = false
	}
}

// doubt has the value fetched again before it is used again; the one at hand stays should that fail.
func (s *shared[T]) doubt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubted = s.doubted || s.have && time.Since(s.fetched) >= maxDoubts
}
