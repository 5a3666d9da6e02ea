package state

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const (
	checkInterval = 500 * time.Millisecond
	minInterval   = 10 * time.Second // between the starts of two writes
	maxShare      = 50               // the interval is at least 50 times the last write, so writes take at most 2 % of the time
)

// Keep saves the result of snapshot after changes until ctx ends, and then a last time. A change is saved at most 10 s later, or 50 times
// the duration of the last write if that is longer. saved gets each result. The first failure and the first success after it are logged.
func (f File) Keep(ctx context.Context, snapshot func() *poller.Snapshot, saved func(error), log *slog.Logger) {
	if f.Path == "" {
		return
	}
	var last poller.Snapshot
	var next time.Time
	failing := false
	save := func() {
		s := snapshot()
		// Without any reading, the file of a state that was not restored stays.
		if !changed(&last, s) || len(s.Gone) == 0 && !slices.ContainsFunc(s.Readings, (*poller.Reading).Attempted) {
			return
		}
		start := time.Now()
		err := f.Save(s)
		saved(err)
		next = start.Add(minInterval)
		switch {
		case err == nil:
			last, next = *s, start.Add(max(minInterval, maxShare*time.Since(start)))
			if failing {
				log.Info("state file written again", "file", f.Path)
			}
		case !failing:
			log.Warn("state file not written", "error", err)
		}
		failing = err != nil
	}
	for ctx.Err() == nil {
		select {
		case <-time.After(max(checkInterval, time.Until(next))):
			save()
		case <-ctx.Done():
		}
	}
	save()
}

// changed reports whether now must be saved. The same failure at a later time is no change.
func changed(old, now *poller.Snapshot) bool {
	return old.Lists != now.Lists || !slices.EqualFunc(old.Readings, now.Readings, func(a, b *poller.Reading) bool {
		return a == b || a.Target.Key() == b.Target.Key() && a.Census == b.Census && a.Failure.Same(b.Failure)
	})
}
