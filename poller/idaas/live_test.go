package idaas

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// live returns a poller that walks only what is active, where that is cheaper.
func (a *api) live(c *Client, targets ...poller.Target) *poller.Poller {
	return poller.New(poller.Config{
		Source: c, Live: c, Schedule: every(5 * time.Minute), Targets: targets, Concurrency: max(1, len(targets)), Timeout: time.Hour,
		Log: slog.New(slog.NewTextHandler(&a.log, nil)),
	})
}

// crowd makes tokens with some of each state, of which only some of the expiring few are alike.
func crowd(active, endless, expired, revoked int) []simulator.Token {
	var all []simulator.Token
	now := time.Now()
	add := func(n int, t func(i int) simulator.Token) {
		for i := range n {
			token := t(i)
			token.ID = fmt.Sprintf("t%05d", len(all))
			token.Created = now.Add(-time.Duration(rand.IntN(1e6)) * time.Second)
			all = append(all, token)
		}
	}
	add(active, func(i int) simulator.Token {
		return simulator.Token{Expires: now.Add(time.Duration(i+1) * time.Minute)}
	})
	add(endless, func(i int) simulator.Token { return simulator.Token{ExpiresAs: simulator.Form(i % 4)} })
	add(expired, func(i int) simulator.Token { return simulator.Token{Expires: now.Add(-time.Duration(i) * time.Minute)} })
	add(revoked, func(i int) simulator.Token {
		return simulator.Token{Revoked: true, Expires: now.Add(time.Duration(i-revoked/2) * time.Minute)}
	})
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func pagesOf(tokens, size int) int { return max(1, (tokens+size-1)/size) }

// shown is all of a reading that is published as a gauge, except when it was read.
func shown(t *testing.T, r *poller.Reading, now time.Time) string {
	t.Helper()
	if r.Census == nil {
		t.Fatalf("%s: not read: %+v", r.Target.Consumer, r.Failure)
	}
	c := r.Census
	s := c.At(now)
	text := fmt.Sprintln(s.Total, s.Active, s.Expired, s.Revoked, s.NeverExpiring, s.Earliest, s.Latest, s.LastActive, c.Lifetime, c.NewestIssue, c.Reported, c.Soonest)
	for _, d := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		text += fmt.Sprintln(d, s.Expiring(d))
	}
	if c.Info != nil {
		text += fmt.Sprintf("%+v", *c.Info)
	}
	return text
}

// What does not change is the same whichever way it is walked, at the walk and later; and no way takes a request more than
// it must.
func TestALiveWalkEqualsAFullOne(t *testing.T) {
	const size = 10
	for n := range 40 {
		few := func(most int) int { return max(0, rand.IntN(most)-most/4) }
		active, endless, expired, revoked := few(60), few(30), few(200), few(200)
		if n == 0 {
			active, endless, expired, revoked = 0, 0, 0, 0
		}
		name := fmt.Sprintf("%d active, %d endless, %d expired, %d revoked", active, endless, expired, revoked)
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.Config{Seconds: n%5 == 1, End: simulator.End(n % 3)})
			a.Add("consumer", "provider", crowd(active, endless, expired, revoked)...)
			c := a.client(pageSize(size), rateLimit(1e9)) // so that no time passes
			full, live := a.poller(c, 1, target("consumer", "provider")), a.live(c, target("consumer", "provider"))
			full.Once(t.Context())
			total := active + endless + expired + revoked
			before := a.Requests(simulator.List)
			if want := pagesOf(total, size); before != want {
				t.Errorf("%s: %d requests for a full walk, want %d", name, before, want)
			}
			for cycle := range 2 {
				before := a.Requests(simulator.List)
				live.Once(t.Context())
				least := min(pagesOf(total, size), 3+pagesOf(active+endless, size))
				most := least
				if cycle == 0 && total > 4*size {
					most = 3 + pagesOf(active+endless, size) // nothing is known yet
				}
				if got := a.Requests(simulator.List) - before; got < least || got > most {
					t.Errorf("%s, walk %d: %d requests, want %d to %d", name, cycle, got, least, most)
				}
				for _, later := range []time.Duration{0, time.Minute, 30 * time.Minute, 2 * time.Hour} {
					now := time.Now().Add(later)
					if got, want := shown(t, live.Snapshot().Readings[0], now), shown(t, full.Snapshot().Readings[0], now); got != want {
						t.Errorf("%s, walk %d, %v later:\n got %s\nwant %s", name, cycle, later, got, want)
					}
				}
			}
			if n := a.Requests(simulator.Access); n != 1 {
				t.Errorf("%d access tokens for all of this", n)
			}
		})
	}
}

// A token request at two thirds of a token's life, and none besides: three hours of cycles, counted.
func TestRequestsOfThreeHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{AccessTokenLifetime: 30 * time.Minute})
		var targets []poller.Target
		var full, live int
		for i, n := range [][4]int{{0, 0, 0, 0}, {5, 0, 0, 0}, {10, 0, 10, 10}, {100, 0, 0, 0}, {25, 1, 400, 30}, {0, 0, 300, 0}, {0, 0, 0, 51}} {
			name := fmt.Sprint("c", i)
			for j, token := range crowd(n[0], n[1], n[2], n[3]) {
				token.ID = fmt.Sprint(name, "-", j)
				if !token.Expires.IsZero() && token.Expires.After(time.Now()) {
					token.Expires = token.Expires.Add(24 * time.Hour)
				}
				a.Add(name, "provider", token)
			}
			a.Add(name, "provider")
			targets = append(targets, target(name, "provider"))
			all := n[0] + n[1] + n[2] + n[3]
			full += pagesOf(all, 10)
			live += min(pagesOf(all, 10), 3+pagesOf(n[0]+n[1], 10))
		}
		c := a.client(pageSize(10))
		for name, p := range map[string]*poller.Poller{"full": a.poller(c, 4, targets...), "live": a.live(c, targets...)} {
			want := map[string]int{"full": full, "live": live}[name]
			if name == "live" {
				p.Once(t.Context()) // to know what is cheaper
			}
			lists, tokens, start := a.Requests(simulator.List), a.Requests(simulator.Access), time.Now()
			const cycles = 36
			for range cycles {
				p.Once(t.Context())
				time.Sleep(5 * time.Minute)
			}
			if got := a.Requests(simulator.List) - lists; got != cycles*want {
				t.Errorf("%s: %d list requests in %d cycles, want %d each", name, got, cycles, want)
			}
			if got, most := a.Requests(simulator.Access)-tokens, int(time.Since(start)/(20*time.Minute))+1; got > most {
				t.Errorf("%s: %d token requests, want %d at most", name, got, most)
			}
		}
	})
}

// The expired are counted again while a token's end falls into the very request, and then no token is counted twice.
func TestATokenThatEndsWhileTheExpiredAreCounted(t *testing.T) {
	for _, tt := range []struct {
		name    string
		ends    int // tokens, one a second from the first count on
		skew    time.Duration
		counted int
	}{
		{"none", 0, 0, 1},
		{"one", 1, 0, 2},
		{"two", 2, 0, 3},
		{"more than will be waited for", 9, 0, 4},
		{"the clocks differ", 3, 10 * time.Second, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.Config{Latency: time.Second, ClockSkew: tt.skew})
			c := a.client(pageSize(10), rateLimit(1e6))
			tokens := crowd(0, 5, 100, 100)
			a.Add("consumer", "provider", tokens...)
			live := a.live(c, target("consumer", "provider"))
			live.Once(t.Context())
			// After a page and the count of the revoked, a second each.
			for i := range tt.ends {
				a.Add("consumer", "provider", simulator.Token{Expires: time.Now().Add(time.Duration(2500+1000*i) * time.Millisecond)})
			}
			from := len(a.Log())
			live.Once(t.Context())
			got := 0
			for _, r := range a.Log()[from:] {
				if strings.Contains(r.Query, "expired=true") {
					got++
				}
			}
			if tt.skew == 0 && got != tt.counted || got < 1 || got > 4 {
				t.Errorf("%s: the expired were counted %d times, want %d", tt.name, got, tt.counted)
			}
			if tt.ends < 4 {
				a.checkCounts(t, live.Snapshot().Readings[0])
			}
		})
	}
}

func TestALiveWalkNeedsTotals(t *testing.T) {
	for _, tt := range []struct{ query, want string }{
		{"&revoked=true", "the count of revoked tokens: no totalCount"},
		{"&revoked=false&expired=true", "the count of expired tokens: no totalCount"},
		{"maxResults=1", "the count of all tokens: no totalCount"},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.Config{})
			a.Add("consumer", "provider", crowd(5, 0, 200, 200)...)
			c := a.client(func(c *Config) {
				c.Transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
					if strings.HasSuffix(r.URL.RawQuery, tt.query) {
						return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"entities":[]}`)), ContentLength: -1}, nil
					}
					return a.transport.RoundTrip(r)
				})
			})
			live := a.live(c, target("consumer", "provider"))
			live.Once(t.Context())
			live.Once(t.Context())
			r := live.Snapshot().Readings[0]
			if r.Failure == nil || r.Failure.Reason != poller.Malformed || !strings.Contains(r.Failure.Text, tt.want) {
				t.Errorf("%s: %+v %+v, want %s", tt.query, r.Census, r.Failure, tt.want)
			}
		})
	}
}

func TestLiveRequestsAreRetriedLikeOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		a.Add("consumer", "provider", crowd(5, 0, 200, 200)...)
		c := a.client(pageSize(10))
		live := a.live(c, target("consumer", "provider"))
		live.Once(t.Context())
		for _, f := range []simulator.Fault{{Kind: simulator.Status, Status: 503, Times: 2}, {Kind: simulator.Status, Status: 401, Times: 1}} {
			f.Operation = simulator.List
			a.Inject(f)
			live.Once(t.Context())
			a.checkCounts(t, live.Snapshot().Readings[0])
		}
	})
}
