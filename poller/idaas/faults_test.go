package idaas

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

func TestTheFaultTableIsComplete(t *testing.T) {
	for _, kind := range simulator.AllFaults() {
		if len(faultTable[kind]) == 0 {
			t.Errorf("%v is missing", kind)
		}
	}
	if len(faultTable) != len(simulator.AllFaults()) {
		t.Errorf("%d kinds in the table, %d there are", len(faultTable), len(simulator.AllFaults()))
	}
}

// TestFaults applies every fault to the first, a middle and the last page of one of two targets, and to the token endpoint, for one
// cycle of a poller.
func TestFaults(t *testing.T) {
	t.Parallel()
	var cases atomic.Int64
	t.Cleanup(func() { t.Logf("%d cases", cases.Load()) })
	for kind, variants := range faultTable {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newFaultRun(t, kind)
				defer r.stop()
				for _, v := range variants {
					v.fault.Kind = kind
					if v.fault.Operation != simulator.Access {
						for _, page := range []int{1, 3, 5} {
							if v.page == 0 || v.page == page {
								r.page(v, page)
								cases.Add(1)
							}
						}
					}
					if v.fault.Operation != simulator.List {
						r.tokenEndpoint(v)
						cases.Add(1)
					}
				}
			})
		})
	}
}

// faultRun is a poller that walks two targets every five minutes, with the API and the previous correct readings.
type faultRun struct {
	t    *testing.T
	api  *api
	p    *poller.Poller
	stop func()

	mu     sync.Mutex
	failed map[poller.Reason]int
}

const (
	faulty  = 0
	healthy = 1
)

func newFaultRun(t *testing.T, kind simulator.FaultKind) *faultRun {
	a := newAPI(t, simulator.Config{End: simulator.EndNull, AccessTokenLifetime: 1000 * time.Hour})
	// A transport would repeat requests on reused connections. This test counts requests.
	a.transport.DisableKeepAlives = kind == simulator.Reset
	if kind == simulator.HugeBody {
		a.transport.ReadBufferSize = 64 << 10
	}
	a.Add("faulty", "provider", mixed("f", 18)...)
	a.Add("healthy", "provider", mixed("h", 4)...)
	targets := []poller.Target{target("faulty", "provider"), target("healthy", "provider")}
	r := &faultRun{t: t, api: a, failed: map[poller.Reason]int{}}
	r.p = poller.New(poller.Config{
		Source: a.client(pageSize(4), rateLimit(100)), Schedule: poller.Schedule{Calendar: every(5 * time.Minute)},
		Targets: targets, Concurrency: 2, Timeout: time.Hour,
		Log: a.client().config.Log,
		Events: poller.Events{Walked: func(_ time.Duration, reason poller.Reason) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if reason != "" {
				r.failed[reason]++
			}
		}},
	})
	r.stop = run(r.p)
	// From now on, the scheduled time is always four minutes ahead.
	time.Sleep(time.Minute)
	return r
}

// cycle runs one scheduled poll and returns the readings, and the requests for each target and for access tokens.
func (r *faultRun) cycle() (readings []*poller.Reading, lists [2]int, token int) {
	r.mu.Lock()
	clear(r.failed)
	r.mu.Unlock()
	before := [3]int{r.api.listsOf("faulty"), r.api.listsOf("healthy"), r.api.Requests(simulator.Access)}
	time.Sleep(5 * time.Minute)
	lists = [2]int{r.api.listsOf("faulty") - before[faulty], r.api.listsOf("healthy") - before[healthy]}
	return r.p.Snapshot().Readings, lists, r.api.Requests(simulator.Access) - before[2]
}

// page makes a page of the first target's list meet a fault.
func (r *faultRun) page(v variant, page int) {
	r.t.Helper()
	name := fmt.Sprintf("%+v on page %d", describe(v.fault), page)
	f := v.fault
	f.Operation, f.Consumer, f.Page = simulator.List, "faulty", page
	before := r.p.Snapshot().Readings
	remove := r.api.Inject(f)
	after, lists, _ := r.cycle()
	remove()

	want := v.list
	if want.reason == poller.Loop && page == 1 {
		want.requests = 2 // that nextToken has not been given before
	}
	if want.reason == poller.Malformed && f.Kind != simulator.SwitchProtocols && (f.Status == 0 || f.Status == 200) {
		want.requests = 2 // what is no page is requested once more
	}
	if want.reason == "" {
		r.right(name, v, page, after[faulty], lists[faulty])
	} else {
		r.wrong(name, want.reason, before[faulty], after[faulty])
		if requests := page - 1 + want.requests; lists[faulty] != requests {
			r.t.Errorf("%s: %d list requests, want %d", name, lists[faulty], requests)
		}
	}
	r.fresh(name, before[healthy], after[healthy])
	if lists[healthy] != 1 {
		r.t.Errorf("%s: %d list requests for the other target", name, lists[healthy])
	}
	r.healed(name)
}

// tokenEndpoint makes the request for a new access token meet a fault.
func (r *faultRun) tokenEndpoint(v variant) {
	r.t.Helper()
	name := fmt.Sprintf("%+v at the token endpoint", describe(v.fault))
	f := v.fault
	f.Operation = simulator.Access
	before := r.p.Snapshot().Readings
	remove := r.api.Inject(f)
	r.api.RevokeAccessTokens()
	after, _, token := r.cycle()
	remove()

	if want := max(1, v.token.requests); token != want {
		r.t.Errorf("%s: %d token requests, want %d", name, token, want)
	}
	for i := range after {
		if v.token.reason == "" {
			r.fresh(name, before[i], after[i])
		} else {
			r.wrong(name, v.token.reason, before[i], after[i])
		}
	}
	r.healed(name)
}

// right checks a walk that is complete in spite of the fault.
func (r *faultRun) right(name string, v variant, page int, after *poller.Reading, requests int) {
	r.t.Helper()
	if after.Failure != nil {
		r.t.Errorf("%s: failed: %s: %s", name, after.Failure.Reason, after.Failure.Text)
		return
	}
	want := v.pages[page]
	if want.requests == 0 {
		want.requests = 5
	}
	if requests != want.requests {
		r.t.Errorf("%s: %d list requests, want %d", name, requests, want.requests)
	}
	got := after.Census.At(time.Now())
	switch {
	case want.tokens != 0:
		if got.Total != max(0, want.tokens) {
			r.t.Errorf("%s: %d tokens, want %d", name, got.Total, want.tokens)
		}
	case v.anyStates:
		if got.Total != 18 || got.Active+got.Expired+got.Revoked != 18 {
			r.t.Errorf("%s: counted %+v", name, got)
		}
	default:
		r.api.checkCounts(r.t, after)
	}
}

// wrong checks that a failed walk changes only the failure.
func (r *faultRun) wrong(name string, reason poller.Reason, before, after *poller.Reading) {
	r.t.Helper()
	if after.Failure == nil || after.Failure.Reason != reason {
		r.t.Errorf("%s: failure %+v, want %s", name, after.Failure, reason)
	}
	if before.Census == nil || after.Census != before.Census {
		r.t.Errorf("%s: the last good census was not kept", name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed[reason] == 0 {
		r.t.Errorf("%s: reported failures %v", name, r.failed)
	}
}

func (r *faultRun) fresh(name string, before, after *poller.Reading) {
	r.t.Helper()
	if after.Failure != nil || after.Census == before.Census || time.Since(after.Census.ReadAt) > 4*time.Minute {
		r.t.Errorf("%s: %s is not fresh: %+v", name, after.Target.Consumer, after.Failure)
		return
	}
	r.api.checkCounts(r.t, after)
}

// healed checks that the next cycle is correct and sends no more requests than before.
func (r *faultRun) healed(name string) {
	r.t.Helper()
	before := r.p.Snapshot().Readings
	after, lists, _ := r.cycle()
	for i := range after {
		r.fresh(name+", healed", before[i], after[i])
	}
	if lists != [2]int{5, 1} {
		r.t.Errorf("%s, healed: %v list requests", name, lists)
	}
}

// describe omits empty fields.
func describe(f simulator.Fault) string {
	text := f.Kind.String()
	for _, part := range []struct {
		name  string
		value any
	}{
		{"status", f.Status},
		{"shape", int(f.Shape)},
		{"code", f.Code},
		{"field", f.Field},
		{"body", f.Body},
		{"retry after", f.RetryAfter},
		{"time left", f.TimeLeft},
		{"delay", f.Delay},
		{"size", f.Size},
	} {
		if s := fmt.Sprint(part.value); s != "" && s != "0" && s != "0s" {
			text += fmt.Sprintf(" %s %s", part.name, s)
		}
	}
	return text
}
