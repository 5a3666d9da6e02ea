package rules

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// scenarios is tests/scenarios.yaml, as far as it is needed here.
type scenarios struct {
	Tests []struct {
		Name   string
		Series []struct{ Series, Values string } `yaml:"input_series"`
		Checks []check                           `yaml:"promql_expr_test"`
	}
}

type check struct {
	Time    string                    `yaml:"eval_time"`
	Samples []struct{ Labels string } `yaml:"exp_samples"`
}

// TestMetricsQL: the rules mean the same in MetricsQL. It evaluates them as vmalert does, with instant queries to VictoriaMetrics, for the
// scenarios of tests/scenarios.yaml, each in a time of its own, so that none sees what another had within a day. A replay by vmalert
// itself would use range queries, in which set operators join whole series.
func TestMetricsQL(t *testing.T) {
	var all scenarios
	if err := yaml.Unmarshal([]byte(e2e.ReadFile(t, e2e.Root+"/deploy/prometheus/tests/scenarios.yaml")), &all); err != nil {
		t.Fatal(err)
	}
	shipped := e2e.Root + "/deploy/prometheus/rules.yaml"
	e2e.RunTool(t, nil, e2e.Tool(t, "vmalert"), "-dryRun", "-rule="+shipped) // Debian's, 1.79; it checks the templates, too
	const apart = 30 * time.Hour
	start := time.Now().Truncate(time.Hour).Add(-apart * time.Duration(len(all.Tests)))
	v := victoria{t, "http://" + e2e.FreeAddress(t)}
	e2e.Start(t, nil, e2e.Tool(t, "victoria-metrics"), "-storageDataPath="+t.TempDir(),
		"-httpListenAddr="+strings.TrimPrefix(v.url, "http://"),
		"-retentionPeriod=1y", "-search.disableCache", "-search.maxUniqueTimeseries=10000")
	e2e.WaitFor(t, v.url+"/health")
	var last []time.Duration // of each scenario
	for i, test := range all.Tests {
		end := time.Duration(0)
		for _, s := range test.Series {
			v.write(s.Series, s.Values, start.Add(apart*time.Duration(i)))
		}
		for _, c := range test.Checks {
			end = max(end, c.at(t))
		}
		last = append(last, end)
	}
	v.flush()
	var alerts []rulefmt.Rule
	for _, r := range ParseRules(t, e2e.ReadFile(t, shipped)) {
		if r.Alert != "" {
			alerts = append(alerts, r)
			continue
		}
		for i := range all.Tests {
			for at := time.Duration(0); at <= last[i]; at += time.Minute {
				when := start.Add(apart*time.Duration(i) + at)
				for _, found := range v.query(r.Expr, when) {
					found.Metric["__name__"] = r.Record
					v.store(found.Metric, []float64{found.number(t)}, []int64{when.UnixMilli()})
				}
			}
		}
		v.flush()
	}
	for i, test := range all.Tests {
		for _, c := range test.Checks {
			want, got := []string{}, []string{}
			for _, s := range c.Samples {
				want = append(want, labelSet(t, s.Labels))
			}
			when := start.Add(apart*time.Duration(i) + c.at(t))
			for _, r := range alerts {
				// A series fires that was there at each evaluation, from so long ago.
				there := map[string]int{}
				evaluations := int(time.Duration(r.For)/time.Minute) + 1
				for n := range evaluations {
					for _, found := range v.query(r.Expr, when.Add(-time.Duration(n)*time.Minute)) {
						found.Metric["alertname"] = r.Alert
						delete(found.Metric, "shards")
						there[spelt(found.Metric)]++
					}
					if len(there) == 0 {
						break
					}
				}
				for set, n := range there {
					if n == evaluations {
						got = append(got, set)
					}
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s, after %s:\n got %s\nwant %s", test.Name, c.Time, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
			}
		}
	}
}

// victoria is a VictoriaMetrics.
type victoria struct {
	*testing.T
	url string
}

type found struct {
	Metric map[string]string
	Value  [2]any
}

func (f found) number(t *testing.T) float64 {
	n, err := strconv.ParseFloat(f.Value[1].(string), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (v victoria) query(expr string, at time.Time) []found {
	v.Helper()
	query := url.Values{"query": {expr}, "time": {fmt.Sprint(at.Unix())}, "step": {"1m"}, "nocache": {"1"}}
	text, err := e2e.Get(v.Context(), v.url+"/api/v1/query?"+query.Encode())
	if err != nil {
		v.Fatal(expr, err)
	}
	var answer struct{ Data struct{ Result []found } }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		v.Fatal(text, err)
	}
	return answer.Data.Result
}

func (v victoria) flush() {
	if _, err := e2e.Get(v.Context(), v.url+"/internal/force_flush"); err != nil {
		v.Fatal(err)
	}
}

// write writes a series of a scenario that begins at start. Times among its values count from there, too.
func (v victoria) write(series, values string, start time.Time) {
	v.Helper()
	set, samples, err := Promql.ParseSeriesDesc(series + " " + values)
	if err != nil {
		v.Fatal(series, err)
	}
	var numbers []float64
	var times []int64
	for i, s := range samples {
		if s.Omitted || s.Value != s.Value { // stale
			continue
		}
		if strings.HasSuffix(set.Get("__name__"), "_timestamp_seconds") {
			s.Value += float64(start.Unix())
		}
		numbers = append(numbers, s.Value)
		times = append(times, start.Add(time.Duration(i)*time.Minute).UnixMilli())
	}
	v.store(set.Map(), numbers, times)
}

func (v victoria) store(metric map[string]string, values []float64, timestamps []int64) {
	v.Helper()
	text, err := json.Marshal(map[string]any{"metric": metric, "values": values, "timestamps": timestamps})
	if err != nil {
		v.Fatal(err)
	}
	response, err := http.Post(v.url+"/api/v1/import", "application/json", strings.NewReader(string(text)))
	if err != nil {
		v.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		v.Fatal(metric, response.Status)
	}
}

func (c check) at(t *testing.T) time.Duration {
	at, err := model.ParseDuration(c.Time)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(at)
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
