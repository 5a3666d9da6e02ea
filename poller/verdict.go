package poller

import "time"

// Verdict is a State.
type Verdict = State

// Verdicts returns every Verdict, the worst first.
func Verdicts() []Verdict { return []Verdict{Lost, AtRisk, Empty, Unknown, OK} }

// Judge returns the verdict at now on a target that is polled once an interval; nil is one never read. What is judged
// of a lack of tokens asks for a walk after the last one ended: until then it may have been replaced unseen.
func (c *Census) Judge(now time.Time, interval time.Duration) Verdict {
	if c == nil {
		return Unknown
	}
	s := c.At(now)
	switch {
	case s.Active == 0 && s.Expired+s.Revoked > 0 && s.LastActive > 0 && c.ReadAt.UnixMilli() > s.LastActive:
		return Lost
	case s.Active == 0:
		return Empty
	case s.Latest == 0 || c.Lifetime > 0 && c.Lifetime < 3*interval.Milliseconds():
		return OK
	}
	const day = int64(24 * time.Hour / time.Millisecond)
	band := day // for want of a lifetime
	if c.Lifetime > 0 {
		band = min(7*day, c.Lifetime/5)
	}
	if s.Latest-now.UnixMilli() <= band {
		return AtRisk
	}
	return OK
}
