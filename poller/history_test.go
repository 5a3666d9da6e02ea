package poller

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
	"unsafe"
)

const (
	aMinute = time.Minute
	anHour  = time.Hour
	aDay    = 24 * time.Hour
)

// tok returns a token that is valid from and to after epoch.
func tok(from, to time.Duration) Token {
	return Token{ID: strconv.FormatInt(int64(from), 36), Created: at(from), Expires: at(to)}
}

// each returns n tokens, one every period from from on.
func eachToken(n int, from, period, life time.Duration) (out []Token) {
	for i := range n {
		start := from + time.Duration(i)*period
		out = append(out, tok(start, start+life))
	}
	return out
}

// What a history says must not depend on when the list was walked, and be what the tokens say.
func TestAHistoryOfAnything(t *testing.T) {
	for round := range 100 {
		r := rand.New(rand.NewPCG(uint64(round), 1))
		var tokens []Token
		gap := time.Duration(1+r.IntN(300)) * aMinute
		now := time.Duration(0)
		for range 1 + r.IntN(400) {
			now += time.Duration(r.Int64N(int64(2 * gap)))
			tokens = append(tokens, tok(now, now+aMinute+time.Duration(r.Int64N(int64(gap)))))
			if i := r.IntN(8); i < 2 { // revoked, sometimes before its update, or after it expired
				n := len(tokens) - 1
				tokens[n].Revoked, tokens[n].Updated = true, tokens[n].Created+int64(r.IntN(100)-20)*msMinute
			}
		}
		// The same by intervals.
		type pause struct{ end, length time.Duration }
		var all []pause
		var until time.Duration
		for n, token := range tokens {
			end := token.Expires
			if token.Revoked {
				end = max(token.Created, min(end, token.Updated))
			}
			from, to := time.Duration(token.Created-at(0))*time.Millisecond, time.Duration(end-at(0))*time.Millisecond
			if n > 0 && from > until {
				all = append(all, pause{from, from - until})
			}
			until = max(until, to)
		}
		last := until
		start := max(time.Duration(tokens[0].Created-at(0))*time.Millisecond, last-35*aDay)
		pauses := make([]time.Duration, 0, len(all))
		inactive := time.Duration(0)
		for _, p := range all {
			if p.end > last-35*aDay && p.length >= aMinute {
				pauses = append(pauses, p.length)
			}
			inactive += max(0, p.end-max(p.end-p.length, start))
		}
		slices.Sort(pauses)
		slices.Reverse(pauses)
		share := 1 - float64(inactive)/float64(last-start)
		once := count(epoch.Add(last+aMinute), nil, tokens...)
		var walked *Census
		for at := time.Duration(0); at <= last+aMinute; at += time.Duration(1 + r.Int64N(int64(4*gap))) {
			n := 0
			var seen []Token
			for ; n < len(tokens) && tokens[n].Created <= epoch.Add(at).UnixMilli(); n++ {
				token := tokens[n]
				if token.Revoked && token.Updated > epoch.Add(at).UnixMilli() {
					token.Revoked, token.Updated = false, 0
				}
				seen = append(seen, token)
			}
			walked = count(epoch.Add(at), walked, seen...)
		}
		walked = count(epoch.Add(last+aMinute), walked, tokens...)
		for how, c := range map[string]*Census{"at once": once, "by many walks": walked} {
			h := c.History
			rhythm := h.until(h.End)
			usual := time.Duration(0)
			if n := len(pauses); n > 0 {
				usual = pauses[0]
				if last-start >= 3*7*aDay && n >= 3 {
					usual = pauses[2]
				}
			}
			if rhythm.start != at(start) || h.End != at(last) || (time.Duration(rhythm.usual)*time.Millisecond-usual).Abs() > time.Second {
				t.Fatalf("round %d, %s: since %v, end %v, usual pause %v; want %v, %v, %v", round, how, time.Duration(rhythm.start-at(0))*time.Millisecond,
					time.Duration(h.End-at(0))*time.Millisecond, time.Duration(rhythm.usual)*time.Millisecond, start, last, usual)
			}
			minutes := 0
			for _, n := range h.Days {
				minutes += int(n)
			}
			if got := float64(minutes) / (last - start).Minutes(); last-start < 34*aDay && last-start > aDay && math.Abs(got-share) > 0.02 {
				t.Fatalf("round %d, %s: active in %.3f of the time, want %.3f", round, how, got, share)
			}
		}
	}
}

func TestTheSizeOfAHistory(t *testing.T) {
	h := &History{}
	for i := range h.Pauses {
		h.Pauses[i] = Pause{1 << 31, 1 << 31}
	}
	for i := range h.Hours {
		h.Hours[i] = 0xff
	}
	text, err := json.Marshal(h)
	if size := unsafe.Sizeof(*h); err != nil || size > 600 || len(text) > 600 {
		t.Errorf("%d bytes, %d in a file, %v", size, len(text), err)
	}
	var back History
	if err := json.Unmarshal(text, &back); err != nil || back != *h {
		t.Errorf("%v\n got %v\nwant %v", err, back, *h)
	}
}
