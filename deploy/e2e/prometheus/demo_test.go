package prometheus

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e/rules"
)

// TestDemo lets a real Prometheus scrape the demo, in every format, and asks what dashboards and rules ask.
func TestDemo(t *testing.T) {
	t.Parallel()
	dir, demo := t.TempDir(), e2e.FreeAddress(t)
	e2e.Start(t, []string{
		"IDAAS_LISTEN_ADDRESS=" + demo,
		"IDAAS_POLL_SCHEDULE=@every 1s",
		"IDAAS_RATE_LIMIT=100",
		"IDAAS_STATE_FILE=" + filepath.Join(dir, "state"),
	}, e2e.Exporter(t), "demo")
	e2e.WaitFor(t, "http://"+demo+"/-/ready")
	hundred := startHundred(t)

	config := filepath.Join(dir, "prometheus.yaml")
	e2e.WriteFile(t, config, fmt.Sprintf(`
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
	prom := e2e.StartPrometheus(t, config)

	text, err := e2e.Get(t.Context(), "http://"+demo+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("promtool check metrics", func(t *testing.T) {
		e2e.RunTool(t, strings.NewReader(text), e2e.Tool(t, "promtool"), "check", "metrics")
		for _, version := range []string{"1.0.0", "0.0.1"} {
			text, err := e2e.Get(t.Context(), "http://"+demo+"/metrics", "application/openmetrics-text; version="+version)
			if err != nil {
				t.Fatal(err)
			}
			// It reads OpenMetrics as text, where counters and their families have one name.
			cmd := exec.CommandContext(t.Context(), e2e.Tool(t, "promtool"), "check", "metrics")
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

func checkOpenMetrics(t *testing.T, prom *e2e.Prometheus, demo string) {
	const kind = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	text, err := e2e.Get(t.Context(), "http://"+demo+"/metrics", kind)
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
			if n, err := prom.Number(t.Context(), fmt.Sprintf("count(%s{job=%q})", metric, job)); err != nil || n == 0 {
				return fmt.Errorf("job %s has no %s: %w", job, metric, err)
			}
		}
		return nil
	}
	for _, metric := range []string{
		"idaas_authentication_tokens", "idaas_api_requests_total", "idaas_poll_duration_seconds_bucket", "idaas_target_info",
	} {
		e2e.Eventually(t, 30*time.Second, metric, func() error { return same(metric) })
	}
}

func checkNative(t *testing.T, prom *e2e.Prometheus) {
	for _, metric := range []string{"idaas_poll_duration_seconds", "idaas_api_request_duration_seconds"} {
		e2e.Eventually(t, 30*time.Second, metric, func() error {
			n, err := prom.Number(t.Context(), fmt.Sprintf(`sum(histogram_count(%s{job="native"}))`, metric))
			if err == nil && n == 0 {
				err = fmt.Errorf("the native histogram counts nothing")
			}
			return err
		})
	}
}

// shortened writes the shortened form of a shipped file into dir, with further replacements.
func shortened(t *testing.T, dir, file string, replace ...string) string {
	t.Helper()
	text := rules.Shorten(e2e.ReadFile(t, e2e.Root+"/deploy/prometheus/"+file))
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("%s: there is no %s to replace", file, replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	path := filepath.Join(dir, file)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestConfigurations checks the example configurations with the vendors' own tools.
func TestConfigurations(t *testing.T) {
	dir := e2e.Root + "/deploy/prometheus/"
	e2e.RunTool(t, nil, e2e.Tool(t, "promtool"), "check", "config", dir+"prometheus.yaml")
	e2e.RunTool(t, nil, e2e.Tool(t, "amtool"), "check-config", dir+"alertmanager.yaml")
}
