// Command idaas-token-exporter shows Prometheus the authentication tokens of Alibaba Cloud IDaaS: how many there are,
// and when they end.
package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
	_ "time/tzdata" // for CRON_TZ where there are no zone files

	"github.com/google/renameio/v2"
	"github.com/lmittmann/tint"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
	"golang.org/x/term"

	"github.com/idaas-exporter/idaas-token-exporter/collector"
	"github.com/idaas-exporter/idaas-token-exporter/collector/web"
	"github.com/idaas-exporter/idaas-token-exporter/config"
	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

const name = "idaas-token-exporter"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes one command until it is done or ctx ends, and returns the exit code.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	command := "serve"
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	switch command {
	case "version", "--version":
		fmt.Fprintln(stdout, version.Print(name))
		return 0
	case "help", "-h", "--help":
		config.Help(stdout)
		return 0
	case "serve", "demo", "once":
	default:
		fmt.Fprintf(stderr, "unknown command %q: the commands are serve (the default), demo, once, version, help\n", command)
		return 2
	}
	if len(args) > 1 || len(args) == 1 && command != "once" {
		fmt.Fprintf(stderr, "too many arguments for %s: %q; see %s help\n", command, args, name)
		return 2
	}

	var demo *simulator.Demo
	if command == "demo" {
		demo = simulator.NewDemo(time.Now)
		there, stop, err := demo.Serve(ctx)
		if err != nil {
			fmt.Fprintln(stderr, "the demo cannot start:", err)
			return 1
		}
		defer stop()
		environ = slices.Concat([]string{"IDAAS_POLL_SCHEDULE=@every 15s"}, config.WithoutConnection(environ), there)
	}
	cfg, err := config.Load(environ)
	if err == nil {
		err = web.CheckConfig(cfg.WebConfigFile)
	}
	if err != nil {
		fmt.Fprintf(stderr, "The settings are wrong:\n%v\n", err)
		return 2
	}
	log := newLogger(cfg, stderr)
	for _, w := range cfg.Warnings {
		log.Warn("odd setting", "warning", w)
	}
	if demo != nil {
		for i, t := range demo.Targets {
			cfg.Targets[i].Label = cmp.Or(t.Alias, cfg.Targets[i].Label)
		}
	}
	app := newExporter(cfg, log)
	if command == "once" {
		return app.once(ctx, args, stdout)
	}
	return app.serve(ctx, demo != nil, stdout)
}

func newLogger(cfg *config.Config, stderr io.Writer) *slog.Logger {
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
	}
	f, ok := stderr.(*os.File)
	colour := ok && term.IsTerminal(int(f.Fd()))
	return slog.New(tint.NewTextHandler(stderr, &tint.Options{Level: cfg.LogLevel, NoColor: !colour, TimeFormat: time.RFC3339}))
}

// exporter is everything wired up.
type exporter struct {
	cfg       *config.Config
	log       *slog.Logger
	poller    *poller.Poller
	collector *collector.Collector
}

func newExporter(cfg *config.Config, log *slog.Logger) *exporter {
	app := &exporter{cfg: cfg, log: log}
	app.collector = collector.New(collector.Config{
		Operations: idaas.Operations(),
		WaitCauses: idaas.WaitCauses(),
		RateLimit:  cfg.RateLimit,
	}, func() *poller.Snapshot { return app.poller.Snapshot() })
	client := idaas.New(idaas.Config{
		InstanceID:    cfg.InstanceID,
		Endpoint:      cfg.Endpoint,
		TokenEndpoint: cfg.TokenEndpoint,
		Auth: idaas.Auth{
			Method:   cfg.AuthMethod,
			ClientID: cfg.ClientID,
			Secret:   idaas.Credential{Text: cfg.ClientSecret, File: cfg.ClientSecretFile},
			Scope:    cfg.Scope,
		},
		AccessToken: idaas.Credential{Text: cfg.AccessToken, File: cfg.AccessTokenFile},
		PageSize:    cfg.PageSize,
		RateLimit:   cfg.RateLimit,
		Timeout:     cfg.RequestTimeout,
		Retries:     cfg.RequestRetries,
		UserAgent:   name + "/" + cmp.Or(version.Version, "devel"),
		Transport:   idaas.NewTransport(nil),
		Log:         log,
		Events: idaas.Events{
			Request:           app.collector.Request,
			Retry:             app.collector.Retry,
			Throttled:         app.collector.Throttled,
			Waited:            app.collector.Waited,
			AccessToken:       app.collector.AccessToken,
			AccessTokenFailed: app.collector.AccessTokenFailed,
			Skew:              app.collector.Skew,
			Instance:          app.collector.Instance,
		},
	})
	app.poller = poller.New(poller.Config{
		Source:      client,
		Schedule:    cfg.Schedule,
		Targets:     cfg.Targets,
		Concurrency: cfg.PollConcurrency,
		Timeout:     cfg.PollTimeout,
		Log:         log,
		Events:      poller.Events{Cycle: app.collector.Cycle, Walked: app.collector.Walked, Failed: app.collector.WalkFailed},
	})
	return app
}

func (app *exporter) registry(more ...prometheus.Collector) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(app.collector, versioncollector.NewCollector("idaas_token_exporter"))
	r.MustRegister(more...)
	return r
}

// serve polls and serves until ctx ends.
func (app *exporter) serve(ctx context.Context, demo bool, stdout io.Writer) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	registry := app.registry(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	handler, err := web.NewHandler(web.Config{
		Gatherer: registry,
		Ready:    func() bool { return app.poller.Snapshot().Attempted() },
		Version:  version.Version,
		Log:      app.log,
	})
	if err != nil {
		app.log.Error("the routes cannot be set up", "error", err)
		return 1
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", app.cfg.ListenAddress)
	if err != nil {
		app.log.Error("cannot listen", "error", err)
		return 1
	}
	app.log.Info("starting "+name, "version", version.Info(), "targets", len(app.cfg.Targets))
	if demo {
		_, port, _ := net.SplitHostPort(listener.Addr().String())
		fmt.Fprintf(stdout, "A made-up company's tokens. Look at http://localhost:%s/ and http://localhost:%[1]s/metrics\n", port)
	}
	var polling sync.WaitGroup
	polling.Go(func() { app.poller.Run(ctx) })
	err = web.Serve(ctx, listener, handler, app.cfg.WebConfigFile, app.log)
	cancel()
	polling.Wait()
	if err != nil {
		app.log.Error("serving failed", "error", err)
		return 1
	}
	app.log.Info("stopped")
	return 0
}

// once polls every target once and writes what is then known: also when some targets failed.
func (app *exporter) once(ctx context.Context, file []string, stdout io.Writer) int {
	app.poller.Once(ctx)
	var text bytes.Buffer
	err := collector.WriteText(app.registry(), &text)
	if err == nil && len(file) == 1 {
		// Readable by node_exporter, which runs as another user.
		err = renameio.WriteFile(file[0], text.Bytes(), 0o644)
	} else if err == nil {
		_, err = stdout.Write(text.Bytes())
	}
	if err != nil {
		app.log.Error("the metrics cannot be written", "error", err)
		return 1
	}
	if slices.ContainsFunc(app.poller.Snapshot().Readings, func(r *poller.Reading) bool { return r.Census == nil || r.Failure != nil }) {
		return 1
	}
	return 0
}
