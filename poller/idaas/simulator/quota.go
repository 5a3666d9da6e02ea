package simulator

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Hint is how a throttled answer says when to come back.
type Hint int

// Hints of a throttled answer: the header x-ratelimit-user (milliseconds), Retry-After (seconds), both, or none.
const (
	HintRateLimit Hint = iota
	HintRetryAfter
	HintBoth
	HintNone
)

// Quota is a number of list calls per fixed window; the rest is answered 429 with the code Throttling.User. The zero Quota has no limit.
type Quota struct {
	Requests int
	Window   time.Duration // one minute
	Hint     Hint
}

// overQuota counts a list call and returns the rest of the window when it is one too many.
func (s *Server) overQuota() (time.Duration, bool) {
	q := s.config.Quota
	if q.Requests == 0 {
		return 0, false
	}
	if q.Window == 0 {
		q.Window = time.Minute
	}
	now := s.config.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !now.Before(s.quotaEnd) {
		s.quotaEnd, s.quotaUsed = now.Add(q.Window), 0
	}
	if s.quotaUsed == q.Requests {
		return s.quotaEnd.Sub(now), true
	}
	s.quotaUsed++
	return 0, false
}

func (q Quota) refuse(left time.Duration) answer {
	a := ShapeGateway.failure(http.StatusTooManyRequests, "Throttling.User", "Request was denied due to user flow control.")
	a.header = http.Header{}
	if q.Hint == HintRateLimit || q.Hint == HintBoth {
		a.header.Set("X-Ratelimit-User", rateLimit(q.Requests, left))
	}
	if q.Hint == HintRetryAfter || q.Hint == HintBoth {
		a.header.Set("Retry-After", strconv.Itoa(int((left+time.Second-1)/time.Second)))
	}
	return a
}

func rateLimit(limit int, left time.Duration) string {
	milliseconds := (left + time.Millisecond - 1).Milliseconds()
	return fmt.Sprintf("Limit:%d,Remain:0,TimeLeft:%d,Reset:%d", limit, milliseconds, milliseconds)
}
