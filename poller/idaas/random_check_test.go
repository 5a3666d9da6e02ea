package idaas

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// check compares the published readings with the model.
func (r *randomRun) check() {
	r.t.Helper()
	now := time.Now()
	for i, reading := range r.p.Snapshot().Readings {
		last, good := r.source.of(r.targets[i])
		switch {
		case i == unreadable && (reading.Census != nil || !good.end.IsZero()):
			r.fatalf("target %d was never read and is shown: %+v", i, reading.Census)
		case r.live && reading.Census == nil && reading.Failure == nil:
			continue // an unproved live walk, which is being repeated
		case !r.live && good.end.IsZero() != (reading.Census == nil):
			r.fatalf("target %d: the last complete walk ended at %v, published: %+v", i, good.end, reading.Census)
		case last.end.IsZero():
			continue
		case !r.live && (last.err != nil) != (reading.Failure != nil):
			r.fatalf("target %d: the last walk ended with %v, published: %+v", i, last.err, reading.Failure)
		case reading.Failure != nil && (reading.Failure.Text == "" || !slices.Contains(poller.Reasons(), reading.Failure.Reason)):
			r.fatalf("target %d: %+v", i, reading.Failure)
		case reading.Census == nil:
			continue
		case !r.live && !reading.Census.ReadAt.Equal(good.end):
			r.fatalf("target %d: the last complete walk ended at %v, the published one at %v", i, good.end, reading.Census.ReadAt)
		}
		census, m := reading.Census, r.models[i]
		start := census.ReadAt.Add(-census.Took)
		mayMiss := r.offset && m.drifted(start, census.ReadAt)
		for _, at := range []time.Time{census.ReadAt, now} {
			b := m.bounds(start, census.ReadAt, mayMiss, at)
			if r.live { // the server decides what is expired
				by := census.ReadAt.Add(r.ahead(start, census.ReadAt))
				b = m.bounds(start, census.ReadAt, mayMiss, at, slices.MaxFunc([]time.Time{at, by}, time.Time.Compare))
				b.loose = b.changes
			}
			if wrong := b.wrong(census.At(at)); wrong != "" {
				r.fatalf("target %d, walked from %v to %v, at %v: %s", i, start, census.ReadAt, at, wrong)
			}
		}
		if census != r.seen[i] {
			r.seen[i] = census
			r.checked++
			b := m.bounds(start, census.ReadAt, mayMiss, census.ReadAt)
			if b.changes > 0 {
				r.changed++
			}
			if maps.Equal(b.least, b.most) {
				r.exact++
			}
		}
		m.forget(start.Add(-time.Second))
	}
}

// watched is a Client that records its walks.
type watched struct {
	client *Client

	mu         sync.Mutex
	last, good map[poller.Key]walked
	complete   int
	failed     int
}

type walked struct {
	end time.Time
	err error
}

func (w *watched) Pages(ctx context.Context, t poller.Target) iter.Seq2[poller.Page, error] {
	return w.watch(t, w.client.Pages(ctx, t))
}

func (w *watched) LivePages(ctx context.Context, t poller.Target, known *poller.Census, always bool) iter.Seq2[poller.Page, error] {
	return w.watch(t, w.client.LivePages(ctx, t, known, always))
}

func (w *watched) watch(t poller.Target, pages iter.Seq2[poller.Page, error]) iter.Seq2[poller.Page, error] {
	return func(yield func(poller.Page, error) bool) {
		var failure error
		for page, err := range pages {
			failure = err
			if !yield(page, err) {
				break
			}
		}
		if _, again := errors.AsType[*poller.Unproved](failure); again {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		end := walked{time.Now(), failure}
		w.last[t.Key()] = end
		if failure == nil {
			w.good[t.Key()] = end
			w.complete++
		} else {
			w.failed++
		}
	}
}

func (w *watched) of(t poller.Target) (last, good walked) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last[t.Key()], w.good[t.Key()]
}

func (w *watched) count() (complete, failed int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.complete, w.failed
}
