package idaas

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A walk that is abandoned while it fetches is not a failure for the waiting walks: one of them fetches.
func TestAnAbandonedFetchIsNobodysFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetches := 0
		s := &cached[int]{fetch: func(ctx context.Context, _ bool) (int, lease, error) {
			fetches++
			n := fetches
			select {
			case <-time.After(10 * time.Second):
				return n, lease{}, nil
			case <-ctx.Done():
				return 0, lease{}, ctx.Err()
			}
		}}
		abandoned, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.get(abandoned); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("abandoned: %v", err)
			}
		})
		synctest.Wait()
		start := time.Now()
		for range 10 {
			wg.Go(func() {
				if v, err := s.get(t.Context()); v != 2 || err != nil || time.Since(start) != 13*time.Second {
					t.Errorf("waiting: %d, %v after %v", v, err, time.Since(start))
				}
			})
		}
		// A waiting caller can be abandoned, too, and returns immediately.
		wg.Go(func() {
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := s.get(short); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("waiting, abandoned: %v after %v", err, time.Since(start))
			}
		})
		wg.Wait()
		if fetches != 2 {
			t.Errorf("%d fetches, want the abandoned one and one more", fetches)
		}
	})
}

func TestAFailureIsSharedForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetches := 0
		s := &cached[int]{fetch: func(context.Context, bool) (int, lease, error) {
			fetches++
			return 0, lease{}, fmt.Errorf("failure %d", fetches)
		}}
		for _, step := range []struct {
			pause time.Duration
			want  string
		}{{0, "failure 1"}, {0, "failure 1"}, {shareFailure - 1, "failure 1"}, {1, "failure 2"}, {0, "failure 2"}} {
			time.Sleep(step.pause)
			if _, err := s.get(t.Context()); err == nil || err.Error() != step.want {
				t.Errorf("%v, want %s", err, step.want)
			}
		}
	})
}

func TestRenewing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var tries []time.Duration
		broken := false
		s := &cached[int]{fetch: func(_ context.Context, renewing bool) (int, lease, error) {
			if renewing != (len(tries) > 0) {
				t.Errorf("try %d: renewing is %v", len(tries), renewing)
			}
			tries = append(tries, time.Since(start))
			if broken {
				return 0, lease{}, errors.New("broken")
			}
			return len(tries), lease{renew: time.Now().Add(10 * time.Minute), until: time.Now().Add(15 * time.Minute)}, nil
		}}
		for time.Since(start) < 15*time.Minute {
			broken = len(tries) > 0
			if v, err := s.get(t.Context()); v != 1 || err != nil {
				t.Fatalf("after %v: %d, %v", time.Since(start), v, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if len(tries) < 12 || len(tries) > 30 || tries[1] != 10*time.Minute {
			t.Errorf("tries at %v", tries)
		}
		for i := range tries[2:] {
			if d := tries[i+2] - tries[i+1]; d < shareFailure || d > maxRenewPause {
				t.Errorf("%v between two tries to renew", d)
			}
		}
	})
}

func TestTheOldValueServesWhileItIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetches := 0
		s := &cached[int]{fetch: func(context.Context, bool) (int, lease, error) {
			fetches++
			time.Sleep(10 * time.Second)
			return fetches, lease{renew: time.Now().Add(time.Minute), until: time.Now().Add(time.Hour)}, nil
		}}
		get := func(when string, want int, wait time.Duration) {
			start := time.Now()
			if v, err := s.get(t.Context()); v != want || err != nil || time.Since(start) != wait {
				t.Errorf("%s: %d, %v after %v; want %d after %v", when, v, err, time.Since(start), want, wait)
			}
		}
		get("first", 1, 10*time.Second)
		time.Sleep(time.Minute)
		var wg sync.WaitGroup
		wg.Go(func() { get("renewing", 2, 10*time.Second) })
		synctest.Wait()
		for range 9 {
			time.Sleep(time.Second)
			get("while it is renewed", 1, 0)
		}
		wg.Wait()
		get("renewed", 2, 0)
	})
}

func TestOnlyTheValueThatIsMeantIsDropped(t *testing.T) {
	fetches := 0
	s := &cached[int]{fetch: func(context.Context, bool) (int, lease, error) {
		fetches++
		return fetches, lease{}, nil
	}}
	for _, step := range []struct{ drop, want int }{{0, 1}, {0, 1}, {2, 1}, {1, 2}, {1, 2}, {2, 3}} {
		s.drop(func(v int) bool { return v == step.drop })
		if v, err := s.get(t.Context()); v != step.want || err != nil {
			t.Errorf("after dropping %d: %d, %v, want %d", step.drop, v, err, step.want)
		}
	}
}
