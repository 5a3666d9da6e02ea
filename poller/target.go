// Package poller walks the authentication tokens of every configured target on a schedule and keeps what it found
// as an immutable snapshot: facts only, whose states are computed when asked.
package poller

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Target is one consumer at one credential provider: the unit that is walked, published and shown.
// Consumer and Provider together identify it.
type Target struct {
	// Consumer is the consumer id sent to the API; it may be personal data, so it is never shown: Label is.
	Consumer string
	// Provider is the credential provider identifier, as queried and as shown.
	Provider string
	// Label is the shown consumer: its alias, name or id, or a hash of the id.
	Label string
	// Windows are the spans for which soon-to-expire tokens are counted.
	Windows []Window
	// Thresholds decide its state.
	Thresholds Thresholds
	// Schedule is when it is polled; the zero value is that of the settings.
	Schedule Schedule
	// Found is set if its consumer or its provider is not named in the settings.
	Found bool
	// Application is the consumer id if it is shown beside the label: that of a listed application.
	Application string
}

// CheckIdentifier returns an error if text cannot identify an instance or a credential provider. Dots alone would be a step in a
// URL path.
func CheckIdentifier(text string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	if strings.Trim(text, ".") == "" || len(text) > 64 || strings.Trim(text, allowed) != "" {
		return errors.New("not an identifier of 1 to 64 letters, digits and . - _")
	}
	return nil
}

// CheckText returns an error if text cannot be a consumer id or a label.
func CheckText(text string) error {
	if text == "" || len(text) > 512 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return errors.New("not a text of 1 to 512 bytes without control characters")
	}
	return nil
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

// Share returns those of targets that shard index of count polls: each target belongs to exactly one, by rendezvous
// hashing of its identity, so that growth from n to n+1 shards moves about one target in n+1.
func Share(targets []Target, index, count int) []Target {
	if count == 1 {
		return targets
	}
	var share []Target
	for _, t := range targets {
		winner, most := 0, uint64(0)
		for shard := range count {
			sum := sha256.Sum256(fmt.Appendf(nil, "%d %q %q", shard, t.Consumer, t.Provider))
			if weight := binary.BigEndian.Uint64(sum[:]); weight > most {
				winner, most = shard, weight
			}
		}
		if winner == index {
			share = append(share, t)
		}
	}
	return share
}
