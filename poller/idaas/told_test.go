package idaas

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// told collects what a Client tells through its Events.
type told struct {
	mu        sync.Mutex
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

func (w *told) events() Events {
	return Events{
		Request: func(operation, code string, _ time.Duration) {
			w.change(func() { w.requests[operation+" "+code]++ })
		},
		Retry:     func() { w.change(func() { w.retries++ }) },
		Throttled: func() { w.change(func() { w.throttled++ }) },
		Waited: func(cause string, d time.Duration) {
			w.change(func() {
				w.waited[cause] += d
				w.waits[cause] = append(w.waits[cause], d)
			})
		},
		AccessToken:       func(expires time.Time) { w.change(func() { w.expires = append(w.expires, expires) }) },
		AccessTokenFailed: func(r poller.Reason) { w.change(func() { w.failed[r]++ }) },
		PageSize:          func(size int) { w.change(func() { w.pageSizes = append(w.pageSizes, size) }) },
		Skew:              func(d time.Duration) { w.change(func() { w.skew = append(w.skew, d) }) },
	}
}

func (w *told) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.requests == nil {
		w.requests, w.failed = map[string]int{}, map[poller.Reason]int{}
		w.waited, w.waits = map[string]time.Duration{}, map[string][]time.Duration{}
	}
	f()
}

func (w *told) sizes() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.pageSizes)
}

// sofar returns a copy that no longer changes.
func (w *told) sofar() *told {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &told{
		requests:  maps.Clone(w.requests),
		retries:   w.retries,
		throttled: w.throttled,
		waited:    maps.Clone(w.waited),
		waits:     maps.Clone(w.waits),
		expires:   slices.Clone(w.expires),
		failed:    maps.Clone(w.failed),
		skew:      slices.Clone(w.skew),
	}
}
