package idaas

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Every failure has a different text, so memory that holds them would grow.
func TestFailingWalksLeaveNothingBehind(t *testing.T) { synctest.Test(t, failingWalks) }

func failingWalks(t *testing.T) {
	const targets = 10
	n := 0
	answer := func(status int, format string) (*http.Response, error) {
		body := fmt.Sprintf(format, n, strings.Repeat("x", 500))
		return &http.Response{
			StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}, nil
	}
	c := (&api{}).client(readyText("ready"), rateLimit(1e9), retries(0), func(c *Config) {
		c.Events = nil
		c.Log = slog.New(slog.DiscardHandler)
		c.Transport = roundTripFunc(func(*http.Request) (*http.Response, error) {
			n++
			switch n % 7 {
			case 0:
				return nil, fmt.Errorf("broken %d", n)
			case 1:
				return answer(500, `{"error":"code-%d","error_description":"%s"}`)
			case 2:
				return answer(403, `{"Code":"Code%d","Message":"%s"}`)
			case 3:
				return answer(200, `{"entities":[{"authenticationTokenId":"%d"},{"%s":1}]}`)
			case 4:
				return answer(200, `{"entities":[{"authenticationTokenId":"a"}],"nextToken":"%d%s"}`)
			case 5:
				return answer(429, `<html>%d %s`)
			}
			r, err := answer(200, `{"entities":[],"x":"%d%s"}`)
			r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, 100), failingReader{}))
			return r, err
		})
	})
	var all []poller.Target
	for i := range targets {
		all = append(all, target(fmt.Sprint(i), "provider"))
	}
	failed := 0
	p := poller.New(poller.Config{
		Source: c, Schedule: poller.Schedule{Calendar: every(time.Minute)},
		Targets: all, Concurrency: 1, Timeout: time.Hour, Log: slog.New(slog.DiscardHandler),
		Events: poller.Events{Walked: func(time.Duration, poller.Reason) { failed++ }},
	})
	until := func(walks int) uint64 {
		for failed < walks {
			p.Once(t.Context())
		}
		return liveHeap()
	}
	early, late := until(1_000), until(10_000)
	t.Logf("%d KiB after 1,000 failed walks, %d KiB after 10,000", early>>10, late>>10)
	if grown := int64(late) - int64(early); grown > 128<<10 {
		t.Errorf("the heap grew by %d bytes in 9,000 failed walks", grown)
	}
	if r := p.Snapshot().Readings[0]; r.Census != nil {
		t.Errorf("published %+v", r.Census)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("cut") }

// sampled measures the heap while a body is read.
type sampled struct {
	io.ReadCloser
	read, next int64
	peak       uint64
}

func (s *sampled) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if s.read += int64(n); s.read >= s.next {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		s.peak = max(s.peak, m.HeapAlloc)
		s.next = s.read + 1<<20
	}
	return n, err
}

func TestHugeHeadersAreNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{}
		a.serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Huge", strings.Repeat("x", 2<<20))
			fmt.Fprint(w, `{"entities":[]}`)
		}))
		r := a.poll(t, a.client(readyText("ready"), retries(0)), target("consumer", "provider"))[0]
		if r.Failure == nil || r.Failure.Reason != poller.Connection {
			t.Errorf("%+v %+v", r.Census, r.Failure)
		}
	})
}

func TestAHugeBodyIsNotHeld(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		a.transport.ReadBufferSize = 64 << 10
		targets := a.fill(1, 3)
		body := &sampled{}
		c := a.client(readyText(a.accessTokenOf(t)), func(c *Config) {
			c.Transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
				resp, err := a.transport.RoundTrip(r)
				if err == nil {
					body.ReadCloser = resp.Body
					resp.Body = body
				}
				return resp, err
			})
		})
		a.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.HugeBody, Size: 512 << 20})
		before := liveHeap()
		r := a.poll(t, c, targets...)[0]
		if r.Failure == nil || r.Failure.Reason != poller.Malformed || !strings.Contains(r.Failure.Text, "longer than 16 MiB") {
			t.Errorf("%+v", r.Failure)
		}
		t.Logf("%d MiB of 512 read, at most %d MiB of heap in use for it", body.read>>20, (body.peak-before)>>20)
		if body.read > 2*(maxBody+1<<20) { // it is requested once more
			t.Errorf("%d bytes read", body.read)
		}
		if body.peak-before > 64<<20 {
			t.Errorf("%d bytes of heap in use", body.peak-before)
		}
		if after := liveHeap(); after > before+1<<20 {
			t.Errorf("%d bytes of heap still in use", after-before)
		}
	})
}
