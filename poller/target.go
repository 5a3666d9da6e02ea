// Package poller lists the authentication tokens of all targets on a schedule. It publishes the facts as an immutable snapshot; the
// states of tokens and targets are computed from it at any time.
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

// Target is a consumer at a credential provider, which together identify it. It is walked, published and shown as a unit.
type Target struct {
	// Consumer is the consumer id for the API. It may be personal data, so only Label is shown.
	Consumer string
	// Provider is the identifier of the credential provider.
	Provider string
	// Label is shown for the consumer: its alias, name or id, or a hash of the id.
	Label string
	// Windows are the times within which expiring tokens are counted.
	Windows []Window
	// Thresholds decide its state.
	Thresholds Thresholds
	// Schedule has the scheduled times of its walks; the zero value is the schedule of the settings.
	Schedule Schedule
	// Found is set if its consumer or its provider is not in the settings, but was found in a list.
	Found bool
	// Application is the consumer id of a listed application if it may be shown.
	Application string
}

// CheckIdentifier returns an error if text is no identifier of an instance or a credential provider. Text of dots only is refused: it
// would be a step in a URL path.
func CheckIdentifier(text string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	if strings.Trim(text, ".") == "" || len(text) > 64 || strings.Trim(text, allowed) != "" {
		return errors.New("not an identifier of 1 to 64 letters, digits and . - _")
	}
	return nil
}

// CheckText returns an error if text is no consumer id or label.
func CheckText(text string) error {
	if text == "" || len(text) > 512 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return errors.New("not a text of 1 to 512 bytes without control characters")
	}
	return nil
}

// Key identifies a target, also across reloads and restarts.
type Key struct{ Consumer, Provider string }

// Key returns the identity of t.
func (t Target) Key() Key { return Key{t.Consumer, t.Provider} }

// Window is a time from now on, with its text in the settings.
type Window struct {
	Label    string
	Duration time.Duration
}

// Share returns the targets of the shard index of count. Each target belongs to exactly one shard, by rendezvous hashing: growth from n to
// n+1 shards moves about one target in n+1.
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
