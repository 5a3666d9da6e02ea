package idaas

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// TestRandomRun runs a poller, a client and the API for hours of virtual time with random changes and faults, and compares the published
// readings with a model. RANDOM_SEED=n runs only that seed, RANDOM_STEPS=n sets the duration. The seed determines the steps, but not the
// jitter of the client.
func TestRandomRun(t *testing.T) {
	t.Parallel()
	steps := 500
	if text := os.Getenv("RANDOM_STEPS"); text != "" {
		var err error
		if steps, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	seeds := []uint64{1, 2, 3, 4}
	if text := os.Getenv("RANDOM_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { newRandomRun(t, seed).run(steps) })
		})
	}
}

type randomRun struct {
	t        *testing.T
	rand     *rand.Rand
	seed     uint64
	step     int
	offset   bool // pages by offset
	live     bool // walks are live
	api      *api
	p        *poller.Poller
	targets  []poller.Target
	models   []*model
	source   *watched
	seen     []*poller.Census
	removers []func()
	tokens   int // added so far

	mu    sync.Mutex
	skew  time.Duration // of the server's clock
	skews []skewed

	checked, changed, exact int
}

// skewed is a clock skew from a time on.
type skewed struct {
	from time.Time
	by   time.Duration
}

// setSkew sets the clock skew of the server.
func (r *randomRun) setSkew(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skew, r.skews = d, append(r.skews, skewed{time.Now(), d})
}

// ahead returns the maximum clock skew of the server in a span.
func (r *randomRun) ahead(start, end time.Time) (most time.Duration) {
	for i, s := range r.skews {
		if !s.from.After(end) && (i+1 == len(r.skews) || !r.skews[i+1].from.Before(start)) {
			most = max(most, s.by)
		}
	}
	return most
}

// unreadable is a target whose walks always fail.
const unreadable = 3

func newRandomRun(t *testing.T, seed uint64) *randomRun {
	r := &randomRun{t: t, rand: rand.New(rand.NewPCG(seed, 0)), seed: seed, offset: seed%4 == 0, live: seed%2 == 1}
	r.api = newAPI(t, simulator.Config{
		Latency:             time.Duration(100+r.rand.IntN(400)) * time.Millisecond,
		AccessTokenLifetime: time.Duration(20+r.rand.IntN(600)) * time.Second,
		End:                 simulator.End(r.rand.IntN(3)),
		OffsetCursor:        r.offset,
		OmitTotalCount:      r.rand.IntN(4) == 0,
		Now: func() time.Time {
			r.mu.Lock()
			defer r.mu.Unlock()
			return time.Now().Add(r.skew)
		},
	})
	r.targets = []poller.Target{target("consumer-0", "provider"), target("consumer-1", "provider"), target("consumer-0", "other")}
	for _, target := range r.targets {
		r.api.Add(target.Consumer, target.Provider)
		r.models = append(r.models, &model{tokens: map[string]*life{}})
	}
	r.targets = append(r.targets, target("consumer-0", "unknown"))
	for range 100 {
		r.change()
	}
	r.source = &watched{client: r.api.client(pageSize(5), rateLimit(5)), last: map[poller.Key]walked{}, good: map[poller.Key]walked{}}
	r.seen = make([]*poller.Census, len(r.targets))
	var live poller.Live
	if r.live {
		live = r.source
	}
	r.p = poller.New(poller.Config{
		Source: r.source, Live: live, Schedule: poller.Schedule{Calendar: every(40 * time.Second)},
		Targets: r.targets, Concurrency: 3, Timeout: 3 * time.Minute,
		Log: r.api.client().config.Log,
	})
	return r
}

func (r *randomRun) run(steps int) {
	stop := run(r.p)
	defer stop()
	for r.step = range steps {
		r.act()
		time.Sleep(time.Duration(r.rand.IntN(6000)) * time.Millisecond)
		synctest.Wait()
		r.check()
	}
	// All readings are correct within one schedule after the end of the last fault and of the pause it may have requested.
	for _, remove := range r.removers {
		remove()
	}
	r.setSkew(0)
	time.Sleep(maxRetryAfter + 3*time.Minute + 80*time.Second)
	synctest.Wait()
	r.check()
	for i, reading := range r.p.Snapshot().Readings[:unreadable] {
		if reading.Failure != nil || time.Since(reading.Census.ReadAt) > 80*time.Second {
			r.fatalf("target %d has not recovered: %+v", i, reading.Failure)
		}
		r.api.checkCounts(r.t, reading)
	}
	good, failed := r.source.count()
	if r.checked < steps/20 || r.changed == 0 || r.exact == 0 || failed == 0 {
		r.fatalf(
			"%d censuses checked, of which %d with changes during the walk and %d exactly; %d walks failed: this proves little", r.checked,
			r.changed, r.exact, failed,
		)
	}
	r.t.Logf("seed %d: %d steps, %v of virtual time, %d walks complete and %d failed, %d censuses checked: %d of them with changes "+
		"during the walk, %d exactly; %d tokens, %d requests",
		r.seed, steps, time.Since(
			time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		).Round(time.Second), good, failed, r.checked, r.changed, r.exact, r.tokens, r.api.Requests(""))
}

func (r *randomRun) fatalf(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf(
		"step %d: %s\nagain with: RANDOM_SEED=%d RANDOM_STEPS=%d go test -run TestRandomRun", r.step, fmt.Sprintf(format, args...), r.seed,
		r.step+1,
	)
}

// act makes one or several random changes.
func (r *randomRun) act() {
	switch n := r.rand.IntN(100); {
	case n < 55:
		for range 1 + r.rand.IntN(4) {
			r.change()
		}
	case n < 60:
		r.cleanUp()
	case n < 75:
		r.inject()
	case n < 92 && len(r.removers) > 0:
		i := r.rand.IntN(len(r.removers))
		r.removers[i]()
		r.removers = slices.Delete(r.removers, i, i+1)
	case n < 95:
		r.api.RevokeAccessTokens()
	case n < 98:
		r.setSkew(time.Duration(r.rand.IntN(7200)-3600) * time.Second)
	}
}

// change adds, revokes, reinstates, renews or removes one token.
func (r *randomRun) change() {
	i := r.rand.IntN(len(r.models))
	m, target := r.models[i], r.targets[i]
	ids := slices.Sorted(maps.Keys(m.tokens))
	ids = slices.DeleteFunc(ids, func(id string) bool { return !m.tokens[id].now().exists })
	if n := r.rand.IntN(10); n < 5 && len(ids) < 40 || len(ids) == 0 {
		r.tokens++
		f := form{exists: true, revoked: r.rand.IntN(6) == 0, expires: r.expiration()}
		id := fmt.Sprintf("token-%06d", r.tokens)
		r.api.Add(target.Consumer, target.Provider, simulator.Token{
			ID: id, Created: time.Now().Add(r.ahead(time.Now(), time.Now())), Revoked: f.revoked, Expires: f.expires,
		})
		m.set(id, f)
		return
	}
	id := ids[r.rand.IntN(len(ids))]
	f := m.tokens[id].now()
	switch r.rand.IntN(4) {
	case 0:
		f.revoked = true
		r.api.Revoke(id)
	case 1:
		f.revoked = false
		r.api.Reinstate(id)
	case 2:
		f.expires = r.expiration()
		r.api.Update(id, func(t *simulator.Token) { t.Expires = f.expires })
	case 3:
		r.remove(m, id)
		return
	}
	m.set(id, f)
}

func (r *randomRun) remove(m *model, id string) {
	r.api.Remove(id)
	m.set(id, form{})
	m.drifts = append(m.drifts, time.Now())
}

// expiration is mostly soon: tokens expire during walks and between them.
func (r *randomRun) expiration() time.Time {
	switch r.rand.IntN(6) {
	case 0:
		return time.Time{}
	case 1:
		return time.Now().Add(time.Duration(r.rand.IntN(48)) * time.Hour).Truncate(time.Millisecond)
	}
	return time.Now().Add(time.Duration(r.rand.IntN(300_000)-30_000) * time.Millisecond)
}

// cleanUp removes the expired tokens of one target.
func (r *randomRun) cleanUp() {
	m := r.models[r.rand.IntN(len(r.models))]
	for _, id := range slices.Sorted(maps.Keys(m.tokens)) {
		if m.tokens[id].now().state(time.Now()) == expired {
			r.remove(m, id)
		}
	}
}

// inject adds a fault that fails a walk or does not change the counts.
func (r *randomRun) inject() {
	f := simulator.Fault{Kind: simulator.FaultKind(r.rand.IntN(len(simulator.AllFaults())))}
	switch f.Kind {
	case simulator.HugeBody, simulator.NegativeExpiration:
		f.Kind = simulator.Throttle
	case simulator.MissingField:
		f.Field = []string{"entities", "authenticationTokenId", "totalCount"}[r.rand.IntN(3)]
	case simulator.WrongType:
		f.Field = []string{"entities", "authenticationTokenId", "revoked", "nextToken", "expirationTime"}[r.rand.IntN(5)]
	case simulator.DeepNesting:
		f.Size = 11_000
	case simulator.Slow:
		f.Delay = time.Duration(r.rand.IntN(14)) * time.Second
	case simulator.SlowDrip:
		f.Delay = time.Duration(40+r.rand.IntN(100)) * time.Millisecond
	case simulator.Status:
		f.Status = []int{400, 401, 403, 404, 500, 502, 503, 429}[r.rand.IntN(8)]
		f.Shape = simulator.Shape(r.rand.IntN(4))
	}
	if f.Kind == simulator.Throttle || f.Kind == simulator.Status {
		switch r.rand.IntN(6) {
		case 0:
			f.RetryAfter = strconv.Itoa(r.rand.IntN(100))
		case 1:
			f.TimeLeft = time.Duration(r.rand.IntN(30_000)) * time.Millisecond
		case 2:
			f.TimeLeftAPI = time.Duration(r.rand.IntN(10_000)) * time.Millisecond
		}
	}
	if r.rand.IntN(3) > 0 {
		f.Times = 1 + r.rand.IntN(8)
	}
	f.Page = r.rand.IntN(9) - 1
	switch r.rand.IntN(8) {
	case 0:
		f.Operation, f.Page = simulator.Access, 0
	case 1, 2, 3:
		target := r.targets[r.rand.IntN(unreadable)]
		f.Consumer, f.Provider = target.Consumer, target.Provider
		fallthrough
	default:
		f.Operation = simulator.List
	}
	r.removers = append(r.removers, r.api.Inject(f))
	if len(r.removers) > 4 {
		r.removers[0]()
		r.removers = r.removers[1:]
	}
}
