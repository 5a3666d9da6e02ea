package idaas

import (
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Operations of the API, as in Events.Request, and causes of waiting, as in Events.Waited.
const (
	OpList         = "list"
	OpToken        = "token"
	OpDiscovery    = "discovery"
	WaitLimiter    = "limiter" // for the rate limit
	WaitRetryAfter = "hint"    // for a retry-after of the API
	WaitBackoff    = "backoff" // between retries
)

// Events receives the events of a Client. Its methods must be safe for concurrent use.
type Events interface {
	// Request is called after each HTTP attempt. code is the status, or "error" if no response came.
	Request(operation, code string, took time.Duration)
	// Retry is called before each retry.
	Retry()
	// Throttled is called for each throttling response.
	Throttled()
	// Waited is called after each wait.
	Waited(cause string, d time.Duration)
	// AccessToken is called when an access token is used first, if its expiration is known.
	AccessToken(expires time.Time)
	// AccessTokenFailed is called after each failed attempt to get an access token.
	AccessTokenFailed(poller.Reason)
	// Instance is called when the instance and its endpoint are known.
	Instance(id, endpoint string)
	// PageSize is called with the requested tokens per page, first by New and then at each change.
	PageSize(size int)
	// Skew is called with the server's Date minus the local clock, ±1 s.
	Skew(time.Duration)
}

// NoEvents ignores all events.
type NoEvents = noEvents

type noEvents struct{}

func (noEvents) Request(_, _ string, _ time.Duration) {}
func (noEvents) Retry()                               {}
func (noEvents) Throttled()                           {}
func (noEvents) Waited(_ string, _ time.Duration)     {}
func (noEvents) AccessToken(time.Time)                {}
func (noEvents) AccessTokenFailed(poller.Reason)      {}
func (noEvents) Instance(_, _ string)                 {}
func (noEvents) PageSize(int)                         {}
func (noEvents) Skew(time.Duration)                   {}
