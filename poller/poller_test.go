package poller

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeSource lists the result of its function for a consumer, and counts the started walks.
type fakeSource struct {
	mu    sync.Mutex
	lists map[string]func(ctx context.Context) iter.Seq2[Page, error]
	walks map[string]int
	now   int // walks under way
	most  int
}

func (f *fakeSource) set(consumer string, list func(ctx context.Context) iter.Seq2[Page, error]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lists == nil {
		f.lists, f.walks = map[string]func(context.Context) iter.Seq2[Page, error]{}, map[string]int{}
	}
	f.lists[consumer] = list
}

func (f *fakeSource) begun(consumer string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.walks[consumer]
}

func (f *fakeSource) Pages(ctx context.Context, t Target) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		f.mu.Lock()
		f.walks[t.Consumer]++
		f.now++
		f.most = max(f.most, f.now)
		list := f.lists[t.Consumer]
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			f.now--
			f.mu.Unlock()
		}()
		list(ctx)(yield)
	}
}

type listing = func(ctx context.Context) iter.Seq2[Page, error]

// pages lists n pages of one token each, taking some time for each.
func pages(n int, each time.Duration) listing {
	return func(ctx context.Context) iter.Seq2[Page, error] {
		return func(yield func(Page, error) bool) {
			for i := range n {
				select {
				case <-time.After(each):
				case <-ctx.Done():
					yield(Page{}, ctx.Err())
					return
				}
				if !yield(Page{Tokens: []Token{{ID: fmt.Sprint(i)}}, Total: int64(n)}, nil) {
					return
				}
			}
		}
	}
}

// failing lists a page and then fails.
func failing(err error) listing {
	return func(context.Context) iter.Seq2[Page, error] {
		return func(yield func(Page, error) bool) {
			if yield(Page{Tokens: []Token{{ID: "half"}, {ID: "a"}, {ID: "walk"}}, Total: -1}, nil) {
				yield(Page{}, err)
			}
		}
	}
}

func hanging(ctx context.Context) iter.Seq2[Page, error] { return pages(1, 1e6*time.Hour)(ctx) }

// every is a schedule with times at whole multiples of itself.
type every time.Duration

func (e every) Next(t time.Time) time.Time {
	return t.Truncate(time.Duration(e)).Add(time.Duration(e))
}

func newTestPoller(t *testing.T, f *fakeSource, concurrency int, consumers ...string) *Poller {
	var targets []Target
	for _, c := range consumers {
		targets = append(targets, Target{Consumer: c, Provider: "p", Label: c})
	}
	return New(Config{
		Source: f, Schedule: Schedule{Calendar: every(5 * time.Minute)}, Targets: targets, Concurrency: concurrency, Timeout: time.Hour,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
}

// run runs p in the background of a bubble; the function returned stops it and waits.
func run(p *Poller) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

func total(r *Reading) int {
	if r.Census == nil {
		return -1
	}
	return r.Census.At(time.Now()).Total
}

func TestPollsAtStartAndAtEachDueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.set("a", pages(2, time.Second))
		p := newTestPoller(t, f, 4, "a")
		if s := p.Snapshot(); len(s.Readings) != 1 || s.Readings[0].Attempted() || s.InProgress != 0 {
			t.Fatalf("before the first poll: %+v", s)
		}
		start := time.Now()
		stop := run(p)
		defer stop()
		synctest.Wait()
		if s := p.Snapshot(); s.InProgress != 1 || !s.Schedules[0].Last.Equal(start) || s.Schedules[0].Next.Sub(start) != 5*time.Minute {
			t.Errorf("at start: %+v", s)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := p.Snapshot(); s.InProgress != 0 || total(s.Readings[0]) != 2 || s.Readings[0].Census.Took != 2*time.Second {
			t.Errorf("after the walk: %+v %+v", s, s.Readings[0].Census)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := f.begun("a"); n != 3 {
			t.Errorf("%d walks after 10 minutes, want 3", n)
		}
	})
}

func TestAFailedWalkPublishesNothingOfItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.set("a", pages(5, time.Second))
		f.set("b", pages(1, time.Second))
		var log strings.Builder
		p := newTestPoller(t, f, 4, "a", "b")
		p.config.Log = slog.New(slog.NewTextHandler(&log, nil))
		var failed []Reason
		p.config.Events.Walked = func(_ time.Duration, r Reason) {
			if r != "" {
				failed = append(failed, r)
			}
		}
		stop := run(p)
		time.Sleep(time.Minute)
		good := p.Snapshot().Readings[0].Census

		f.set("a", failing(&Error{Forbidden, errors.New("no grant")}))
		time.Sleep(10 * time.Minute)
		a, b := p.Snapshot().Readings[0], p.Snapshot().Readings[1]
		if a.Census != good || a.Failure == nil || a.Failure.Reason != Forbidden || a.Failure.Text != "no grant" {
			t.Errorf("after failures: %+v", a)
		}
		if b.Failure != nil || b.Census == nil || !b.Census.ReadAt.After(good.ReadAt) {
			t.Errorf("the other target: %+v", b)
		}
		f.set("a", pages(7, time.Second))
		time.Sleep(5 * time.Minute)
		if a := p.Snapshot().Readings[0]; a.Failure != nil || total(a) != 7 {
			t.Errorf("after recovery: %+v", a)
		}
		stop()
		if len(failed) != 2 || failed[0] != Forbidden {
			t.Errorf("failures told: %v", failed)
		}
		if got := log.String(); strings.Count(got, "target failed") != 1 || strings.Count(got, "target recovered") != 1 {
			t.Errorf("the log should have one line per transition:\n%s", got)
		}
	})
}

func TestTheFirstWalkFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.set("a", failing(errors.New("no reason given")))
		p := newTestPoller(t, f, 1, "a")
		var log strings.Builder
		p.config.Log = slog.New(slog.NewTextHandler(&log, nil))
		p.Once(t.Context())
		if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "target failed") {
			t.Errorf("the log:\n%s", log.String())
		}
		for range 2 {
			if r := p.Snapshot().Readings[0]; r.Census != nil || r.Failure == nil || r.Failure.Reason != Connection {
				t.Errorf("%+v", r)
			}
			p.SetTargets(targetsOf("a")) // a reload does not forget it
		}
	})
}

func TestASlowTargetDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.set("slow", hanging)
		f.set("a", pages(1, time.Second))
		p := newTestPoller(t, f, 2, "slow", "a")
		stop := run(p)
		defer stop()
		time.Sleep(30*time.Minute + time.Second)
		synctest.Wait()
		s := p.Snapshot().Schedules[0]
		if f.begun("slow") != 1 || f.begun("a") != 7 || s.Skipped != 6 || time.Since(s.Oldest) != 30*time.Minute+time.Second {
			t.Errorf("walks: %d slow, %d other; %+v", f.begun("slow"), f.begun("a"), s)
		}
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if r := p.Snapshot().Readings[0]; r.Failure == nil || r.Failure.Reason != Deadline {
			t.Errorf("after the poll timeout: %+v", r)
		}
	})
}

func TestConcurrencyAndOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		var order []string
		var names []string
		for i := range 20 {
			name := fmt.Sprint(i)
			names = append(names, name)
			list := pages(1+i, time.Second)
			f.set(name, func(ctx context.Context) iter.Seq2[Page, error] {
				f.mu.Lock()
				order = append(order, name)
				f.mu.Unlock()
				return list(ctx)
			})
		}
		p := newTestPoller(t, f, 3, names...)
		p.Once(t.Context())
		if f.most != 3 {
			t.Errorf("%d walks at once, want 3", f.most)
		}
		f.mu.Lock()
		order = nil
		f.mu.Unlock()
		p.config.Concurrency = 1
		p.Once(t.Context())
		if got := strings.Join(order, " "); got != "19 18 17 16 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0" {
			t.Errorf("longest lists first, got %s", got)
		}
	})
}

func TestAWalkInFlightIsAbandonedUnpublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.set("a", hanging)
		p := newTestPoller(t, f, 1, "a")
		p.config.Events.Walked = func(time.Duration, Reason) { t.Error("an abandoned walk was told") }
		stop := run(p)
		time.Sleep(time.Second)
		start := time.Now()
		stop()
		if d := time.Since(start); d != 0 {
			t.Errorf("stopping took %v", d)
		}
		if p.Snapshot().Readings[0].Attempted() {
			t.Error("published")
		}
	})
}

// A clock that is set back does not stop the polls, and a missed scheduled time is not repeated.
func TestStepsOfTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.set("a", pages(1, time.Millisecond))
		p := newTestPoller(t, f, 1, "a")
		var mu sync.Mutex
		var step time.Duration
		p.now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(step)
		}
		set := func(d time.Duration) {
			mu.Lock()
			step = d
			mu.Unlock()
		}
		stop := run(p)
		defer stop()
		time.Sleep(time.Minute)
		set(-24 * time.Hour)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := f.begun("a"); n != 2 {
			t.Errorf("%d walks 5 minutes after the clock was set back a day, want 2", n)
		}
		set(24 * time.Hour)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n, s := f.begun("a"), p.Snapshot().Schedules[0]; n != 3 || s.Cycles != 3 || s.Interval != 5*time.Minute {
			t.Errorf("%d walks a minute after the clock jumped two days ahead, want 3: %+v", n, s)
		}
	})
}

func TestSecretsAreNotPrinted(t *testing.T) {
	type outer struct{ inner Secret }
	s := NewSecret("hunter2")
	text, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "outer", outer{s})
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "outer", &outer{s})
	all := string(text) + log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		all += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, &s) + fmt.Sprintf(verb, outer{s}) + fmt.Sprintf(verb, &outer{s}) + fmt.Sprintf(verb,
			[]Secret{s})
	}
	if strings.Contains(all, "hunter2") || strings.Contains(all, fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("printed: %s", all)
	}
	if s.Reveal() != "hunter2" || s.Empty() || !NewSecret("").Empty() || !(Secret{}).Empty() {
		t.Error("the secret itself is lost")
	}
}

func TestSecretsThatNobodyHas(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "hunter2": "", "hü n/t%e+r 2 🙂": "", "a\nb": "a line break", "a\rb": "a line break", "a\tb": "U+0009", "a\x00": "U+0000",
		"\ufeffa":  "U+FEFF",
		"a\u200bb": "U+200B", "a\u00a0b": "U+00A0", "a\x7f": "U+007F", "a\xffb": "no UTF-8", "a\ufffdb": "no UTF-8",
	} {
		var s Secret
		err := s.UnmarshalText([]byte(text))
		if s.Reveal() != text || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
