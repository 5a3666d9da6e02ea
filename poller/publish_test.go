package poller

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"testing"
)

// nothing is a source whose lists are empty.
type nothing struct{}

func (nothing) Pages(context.Context, Target) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) { yield(Page{}, nil) }
}

func manyTargets(n int) *Poller {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	return New(Config{
		Source: nothing{}, Schedule: Schedule{Calendar: every(3600e9)}, Targets: targetsOf(names...), Concurrency: 4, Timeout: 1e9,
		Log: slog.New(slog.DiscardHandler),
	})
}

// A walk costs about the same with 50,000 targets as with few: it does not copy or count all of them.
func TestAWalkDoesNotCopyAllTargets(t *testing.T) {
	cost := func(targets int) uint64 {
		p := manyTargets(targets)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p.Once(t.Context())
		runtime.ReadMemStats(&after)
		if s := p.Snapshot(); len(s.Readings) != targets || !s.Attempted() || s.InProgress != 0 || p.unattempted != 0 {
			t.Fatalf("%d readings, %d in progress", len(s.Readings), s.InProgress)
		}
		return (after.TotalAlloc - before.TotalAlloc) / uint64(targets)
	}
	few, many := cost(1000), cost(50_000)
	t.Logf("bytes a walk: %d of 1,000 targets, %d of 50,000", few, many)
	if many > few+10_000 {
		t.Errorf("bytes a walk: %d of 1,000 targets, %d of 50,000", few, many)
	}
}

// A snapshot does not change when walks publish, whatever the block of its reading.
func TestASnapshotDoesNotChange(t *testing.T) {
	p := manyTargets(3 * block / 2)
	before := p.Snapshot()
	p.Once(t.Context())
	after := p.Snapshot()
	for i := range before.Readings {
		if before.Readings[i].Attempted() || !after.Readings[i].Attempted() || after.Readings[i].Target.Label != fmt.Sprint(i) {
			t.Fatalf("%d: %+v, %+v", i, before.Readings[i], after.Readings[i])
		}
	}
}

// BenchmarkPublish publishes one reading of 50,000.
func BenchmarkPublish(b *testing.B) {
	p := manyTargets(50_000)
	r := p.Snapshot().Readings[0]
	for i := 0; b.Loop(); i++ {
		p.update(func(s *published) { s.replace(i%50_000, r) })
	}
}
