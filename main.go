// Command idaas-token-exporter shows Prometheus the tokens of Alibaba Cloud IDaaS: how many there are, and when they end.
package main

import (
	"cmp"
	"context"
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
	"syscall"
	"time"
	_ "time/tzdata" // for CRON_TZ where there are no zone files

	"github.com/lmittmann/tint"
	"github.com/prometheus/common/version"
	"golang.org/x/term"

	"github.com/idaas-exporter/idaas-token-exporter/collector/exporter"
	"github.com/idaas-exporter/idaas-token-exporter/collector/web"
	"github.com/idaas-exporter/idaas-token-exporter/config"
	_ "github.com/idaas-exporter/idaas-token-exporter/config/hangup"
	"github.com/idaas-exporter/idaas-token-exporter/poller/check"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

const (
	// grace is how long the end may take from the first signal on, before it comes whatever still hangs.
	grace = 4 * time.Second

	// Exit codes of sysexits.h: 2 is the Go runtime's own after a crash, which a supervisor must answer with a restart.
	exitUsage, exitConfig = 64, 78
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // who reads the log may be gone
	if os.Getenv("GOGC") == "" {
		// Most of the heap is numbers, which cost no time to collect: at the peak of a large walk a sixth less memory, for no more CPU.
		debug.SetGCPercent(35)
	}
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
		fmt.Fprintln(stdout, version.Print(exporter.Name))
		return 0
	case "help", "-h", "--help":
		config.Help(stdout)
		return 0
	case "serve", "demo", "check", "once":
	default:
		fmt.Fprintf(stderr, "unknown command %q: the commands are serve (the default), demo, check, once, version, help\n", command)
		return exitUsage
	}
	argument := strings.Join(args, " ")
	takes := command == "check" && argument == "-json" || command == "once" && !strings.HasPrefix(argument, "-")
	if len(args) > 1 || argument != "" && !takes {
		fmt.Fprintf(stderr, "%s does not take %q: see %s help\n", command, argument, exporter.Name)
		return exitUsage
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
		return exitConfig
	}
	log := newLogger(cfg, stderr, colour(stderr, environ))
	stdlog.SetFlags(0)
	stdlog.SetOutput(quiet{log})
	if command == "check" {
		fmt.Fprintf(stderr, "asking IDaaS, at most %.4g requests a second; targets: %d\n", cfg.ShareOfRate(), len(cfg.Targets))
		return preflight(ctx, cfg, argument == "-json", stdout, log)
	}
	for _, w := range cfg.Warnings {
		log.Warn("odd setting", "warning", w)
	}
	app := exporter.New(cfg, exporter.Network{}, log)
	if command == "once" {
		return app.Once(ctx, argument, stdout)
	}
	if command == "demo" {
		_, port, _ := net.SplitHostPort(cfg.ListenAddress)
		fmt.Fprintf(stdout, "An invented company's tokens. Look at http://localhost:%s/ and http://localhost:%[1]s/metrics\n", port)
	}
	return app.Serve(ctx)
}

// colour reports whether the log goes to a terminal that has colours, and environ does not ask for none (https://no-color.org).
func colour(stderr io.Writer, environ []string) bool {
	f, ok := stderr.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && !slices.ContainsFunc(environ, func(pair string) bool {
		return pair == "TERM=dumb" || strings.HasPrefix(pair, "NO_COLOR=") && pair != "NO_COLOR="
	})
}

func newLogger(cfg *config.Config, stderr io.Writer, colour bool) *slog.Logger {
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
	}
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

// preflight looks at everything once and prints what it found.
func preflight(ctx context.Context, cfg *config.Config, asJSON bool, stdout io.Writer, log *slog.Logger) int {
	c := check.Config{
		Client: exporter.APIConfig(cfg, log), Targets: cfg.Targets, Schedule: cfg.Schedule, Live: cfg.Walk == "live", Concurrency: cfg.PollConcurrency, Warnings: cfg.Warnings,
	}
	if cfg.Watch.Discovers() {
		c.Watch = cfg.Watch
	}
	report := check.Run(ctx, c)
	write := report.Table
	if asJSON {
		write = report.JSON
	}
	if err := write(stdout); err != nil || report.Failed() {
		return 1
	}
	return 0
}
