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
	Tokens []Token // owned by the source, valid until the next page
	Total  int64   // totalCount; -1: absent
	Dead   *Dead   // of the last page of a live walk, whose tokens are examples of the expired and revoked
}

// Dead has the counts of a live walk.
type Dead struct {
	Revoked, Expired, All int64
	From, To              time.Time // earliest and latest time of the expired count, by both clocks
	Requests              int       // without those of pages
}

// Unproved is the error of a live walk whose responses are inconsistent or cost more requests. A full walk is needed.
type Unproved struct {
	Why   string
	Final bool // a second live walk would have the same result
}

func (u *Unproved) Error() string { return u.Why }

// Source lists the tokens of a target by pages, until the end of the list, of ctx, or an error. Errors have a Reason. It is safe for
// concurrent use.
type Source interface {
	Pages(ctx context.Context, t Target) iter.Seq2[Page, error]
}

// Live lists the active tokens of a target and counts the others. It is safe for concurrent use.
type Live interface {
	// LivePages lists the active tokens, and then yields a page with Dead. Unless always is set, it lists as Pages if that takes no
	// more requests, by the previous census, which may be nil. An error may be an Unproved.
	LivePages(ctx context.Context, t Target, prev *Census, always bool) iter.Seq2[Page, error]
}

// Events are called at once. They may be nil, and must be safe for concurrent use.
type Events struct {
	// Walked is called after each walk that was not cancelled; failed is empty after a complete walk.
	Walked func(took time.Duration, failed Reason)
	// LiveFallback is called before a full walk that follows an unproved live walk.
	LiveFallback func()
}

// Config of a Poller. Targets are distinct by Key.
type Config struct {
	Source   Source
	Live     Live     // nil: every walk is full
	Schedule Schedule // of targets without one
	Targets  []Target

	Restored    map[Key]*Reading // from before a restart, also of targets that were removed
	Concurrency int              // maximum number of parallel walks, at least 1
	Timeout     time.Duration    // of one walk
	Log         *slog.Logger
	Events      Events
}

// Poller walks targets on their schedules and publishes a Snapshot after each walk.
type Poller struct {
	config Config
	now    func() time.Time

	published atomic.Pointer[published]
	walkers   sync.WaitGroup
	changed   chan struct{} // capacity 1; there may be new schedules

	mu            sync.Mutex // guards what follows, and orders the stores to published
	entries       map[Key]*entry
	timers        []*timer        // that of Config, then those with targets
	queued        map[bool][]*job // long and other jobs, in the order of before
	inProgress    int             // jobs queued or being walked
	walking, long int             // workers, and those with a long job
	unattempted   int             // targets
	ctx           context.Context // of Run; nil before and after

	starting bool // during Run, until all targets were attempted
	// changes has the number of changes by kind since logMore: an outage has a line for the first target, and one for the others.
	changes map[change]int
}

// maxSleep is the longest time until a step of the wall clock is detected.
const maxSleep = 15 * time.Second

// New returns a Poller. Its Snapshot has all targets with the restored facts.
func New(c Config) *Poller {
	p := &Poller{
		config: c, now: time.Now, changed: make(chan struct{}, 1), queued: map[bool][]*job{}, changes: map[change]int{},
		timers: []*timer{{Timing: Timing{Schedule: c.Schedule}}},
	}
	p.config.Restored = nil // so that its memory is freed as walks replace it
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

// arrange replaces the targets, and publishes them with the facts of kept targets and of those in gone. While p runs, it queues targets
// that are new or were never read. It returns the numbers of new and changed targets. p.mu must be held, except by New.
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

// Snapshot returns the latest one. It does not block.
func (p *Poller) Snapshot() *Snapshot {
	latest := p.published.Load()
	s := latest.Snapshot
	s.Readings = slices.Concat(latest.blocks...)
	return &s
}

// Run walks all targets at once, and then each at its scheduled times, until ctx ends. At once, it omits restored targets without a
// scheduled time since the start of their last complete walk. It returns after all walks have ended; those in flight are cancelled.
func (p *Poller) Run(ctx context.Context) {
	p.mu.Lock()
	p.starting = p.unattempted > 0 // SetTargets may already run
	p.mu.Unlock()
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

// Once walks the targets that Run walks at once, and returns after all walks have ended.
func (p *Poller) Once(ctx context.Context) {
	defer p.begin(ctx)()
	p.walkers.Wait()
}

// begin queues the targets to walk at once. Others can be queued until end is called.
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

// SetTargets replaces the targets, distinct by Key, and publishes at once. Walks of removed targets are cancelled; a target that returns
// within 7 days has its facts again. While the poller runs, new targets and those that were never read are walked at once.
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

// wall returns the time without a monotonic reading, which would hide steps of the clock.
func (p *Poller) wall() time.Time { return p.now().Round(0) }

// update publishes a changed copy of the latest snapshot. p.mu must be held, except by New.
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
				more, p.changes = p.changes, map[change]int{} // also while a walk hangs
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
