package idaas

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

func TestHints(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, tt := range []struct {
		name   string
		header map[string]string
		want   time.Duration
	}{
		{"none", nil, 0},
		{"seconds", map[string]string{"Retry-After": "7"}, 7 * time.Second},
		{"zero seconds", map[string]string{"Retry-After": "0"}, 0},
		{"negative seconds", map[string]string{"Retry-After": "-7"}, 0},
		{"a fraction is no hint", map[string]string{"Retry-After": "1.5"}, 0},
		{"words", map[string]string{"Retry-After": "soon"}, 0},
		{"very many seconds", map[string]string{"Retry-After": "99999999999999999999"}, maxRetryAfter},
		{"a date", map[string]string{"Retry-After": date(30 * time.Second)}, 30 * time.Second},
		{"a date past", map[string]string{"Retry-After": date(-30 * time.Second)}, 0},
		{
			"a date by a clock ahead",
			map[string]string{"Retry-After": date(time.Hour + 30*time.Second), "Date": date(time.Hour)},
			30 * time.Second,
		},
		{
			"a date by a clock behind",
			map[string]string{"Retry-After": date(-time.Hour + 30*time.Second), "Date": date(-time.Hour)},
			30 * time.Second,
		},
		{"a date, and no valid clock", map[string]string{"Retry-After": date(30 * time.Second), "Date": "today"}, 30 * time.Second},
		{"user", map[string]string{"x-ratelimit-user": "Limit:1,Remain:0,TimeLeft:2000,Reset:1234"}, 2 * time.Second},
		{"api", map[string]string{"x-ratelimit-user-api": "Limit:1,Remain:0,TimeLeft:1500,Reset:1234"}, 1500 * time.Millisecond},
		{"spaces and case", map[string]string{"x-ratelimit-user": " Limit: 1 , timeleft: 2000 "}, 2 * time.Second},
		{"nothing but TimeLeft counts", map[string]string{"x-ratelimit-user": "Limit:1,Remain:0,Reset:1234"}, 0},
		{"not a number", map[string]string{"x-ratelimit-user": "TimeLeft:much"}, 0},
		{"negative", map[string]string{"x-ratelimit-user": "TimeLeft:-2000"}, 0},
		{"very many milliseconds", map[string]string{"x-ratelimit-user": "TimeLeft:99999999999999999999"}, maxRetryAfter},
		{"garbage", map[string]string{"x-ratelimit-user": ":,,::,TimeLeft", "x-ratelimit-user-api": "TimeLeft:1:2"}, 0},
		{"the vendor's own", map[string]string{"x-acs-retry-after": "1500"}, 1500 * time.Millisecond},
		{"the vendor's own, very long", map[string]string{"x-acs-retry-after": "99999999999999999999"}, maxRetryAfter},
		{"the vendor's own, no number", map[string]string{"x-acs-retry-after": "soon"}, 0},
		{"the larger wins", map[string]string{"x-acs-retry-after": "6000", "x-ratelimit-user": "TimeLeft:2000"}, 6 * time.Second},
		{
			"the larger wins",
			map[string]string{"Retry-After": "3", "x-ratelimit-user": "TimeLeft:2000", "x-ratelimit-user-api": "TimeLeft:1000"},
			3 * time.Second,
		},
		{
			"the larger wins",
			map[string]string{"Retry-After": "3", "x-ratelimit-user": "TimeLeft:4000", "x-ratelimit-user-api": "TimeLeft:1000"},
			4 * time.Second,
		},
		{
			"the larger wins",
			map[string]string{"Retry-After": "3", "x-ratelimit-user": "TimeLeft:4000", "x-ratelimit-user-api": "TimeLeft:5000"},
			5 * time.Second,
		},
	} {
		header := http.Header{}
		for name, value := range tt.header {
			header.Set(name, value)
		}
		if got := min(maxRetryAfter, retryAfter(header, now)); got != tt.want {
			t.Errorf("%s: %v: %v, want %v", tt.name, tt.header, got, tt.want)
		}
	}
}

// In each case the first list call of one target gets this response, and another target is walked soon after. The test checks the times of
// the next requests.
func TestAHintStopsAllRequests(t *testing.T) {
	const none = time.Duration(0)
	for _, tt := range []struct {
		name  string
		fault simulator.Fault
		pause time.Duration
	}{
		{"429, seconds", simulator.Fault{Kind: simulator.Throttle, RetryAfter: "30"}, 30 * time.Second},
		{"429, a date", simulator.Fault{Kind: simulator.Throttle, RetryAfter: "Wed, 01 Jan 2020 00:00:40 GMT"}, 40 * time.Second},
		{"429, user", simulator.Fault{Kind: simulator.Throttle, TimeLeft: 2500 * time.Millisecond}, 2500 * time.Millisecond},
		{"429, api", simulator.Fault{Kind: simulator.Throttle, TimeLeftAPI: 5 * time.Second}, 5 * time.Second},
		{
			"429, all three",
			simulator.Fault{Kind: simulator.Throttle, RetryAfter: "3", TimeLeft: 9 * time.Second, TimeLeftAPI: 5 * time.Second},
			9 * time.Second,
		},
		{"429, an hour is too long", simulator.Fault{Kind: simulator.Throttle, RetryAfter: "3600"}, 2 * time.Minute},
		{"429, an hour is too long", simulator.Fault{Kind: simulator.Throttle, TimeLeft: time.Hour}, 2 * time.Minute},
		{"429 of another code", simulator.Fault{Kind: simulator.Status, Status: 429, Code: "whatever", RetryAfter: "30"}, 30 * time.Second},
		{"429 as plain text", simulator.Fault{Kind: simulator.Throttle, Shape: simulator.ShapeText, RetryAfter: "30"}, 30 * time.Second},
		{"429 without a hint", simulator.Fault{Kind: simulator.Throttle}, none},
		{"503 with Retry-After", simulator.Fault{Kind: simulator.Status, Status: 503, RetryAfter: "30"}, 30 * time.Second},
		{"503 with both", simulator.Fault{Kind: simulator.Status, Status: 503, RetryAfter: "30", TimeLeft: time.Minute}, time.Minute},
		{"503 with TimeLeft only", simulator.Fault{Kind: simulator.Status, Status: 503, TimeLeft: 30 * time.Second}, none},
		{"503 with a throttling code", simulator.Fault{Kind: simulator.Throttle, Status: 503, TimeLeft: 30 * time.Second}, 30 * time.Second},
		{
			"400 with a throttling code",
			simulator.Fault{Kind: simulator.Throttle, Status: 400, Shape: simulator.ShapeGateway, TimeLeft: 30 * time.Second},
			30 * time.Second,
		},
		{
			"403 with a throttling code",
			simulator.Fault{Kind: simulator.Throttle, Status: 403, Code: "Throttling", RetryAfter: "30"},
			30 * time.Second,
		},
		{
			"200 with a throttling code",
			simulator.Fault{Kind: simulator.Throttle, Status: 200, Code: "Throttling.Api", RetryAfter: "30"},
			30 * time.Second,
		},
		{
			"500 with a throttling code",
			simulator.Fault{Kind: simulator.Throttle, Status: 500, Shape: simulator.ShapeLower, RetryAfter: "30"},
			30 * time.Second,
		},
		{"500 with hints", simulator.Fault{Kind: simulator.Status, RetryAfter: "30", TimeLeft: 30 * time.Second}, none},
		{"502 with hints", simulator.Fault{Kind: simulator.Status, Status: 502, RetryAfter: "30"}, none},
		{"404 with hints", simulator.Fault{Kind: simulator.Status, Status: 404, RetryAfter: "30"}, none},
		{"302 with hints", simulator.Fault{Kind: simulator.Redirect, RetryAfter: "30"}, none},
		{
			"a right answer with hints",
			simulator.Fault{Kind: simulator.Slow, RetryAfter: "30", TimeLeft: 30 * time.Second, AcsAfter: 30 * time.Second},
			none,
		},
		{
			"400 with the vendor's header",
			simulator.Fault{Kind: simulator.Status, Status: 400, AcsAfter: 2500 * time.Millisecond},
			2500 * time.Millisecond,
		},
		{"401 with the vendor's header", simulator.Fault{Kind: simulator.Status, Status: 401, AcsAfter: 30 * time.Second}, 30 * time.Second},
		{
			"500 with the vendor's header and others",
			simulator.Fault{Kind: simulator.Status, RetryAfter: "40", AcsAfter: 30 * time.Second},
			40 * time.Second,
		},
		{"HTML with the vendor's header", simulator.Fault{Kind: simulator.HTML, AcsAfter: 30 * time.Second}, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{})
				a.fill(3, 3)
				c := a.client(pageSize(10))
				if _, err := c.token(t.Context()); err != nil {
					t.Fatal(err)
				}
				tt.fault.Consumer, tt.fault.Times = "consumer-0", 1
				a.Inject(tt.fault)
				start := time.Now()
				readings := a.poll(t, c, target("consumer-0", "provider"))
				if tt.pause > 0 {
					a.checkCounts(t, readings[0])
					if waited := time.Since(start); waited < tt.pause || waited > tt.pause+50*time.Millisecond {
						t.Errorf("came back after %v, want %v", waited, tt.pause)
					}
				} else if d := time.Since(start); d > baseBackoff+50*time.Millisecond {
					t.Errorf("paused for %v", d)
				}

				// The same again, with other walks about to start.
				if strings.HasSuffix(tt.fault.RetryAfter, "GMT") {
					tt.fault.RetryAfter = time.Now().Add(tt.pause).UTC().Format(http.TimeFormat)
					tt.pause = tt.pause.Truncate(time.Second)
				}
				a.Inject(tt.fault)
				start = time.Now()
				p := a.poller(c, 3, target("consumer-0", "provider"), target("consumer-1", "provider"), target("consumer-2", "provider"))
				before := len(a.Log())
				p.Once(t.Context())
				refused := false
				for _, r := range a.Log()[before:] {
					after := r.Time.Sub(start)
					if refused && after < tt.pause-time.Second {
						t.Errorf("a request for %s %v after the hint of %v", r.Consumer, after, tt.pause)
					}
					refused = refused || r.Consumer == "consumer-0"
				}
				if tt.pause == none && p.Snapshot().Readings[2].Census.ReadAt.Sub(start) > 50*time.Millisecond {
					t.Error("the others were paused")
				}
				if tt.pause > 0 && a.events.soFar().waited[WaitRetryAfter] < 2*tt.pause-time.Second {
					t.Errorf("waited %v for retry-after", a.events.soFar().waited)
				}
			})
		})
	}
}

func TestAPauseIsNeverShortened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		g := New(Config{RateLimit: 1000}).developer
		g.pause(time.Minute)
		g.pause(time.Second)
		time.Sleep(10 * time.Second)
		g.pause(0)
		if err := g.wait(t.Context()); err != nil || time.Since(start) != time.Minute {
			t.Errorf("passed after %v, %v", time.Since(start), err)
		}
	})
}

// A pause that begins while requests wait for the rate limit applies to them, too.
func TestAPauseHoldsForThoseWhoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(20, 1)
		c := a.client(rateLimit(2))
		if _, err := c.token(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		remove := a.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Throttle, RetryAfter: "60", Times: 1})
		defer remove()
		before := len(a.Log())
		for _, r := range a.poll(t, c, targets...) {
			a.checkCounts(t, r)
		}
		log := a.Log()[before:]
		if len(log) != 21 || log[0].Status != 429 {
			t.Fatalf("%d requests, the first answered %d", len(log), log[0].Status)
		}
		for i, r := range log[1:] {
			if after := r.Time.Sub(log[0].Time); after < time.Minute {
				t.Errorf("request %d came %v after the hint of a minute", i+1, after)
			}
		}
		if d := log[20].Time.Sub(log[1].Time); d < 19*500*time.Millisecond {
			t.Errorf("after the pause the rate limit was not kept: 20 requests in %v", d)
		}
	})
}

// A request that is abandoned while it waits for the rate limit returns its slot.
func TestAPlaceGivenUpIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{RateLimit: 1}).developer
		if err := g.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := g.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := g.wait(t.Context()); err != nil || time.Since(start) != time.Second {
			t.Errorf("the next passed after %v, want 1s; %v", time.Since(start), err)
		}
		time.Sleep(time.Second)
		if err := g.wait(ctx); err == nil {
			t.Error("passed after the end of its context")
		}
	})
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(1, 1)
		a.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Throttle, RetryAfter: "100"})
		p := poller.New(poller.Config{
			Source: a.client(), Schedule: poller.Schedule{Calendar: every(time.Hour)}, Targets: targets, Concurrency: 1, Timeout: 30 * time.Second,
			Log: a.client().config.Log,
		})
		start := time.Now()
		p.Once(t.Context())
		r := p.Snapshot().Readings[0]
		if r.Failure == nil || r.Failure.Reason != poller.Deadline || time.Since(start) != 30*time.Second {
			t.Errorf("%+v after %v", r.Failure, time.Since(start))
		}
	})
}
