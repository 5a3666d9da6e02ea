package poller

import (
	"cmp"
	"context"
	"slices"
	"time"
)

const (
	long       = 20        // requests; walks with more use at most half of the workers
	emptyEvery = time.Hour // minimum interval of a found target without tokens
)

// entry is one target of a Poller.
type entry struct {
	*Reading           // published
	index    int       // in the snapshot
	timer    *timer    // of its schedule
	job      *job      // queued or being walked; nil: none
	due      time.Time // scheduled time of its last walk
	restored time.Time // start of its last complete walk if that was in an earlier process; else zero
	requests int       // of its last walk
}

// resting reports whether e is not walked at due because it is empty. now is after due, unless the clock was set back.
func (e *entry) resting(due, now time.Time) bool {
	return e.empty() && due.Sub(e.due) < emptyEvery && !e.due.After(now)
}

// job is one walk of a target.
type job struct {
	*entry
	deadline time.Time // the scheduled time after the one that queued it
	since    time.Time // its scheduled time
	long     bool
	ctx      context.Context // ends with the poller, or when the target is removed; nil while queued
	cancel   context.CancelFunc
}

func (j *job) ended() bool { return j.job != j }

// cycle queues the targets of t that are not in progress. The caller then calls dispatch. p.mu must be held.
func (p *Poller) cycle(t *timer, now time.Time) {
	t.Cycles++
	for _, e := range t.entries {
		switch {
		case e.job != nil && e.job.since.Before(t.Last):
			t.Skipped++
		case e.job == nil && !e.resting(t.Last, now):
			p.enqueue(e, t.Last, t.Next)
		}
	}
}

// enqueue queues a walk of e with that scheduled time and deadline. The caller then calls dispatch. p.mu must be held.
func (p *Poller) enqueue(e *entry, due, deadline time.Time) {
	j := &job{entry: e, deadline: deadline, since: due, long: e.requests > long}
	e.job, e.due = j, due
	e.timer.jobs = append(e.timer.jobs, j)
	p.queued[j.long] = append(p.queued[j.long], j)
	p.inProgress++
}

// dispatch starts workers for the queue. p.mu must be held.
func (p *Poller) dispatch() {
	waiting := 0
	for _, queue := range p.queued {
		slices.SortStableFunc(queue, before)
		waiting += len(queue)
	}
	for range min(waiting, p.config.Concurrency-p.walking) {
		p.walking++
		p.walkers.Go(p.work)
	}
}

// before orders jobs by the earliest deadline, then the longest list, then targets in the settings before found ones.
func before(a, b *job) int {
	order := cmp.Or(a.deadline.Compare(b.deadline), b.requests-a.requests)
	if order == 0 && a.Target.Found != b.Target.Found {
		return map[bool]int{true: 1, false: -1}[a.Target.Found]
	}
	return order
}

// take removes the first job from the queue; a long one only while fewer than half of the workers have one. p.mu must be held.
func (p *Poller) take() *job {
	if p.ctx == nil || p.ctx.Err() != nil {
		return nil
	}
	short, others := p.queued[false], p.queued[true]
	free := len(others) > 0 && p.long < max(1, p.config.Concurrency/2)
	isLong := free && (len(short) == 0 || before(others[0], short[0]) < 0)
	queue := p.queued[isLong]
	if len(queue) == 0 {
		return nil
	}
	if isLong {
		p.long++
	}
	p.queued[isLong] = queue[1:]
	queue[0].ctx, queue[0].cancel = context.WithCancel(p.ctx)
	return queue[0]
}

// work walks queued targets until take returns none.
func (p *Poller) work() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for j := p.take(); j != nil; j = p.take() {
		target, prev := j.Target, j.Census
		p.mu.Unlock()
		counted, took, err := p.walk(j.ctx, target, prev)
		p.publish(j, counted, took, err)
		j.cancel()
		p.mu.Lock()
		if j.long {
			p.long--
		}
	}
	p.walking--
}

// drop cancels the jobs of entries that were removed. p.mu must be held.
func (p *Poller) drop(removed map[Key]*entry) {
	for _, e := range removed {
		if e.job == nil {
			continue
		}
		if e.job.cancel != nil {
			e.job.cancel()
		}
		e.job = nil
		p.inProgress--
	}
	for isLong, queue := range p.queued {
		p.queued[isLong] = slices.DeleteFunc(queue, (*job).ended)
	}
}
