package web

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/idaas-exporter/idaas-token-exporter/collector/web/page"
	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain returns a configuration that is always ready, with one gauge.
func plain() Config {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "idaas_test", Help: "For the test."})
	registry := prometheus.NewRegistry()
	registry.MustRegister(gauge)
	return Config{
		Config:   page.Config{Snapshot: func() *poller.Snapshot { return &poller.Snapshot{} }, Version: "1.2.3-test"},
		Gatherer: registry,
		Ready:    func() bool { return true },
		Reload:   func() error { return nil },
		Log:      slog.New(slog.DiscardHandler),
	}
}

func handlers(t *testing.T, c Config) (all, probes http.Handler) {
	t.Helper()
	return newHandlers(c)
}

// ask returns the response of a handler; headers are pairs of name and value.
func ask(h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// blocking returns a gatherer that returns when release is closed.
func blocking(release <-chan struct{}) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		<-release
		return nil, nil
	})
}

// listening is a log handler that receives the addresses of the listeners.
type listening chan string

func (l listening) Enabled(context.Context, slog.Level) bool { return true }
func (l listening) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l listening) WithGroup(string) slog.Handler            { return l }

func (l listening) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "Listening on" {
		r.Attrs(func(a slog.Attr) bool {
			l <- a.Value.String()
			return false
		})
	}
	return nil
}

// start serves on loopback until the end of the test, and returns the addresses of the listeners in any order.
func start(t *testing.T, c Config) []string {
	t.Helper()
	addresses := make(listening, 2)
	c.ListenAddress, c.Log = "127.0.0.1:0", slog.New(addresses)
	want := 1
	if c.ProbeAddress != "" {
		want++
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, c) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v, want nil after its context ended", err)
		}
	})
	var got []string
	for range want {
		select {
		case a := <-addresses:
			got = append(got, a)
		case err := <-ended:
			ended <- err
			t.Fatalf("Serve ended: %v", err)
		}
	}
	return got
}

// reply is a response, or the error of a client.
type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

func do(client *http.Client, r *http.Request) reply {
	resp, err := client.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body), err}
}

// get sends a request on a connection that is closed after it.
func get(transport *http.Transport, url string) reply {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return reply{err: err}
	}
	transport.DisableKeepAlives = true
	return do(&http.Client{Transport: transport}, r)
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// webConfig writes a web configuration file, and returns its name.
func webConfig(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "web.yml")
	write(t, name, content)
	return name
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}
