package web

import (
	"context"
	"errors"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sync/errgroup"
)

// shutdownTimeout is part of the 5 s for a graceful shutdown.
const shutdownTimeout = 3 * time.Second

// CheckConfig validates an exporter-toolkit web configuration; an empty name is valid.
func CheckConfig(file string) error { return web.Validate(file) }

// Serve serves until ctx is done or a listener fails, and completes requests in flight. The error is nil if ctx is done.
func Serve(ctx context.Context, c Config) error {
	all, probes := newHandlers(c)
	sites := []site{{c.ListenAddress, all, c.ConfigFile}}
	if c.ProbeAddress != "" {
		sites = append(sites, site{c.ProbeAddress, probes, ""})
	}
	if c.Listen == nil {
		c.Listen = new(net.ListenConfig).Listen
	}
	serving, ctx := errgroup.WithContext(ctx)
	for _, site := range sites {
		listener, err := c.Listen(ctx, "tcp", site.address)
		if err != nil {
			serving.Go(func() error { return err })
			break
		}
		server := &http.Server{
			Handler: site.handler, ErrorLog: stdlog.New(serverLog{c.Log}, "", 0),
			ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		}
		serving.Go(func() error {
			err := web.Serve(listener, server, &web.FlagConfig{WebConfigFile: &site.configFile}, c.Log)
			// After an error in the configuration file it is still open.
			_ = listener.Close()
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			return err
		})
		// web.Serve returns before Shutdown.
		serving.Go(func() error {
			<-ctx.Done()
			grace, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
			defer done()
			if server.Shutdown(grace) != nil {
				_ = server.Close()
			}
			return nil
		})
	}
	return serving.Wait()
}

type site struct {
	address    string
	handler    http.Handler
	configFile string
}

// serverLog logs the errors of an http.Server as warnings, except connections that a client closes without a request: load
// balancers probe ports that way.
type serverLog struct{ log *slog.Logger }

func (s serverLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelWarn
	for _, end := range []string{": EOF", ": connection reset by peer", ": broken pipe", ": i/o timeout"} {
		if strings.HasSuffix(text, end) {
			level = slog.LevelDebug
		}
	}
	s.log.Log(context.Background(), level, "HTTP server error", "error", text)
	return len(line), nil
}
