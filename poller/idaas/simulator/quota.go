package simulator

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Hint is the kind of retry-after in a throttling response.
type Hint int

// Hints of a throttling response: the header x-ratelimit-user (milliseconds), Retry-After (seconds), both, or none.
const (
	HintRateLimit Hint = iota
	HintRetryAfter
	HintBoth
	HintNone
)

// Quota limits list calls per fixed window. The response to others is 429 with the code Throttling.User. The zero Quota is no limit.
type Quota struct {
	Requests int
	Window   time.Duration // one minute
	Hint     Hint
}

// overQuota counts a list call. If it exceeds the quota, it returns the rest of the window.
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
