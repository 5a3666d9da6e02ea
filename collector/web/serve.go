package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
)

// shutdownTimeout leaves room in the 5 s that a graceful end may take.
const shutdownTimeout = 4 * time.Second

// CheckConfig reads an exporter-toolkit web configuration; an empty name is none.
func CheckConfig(file string) error {
	if file == "" {
		return nil
	}
	if err := web.Validate(file); err != nil {
		return fmt.Errorf("IDAAS_WEB_CONFIG_FILE=%q: %w; accepted: the path of an exporter-toolkit web configuration", file, err)
	}
	return nil
}

// Serve serves handler on listener, as the web configuration says, until ctx ends; requests in flight are then
// answered. A nil error means that ctx has ended.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, configFile string, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	var shutdown sync.WaitGroup
	shutdown.Go(func() {
		<-ctx.Done()
		grace, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer done()
		if server.Shutdown(grace) != nil {
			_ = server.Close()
		}
	})
	err := web.Serve(listener, server, &web.FlagConfig{WebConfigFile: &configFile}, log)
	cancel()
	// The toolkit returns before the shutdown has finished.
	shutdown.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
