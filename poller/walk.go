package poller

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"runtime/debug"
	"time"
)

// walk walks t; prev is the census before, which may be nil. Its error has a Reason.
func (p *Poller) walk(ctx context.Context, t Target, prev *Census) (*counting, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	start := time.Now()
	c := &counting{now: p.wall, fallback: p.config.Events.LiveFallback}
	err := c.read(ctx, p.config.Source, p.config.Live, t, prev, false)
	if err != nil && ctx.Err() != nil {
		err = &Error{Deadline, fmt.Errorf("not finished within %v: page %d was next", p.config.Timeout, c.pages+1)}
	}
	return c, time.Since(start), err
}

// read reads t, live unless live is nil. An unproved live walk is tried once more; then t is read in full.
func (c *counting) read(ctx context.Context, s Source, live Live, t Target, prev *Census, always bool) error {
	for tries := 2; live != nil && tries > 0; tries-- {
		start := time.Now()
		err := c.readPages(live.LivePages(ctx, t, prev, always))
		if err == nil && c.dead != nil {
			err = c.prove(prev, time.Since(start))
		}
		var ok bool
		if c.unproved, ok = errors.AsType[*Unproved](err); !ok {
			return err
		}
		if c.unproved.Final {
			break
		}
	}
	if c.unproved != nil && c.fallback != nil {
		c.fallback()
	}
	return c.readPages(s.Pages(ctx, t))
}

// readPages resets c and adds pages.
func (c *counting) readPages(pages iter.Seq2[Page, error]) error {
	*c = counting{
		seed: maphash.MakeSeed(), records: c.records[:0], soon: c.soon[:0], reported: -1, pages: c.pages,
		now: c.now, fallback: c.fallback, unproved: c.unproved,
	}
	for page, err := range pages {
		if err != nil {
			return err
		}
		c.add(page, c.now())
	}
	return nil
}

// Walk walks t once, live if live is not nil, even if that takes more requests. If an unproved live walk was repeated in full, it returns
// the cause, too. Its error has a Reason.
func Walk(ctx context.Context, s Source, live Live, t Target) (found *Census, unproved *Unproved, err error) {
	start := time.Now()
	c := &counting{now: time.Now}
	if err := c.read(ctx, s, live, t, nil, true); err != nil {
		return nil, nil, err
	}
	return c.census(nil, time.Now(), time.Since(start)), c.unproved, nil
}

// many is the number of records from which on memory is returned to the operating system at once.
const many = 100_000

// publish publishes and logs the result of a walk, unless it was cancelled.
func (p *Poller) publish(j *job, counted *counting, took time.Duration, err error) {
	p.mu.Lock()
	before := j.Reading
	p.mu.Unlock()
	if j.ctx.Err() != nil {
		return
	}
	after := &Reading{Census: before.Census}
	requests := counted.pages
	var failed Reason
	if err != nil {
		failed = ReasonOf(err)
		now := p.wall()
		after.Failure = &Failure{Reason: failed, Text: err.Error(), At: now, Since: now}
		if before.Failure != nil {
			after.Failure.Since = before.Failure.Since
		}
	} else {
		// This takes long for many tokens, so p.mu is not held. No other walk of this target can be published meanwhile.
		large := len(counted.records) > many
		if large {
			debug.FreeOSMemory() // of pages, before the census is allocated: 6 MiB of a million tokens
		}
		after.Census = counted.census(before.Census, p.wall(), took)
		if counted.records = nil; large {
			debug.FreeOSMemory() // of records: the process metrics show the memory of the census only
		}
	}
	p.mu.Lock()
	if j.ctx.Err() != nil {
		p.mu.Unlock()
		return
	}
	before = j.Reading
	after.Target = before.Target
	after.Failure = after.Failure.shownFor(after.Target) // its label may have changed during the walk
	if failed != "" {
		requests = max(requests, j.requests)
	}
	j.Reading, j.requests, j.restored, j.job = after, requests, time.Time{}, nil
	p.inProgress--
	if !before.Attempted() {
		p.unattempted--
	}
	p.update(func(s *published) { s.replace(j.index, after) })
	started := p.starting && p.unattempted == 0
	p.starting = p.starting && !started
	c := changed(before, after)
	p.changes[c]++
	first := p.changes[c] == 1
	var more map[change]int
	if p.inProgress == 0 {
		more, p.changes = p.changes, map[change]int{}
	}
	p.mu.Unlock()

	if p.config.Events.Walked != nil {
		p.config.Events.Walked(took, failed)
	}
	p.logTransition(c, after, first)
	p.logMore(more)
	if started {
		now := p.Snapshot()
		p.config.Log.Info("all targets attempted", "targets", len(now.Readings), "failing", now.Failing())
	}
}
