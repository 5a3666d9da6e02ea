package poller

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func targetsOf(consumers ...string) []Target {
	var targets []Target
	for _, c := range consumers {
		targets = append(targets, Target{Consumer: c, Provider: "p", Label: c})
	}
	return targets
}

func shown(s *Snapshot) string {
	var all []string
	for _, r := range s.Readings {
		all = append(all, fmt.Sprintf("%s=%d", r.Target.Label, total(r)))
	}
	return strings.Join(all, " ")
}

func TestSetTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		for i, c := range []string{"a", "b", "c", "d"} {
			f.set(c, pages(i+1, time.Second))
		}
		p := newTestPoller(t, f, 4, "a", "b", "c")
		var log strings.Builder
		p.config.Log = slog.New(slog.NewTextHandler(&log, nil))
		stop := run(p)
		defer stop()
		time.Sleep(time.Minute)
		before := p.Snapshot()

		renamed := targetsOf("d", "c", "a")
		renamed[2].Label = "alias"
		p.SetTargets(renamed)
		now := p.Snapshot()
		if got := shown(now); got != "d=-1 c=3 alias=1" || now.InProgress != 1 {
			t.Errorf("at once: %s, %d in progress", got, now.InProgress)
		}
		if now.Readings[2].Census != before.Readings[0].Census {
			t.Error("a kept target was touched")
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := shown(p.Snapshot()); got != "d=4 c=3 alias=1" {
			t.Errorf("the new one is walked right away: %s", got)
		}
		if f.begun("a") != 1 || f.begun("c") != 1 {
			t.Error("kept ones wait for the schedule")
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if f.begun("a") != 2 || f.begun("b") != 1 || f.begun("d") != 2 {
			t.Errorf("walks at the next due time: a %d, b %d, d %d", f.begun("a"), f.begun("b"), f.begun("d"))
		}
		if strings.Count(log.String(), "all targets attempted") != 1 {
			t.Errorf("the start is over once:\n%s", log.String())
		}
	})
}

// A removed target is gone at once, also while it is walked or queued. If it returns, the old walk is not published.
func TestSetTargetsWhileWalksRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.set("slow", hanging)
		f.set("queued", pages(1, time.Second))
		f.set("kept", pages(2, time.Minute))
		p := newTestPoller(t, f, 2, "slow", "kept", "queued")
		p.config.Events.Walked = func(_ time.Duration, r Reason) {
			if r != "" {
				t.Errorf("a removed target failed: %s", r)
			}
		}
		stop := run(p)
		defer stop()
		time.Sleep(time.Second)
		kept := targetsOf("kept")
		kept[0].Label, kept[0].Windows = "alias", []Window{{"5m", 5 * time.Minute}}
		p.SetTargets(kept)
		synctest.Wait()
		if s := p.Snapshot(); shown(s) != "alias=-1" || s.InProgress != 1 || f.now != 1 {
			t.Errorf("%s, %d in progress, %d walks", shown(s), s.InProgress, f.now)
		}
		f.set("slow", pages(3, time.Second))
		p.SetTargets(append(kept, targetsOf("slow")...))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if s := p.Snapshot(); shown(s) != "alias=2 slow=3" || len(s.Readings[0].Target.Windows) != 1 || f.begun("kept") != 1 ||
			f.begun("queued") != 0 {
			t.Errorf("%s; walks: kept %d, queued %d", shown(s), f.begun("kept"), f.begun("queued"))
		}
	})
}

func TestSetTargetsBeforeRun(t *testing.T) {
	f := &fakeSource{}
	p := newTestPoller(t, f, 1, "a")
	p.SetTargets(targetsOf("b"))
	if s := p.Snapshot(); shown(s) != "b=-1" || s.InProgress != 0 {
		t.Errorf("%s, %d in progress", shown(s), s.InProgress)
	}
}

func TestRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		for _, c := range []string{"fresh", "failing", "old", "future", "new"} {
			f.set(c, pages(2, time.Second))
		}
		time.Sleep(time.Minute) // since the last scheduled time
		now := time.Now()
		census := func(age time.Duration) *Census {
			return &Census{Revoked: 7, ReadAt: now.Add(-age), Took: 10 * time.Second, Reported: -1}
		}
		failure := &Failure{Reason: Forbidden, Text: "no", At: now}
		p := New(Config{
			Source: f, Schedule: Schedule{Calendar: every(5 * time.Minute)}, Targets: targetsOf("fresh", "failing", "old", "future", "new"),
			Concurrency: 5, Timeout: time.Hour, Log: newTestPoller(t, f, 1).config.Log,
			Restored: map[Key]*Reading{
				{"fresh", "p"}:   {Census: census(50 * time.Second)},
				{"failing", "p"}: {Census: census(time.Hour), Failure: failure},
				{"old", "p"}:     {Census: census(51 * time.Second)},
				{"future", "p"}:  {Census: census(-time.Hour)},
				{"removed", "p"}: {Census: census(0)},
			},
		})
		if got := shown(p.Snapshot()); got != "fresh=7 failing=7 old=7 future=7 new=-1" || p.Snapshot().Readings[1].Failure != failure {
			t.Errorf("at once: %s", got)
		}
		stop := run(p)
		defer stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := shown(p.Snapshot()); got != "fresh=7 failing=2 old=2 future=2 new=2" {
			t.Errorf("after a minute: %s", got)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := shown(p.Snapshot()); got != "fresh=2 failing=2 old=2 future=2 new=2" {
			t.Errorf("after the first due time: %s", got)
		}
	})
}

func TestEveryTargetIsInOneShareAndFewMove(t *testing.T) {
	const n = 2000
	var targets []Target
	for i := range n {
		targets = append(targets, Target{Consumer: fmt.Sprint("secret-", i), Provider: "p", Label: fmt.Sprint(i)})
	}
	owners := func(count int) map[string]int {
		owner := map[string]int{}
		for shard := range count {
			share := Share(targets, shard, count)
			if want := n / count; len(share) < want*8/10 || len(share) > want*12/10 {
				t.Errorf("shard %d of %d has %d targets, want about %d", shard, count, len(share), want)
			}
			for _, s := range share {
				if _, twice := owner[s.Label]; twice {
					t.Errorf("%s is in two shares", s.Label)
				}
				owner[s.Label] = shard
			}
		}
		if len(owner) != n {
			t.Errorf("%d shards share %d of %d targets", count, len(owner), n)
		}
		return owner
	}
	before := owners(1)
	for count := 2; count <= 6; count++ {
		after, moved := owners(count), 0
		for label, shard := range after {
			if before[label] != shard {
				moved++
				if shard != count-1 {
					t.Errorf("%s moved between old shards", label)
				}
			}
		}
		if want := n / count; moved < want*8/10 || moved > want*12/10 {
			t.Errorf("%d of %d targets moved to shard %d, want about %d", moved, n, count, want)
		}
		before = after
	}
	if got := Share(targets, 0, 1); !slices.EqualFunc(got, targets, func(a, b Target) bool { return a.Key() == b.Key() }) {
		t.Error("one shard has not every target in its order")
	}
}

// After a restart that restored all targets, no log line reports that all targets were attempted.
func TestNothingStartsWhenAllIsRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.set("a", pages(1, time.Second))
		f.set("b", hanging)
		var log strings.Builder
		p := newTestPoller(t, f, 2)
		p.config.Log = slog.New(slog.NewTextHandler(&log, nil))
		p.config.Restored = map[Key]*Reading{}
		for _, target := range targetsOf("a", "b") {
			p.config.Restored[target.Key()] = &Reading{Census: &Census{ReadAt: time.Now().Add(-time.Hour)}}
		}
		p.config.Targets = targetsOf("a", "b")
		p = New(p.config)
		stop := run(p)
		defer stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		if f.begun("a") != 1 || log.Len() > 0 {
			t.Errorf("%d walks, and the log:\n%s", f.begun("a"), log.String())
		}
	})
}

// The interval is known at start, at any time between two scheduled times.
func TestIntervalAtAStartOffSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(299 * time.Second) // a second before the next due time
		f := &fakeSource{}
		f.set("a", pages(1, time.Millisecond))
		p := newTestPoller(t, f, 1, "a")
		stop := run(p)
		defer stop()
		synctest.Wait()
		if s := p.Snapshot().Schedules[0]; s.Interval != 5*time.Minute || !s.Next.Equal(time.Now().Add(time.Second)) || f.begun("a") != 1 {
			t.Errorf("%+v, %d walks", s, f.begun("a"))
		}
	})
}

// A failure with an id that was shown is changed after the id is hidden: by a restart, a reload, or a reload during the walk.
func TestAFailureKeepsNoIDThatIsHiddenNow(t *testing.T) {
	const id = "Ann+1@example.com"
	long := strings.Repeat("a long text ", 40)
	for _, tt := range []struct{ text, want string }{
		{"no such consumer Ann+1@example.com", "no such consumer ann"},
		{"no ann+1@EXAMPLE.com", "no ann"},
		{"GET /?consumerId=ann%2b1%40example.com", "GET /?consumerId=ann"},
		{"no Ann&#43;1&#64;example.com", "no ann"},
		{`no \u0041nn+1\u0040example.com`, "no ann"},
		{"no QW5uKzFAZXhhbXBsZS5jb20=", "no ann0="},
		{long + id, long + "ann"},
		{"cut off: Ann+1@exam…", "cut off: ann…"},
		{"something else", "something else"},
	} {
		failed := &Reading{Failure: &Failure{Reason: NotFound, Text: tt.text}}
		shown := Target{Consumer: id, Provider: "p", Label: id}
		hidden := Target{Consumer: id, Provider: "p", Label: "ann"}
		restored := func(t Target) *Poller {
			return New(Config{
				Schedule: Schedule{Calendar: every(time.Hour)}, Targets: []Target{t}, Restored: map[Key]*Reading{t.Key(): failed},
				Log: slog.New(slog.DiscardHandler),
			})
		}
		kept, restarted, reloaded := restored(shown), restored(hidden), restored(shown)
		reloaded.SetTargets([]Target{hidden})
		if got := kept.Snapshot().Readings[0].Failure.Text; got != tt.text {
			t.Errorf("%q became %q", tt.text, got)
		}
		var log strings.Builder
		synctest.Test(t, func(t *testing.T) {
			f := &fakeSource{}
			f.set(id, failing(&Error{NotFound, errors.New(tt.text)}))
			inFlight := newTestPoller(t, f, 1, id)
			inFlight.config.Log = slog.New(slog.NewTextHandler(&log, nil))
			inFlight.config.Source = reloading{f, func() { inFlight.SetTargets([]Target{hidden}) }}
			inFlight.Once(t.Context())
			for name, p := range map[string]*Poller{"restarted": restarted, "reloaded": reloaded, "in flight": inFlight} {
				if got := p.Snapshot().Readings[0].Failure; got.Text != tt.want || got.Reason != NotFound {
					t.Errorf("%s: %q became %q, want %q", name, tt.text, got.Text, tt.want)
				}
			}
		})
		if strings.Contains(strings.ToLower(log.String()), "example") {
			t.Errorf("logged: %s", log.String())
		}
	}
}

// reloading is a source during whose walks the targets change.
type reloading struct {
	*fakeSource
	reload func()
}

func (r reloading) Pages(ctx context.Context, t Target) iter.Seq2[Page, error] {
	r.reload()
	return r.fakeSource.Pages(ctx, t)
}
