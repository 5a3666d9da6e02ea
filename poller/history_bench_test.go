package poller

import (
	"strconv"
	"testing"
	"time"
)

// A million tokens of the last 50 days, a third of them revoked: the share of the history in a first walk and in the census.
func BenchmarkHistory(b *testing.B) {
	const tokens = 1_000_000
	c := newCounting()
	page := Page{Total: tokens, Tokens: make([]Token, 100)}
	for i := range tokens / 100 {
		for j := range page.Tokens {
			n := i*100 + j
			created := at(-time.Duration(n*7919%tokens) * 4320 * time.Millisecond)
			page.Tokens[j] = Token{ID: strconv.Itoa(n), Created: created, Updated: created, Expires: created + 15*msMinute, Revoked: n%3 == 0}
		}
		c.add(page, epoch)
	}
	out := c.census(nil, epoch, 0)
	b.ReportAllocs()
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.history(nil, out)
		}
	})
	b.Run("later", func(b *testing.B) {
		b.ReportAllocs()
		later := *out
		later.ReadAt = epoch.Add(5 * time.Minute)
		for b.Loop() {
			c.history(out, &later)
		}
	})
	b.Run("status", func(b *testing.B) {
		r := Reading{Census: out}
		for b.Loop() {
			r.Status(epoch, 5*time.Minute)
		}
	})
}
