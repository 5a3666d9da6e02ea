package idaas

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// liveWorld is one target that changes during live walks of an API whose clock may differ.
type liveWorld struct {
	*model
	t         *testing.T
	rand      *rand.Rand
	api       *simulator.Server
	skew      time.Duration // of the API's clock
	serial    int
	offset    bool // pages by offset
	changing  bool
	change    func(w *liveWorld)
	rewrite   [2]func(url.Values) // of the list, and of its totalCount: what the API ignores
	age       bool                // responses are from a cache, by their headers
	requests  int
	fallbacks int
	p         *poller.Poller
}

// issue adds n tokens that expire after a lifetime; half of them up to twice as late; 0: never.
func (w *liveWorld) issue(n int, lifetime time.Duration, revoked bool) {
	for range n {
		w.serial++
		f := form{exists: true, revoked: revoked}
		token := simulator.Token{ID: fmt.Sprintf("token-%06d", w.serial), Created: time.Now().Add(w.skew), Revoked: revoked}
		if lifetime != 0 {
			f.expires = token.Created.Add(lifetime + time.Duration(w.rand.Int64N(int64(lifetime.Abs())))).Truncate(time.Millisecond)
			token.Expires = f.expires
			token.Created = token.Expires.Add(-2 * lifetime.Abs())
			if lifetime > 0 {
				token.Created = time.Now().Add(w.skew)
			}
		}
		w.api.Add("consumer", "provider", token)
		w.set(token.ID, f)
	}
}

// alter changes up to n matching tokens, by the clock of the API.
func (w *liveWorld) alter(n int, state string, to func(f *form)) {
	for _, id := range slices.Sorted(maps.Keys(w.tokens)) {
		f := w.tokens[id].now()
		if f.state(time.Now().Add(w.skew)) != state {
			continue
		}
		if n--; n < 0 {
			return
		}
		if to(&f); !f.exists {
			w.api.Remove(id)
		} else {
			w.api.Update(id, func(t *simulator.Token) { t.Revoked, t.Expires = f.revoked, f.expires })
		}
		w.set(id, f)
	}
}

func comeAndGo(w *liveWorld) { w.issue(w.rand.IntN(6), 5*time.Minute, false) }

func cleanUp(state string) func(w *liveWorld) {
	return func(w *liveWorld) {
		w.issue(2, 4*time.Minute, false)
		w.alter(5, state, remove)
	}
}

func remove(f *form)    { *f = form{} }
func revoke(f *form)    { f.revoked = true }
func reinstate(f *form) { f.revoked = false }

var changes = []struct {
	name   string
	sudden bool // counts change but by issue and expiration
	change func(w *liveWorld)
}{
	{"quiet", false, func(*liveWorld) {}},
	{"issued", false, func(w *liveWorld) { w.issue(1, 24*time.Hour, false) }},
	{"issued in bursts", false, func(w *liveWorld) { w.issue(w.rand.IntN(2)*w.rand.IntN(12), 24*time.Hour, false) }},
	{"issued for good", false, func(w *liveWorld) { w.issue(1, 0, false) }},
	{"short-lived", false, func(w *liveWorld) { w.issue(2, 10*time.Second, false) }},
	{"come and go", false, comeAndGo},
	{"revoked", true, func(w *liveWorld) { w.alter(2, active, revoke) }},
	{"expired ones revoked", true, func(w *liveWorld) { w.alter(2, expired, revoke) }},
	{"reinstated", true, func(w *liveWorld) { w.alter(2, revoked, reinstate) }},
	{"removed", true, func(w *liveWorld) { w.alter(1, active, remove) }},
	{"expired ones removed", true, cleanUp(expired)},
	{"revoked ones removed", true, cleanUp(revoked)},
}

var clocks = []struct {
	name   string
	honest bool
	set    func(w *liveWorld, c *simulator.Config)
}{
	{"clocks agree", true, func(*liveWorld, *simulator.Config) {}},
	{"apart, Date right", true, func(w *liveWorld, _ *simulator.Config) { w.apart() }},
	{"apart, Date absent, cached or wrong", false, func(w *liveWorld, c *simulator.Config) {
		w.apart()
		switch w.rand.IntN(3) {
		case 0:
			c.OmitDate = true
		case 1:
			w.age = true
		case 2:
			c.DateSkew = -w.skew + time.Duration(w.rand.IntN(1200)-600)*time.Second
		}
	}},
}

func (w *liveWorld) apart() { w.skew = time.Duration(w.rand.IntN(1200)-600) * time.Second }

// newLiveWorld must be called inside a bubble.
func newLiveWorld(t *testing.T, seed uint64, c simulator.Config, set func(*liveWorld, *simulator.Config)) *liveWorld {
	w := &liveWorld{model: &model{tokens: map[string]*life{}}, t: t, rand: rand.New(rand.NewPCG(seed, 0)), change: changes[0].change}
	time.Sleep(time.Until(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)))
	set(w, &c)
	w.offset = seed%2 == 0
	c.ClockSkew, c.OffsetCursor, c.Clients = w.skew, w.offset, []simulator.Client{{ID: testClient, Secret: testSecret}}
	c.Latency = time.Duration(50+w.rand.IntN(1950)) * time.Millisecond
	w.api = simulator.New(c)
	a := &api{Server: w.api}
	client := a.client(pageSize(10), rateLimit(1e6), func(c *Config) { c.Transport = w })
	w.p = poller.New(a.liveConfig(client, &w.fallbacks, target("consumer", "provider")))
	w.issue(1+w.rand.IntN(50), 24*time.Hour, false)
	w.issue(w.rand.IntN(8), 0, false)
	w.issue(100+w.rand.IntN(100), -48*time.Hour, false)
	w.issue(50+w.rand.IntN(100), 24*time.Hour, true)
	return w
}

var totalCount = regexp.MustCompile(`"totalCount":\d+`)

// RoundTrip changes tokens before each list request, and rewrites the request for the API.
func (w *liveWorld) RoundTrip(r *http.Request) (*http.Response, error) {
	isList := strings.HasSuffix(r.URL.Path, "authenticationTokens")
	if isList {
		w.requests++
	}
	if isList && w.changing && w.rand.IntN(2) == 0 {
		w.change(w)
	}
	send := func(rewrite func(url.Values)) *httptest.ResponseRecorder {
		r := r.Clone(r.Context())
		if r.Body == nil {
			r.Body = http.NoBody
		}
		if rewrite != nil && isList {
			query := r.URL.Query()
			rewrite(query)
			r.URL.RawQuery = query.Encode()
		}
		answer := httptest.NewRecorder()
		w.api.ServeHTTP(answer, r)
		return answer
	}
	answer := send(w.rewrite[0])
	if isList && w.rewrite[1] != nil {
		query := func(q url.Values) { q.Del("nextToken"); w.rewrite[1](q) }
		body := totalCount.ReplaceAll(answer.Body.Bytes(), totalCount.Find(send(query).Body.Bytes()))
		answer.Body.Reset()
		answer.Body.Write(body)
	}
	if w.age {
		answer.Header().Set("Age", "600")
	}
	return answer.Result(), nil
}

// walk polls once, and returns the errors of the outcome; empty if there are none.
func (w *liveWorld) walk() string {
	time.Sleep(time.Millisecond) // what was changed now was not changed during the walk
	w.changing = true
	w.p.Once(w.t.Context())
	w.changing = false
	r := w.p.Snapshot().Readings[0]
	if r.Failure != nil {
		return r.Failure.Text
	}
	c := r.Census
	start, end := c.ReadAt.Add(-c.Took), c.ReadAt
	b := w.bounds(start, end, false, end, end.Add(max(0, w.skew)))
	b.loose = b.changes
	if w.offset { // what expires has the tokens after it move to pages that were read
		for _, l := range w.tokens {
			left := l.now().expires.Sub(start)
			if took := end.Sub(start); left >= 0 && left <= took || left >= w.skew && left <= w.skew+took {
				b.loose++
			}
		}
	}
	return b.wrong(c.At(end))
}

// The numbers of live walks differ by at most the number of changes. If the clock of the API differs by minutes
// and the responses do not show that, 1 of 20 walks may be wrong.
func TestLiveWalksOfAllThatChanges(t *testing.T) {
	for _, clock := range clocks {
		for _, sudden := range []bool{false, true} {
			walks, fallbacks, requests, full := 0, 0, 0, 0
			var wrong []string // reported at the end: the first failure in a bubble ends the test
			for n, change := range changes {
				if change.sudden != sudden {
					continue
				}
				for seed := range uint64(3) {
					synctest.Test(t, func(t *testing.T) {
						w := newLiveWorld(t, seed*101+uint64(n), simulator.Config{}, clock.set)
						defer w.api.Close()
						w.p.Once(t.Context())
						w.change = change.change
						w.requests, w.fallbacks = 0, 0
						for cycle := range 4 {
							for range w.rand.IntN(10) {
								time.Sleep(time.Duration(w.rand.IntN(30_000)) * time.Millisecond)
								w.change(w)
							}
							for range 30 { // to expire during the walk, by one of the clocks or both
								if time.Sleep(2 * time.Second); change.name != "quiet" {
									w.issue(w.rand.IntN(4), time.Minute, false)
								}
							}
							if fault := w.walk(); fault != "" {
								wrong = append(wrong, fmt.Sprintf("%s, seed %d, cycle %d: %s", change.name, seed, cycle, fault))
							}
							walks++
							full += pagesOf(w.api.Count("consumer", "provider", time.Now()).Total, 10)
						}
						fallbacks += w.fallbacks
						requests += w.requests
					})
				}
			}
			share := float64(requests) / float64(full)
			t.Logf("%s, sudden changes %v: %d walks, %d in full, %d wrong, %.2f of the requests of full walks",
				clock.name, sudden, walks, fallbacks, len(wrong), share)
			if clock.honest && (wrong != nil || !sudden && fallbacks > 0) || 20*len(wrong) > walks || share > 1 {
				t.Errorf("%s, sudden changes %v:\n%s", clock.name, sudden, strings.Join(wrong, "\n"))
			}
		}
	}
}

func del(names ...string) func(url.Values) {
	return func(q url.Values) {
		for _, name := range names {
			q.Del(name)
		}
	}
}

func negate(name string) func(url.Values) {
	return func(q url.Values) {
		if q.Has(name) {
			q.Set(name, fmt.Sprint(q.Get(name) != "true"))
		}
	}
}

// Wrong totals of the API cause more requests, never a wrong number.
func TestLiveWalksOfAnAPIThatLies(t *testing.T) {
	nothing := func(url.Values) {}
	var lies, walks, fallbacks int
	var faults []string
	for name, rewrite := range map[string][2]func(url.Values){
		"revoked ignored":               {del("revoked"), nil},
		"expired ignored":               {del("expired"), nil},
		"both ignored":                  {del("revoked", "expired"), nil},
		"revoked ignored by the list":   {del("revoked"), nothing},
		"expired ignored by the list":   {del("expired"), nothing},
		"both ignored by the list":      {del("revoked", "expired"), nothing},
		"revoked ignored by the totals": {nil, del("revoked")},
		"expired ignored by the totals": {nil, del("expired")},
		"both ignored by the totals":    {nil, del("revoked", "expired")},
		"revoked negated":               {negate("revoked"), nil},
		"expired negated":               {negate("expired"), nil},
		"expired negated by the totals": {nil, negate("expired")},
		"capped at 1000":                {},
		"of the page":                   {},
		"remaining":                     {},
		"absent":                        {},
	} {
		lies++
		for n, clock := range clocks {
			synctest.Test(t, func(t *testing.T) {
				w := newLiveWorld(t, uint64(n), simulator.Config{Total: map[string]simulator.Total{
					"capped at 1000": simulator.Capped(1000), "of the page": simulator.OfPage, "remaining": simulator.Remaining,
				}[name], OmitTotalCount: name == "absent"}, clock.set)
				defer w.api.Close()
				w.rewrite = rewrite
				if name == "capped at 1000" {
					w.issue(900, -48*time.Hour, false)
				}
				w.change = comeAndGo
				for cycle := range 3 {
					if wrong := w.walk(); wrong != "" {
						faults = append(faults, fmt.Sprintf("%s, %s, cycle %d: %s", name, clock.name, cycle, wrong))
					}
					walks++
					time.Sleep(time.Minute)
				}
				fallbacks += w.fallbacks
			})
		}
	}
	t.Logf("%d lies, %d walks, %d in full", lies, walks, fallbacks)
	if slices.Sort(faults); faults != nil {
		t.Errorf("%d walks are wrong:\n%s", len(faults), strings.Join(faults, "\n"))
	}
}

// The Date of a response is used if it differs and is not of a cache.
func TestWhenAResponseWasSent(t *testing.T) {
	sent := time.Date(2028, 1, 1, 0, 0, 0, 500e6, time.UTC)
	for name, tt := range map[string]struct {
		date     time.Duration // since sent, cut to the second
		age      []string
		from, to time.Duration
	}{
		"same":         {0, nil, 0, time.Second},
		"behind":       {-time.Minute, nil, -time.Minute - 500*time.Millisecond, time.Second},
		"ahead":        {time.Minute, nil, 0, time.Minute + 500*time.Millisecond},
		"fresh":        {time.Minute, []string{"0"}, 0, time.Minute + 500*time.Millisecond},
		"from a cache": {-time.Minute, []string{"60"}, 0, time.Second},
	} {
		header := http.Header{"Date": {sent.Add(tt.date).Format(http.TimeFormat)}, "Age": tt.age}
		from, to := (&call{header: header, sent: sent, took: time.Second}).responseTime()
		if from.Sub(sent) != tt.from || to.Sub(sent) != tt.to {
			t.Errorf("%s: from %v to %v, want %v to %v", name, from.Sub(sent), to.Sub(sent), tt.from, tt.to)
		}
	}
}
