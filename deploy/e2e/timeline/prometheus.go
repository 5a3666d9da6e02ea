package timeline

import (
	"context"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"reflect"
	"sync"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
)

// server is a Prometheus: its own scrape loops, storage and rule manager, with the shipped configuration.
type server struct {
	db       *tsdb.DB
	scrapes  *scrape.Manager
	rules    *rules.Manager
	running  sync.WaitGroup
	found    chan map[string][]*targetgroup.Group
	job      string
	stopping context.CancelFunc
}

func (w *World) startPrometheus() {
	must := func(err error) {
		if err != nil {
			w.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	cfg, err := config.LoadFile("prometheus.yaml", false, log)
	must(err)
	shipped := cfg.ScrapeConfigs[0]
	shipped.EnableCompression = false // nothing but time is saved
	if w.scenario.Scrape > 0 {
		shipped.ScrapeInterval = model.Duration(w.scenario.Scrape)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &server{found: make(chan map[string][]*targetgroup.Group), job: shipped.JobName, stopping: cancel}

	options := tsdb.DefaultOptions()
	options.MinBlockDuration = (24 * time.Hour).Milliseconds()
	options.MaxBlockDuration = options.MinBlockDuration
	options.RetentionDuration = 2 * options.MinBlockDuration
	s.db, err = tsdb.Open(filepath.Join(w.data, "prometheus"), log, nil, options, tsdb.NewDBStats())
	must(err)

	dial := config_util.WithDialContextFunc(func(ctx context.Context, _, address string) (net.Conn, error) {
		return w.dial(ctx, address)
	})
	scraping := &scrape.Options{
		DiscoveryReloadOnStartup: true,
		InitialScrapeOffset:      scrapeAt,
		HTTPClientOptions:        []config_util.HTTPClientOption{dial},
	}
	// When Prometheus scrapes depends on the name of its host, and asking for that leaves the bubble.
	*hidden[bool](scraping, "skipJitterOffsetting") = true
	*hidden[string](scraping, "fqdn") = "prometheus.example.com"
	s.scrapes, err = scrape.NewManager(scraping, log, nil, nil, s.db, prometheus.NewRegistry())
	must(err)
	must(s.scrapes.ApplyConfig(cfg))

	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: 2 * time.Minute, LookbackDelta: 5 * time.Minute,
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: promQL,
	})
	s.rules = rules.NewManager(&rules.ManagerOptions{
		ExternalURL: &url.URL{Scheme: "http", Host: "prometheus.example.com"},
		QueryFunc:   rules.EngineQueryFunc(engine, s.db), NotifyFunc: w.told.notify, Context: ctx,
		AppendableV2: s.db, Queryable: s.db, Logger: log, Registerer: prometheus.NewRegistry(),
		OutageTolerance: time.Hour, ForGracePeriod: 10 * time.Minute, ResendDelay: time.Minute,
		Parser: promQL, GroupLoader: loader{w.scenario.Evaluate},
	})
	must(s.rules.Update(time.Duration(cfg.GlobalConfig.EvaluationInterval), []string{"rules.yaml"},
		labels.EmptyLabels(), "", rules.DefaultEvalIterationFunc))

	s.running.Go(func() { _ = s.scrapes.Run(s.found) })
	s.running.Go(s.rules.Run)
	w.prometheus = s
	w.discover()
}

// What a scenario says happens on the minute, unless it says otherwise; exporters are started, and so poll, some seconds
// later, and are scraped when all retries of a poll are over. Nothing depends on what comes first in one moment.
const (
	pollAt   = 20 * time.Second
	scrapeAt = 57 * time.Second
)

var promQL = parser.NewParser(parser.Options{})

// loader reads rule files as they are, but for the interval, if one is given.
type loader struct{ interval time.Duration }

func (l loader) Load(file string, ignoreUnknown bool, names model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	groups, errs := rulefmt.ParseFile(file, ignoreUnknown, names, promQL, slog.New(slog.DiscardHandler))
	for i := range groups.Groups {
		if l.interval > 0 {
			groups.Groups[i].Interval = model.Duration(l.interval)
		}
	}
	return groups, errs
}

func (l loader) Parse(query string) (parser.Expr, error) { return promQL.ParseExpr(query) }

// discover tells Prometheus which exporters there are.
func (w *World) discover() {
	if w.prometheus == nil {
		return
	}
	group := &targetgroup.Group{Source: "scenario"}
	for _, address := range w.addresses {
		group.Targets = append(group.Targets, model.LabelSet{model.AddressLabel: model.LabelValue(address)})
	}
	w.prometheus.found <- map[string][]*targetgroup.Group{w.prometheus.job: {group}}
}

func (w *World) stopPrometheus() {
	s := w.prometheus
	w.prometheus = nil
	s.rules.Stop()
	s.scrapes.Stop()
	s.stopping()
	s.running.Wait()
	if err := s.db.Close(); err != nil {
		w.Error(err)
	}
}

// hidden returns a field of options that only the tests of their own package can set.
func hidden[T any](options any, field string) *T {
	return (*T)(unsafe.Pointer(reflect.ValueOf(options).Elem().FieldByName(field).UnsafeAddr()))
}
