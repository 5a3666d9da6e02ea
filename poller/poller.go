package poller

import (
	"cmp"
	"context"
	"iter"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Page is one page of a target's list.
type Page struct {
	Tokens []Token // owned by the source: valid until the next page
	Total  int64   // the API's totalCount; -1 when it sent none
	Dead   *Dead   // of the last page of a live walk, whose tokens are examples of those not listed
}

// Dead holds the counts that the API returned to a live walk.
type Dead struct {
	Revoked, Expired, All int64
	From, To              time.Time // the earliest and the latest time at which the expired were counted, by both clocks
	Requests              int       // besides those of pages
}

// Unproved is the error of a live walk that contradicts itself or is of no use. The target is to be walked in full.
type Unproved struct {
	Why   string
	Final bool // another live walk would have the same result
}

func (u *Unproved) Error() string { return u.Why }

// Source lists the tokens of a target, page by page, until the list or ctx ends or an error is yielded, which ends it.
// Errors carry their Reason. It is safe for concurrent use.
type Source interface {
	Pages(ctx context.Context, t Target) iter.Seq2[Page, error]
}

// Live is a Source that can also list the active tokens and count the others.
type Live interface {
	// LivePages lists the active tokens, and then yields a page with Dead. Unless it is to do so always, it is as Pages where
	// that takes no more requests by the last census, which may be nil. An error may be an Unproved.
	LivePages(ctx context.Context, t Target, known *Census, always bool) iter.Seq2[Page, error]
}

// Schedule is a calendar: Next returns the first due time after its argument.
type Schedule interface {
	Next(time.Time) time.Time
}

// Events tells what happens, as it happens; nil fields are ignored. The functions must be safe for concurrent use.
type Events struct {
	// Cycle is called at each due time, with the number of targets skipped because they were still in progress.
	Cycle func(skipped int)
	// Walked is called after each walk that was not abandoned; failed is empty if it was complete.
	Walked func(took time.Duration, failed Reason)
	// LiveFallback is called when a live walk was not proved, before the target is walked in full.
	LiveFallback func()
}

// Config of a Poller. Targets are distinct by Key.
type Config struct {
	Source   Source
	Live     Live // nil: every walk is full
	Schedule Schedule
	Targets  []Target
	// Restored is what was known before a restart; what it has of other targets is ignored.
	Restored    map[Key]*Reading
	Concurrency int           // targets walked at once, at least 1
	Timeout     time.Duration // of one walk
	Log         *slog.Logger
	Events      Events
}

// Poller walks targets on a schedule and publishes a Snapshot after each walk.
type Poller struct {
	config Config
	now    func() time.Time

	published atomic.Pointer[Snapshot]
	walkers   sync.WaitGroup

	mu      sync.Mutex // guards what follows, and orders the stores to published
	index   map[Key]int
	jobs    map[Key]*job // queued or being walked
	queue   []*job
	running int
	ctx     context.Context // of Run; nil before and after

	starting bool           // Run, until every target was attempted
	changes  map[change]int // by walks, since they were gathered
}

// maxSleep bounds how late a step of the wall clock is noticed.
const maxSleep = 15 * time.Second

// New returns a Poller whose Snapshot knows every target, and about them what was restored.
func New(c Config) *Poller {
	p := &Poller{config: c, now: time.Now, jobs: map[Key]*job{}, changes: map[change]int{}}
	p.config.Restored = nil // to be forgotten as walks replace it
	readings, gone := rearrange(c.Targets, c.Restored, p.wall())
	p.index = indexOf(readings)
	p.published.Store(&Snapshot{Readings: readings, Gone: gone})
	return p
}

// keptGone is how long the facts of a removed target are kept: it may return.
const keptGone = 7 * 24 * time.Hour

// rearrange returns the readings of targets, with what is known, and of the others those to be kept.
func rearrange(targets []Target, known map[Key]*Reading, now time.Time) ([]*Reading, map[Key]*Reading) {
	gone := make(map[Key]*Reading)
	for key, r := range known {
		if r.Attempted() && (r.Gone.IsZero() || now.Sub(r.Gone) < keptGone) {
			removed := *r
			removed.Gone = cmp.Or(r.Gone, now)
			gone[key] = &removed
		}
	}
	readings := make([]*Reading, len(targets))
	for i, t := range targets {
		readings[i] = &Reading{Target: t}
		if r := gone[t.Key()]; r != nil {
			readings[i].Census, readings[i].Failure = r.Census, r.Failure.shownFor(t)
			delete(gone, t.Key())
		}
	}
	return readings, gone
}

func indexOf(readings []*Reading) map[Key]int {
	index := make(map[Key]int, len(readings))
	for i, r := range readings {
		index[r.Target.Key()] = i
	}
	return index
}

// Snapshot returns the latest one, without waiting for anything.
func (p *Poller) Snapshot() *Snapshot { return p.published.Load() }

// Run polls at once and then at each due time until ctx ends; restored targets that were read less than one interval
// ago wait for the first due time. It returns when every walk has, those in flight abandoned and unpublished.
func (p *Poller) Run(ctx context.Context) {
	p.starting = !p.Snapshot().Attempted()
	defer p.walkers.Wait()
	defer p.begin(ctx)()
	now := p.wall()
	last, next := p.around(now)
	p.cycle(last, next, func(r *Reading) bool {
		return r.Census == nil || now.Sub(r.Census.ReadAt) >= next.Sub(last) || r.Census.ReadAt.After(now)
	})
	for {
		due, ok := p.wait(ctx, next)
		if !ok {
			return
		}
		next = p.config.Schedule.Next(due)
		if now := p.wall(); !next.After(now) {
			next = p.config.Schedule.Next(now)
		}
		p.cycle(due, next, all)
	}
}

// Once polls every target once and returns when all walks have ended.
func (p *Poller) Once(ctx context.Context) {
	defer p.begin(ctx)()
	last, next := p.around(p.wall())
	p.cycle(last, next, all)
	p.walkers.Wait()
}

// around returns the due times before and after now. A schedule can only be asked forward, so it starts ever earlier.
func (p *Poller) around(now time.Time) (last, next time.Time) {
	next = p.config.Schedule.Next(now)
	last = next
	for back := p.config.Schedule.Next(next).Sub(next); last.After(now); back *= 2 {
		last = p.config.Schedule.Next(now.Add(-back))
	}
	for due := last; !due.After(now); due = p.config.Schedule.Next(due) {
		last = due
	}
	return last, next
}

func all(*Reading) bool { return true }

// begin lets walks be queued until end is called.
func (p *Poller) begin(ctx context.Context) (end func()) {
	set := func(ctx context.Context) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ctx = ctx
	}
	set(ctx)
	return func() { set(nil) }
}

// SetTargets replaces the targets, distinct by Key, and publishes at once. Those removed are not shown any more, also when one is
// being walked; their facts are theirs again if they return within 7 days. Those kept stay as they are. Those that return or
// were never read are walked at once if the poller runs.
func (p *Poller) SetTargets(targets []Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.Snapshot().Readings
	known := maps.Clone(p.Snapshot().Gone)
	for _, r := range old {
		known[r.Target.Key()] = r
	}
	readings, gone := rearrange(targets, known, p.wall())
	var fresh []*Reading
	added, changed := 0, 0
	for _, r := range readings {
		key := r.Target.Key()
		i, kept := p.index[key]
		switch {
		case !kept:
			added++
		case !reflect.DeepEqual(old[i].Target, r.Target):
			changed++
		}
		if (r.Census == nil || !kept) && p.jobs[key] == nil {
			fresh = append(fresh, r)
		}
	}
	p.index = indexOf(readings)
	for key, j := range p.jobs {
		if _, kept := p.index[key]; !kept {
			j.cancel()
			delete(p.jobs, key)
		}
	}
	p.queue = slices.DeleteFunc(p.queue, func(j *job) bool { return j.ctx.Err() != nil })
	if p.ctx != nil {
		p.enqueue(fresh)
	}
	p.update(func(s *Snapshot) { s.Readings, s.Gone = readings, gone })
	if removed := len(old) - len(targets) + added; added+removed+changed > 0 {
		p.config.Log.Info("targets changed", "added", added, "removed", removed, "changed", changed, "targets", len(targets))
	}
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
		if earlier := p.config.Schedule.Next(now); earlier.Before(next) {
			next = earlier
			p.mu.Lock()
			p.update(func(s *Snapshot) { s.LastCycle, s.NextCycle = now, next })
			p.mu.Unlock()
		}
		select {
		case <-time.After(min(next.Sub(now), maxSleep)):
		case <-ctx.Done():
			return next, false
		}
	}
}

// update publishes a copy of the snapshot, changed by change. p.mu must be held.
func (p *Poller) update(change func(*Snapshot)) {
	s := *p.published.Load()
	change(&s)
	s.InProgress = len(p.jobs)
	p.published.Store(&s)
}

// cycle queues every target that wants says and that is not in progress.
func (p *Poller) cycle(due, next time.Time, wants func(*Reading) bool) {
	start := p.wall()
	p.mu.Lock()
	var batch []*Reading
	skipped := 0
	for _, r := range p.Snapshot().Readings {
		j := p.jobs[r.Target.Key()]
		switch {
		case j == nil && wants(r):
			batch = append(batch, r)
		case j != nil && j.since.Before(start):
			skipped++
		}
	}
	p.enqueue(batch)
	p.update(func(s *Snapshot) {
		s.LastCycle, s.NextCycle = due, next
		_, s.Gone = rearrange(nil, s.Gone, start)
	})
	more := p.gathered() // a walk that hangs keeps no news back
	p.mu.Unlock()
	p.logMore(more)
	if p.config.Events.Cycle != nil {
		p.config.Events.Cycle(skipped)
	}
}
