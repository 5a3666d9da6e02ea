// Package web is all HTTP that the exporter serves.
package web

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"
)

// readyAfter is when an exporter counts as ready although not every target was attempted: a scrape then tells more
// than an unready pod.
const readyAfter = time.Minute

// Config of the handler.
type Config struct {
	Gatherer prometheus.Gatherer
	Ready    func() bool // whether every target was attempted
	Version  string
	Log      *slog.Logger
}

// NewHandler returns the handler of every route. The minute after which it is ready counts from now.
func NewHandler(c Config) (http.Handler, error) {
	landing, err := web.NewLandingPage(web.LandingConfig{
		Name:        "IDaaS token exporter",
		Description: "Authentication tokens of Alibaba Cloud IDaaS, for Prometheus",
		Version:     c.Version,
		Profiling:   "false",
		Links: []web.LandingLinks{
			{Address: "/metrics", Text: "Metrics"},
			{Address: "/-/healthy", Text: "Healthy", Description: "200 while the process answers"},
			{Address: "/-/ready", Text: "Ready", Description: "200 once every target was attempted"},
		},
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", landing)
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.Gatherer, promhttp.HandlerOpts{
		EnableOpenMetrics: true,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelError),
	}))
	mux.HandleFunc("GET /-/healthy", healthy)
	mux.Handle("GET /-/ready", &readiness{ready: c.Ready, since: time.Now()})
	return mux, nil
}

func healthy(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "healthy") }

// readiness answers 200 from the moment it is ready on: what fails later is for alerts, not for a load balancer.
type readiness struct {
	ready   func() bool
	since   time.Time
	latched atomic.Bool
}

func (r *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if !r.latched.Load() && !r.ready() && time.Since(r.since) < readyAfter {
		answer(w, http.StatusServiceUnavailable, "not ready: not every target was attempted yet")
		return
	}
	r.latched.Store(true)
	answer(w, http.StatusOK, "ready")
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
