package poller

import (
	"cmp"
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

// keptGone is how long the facts of a removed target are kept: it may return.
const keptGone = 7 * 24 * time.Hour

// rememberedAt reports whether r, which may be nil, is of a target that may still return.
func (r *Reading) rememberedAt(now time.Time) bool {
	return r != nil && r.Attempted() && (r.Gone.IsZero() || now.Sub(r.Gone) < keptGone)
}

// goneAt returns r of a target removed at now, or before.
func (r *Reading) goneAt(now time.Time) *Reading {
	removed := *r
	removed.Gone = cmp.Or(r.Gone, now)
	return &removed
}

// empty reports whether the target is found, and has had no token or is refused.
func (r *Reading) empty() bool {
	refused := r.Failure != nil && (r.Failure.Reason == Forbidden || r.Failure.Reason == NotFound)
	return r.Target.Found && (refused || r.Census != nil && r.Census.empty())
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
	Readings   []*Reading       // one per configured target of this process, in the configured order
	Schedules  []Timing         // that of targets without one, then those of targets
	InProgress int              // targets queued or being walked
	Gone       map[Key]*Reading // what is known of targets removed in the last 7 days
	Lists      *Lists           // nil: none, or not needed
	Unwatched  []Unwatched      // applications that no entry takes; nil: unknown
}

// block is how many readings are copied when one is replaced.
const block = 256

// published is a Snapshot with its readings in blocks, so that a walk does not copy all.
type published struct {
	Snapshot
	blocks [][]*Reading
}

// replace replaces one reading, and shares the others with the snapshot before.
func (s *published) replace(index int, r *Reading) {
	s.blocks = slices.Clone(s.blocks)
	changed := &s.blocks[index/block]
	*changed = slices.Clone(*changed)
	(*changed)[index%block] = r
}

// Interval returns the interval of the target of r: that of its schedule, but at least an hour while it is empty.
func (s *Snapshot) Interval(r *Reading) (interval time.Duration) {
	for i := range s.Schedules {
		if t := &s.Schedules[i]; i == 0 || t.Schedule.Text == r.Target.Schedule.Text {
			interval = t.Interval
		}
	}
	if r.empty() {
		interval = max(interval, emptyEvery)
	}
	return interval
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
