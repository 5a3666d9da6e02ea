package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func TestScrapeInFlightIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := plain()
		c.Gatherer = blocking(release)
		ctx, cancel := context.WithCancel(t.Context())
		all, probes, ended := startPipes(ctx, t, c)
		scraped := make(chan reply, 1)
		go func() { scraped <- all.get("/metrics") }()
		synctest.Wait()

		cancel()
		time.Sleep(shutdownTimeout - time.Second)
		if all.open() || probes.open() {
			t.Error("accepts connections during shutdown")
		}
		select {
		case err := <-ended:
			t.Fatalf("ended before the scrape: %v", err)
		case r := <-scraped:
			t.Fatalf("%+v before there were metrics", r)
		default:
		}
		close(release)
		if r := <-scraped; r.status != 200 || r.err != nil {
			t.Errorf("%d, %v, want 200", r.status, r.err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v, want nil", err)
		}
	})
}

func TestEndlessScrapeDoesNotHoldTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c := plain()
		c.Gatherer = blocking(release)
		ctx, cancel := context.WithCancel(t.Context())
		all, _, ended := startPipes(ctx, t, c)
		scraped := make(chan reply, 1)
		go func() { scraped <- all.get("/metrics") }()
		synctest.Wait()

		cancel()
		since := time.Now()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v, want nil", err)
		}
		if took := time.Since(since); took != shutdownTimeout {
			t.Errorf("took %s, want %s", took, shutdownTimeout)
		}
		if r := <-scraped; r.err == nil {
			t.Errorf("%d, want a closed connection", r.status)
		}
		close(release)
	})
}

func TestEndWithoutRequestsIsImmediate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		all, probes, ended := startPipes(ctx, t, plain())
		for name, p := range map[string]*pipes{"main": all, "probes": probes} {
			if r := p.get("/-/healthy"); r.status != 200 {
				t.Errorf("%s: %d, %v", name, r.status, r.err)
			}
		}
		// Prometheus keeps its connection between scrapes.
		conn := idle(t, all)
		defer conn.Close()
		cancel()
		since := time.Now()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v, want nil", err)
		}
		if took := time.Since(since); took > time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// idle returns a connection after one response.
func idle(t *testing.T, p *pipes) net.Conn {
	t.Helper()
	conn := dial(t, p)
	send(t, conn, "GET /-/healthy HTTP/1.1\r\nHost: pipes\r\n\r\n")
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 200") {
		t.Fatalf("%q, %v, want 200", answer[:n], err)
	}
	return conn
}

func dial(t *testing.T, p *pipes) net.Conn {
	t.Helper()
	conn, err := p.dial()
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func send(t *testing.T, conn net.Conn, request string) {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	const request = "POST /-/reload HTTP/1.1\r\nHost: pipes\r\nContent-Length: 10\r\n\r\n"
	for _, tt := range []struct {
		name   string
		client func(*testing.T, *pipes) net.Conn
		after  time.Duration
	}{
		{"no header", dial, 10 * time.Second},
		{"half a header", func(t *testing.T, p *pipes) net.Conn {
			conn := dial(t, p)
			send(t, conn, "GET /metrics HTTP/1.1\r\nHost: pi")
			return conn
		}, 10 * time.Second},
		{"half a body", func(t *testing.T, p *pipes) net.Conn {
			conn := dial(t, p)
			send(t, conn, request+"12345")
			return conn
		}, 30 * time.Second},
		{"one request and no other", idle, 2 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				all, _, ended := startPipes(ctx, t, plain())
				since := time.Now()
				conn := tt.client(t, all)
				defer conn.Close()
				_, _ = io.ReadAll(conn)
				// The server lingers half a second over some of the connections that it closes.
				if took := time.Since(since); took < tt.after || took > tt.after+time.Second {
					t.Errorf("cut off after %s, want %s", took, tt.after)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestClientThatDoesNotReadIsCutOff(t *testing.T) {
	for _, tt := range []struct {
		after time.Duration
		cut   bool
	}{{time.Minute - time.Second, false}, {time.Minute + time.Second, true}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			all, _, ended := startPipes(ctx, t, plain())
			conn := dial(t, all)
			defer conn.Close()
			send(t, conn, "GET /metrics HTTP/1.1\r\nHost: pipes\r\nConnection: close\r\n\r\n")
			time.Sleep(tt.after)
			if got, _ := io.ReadAll(conn); (len(got) == 0) != tt.cut {
				t.Errorf("after %s: read %d bytes; cut off: want %t", tt.after, len(got), tt.cut)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFailedListenerEndsTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, probes, ended := startPipes(t.Context(), t, plain())
		if !all.open() || !probes.open() {
			t.Fatal("refused")
		}
		want := errors.New("too many open files")
		probes.fail <- want
		if err := <-ended; !errors.Is(err, want) {
			t.Errorf("Serve: %v, want %v", err, want)
		}
		if all.open() || probes.open() {
			t.Error("a listener is open")
		}
	})
}

func TestPanicIsLoggedAndSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := plain()
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		c.Gatherer = prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { panic("a bug") })
		ctx, cancel := context.WithCancel(t.Context())
		all, _, ended := startPipes(ctx, t, c)
		if r := all.get("/metrics"); r.err == nil {
			t.Errorf("%d, want a closed connection", r.status)
		}
		if r := all.get("/-/healthy"); r.status != 200 {
			t.Errorf("healthy: %d, %v, want 200", r.status, r.err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for _, line := range strings.Split(log.String(), "\n") {
			if strings.Contains(line, "level=WARN") && strings.Contains(line, "a bug") {
				return
			}
		}
		t.Errorf("no warning of the panic in:\n%s", log.String())
	})
}

func TestInvalidWebConfigClosesTheListeners(t *testing.T) {
	c := plain()
	c.ConfigFile = webConfig(t, "nonsense: true\n")
	synctest.Test(t, func(t *testing.T) {
		all, probes, ended := startPipes(t.Context(), t, c)
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "nonsense") {
			t.Errorf("Serve: %v, want the fault of the file", err)
		}
		if all.open() || probes.open() {
			t.Error("a listener is open")
		}
	})
}

func TestServeInvalidWebConfig(t *testing.T) {
	c := plain()
	c.ListenAddress, c.ConfigFile = "127.0.0.1:0", webConfig(t, "nonsense: true\n")
	if err := Serve(t.Context(), c); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("%v, want the fault of the file", err)
	}
}

func TestServeAddressInUse(t *testing.T) {
	taken := listen(t).Addr().String()
	for name, c := range map[string]Config{
		"main":   {ListenAddress: taken},
		"probes": {ListenAddress: "127.0.0.1:0", ProbeAddress: taken},
	} {
		c.Log = slog.New(slog.DiscardHandler)
		err := Serve(t.Context(), c)
		if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), taken) {
			t.Errorf("%s: %v, want that %s is in use", name, err, taken)
		}
	}
}

func TestServeClosesTheFirstListener(t *testing.T) {
	free := listen(t)
	c := plain()
	c.ListenAddress = free.Addr().String()
	c.ProbeAddress = c.ListenAddress
	_ = free.Close()
	if err := Serve(t.Context(), c); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("%v, want that both listeners cannot share an address", err)
	}
	again, err := net.Listen("tcp", c.ListenAddress)
	if err != nil {
		t.Fatalf("the first listener is open: %v", err)
	}
	_ = again.Close()
}

func TestServeAddressOfNoUse(t *testing.T) {
	c := plain()
	c.ListenAddress = "127.0.0.1:70000"
	if err := Serve(t.Context(), c); err == nil || !strings.Contains(err.Error(), "70000") {
		t.Errorf("%v, want the address", err)
	}
}

// A signal can arrive before the first listener is open.
func TestServeWithAnEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := plain()
	c.ListenAddress, c.ProbeAddress = "127.0.0.1:0", "127.0.0.1:0"
	if err := Serve(ctx, c); err != nil {
		t.Errorf("%v, want nil", err)
	}
}
