// Package exporter connects poller, API client, state file, collector and HTTP server, as configured.
package exporter

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"

	"github.com/idaas-exporter/idaas-token-exporter/collector"
	"github.com/idaas-exporter/idaas-token-exporter/collector/web"
	"github.com/idaas-exporter/idaas-token-exporter/collector/web/page"
	"github.com/idaas-exporter/idaas-token-exporter/config"
	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth/ram"
	"github.com/idaas-exporter/idaas-token-exporter/poller/state"
)

// Name of the program.
const Name = "idaas-token-exporter"

// APIConfig returns the configuration of the API client.
func APIConfig(cfg *config.Config, log *slog.Logger) idaas.Config {
	return idaas.Config{
		Domain: cfg.Domain, Network: cfg.Network,
		InstanceID: cfg.InstanceID, Endpoint: cfg.Endpoint, TokenEndpoint: cfg.TokenEndpoint, Management: cfg.ManagementEndpoint,
		Auth: auth.Identity{
			Method: cfg.AuthMethod, ClientID: cfg.ClientID, Scope: cfg.Scope,
			Secret:     auth.Credential{Text: cfg.ClientSecret, File: cfg.ClientSecretFile},
			PrivateKey: auth.Credential{Text: cfg.PrivateKey, File: cfg.PrivateKeyFile}, KeyID: cfg.PrivateKeyID,
			IDToken: auth.Credential{File: cfg.OIDCTokenFile}, FederatedCredential: cfg.FederatedCredentialName,
			Document:    auth.Credential{File: cfg.PKCS7File},
			Certificate: auth.Credential{Text: cfg.Certificate, File: cfg.CertificateFile},
			Chain:       auth.Credential{Text: cfg.CertificateChain, File: cfg.CertificateChainFile},
		},
		AccessToken: auth.Credential{Text: cfg.AccessToken, File: cfg.AccessTokenFile},
		PageSize:    cfg.PageSize, RateLimit: cfg.ShareOfRate(), Timeout: cfg.RequestTimeout, Retries: cfg.RequestRetries,
		UserAgent: Name + "/" + version.Version, Transport: idaas.NewTransport(cfg.RootCAs), Log: log,
	}
}

// Exporter polls targets and serves the results.
type Exporter struct {
	cfg       *config.Config
	log       *slog.Logger
	listen    func(ctx context.Context, network, address string) (net.Listener, error)
	collector *collector.Collector
	poller    *poller.Poller
	reloader  *config.Reloader
	discovery *discovery
	state     state.File
	restored  bool
}

// Network replaces the transport to the API, the RAM credentials, the listeners and the time between lists; zero is the default.
type Network struct {
	RAM           ram.Credentials
	Transport     http.RoundTripper
	Listen        func(ctx context.Context, network, address string) (net.Listener, error)
	DiscoverEvery time.Duration
}

// New returns an Exporter with the data of its state file. It sends no request.
func New(cfg *config.Config, network Network, log *slog.Logger) *Exporter {
	app := &Exporter{cfg: cfg, log: log, listen: network.Listen}
	app.state = state.File{Path: cfg.StateFile, Instance: cfg.Domain + " " + cfg.Endpoint + " " + cfg.InstanceID}
	app.collector = collector.New(collector.Config{
		RateLimit: cfg.ShareOfRate(), MaxStaleness: cfg.MaxStaleness, ShardIndex: cfg.ShardIndex, ShardCount: cfg.ShardCount,
	}, app.shown)
	app.collector.Reloaded(nil)
	restored, err := app.state.Load()
	if err != nil {
		log.Warn("state file not restored", "file", cfg.StateFile, "error", err)
	}
	app.restored = len(restored.Readings) > 0
	d := &discovery{
		collector: app.collector, log: log, watch: cfg.Watch, lists: restoredLists(restored), started: time.Now(),
		every: cmp.Or(network.DiscoverEvery, discoverEvery),
	}
	app.discovery = d
	if d.resolved, err = d.watch.Resolve(d.lists); err != nil {
		log.Warn("lists of state file ignored", "error", err)
		d.lists = &poller.Lists{}
		d.resolved, _ = d.watch.Resolve(d.lists)
	}
	d.apply = func(targets []poller.Target) {
		app.poller.SetTargets(targets)
		for _, slow := range cfg.TooSlow(targets, time.Now()) {
			log.Warn("suspicious setting", "warning", slow)
		}
	}
	app.reloader = cfg.NewReloader(d.watching, func(err error) {
		app.collector.Reloaded(err)
		if err != nil {
			log.Error("targets not reloaded", "error", err)
		}
	})
	api := APIConfig(cfg, log)
	if network.Transport != nil {
		api.Transport = network.Transport
	}
	api.Events, api.RAM = app.collector, network.RAM
	client := idaas.New(api)
	d.finders = []*finder{
		{discovery: d, list: poller.Providers, name: "credential providers", read: client.Providers, changed: make(chan struct{}, 1)},
		{discovery: d, list: poller.Applications, name: "applications", read: client.Applications, changed: make(chan struct{}, 1)},
	}
	var live poller.Live
	if cfg.Walk == "live" {
		live = client
	}
	app.poller = poller.New(poller.Config{
		Source: client, Live: live, Schedule: cfg.Schedule, Targets: d.resolved.Targets, Restored: restored.Readings,
		Concurrency: cfg.PollConcurrency, Timeout: cfg.PollTimeout, Log: log,
		Events: poller.Events{Walked: app.collector.Walked, LiveFallback: app.collector.LiveFallback},
	})
	return app
}

// snapshot returns the snapshot for the state file.
func (app *Exporter) snapshot() *poller.Snapshot { return app.discovery.with(*app.poller.Snapshot()) }

// shown returns the snapshot for metrics and pages: without targets while their names are not known yet.
func (app *Exporter) shown() *poller.Snapshot {
	s := app.snapshot()
	if time.Since(app.discovery.started) < namesWithin && !app.discovery.named() {
		s.Readings = nil
	}
	return s
}

func (app *Exporter) registry(more ...prometheus.Collector) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(append(more, app.collector, versioncollector.NewCollector("idaas_token_exporter"))...)
	return r
}

// Serve polls and serves until ctx is done, and returns the exit code.
func (app *Exporter) Serve(ctx context.Context) int {
	app.log.Info("starting "+Name, "version", version.Version, "targets", len(app.poller.Snapshot().Readings))
	if n := app.poller.Snapshot().Failing(); n > 0 {
		app.log.Warn("targets failing before start", "failing", n)
	}
	polling, stopPolling := context.WithCancel(ctx)
	saving, stopSaving := context.WithCancel(context.WithoutCancel(ctx))
	var work, saver sync.WaitGroup
	work.Go(func() { app.poller.Run(polling) })
	work.Go(func() { app.reloader.Run(polling) })
	for _, f := range app.discovery.finders {
		work.Go(func() { f.run(polling) })
	}
	saver.Go(func() { app.state.Keep(saving, app.snapshot, app.collector.StateSaved, app.log) })
	process := collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})
	err := web.Serve(polling, web.Config{
		Listen: app.listen, ListenAddress: app.cfg.ListenAddress, ProbeAddress: app.cfg.ProbeAddress, ConfigFile: app.cfg.WebConfigFile,
		Gatherer: collector.Distinct(app.registry(collectors.NewGoCollector(), process)),
		Config:   page.Config{Snapshot: app.shown, MaxStaleness: app.cfg.MaxStaleness, Version: version.Version}, Log: app.log,
		Ready:  func() bool { return app.restored || app.discovery.settled() && app.poller.Snapshot().Attempted() },
		Reload: app.reloader.Reload,
	})
	stopPolling()
	work.Wait()
	// Last, so that the state file has the last walks.
	stopSaving()
	saver.Wait()
	if err != nil {
		app.log.Error("server failed", "error", err)
		return 1
	}
	app.log.Info("stopped")
	return 0
}

// Once polls every target once, writes the metrics, even if some targets failed, and returns the exit code.
func (app *Exporter) Once(ctx context.Context, file string, stdout io.Writer) int {
	for _, f := range app.discovery.finders {
		f.discover(ctx)
	}
	app.poller.Once(ctx)
	if ctx.Err() != nil {
		app.log.Error("interrupted, nothing written")
		return 1
	}
	s := app.snapshot()
	err := errors.Join(app.state.Save(s), collector.WriteText(app.registry(), file, stdout))
	if err != nil {
		app.log.Error("output not written", "error", err)
	}
	if err != nil || s.Failing() > 0 || app.discovery.failed() {
		return 1
	}
	return 0
}
