package idaas

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// recorder records the Events of a Client.
type recorder struct {
	NoEvents
	mu sync.Mutex
	recorded
}

type recorded struct {
	requests  map[string]int // by operation and code
	retries   int
	throttled int
	waited    map[string]time.Duration
	waits     map[string][]time.Duration
	expires   []time.Time
	failed    map[poller.Reason]int
	skew      []time.Duration
	pageSizes []int
}

func (r *recorder) Request(operation, code string, _ time.Duration) {
	r.change(func() { r.requests[operation+" "+code]++ })
}
func (r *recorder) Retry()     { r.change(func() { r.retries++ }) }
func (r *recorder) Throttled() { r.change(func() { r.throttled++ }) }
func (r *recorder) Waited(cause string, d time.Duration) {
	r.change(func() {
		r.waited[cause] += d
		r.waits[cause] = append(r.waits[cause], d)
	})
}

func (r *recorder) AccessToken(expires time.Time) {
	r.change(func() { r.expires = append(r.expires, expires) })
}

func (r *recorder) AccessTokenFailed(reason poller.Reason) { r.change(func() { r.failed[reason]++ }) }

func (r *recorder) PageSize(size int) { r.change(func() { r.pageSizes = append(r.pageSizes, size) }) }

func (r *recorder) Skew(d time.Duration) { r.change(func() { r.skew = append(r.skew, d) }) }

func (r *recorder) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.requests == nil {
		r.requests, r.failed = map[string]int{}, map[poller.Reason]int{}
		r.waited, r.waits = map[string]time.Duration{}, map[string][]time.Duration{}
	}
	f()
}

// soFar returns a copy of what was recorded until now.
func (r *recorder) soFar() recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.recorded
	c.requests, c.waited, c.waits, c.failed = maps.Clone(c.requests), maps.Clone(c.waited), maps.Clone(c.waits), maps.Clone(c.failed)
	c.expires, c.skew, c.pageSizes = slices.Clone(c.expires), slices.Clone(c.skew), slices.Clone(c.pageSizes)
	return c
}
