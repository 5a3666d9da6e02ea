package idaas

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxRetryAfter bounds how long one response can stop all requests.
	maxRetryAfter = 2 * time.Minute
	// minSleep is the shortest wait of a request that has its connection. Without it, one request that is late by less makes all
	// later ones wait twice.
	minSleep = time.Millisecond
)

// limiter delays the requests to one API: by the rate limit, and during pauses that the API requests. Each request passes it twice:
// before it is built, and when it has a connection. Several requests may have waited for the connection, and a transport may repeat one.
type limiter struct {
	builds, sends *rate.Limiter // of the same rate
	events        Events

	mu          sync.Mutex
	pausedUntil time.Time
}

func newLimiter(perSecond float64, events Events) *limiter {
	return &limiter{builds: rate.NewLimiter(rate.Limit(perSecond), 1), sends: rate.NewLimiter(rate.Limit(perSecond), 1), events: events}
}

// pause stops all requests for d, at most maxRetryAfter, and never shortens a pause. It reports whether a pause began.
func (l *limiter) pause(d time.Duration) (began bool) {
	now := time.Now()
	until := now.Add(min(d, maxRetryAfter))
	l.mu.Lock()
	defer l.mu.Unlock()
	began = d > 0 && !l.pausedUntil.After(now)
	if until.After(l.pausedUntil) {
		l.pausedUntil = until
	}
	return began
}

func (l *limiter) pauseLeft() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.pausedUntil)
}

// wait returns when one request may be built, or with the error of ctx.
func (l *limiter) wait(ctx context.Context) error { return l.pass(ctx, l.builds, 0) }

// send returns when a request that has its connection may be sent, or when ctx ends. It returns the time waited.
func (l *limiter) send(ctx context.Context) time.Duration {
	start := time.Now()
	_ = l.pass(ctx, l.sends, minSleep)
	return time.Since(start)
}

// pass waits unless the wait for the rate is at most free.
func (l *limiter) pass(ctx context.Context, r *rate.Limiter, free time.Duration) error {
	for {
		if d := l.pauseLeft(); d > 0 {
			if err := l.sleep(ctx, WaitRetryAfter, d); err != nil {
				return err
			}
			continue
		}
		slot := r.Reserve()
		d := slot.Delay()
		if d <= free {
			return ctx.Err()
		}
		if err := l.sleep(ctx, WaitLimiter, d); err != nil {
			slot.Cancel()
			return err
		}
		if l.pauseLeft() <= 0 { // no pause began meanwhile
			return ctx.Err()
		}
	}
}

// sleep waits for d or until ctx ends, and reports the time waited.
func (l *limiter) sleep(ctx context.Context, cause string, d time.Duration) error {
	start := time.Now()
	defer func() { l.events.Waited(cause, time.Since(start)) }()
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
