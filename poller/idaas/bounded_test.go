package idaas

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// times returns the times of the requests of an operation; of all for "".
func (a *api) times(operation string) []time.Time {
	var all []time.Time
	for _, r := range a.Log() {
		if operation == "" || r.Operation == operation {
			all = append(all, r.Time)
		}
	}
	return all
}

// closest returns the shortest time between two consecutive times.
func closest(times []time.Time) time.Duration {
	shortest := time.Duration(1<<63 - 1)
	for i := range times[1:] {
		shortest = min(shortest, times[i+1].Sub(times[i]))
	}
	return shortest
}

func TestTotalFailureIsBounded(t *testing.T) {
	t.Parallel()
	const (
		targets = 50
		rate    = 0.125
		spacing = time.Duration(1 / rate * float64(time.Second))
		// The limiter computes with floating point numbers.
		slack = time.Microsecond
	)
	for _, tt := range []struct {
		name   string
		faults []simulator.Fault
		refuse bool
		pause  time.Duration // requested by every response
	}{
		{name: "connections are refused", refuse: true},
		{name: "500", faults: []simulator.Fault{{Operation: simulator.List, Kind: simulator.Status}}},
		{name: "500 with hints", faults: []simulator.Fault{{Kind: simulator.Status, RetryAfter: "100"}}},
		{name: "429", faults: []simulator.Fault{{Kind: simulator.Throttle}}},
		{name: "429 with a hint", faults: []simulator.Fault{{Kind: simulator.Throttle, TimeLeft: 20 * time.Second}}, pause: 20 * time.Second},
		{name: "429 with a hint of an hour", faults: []simulator.Fault{{Kind: simulator.Throttle, RetryAfter: "3600"}}, pause: maxRetryAfter},
		{name: "resets", faults: []simulator.Fault{{Kind: simulator.Reset}}},
		{name: "hangs", faults: []simulator.Fault{{Kind: simulator.Hang}}},
		{name: "401", faults: []simulator.Fault{{Operation: simulator.List, Kind: simulator.Status, Status: 401}}},
		{name: "400", faults: []simulator.Fault{{Operation: simulator.List, Kind: simulator.Status, Status: 400}}},
		{name: "malformed", faults: []simulator.Fault{{Kind: simulator.HTML}}},
		{name: "no access tokens", faults: []simulator.Fault{{Operation: simulator.Access, Kind: simulator.Status}}},
		{name: "the token endpoint hangs", faults: []simulator.Fault{{Operation: simulator.Access, Kind: simulator.Hang}}},
		{name: "everything in turns", faults: []simulator.Fault{
			{Kind: simulator.Status, Times: 100},
			{Kind: simulator.Throttle, Times: 100},
			{Kind: simulator.Reset, Times: 100},
			{Kind: simulator.CutBody, Times: 100},
			{Operation: simulator.Access, Kind: simulator.Status, Status: 403, Times: 20},
			{Kind: simulator.Redirect},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{})
				a.transport.DisableKeepAlives = tt.refuse
				p := a.poller(a.client(rateLimit(rate)), 4, a.fill(targets, 3)...)
				stop := run(p)
				defer stop()
				time.Sleep(8 * time.Minute)
				synctest.Wait()
				if failed := failures(p.Snapshot().Readings); len(failed) > 0 || !p.Snapshot().Attempted() {
					t.Fatalf("before the outage: %v", failed)
				}

				a.RevokeAccessTokens()
				begun, dials := len(a.Log()), len(a.listener.dialled())
				a.listener.refuse.Store(tt.refuse)
				var removers []func()
				for _, f := range tt.faults {
					removers = append(removers, a.Inject(f))
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if failed := failures(p.Snapshot().Readings); len(failed) == 0 {
					t.Error("nothing failed")
				}
				during := a.times("")[begun:]
				if tt.refuse {
					during = a.listener.dialled()[dials:]
				}
				gap := max(spacing, tt.pause)
				if n, most := len(during), int(time.Hour/gap)+1; n > most || n < 20 {
					t.Errorf("%d requests in an hour, want %d at most", n, most)
				}
				if d := closest(during); d < gap-slack {
					t.Errorf("two requests within %v, want %v between them", d, gap)
				}
				t.Logf("%d requests in an hour, %v apart or more", len(during), closest(during))

				for _, remove := range removers {
					remove()
				}
				a.listener.refuse.Store(false)
				end := time.Now()
				// A schedule, a pause requested just before, and the duration of a cycle at this rate.
				time.Sleep(5*time.Minute + tt.pause + 2*(targets+1)*spacing)
				synctest.Wait()
				for _, r := range p.Snapshot().Readings {
					if !r.Census.ReadAt.After(end) {
						t.Fatalf("%s was not read again: %+v", r.Target.Consumer, r.Failure)
					}
					a.checkCounts(t, r)
				}
				if d := closest(a.times("")); d < spacing-slack {
					t.Errorf("two requests within %v all in all", d)
				}
			})
		})
	}
}

// If a reused connection breaks, a transport repeats the request on the next idle connection.
func TestRequestsRepeatedByTheTransportKeepTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(20, 1)
		slow := a.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Slow, Delay: 8 * time.Second})
		c := a.client(rateLimit(5))
		for _, r := range a.poll(t, c, targets...) {
			a.checkCounts(t, r)
		}
		slow()
		a.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Reset})
		before := len(a.Log())
		a.poll(t, c, targets...)
		times := a.times("")[before:]
		if len(times) <= 100 {
			t.Fatalf("%d requests for 20 targets: the transport repeated none", len(times))
		}
		if d := closest(times); d < 200*time.Millisecond-time.Microsecond {
			t.Errorf("two of %d requests within %v, at a rate of 5 in a second", len(times), d)
		}
	})
}

// Requests that waited for a connection together are not sent together.
func TestRequestsThatWaitedForAConnectionKeepTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(20, 1)
		dial := a.transport.DialContext
		a.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(3 * time.Second)
			return dial(ctx, network, address)
		}
		for _, r := range a.poll(t, a.client(rateLimit(5)), targets...) {
			a.checkCounts(t, r)
		}
		time.Sleep(time.Minute) // until every dial has ended
		if times := a.times(""); closest(times) < 200*time.Millisecond-time.Microsecond {
			t.Errorf("two of %d requests within %v, at a rate of 5 in a second", len(times), closest(times))
		}
	})
}
