package collector

import (
	"bytes"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "rewrite the golden expositions in testdata")

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ms(d time.Duration) int64 { return now.Add(d).UnixMilli() }

var target = poller.Target{
	Consumer: "app_1", Provider: "orders_jwt", Label: "billing",
	Windows: []poller.Window{{Label: "1h", Duration: time.Hour}, {Label: "7d", Duration: 7 * 24 * time.Hour}},
}

// healthy has tokens in every state, read two minutes ago.
func healthy() *poller.Census {
	return &poller.Census{
		Revoked: 2, Expired: 3, NeverExpiring: 0,
		Expirations: []int64{ms(time.Minute), ms(time.Hour), ms(2 * time.Hour), ms(30 * 24 * time.Hour)},
		Lifetime:    (40 * 24 * time.Hour).Milliseconds(),
		NewestIssue: ms(-time.Hour),
		Info:        &poller.Info{ProviderID: "atp_1", TokenType: "jwt", ConsumerType: "custom"},
		Reported:    9,
		ReadAt:      now.Add(-2 * time.Minute),
	}
}

func reading(c *poller.Census, f *poller.Failure) *poller.Reading {
	return &poller.Reading{Target: target, Census: c, Failure: f}
}

func newCollector(readings ...*poller.Reading) *Collector {
	s := &poller.Snapshot{Readings: readings, InProgress: 1, Schedules: []poller.Timing{{
		Schedule: poller.Schedule{Text: "@every 5m"}, Last: now.Add(-2 * time.Minute), Next: now.Add(3 * time.Minute),
		Interval: 5 * time.Minute, Targets: len(readings), Cycles: 1, Skipped: 2, Oldest: now.Add(-time.Minute),
	}}}
	c := New(Config{RateLimit: 3, ShardIndex: 0, ShardCount: 1},
		func() *poller.Snapshot { return s })
	c.now = func() time.Time { return now }
	return c
}

// everything returns a collector with every metric.
func everything() *Collector {
	other := reading(healthy(), &poller.Failure{Reason: poller.Forbidden})
	other.Target.Provider, other.Target.Label = "github_oauth", `back\slash "quoted" ü@example.com`
	other.Census.NeverExpiring = 1
	other.Census.LastActive = ms(-time.Hour)
	renewed, paused := healthy(), healthy()
	renewed.History = &poller.History{
		Since: ms(-50 * 24 * time.Hour), Start: ms(-50 * 24 * time.Hour), End: ms(-2 * time.Minute), Reserves: [10]uint32{3600, 3600, 3600},
	}
	paused.Expirations, paused.History = nil, &poller.History{
		Since: ms(-8 * 24 * time.Hour), Start: ms(-25 * time.Hour), End: ms(-24 * time.Hour),
		Pauses: [6][3]poller.Pause{{{End: uint32(ms(-25*time.Hour) / 1000), Length: 23 * 3600}}},
	}
	third := reading(paused, nil)
	third.Target.Label, third.Target.Thresholds = "nightly", poller.Thresholds{LostAfter: 10 * time.Minute}
	c := newCollector(reading(renewed, nil), other, third)
	c.snapshot().Unwatched = make([]poller.Unwatched, 2)
	c.snapshot().Schedules = append(c.snapshot().Schedules, poller.Timing{
		Schedule: poller.Schedule{Text: "0 4 * * MON-FRI"}, Last: now.Add(-8 * time.Hour), Next: now.Add(64 * time.Hour),
		Interval: 72 * time.Hour,
	})
	third.Target.Schedule.Text = "0 4 * * MON-FRI"
	c.Walked(1500*time.Millisecond, "")
	c.Walked(time.Hour, poller.Forbidden)
	c.Request("list", "200", 70*time.Millisecond)
	c.Request("list", "403", 3*time.Second)
	c.Retry()
	c.Throttled()
	c.Waited("hint", 2*time.Second)
	c.AccessToken(now.Add(20 * time.Minute))
	c.AccessTokenFailed(poller.Timeout)
	c.Skew(-1500 * time.Millisecond)
	c.PageSize(20)
	c.Reloaded(nil)
	c.Reloaded(errors.New("a fault"))
	c.StateSaved(nil)
	for _, list := range []poller.List{poller.Providers, poller.Applications} {
		c.Discovered(list, nil)
		c.Discovered(list, errors.New("a failure"))
	}
	c.Instance("idaas_old", "https://old")
	c.Instance("idaas_1", "https://eiam.example.com")
	return c
}

// exposition returns the families of c for which keep returns true.
func exposition(t *testing.T, c *Collector, keep func(*dto.MetricFamily) bool) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	var text bytes.Buffer
	err := WriteText(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := registry.Gather()
		return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return !keep(f) }), err
	}), "", &text)
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func all(*dto.MetricFamily) bool { return true }

func perConsumer(f *dto.MetricFamily) bool {
	return slices.ContainsFunc(f.GetMetric()[0].GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == "consumer" })
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".prom")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the exposition differs from %s (rewrite it with -update):\n%s", file, got)
	}
}

func TestExposition(t *testing.T) {
	failure := &poller.Failure{Reason: poller.ServerError}
	never := healthy()
	never.NeverExpiring, never.Expirations, never.Lifetime = 2, nil, 0
	dead := healthy()
	dead.Expirations = []int64{ms(-time.Minute), ms(-time.Millisecond), ms(0)}
	found := reading(&poller.Census{ReadAt: now}, nil)
	found.Target.Found = true
	silent := healthy()
	silent.Reported, silent.Info, silent.NewestIssue = -1, nil, 0
	for _, tt := range []struct {
		name string
		r    *poller.Reading
	}{
		{"healthy", reading(healthy(), nil)},
		{"never_attempted", reading(nil, nil)},
		{"never_read", reading(nil, failure)},
		{"empty", reading(&poller.Census{ReadAt: now}, nil)},
		{"found_empty", found},
		{"failing_after_success", reading(healthy(), failure)},
		{"never_expiring", reading(never, nil)},
		{"dead_since_the_walk", reading(dead, nil)},
		{"nothing_optional", reading(silent, nil)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			golden(t, tt.name, exposition(t, newCollector(tt.r), perConsumer))
		})
	}
	t.Run("stale", func(t *testing.T) {
		c := newCollector(reading(healthy(), failure))
		c.maxStaleness = 2*time.Minute - 1
		c.snapshot().Schedules[0].Interval = 30 * time.Second
		golden(t, "stale", exposition(t, c, perConsumer))
	})
	t.Run("as_stale_as_may_be", func(t *testing.T) {
		c := newCollector(reading(healthy(), nil))
		c.maxStaleness = 2 * time.Minute
		golden(t, "healthy", exposition(t, c, perConsumer))
	})
	t.Run("within_three_intervals", func(t *testing.T) {
		c := newCollector(reading(healthy(), nil))
		c.maxStaleness = time.Second
		golden(t, "healthy", exposition(t, c, perConsumer))
	})
	t.Run("everything", func(t *testing.T) { golden(t, "everything", exposition(t, everything(), all)) })
}

func TestEverythingIsInTheGoldenFile(t *testing.T) {
	text, err := os.ReadFile("testdata/everything.prom")
	if err != nil {
		t.Fatal(err)
	}
	ch := make(chan *prometheus.Desc, 100)
	everything().Describe(ch)
	close(ch)
	for d := range ch {
		name := strings.Split(d.String(), `"`)[1]
		if !strings.Contains(string(text), "# HELP "+name+" ") {
			t.Errorf("%s is described but not exposed", name)
		}
	}
}

func TestLint(t *testing.T) {
	problems, err := testutil.CollectAndLint(everything())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestCountersExistFromTheStart(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newCollector())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]int{}
	for _, f := range families {
		series[f.GetName()] = len(f.GetMetric())
	}
	reasons := len(poller.Reasons())
	for name, want := range map[string]int{
		"idaas_poll_failures_total": reasons, "idaas_access_token_failures_total": reasons,
		"idaas_api_requests_total": 6, "idaas_api_wait_seconds_total": 3, "idaas_api_retries_total": 1,
		"idaas_api_throttled_total": 1, "idaas_poll_cycles_total": 1, "idaas_poll_skipped_total": 1,
		"idaas_api_clock_skew_seconds": 0, "idaas_access_token_expiration_timestamp_seconds": 0, "idaas_instance_info": 0,
	} {
		if series[name] != want {
			t.Errorf("%s: %d series, want %d", name, series[name], want)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(series)) {
		if strings.Contains(name, "authentication_token") {
			t.Errorf("%s without a target", name)
		}
	}
}

// TestLabelNames: no label has the name of one that Prometheus or Kubernetes add to targets.
func TestLabelNames(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(everything())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, l := range f.GetMetric()[0].GetLabel() {
			if slices.Contains([]string{"job", "instance", "endpoint", "service", "namespace", "pod", "container", "node"}, l.GetName()) {
				t.Errorf("%s has the label %s", f.GetName(), l.GetName())
			}
		}
	}
}

func BenchmarkScrape(b *testing.B) {
	const targets = 5000
	readings := make([]*poller.Reading, targets)
	for i := range readings {
		readings[i] = reading(healthy(), nil)
		readings[i].Target.Label = "consumer-" + strings.Repeat("x", i%20) + string(rune('a'+i%26)) + time.Duration(i).String()
	}
	same := constGauges{readings: readings}
	for i := range 17 { // as many as Collector sends per target
		same.descs = append(same.descs, prometheus.NewDesc("plain_"+strconv.Itoa(i), "Plain.", []string{"consumer", "credential_provider"}, nil))
	}
	took := map[string]float64{}
	for name, c := range map[string]prometheus.Collector{"ours": newCollector(readings...), "as many const gauges": same} {
		b.Run(name, func(b *testing.B) {
			registry := prometheus.NewRegistry()
			registry.MustRegister(c)
			b.ReportAllocs()
			var out bytes.Buffer
			for b.Loop() {
				out.Reset()
				if err := WriteText(registry, "", &out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(out.Len()), "bytes/scrape")
			took[name] = b.Elapsed().Seconds() / float64(b.N)
		})
	}
	b.Logf("%.2f times the time of as many const gauges", took["ours"]/took["as many const gauges"])
}

// constGauges sends const gauges with constant values.
type constGauges struct {
	readings []*poller.Reading
	descs    []*prometheus.Desc
}

func (p constGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range p.descs {
		ch <- d
	}
}

func (p constGauges) Collect(ch chan<- prometheus.Metric) {
	for _, r := range p.readings {
		for _, d := range p.descs {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, 1, r.Target.Label, r.Target.Provider)
		}
	}
}

// TestWriteTextReturnsOneError: a full disk is one error, not one per family.
func TestWriteTextReturnsOneError(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(reading(healthy(), nil)))
	file, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := WriteText(registry, "", file); err == nil || err.Error() != "write /dev/full: no space left on device" {
		t.Error(err)
	}
}

// TestDistinct: no two families have the same name in OpenMetrics, which has no _total in the names of counters.
func TestDistinct(t *testing.T) {
	registry := prometheus.NewRegistry()
	process := collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})
	registry.MustRegister(newCollector(reading(healthy(), nil)), collectors.NewGoCollector(), process)
	families, err := Distinct(registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range families {
		name := strings.TrimSuffix(f.GetName(), "_total")
		if seen[name] {
			t.Errorf("%s exists twice", name)
		}
		seen[name] = true
	}
	if len(seen) < 60 {
		t.Errorf("only %d families", len(seen))
	}
}

// TestNotDiscovering: the metrics of discovery exist only while it runs.
func TestNotDiscovering(t *testing.T) {
	for list, name := range map[poller.List]string{
		poller.Providers:    "idaas_provider_discovery_",
		poller.Applications: "idaas_consumer_discovery_",
	} {
		c := everything()
		discovery := func(f *dto.MetricFamily) bool { return strings.HasPrefix(f.GetName(), name) }
		if text := exposition(t, c, discovery); strings.Count(text, "\n"+name) != 2 {
			t.Errorf("while it runs: %s", text)
		}
		c.NotDiscovering(list)
		if text := exposition(t, c, discovery); text != "" {
			t.Errorf("after it: %s", text)
		}
	}
}
