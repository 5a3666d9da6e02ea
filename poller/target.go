// Package poller walks the authentication tokens of every configured target on a schedule and keeps what it found
// as an immutable snapshot: facts only, whose states are computed when asked.
package poller

import "time"

// Target is one consumer at one credential provider: the unit that is walked, published and shown.
// Consumer and Provider together identify it.
type Target struct {
	// Consumer is the consumer id sent to the API; it may be personal data, so it is never shown: Label is.
	Consumer string
	// Provider is the credential provider identifier, as queried and as shown.
	Provider string
	// Label is the shown consumer: its alias, its id, or a hash of it.
	Label string
	// Windows are the spans for which soon-to-expire tokens are counted.
	Windows []Window
}

// Provider is a credential provider as discovery finds it.
type Provider struct {
	Identifier string
	Type       string // jwt or oauth; empty: unknown
	Consumer   string // the only one that it is known to be of; empty: it is any consumer's
}

// Key identifies a target: what makes two targets the same across reloads and restarts.
type Key struct{ Consumer, Provider string }

// Key returns the identity of t.
func (t Target) Key() Key { return Key{t.Consumer, t.Provider} }

// Window is a span of time from now on, with the text its operator wrote for it.
type Window struct {
	Label    string
	Duration time.Duration
}
