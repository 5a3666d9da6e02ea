package prometheus

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e/rules"
)

// BenchmarkCost measures with a real Prometheus, at 5,000 targets: the CPU seconds of one evaluation of the shipped rules, and
// of one load of each dashboard, with as many points of history as its graphs have. E2E_TOOLS chooses the
// Prometheus.
func BenchmarkCost(b *testing.B) {
	const history = 3 * time.Minute // stands for any range
	all := crowd{n: 5000, shards: 1, trouble: true, start: time.Now()}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(w, all.metrics(time.Now()))
	}))
	b.Cleanup(server.Close)
	config := filepath.Join(b.TempDir(), "prometheus.yaml")
	shipped, err := filepath.Abs(e2e.Root + "/deploy/prometheus/rules.yaml")
	if err != nil {
		b.Fatal(err)
	}
	e2e.WriteFile(b, config, fmt.Sprintf(`
global: {scrape_interval: 15s, scrape_timeout: 5s}
rule_files: [%q]
scrape_configs:
  - job_name: crowd
    static_configs: [targets: [%q]]
`, shipped, strings.TrimPrefix(server.URL, "http://")))
	prom := e2e.StartPrometheus(b, config)
	// own reads a metric of Prometheus itself, by the rest of its line up to the value.
	own := func(metric string) map[string]float64 {
		text, err := e2e.Get(b.Context(), "http://"+prom.Address+"/metrics")
		if err != nil {
			b.Fatal(err)
		}
		found := map[string]float64{}
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), metric); ok && !strings.HasPrefix(rest, "_") {
				cut := strings.LastIndexByte(rest, ' ')
				if found[rest[:cut]], err = strconv.ParseFloat(rest[cut+1:], 64); err != nil {
					b.Fatal(err)
				}
			}
		}
		return found
	}
	e2e.Eventually(b, 10*time.Minute, "two evaluations of every group", func() error {
		for group, n := range own("prometheus_rule_evaluations_total") {
			// The rules of a group are counted one by one: none has fewer than one.
			if n < 2 {
				return fmt.Errorf("%s: %v", group, n)
			}
		}
		for group, n := range own("prometheus_rule_group_iterations_total") {
			if n < 2 {
				return fmt.Errorf("%s: %v", group, n)
			}
		}
		return nil
	})
	var cost float64
	end := time.Now()
	server.Close() // so that Prometheus does nothing else; it is asked for the time before
	// The CPU time of queries, not the duration of evaluations, which depends on what else the machine does.
	const rounds = 5
	for _, r := range rules.ParseRules(b, e2e.ReadFile(b, shipped)) {
		before := own("process_cpu_seconds_total")[""]
		for range rounds {
			var v e2e.Vector
			if err := prom.Api(b.Context(), "query", url.Values{"query": {r.Expr}, "time": {fmt.Sprint(end.Unix())}}, &v); err != nil {
				b.Fatal(r.Alert, r.Record, err)
			}
		}
		seconds := (own("process_cpu_seconds_total")[""] - before) / rounds
		cost += seconds
		if seconds >= 0.005 {
			b.Logf("%-26s %.3f s", r.Alert+r.Record, seconds)
		}
	}
	b.ReportMetric(cost, "rules-cpu-s/min")
	for _, d := range dashboards(b) {
		cpu := 0.0
		for _, p := range d.Panels { // not those in folded rows, which are loaded later
			panel := own("process_cpu_seconds_total")[""]
			for _, q := range p.Targets {
				query := url.Values{"query": {strings.ReplaceAll(filled(q.Expr, "crowd"), window.String(), "1h")}}
				path := "query"
				query.Set("time", fmt.Sprint(end.Unix()))
				if q.Range {
					path = "query_range"
					query.Set("start", fmt.Sprint(end.Add(-history).Unix()))
					query.Set("end", fmt.Sprint(end.Unix()))
					query.Set("step", (history / time.Duration(p.MaxDataPoints)).String())
				}
				var v e2e.Vector
				if err := prom.Api(b.Context(), path, query, &v); err != nil {
					b.Fatal(p.Title, err)
				}
			}
			panel = own("process_cpu_seconds_total")[""] - panel
			cpu += panel
			if panel >= 0.05 {
				b.Logf("%s: %-40s %.2f s", d.UID, p.Title, panel)
			}
		}
		b.ReportMetric(cpu, d.UID+"-cpu-s/load")
	}
}
