package idaas

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// The duration of a cycle is that of the limit, the longest list or the latency, plus 10 % at most.
func TestPace(t *testing.T) {
	const latency, concurrency, limit = 50 * time.Millisecond, 8, 100.0
	for _, tt := range []struct {
		name  string
		pages []int // of each target
	}{
		{"one long list", []int{400}},
		{"a long one among short ones", append([]int{200}, repeat(1, 100)...)},
		{"many short ones", repeat(1, 500)},
		{"as many as are walked at once", repeat(20, concurrency)},
		{"half as many long ones as are walked at once", repeat(50, concurrency/2)},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.Config{Latency: latency})
			requests, longest := 0, 0
			targets := a.fill(len(tt.pages), 0)
			for i, pages := range tt.pages {
				var tokens []simulator.Token
				for j := range pages {
					tokens = append(tokens, simulator.Token{ID: fmt.Sprint(i, "-", j), Expires: time.Now().Add(time.Hour)})
				}
				a.Add(targets[i].Consumer, targets[i].Provider, tokens...)
				requests += pages
				longest = max(longest, pages)
			}
			p := a.poller(a.client(pageSize(1), rateLimit(limit)), concurrency, targets...)
			p.Once(t.Context()) // which knows then what is long
			start, before := time.Now(), a.Requests(simulator.List)
			p.Once(t.Context())
			if got := a.Requests(simulator.List) - before; got != requests {
				t.Errorf("%s: %d requests, want %d", tt.name, got, requests)
			}
			paced := time.Duration(float64(requests) / limit * float64(time.Second))
			least := max(paced, time.Duration(longest)*latency, time.Duration(requests)*latency/concurrency)
			if took := time.Since(start); took > least*11/10 {
				t.Errorf("%s: %d requests in %v, want %v or a little more", tt.name, requests, took, least)
			}
		})
	}
}

func repeat(n, times int) []int {
	all := make([]int, times)
	for i := range all {
		all[i] = n
	}
	return all
}

// copies is the number of copies that a growing buffer makes.
var copies = uint64(1)

// A page of the maximum size uses its size of memory once, whether or not the response has a length.
func TestLongPagesAreInMemoryOnce(t *testing.T) {
	const size = 15 << 20
	body := []byte(`{"entities":[{"authenticationTokenId":"a","x":"` + strings.Repeat("x", size) + `"}],"totalCount":1}`)
	for _, length := range []int64{int64(len(body)), -1} {
		c := (&api{}).client(readyText("ready"), rateLimit(1e9), func(c *Config) {
			c.Transport = roundTripFunc(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: length}, nil
			})
		})
		w := c.newWalk(target("consumer", "provider"))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 3 {
			if err := w.list(t.Context()); err != nil || len(w.page.Tokens) != 1 {
				t.Fatalf("length %d: %+v, %v", length, w.page, err)
			}
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > copies*(maxBody+5<<20) {
			t.Errorf("length %d: %d MiB allocated for three pages of %d", length, got>>20, size>>20)
		}
	}
}

// A page costs fewer than 10 allocations more than the HTTP exchange, independent of the number of tokens.
func TestAllocationsOfAPage(t *testing.T) {
	body := aPage(t)
	answer := &http.Response{
		StatusCode: 200, Header: http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}, ContentLength: int64(len(body)),
	}
	transport := roundTripFunc(func(r *http.Request) (*http.Response, error) {
		answer.Request, answer.Body = r, io.NopCloser(bytes.NewReader(body))
		return answer, nil
	})
	c := (&api{}).client(rateLimit(1e9), func(c *Config) { c.Transport, c.Events = transport, nil })
	c.tokens.value, c.tokens.have = accessToken{text: "ready"}, true
	w := c.newWalk(target("consumer", "provider"))
	ours := testing.AllocsPerRun(100, func() {
		if err := w.list(t.Context()); err != nil || len(w.page.Tokens) != 100 {
			t.Fatal(err)
		}
	})
	asked := answer.Request.URL.String()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	bare := testing.AllocsPerRun(100, func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, asked, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer ready")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	})
	t.Logf("%v allocations, %v by Go's client alone", ours, bare)
	if ours >= bare+10 {
		t.Errorf("%v allocations a page, want fewer than 10 beside the %v of Go's client", ours, bare)
	}
}
