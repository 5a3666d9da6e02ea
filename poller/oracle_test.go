package poller

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// expectedCensus is a simple implementation of the result of a walk, with several passes over all tokens.
func expectedCensus(tokens []Token, end time.Time) *Census {
	byID := map[string]Token{}
	rank := func(t Token) int64 {
		switch {
		case t.Revoked:
			return -1
		case t.Expires <= 0:
			return never
		}
		return t.Expires
	}
	out := &Census{}
	issued := int64(-1)
	for _, t := range tokens {
		if t.Issued() > issued {
			info := t.Info
			out.Info, issued = &info, t.Issued()
		}
		if was, ok := byID[t.ID]; !ok || cmp.Or(cmp.Compare(rank(t), rank(was)), cmp.Compare(t.Issued(), was.Issued())) < 0 {
			byID[t.ID] = t
		}
	}
	var pending []Token
	for _, t := range byID {
		switch now := end.UnixMilli(); {
		case t.Revoked:
			out.Revoked++
			continue
		case rank(t) == never:
			out.NeverExpiring++
		case t.Expires <= now:
			out.Expired++
			continue
		default:
			pending = append(pending, t)
			out.Expirations = append(out.Expirations, t.Expires)
		}
		out.NewestIssue = max(out.NewestIssue, t.Issued())
	}
	slices.Sort(out.Expirations)
	slices.SortFunc(pending, func(a, b Token) int { return cmp.Or(cmp.Compare(a.Expires, b.Expires), cmp.Compare(a.ID, b.ID)) })
	for _, t := range pending[:min(soonest, len(pending))] {
		out.Soonest = append(out.Soonest, Expiry{t.ID, t.Info.TokenType, t.Issued(), t.Expires})
	}
	if n := len(pending); n > 0 {
		last := slices.MaxFunc(pending, func(a, b Token) int {
			return cmp.Or(cmp.Compare(a.Expires, b.Expires), cmp.Compare(a.Issued(), b.Issued()))
		})
		if last.Issued() > 0 {
			out.Lifetime = max(0, last.Expires-last.Issued())
		}
	}
	return out
}

// The result of a walk is correct for random tokens that expire, are revoked, renewed or listed twice, in any pages, with any totalCount.
func TestCensusOfRandomTokens(t *testing.T) {
	for range 300 {
		c := newCounting()
		var all []Token
		now := epoch
		for page := range 1 + rand.IntN(40) {
			var tokens []Token
			for range rand.IntN(100) {
				token := Token{ID: fmt.Sprint("t", rand.IntN(3000)), Revoked: rand.IntN(5) == 0, Info: Info{TokenType: fmt.Sprint(page)}}
				if rand.IntN(10) > 0 {
					token.Expires = at(time.Duration(rand.IntN(200)-50) * time.Second)
				}
				if rand.IntN(10) > 0 {
					// Each has another time, so that the last one is unique.
					token.Created = at(-time.Duration(rand.IntN(1e9)) * time.Millisecond)
				}
				tokens = append(tokens, token)
			}
			all = append(all, tokens...)
			c.add(Page{Tokens: tokens, Total: int64(rand.IntN(8000) - 1)}, now)
			now = now.Add(time.Duration(rand.IntN(3000)) * time.Millisecond)
		}
		got, want := c.census(nil, now, 0), expectedCensus(all, now)
		got.History = nil // see TestHistoryOfRandomTokens
		want.Reported, want.Pages, want.ReadAt = got.Reported, got.Pages, now
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	}
}
