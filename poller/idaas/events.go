package idaas

import (
	"reflect"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Operations of the API, as Events.Request names them, and causes of waiting, as Events.Waited does.
const (
	OpList      = "list"
	OpToken     = "token"
	OpDiscovery = "discovery"
	WaitLimiter = "limiter" // for the rate limit
	WaitHint    = "hint"    // the API asked for it
	WaitBackoff = "backoff" // between retries
)

// Events tells what a Client does, as it happens; nil fields are ignored. The functions must be safe for concurrent
// use.
type Events struct {
	// Request is called after each HTTP attempt; code is the status, or "error" when no answer came.
	Request func(operation, code string, took time.Duration)
	// Retry is called before each retry.
	Retry func()
	// Throttled is called for each answer that said "slow down".
	Throttled func()
	// Waited is called after each wait.
	Waited func(cause string, d time.Duration)
	// AccessToken is called when an access token is taken into use whose expiration is known.
	AccessToken func(expires time.Time)
	// AccessTokenFailed is called after each failed attempt to get one.
	AccessTokenFailed func(poller.Reason)
	// Instance is called when it is known which instance is asked, and where.
	Instance func(id, endpoint string)
	// PageSize is called with the tokens per page asked for, at first and when that changes.
	PageSize func(size int)
	// Skew is called with the server's Date minus the local clock, good to about a second.
	Skew func(time.Duration)
}

// orNothing returns e with every nil field replaced by a function that does nothing.
func (e Events) orNothing() Events {
	for _, f := range reflect.ValueOf(&e).Elem().Fields() {
		if f.IsNil() {
			f.Set(reflect.MakeFunc(f.Type(), func([]reflect.Value) []reflect.Value { return nil }))
		}
	}
	return e
}
