package poller

import (
	"hash/maphash"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
	"time"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at returns the Unix milliseconds of a moment after epoch.
func at(d time.Duration) int64 { return epoch.Add(d).UnixMilli() }

func newCounting() *counting { return &counting{seed: maphash.MakeSeed(), reported: -1, now: time.Now} }

func count(end time.Time, prev *Census, tokens ...Token) *Census {
	c := newCounting()
	c.add(Page{Tokens: tokens, Total: int64(len(tokens))}, end)
	return c.census(prev, end, time.Second)
}

func TestEveryTokenIsInOneState(t *testing.T) {
	c := count(epoch, nil,
		Token{ID: "revoked", Revoked: true, Expires: at(time.Hour)},
		Token{ID: "revoked and expired", Revoked: true, Expires: at(-time.Hour)},
		Token{ID: "revoked, never expiring", Revoked: true},
		Token{ID: "expired", Expires: at(-time.Millisecond)},
		Token{ID: "expires now", Expires: at(0)},
		Token{ID: "expires next", Expires: at(time.Millisecond)},
		Token{ID: "in an hour", Expires: at(time.Hour)},
		Token{ID: "never"},
		Token{ID: "never, negative", Expires: -1},
		Token{ID: "at the end of time", Expires: math.MaxInt64 - 1},
	)
	for _, tt := range []struct {
		name string
		now  time.Time
		want States
	}{
		{"at the walk", epoch, States{
			Total: 10, Active: 5, Expired: 2, Revoked: 3, NeverExpiring: 2, Earliest: at(time.Millisecond),
			LastActive: at(0),
		}},
		{
			"a moment before", epoch.Add(time.Millisecond - 1),
			States{Total: 10, Active: 5, Expired: 2, Revoked: 3, NeverExpiring: 2, Earliest: at(time.Millisecond), LastActive: at(0)},
		},
		{"at its end", epoch.Add(time.Millisecond), States{
			Total: 10, Active: 4, Expired: 3, Revoked: 3, NeverExpiring: 2,
			Earliest: at(time.Hour), LastActive: at(0),
		}},
		{"an hour on", epoch.Add(time.Hour), States{
			Total: 10, Active: 3, Expired: 4, Revoked: 3, NeverExpiring: 2,
			Earliest: math.MaxInt64 - 1, LastActive: at(0),
		}},
	} {
		got := c.At(tt.now)
		got.now, got.pending = 0, nil
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
}

func TestWindowsAreCumulativeAndHalfOpen(t *testing.T) {
	c := count(epoch, nil,
		Token{ID: "a", Expires: at(time.Minute)},
		Token{ID: "b", Expires: at(time.Hour)},
		Token{ID: "c", Expires: at(time.Hour + time.Millisecond)},
		Token{ID: "never"},
		Token{ID: "r", Expires: at(time.Minute), Revoked: true},
	)
	for _, tt := range []struct {
		now    time.Duration
		window time.Duration
		want   int
	}{
		{0, time.Minute - time.Millisecond, 0},
		{0, time.Minute, 1},
		{0, time.Hour, 2},
		{0, 24 * time.Hour, 3},
		{time.Minute, time.Hour, 2},
		{time.Hour, time.Hour, 1},
		{2 * time.Hour, time.Hour, 0},
	} {
		if got := c.At(epoch.Add(tt.now)).Expiring(tt.window); got != tt.want {
			t.Errorf("at +%v: %d expire within %v, want %d", tt.now, got, tt.window, tt.want)
		}
	}
}

func TestDuplicatesCountOnceWhateverTheOrder(t *testing.T) {
	readings := []Token{
		{ID: "same", Expires: at(time.Hour), Created: 5},
		{ID: "same", Expires: at(time.Hour), Created: 5},
		{ID: "revoked meanwhile", Expires: at(time.Hour)},
		{ID: "revoked meanwhile", Expires: at(time.Hour), Revoked: true},
		{ID: "renewed", Expires: at(time.Hour), Created: 5},
		{ID: "renewed", Expires: at(2 * time.Hour), Created: 6},
		{ID: "other", Expires: at(-1)},
	}
	var first *Census
	for range 20 {
		rand.Shuffle(len(readings), func(i, j int) { readings[i], readings[j] = readings[j], readings[i] })
		c := count(epoch, nil, readings...)
		if s := c.At(epoch); s.Total != 4 || s.Expired != 1 || s.Active+s.Revoked != 3 {
			t.Fatalf("4 tokens were read twice, counted %+v", s)
		}
		if first == nil {
			first = c
		}
		if !reflect.DeepEqual(c, first) {
			t.Fatalf("the order of the readings made a difference:\n%+v\n%+v", c, first)
		}
	}
}

func TestLatestExpiration(t *testing.T) {
	for _, tt := range []struct {
		name   string
		tokens []Token
		want   int64
	}{
		{"none", nil, 0},
		{"none active", []Token{{ID: "a", Expires: at(-1)}}, 0},
		{"the last of two", []Token{{ID: "a", Expires: at(1e9)}, {ID: "b", Expires: at(2e9)}}, at(2e9)},
		{"one never expires", []Token{{ID: "a", Expires: at(1e9)}, {ID: "b"}}, 0},
	} {
		if got := count(epoch, nil, tt.tokens...).At(epoch).Latest; got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestLifetimeAndNewestIssue(t *testing.T) {
	day := 24 * time.Hour
	prev := count(epoch, nil, Token{ID: "old", Created: at(-day), Expires: at(9 * day), Info: Info{TokenType: "jwt"}})
	if want := (10 * day).Milliseconds(); prev.Lifetime != want {
		t.Fatalf("lifetime %d, want %d", prev.Lifetime, want)
	}
	later := epoch.Add(20 * day)
	for _, tt := range []struct {
		name             string
		tokens           []Token
		lifetime, newest int64
	}{
		{"carried on with nothing left", nil, prev.Lifetime, 0},
		{"carried on with expired and revoked left", []Token{
			{ID: "a", Created: at(0), Expires: at(day)},
			{ID: "b", Created: at(0), Revoked: true},
		}, prev.Lifetime, 0},
		{
			"of the one that expires last, not of the newest",
			[]Token{{ID: "a", Created: at(0), Expires: at(30 * day)}, {ID: "b", Created: at(19 * day), Expires: at(21 * day)}},
			(30 * day).Milliseconds(), at(19 * day),
		},
		{"unknown when that one has no issue", []Token{{ID: "a", Expires: at(30 * day)}}, 0, 0},
		{"never expiring ones do not count", []Token{{ID: "a", Created: at(day)}}, prev.Lifetime, at(day)},
		{"issued after it expires is no lifetime", []Token{{ID: "a", Created: at(40 * day), Expires: at(30 * day)}}, 0, at(40 * day)},
	} {
		c := count(later, prev, tt.tokens...)
		if c.Lifetime != tt.lifetime || c.NewestIssue != tt.newest {
			t.Errorf("%s: lifetime %d, newest issue %d; want %d, %d", tt.name, c.Lifetime, c.NewestIssue, tt.lifetime, tt.newest)
		}
	}
}

func TestLastActive(t *testing.T) {
	hour := time.Hour
	expiring := count(epoch, nil, Token{ID: "a", Expires: at(hour)}, Token{ID: "b", Expires: at(2 * hour)})
	neverExpiring := count(epoch, nil, Token{ID: "a"})
	for _, tt := range []struct {
		name   string
		census *Census
		now    time.Duration
		want   int64
	}{
		{"the walk, while one is active", expiring, 2*hour - 1, at(0)},
		{"the last expiration, once it has passed", expiring, 3 * hour, at(2 * hour)},
		{"the walk, for one that never expires", neverExpiring, 99 * hour, at(0)},
		{"carried by a walk that saw none after they expired", count(epoch.Add(5*hour), expiring), 9 * hour, at(2 * hour)},
		{"carried by a walk that saw them revoked: the walk before", count(epoch.Add(hour/2), expiring), 9 * hour, at(0)},
		{"carried twice", count(epoch.Add(6*hour), count(epoch.Add(5*hour), expiring)), 9 * hour, at(2 * hour)},
		{"never seen", count(epoch, nil, Token{ID: "a", Expires: at(-hour)}), 0, 0},
		{"seen again", count(epoch.Add(5*hour), expiring, Token{ID: "c", Expires: at(9 * hour)}), 6 * hour, at(5 * hour)},
	} {
		if got := tt.census.At(epoch.Add(tt.now)).LastActive; got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestInfoIsOfTheTokenIssuedLastAndCarriedOn(t *testing.T) {
	old, recent := Info{ProviderID: "atp_1", TokenType: "jwt"}, Info{ProviderID: "atp_2", TokenType: "oauth_access_token"}
	c := count(epoch, nil, Token{ID: "b", Created: 2, Info: recent, Revoked: true}, Token{ID: "a", Created: 1, Info: old})
	if *c.Info != recent {
		t.Errorf("info %+v", *c.Info)
	}
	if next := count(epoch, c); *next.Info != recent {
		t.Errorf("an empty walk lost the info: %+v", next.Info)
	}
	if c := count(epoch, nil); c.Info != nil {
		t.Errorf("info without a token: %+v", c.Info)
	}
	if c := count(epoch, nil, Token{ID: "a", Info: old}); c.Info == nil || *c.Info != old {
		t.Errorf("info of a token without times: %+v", c.Info)
	}
}

func TestReportedIsTheTotalOfTheFirstPage(t *testing.T) {
	for _, tt := range []struct {
		totals []int64
		want   int64
	}{{nil, -1}, {[]int64{-1}, -1}, {[]int64{0}, 0}, {[]int64{7, 0, -1}, 7}, {[]int64{-1, 8}, -1}} {
		c := newCounting()
		for _, total := range tt.totals {
			c.add(Page{Total: total}, epoch)
		}
		if got := c.census(nil, epoch, 0); got.Reported != tt.want || got.Pages != len(tt.totals) {
			t.Errorf("totals %v: reported %d on %d pages, want %d", tt.totals, got.Reported, got.Pages, tt.want)
		}
	}
}

func BenchmarkCensus(b *testing.B) {
	const tokens = 1_000_000
	page := Page{Total: tokens, Tokens: make([]Token, 100)}
	b.ReportAllocs()
	for b.Loop() {
		c := newCounting()
		for i := range tokens / len(page.Tokens) {
			for j := range page.Tokens {
				n := i*len(page.Tokens) + j
				page.Tokens[j] = Token{ID: strconv.Itoa(n), Expires: at(time.Duration(n%100_000-50_000) * time.Second), Created: at(-time.Hour)}
			}
			c.add(page, epoch)
		}
		if got := c.census(nil, epoch, 0).At(epoch).Total; got != tokens {
			b.Fatal(got)
		}
	}
}

// The memory for a long list is allocated early, and most of the list is read into one array.
func TestALongListHasItsRoomEarly(t *testing.T) {
	const tokens = 100_000
	page := Page{Total: tokens, Tokens: make([]Token, 100)}
	for i := range page.Tokens {
		page.Tokens[i] = Token{ID: strconv.Itoa(i), Revoked: true}
	}
	c, moved := newCounting(), 0
	for range tokens / len(page.Tokens) {
		before := cap(c.records)
		had := len(c.records)
		if c.add(page, epoch); cap(c.records) != before {
			moved = had
		}
	}
	if moved > tokens/10 {
		t.Errorf("%d records were copied when there were %d", moved, tokens)
	}
}
