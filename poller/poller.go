package poller

import (
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

// Events tells what happens, as it happens; nil fields are ignored. The functions must be safe for concurrent use.
type Events struct {
	// Walked is called after each walk that was not abandoned; failed is empty if it was complete.
	Walked func(took time.Duration, failed Reason)
	// LiveFallback is called when a live walk was not proved, before the target is walked in full.
	LiveFallback func()
}

// Config of a Poller. Targets are distinct by Key.
type Config struct {
	Source   Source
	Live     Live     // nil: every walk is full
	Schedule Schedule // of targets without one
	Targets  []Target
	// Restored is what was known before a restart; it is kept for other targets too.
	Restored    map[Key]*Reading
	Concurrency int           // targets walked at once, at least 1
	Timeout     time.Duration // of one walk
	Log         *slog.Logger
	Events      Events
}

// Poller walks targets on their schedules and publishes a Snapshot after each walk.
type Poller struct {
	config Config
	now    func() time.Time

	published atomic.Pointer[published]
	walkers   sync.WaitGroup
	changed   chan struct{} // holds one: there may be new schedules

	mu            sync.Mutex // guards what follows, and orders the stores to published
	entries       map[Key]*entry
	timers        []*timer        // that of Config, then those with targets
	queued        map[bool][]*job // by whether they are long, in the order of before
	inProgress    int             // jobs queued or being walked
	walking, long int             // workers, and long jobs among theirs
	unattempted   int             // targets
	ctx           context.Context // of Run; nil before and after

	starting bool           // Run, until every target was attempted
	changes  map[change]int // by walks, since they were gathered
}

// maxSleep bounds how late a step of the wall clock is noticed.
const maxSleep = 15 * time.Second

// New returns a Poller whose Snapshot has every target, with what was restored.
func New(c Config) *Poller {
	p := &Poller{
		config: c, now: time.Now, changed: make(chan struct{}, 1), queued: map[bool][]*job{}, changes: map[change]int{},
		timers: []*timer{{Timing: Timing{Schedule: c.Schedule}}},
	}
	p.config.Restored = nil // walks replace it
	p.published.Store(&published{})
	p.timers[0].set(p.wall())
	p.arrange(c.Targets, c.Restored)
	for _, e := range p.entries {
		if e.Census != nil {
			e.restored = e.Census.ReadAt.Add(-e.Census.Took)
		}
		if e.due = e.restored; e.Failure != nil {
			e.due = e.Failure.At
		}
	}
	return p
}

// arrange replaces the targets and publishes them with what is known: of kept targets, and of others that gone has. It queues those
// that are new or were never read if p runs, and returns how many are new and changed. p.mu must be held, but by New.
func (p *Poller) arrange(targets []Target, gone map[Key]*Reading) (added, changed int) {
	now, removed := p.wall(), p.entries
	var jobs []*job
	timers := make(map[string]*timer)
	for _, t := range p.timers {
		jobs = append(jobs, t.jobs...)
		timers[t.Schedule.Text], t.entries, t.jobs = t, nil, nil
	}
	p.timers, p.entries, p.unattempted = p.timers[:1:1], make(map[Key]*entry, len(targets)), 0
	readings := make([]*Reading, len(targets))
	var fresh []*entry
	for i, target := range targets {
		key := target.Key()
		t := timers[target.Schedule.Text]
		if target.Schedule.Calendar == nil {
			t = p.timers[0]
		} else if t == nil {
			t = &timer{Timing: Timing{Schedule: target.Schedule}}
			t.set(now)
			timers[target.Schedule.Text] = t
		}
		if t != p.timers[0] && t.entries == nil {
			p.timers = append(p.timers, t)
		}
		target.Schedule = t.Schedule
		e, kept := removed[key]
		delete(removed, key)
		if !kept {
			added++
			e = &entry{Reading: &Reading{}}
			if r := gone[key]; r.rememberedAt(now) {
				e.Reading = r
			}
			if e.Census != nil {
				e.requests = e.Census.Pages
			}
		}
		if !kept || !reflect.DeepEqual(e.Target, target) {
			e.Reading = &Reading{Target: target, Census: e.Census, Failure: e.Failure.shownFor(target)}
			changed++
		}
		e.index, e.timer, t.entries = i, t, append(t.entries, e)
		p.entries[key], readings[i] = e, e.Reading
		if !e.Attempted() {
			p.unattempted++
		}
		if e.job == nil && (!kept || e.Census == nil && !e.empty()) {
			fresh = append(fresh, e)
		}
	}
	p.drop(removed)
	for _, j := range slices.SortedStableFunc(slices.Values(jobs), func(a, b *job) int { return a.since.Compare(b.since) }) {
		if !j.ended() {
			j.timer.jobs = append(j.timer.jobs, j)
		}
	}
	if p.ctx != nil {
		for _, e := range fresh {
			p.enqueue(e, now, now.Add(e.timer.Interval))
		}
		p.dispatch()
	}
	remembered := make(map[Key]*Reading)
	for key, r := range gone {
		if p.entries[key] == nil && r.rememberedAt(now) {
			remembered[key] = r.goneAt(now)
		}
	}
	for key, e := range removed {
		if e.Attempted() {
			remembered[key] = e.goneAt(now)
		}
	}
	p.update(func(s *published) { s.blocks, s.Gone = slices.Collect(slices.Chunk(readings, block)), remembered })
	return added, changed - added
}

// Snapshot returns the latest one, without waiting for anything.
func (p *Poller) Snapshot() *Snapshot {
	latest := p.published.Load()
	s := latest.Snapshot
	s.Readings = slices.Concat(latest.blocks...)
	return &s
}

// Run polls at once, and then each target at the scheduled times, until ctx ends. At once, it walks restored targets only if a
// scheduled time has passed since their last complete walk began. It returns when all walks have ended; those in flight are abandoned.
func (p *Poller) Run(ctx context.Context) {
	p.starting = p.unattempted > 0
	defer p.walkers.Wait()
	defer p.begin(ctx)()
	for ctx.Err() == nil {
		select {
		case <-time.After(p.tick()):
		case <-p.changed:
		case <-ctx.Done():
		}
	}
}

// Once walks the targets that Run walks at once, and returns when all walks have ended.
func (p *Poller) Once(ctx context.Context) {
	defer p.begin(ctx)()
	p.walkers.Wait()
}

// begin queues the targets to be walked at once, and lets others be queued until end is called.
func (p *Poller) begin(ctx context.Context) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ctx = ctx
	now := p.wall()
	for _, t := range p.timers {
		t.set(now)
		t.Cycles++
		for _, e := range t.entries {
			switch early := !t.Last.After(e.restored) && !e.restored.After(now); {
			case e.job != nil || e.resting(t.Last, now) || early:
			case e.Census == nil:
				p.enqueue(e, now, now.Add(t.Interval))
			default:
				p.enqueue(e, now, t.Next)
			}
		}
	}
	p.dispatch()
	p.update(func(*published) {})
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ctx = nil
		p.drop(p.entries)
	}
}

// SetTargets replaces the targets, distinct by Key, and publishes at once. Those removed are not shown any more, also when one is
// being walked; their facts are theirs again if they return within 7 days. Those kept stay as they are. Those that return or
// were never read are walked at once if the poller runs.
func (p *Poller) SetTargets(targets []Target) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.entries)
	added, changed := p.arrange(targets, p.published.Load().Gone)
	select {
	case p.changed <- struct{}{}:
	default:
	}
	if removed := before - len(targets) + added; added+removed+changed > 0 {
		p.config.Log.Info("targets changed", "added", added, "removed", removed, "changed", changed, "targets", len(targets))
	}
}

// wall is the time without its monotonic reading, which would hide steps of the clock.
func (p *Poller) wall() time.Time { return p.now().Round(0) }

// update publishes a copy of the latest snapshot, changed by change. p.mu must be held, but by New.
func (p *Poller) update(change func(*published)) {
	s := *p.published.Load()
	change(&s)
	s.InProgress, s.Schedules = p.inProgress, make([]Timing, len(p.timers))
	for i, t := range p.timers {
		s.Schedules[i] = t.timing()
	}
	p.published.Store(&s)
}

// tick queues the targets of the schedules whose time was reached, and returns the time to sleep.
func (p *Poller) tick() time.Duration {
	p.mu.Lock()
	now, sleep, changed := p.wall(), maxSleep, false
	var more map[change]int
	for i, t := range p.timers {
		reached := !now.Before(t.Next)
		if reached || t.Schedule.Next(now).Before(t.Next) { // or the clock was set back
			t.set(now)
			changed = true
		}
		if reached {
			p.cycle(t, now)
			if i == 0 {
				more = p.gathered() // a walk that hangs keeps no news back
			}
		}
		sleep = min(sleep, t.Next.Sub(now))
	}
	if changed {
		p.dispatch()
		p.update(func(s *published) {
			if more != nil && len(s.Gone) > 0 {
				s.Gone = maps.Clone(s.Gone)
				maps.DeleteFunc(s.Gone, func(_ Key, r *Reading) bool { return !r.rememberedAt(now) })
			}
		})
	}
	p.mu.Unlock()
	p.logMore(more)
	return sleep
}
