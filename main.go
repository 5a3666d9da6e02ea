// Command idaas-token-exporter shows Prometheus the tokens of Alibaba Cloud IDaaS: how many there are, and when they end.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	_ "time/tzdata" // for CRON_TZ where there are no zone files

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
	"github.com/idaas-exporter/idaas-token-exporter/poller/check"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
	"github.com/idaas-exporter/idaas-token-exporter/poller/state"
)

const name = "idaas-token-exporter"

// grace is how long the end may take from the first signal on, before it comes whatever still hangs.
const grace = 4500 * time.Millisecond

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// First of all: a reload asked for early comes with the first poll, and who reads the log may be gone.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(context.Background())
	if info, ok := debug.ReadBuildInfo(); ok {
		version.Version = cmp.Or(version.Version, strings.Trim(info.Main.Version, "()")) // what go install was asked for
	}
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr) }()
	code := 0
	select {
	case code = <-ended:
	case <-signals:
		cancel()
		if slices.ContainsFunc(os.Args[1:], func(arg string) bool { return arg == "check" || arg == "once" }) {
			code = 1 // what they are for is not done
		}
		select {
		case code = <-ended:
		case <-signals:
		case <-time.After(grace):
		}
	}
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
	case "serve", "demo", "check", "once":
	default:
		fmt.Fprintf(stderr, "unknown command %q: the commands are serve (the default), demo, check, once, version, help\n", command)
		return 2
	}
	argument := strings.Join(args, " ")
	takes := command == "check" && argument == "-json" || command == "once" && !strings.HasPrefix(argument, "-")
	if len(args) > 1 || argument != "" && !takes {
		fmt.Fprintf(stderr, "%s does not take %q: see %s help\n", command, argument, name)
		return 2
	}
	if command == "demo" {
		there, stop, err := simulator.NewDemo(time.Now).Serve(ctx)
		if err != nil {
			fmt.Fprintln(stderr, "the demo cannot start:", err)
			return 1
		}
		defer stop()
		environ = slices.Concat([]string{"IDAAS_POLL_SCHEDULE=@every 15s"}, config.WithoutConnection(environ), there)
	}
	cfg, err := config.Load(environ, web.CheckConfig)
	if err != nil {
		fmt.Fprintf(stderr, "The settings are wrong:\n%v\n", err)
		return 2
	}
	log := newLogger(cfg, stderr, slices.ContainsFunc(environ, noColour))
	stdlog.SetFlags(0)
	stdlog.SetOutput(quiet{log})
	if command == "check" {
		fmt.Fprintf(stderr, "asking IDaaS, at most %.4g requests a second; targets: %d\n", cfg.ShareOfRate(), len(cfg.Targets))
		return preflight(ctx, cfg, argument == "-json", stdout, log)
	}
	for _, w := range cfg.Warnings {
		log.Warn("odd setting", "warning", w)
	}
	app := newExporter(cfg, log)
	if command == "once" {
		return app.once(ctx, argument, stdout)
	}
	if command == "demo" {
		_, port, _ := net.SplitHostPort(cfg.ListenAddress)
		fmt.Fprintf(stdout, "An invented company's tokens. Look at http://localhost:%s/ and http://localhost:%[1]s/metrics\n", port)
	}
	return app.serve(ctx)
}

// noColour reports whether pair, of an environment, asks for none: https://no-color.org.
func noColour(pair string) bool { return strings.HasPrefix(pair, "NO_COLOR=") && pair != "NO_COLOR=" }

func newLogger(cfg *config.Config, stderr io.Writer, plain bool) *slog.Logger {
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
	}
	f, ok := stderr.(*os.File)
	colour := ok && !plain && term.IsTerminal(int(f.Fd()))
	return slog.New(tint.NewTextHandler(stderr, &tint.Options{Level: cfg.LogLevel, NoColor: !colour, TimeFormat: time.RFC3339}))
}

// quiet is where Go's standard logger writes. Libraries put there what comes unasked on a connection, an access token
// even, so nothing of it is shown but whose words they are.
type quiet struct{ log *slog.Logger }

func (q quiet) Write(text []byte) (int, error) {
	about := "not known"
	if known := "Unsolicited response received on idle HTTP channel"; strings.HasPrefix(string(text), known) {
		about = known
	}
	q.log.Debug("a library's message, not shown as it may hold secrets", "about", about, "bytes", len(text))
	return len(text), nil
}

// apiConfig is what cfg says of the IDaaS API.
func apiConfig(cfg *config.Config, log *slog.Logger) idaas.Config {
	return idaas.Config{
		Domain: cfg.Domain, Network: cfg.Network,
		InstanceID: cfg.InstanceID, Endpoint: cfg.Endpoint, TokenEndpoint: cfg.TokenEndpoint,
		Auth: idaas.Auth{
			Method: cfg.AuthMethod, ClientID: cfg.ClientID, Scope: cfg.Scope,
			Secret:     idaas.Credential{Text: cfg.ClientSecret, File: cfg.ClientSecretFile},
			PrivateKey: idaas.Credential{Text: cfg.PrivateKey, File: cfg.PrivateKeyFile}, KeyID: cfg.PrivateKeyID,
			IDToken: idaas.Credential{File: cfg.OIDCTokenFile}, FederatedCredential: cfg.FederatedCredentialName,
		},
		AccessToken: idaas.Credential{Text: cfg.AccessToken, File: cfg.AccessTokenFile},
		PageSize:    cfg.PageSize, RateLimit: cfg.ShareOfRate(), Timeout: cfg.RequestTimeout, Retries: cfg.RequestRetries,
		UserAgent: name + "/" + version.Version, Transport: idaas.NewTransport(cfg.RootCAs), Log: log,
	}
}

// preflight looks at everything once and prints what it found.
func preflight(ctx context.Context, cfg *config.Config, asJSON bool, stdout io.Writer, log *slog.Logger) int {
	report := check.Run(ctx, check.Config{
		Client: apiConfig(cfg, log), Targets: cfg.Targets, Schedule: cfg.Schedule, Concurrency: cfg.PollConcurrency, Warnings: cfg.Warnings,
	})
	write := report.Table
	if asJSON {
		write = report.JSON
	}
	if err := write(stdout); err != nil || report.Failed() {
		return 1
	}
	return 0
}

// exporter is everything wired up.
type exporter struct {
	cfg       *config.Config
	log       *slog.Logger
	collector *collector.Collector
	poller    *poller.Poller
	reloader  *config.Reloader
	state     state.File
	restored  bool
}

func newExporter(cfg *config.Config, log *slog.Logger) *exporter {
	app := &exporter{cfg: cfg, log: log, state: state.File{Path: cfg.StateFile, Instance: cfg.Domain + " " + cfg.Endpoint + " " + cfg.InstanceID}}
	app.collector = collector.New(collector.Config{
		RateLimit: cfg.ShareOfRate(), MaxStaleness: cfg.MaxStaleness, ShardIndex: cfg.ShardIndex, ShardCount: cfg.ShardCount,
	}, func() *poller.Snapshot { return app.poller.Snapshot() })
	app.collector.Reloaded(nil)
	app.reloader = cfg.NewReloader(func(t []poller.Target) { app.poller.SetTargets(t) }, func(err error) {
		app.collector.Reloaded(err)
		if err != nil {
			log.Error("targets not reloaded, they stay as they were", "error", err)
		}
	})
	restored, err := app.state.Load()
	if err != nil {
		log.Warn("state not restored, starting as new", "file", cfg.StateFile, "error", err)
	}
	app.restored = len(restored) > 0
	api := apiConfig(cfg, log)
	api.Events = idaas.Events{
		Request: app.collector.Request, Retry: app.collector.Retry, Throttled: app.collector.Throttled, Waited: app.collector.Waited,
		AccessToken: app.collector.AccessToken, AccessTokenFailed: app.collector.AccessTokenFailed,
		Instance: app.collector.Instance, PageSize: app.collector.PageSize, Skew: app.collector.Skew,
	}
	app.poller = poller.New(poller.Config{
		Source: idaas.New(api), Schedule: cfg.Schedule, Targets: cfg.Targets, Restored: restored,
		Concurrency: cfg.PollConcurrency, Timeout: cfg.PollTimeout, BeforeCycle: app.reloader.ReloadIfChanged, Log: log,
		Events: poller.Events{Cycle: app.collector.Cycle, Walked: app.collector.Walked},
	})
	return app
}

func (app *exporter) registry(more ...prometheus.Collector) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(append(more, app.collector, versioncollector.NewCollector("idaas_token_exporter"))...)
	return r
}

// serve polls and serves until ctx ends.
func (app *exporter) serve(ctx context.Context) int {
	app.log.Info("starting "+name, "version", version.Version, "targets", len(app.cfg.Targets))
	if n := app.poller.Snapshot().Failing(); n > 0 {
		app.log.Warn("targets were failing before this start", "failing", n)
	}
	polling, stopPolling := context.WithCancel(ctx)
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	var work, keeper sync.WaitGroup
	work.Go(func() { app.poller.Run(polling) })
	work.Go(func() { app.reloader.Run(polling) })
	keeper.Go(func() { app.state.Keep(keeping, app.poller.Snapshot, app.collector.StateSaved, app.log) })
	err := web.Serve(polling, web.Config{
		ListenAddress: app.cfg.ListenAddress,
		ProbeAddress:  app.cfg.ProbeAddress,
		ConfigFile:    app.cfg.WebConfigFile,
		Snapshot:      app.poller.Snapshot,
		MaxStaleness:  app.cfg.MaxStaleness,
		Gatherer:      collector.Distinct(app.registry(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))),
		Ready:         func() bool { return app.restored || app.poller.Snapshot().Attempted() },
		Reload:        app.reloader.Reload,
		Version:       version.Version,
		Log:           app.log,
	})
	stopPolling()
	work.Wait()
	// Last, so that the file has all that was published.
	stopKeeping()
	keeper.Wait()
	if err != nil {
		app.log.Error("cannot serve", "error", err)
		return 1
	}
	app.log.Info("stopped")
	return 0
}

// once polls every target once and writes what is then known: also when some targets failed.
func (app *exporter) once(ctx context.Context, file string, stdout io.Writer) int {
	app.poller.Once(ctx)
	if ctx.Err() != nil {
		app.log.Error("interrupted: nothing was written")
		return 1
	}
	s := app.poller.Snapshot()
	err := errors.Join(app.state.Save(s), collector.WriteText(app.registry(), file, stdout))
	if err != nil {
		app.log.Error("not everything could be written", "error", err)
	}
	if err != nil || s.Failing() > 0 {
		return 1
	}
	return 0
}
