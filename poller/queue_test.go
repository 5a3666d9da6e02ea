package poller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"
)

func scheduled(t Target, text string, d time.Duration) Target {
	t.Schedule = Schedule{text, every(d)}
	return t
}

func byName(consumers string) map[string]Target {
	all := map[string]Target{}
	for _, t := range targetsOf(strings.Fields(consumers)...) {
		all[t.Consumer] = t
	}
	return all
}

// Each target is polled on its schedule, also after a reload, and each schedule has its figures.
func TestEachTargetHasItsSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		for _, c := range []string{"a", "b", "c"} {
			f.set(c, pages(1, time.Second))
		}
		of := byName("a b c")
		p := newTestPoller(t, f, 4)
		p.SetTargets([]Target{of["a"], scheduled(of["b"], "minute", time.Minute), scheduled(of["c"], "hour", time.Hour)})
		stop := run(p)
		defer stop()
		want := func(walks string, timings ...string) {
			t.Helper()
			synctest.Wait()
			s := p.Snapshot()
			var got []string
			for _, x := range s.Schedules {
				got = append(got, fmt.Sprintf("%s %v %d/%d %d", x.Schedule.Text, x.Interval, x.Targets, x.Cycles, x.Skipped))
				if now := time.Now(); x.Last.After(now) || !x.Next.After(now) || x.Next.Sub(x.Last) != x.Interval {
					t.Errorf("%s: %v, %v", x.Schedule.Text, x.Last, x.Next)
				}
			}
			begun := fmt.Sprintf("%d %d %d", f.begun("a"), f.begun("b"), f.begun("c"))
			if begun != walks || !slices.Equal(got, timings) {
				t.Errorf("got  %s %q\nwant %s %q", begun, got, walks, timings)
			}
			for _, r := range s.Readings {
				if got := s.Interval(r); got != time.Duration(cmp.Or(r.Target.Schedule, p.config.Schedule).Calendar.(every)) {
					t.Errorf("%s: %v", r.Target.Schedule.Text, got)
				}
			}
		}
		time.Sleep(59*time.Minute + 30*time.Second)
		want("12 60 1", " 5m0s 1/12 0", "minute 1m0s 1/60 0", "hour 1h0m0s 1/1 0")
		time.Sleep(time.Minute)
		want("13 61 2", " 5m0s 1/13 0", "minute 1m0s 1/61 0", "hour 1h0m0s 1/2 0")
		// 00:30 after the hour: only what is new is walked, and kept targets wait for their next scheduled time.
		p.SetTargets([]Target{scheduled(of["a"], "minute", time.Minute), of["b"], of["c"]})
		want("13 61 2", " 5m0s 2/13 0", "minute 1m0s 1/61 0")
		time.Sleep(5 * time.Minute)
		want("18 62 3", " 5m0s 2/14 0", "minute 1m0s 1/66 0")
		p.SetTargets([]Target{of["b"], scheduled(of["c"], "second", time.Second)})
		time.Sleep(1500 * time.Millisecond)
		want("18 62 4", " 5m0s 1/14 0", "second 1s 1/1 0")
	})
}

// The interval is the longer of the two around the latest scheduled time, so that a rest makes nothing stale.
func TestIntervals(t *testing.T) {
	for spec, want := range map[string]string{
		"0 8-18 * * MON-FRI": "Mon 07:00 62h0m0s, Mon 08:30 62h0m0s, Mon 09:30 1h0m0s, Mon 18:30 14h0m0s, Tue 08:30 14h0m0s, Fri 19:00 62h0m0s",
		"@hourly":            "Mon 07:00 1h0m0s, Mon 08:30 1h0m0s",
		"0,10 * * * *":       "Mon 07:00 50m0s, Mon 07:10 50m0s, Mon 07:15 50m0s",
	} {
		schedule, err := cron.ParseStandard(spec)
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq(want, ", ") {
			at, err := time.Parse("Mon 15:04", part[:9])
			if err != nil {
				t.Fatal(err)
			}
			day := slices.Index([]string{"Mon", "Tue", "Wed", "Thu", "Fri"}, part[:3])
			now := time.Date(2026, 3, 2+day, at.Hour(), at.Minute(), 0, 0, time.UTC)
			if _, _, got := (Schedule{Calendar: schedule}).around(now); got.String() != part[10:] {
				t.Errorf("%s at %s: %v", spec, part, got)
			}
		}
	}
}

// recorded is a source that records the order of walks.
type recorded struct {
	*fakeSource
	order *[]string
}

func (r recorded) Pages(ctx context.Context, t Target) iter.Seq2[Page, error] {
	r.mu.Lock()
	*r.order = append(*r.order, t.Consumer)
	r.mu.Unlock()
	return r.fakeSource.Pages(ctx, t)
}

// The target with the earliest next scheduled time is first, whenever it was queued; of those that were never read, the named ones.
func TestEarliestDeadlineFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		var order []string
		var targets []Target
		for i, x := range []struct {
			name     string
			schedule time.Duration
			pages    int
			found    bool
		}{
			{"hourly", time.Hour, 1, false},
			{"long", time.Hour, 3, false},
			{"minute", time.Minute, 1, false},
			{"found", time.Minute, 1, true},
			{"other", time.Minute, 1, false},
			{"five", 5 * time.Minute, 2, false},
		} {
			f.set(x.name, pages(x.pages, time.Second))
			targets = append(targets, scheduled(targetsOf(x.name)[0], fmt.Sprint(x.schedule), x.schedule))
			targets[i].Found = x.found
		}
		p := newTestPoller(t, f, 1)
		p.config.Source = recorded{f, &order}
		time.Sleep(59*time.Minute + 30*time.Second)
		p.SetTargets(targets)
		stop := run(p)
		defer stop()
		want := func(at time.Duration, want string) {
			t.Helper()
			time.Sleep(at)
			f.mu.Lock()
			defer f.mu.Unlock()
			if got := strings.Join(order, " "); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			order = nil
		}
		want(15*time.Second, "minute other found five hourly long")
		want(21*time.Second, "minute other found five long")
		want(50*time.Second, "hourly")
		want(30*time.Second, "minute other found")
	})
}

// Walks of over 20 requests hold half of the slots, so that others are not delayed; one at least.
func TestLongWalksHoldHalfOfTheSlots(t *testing.T) {
	for concurrency, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 7: 3} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeSource{}
			var names []string
			for i := range 8 {
				names = append(names, fmt.Sprint("long", i))
				f.set(names[i], pages(21, time.Second))
			}
			f.set("short", pages(20, time.Second))
			p := newTestPoller(t, f, concurrency, append(names, "short")...)
			p.Once(t.Context())
			f.most = 0
			stop := run(p)
			defer stop()
			time.Sleep(20 * time.Second)
			synctest.Wait()
			if f.most != min(concurrency, want+1) || concurrency > 1 && f.begun("short") != 2 {
				t.Errorf("%d at once: %d walks at once, %d of the short one", concurrency, f.most, f.begun("short"))
			}
		})
	}
}

// A found target without tokens, or refused, is walked at its scheduled times, but at most once an hour.
func TestEmptyTargets(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeSource{}
			refused := failing(&Error{Forbidden, errors.New("no")})
			lists := map[string]listing{
				"empty": pages(0, 0), "refused": refused, "missing": failing(&Error{NotFound, errors.New("no")}), "used": pages(1, 0),
				"down": failing(&Error{Connection, errors.New("no")}), "named": pages(0, 0),
			}
			var targets []Target
			for _, name := range slices.Sorted(maps.Keys(lists)) {
				f.set(name, lists[name])
				target := targetsOf(name)[0]
				target.Found = name != "named"
				targets = append(targets, target)
			}
			time.Sleep(time.Minute)
			p := newTestPoller(t, f, 4)
			p.SetTargets(targets)
			stop := run(p)
			for range 10 {
				time.Sleep(359 * time.Second)
				p.SetTargets(targets) // does not walk them
				if restart {
					stop()
					c := p.config
					c.Targets, c.Restored = targets, map[Key]*Reading{}
					for _, r := range p.Snapshot().Readings {
						c.Restored[r.Target.Key()] = r
					}
					p = New(c)
					stop = run(p)
				}
			}
			defer func() { stop() }()
			synctest.Wait()
			for name, want := range map[string]int{"empty": 1, "refused": 1, "missing": 1, "used": 13, "named": 13} {
				if got := f.begun(name); got != want {
					t.Errorf("%s: walked %d times in an hour, want %d", name, got, want)
				}
			}
			s := p.Snapshot()
			for _, r := range s.Readings {
				want := 5 * time.Minute
				if slices.Contains([]string{"empty", "refused", "missing"}, r.Target.Consumer) {
					want = time.Hour
				}
				if got := s.Interval(r); got != want {
					t.Errorf("%s: interval %v", r.Target.Consumer, got)
				}
			}
			f.set("empty", pages(1, 0))
			f.set("refused", pages(1, 0))
			time.Sleep(20 * time.Minute)
			if f.begun("empty") < 3 || f.begun("refused") < 3 {
				t.Errorf("with a token: %d and %d walks", f.begun("empty"), f.begun("refused"))
			}
		})
	}
}

// limited is a source whose pages share a rate limit.
type limited struct {
	pages map[string]int
	each  time.Duration

	mu    sync.Mutex
	next  time.Time
	ended map[string][]time.Time
}

func (l *limited) Pages(_ context.Context, t Target) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		for range l.pages[t.Consumer] {
			l.mu.Lock()
			if now := time.Now(); l.next.Before(now) {
				l.next = now
			}
			wait := time.Until(l.next)
			l.next = l.next.Add(l.each)
			l.mu.Unlock()
			time.Sleep(wait)
			yield(Page{Total: -1}, nil)
		}
		l.mu.Lock()
		l.ended[t.Consumer] = append(l.ended[t.Consumer], time.Now())
		l.mu.Unlock()
	}
}

// gaps returns the longest time between two walks of a one-minute target beside an hourly batch, in virtual time.
func gaps(t *testing.T, targets, pages int) (worst time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		l := &limited{pages: map[string]int{}, each: time.Second / 3, ended: map[string][]time.Time{}}
		var all []Target
		for i := range 80 {
			name := fmt.Sprint("minute", i)
			l.pages[name] = 1
			all = append(all, scheduled(targetsOf(name)[0], "minute", time.Minute))
		}
		for i := range targets {
			name := fmt.Sprint("batch", i)
			l.pages[name] = pages
			all = append(all, scheduled(targetsOf(name)[0], "hour", time.Hour))
		}
		p := newTestPoller(t, &fakeSource{}, 4)
		p.config.Source = l
		p.SetTargets(all)
		stop := run(p)
		time.Sleep(time.Hour) // then it is known what is long
		l.mu.Lock()
		l.ended = map[string][]time.Time{}
		l.mu.Unlock()
		time.Sleep(2 * time.Hour)
		for _, r := range p.Snapshot().Schedules {
			if r.Skipped > 0 && r.Schedule.Text == "hour" {
				t.Errorf("the batch does not end within the hour")
			}
		}
		stop()
		for name, ended := range l.ended {
			for i := 1; i < len(ended) && strings.HasPrefix(name, "minute"); i++ {
				worst = max(worst, ended[i].Sub(ended[i-1]))
			}
		}
	})
	return worst
}

// A short schedule does not starve behind a long batch.
func TestGapsBesideABatch(t *testing.T) {
	for _, batch := range [][2]int{{5000, 1}, {250, 20}, {50, 100}, {5, 1000}} {
		worst := gaps(t, batch[0], batch[1])
		t.Logf("%d targets of %d pages: %v", batch[0], batch[1], worst)
		if worst > 100*time.Second {
			t.Errorf("%d targets of %d pages: the longest gap of a one-minute target is %v", batch[0], batch[1], worst)
		}
	}
}
