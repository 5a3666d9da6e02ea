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

// A history matches the tokens, and does not depend on the times of the walks.
func TestHistoryOfRandomTokens(t *testing.T) {
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
				t.Fatalf("round %d, %s: since %v, end %v, usual pause %v; want %v, %v, %v", round, how,
					time.Duration(rhythm.start-at(0))*time.Millisecond,
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
		for j := range h.Pauses[i] {
			h.Pauses[i][j] = Pause{1 << 31, 1 << 31}
		}
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

func TestWhatIsUnknownIsNoPause(t *testing.T) {
	type look struct {
		at     time.Duration
		tokens []Token
		live   bool
	}
	nightly := eachToken(10, 2*anHour, aDay, 15*aMinute)
	// looks walks the tokens that list returns once per period.
	looks := func(live bool, from, to, period time.Duration, list func(x Token, now int64) bool) (out []look) {
		for now := from; now <= to; now += period {
			var tokens []Token
			for _, x := range nightly {
				if x.Created <= at(now) && list(x, at(now)) {
					tokens = append(tokens, x)
				}
			}
			out = append(out, look{now, tokens, live})
		}
		return out
	}
	every := func(Token, int64) bool { return true }
	active := func(x Token, now int64) bool { return x.Expires > now }
	kept := func(x Token, now int64) bool { return x.Expires > now-3*msHour } // the API removes others
	newest := func(x Token, now int64) bool { return x.Created > now-msDay }
	inPlace := func(created, updated, to time.Duration) Token {
		return Token{ID: "o", Created: at(created), Updated: at(updated), Expires: at(to)}
	}
	revoked := func(x Token, updated time.Duration) Token { x.Revoked, x.Updated = true, at(updated); return x }
	night := aDay - 15*aMinute
	for _, tt := range []struct {
		name  string
		looks []look
		usual time.Duration // longest pause
		ended time.Duration
	}{
		{"full walks", looks(false, 0, 5*aDay, 5*aMinute, every), night, 4*aDay + 2*anHour + 15*aMinute},
		{
			"an outage of a night", append(looks(false, 0, 2*aDay, 5*aMinute, every), looks(false, 3*aDay, 5*aDay, 5*aMinute, every)...), night,
			4*aDay + 2*anHour + 15*aMinute,
		},
		{"live walks", looks(true, 0, 5*aDay, 5*aMinute, active), night, 4*aDay + 2*anHour + 15*aMinute},
		{"live walks and an outage of a night", append(looks(true, 0, 2*aDay, 5*aMinute, active),
			looks(true, 3*aDay, 5*aDay, 5*aMinute, active)...), night, 4*aDay + 2*anHour + 15*aMinute},
		{"live walks that see a token by chance", looks(true, 2*anHour, 9*aDay, 59*aMinute, active), 0, 0},
		{"expired tokens are soon removed", looks(false, 0, 5*aDay, 5*aMinute, kept), night, 4*aDay + 2*anHour + 15*aMinute},
		{
			"removed in an outage", append(looks(false, 0, 2*aDay, 5*aMinute, every), looks(false, 4*aDay, 5*aDay, 5*aMinute, newest)...), night,
			4*aDay + 2*anHour + 15*aMinute,
		},
		{"renewed in place before the first walk", []look{{
			9 * aDay,
			[]Token{tok(0, anHour), inPlace(2*anHour, 8*aDay, 8*aDay+anHour)},
			false,
		}}, anHour, 8*aDay + anHour},
		{"renewed in place between walks", []look{
			{aDay, []Token{inPlace(0, aDay-aMinute, aDay+30*aMinute)}, false},
			{aDay + anHour, []Token{inPlace(0, aDay-aMinute, aDay+30*aMinute)}, false},
			{aDay + 2*anHour, []Token{inPlace(0, aDay+110*aMinute, aDay+130*aMinute)}, false}, // once or twice
		}, 30 * aMinute, aDay + 120*aMinute},
		{"renewed in place between rare walks", []look{
			{aDay, []Token{inPlace(0, aDay-aMinute, 2*aDay)}, false},
			{aDay + 12*anHour, []Token{inPlace(0, aDay+11*anHour, 2*aDay+11*anHour)}, false},
		}, 0, aDay + 12*anHour},
		{"revoked early", []look{{aDay, []Token{revoked(tok(0, 10*anHour), anHour), tok(3*anHour, 4*anHour)}, false}}, 2 * anHour, 4 * anHour},
		{"an update not later than the creation", []look{{
			aDay,
			[]Token{tok(0, anHour), revoked(tok(2*anHour, 10*anHour), 0), tok(5*anHour, 6*anHour)},
			false,
		}}, 3 * anHour, 6 * anHour},
		{
			"an update after it expired",
			[]look{{aDay, []Token{revoked(tok(0, anHour), 2*anHour), tok(3*anHour, 4*anHour)}, false}},
			2 * anHour,
			4 * anHour,
		},
		{"updated when it expired", []look{{aDay, []Token{inPlace(0, anHour, anHour), tok(3*anHour, 4*anHour)}, false}}, 2 * anHour, 4 * anHour},
		{"twice in the list, once revoked", []look{{
			aDay,
			[]Token{tok(0, 10*anHour), revoked(tok(0, 10*anHour), anHour), tok(3*anHour, 4*anHour)},
			false,
		}}, 2 * anHour, 4 * anHour},
		{"issued in the future", []look{{aDay, []Token{tok(0, anHour), tok(aDay+anHour, aDay+2*anHour)}, false}}, 23 * anHour, aDay},
		{"without a creation", []look{{aDay, []Token{tok(0, anHour), {ID: "x", Expires: at(5 * anHour)}}, false}}, 4 * anHour, 5 * anHour},
		{"active without a creation", []look{
			{aDay, []Token{{ID: "x", Expires: at(3 * aDay)}}, false}, {2 * aDay, []Token{{ID: "x", Expires: at(3 * aDay)}}, false},
		}, 0, 2 * aDay},
		{"without expiration", []look{{aDay, []Token{tok(0, anHour), {ID: "x", Created: at(2 * anHour)}}, false}}, anHour, aDay},
		{"the clock is set back by 5 minutes", []look{
			{aDay, []Token{tok(0, aDay+2*anHour)}, false},
			{aDay - 5*aMinute, []Token{tok(0, aDay+2*anHour)}, false},
			{aDay + 10*aMinute, []Token{tok(0, aDay+2*anHour)}, false},
		}, 0, aDay + 10*aMinute},
		{"the clock is set back by a year", []look{
			{366 * aDay, []Token{tok(0, 400*aDay)}, false}, {aDay, []Token{tok(0, anHour), tok(3*anHour, 400*aDay)}, false},
		}, 2 * anHour, aDay},
		{
			"a pause of three months",
			[]look{{100 * aDay, []Token{tok(0, anHour), tok(99*aDay, 99*aDay+anHour)}, false}},
			99*aDay - anHour,
			99*aDay + anHour,
		},
		{
			"a pause that ended 36 days before",
			[]look{{100 * aDay, append(eachToken(1, 0, 0, anHour), tok(50*aDay, 86*aDay+anHour)), false}},
			0, 86*aDay + anHour,
		},
	} {
		var c *Census
		for _, l := range tt.looks {
			x := newCounting()
			x.add(Page{Tokens: l.tokens, Total: -1}, epoch.Add(l.at))
			if l.live {
				x.dead = &Dead{}
			}
			if c != nil { // as after a restart
				text, err := c.History.MarshalText()
				var again History
				if c.History != nil && (err != nil || again.UnmarshalText(text) != nil || again != *c.History) {
					t.Fatalf("%s: not restored", tt.name)
				}
			}
			c = x.census(c, epoch.Add(l.at), 0)
		}
		rhythm := c.History.until(c.History.End)
		if got := time.Duration(rhythm.usual) * time.Millisecond; (got-tt.usual).Abs() > 10*aMinute || tt.ended != 0 &&
			c.History.End != at(tt.ended) {
			t.Errorf("%s: usual pause %v, ended %v; want %v, %v", tt.name, got, time.UnixMilli(c.History.End).Sub(epoch), tt.usual, tt.ended)
		}
	}
}

func TestReserve(t *testing.T) {
	replicas := func(apart time.Duration) (out []Token) {
		for n, token := range eachToken(20, 0, 12*anHour, aDay) {
			for i := range 3 {
				token.ID += strconv.Itoa(n)
				token.Created += (time.Duration(i) * apart).Milliseconds()
				token.Expires += (time.Duration(i) * apart).Milliseconds()
				out = append(out, token)
			}
		}
		return out
	}
	late := eachToken(12, 0, 12*anHour, aDay) // 12 hours left, but 2 once, 3 once, and 4 twice before the last ten
	for n, left := range map[int]time.Duration{1: 4, 2: 4, 8: 2, 9: 3} {
		shift := (12 - left) * anHour
		for i := n; i < len(late); i++ {
			late[i] = tok(time.Duration(late[i].Created-at(0))*time.Millisecond+shift, time.Duration(late[i].Expires-at(0))*time.Millisecond+shift)
		}
	}
	for name, tt := range map[string]struct {
		tokens []Token
		want   time.Duration
	}{
		"three issues":                       {eachToken(3, 0, 12*anHour, aDay), 0},
		"four":                               {eachToken(4, 0, 12*anHour, aDay), 12 * anHour},
		"at 80 %":                            {eachToken(10, 0, 20*anHour, 25*anHour), 5 * anHour},
		"a week, daily":                      {eachToken(40, 0, aDay, 7*aDay), 6 * aDay},
		"after each has ended":               {eachToken(40, 0, aDay, anHour), 0},
		"replicas within a tenth":            {replicas(30 * aMinute), 13*anHour + 30*aMinute},
		"one that does not last longer":      {append(eachToken(4, 0, 12*anHour, aDay), tok(40*anHour, 41*anHour)), 12 * anHour},
		"one without expiration":             {append(eachToken(4, 0, 12*anHour, aDay), Token{ID: "x", Created: at(40 * anHour)}), 12 * anHour},
		"the third-smallest of the last ten": {late, 4 * anHour},
	} {
		end := tt.tokens[len(tt.tokens)-1].Created
		all := time.UnixMilli(end).Sub(epoch) + aMinute
		var each []time.Duration
		for now := time.Duration(0); now < all; now += anHour / 2 {
			each = append(each, now)
		}
		for how, r := range map[string]*Reading{"from the list": walked(tt.tokens, all), "by walks": walked(tt.tokens, append(each, all)...)} {
			if got := time.Duration(r.Census.History.reserve()) * time.Millisecond; (got - tt.want).Abs() > 15*aMinute {
				t.Errorf("%s, %s: %v, want %v; %v", name, how, got, tt.want, r.Census.History.Reserves)
			}
		}
	}
	// One token that is renewed in place, which no list shows.
	var c *Census
	for n := range 5 {
		updated := time.Duration(n) * 12 * anHour
		c = count(epoch.Add(updated+aMinute), c, Token{ID: "x", Created: at(-aDay), Updated: at(updated), Expires: at(updated + aDay)})
	}
	if got := time.Duration(c.History.reserve()) * time.Millisecond; got != 12*anHour {
		t.Errorf("renewed in place: %v", got)
	}
}
