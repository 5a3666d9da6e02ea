package idaas

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// aPage is a response with a hundred tokens, as the simulator encodes it.
func aPage(tb testing.TB) []byte {
	tb.Helper()
	sim := simulator.New(simulator.Config{Clients: []simulator.Client{{ID: testClient, Secret: testSecret}}})
	defer sim.Close()
	now := time.Now()
	sim.Generate("consumer", "provider", 101, func(i int) simulator.Token {
		return simulator.Token{Created: now, Updated: now, Expires: now.Add(time.Duration(i) * time.Minute)}
	})
	var body []byte
	a := &api{transport: &http.Transport{}}
	c := a.client(func(c *Config) {
		c.Transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			sim.ServeHTTP(w, r)
			body = bytes.Clone(w.Body.Bytes())
			return w.Result(), nil
		})
	})
	for _, err := range c.Pages(tb.Context(), target("consumer", "provider")) {
		if err != nil {
			tb.Fatal(err)
		}
		break
	}
	return body
}

func BenchmarkDecode(b *testing.B) {
	body := aPage(b)
	d := &decoder{}
	b.Run("tokens", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if page, _, err := d.read(body); err != nil || len(page.Tokens) != 100 {
				b.Fatal(err)
			}
		}
	})
	b.Run("structs", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if page, _, err := decodeByStructs(body, d.tokens[:0]); err != nil || len(page.Tokens) != 100 {
				b.Fatal(err)
			}
		}
	})
}
