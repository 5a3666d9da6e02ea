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

// live returns a poller that walks live if that takes fewer requests.
func (a *api) live(c *Client, targets ...poller.Target) *poller.Poller {
	return poller.New(poller.Config{
		Source: c, Live: c, Schedule: poller.Schedule{Calendar: every(5 * time.Minute)},
		Targets: targets, Concurrency: max(1, len(targets)), Timeout: time.Hour,
		Log: slog.New(slog.NewTextHandler(&a.log, nil)),
	})
}

// crowd returns tokens of every state. Some of those that expire have the same time.
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

// shown is all of a published reading, without the time of the walk.
func shown(t *testing.T, r *poller.Reading, now time.Time) string {
	t.Helper()
	if r.Census == nil {
		t.Fatalf("%s: not read: %+v", r.Target.Consumer, r.Failure)
	}
	c := r.Census
	s := c.At(now)
	text := fmt.Sprintln(
		s.Total, s.Active, s.Expired, s.Revoked, s.NeverExpiring, s.Earliest, s.Latest, s.LastActive, c.Lifetime, c.NewestIssue, c.Reported,
		c.Soonest,
	)
	for _, d := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		text += fmt.Sprintln(d, s.Expiring(d))
	}
	if c.Info != nil {
		text += fmt.Sprintf("%+v", *c.Info)
	}
	return text
}

// Unchanged tokens have the same counts with full and live walks, at the walk and later. No walk sends more requests than necessary.
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
					most = 4 + pagesOf(active+endless, size) // the first page of all shows that
					if pagesOf(total, size) < most {
						most += pagesOf(total, size)
					}
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

// Requests of three hours: one token request at two thirds of each token's life, and those of the cycles.
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

// A token that expires during the walk counts once, with any clock of the API.
func TestTokensThatExpireDuringALiveWalk(t *testing.T) {
	for _, skew := range []time.Duration{0, 30 * time.Second, -30 * time.Second, 10 * time.Minute, -10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.Config{Latency: time.Second, ClockSkew: skew})
			a.Add("consumer", "provider", crowd(0, 20, 300, 300)...)
			fallbacks := 0
			live := poller.New(a.liveConfig(a.client(pageSize(10), rateLimit(1e6)), &fallbacks, target("consumer", "provider")))
			live.Once(t.Context())
			// By the clock of the API, all expire during the walk.
			for i := range 26 {
				a.Add("consumer", "provider", simulator.Token{Expires: time.Now().Add(skew + time.Duration(1100+150*i)*time.Millisecond)})
			}
			live.Once(t.Context())
			got := live.Snapshot().Readings[0].Census.At(time.Now().Add(max(0, skew)))
			if got.Total != 646 || got.Expired != 326 || got.Revoked != 300 || fallbacks > 0 {
				t.Errorf("%v: %d in all, %d expired, %d revoked, %d fallbacks", skew, got.Total, got.Expired, got.Revoked, fallbacks)
			}
		})
	}
}

func (a *api) liveConfig(c *Client, fallbacks *int, targets ...poller.Target) poller.Config {
	return poller.Config{
		Source: c, Live: c, Schedule: poller.Schedule{Calendar: every(5 * time.Minute)}, Targets: targets, Concurrency: 1, Timeout: time.Hour,
		Log: slog.New(slog.NewTextHandler(&a.log, nil)), Events: poller.Events{LiveFallback: func() { *fallbacks++ }},
	}
}

// An API that ignores filters, or has wrong totals, causes more requests, never a wrong number.
func TestLiesCostRequestsOnly(t *testing.T) {
	raw := func(r *http.Request, query, body string) (*http.Response, bool) {
		if !strings.HasSuffix(r.URL.RawQuery, query) {
			return nil, false
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}, true
	}
	for name, tt := range map[string]struct {
		config    simulator.Config
		query     string // responses without totalCount
		fallbacks int    // of two walks
		reported  int64
	}{
		"honest":                 {config: simulator.Config{}, reported: 805},
		"text":                   {config: simulator.Config{Total: simulator.AsText}, reported: 805},
		"fraction":               {config: simulator.Config{Total: simulator.WithFraction}, reported: 805},
		"revoked ignored":        {config: simulator.Config{IgnoredFilters: []string{"revoked"}}, fallbacks: 2, reported: 805},
		"expired ignored":        {config: simulator.Config{IgnoredFilters: []string{"expired"}}, fallbacks: 2, reported: 805},
		"both ignored":           {config: simulator.Config{IgnoredFilters: []string{"revoked", "expired"}}, fallbacks: 2, reported: 805},
		"no totals":              {config: simulator.Config{OmitTotalCount: true}, fallbacks: 1, reported: -1},
		"of the page":            {config: simulator.Config{Total: simulator.OfPage}, fallbacks: 1, reported: 10},
		"remaining":              {config: simulator.Config{Total: simulator.Remaining}, reported: 805},
		"capped at 100":          {config: simulator.Config{Total: simulator.Capped(100)}, fallbacks: 2, reported: 100},
		"no total of revoked":    {query: "&revoked=true", fallbacks: 2, reported: 805},
		"no total of expired":    {query: "maxResults=1&revoked=false&expired=true", fallbacks: 2, reported: 805},
		"no total of all":        {query: "maxResults=1", fallbacks: 2, reported: 805},
		"active list is refused": {query: "refuse", fallbacks: 2, reported: 805},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, tt.config)
			a.Add("consumer", "provider", crowd(5, 0, 400, 400)...)
			c := a.client(pageSize(10), func(c *Config) {
				c.Transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
					if tt.query == "refuse" && strings.Contains(r.URL.RawQuery, "expired=false") {
						return &http.Response{StatusCode: 400, Header: http.Header{}, Body: http.NoBody}, nil
					}
					if tt.query != "" {
						if resp, ok := raw(r, tt.query, `{"entities":[]}`); ok {
							return resp, nil
						}
					}
					return a.transport.RoundTrip(r)
				})
			})
			fallbacks := 0
			live := poller.New(a.liveConfig(c, &fallbacks, target("consumer", "provider")))
			for range 2 {
				live.Once(t.Context())
				a.checkCounts(t, live.Snapshot().Readings[0])
			}
			if r := live.Snapshot().Readings[0].Census; fallbacks != tt.fallbacks || r != nil && r.Reported != tt.reported {
				t.Errorf("%s: %d fallbacks, want %d: %+v", name, fallbacks, tt.fallbacks, r)
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
