package poller

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
)

// Units of time in milliseconds.
const (
	msSecond = int64(1000)
	msMinute = 60 * msSecond
	msHour   = 60 * msMinute
	msDay    = 24 * msHour
	msWeek   = 7 * msDay
	window   = 5 * msWeek // of a history
)

// History has the times with an active token in the 35 days before the end of the last one. Its size and that of its encoding are fixed.
// It is immutable after publication. Times are Unix milliseconds unless noted.
type History struct {
	Since    int64       // issue of the first known token
	Start    int64       // of the latest time with active tokens
	End      int64       // of the same; the end of the walk while a token is active
	Issue    int64       // of the latest renewal
	Weekly   int64       // if weeks repeat: the time by which a token is expected after the last expiration; 0: they do not
	quiet                // since End
	Days     [36]uint16  // minutes with an active token per UTC day, by its number modulo 36
	Hours    [105]byte   // a bit per UTC hour with an active token, by its number modulo 840
	Reserves [10]uint32  // seconds from each of the latest renewals to the last expiration before it, newest first; 0: none
	Pauses   [6][3]Pause // the longest of each week, by its number modulo 6
}

// quiet is the running time without a token.
type quiet struct {
	From    int64  // start of its latest known part
	Longest uint32 // of its earlier known parts, in seconds
	Unknown uint32 // seconds
}

// Pause is a past time without a token, in Unix seconds and seconds.
type Pause struct{ End, Length uint32 }

// MarshalText returns the history in base64.
func (h *History) MarshalText() ([]byte, error) {
	data, err := binary.Append(nil, binary.LittleEndian, h)
	return base64.RawStdEncoding.AppendEncode(nil, data), err
}

// UnmarshalText is the inverse of MarshalText.
func (h *History) UnmarshalText(text []byte) error {
	data, err := base64.RawStdEncoding.AppendDecode(nil, text)
	if err == nil { // the text of an older version is shorter
		data = append(data, make([]byte, max(0, binary.Size(h)-len(data)))...)
		_, err = binary.Decode(data, binary.LittleEndian, h)
	}
	return err
}

// span is a time interval.
type span struct{ from, to int64 }

// slots returns the spans of tokens from from to to, ordered and merged by start in slots of the given width. A million tokens need no
// sorting, and memory for the slots only.
func slots(records []record, from, to, width int64, spanOf func(record) span) []span {
	out := make([]span, max(0, (to-from)/width+1))
	for _, r := range records {
		s := spanOf(r)
		if s.to <= from || s.from > to {
			continue
		}
		s.from = max(s.from, from)
		slot := &out[(s.from-from)/width]
		if slot.to == 0 {
			*slot = s
		}
		slot.from, slot.to = min(slot.from, s.from), max(slot.to, s.to)
	}
	return slices.DeleteFunc(out, func(s span) bool { return s.to == 0 })
}

// history returns the history after the walk that found out. prev is the census before; it may be nil.
func (c *counting) history(prev, out *Census) *History {
	now, h := out.ReadAt.UnixMilli(), new(History)
	looked := int64(0) // end of the walk before; 0: there is no history
	// A history of the future is from a clock that was set back.
	if prev != nil && prev.History != nil && prev.History.End <= now+10*msMinute {
		*h, looked = *prev.History, prev.ReadAt.UnixMilli()
	}
	active := len(out.Expirations)+out.NeverExpiring > 0
	spanOf := func(r record) span {
		s := span{r.issued, min(r.end(), now)}
		if s.from == 0 { // unknown
			if s.from = s.to; s.to == now && looked > 0 {
				s.from = looked
			}
		}
		return span{min(s.from, s.to), s.to}
	}
	first, newest, before := int64(math.MaxInt64), h.End, int64(0)
	for _, r := range c.records {
		s := spanOf(r)
		first, newest = min(first, s.from), max(newest, s.to)
	}
	if newest == 0 {
		return nil
	}
	unknown := c.inPlace
	from := max(h.End, newest-window)
	if looked == 0 {
		for _, r := range c.records {
			if s := spanOf(r); s.to <= from {
				before = max(before, s.to)
			}
		}
		h.Since, h.From = max(first, from), before
	} else {
		// A list may lack tokens of the time since the walk before: a live one, one without earlier tokens, or with renewals in place.
		partial := c.dead != nil || first > looked || c.inPlace.to > looked
		if unknown = (span{}); partial && now-looked > prev.Lifetime {
			unknown = span{looked, now}
		}
		// Tokens that were active then are treated as active until their expiration or renewal in place.
		if n, _ := slices.BinarySearch(prev.Expirations, now+1); partial && n > 0 {
			h.active(h.End, prev.Expirations[n-1])
		} else if n < len(prev.Expirations) && c.inPlace.to > looked {
			h.active(h.End, min(c.inPlace.to, now))
		}
	}
	for _, s := range slots(c.records, from, newest, msMinute, spanOf) {
		if s.from > h.From && h.From > 0 {
			h.paused(s.from, unknown, active)
		}
		h.active(s.from, s.to)
	}
	if !active && unknown.from > 0 && looked > 0 {
		h.part(looked)
		h.From, h.Unknown = now, h.Unknown+uint32((now-looked)/msSecond)
	}
	h.renewals(c.records, prev, out)
	h.weekly(out)
	return h
}

// active adds a time with an active token. Calls are ordered by from; the times may overlap.
func (h *History) active(from, to int64) {
	if h.End == 0 {
		h.Start, h.End = from, from
	}
	from = max(from, h.End)
	if to < from {
		return
	}
	for n := max(h.End/msHour+1, to/msHour-839); n <= to/msHour; n++ {
		h.Hours[n%840/8] &^= 1 << (n % 8)
	}
	for n := max(h.End/msDay+1, to/msDay-35); n <= to/msDay; n++ {
		h.Days[n%36] = 0
	}
	for n := max(from/msHour, to/msHour-839); n <= to/msHour; n++ {
		h.Hours[n%840/8] |= 1 << (n % 8)
	}
	for n := max(from/msDay, to/msDay-35); n <= to/msDay; n++ { // rounded, so that the parts add up
		h.Days[n%36] += uint16(min(to/msMinute, (n+1)*msDay/msMinute) - max(from/msMinute, n*msDay/msMinute))
	}
	h.End, h.quiet = to, quiet{From: max(to, h.From)}
}

// part ends a known part.
func (q *quiet) part(to int64) {
	if to > q.From {
		q.Longest = max(q.Longest, uint32(min((to-q.From)/msSecond, math.MaxUint32)))
	}
}

// paused ends the time without a token. The pause is its known time or, if a tenth or more of it is unknown, the longest known part.
// Unknown time counts as active time if the walk found the target active.
func (h *History) paused(end int64, unknown span, active bool) {
	start := cmp.Or(h.End, h.From)
	if from, to := max(unknown.from, h.From), min(unknown.to, end); from < to {
		h.part(from)
		h.Unknown += uint32((to - from) / msSecond)
		before := h.quiet
		if active {
			h.active(from, to)
		}
		h.quiet = before
		h.From = to
	}
	h.part(end)
	p := Pause{uint32(end / msSecond), h.Longest}
	if whole := uint32((end - start) / msSecond); h.Unknown < whole/10 {
		p.Length = whole - h.Unknown
	}
	h.quiet, h.Start = quiet{}, end
	pauses, least := &h.Pauses[end/msWeek%6], 0
	for i, old := range pauses {
		if int64(old.End)*msSecond <= end-window {
			pauses[i] = Pause{}
		}
		if pauses[i].Length < pauses[least].Length {
			least = i
		}
	}
	if p.Length > pauses[least].Length && p.Length >= uint32(msMinute/msSecond) {
		pauses[least] = p
	}
}

// renewals adds the reserve of each renewal: a token that expires later than all before it was issued.
func (h *History) renewals(records []record, prev, out *Census) {
	newest, now := int64(0), out.ReadAt.UnixMilli()
	for _, r := range records {
		if r.issued <= now {
			newest = max(newest, r.issued)
		}
	}
	if newest <= h.Issue || out.Lifetime == 0 {
		return
	}
	lifetime := min(out.Lifetime, newest/12)
	from, last := max(h.Issue+1, newest-12*lifetime), int64(0)
	if prev != nil && len(prev.Expirations) > 0 {
		last = prev.Expirations[len(prev.Expirations)-1]
	}
	for _, r := range records {
		if r.issued < from && r.expires != never {
			last = max(last, r.end())
		}
	}
	for _, s := range slots(records, from, newest, max(msMinute, lifetime/40), func(r record) span {
		if r.issued < from || r.issued > newest || r.expires == never {
			return span{}
		}
		return span{r.issued, r.end()}
	}) {
		if s.to > last && s.from-h.Issue >= (s.to-s.from)/10 { // else it is one issue with that before
			if left := (last - s.from) / msSecond; left > 0 {
				copy(h.Reserves[1:], h.Reserves[:])
				h.Reserves[0] = uint32(min(left, math.MaxUint32))
			}
			h.Issue = s.from
		}
		last = max(last, s.to)
	}
}

// reserve returns the usual reserve in milliseconds; 0: unknown.
func (h *History) reserve() int64 {
	if h.Reserves[2] == 0 {
		return 0
	}
	sorted := slices.DeleteFunc(slices.Clone(h.Reserves[:]), func(r uint32) bool { return r == 0 })
	slices.Sort(sorted)
	return int64(sorted[2]) * msSecond
}

// rhythm is computed from a history.
type rhythm struct {
	start, length int64 // of the history
	usual         int64 // pause
	continuous    bool
}

// until returns the rhythm of the history until end.
func (h *History) until(end int64) rhythm {
	r := rhythm{start: max(h.Since, end-window)}
	r.length = end - r.start
	var longest [3]int64
	for _, week := range h.Pauses {
		for _, p := range week {
			length := int64(p.Length) * msSecond
			for i := 0; i < 3 && int64(p.End)*msSecond > end-window; i++ {
				if length > longest[i] {
					length, longest[i] = longest[i], length
				}
			}
		}
	}
	if r.usual = longest[2]; r.length < 3*msWeek || r.usual == 0 {
		r.usual = longest[0]
	}
	minutes := int64(0)
	for n := h.End / msDay; n >= max(h.End/msDay-35, 0); n-- {
		minutes += int64(h.Days[n%36])
	}
	share := float64(minutes*msMinute+end-h.End) / float64(end-max(h.Since, (h.End/msDay-35)*msDay))
	r.continuous = longest[2] <= 10*msMinute && r.length >= msDay/2 && share >= 0.9
	return r
}

// used reports whether a token was active in the UTC hour n.
func (h *History) used(n int64) bool {
	return n >= h.Since/msHour && n <= h.End/msHour && n > h.End/msHour-840 && h.Hours[n%840/8]>>(n%8)&1 == 1
}

// weekly sets Weekly, for the time after the last expiration.
func (h *History) weekly(out *Census) {
	h.Weekly = 0
	ended := *h
	if n := len(out.Expirations); n > 0 && out.NeverExpiring == 0 {
		ended.active(h.End, out.Expirations[n-1])
	}
	end := ended.End
	last, first := end/msHour, h.Since/msHour
	if ended.until(end).usual < msDay/2 || last-4*168 < first {
		return
	}
	// like reports whether at least 90 % of the used hours of the week that ends at a have a used one in the week that ends at b, ±1 hour.
	like := func(a, b int64) bool {
		used, near := 0, 0
		for n := a - 167; n <= a; n++ {
			if ended.used(n) {
				used++
				if m := n + b - a; ended.used(m-1) || ended.used(m) || ended.used(m+1) {
					near++
				}
			}
		}
		return used > 0 && 10*near >= 9*used
	}
	for n := last; n > last-3*168; n -= 168 {
		if !like(n, n-168) || !like(n-168, n) {
			return
		}
	}
	for n := last + 1; n <= last+168; n++ {
		if n*msHour-end >= msHour && ended.used(n-168) && ended.used(n-2*168) && ended.used(n-3*168) && ended.used(n-4*168) {
			h.Weekly = (n + 2) * msHour
			return
		}
	}
}

// Hour reports whether a token was active in a UTC hour, numbered since 1970, that is not in the future. Hours before the history and
// after the last walk are unknown, and hours without a walk that could find a token.
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
