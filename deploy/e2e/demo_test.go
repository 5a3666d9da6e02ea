package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDemo lets a real Prometheus scrape the demo, in every format, and asks what dashboards and rules ask.
func TestDemo(t *testing.T) {
	t.Parallel()
	dir, demo := t.TempDir(), freeAddress(t)
	start(t, []string{
		"IDAAS_LISTEN_ADDRESS=" + demo,
		"IDAAS_POLL_SCHEDULE=@every 1s",
		"IDAAS_RATE_LIMIT=100",
		"IDAAS_STATE_FILE=" + filepath.Join(dir, "state"),
	}, exporter(t), "demo")
	waitFor(t, "http://"+demo+"/-/ready")
	hundred := startHundred(t)

	config := filepath.Join(dir, "prometheus.yaml")
	writeFile(t, config, fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: demo
    scrape_protocols: [PrometheusText0.0.4]
    static_configs: [targets: [%[1]q]]
  - job_name: openmetrics
    scrape_protocols: [OpenMetricsText1.0.0]
    static_configs: [targets: [%[1]q]]
  - job_name: native
    scrape_native_histograms: true
    static_configs: [targets: [%[1]q]]
  - job_name: hundred
    static_configs: [targets: [%[2]q]]
`, demo, hundred.address))
	shortened(t, dir, "rules.yaml")
	prom := startPrometheus(t, config)

	text, err := get(t.Context(), "http://"+demo+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("promtool check metrics", func(t *testing.T) {
		runTool(t, strings.NewReader(text), tool(t, "promtool"), "check", "metrics")
		for _, version := range []string{"1.0.0", "0.0.1"} {
			text, err := get(t.Context(), "http://"+demo+"/metrics", "application/openmetrics-text; version="+version)
			if err != nil {
				t.Fatal(err)
			}
			// It reads OpenMetrics as text, where counters and their families have one name.
			cmd := exec.CommandContext(t.Context(), tool(t, "promtool"), "check", "metrics")
			cmd.Stdin = strings.NewReader(text)
			out, _ := cmd.CombinedOutput()
			for line := range strings.Lines(string(out)) {
				if !strings.HasSuffix(line, "_total no help text\n") {
					t.Errorf("OpenMetrics %s: %s", version, line)
				}
			}
		}
	})
	known := knownMetrics(t, text)
	t.Run("dashboards use what exists", func(t *testing.T) { checkExpressions(t, known) })
	t.Run("rules use what exists", func(t *testing.T) { checkRules(t, known) })
	t.Run("OpenMetrics", func(t *testing.T) { checkOpenMetrics(t, prom, demo) })
	t.Run("native histograms", func(t *testing.T) { checkNative(t, prom) })
	t.Run("series per target", func(t *testing.T) { hundred.check(t, prom) })
	t.Run("dashboards show data", func(t *testing.T) { checkData(t, prom, "demo") })
	t.Run("dashboards show data with native histograms", func(t *testing.T) { checkData(t, prom, "native") })
}

func checkOpenMetrics(t *testing.T, prom *prometheus, demo string) {
	const kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	text, err := get(t.Context(), "http://"+demo+"/metrics", kind)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(text, "# EOF\n") {
		t.Error("the answer does not end with # EOF")
	}
	if err := (catalogue{}).exposition(text, kind); err != nil {
		t.Error(err)
	}
	same := func(metric string) error {
		for _, job := range []string{"demo", "openmetrics"} {
			if n, err := prom.number(t.Context(), fmt.Sprintf("count(%s{job=%q})", metric, job)); err != nil || n == 0 {
				return fmt.Errorf("job %s has no %s: %w", job, metric, err)
			}
		}
		return nil
	}
	for _, metric := range []string{"idaas_authentication_tokens", "idaas_api_requests_total", "idaas_poll_duration_seconds_bucket", "idaas_target_info"} {
		eventually(t, 30*time.Second, metric, func() error { return same(metric) })
	}
}

func checkNative(t *testing.T, prom *prometheus) {
	for _, metric := range []string{"idaas_poll_duration_seconds", "idaas_api_request_duration_seconds"} {
		eventually(t, 30*time.Second, metric, func() error {
			n, err := prom.number(t.Context(), fmt.Sprintf(`sum(histogram_count(%s{job="native"}))`, metric))
			if err == nil && n == 0 {
				err = fmt.Errorf("the native histogram counts nothing")
			}
			return err
		})
	}
}
