package idaas

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// Requests with a connection are sent at the rate, but none waits for less than minSleep: otherwise one request that is late by less
// makes all later ones wait twice.
func TestMinSleep(t *testing.T) {
	for _, tt := range []struct{ after, want time.Duration }{
		{0, 10 * time.Millisecond},
		{8 * time.Millisecond, 2 * time.Millisecond},
		{9 * time.Millisecond, 0},
		{9500 * time.Microsecond, 0},
		{20 * time.Millisecond, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(100, NoEvents{})
			l.send(t.Context())
			time.Sleep(tt.after)
			start := time.Now()
			l.send(t.Context())
			if got := time.Since(start).Round(time.Microsecond); got != tt.want {
				t.Errorf("%v after the one before: waited %v, want %v", tt.after, got, tt.want)
			}
		})
	}
}

// Each API has its own rate limit and pauses. They do not delay the other API.
func TestEachAPIHasItsLimiter(t *testing.T) {
	withKeys(t, testKeyID, testKeySecret, "")
	user := simulator.RAMUser{AccessKeyID: testKeyID, AccessKeySecret: testKeySecret}
	const hint = 100 * time.Second
	for name, tt := range map[string]struct {
		throttled          string        // operation
		listed, discovered time.Duration // the earliest end of the calls of each API
	}{
		"neither throttles":            {"none", 0, 0},
		"the management API throttles": {simulator.Providers, 0, hint},
		"the developer API throttles":  {simulator.List, hint, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.WithRAM(simulator.Config{}, user))
			targets := a.fill(20, 1)
			c := a.client(rateLimit(2), func(c *Config) { c.Management = "http://management.test" })
			if _, err := c.token(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			a.Inject(simulator.Fault{Kind: simulator.Throttle, Operation: tt.throttled, RetryAfter: "100", Times: 1})
			start := time.Now()
			var listed, discovered time.Duration
			var wg sync.WaitGroup
			wg.Go(func() {
				for range 20 {
					if _, err := c.Providers(t.Context()); err != nil {
						t.Error(err)
					}
				}
				discovered = time.Since(start)
			})
			wg.Go(func() {
				for _, r := range a.poll(t, c, targets...) {
					a.checkCounts(t, r)
				}
				listed = time.Since(start)
			})
			wg.Wait()
			const paced = 10 * time.Second // 20 requests, two per second
			for what, took := range map[string][2]time.Duration{"the walks": {listed, tt.listed}, "the lists": {discovered, tt.discovered}} {
				if took[0] < took[1] || took[0] > took[1]+paced+time.Second {
					t.Errorf("%s: %s took %v, want %v and up to %v", name, what, took[0], took[1], paced)
				}
			}
		})
	}
}

// A pause that begins before a request has its connection is not part of its timeout, uses no retry and does not replace the transport.
func TestAPauseIsNoTimeout(t *testing.T) {
	const timeout = 10 * time.Second
	for name, tt := range map[string]struct {
		pause, connect, respond time.Duration
		closed                  bool // by the server, during the pause
		reason                  poller.Reason
	}{
		"no pause":                          {connect: 3 * time.Second, respond: 6 * time.Second},
		"too slow without a pause":          {connect: 3 * time.Second, respond: 8 * time.Second, reason: poller.Timeout},
		"connecting takes too long":         {connect: 11 * time.Second, reason: poller.Timeout},
		"a pause":                           {pause: time.Minute, connect: time.Second},
		"the longest pause":                 {pause: time.Hour, connect: 9 * time.Second},
		"a pause, and a slow response":      {pause: time.Minute, connect: 3 * time.Second, respond: 9 * time.Second},
		"a pause, and no response":          {pause: time.Minute, connect: time.Second, respond: 11 * time.Second, reason: poller.Timeout},
		"a pause as long as the connecting": {pause: 3 * time.Second, connect: 3 * time.Second, respond: 6 * time.Second},
		"closed during a pause":             {pause: time.Minute, connect: time.Second, closed: true},
		"closed without a pause":            {connect: time.Second, closed: true, reason: poller.Connection},
	} {
		synctest.Test(t, func(t *testing.T) {
			var c *Client
			closed := tt.closed
			a := &api{}
			transport := roundTripFunc(func(r *http.Request) (*http.Response, error) {
				wait := func(d time.Duration) error {
					select {
					case <-time.After(d):
						return nil
					case <-r.Context().Done():
						return context.Cause(r.Context())
					}
				}
				if err := wait(tt.connect); err != nil {
					return nil, err
				}
				httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
				if c.developer.pauseLeft() > 0 {
					t.Errorf("%s: sent in a pause", name)
				}
				if closed {
					closed = false
					return nil, io.EOF
				}
				if err := wait(tt.respond); err != nil {
					return nil, err
				}
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"totalCount":0}`))}, nil
			})
			c = a.client(readyText("ready"), retries(0), func(c *Config) { c.Transport, c.Timeout = transport, timeout })
			time.AfterFunc(tt.connect/2, func() { c.developer.pause(tt.pause) })
			before := c.transport.Load()
			err := c.newWalk(target("consumer", "provider")).list(t.Context())
			if got := poller.ReasonOf(err); err != nil && got != tt.reason || err == nil && tt.reason != "" {
				t.Errorf("%s: %v, want %q", name, err, tt.reason)
			}
			if events := a.events.soFar(); events.retries > 0 || c.transport.Load() != before {
				t.Errorf("%s: %d retries, another transport: %v", name, events.retries, c.transport.Load() != before)
			}
		})
	}
}

// The clock skew is computed from responses of the server, not of a cache.
func TestCachedResponsesHaveNoClock(t *testing.T) {
	for name, tt := range map[string]struct {
		header http.Header
		skew   bool
	}{
		"no cache":          {http.Header{}, true},
		"just fetched":      {http.Header{"Age": {"0"}}, true},
		"an hour old":       {http.Header{"Age": {"3600"}}, false},
		"of two caches":     {http.Header{"Age": {"0", "5"}}, false},
		"an unreadable age": {http.Header{"Age": {"old"}}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &api{}
			date := time.Now().Add(-time.Hour)
			a.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				maps.Copy(w.Header(), tt.header)
				w.Header().Set("Date", date.UTC().Format(http.TimeFormat))
				fmt.Fprint(w, `{"instance_id":"idaas_x"}`)
			}))
			c := a.client(readyText("ready"), func(c *Config) {
				c.Domain, c.InstanceID = "http://domain.test", ""
			})
			if _, err := c.instance.get(t.Context()); err != nil {
				t.Fatal(err)
			}
			if skew := a.events.soFar().skew; len(skew) > 0 != tt.skew {
				t.Errorf("%s: skew %v", name, skew)
			}
			header := maps.Clone(tt.header)
			header.Set("Date", date.UTC().Format(http.TimeFormat))
			header.Set("Retry-After", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
			want := time.Minute
			if tt.skew {
				want += time.Hour
			}
			if got := retryAfter(header, time.Now()); got != want {
				t.Errorf("%s: retry after %v, want %v", name, got, want)
			}
		})
	}
}
