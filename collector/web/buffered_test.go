package web

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// large returns a configuration whose exposition has about size bytes.
func large(size int) Config {
	const part = 100_000
	text := strings.Repeat("x", part)
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "idaas_test", Help: "For the test."}, []string{"text"})
	for i := range 1 + size/part {
		gauge.WithLabelValues(text + strconv.Itoa(i))
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(gauge)
	c := plain()
	c.Gatherer = registry
	return c
}

// snapshot returns a snapshot of targets with ten tokens of long ids each.
func snapshot(targets int) func() *poller.Snapshot {
	id := strings.Repeat("x", 16<<10)
	s := &poller.Snapshot{Readings: make([]*poller.Reading, targets)}
	for i := range s.Readings {
		census := &poller.Census{ReadAt: time.Now(), Expirations: []int64{time.Now().Add(time.Hour).UnixMilli()}}
		for range 10 {
			census.Soonest = append(census.Soonest, poller.Expiry{ID: id, Expires: census.Expirations[0]})
		}
		s.Readings[i] = &poller.Reading{Target: poller.Target{Label: strconv.Itoa(i), Provider: "p"}, Census: census}
	}
	return func() *poller.Snapshot { return s }
}

// While clients do not read, memory has a limit, a slow reader gets its whole response, and a fast reader gets one soon.
func TestClientsThatDoNotRead(t *testing.T) {
	before := maxUnread
	maxUnread = 4 << 20
	defer func() { maxUnread = before }()
	c := large(2 << 20)
	c.Snapshot = snapshot(13)
	for _, tt := range []struct {
		path    string
		clients int
		size    int // at least, of a response
	}{{"/metrics", 12, 2 << 20}, {"/api/v1/targets", 12, 2 << 20}} {
		t.Run(fmt.Sprint(tt.path, tt.clients), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				all, _, ended := startPipes(ctx, t, c)
				before := heap()
				// Each request is another, so that none shares a response.
				request := func(conn net.Conn, n int) {
					send(t, conn, fmt.Sprintf("GET %s?limit=%d HTTP/1.1\r\nHost: x\r\n\r\n", tt.path, 1000+n))
				}
				slow := dial(t, all)
				request(slow, 0)
				read := make(chan int64, 1)
				go func() {
					buffered := bufio.NewReader(slow)
					r, err := http.ReadResponse(buffered, nil)
					if err != nil {
						read <- 0
						return
					}
					var n int64
					for err == nil {
						var part int64
						part, err = io.CopyN(io.Discard, r.Body, partSize)
						n += part
						time.Sleep(maxPause / 2)
					}
					read <- n
				}()
				synctest.Wait()
				for i := range tt.clients {
					conn := dial(t, all)
					defer conn.Close()
					request(conn, i+1)
				}
				most := 0
				for range 4 {
					synctest.Wait()
					most = max(most, heap()-before)
					time.Sleep(maxPause / 2)
				}
				if limit := maxUnread + 3<<20; most > limit {
					t.Errorf("%d MiB of heap beside %d clients, want at most %d", most>>20, tt.clients, limit>>20)
				}
				since := time.Now()
				r := all.get(tt.path)
				if d := time.Since(since); r.status != 200 || r.err != nil || len(r.body) < tt.size || d > maxWait {
					t.Errorf("%d bytes, %d, %v after %v", len(r.body), r.status, r.err, d)
				}
				if n := <-read; n < int64(tt.size) {
					t.Errorf("%d bytes were read slowly", n)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// 60 clients that do not read and one that reads get the same response, built after the one in progress.
func TestEqualRequestsShareAResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, release, builds := large(1<<20), make(chan struct{}), 0
		gatherer := c.Gatherer
		c.Gatherer = prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			builds++
			<-release
			return gatherer.Gather()
		})
		ctx, cancel := context.WithCancel(t.Context())
		all, _, ended := startPipes(ctx, t, c)
		for range 61 {
			conn := dial(t, all)
			defer conn.Close()
			send(t, conn, "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
			synctest.Wait()
		}
		read := make(chan reply)
		go func() { read <- all.get("/metrics") }()
		for range 2 {
			synctest.Wait()
			release <- struct{}{}
		}
		if r := <-read; r.status != 200 || len(r.body) < 1<<20 || builds != 2 {
			t.Errorf("%d, %d bytes after %d builds, want 2", r.status, len(r.body), builds)
		}
		close(release)
		if r := all.get("/metrics"); r.status != 200 || builds != 3 {
			t.Errorf("a later request: %d after %d builds, want 3", r.status, builds)
		}
		if r := all.get("/api/v1/targets"); r.status != 200 || !strings.HasPrefix(r.body, `{"time"`) {
			t.Errorf("another request: %d %s", r.status, r.body)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// heap returns the bytes in use.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func TestAcceptsGzip(t *testing.T) {
	all, _ := handlers(t, plain())
	for _, path := range []string{"/", "/api/v1/targets", "/metrics", "/api/v1/targets?stat=ok"} {
		plain := ask(all, "GET", path)
		for header, want := range map[string]bool{
			"": false, "gzip": true, "GZIP": true, "br, zstd, gzip;q=0.5": true, "gzip ; q=1.0,identity": true, "deflate": false, "x-gzip": false,
			"gzip;q=0": false, "identity, gzip; Q=0.000": false, "br;q=1": false,
		} {
			w := ask(all, "GET", path, "Accept-Encoding", header)
			if got := w.Header().Get("Content-Encoding") == "gzip"; got != want || w.Code != plain.Code {
				t.Errorf("%s, %q: %d, %v", path, header, w.Code, w.Header())
				continue
			}
			if w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len()) || !slices.Contains(w.Header().Values("Vary"), "Accept-Encoding") {
				t.Errorf("%s, %q: %d bytes: %v", path, header, w.Body.Len(), w.Header())
			}
			body := decompressed(t, w, w.Header().Get("Content-Encoding"))
			if path == "/api/v1/targets?stat=ok" && body != plain.Body.String() || len(body) < 10 {
				t.Errorf("%s, %q: %s", path, header, body)
			}
		}
	}
}

// A load balancer that only opens a connection is not logged as a warning; other faults of clients are.
func TestLevelOfServerErrors(t *testing.T) {
	for line, level := range map[string]string{
		"http: TLS handshake error from 127.0.0.1:1: EOF\n":                                                             "DEBUG",
		"http: TLS handshake error from 127.0.0.1:1: read tcp 127.0.0.1:2->127.0.0.1:1: read: connection reset by peer": "DEBUG",
		"http: TLS handshake error from 127.0.0.1:1: read tcp 127.0.0.1:2->127.0.0.1:1: i/o timeout":                    "DEBUG",
		"http: TLS handshake error from 127.0.0.1:1: tls: first record does not look like a TLS handshake":              "WARN",
		"http: TLS handshake error from 127.0.0.1:1: tls: client didn't provide a certificate":                          "WARN",
		"http: panic serving 127.0.0.1:1: oh":                                                                           "WARN",
	} {
		var out strings.Builder
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		if _, err := (serverLog{log}).Write([]byte(line)); err != nil || !strings.Contains(out.String(), "level="+level) {
			t.Errorf("%s: %s", line, out.String())
		}
	}
}
