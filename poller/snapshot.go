package poller

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Reading has the facts of a target. It is immutable after publication.
type Reading struct {
	Target  Target
	Census  *Census   // of the last complete walk; nil: never read
	Failure *Failure  // of the latest walk; nil: it was complete, or there was none
	Gone    time.Time // time of removal; zero: it is watched
}

// keptGone is the time for which facts of a removed target are kept, in case it returns.
const keptGone = 7 * 24 * time.Hour

// rememberedAt reports whether r, which may be nil, has facts of a target that is watched or was removed recently.
func (r *Reading) rememberedAt(now time.Time) bool {
	return r != nil && r.Attempted() && (r.Gone.IsZero() || now.Sub(r.Gone) < keptGone)
}

// goneAt returns r with the time of removal, now unless it has one.
func (r *Reading) goneAt(now time.Time) *Reading {
	removed := *r
	removed.Gone = cmp.Or(r.Gone, now)
	return &removed
}

// empty reports whether the target was found, and never had a token or is refused.
func (r *Reading) empty() bool {
	refused := r.Failure != nil && (r.Failure.Reason == Forbidden || r.Failure.Reason == NotFound)
	return r.Target.Found && (refused || r.Census != nil && r.Census.empty())
}

// Attempted reports whether a walk of the target has succeeded or failed.
func (r *Reading) Attempted() bool { return r.Census != nil || r.Failure != nil }

// Failure is a failed walk.
type Failure struct {
	Reason Reason
	Text   string // one line, without secrets and hidden consumer ids
	At     time.Time
	Since  time.Time // time of the first of consecutive failures
}

// shownFor returns f without the consumer id of t if that is hidden now.
func (f *Failure) shownFor(t Target) *Failure {
	if f == nil || t.Label == t.Consumer {
		return f
	}
	clean := *f
	clean.Text = Scrubber{}.Hide(t.Consumer, t.Label).clean(f.Text, 8*maxText)
	return &clean
}

// Same reports whether f and g, which may be nil, differ in their times and request ids at most.
func (f *Failure) Same(g *Failure) bool {
	return f == g || f != nil && g != nil && f.Reason == g.Reason && f.withoutID() == g.withoutID()
}

func (f *Failure) withoutID() string {
	_, id, _ := strings.Cut(f.Text, requestID)
	id, _, _ = strings.Cut(id, ")")
	return strings.ReplaceAll(f.Text, id, "")
}

const requestID = " (request id "

// WithRequestID returns text with the id of its request.
func WithRequestID(text, id string) string { return text + requestID + id + ")" }

// Snapshot has the facts of all targets. It is immutable after publication.
type Snapshot struct {
	Readings   []*Reading       // one per target of this process, in the order of the settings
	Schedules  []Timing         // the one of the settings, then those of targets
	InProgress int              // targets queued or being walked
	Gone       map[Key]*Reading // targets removed in the last 7 days
	Lists      *Lists           // nil: none needed, or unknown
	Unwatched  []Unwatched      // applications that no entry of the settings matches; nil: unknown
}

// block is the number of readings that are copied to replace one.
const block = 256

// published is a Snapshot with its readings in blocks, so that publication of a walk copies one block.
type published struct {
	Snapshot
	blocks [][]*Reading
}

// replace replaces a reading. The other blocks are shared with the snapshot before.
func (s *published) replace(index int, r *Reading) {
	s.blocks = slices.Clone(s.blocks)
	changed := &s.blocks[index/block]
	*changed = slices.Clone(*changed)
	(*changed)[index%block] = r
}

// Interval returns the poll interval of the target of r: the one of its schedule, at least an hour while it is empty.
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

// Attempted reports whether all targets were attempted.
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
