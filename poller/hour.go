package poller

// Hour reports whether a token was active in a UTC hour that has begun, by its number since 1970. Not known are hours before the
// history and after the last walk, and those of a pause in which no walk could see a token.
func (c *Census) Hour(n int64) (active, known bool) {
	h := c.History
	end := h.End
	if len(c.Expirations) > 0 {
		end = max(end, c.Expirations[len(c.Expirations)-1]-1)
	}
	switch {
	case h.used(n), n > h.End/msHour && (n <= end/msHour || c.NeverExpiring > 0):
		return true, true
	case n < h.Since/msHour, n > c.ReadAt.UnixMilli()/msHour, h.Unknown > 0 && n > end/msHour && n < h.From/msHour:
		return false, false
	}
	return false, true
}
