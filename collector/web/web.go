// Package web is all HTTP that the exporter serves.
package web

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/idaas-exporter/idaas-token-exporter/collector/web/page"
	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// readyAfter is when readiness is reported although not every target was attempted: a scrape then tells more than an unready pod.
const readyAfter = time.Minute

// Config of what is served.
type Config struct {
	Listen func(ctx context.Context, network, address string) (net.Listener, error) // nil: sockets

	ListenAddress string // of every route
	ProbeAddress  string // of the two health endpoints alone, in plain HTTP; empty: they have no listener of their own
	ConfigFile    string // exporter-toolkit web configuration of ListenAddress; empty: plain HTTP that anybody may read

	Gatherer     prometheus.Gatherer
	Snapshot     func() *poller.Snapshot
	MaxStaleness time.Duration // age at which the page shows a target's numbers no more; 0: it always does
	Ready        func() bool   // whether there is something to show of every target
	Reload       func() error  // reads the targets again; the error says why they stay as they were
	Version      string
	Log          *slog.Logger
}

// newHandlers returns the handler of every route, and one with the two health endpoints only. The minute after which
// they are ready counts from now.
func newHandlers(c Config) (all, probes http.Handler) {
	since, latched := time.Now(), new(atomic.Bool)
	// From the moment it is ready on: what fails later is for alerts, not for a load balancer.
	ready := func(w http.ResponseWriter, _ *http.Request) {
		if !latched.Load() && !c.Ready() && time.Since(since) < readyAfter {
			http.Error(w, "not ready: not every target was attempted yet", http.StatusServiceUnavailable)
			return
		}
		latched.Store(true)
		fmt.Fprintln(w, "ready")
	}
	health := func() *http.ServeMux {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "healthy") })
		mux.HandleFunc("GET /-/ready", ready)
		return mux
	}
	mux := health()
	status, targets := page.New(page.Config{Snapshot: c.Snapshot, MaxStaleness: c.MaxStaleness, Version: c.Version})
	buffered := newBufferedResponses(c.Log)
	mux.Handle("GET /{$}", buffered.handler(status))
	mux.Handle("GET /api/v1/targets", buffered.handler(targets))
	mux.Handle("GET /metrics", buffered.handler(promhttp.HandlerFor(c.Gatherer, promhttp.HandlerOpts{
		EnableOpenMetrics: true, DisableCompression: true, ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelError),
	})))
	mux.HandleFunc("POST /-/reload", func(w http.ResponseWriter, _ *http.Request) {
		if err := c.Reload(); err != nil {
			http.Error(w, "nothing was changed:\n"+err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, "reloaded")
	})
	// No page of another site may make a browser reload.
	return http.NewCrossOriginProtection().Handler(mux), health()
}
