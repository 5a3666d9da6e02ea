package rules

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// scenarios is tests/scenarios.yaml, as far as it is needed here.
type scenarios struct {
	Tests []struct {
		Name   string
		Series []struct{ Series, Values string } `yaml:"input_series"`
		Checks []struct {
			Expr    string
			Time    string `yaml:"eval_time"`
			Samples []struct{ Labels string }
		} `yaml:"promql_expr_test"`
	}
}

// TestMetricsQL: vmalert with VictoriaMetrics fires the alerts of tests/scenarios.yaml. Both are those of Debian. vmalert replays all
// scenarios at once, each in a time of its own, so that none sees what another had within a day.
func TestMetricsQL(t *testing.T) {
	var all scenarios
	if err := yaml.Unmarshal([]byte(e2e.ReadFile(t, e2e.Root+"/deploy/prometheus/tests/scenarios.yaml")), &all); err != nil {
		t.Fatal(err)
	}
	const apart = 30 * time.Hour
	end := time.Now().Truncate(time.Hour)
	start := end.Add(-apart * time.Duration(len(all.Tests)))
	address := e2e.FreeAddress(t)
	server := "http://" + address
	e2e.Start(t, nil, e2e.Tool(t, "victoria-metrics"), "-storageDataPath="+t.TempDir(), "-httpListenAddr="+address, "-retentionPeriod=1y",
		"-search.maxPointsPerTimeseries=1000000", "-search.disableCache")
	e2e.WaitFor(t, server+"/health")
	for i, test := range all.Tests {
		for _, s := range test.Series {
			imported(t, server, s.Series, s.Values, start.Add(apart*time.Duration(i)))
		}
	}
	if _, err := e2e.Get(t.Context(), server+"/internal/force_flush"); err != nil {
		t.Fatal(err)
	}
	shipped := e2e.Root + "/deploy/prometheus/rules.yaml"
	e2e.RunTool(t, nil, e2e.Tool(t, "vmalert"), "-dryRun", "-rule="+shipped) // checks the templates, too
	bare := filepath.Join(t.TempDir(), "rules.yaml")                         // a replay cannot query in templates
	e2e.WriteFile(t, bare, regexp.MustCompile("(?m)^ +description: .*\n").ReplaceAllString(e2e.ReadFile(t, shipped), ""))
	e2e.RunTool(t, nil, e2e.Tool(t, "vmalert"), "-rule="+bare, "-datasource.url="+server,
		"-remoteWrite.url="+server, "-replay.timeFrom="+start.UTC().Format(time.RFC3339), "-replay.timeTo="+end.UTC().Format(time.RFC3339),
		"-replay.maxDatapointsPerQuery=1000000", "-replay.rulesDelay=1s")
	if _, err := e2e.Get(t.Context(), server+"/internal/force_flush"); err != nil {
		t.Fatal(err)
	}
	for i, test := range all.Tests {
		for _, c := range test.Checks {
			at, err := model.ParseDuration(c.Time)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, s := range c.Samples {
				want = append(want, labelSet(t, s.Labels))
			}
			slices.Sort(want)
			when := start.Add(apart*time.Duration(i) + time.Duration(at))
			if got := firing(t, server, c.Expr, when); !slices.Equal(got, want) {
				t.Errorf("%s, after %s:\n got %s\nwant %s", test.Name, c.Time, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
			}
		}
	}
}

// imported writes a series of a scenario that begins at start. Times among its values count from there, too.
func imported(t *testing.T, server, series, values string, start time.Time) {
	t.Helper()
	set, samples, err := Promql.ParseSeriesDesc(series + " " + values)
	if err != nil {
		t.Fatal(series, err)
	}
	line := struct {
		Metric     map[string]string `json:"metric"`
		Values     []float64         `json:"values"`
		Timestamps []int64           `json:"timestamps"`
	}{Metric: set.Map()}
	for i, s := range samples {
		if s.Omitted || s.Value != s.Value { // stale
			continue
		}
		if strings.HasSuffix(set.Get("__name__"), "_timestamp_seconds") {
			s.Value += float64(start.Unix())
		}
		line.Values = append(line.Values, s.Value)
		line.Timestamps = append(line.Timestamps, start.Add(time.Duration(i)*time.Minute).UnixMilli())
	}
	text, err := json.Marshal(line)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Post(server+"/api/v1/import", "application/json", strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		t.Fatal(series, response.Status)
	}
}

// firing returns the labels of the alerts at a time.
func firing(t *testing.T, server, expr string, at time.Time) (sets []string) {
	t.Helper()
	query := url.Values{"query": {expr}, "time": {fmt.Sprint(at.Unix())}, "step": {"1m"}, "max_lookback": {"1m"}, "nocache": {"1"}}
	text, err := e2e.Get(t.Context(), server+"/api/v1/query?"+query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Data struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(text, err)
	}
	for _, r := range answer.Data.Result {
		sets = append(sets, spelt(r.Metric))
	}
	slices.Sort(sets)
	return sets
}

func labelSet(t *testing.T, text string) string {
	t.Helper()
	e, err := Promql.ParseExpr(text)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]string{}
	for _, m := range e.(*parser.VectorSelector).LabelMatchers {
		set[m.Name] = m.Value
	}
	return spelt(set)
}

func spelt(set map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(set)) {
		parts = append(parts, name+"="+set[name])
	}
	return strings.Join(parts, " ")
}

// TestOldPrometheus: Debian's Prometheus, 2.42, reads and tests the rules as the newest does.
func TestOldPrometheus(t *testing.T) {
	files, err := filepath.Glob(e2e.Root + "/deploy/prometheus/tests/*.yaml")
	if err != nil || files == nil {
		t.Fatal("no rule tests", err)
	}
	e2e.RunTool(t, nil, e2e.Tool(t, "promtool-2.42"), append([]string{"test", "rules"}, files...)...)
}
