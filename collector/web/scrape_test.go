package web

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// large is a configuration whose exposition has about that many bytes.
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

// However many clients ask and do not read, and however often: who reads is answered soon, and memory is bounded.
func TestClientsThatDoNotRead(t *testing.T) {
	for _, clients := range []int{8, 40} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			all, _, ended := startPipes(ctx, t, large(2<<20))
			for range clients {
				conn, err := all.dial()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			for range 3 {
				start := time.Now()
				if r := all.get("/metrics"); r.status != 200 || r.err != nil || len(r.body) < 2<<20 {
					t.Errorf("beside %d clients: %d, %v", clients, r.status, r.err)
				}
				if d := time.Since(start); d > 2*maxPause {
					t.Errorf("beside %d clients: after %v", clients, d)
				}
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUnreadAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = maxUnread / 4
		u := &unhurried{log: slog.New(slog.DiscardHandler)}
		large := u.whole(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, size)) }))
		release := make(chan struct{})
		written := make(chan bool, 6)
		for range cap(written) {
			go func() {
				w := &stalled{ResponseRecorder: httptest.NewRecorder(), release: release, cut: make(chan struct{})}
				large(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				written <- w.whole
			}()
		}
		synctest.Wait()
		unread := func() int {
			u.mu.Lock()
			defer u.mu.Unlock()
			return u.bytes
		}
		if n := unread(); n != 4*size {
			t.Errorf("%d bytes unread, want %d", n, 4*size)
		}
		time.Sleep(maxPause)
		synctest.Wait()
		if n := len(written); n != 2 || unread() != 4*size {
			t.Errorf("%d answers given up, %d bytes unread", n, unread())
		}
		close(release)
		whole := 0
		for range cap(written) {
			if <-written {
				whole++
			}
		}
		if whole != 4 || unread() != 0 || len(u.unread) != 0 {
			t.Errorf("%d whole, %d bytes unread", whole, unread())
		}
	})
}

// stalled is a client that reads once released.
type stalled struct {
	*httptest.ResponseRecorder
	release, cut chan struct{}
	whole        bool
}

func (s *stalled) Write(p []byte) (int, error) {
	select {
	case <-s.release:
		s.whole = true
		return len(p), nil
	case <-s.cut:
		return 0, http.ErrHandlerTimeout
	}
}

func (s *stalled) SetWriteDeadline(time.Time) error {
	close(s.cut)
	return nil
}

// A load balancer that looks whether the port is open is no news, other faults of clients are.
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
