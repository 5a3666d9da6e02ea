package idaas

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxHint bounds how long one answer can stop all requests.
const maxHint = 2 * time.Minute

// trifle is what a request that has its connection need not wait: a third would otherwise wait twice, for as long as one was
// late by as little.
const trifle = time.Millisecond

// gate is what every request to one API passes: the rate limit, and the pauses that the API asks for. It passes twice: before it is
// made, and when it has a connection, for which several may have waited together, or once more as a transport repeats it.
type gate struct {
	limiter, sends *rate.Limiter // of the same rate
	waited         func(cause string, d time.Duration)

	mu     sync.Mutex
	paused time.Time // no request before
}

// pause stops all requests for d from now on; it never shortens a pause. It reports whether there was none.
func (g *gate) pause(d time.Duration) (begun bool) {
	until := time.Now().Add(min(d, maxHint))
	g.mu.Lock()
	defer g.mu.Unlock()
	begun = d > 0 && time.Until(g.paused) <= 0
	if until.After(g.paused) {
		g.paused = until
	}
	return begun
}

func (g *gate) pauseLeft() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Until(g.paused)
}

// wait returns when one request may be made now, or with the error of ctx.
func (g *gate) wait(ctx context.Context) error { return g.pass(ctx, g.limiter, 0) }

// send returns when a request that has its connection may be sent, or when ctx ends, and the request with it. It returns how
// long the request had to wait.
func (g *gate) send(ctx context.Context) time.Duration {
	start := time.Now()
	_ = g.pass(ctx, g.sends, trifle)
	return time.Since(start)
}

func (g *gate) pass(ctx context.Context, limiter *rate.Limiter, free time.Duration) error {
	for {
		if d := g.pauseLeft(); d > 0 {
			if err := g.sleep(ctx, WaitHint, d); err != nil {
				return err
			}
			continue
		}
		r := limiter.Reserve()
		if d := r.Delay(); d > free {
			if err := g.sleep(ctx, WaitLimiter, d); err != nil {
				r.Cancel()
				return err
			}
			// A pause may have begun meanwhile.
			if g.pauseLeft() > 0 {
				continue
			}
		}
		return ctx.Err()
	}
}

// sleep waits for d or until ctx ends, and tells how long it was.
func (g *gate) sleep(ctx context.Context, cause string, d time.Duration) error {
	start := time.Now()
	defer func() { g.waited(cause, time.Since(start)) }()
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
