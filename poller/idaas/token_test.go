package idaas

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// fill adds targets with the given number of tokens.
func (a *api) fill(targets, tokens int) []poller.Target {
	var all []poller.Target
	for i := range targets {
		consumer := fmt.Sprint("consumer-", i)
		a.Add(consumer, "provider", mixed(consumer, tokens)...)
		all = append(all, target(consumer, "provider"))
	}
	return all
}

func failures(readings []*poller.Reading) map[poller.Reason]int {
	failed := map[poller.Reason]int{}
	for _, r := range readings {
		if r.Failure != nil {
			failed[r.Failure.Reason]++
		}
	}
	return failed
}

func TestOneAccessTokenForAllTargets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{Latency: 300 * time.Millisecond})
		p := a.poller(a.client(), 50, a.fill(200, 3)...)
		// The second poll is just before the renewal of the token.
		for _, pause := range []time.Duration{790 * time.Second, 0} {
			p.Once(t.Context())
			if failed := failures(p.Snapshot().Readings); len(failed) > 0 {
				t.Fatalf("failed: %v", failed)
			}
			time.Sleep(pause)
		}
		if n, reported := a.Requests(simulator.Access), len(a.events.soFar().expires); n != 1 || reported != 1 ||
			a.Requests(simulator.List) != 400 {
			t.Errorf("%d token requests and %d tokens reported for %d list requests", n, reported, a.Requests(simulator.List))
		}
	})
}

func TestRenewedAtTwoThirdsOfItsLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		a.Inject(simulator.Fault{Operation: simulator.Access, Kind: simulator.Slow, Delay: 5 * time.Second})
		p := a.poller(a.client(), 1, a.fill(1, 1)...)
		start := time.Now()
		for time.Since(start) < 2*time.Hour {
			p.Once(t.Context())
			time.Sleep(10 * time.Second)
		}
		var last time.Time
		n := 0
		for _, at := range a.tokenRequests() {
			if n++; n > 1 {
				if age := at.Sub(last); age < 800*time.Second || age > 811*time.Second {
					t.Errorf("renewal %d came %v after the one before, want 800s", n-1, age)
				}
			}
			last = at
		}
		if n != 9 {
			t.Errorf("%d token requests in 2 hours, want 9", n)
		}
		if failed := failures(p.Snapshot().Readings); len(failed) > 0 {
			t.Errorf("failed: %v", failed)
		}
	})
}

// tokenRequests returns the times of token requests.
func (a *api) tokenRequests() []time.Time {
	var times []time.Time
	for _, r := range a.Log() {
		if r.Operation == simulator.Access {
			times = append(times, r.Time)
		}
	}
	return times
}

func TestTheOldTokenServesWhileRenewalFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		fault  simulator.Fault
		reason poller.Reason
	}{
		{"refused", simulator.Fault{Kind: simulator.Status, Status: 401}, poller.AccessToken},
		{"server error", simulator.Fault{Kind: simulator.Status}, poller.ServerError},
		{"throttled", simulator.Fault{Kind: simulator.Throttle}, poller.Throttled},
		{"malformed", simulator.Fault{Kind: simulator.HTML}, poller.Malformed},
		{"reset", simulator.Fault{Kind: simulator.Reset}, poller.Connection},
		{"hang", simulator.Fault{Kind: simulator.Hang}, poller.Timeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{})
				a.transport.DisableKeepAlives = true
				p := a.poller(a.client(), 2, a.fill(2, 1)...)
				start := time.Now()
				p.Once(t.Context())
				tt.fault.Operation = simulator.Access
				remove := a.Inject(tt.fault)
				// While the old token is valid: no failed walk, and a bounded number of attempts.
				for time.Since(start) < 1160*time.Second {
					time.Sleep(25 * time.Second)
					p.Once(t.Context())
					if failed := failures(p.Snapshot().Readings); len(failed) > 0 {
						t.Fatalf("%v into the token's life: %v", time.Since(start), failed)
					}
				}
				tries := len(a.tokenRequests()) - 1
				if tries < 6 || tries > 30 {
					t.Errorf("%d tries to renew in the last third of its life", tries)
				}
				time.Sleep(time.Minute)
				p.Once(t.Context())
				if failed := failures(p.Snapshot().Readings); failed[tt.reason] != 2 {
					t.Errorf("after its life: %v, want all %s", failed, tt.reason)
				}
				remove()
				time.Sleep(2 * time.Second)
				p.Once(t.Context())
				if failed := failures(p.Snapshot().Readings); len(failed) > 0 {
					t.Errorf("after the outage: %v", failed)
				}
				if n := a.ExpiredTokenRequests(); n != 0 {
					t.Errorf("%d requests with an expired access token", n)
				}
				if events := a.events.soFar(); events.failed[tt.reason] < tries || len(events.failed) != 1 {
					t.Errorf("reported failures: %v", events.failed)
				}
			})
		})
	}
}

// A failed attempt to renew has no retries, because the token in use is still valid. If that expires during the attempt, a walk must
// still get its retries.
func TestAFailedRenewalCostsNoWalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{AccessTokenLifetime: 12 * time.Second})
		a.transport.DisableKeepAlives = true
		p := a.poller(a.client(), 3, a.fill(3, 1)...)
		p.Once(t.Context())
		time.Sleep(9 * time.Second)
		a.Inject(simulator.Fault{Operation: simulator.Access, Kind: simulator.Hang, Times: 1})
		p.Once(t.Context())
		if failed := failures(p.Snapshot().Readings); len(failed) > 0 {
			t.Errorf("failed: %v", failed)
		}
	})
}

func TestNoRequestCarriesAnExpiredToken(t *testing.T) {
	t.Parallel()
	type quota = simulator.Quota
	for _, tt := range []struct {
		lifetime, latency time.Duration
		rate              float64
		quota             quota
		hours             int
	}{
		{2 * time.Second, 0, 100, quota{}, 1},
		{2 * time.Second, 150 * time.Millisecond, 20, quota{}, 1},
		{3 * time.Second, 300 * time.Millisecond, 10, quota{Requests: 6, Hint: simulator.HintRetryAfter}, 1},
		{10 * time.Second, 900 * time.Millisecond, 3, quota{Requests: 9, Window: 90 * time.Second}, 1},
		{30 * time.Second, 2 * time.Second, 3, quota{Requests: 8, Hint: simulator.HintBoth}, 1},
		{time.Minute, 0, 1, quota{}, 1},
		{5 * time.Minute, 5 * time.Second, 3, quota{Requests: 10, Window: 100 * time.Second}, 1},
		{20 * time.Minute, time.Second, 3, quota{Requests: 12, Window: 2 * time.Minute}, 2},
		{20 * time.Minute, 9 * time.Second, 0.5, quota{Requests: 5, Hint: simulator.HintNone}, 1},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{AccessTokenLifetime: tt.lifetime, Latency: tt.latency, Quota: tt.quota})
				p := a.poller(a.client(rateLimit(tt.rate), pageSize(4)), 4, a.fill(6, 10)...)
				stop := run(p)
				time.Sleep(time.Duration(tt.hours) * time.Hour)
				stop()
				if n := a.ExpiredTokenRequests(); n != 0 {
					t.Errorf("%d requests of %d with an expired access token", n, a.Requests(simulator.List))
				}
				if throttled := a.events.soFar().throttled; (throttled > 0) != (tt.quota.Requests > 0) {
					t.Errorf("%d requests throttled", throttled)
				}
				good := 0
				for _, r := range p.Snapshot().Readings {
					if r.Census != nil && time.Since(r.Census.ReadAt) < 11*time.Minute {
						good++
					}
				}
				if good == 0 || a.Requests(simulator.List) < 100 {
					t.Errorf("%d of 6 targets fresh after %d requests: this proves nothing", good, a.Requests(simulator.List))
				}
			})
		})
	}
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	for _, tt := range []struct {
		name        string
		faults      []simulator.Fault
		list, token int
		reason      poller.Reason
	}{
		{"one 401", []simulator.Fault{{Operation: simulator.List, Kind: simulator.Status, Status: 401, Page: 2, Times: 1}}, 4, 2, ""},
		{
			"401 twice",
			[]simulator.Fault{{Operation: simulator.List, Kind: simulator.Status, Status: 401, Page: 2, Times: 2}},
			3, 2,
			poller.Unauthorized,
		},
		{"always 401", []simulator.Fault{{Operation: simulator.List, Kind: simulator.Status, Status: 401}}, 2, 2, poller.Unauthorized},
		{
			"401 and no new token",
			[]simulator.Fault{
				{Operation: simulator.List, Kind: simulator.Status, Status: 401},
				{Operation: simulator.Access, Kind: simulator.Status, Status: 403, When: afterASecond()},
			},
			1, 2, poller.AccessToken,
		},
		// Throttling, with any status, is not a refusal of the token.
		{
			"throttled under 401",
			[]simulator.Fault{{Operation: simulator.List, Kind: simulator.Status, Status: 401, Code: "Throttling.User", Times: 5}},
			5, 1,
			poller.Throttled,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{})
				targets := a.fill(1, 30)
				c := a.client(pageSize(10))
				if _, err := c.token(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				for _, f := range tt.faults {
					a.Inject(f)
				}
				r := a.poll(t, c, targets...)[0]
				if tt.reason == "" {
					a.checkCounts(t, r)
				} else if r.Failure == nil || r.Failure.Reason != tt.reason {
					t.Errorf("%+v, want %s", r.Failure, tt.reason)
				}
				if list, token := a.Requests(simulator.List), a.Requests(simulator.Access); list != tt.list || token != tt.token {
					t.Errorf("%d list and %d token requests, want %d and %d", list, token, tt.list, tt.token)
				}
			})
		})
	}
}

// afterASecond matches in bubbles, which start at the same time, after the first second.
func afterASecond() func(time.Time) bool {
	start := time.Date(2020, 1, 1, 0, 0, 1, 0, time.UTC)
	return func(now time.Time) bool { return now.After(start) }
}

func TestTokensRevokedInTheMiddleOfWalks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{Latency: 100 * time.Millisecond})
		targets := a.fill(50, 40)
		p := a.poller(a.client(pageSize(10)), 50, targets...)
		stop := run(p)
		time.Sleep(350 * time.Millisecond)
		a.RevokeAccessTokens()
		time.Sleep(time.Minute)
		stop()
		for _, r := range p.Snapshot().Readings {
			a.checkCounts(t, r)
		}
		events := a.events.soFar()
		if n := a.Requests(simulator.Access); n != 2 {
			t.Errorf("%d token requests, want one before and one after", n)
		}
		if refused := events.requests["list 401"]; refused == 0 || refused > 50 || events.requests["list 200"] != 200 {
			t.Errorf("requests %v", events.requests)
		}
	})
}

func TestBothWaysToSendTheSecret(t *testing.T) {
	for _, method := range []string{"client_secret_post", "client_secret_basic"} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.Config{})
			with := func(secret string) func(*Config) {
				return func(c *Config) { c.Auth.Method, c.Auth.Secret.Text = method, poller.NewSecret(secret) }
			}
			a.checkCounts(t, a.poll(t, a.client(with(testSecret)), a.fill(1, 3)...)[0])
			r := a.poll(t, a.client(with("wrong")), target("consumer-0", "provider"))[0]
			if r.Failure == nil || r.Failure.Reason != poller.AccessToken || !strings.Contains(r.Failure.Text, "invalid_client") {
				t.Errorf("%s with a wrong secret: %+v", method, r.Failure)
			}
		})
	}
}

// A ready access token has expired only if its exp is in the past. An exp that is no number is ignored.
func TestExpirationOfAReadyToken(t *testing.T) {
	now := time.Now()
	for exp, want := range map[string]string{
		``: "unknown", `null`: "unknown", `"soon"`: "unknown", `true`: "unknown", `{}`: "unknown", `[1]`: "unknown", `"NaN"`: "unknown",
		`0`: "expired", `-1`: "expired", `-0.5`: "expired", `-1e19`: "expired", `-1e400`: "expired", `1`: "expired", `1.5`: "expired",
		`1e9`: "expired", `1e-400`: "expired",
		fmt.Sprint(now.Unix() - 1): "expired", fmt.Sprint(now.Unix() + 60): "good", fmt.Sprint(now.Unix()+60) + ".75": "good",
		`"` + fmt.Sprint(now.Unix()+60) + `"`: "good", fmt.Sprint(now.UnixMilli()): "good", `253402300799`: "good", `9223372036854775807`: "good",
		`9223372036854775808`: "good", `1e12`: "good", `1e19`: "good", `1e300`: "good", `1e400`: "good",
	} {
		claims := `{"iat":"x","exp":` + exp + `}`
		if exp == "" {
			claims = `{}`
		}
		encode := base64.RawURLEncoding.EncodeToString
		token := encode([]byte(`{"alg":"ES512K"}`)) + "." + encode([]byte(claims)) + ".signature"
		events := new(recorder)
		c := New(Config{AccessToken: auth.Credential{Text: poller.NewSecret(token)}, Timeout: time.Second, Events: events})
		got, err := c.token(t.Context())
		reported := events.expires
		switch {
		case (err != nil) != (want == "expired"), (err == nil && got.expires.IsZero()) != (want == "unknown"),
			len(reported) > 0 != (want == "good"):
			t.Errorf("exp %s: expires %v, reported %v, %v; want it %s", exp, got.expires, reported, err, want)
		case want == "good" && (reported[0].Before(now) || reported[0].Year() > 9999):
			t.Errorf("exp %s: reported %v", exp, reported)
		case err != nil && !strings.Contains(err.Error(), "it expired at "):
			t.Error(err)
		}
	}
}
