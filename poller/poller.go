package poller

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Page is one page of a target's list.
type Page struct {
	Tokens []Token // owned by the source: valid until the next page
	Total  int64   // the API's totalCount; -1 when it sent none
}

// Source lists the tokens of a target, page by page, until the list or ctx ends or an error is yielded, which ends it.
// Errors carry their Reason. It is safe for concurrent use.
type Source interface {
	Pages(ctx context.Context, t Target) iter.Seq2[Page, error]
}

// Schedule is a calendar: Next returns the first due time after its argument.
type Schedule interface {
	Next(time.Time) time.Time
}

// Events tells what happens, as it happens; nil fields are ignored. The functions must be safe for concurrent use.
type Events struct {
	// Cycle is called at each due time, with the number of targets skipped because they were still in progress.
	Cycle func(skipped int)
	// Walked is called after each complete walk.
	Walked func(took time.Duration)
	// Failed is called after each failed walk; abandoned ones are not failed.
	Failed func(Reason)
}

// Config of a Poller. Targets are distinct by Key.
type Config struct {
	Source      Source
	Schedule    Schedule
	Targets     []Target
	Concurrency int           // targets walked at once, at least 1
	Timeout     time.Duration // of one walk
	Log         *slog.Logger
	Events      Events
}

// Poller walks targets on a schedule and publishes a Snapshot after each walk.
type Poller struct {
	source      Source
	schedule    Schedule
	concurrency int
	timeout     time.Duration
	log         *slog.Logger
	events      Events
	now         func() time.Time

	published atomic.Pointer[Snapshot]
	walkers   sync.WaitGroup

	mu      sync.Mutex // guards what follows, and orders the stores to published
	index   map[Key]int
	busy    map[Key]bool
	queue   []Target
	running int
}

// maxSleep bounds how late a step of the wall clock is noticed.
const maxSleep = 15 * time.Second

// New returns a Poller whose Snapshot knows every target and nothing about them.
func New(c Config) *Poller {
	p := &Poller{
		source:      c.Source,
		schedule:    c.Schedule,
		concurrency: c.Concurrency,
		timeout:     c.Timeout,
		log:         c.Log,
		events:      c.Events,
		now:         time.Now,
		index:       make(map[Key]int, len(c.Targets)),
		busy:        map[Key]bool{},
	}
	s := &Snapshot{Readings: make([]*Reading, len(c.Targets))}
	for i, t := range c.Targets {
		s.Readings[i] = &Reading{Target: t}
		p.index[t.Key()] = i
	}
	p.published.Store(s)
	return p
}

// Snapshot returns the latest one, without waiting for anything.
func (p *Poller) Snapshot() *Snapshot { return p.published.Load() }

// Run polls at once and then at each due time until ctx ends. It returns when every walk has, those in flight
// abandoned and unpublished.
func (p *Poller) Run(ctx context.Context) {
	defer p.walkers.Wait()
	due := p.wall()
	for {
		next := p.schedule.Next(due)
		if now := p.wall(); !next.After(now) {
			next = p.schedule.Next(now)
		}
		p.cycle(ctx, due, next)
		var ok bool
		if due, ok = p.wait(ctx, next); !ok {
			return
		}
	}
}

// Once polls every target once and returns when all walks have ended.
func (p *Poller) Once(ctx context.Context) {
	now := p.wall()
	p.cycle(ctx, now, p.schedule.Next(now))
	p.walkers.Wait()
}

// wall is the time without its monotonic reading, which would hide steps of the clock.
func (p *Poller) wall() time.Time { return p.now().Round(0) }

// wait sleeps until next is due and returns it, or an earlier due time when the clock was set back meanwhile.
func (p *Poller) wait(ctx context.Context, next time.Time) (time.Time, bool) {
	for {
		now := p.wall()
		if !now.Before(next) {
			return next, ctx.Err() == nil
		}
		if earlier := p.schedule.Next(now); earlier.Before(next) {
			next = earlier
			p.update(func(s *Snapshot) { s.NextCycle = next })
		}
		timer := time.NewTimer(min(next.Sub(now), maxSleep))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return next, false
		}
	}
}

// update publishes a copy of the snapshot, changed by change.
func (p *Poller) update(change func(*Snapshot)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.updateLocked(change)
}

func (p *Poller) updateLocked(change func(*Snapshot)) {
	s := *p.published.Load()
	change(&s)
	s.InProgress = len(p.busy)
	p.published.Store(&s)
}

// cycle queues every target that is not in progress.
func (p *Poller) cycle(ctx context.Context, due, next time.Time) {
	p.mu.Lock()
	var batch []*Reading
	skipped := 0
	for _, r := range p.Snapshot().Readings {
		if p.busy[r.Target.Key()] {
			skipped++
			continue
		}
		batch = append(batch, r)
	}
	p.enqueue(ctx, batch)
	p.updateLocked(func(s *Snapshot) { s.LastCycle, s.NextCycle = due, next })
	p.mu.Unlock()
	if p.events.Cycle != nil {
		p.events.Cycle(skipped)
	}
}

// enqueue has the targets of batch walked, the longest lists first: the cycle then ends soonest. p.mu must be held.
func (p *Poller) enqueue(ctx context.Context, batch []*Reading) {
	pages := func(r *Reading) int {
		if r.Census == nil {
			return 0
		}
		return r.Census.Pages
	}
	slices.SortStableFunc(batch, func(a, b *Reading) int { return cmp.Compare(pages(b), pages(a)) })
	for _, r := range batch {
		p.busy[r.Target.Key()] = true
		p.queue = append(p.queue, r.Target)
	}
	for range min(len(p.queue), p.concurrency-p.running) {
		p.running++
		p.walkers.Go(func() { p.work(ctx) })
	}
}

// work walks queued targets until none is left.
func (p *Poller) work(ctx context.Context) {
	for {
		p.mu.Lock()
		if len(p.queue) == 0 || ctx.Err() != nil {
			p.running--
			p.mu.Unlock()
			return
		}
		t := p.queue[0]
		p.queue = p.queue[1:]
		p.mu.Unlock()

		counted, took, err := p.walk(ctx, t)
		if ctx.Err() != nil {
			continue
		}
		p.publish(t, counted, took, err)
	}
}

// walk reads every page of t. Its error carries a Reason.
func (p *Poller) walk(ctx context.Context, t Target) (*counting, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	start := time.Now()
	c := newCounting()
	for page, err := range p.source.Pages(ctx, t) {
		if err != nil && ctx.Err() != nil {
			err = &Error{Deadline, fmt.Errorf("not finished within %v: page %d was next", p.timeout, c.pages+1)}
		}
		if err != nil {
			return nil, time.Since(start), err
		}
		c.add(page)
	}
	return c, time.Since(start), nil
}

// publish puts the outcome of one walk into the snapshot and tells what changed.
func (p *Poller) publish(t Target, counted *counting, took time.Duration, err error) {
	// No other walk of t can run, so what is known of it stays as it is while the census is taken outside the lock.
	before := p.reading(t)
	after := &Reading{Target: t, Census: before.Census}
	if err != nil {
		after.Failure = &Failure{Reason: ReasonOf(err), Text: err.Error(), At: p.wall()}
	} else {
		after.Census = counted.census(before.Census, p.wall(), took)
	}
	p.mu.Lock()
	delete(p.busy, t.Key())
	i := p.index[t.Key()]
	p.updateLocked(func(s *Snapshot) {
		s.Readings = slices.Clone(s.Readings)
		s.Readings[i] = after
	})
	now := p.Snapshot()
	p.mu.Unlock()

	if err == nil && p.events.Walked != nil {
		p.events.Walked(took)
	}
	if err != nil && p.events.Failed != nil {
		p.events.Failed(after.Failure.Reason)
	}
	p.logTransition(before, after)
	if !before.Attempted() && now.Attempted() {
		p.log.Info("every target was attempted", "targets", len(now.Readings), "failing", now.failing())
	}
}

func (p *Poller) reading(t Target) *Reading {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Snapshot().Readings[p.index[t.Key()]]
}

// logTransition logs what changed between two readings of a target: a quiet log means that nothing did.
func (p *Poller) logTransition(before, after *Reading) {
	log := p.log.With("consumer", after.Target.Label, "credential_provider", after.Target.Provider)
	switch f, was := after.Failure, before.Failure; {
	case f != nil && (was == nil || was.Reason != f.Reason):
		log.Warn("target failing", "reason", f.Reason, "error", f.Text)
	case f != nil:
		log.Debug("target still failing", "reason", f.Reason, "error", f.Text)
	case was != nil:
		log.Info("target recovered", "after", was.Reason)
	default:
		log.Debug("target walked", "took", after.Census.Took, "pages", after.Census.Pages)
	}
}
