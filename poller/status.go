package poller

import "time"

// State is the state of a target, as in the metric.
type State string

// Every State. A target is in the first that fits.
const (
	Unknown    State = "unknown"
	Empty      State = "empty"
	Retired    State = "retired"
	Lost       State = "lost"
	Overdue    State = "overdue"
	Paused     State = "paused"
	AboutToEnd State = "about_to_end"
	NotRenewed State = "not_renewed"
	AtRisk     State = "at_risk"
	OK         State = "ok"
)

// Urgency returns every State, the most urgent first.
func Urgency() []State {
	return []State{Lost, AboutToEnd, Overdue, NotRenewed, AtRisk, Unknown, Paused, Empty, Retired, OK}
}

// Thresholds are the settings that decide the state of a target.
type Thresholds struct {
	AtRisk, AboutToEnd Before
	LostAfter          time.Duration // the longest normal time of a continuous consumer without a token
	LostAlone          bool          // LostAfter decides alone, also for intermittent consumers
}

// Before is a time before the last expiration: a part of the lifetime, and at most Most.
type Before struct {
	Part float64
	Most time.Duration
}

// of returns the milliseconds for a lifetime; unknown applies if the lifetime is 0.
func (b Before) of(lifetime, unknown int64) int64 {
	if lifetime > 0 {
		unknown = int64(b.Part * float64(lifetime))
	}
	return min(unknown, b.Most.Milliseconds())
}

// Status is the state of a target and the values that it is computed from. Times are Unix milliseconds; 0 means unknown or none.
type Status struct {
	State State
	Since int64

	HistoryStart    int64
	UsualPause      int64 // milliseconds; 0: none; -1: unknown
	Continuous      bool
	Weekly          bool  // the hours of use repeat each week
	NextExpected    int64 // while no token is active
	RenewalExpected int64 // while one is
}

// StaleAt returns the time from which on the data of a target with that poll interval is stale.
func (c *Census) StaleAt(interval time.Duration) time.Time {
	return c.ReadAt.Add(2*interval + 10*time.Minute)
}

// Status returns the state at now of a target with that poll interval. No other code computes states.
func (r *Reading) Status(now time.Time, interval time.Duration) Status {
	c, t := r.Census, r.Target.Thresholds
	s := Status{State: Unknown, UsualPause: -1}
	if c == nil {
		return s
	}
	// While the data is stale, the state stays as it was when it became stale.
	if stale := c.StaleAt(interval); now.After(stale) {
		now = stale
	}
	at, ms, h := c.At(now), now.UnixMilli(), c.History
	if h == nil {
		if c.empty() {
			s.State = Empty
			return s
		}
		h = &History{Since: at.LastActive, End: at.LastActive}
	}
	end := ms // of the history
	if at.Active == 0 {
		end = h.End
		if n := len(c.Expirations); n > 0 {
			end = max(end, c.Expirations[n-1])
		}
	}
	rhythm := h.until(end)
	young := rhythm.length < msWeek
	s.Continuous, s.Weekly = rhythm.continuous, h.Weekly > 0
	if c.History != nil {
		s.HistoryStart = rhythm.start
	}
	if rhythm.length >= msDay/2 {
		s.UsualPause = rhythm.usual
	}
	// A list may lack a token that was issued while it was read.
	read := c.ReadAt.Add(-c.Took).UnixMilli()
	if at.Active > 0 {
		return c.held(s, t, at, h, young, ms, read, interval.Milliseconds())
	}
	s.State, s.Since = Paused, end
	if end == 0 {
		return s
	}
	lost := t.LostAfter.Milliseconds()
	from := end + int64(h.Unknown)*msSecond // a token may have been active in the unknown time
	s.NextExpected = from + min(max(2*rhythm.usual, 10*msMinute), rhythm.usual+msWeek)
	switch {
	case t.LostAlone:
		s.NextExpected = end + lost
	case rhythm.continuous:
		lost = max(lost, 2*interval.Milliseconds())
		s.NextExpected = end + max(2*rhythm.usual, 10*msMinute, lost)
	case young:
		s.NextExpected = max(s.NextExpected, end+3*msDay)
	case rhythm.usual == 0: // no pause has ended
		s.NextExpected = end + msWeek
	case h.Weekly > 0 && from == end:
		s.NextExpected = min(s.NextExpected, h.Weekly)
	}
	missed := read-end >= lost && (t.LostAlone || rhythm.continuous)
	switch {
	case read > end && ms-end > max(window, 2*rhythm.usual):
		s.State, s.Since = Retired, end+max(window, 2*rhythm.usual)
	case missed && young && !t.LostAlone:
		s.State, s.Since = Overdue, end+lost
	case missed:
		s.State = Lost
	case !rhythm.continuous && !t.LostAlone && read > s.NextExpected:
		s.State, s.Since = Overdue, s.NextExpected
	}
	return s
}

// held returns s with the state of a target that has an active token.
func (c *Census) held(s Status, t Thresholds, at States, h *History, young bool, now, read, interval int64) Status {
	s.State, s.Since = OK, h.Start
	if at.Latest == 0 {
		return s
	}
	reserve := h.reserve()
	if reserve > 0 {
		s.RenewalExpected = at.Latest - reserve/2
	}
	if !s.Continuous || c.Lifetime > 0 && c.Lifetime <= 4*interval {
		return s
	}
	critical := t.AboutToEnd.of(c.Lifetime, msDay/4)
	late := t.AtRisk.of(c.Lifetime, msDay)
	if reserve > 0 {
		critical, late = min(critical, reserve/4), reserve/2
	}
	switch {
	case !young && now >= at.Latest-critical && (reserve == 0 || read > at.Latest-reserve): // else it may be renewed already
		s.State, s.Since = AboutToEnd, at.Latest-critical
	case reserve > 0 && read > at.Latest-late:
		s.State, s.Since = NotRenewed, at.Latest-late
	case reserve == 0 && now >= at.Latest-late:
		s.State, s.Since = AtRisk, at.Latest-late
	case int64(h.Reserves[0])*msSecond < late && h.Reserves[0] > 0: // the latest renewal was late
		s.Since = max(s.Since, h.Issue)
	}
	return s
}
