// Package web serves metrics, status page, JSON, health and reload over HTTP.
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
)

// readyAfter is the time after which readiness is reported even if some targets were not attempted: their failures show in scrapes.
const readyAfter = time.Minute

// Config of what is served.
type Config struct {
	Listen func(ctx context.Context, network, address string) (net.Listener, error) // nil: sockets of the machine

	ListenAddress string // of every route
	ProbeAddress  string // of the two health endpoints, in plain HTTP; empty: no such listener
	ConfigFile    string // exporter-toolkit web configuration of ListenAddress; empty: plain HTTP without authentication

	page.Config
	Gatherer prometheus.Gatherer
	Ready    func() bool  // whether every target was attempted or restored
	Reload   func() error // loads the targets again; after an error they are unchanged
	Log      *slog.Logger
}

// newHandlers returns the handler of all routes, and one of the two health endpoints. The time of readyAfter starts now.
func newHandlers(c Config) (all, probes http.Handler) {
	since, latched := time.Now(), new(atomic.Bool)
	// Ready stays ready: later failures are for alerts, not for a load balancer.
	ready := func(w http.ResponseWriter, _ *http.Request) {
		if !latched.Load() && !c.Ready() && time.Since(since) < readyAfter {
			http.Error(w, "not ready: some targets were not attempted yet", http.StatusServiceUnavailable)
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
	status, targets := page.New(c.Config)
	buffered := newBufferedResponses(c.Log)
	mux.Handle("GET /{$}", buffered.handler(status))
	mux.Handle("GET /api/v1/targets", buffered.handler(targets))
	mux.Handle("GET /api/v1/unwatched", buffered.handler(page.Unwatched(c.Snapshot)))
	mux.Handle("GET /metrics", buffered.handler(promhttp.HandlerFor(c.Gatherer, promhttp.HandlerOpts{
		EnableOpenMetrics: true, DisableCompression: true, ErrorLog: slog.NewLogLogger(c.Log.Handler(), slog.LevelError),
	})))
	mux.HandleFunc("POST /-/reload", func(w http.ResponseWriter, _ *http.Request) {
		if err := c.Reload(); err != nil {
			http.Error(w, "targets not reloaded:\n"+err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, "reloaded")
	})
	// Pages of other sites cannot trigger a reload.
	return http.NewCrossOriginProtection().Handler(mux), health()
}
