package state

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const (
	lookEvery = 500 * time.Millisecond // for changes
	minPause  = 10 * time.Second       // from the start of one write to the next
	idle      = 50                     // times as long as a write took, if that is longer: large files take at most 2 % of the time
)

// Keep saves what snapshot returns after it has changed, until ctx ends, and then a last time. A change is written at most
// 10 s later, or 50 times as long as the last write took. saved gets each outcome; failures are logged when they begin and end.
func (f File) Keep(ctx context.Context, snapshot func() *poller.Snapshot, saved func(error), log *slog.Logger) {
	if f.Path == "" {
		return
	}
	f.reserved = true
	var last poller.Snapshot
	failing := false
	var next time.Time // no write before
	save := func() {
		s := snapshot()
		// A state that was not restored is not worth overwriting with nothing.
		if !changed(&last, s) || len(s.Gone) == 0 && !slices.ContainsFunc(s.Readings, (*poller.Reading).Attempted) {
			return
		}
		start := time.Now()
		next = start.Add(minPause)
		err := f.Save(s)
		saved(err)
		switch {
		case err != nil && !failing:
			log.Warn("state not written, polling goes on", "error", err)
		case err == nil && failing:
			log.Info("state written again", "file", f.Path)
		}
		failing = err != nil
		if err == nil {
			last = *s
			next = start.Add(max(minPause, idle*time.Since(start)))
		}
	}
	for ctx.Err() == nil {
		select {
		case <-time.After(max(lookEvery, time.Until(next))):
			save()
		case <-ctx.Done():
		}
	}
	save()
}

// changed reports whether there is something to write that was not. That a target still fails as it did is not.
func changed(old, now *poller.Snapshot) bool {
	return old.Lists != now.Lists || !slices.EqualFunc(old.Readings, now.Readings, func(a, b *poller.Reading) bool {
		return a == b || a.Target.Key() == b.Target.Key() && a.Census == b.Census && a.Failure.Same(b.Failure)
	})
}
