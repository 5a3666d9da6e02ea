package poller

import (
	"slices"
	"strings"
	"time"
)

// Reading is what is known of one target. It never changes once published.
type Reading struct {
	Target  Target
	Census  *Census   // of the last complete walk; nil: never read
	Failure *Failure  // of the latest walk; nil when that was complete, or when there was none
	Gone    time.Time // when the target was removed; zero if it is watched
}

// Attempted reports whether a walk of the target has ended, either way.
func (r *Reading) Attempted() bool { return r.Census != nil || r.Failure != nil }

// Failure is how a walk failed.
type Failure struct {
	Reason Reason
	Text   string // for people: one line, without secrets and raw consumer ids
	At     time.Time
	Since  time.Time // when the first of the walks failed that have done nothing else since
}

// shownFor returns f without the consumer id of t, which may have been shown when the text was written.
func (f *Failure) shownFor(t Target) *Failure {
	if f == nil || t.Label == t.Consumer {
		return f
	}
	clean := *f
	clean.Text = Scrubber{}.Hide(t.Consumer, t.Label).clean(f.Text, 8*maxText)
	return &clean
}

// Same reports whether f and g, which may be nil, are the same failure at two times. The id of the request, which is another each
// time, does not count.
func (f *Failure) Same(g *Failure) bool {
	return f == g || f != nil && g != nil && f.Reason == g.Reason && f.withoutID() == g.withoutID()
}

func (f *Failure) withoutID() string {
	_, id, _ := strings.Cut(f.Text, requestID)
	id, _, _ = strings.Cut(id, ")")
	return strings.ReplaceAll(f.Text, id, "")
}

const requestID = " (request id "

// WithRequestID returns text with the id of the request that it is about.
func WithRequestID(text, id string) string { return text + requestID + id + ")" }

// Snapshot is everything known at one moment. It never changes once published; readers share it.
type Snapshot struct {
	Readings             []*Reading       // one per configured target of this process, in the configured order
	LastCycle, NextCycle time.Time        // due times; zero before the first
	InProgress           int              // targets queued or being walked
	Gone                 map[Key]*Reading // what is known of targets removed in the last 7 days
	Lists                *Lists           // nil: none, or not needed
	Unwatched            []Unwatched      // applications that no entry takes; nil: unknown
}

// Attempted reports whether every target was attempted.
func (s *Snapshot) Attempted() bool {
	return !slices.ContainsFunc(s.Readings, func(r *Reading) bool { return !r.Attempted() })
}

// Failing returns the number of targets whose latest walk failed.
func (s *Snapshot) Failing() (n int) {
	for _, r := range s.Readings {
		if r.Failure != nil {
			n++
		}
	}
	return n
}
