package poller

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func ids(c *Census) string {
	var ids []string
	for _, e := range c.Soonest {
		ids = append(ids, e.ID)
	}
	return strings.Join(ids, " ")
}

func TestSoonest(t *testing.T) {
	info := Info{TokenType: "jwt"}
	in := func(id string, d time.Duration) Token {
		return Token{ID: id, Created: at(-1), Expires: at(d), Info: info}
	}
	revoked := func(t Token) Token { t.Revoked = true; return t }
	var dozen []Token
	for i := range 12 {
		dozen = append(dozen, in(fmt.Sprintf("%c", 'a'+i), time.Duration(i+1)*time.Minute))
	}
	for _, tt := range []struct {
		name   string
		tokens []Token
		want   string
	}{
		{"none", nil, ""},
		{"ten of twelve", dozen, "a b c d e f g h i j"},
		{"ties", []Token{in("b", time.Hour), in("a", time.Hour)}, "a b"},
		{"no expired, revoked or never expiring ones", append([]Token{
			in("past", -time.Hour), in("now", 0),
			{ID: "never"},
			revoked(in("r", time.Second)),
		}, dozen[:2]...), "a b"},
		{"read twice", append(slices.Clone(dozen), dozen[0], dozen[0]), "a b c d e f g h i j"},
		{"revoked meanwhile", append(slices.Clone(dozen), revoked(dozen[0])), "b c d e f g h i j k"},
		{"renewed meanwhile: the end that counts", []Token{in("a", 2*time.Hour), in("b", time.Hour), in("a", time.Minute)}, "a b"},
	} {
		for range 5 {
			rand.Shuffle(len(tt.tokens), func(i, j int) { tt.tokens[i], tt.tokens[j] = tt.tokens[j], tt.tokens[i] })
			if got := ids(count(epoch, nil, tt.tokens...)); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
		}
	}
	if got, want := count(epoch, nil, dozen...).Soonest[0], (Expiry{"a", "jwt", at(-1), at(time.Minute)}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// The ten soonest tokens are correct in any order of the list, also if some expire during the walk.
func TestSoonestOfMany(t *testing.T) {
	const tokens = 20_000
	order := rand.Perm(tokens)
	for name, position := range map[string]func(int) int{
		"ascending":  func(i int) int { return i },
		"descending": func(i int) int { return tokens - 1 - i },
		"shuffled":   func(i int) int { return order[i] },
	} {
		c := newCounting()
		now := epoch
		for i := range tokens / 100 {
			now = epoch.Add(time.Duration(i) * time.Second)
			var p Page
			for j := range 100 {
				n := position(i*100 + j)
				p.Tokens = append(p.Tokens, Token{ID: fmt.Sprint(n), Expires: at(time.Duration(n) * time.Second)})
			}
			c.add(p, now)
		}
		if len(c.soon) > 2*candidates+100 {
			t.Errorf("%s: %d candidates are kept", name, len(c.soon))
		}
		if got, want := ids(c.census(nil, now, 0)), "200 201 202 203 204 205 206 207 208 209"; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestSoonestBoundsIds(t *testing.T) {
	for id, want := range map[string]string{
		strings.Repeat("x", 200): strings.Repeat("x", 200), strings.Repeat("x", 201): strings.Repeat("x", 200) + "…",
		strings.Repeat("é", 1<<20) + "!": strings.Repeat("é", 100) + "…",
		"x" + strings.Repeat("é", 100):   "x" + strings.Repeat("é", 99) + "…",
	} {
		if got := ids(count(epoch, nil, Token{ID: id, Expires: at(time.Hour)})); got != want {
			t.Errorf("%d bytes: %q, want %q", len(id), got, want)
		}
	}
	// The whole id identifies a token.
	long := strings.Repeat("x", 300)
	c := count(epoch, nil, Token{ID: long + "a", Expires: at(time.Hour)}, Token{ID: long + "b", Expires: at(time.Hour)})
	if len(c.Soonest) != 2 {
		t.Errorf("of two with long ids: %d", len(c.Soonest))
	}
}

// A census has ten ids of a page, and does not keep the page in memory.
func TestSoonestKeepsNoPage(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	page := strings.Repeat("x", 16<<20)
	c := count(epoch, nil, Token{ID: page[:20], Expires: at(time.Hour)})
	page = ""
	if kept := heap() - before; kept > 4<<20 {
		t.Errorf("%d bytes are kept for %v", kept, c.Soonest)
	}
}

func TestFailingSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSource{}
		f.set("a", failing(&Error{Forbidden, fmt.Errorf("no")}))
		p := newTestPoller(t, f, 1, "a")
		stop := run(p)
		began := time.Now()
		since := func() (since []time.Duration) {
			synctest.Wait()
			if failure := p.Snapshot().Readings[0].Failure; failure != nil {
				return []time.Duration{failure.Since.Sub(began), failure.At.Sub(began)}
			}
			return nil
		}
		check := func(what string, want ...time.Duration) {
			t.Helper()
			if got := since(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: since and at %v, want %v", what, got, want)
			}
		}
		interval := p.config.Schedule.Next(began).Sub(began)
		check("the first time", 0, 0)
		f.set("a", failing(&Error{Timeout, fmt.Errorf("late")}))
		time.Sleep(interval)
		check("the second time, otherwise", 0, interval)
		f.set("a", pages(1, 0))
		time.Sleep(interval)
		check("read")
		f.set("a", failing(&Error{Timeout, fmt.Errorf("late")}))
		time.Sleep(interval)
		check("again", 3*interval, 3*interval)
		stop()
	})
}
