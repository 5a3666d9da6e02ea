// Command idaas-token-exporter exports metrics about the authentication tokens of Alibaba Cloud IDaaS: counts and expirations.
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
	_ "github.com/idaas-exporter/idaas-token-exporter/config/sighup"
	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/check"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth/ram"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// Exit codes of sysexits.h. The Go runtime exits with 2 after a crash, so that code must not mean bad usage to a supervisor.
const exitUsage, exitConfig = 64, 78

// shutdownTimeout is the longest time from the first signal to the exit, even if a file or a connection hangs.
var shutdownTimeout = 4 * time.Second

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // the reader of the log may have exited
	if os.Getenv("GOGC") == "" {
		// Most of the heap has no pointers, so frequent collections are cheap: 1/6 less memory at the peak of a large walk.
		debug.SetGCPercent(35)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if info, ok := debug.ReadBuildInfo(); ok {
		version.Version = cmp.Or(version.Version, strings.Trim(info.Main.Version, "()")) // the version given to go install
	}
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr) }()
	code := 0
	select {
	case code = <-ended:
	case <-signals:
		cancel()
		if slices.ContainsFunc(os.Args[1:], func(arg string) bool { return arg == "check" || arg == "once" }) {
			code = 1 // the command is not complete
		}
		select {
		case code = <-ended:
		case <-signals:
		case <-time.After(shutdownTimeout):
		}
	}
	os.Exit(code)
}

// run executes one command until it is complete or ctx is canceled, and returns the exit code.
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
	accepted := command == "check" && argument == "-json" || command == "once" && !strings.HasPrefix(argument, "-")
	if len(args) > 1 || argument != "" && !accepted {
		fmt.Fprintf(stderr, "%s does not take %q: see %s help\n", command, argument, exporter.Name)
		return exitUsage
	}
	var demo *simulator.Demo
	if command == "demo" {
		demo = simulator.NewDemo(time.Now)
		connection, stop, err := demo.Serve(ctx)
		if err != nil {
			fmt.Fprintln(stderr, "demo not started:", err)
			return 1
		}
		defer stop()
		defaults := []string{"IDAAS_POLL_SCHEDULE=@every 15s", "IDAAS_CONSUMER_LABEL=name"}
		environ = slices.Concat(defaults, config.WithoutConnection(environ), connection)
	}
	cfg, err := config.Load(environ, web.CheckConfig)
	var network exporter.Network
	if err == nil && demo != nil {
		network.RAM, network.DiscoverEvery = ram.Credentials{ID: demo.AccessKeyID, Secret: demo.AccessKeySecret, Source: "demo"}, time.Minute
		err = cfg.AddTargets(demo.Found)
	}
	if err != nil {
		fmt.Fprintf(stderr, "invalid settings:\n%v\n", err)
		return exitConfig
	}
	log := newLogger(cfg, stderr, colour(stderr, environ))
	stdlog.SetFlags(0)
	stdlog.SetOutput(libraryLog{log})
	if command == "check" {
		fmt.Fprintf(stderr, "checking %[2]d targets with at most %.4[1]g requests per second\n", cfg.ShareOfRate(), len(cfg.Targets))
		return preflight(ctx, cfg, argument == "-json", stdout, stderr, log)
	}
	for _, w := range cfg.Warnings {
		log.Warn("suspicious setting", "warning", w)
	}
	app := exporter.New(cfg, network, log)
	if command == "once" {
		return app.Once(ctx, argument, stdout)
	}
	if command == "demo" {
		_, port, _ := net.SplitHostPort(cfg.ListenAddress)
		fmt.Fprintf(stdout, "Serving the tokens of a simulated company at http://localhost:%s/ and http://localhost:%[1]s/metrics\n", port)
	}
	return app.Serve(ctx)
}

// colour reports whether stderr is a terminal and environ does not disable colours (https://no-color.org).
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

// libraryLog is the output of Go's standard logger. net/http logs unsolicited bytes of a connection there, and these may
// contain an access token. Therefore only the known start of a message is logged, at level debug.
type libraryLog struct{ *slog.Logger }

func (l libraryLog) Write(text []byte) (int, error) {
	about := "unknown"
	if known := "Unsolicited response received on idle HTTP channel"; strings.HasPrefix(string(text), known) {
		about = known
	}
	l.Debug("library message hidden, it may contain secrets", "about", about, "bytes", len(text))
	return len(text), nil
}

// preflight checks the settings, the API and every target once, and prints the findings.
func preflight(ctx context.Context, cfg *config.Config, asJSON bool, stdout, stderr io.Writer, log *slog.Logger) int {
	c := check.Config{
		Client: exporter.APIConfig(cfg, log), Targets: cfg.Targets, Schedule: cfg.Schedule, Live: cfg.Walk == "live",
		Concurrency: cfg.PollConcurrency, Warnings: cfg.Warnings, Timeout: cfg.PollTimeout, Progress: stderr,
	}
	if cfg.Watch.Needs(poller.Providers) || cfg.Watch.Needs(poller.Applications) {
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
