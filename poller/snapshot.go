package poller

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// Reading is what is known of one target. It never changes once published.
type Reading struct {
	Target Target
	// Census of the last complete walk; nil: never read.
	Census *Census
	// Failure of the latest walk; nil when that was complete, or when there was none.
	Failure *Failure
}

// Attempted reports whether a walk of the target has ended, either way.
func (r *Reading) Attempted() bool { return r.Census != nil || r.Failure != nil }

// Failure is how a walk failed.
type Failure struct {
	Reason Reason
	// Text is for people: one line, without secrets and raw consumer ids.
	Text string
	At   time.Time
	// Since is when the first of the walks failed that have done nothing else since.
	Since time.Time
}

// shownFor returns f without its text if that has the consumer id of t, which may have been shown when it was written.
func (f *Failure) shownFor(t Target) *Failure {
	if f == nil || t.Label == t.Consumer {
		return f
	}
	text := strings.ToLower(f.Text)
	for _, id := range []string{t.Consumer, url.QueryEscape(t.Consumer), url.PathEscape(t.Consumer)} {
		if strings.Contains(text, strings.ToLower(id)) {
			hidden := *f
			hidden.Text = "not shown: it has the consumer's id, which is not shown any more"
			return &hidden
		}
	}
	return f
}

// Snapshot is everything known at one moment. It never changes once published; readers share it.
type Snapshot struct {
	// Readings has one entry per configured target of this process, in the configured order.
	Readings []*Reading
	// LastCycle and NextCycle are due times; zero before the first.
	LastCycle, NextCycle time.Time
	// InProgress counts the targets queued or being walked.
	InProgress int
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
