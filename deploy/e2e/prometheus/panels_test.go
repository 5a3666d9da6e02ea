package prometheus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

// grafanas are the newest versions of Grafana's packages for 11 and 13.
var grafanas = map[string]string{"11": "data-11", "13": "@grafana/data"}

// TestPanels computes with Grafana's own packages what panels show of a real Prometheus: of a company with two replicas and a second
// shard, first without and then with every kind of trouble.
func TestPanels(t *testing.T) {
	for _, n := range []int{11, 553} {
		t.Run(fmt.Sprint(n, " targets"), func(t *testing.T) {
			t.Parallel()
			var trouble atomic.Bool
			start := time.Now()
			var addresses []any
			var last *httptest.Server
			for _, c := range []crowd{{n: n}, {n: n}, {n: 4, shard: 1}} {
				c.shards, c.start = 2, start
				last = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					c.trouble = trouble.Load()
					w.Header().Set("Content-Type", "text/plain; version=0.0.4")
					fmt.Fprint(w, c.metrics(time.Now()))
				}))
				t.Cleanup(last.Close)
				addresses = append(addresses, strings.TrimPrefix(last.URL, "http://"))
			}
			dir := t.TempDir()
			shortened(t, dir, "rules.yaml")
			config := filepath.Join(dir, "prometheus.yaml")
			e2e.WriteFile(t, config, fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: crowd
    static_configs:
      - {targets: [%q], labels: {node: a}}
      - {targets: [%q, %q], labels: {node: b}}
`, addresses...))
			prom := e2e.StartPrometheus(t, config)

			checkWell(t, prom, n)
			trouble.Store(true)
			last.CloseClientConnections()
			last.Close()
			checkTrouble(t, prom, n)
		})
	}
}

// results are those of all queries at one time, as in Grafana: by dashboard, panel and query.
type results map[string]map[int]map[string]json.RawMessage

func ask(t *testing.T, prom *e2e.Prometheus, job string) (all results, empty []string) {
	t.Helper()
	all = results{}
	at := time.Now()
	for _, d := range dashboards(t) {
		all[d.UID] = map[int]map[string]json.RawMessage{}
		for _, p := range d.all() {
			all[d.UID][p.ID] = map[string]json.RawMessage{}
			for _, q := range p.Targets {
				end := float64(at.UnixMilli()) / 1000
				query := url.Values{"query": {filled(q.Expr, job)}, "time": {fmt.Sprint(end)}}
				path := "query"
				if q.Range {
					path = "query_range"
					query.Set("start", fmt.Sprint(end-window.Seconds()))
					query.Set("end", fmt.Sprint(end))
					query.Set("step", step.String())
				}
				var data struct{ Result json.RawMessage }
				if err := prom.Api(t.Context(), path, query, &data); err != nil {
					t.Fatalf("%s: %q, query %s: %v", d.UID, p.Title, q.RefID, err)
				}
				all[d.UID][p.ID][q.RefID] = data.Result
				if string(data.Result) == "[]" {
					empty = append(empty, p.Title+", "+q.RefID+": "+q.Expr)
				}
			}
		}
	}
	return all, empty
}

// check has dashboards checked by a module. It returns the faults, and the texts of all panels by title: the rows of a table with its
// header, or name and value of each series.
func check(t *testing.T, module string, texts []string, all results) (faults []string, shown map[string][][]string) {
	t.Helper()
	input := struct {
		Dashboards []json.RawMessage `json:"dashboards"`
		Results    results           `json:"results"`
	}{Results: all}
	for _, text := range texts {
		input.Dashboards = append(input.Dashboards, json.RawMessage(text))
	}
	text, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "../grafana/check.cjs", module)
	cmd.Env = append(cmd.Environ(), "NODE_PATH="+e2e.Tool(t, "../grafana/node_modules"))
	cmd.Stdin = bytes.NewReader(text)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var found struct {
		Faults []string
		Shown  map[string]map[string][][]string
	}
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil {
		t.Fatal(module, err, stderr.String())
	}
	shown = map[string][][]string{}
	for _, panels := range found.Shown {
		maps.Copy(shown, panels)
	}
	return found.Faults, shown
}

func texts(t *testing.T) (list []string) {
	for _, d := range dashboards(t) {
		list = append(list, d.text)
	}
	return list
}

// TestPanelOptions: units, transformations, calculations, mappings and colors exist in both versions.
func TestPanelOptions(t *testing.T) {
	t.Parallel()
	for version, module := range grafanas {
		if faults, _ := check(t, module, texts(t), nil); faults != nil {
			t.Errorf("Grafana %s: %s", version, strings.Join(faults, "\n"))
		}
		for _, mistake := range [][2]string{
			{`"unit": "dtdhms"`, `"unit": "dtdhmss"`},
			{`"unit": "locale"`, `"unit": "number"`},
			{`"id": "merge"`, `"id": "join"`},
			{`"reducer": "min"`, `"reducer": "least"`},
			{`"lastNotNull"`, `"lastNotNul"`},
			{`"id": "isNotNull"`, `"id": "notNull"`},
			{`"id": "byName"`, `"id": "byname"`},
			{`"type": "regex"`, `"type": "pattern"`},
			{`"mode": "palette-classic"`, `"mode": "palette"`},
			{`"fixedColor": "purple"`, `"fixedColor": "purpel"`},
		} {
			wrong := texts(t)
			for i := range wrong {
				wrong[i] = strings.Replace(wrong[i], mistake[0], mistake[1], 1)
			}
			name := strings.Split(mistake[1], `"`)
			if faults, _ := check(t, module, wrong, nil); len(faults) == 0 || !strings.Contains(faults[0], name[len(name)-2]) {
				t.Errorf("Grafana %s: with %s the faults are %q", version, mistake[1], faults)
			}
		}
	}
}

// show returns what panels show, without cells that are wrong in any panel.
func show(t *testing.T, module string, all results) map[string][][]string {
	t.Helper()
	faults, shown := check(t, module, texts(t), all)
	if faults != nil {
		t.Errorf("%s: %s", module, strings.Join(faults, "\n"))
	}
	for title, rows := range shown {
		for _, row := range rows {
			for _, cell := range row {
				if cell == "" || cell == noData || strings.Contains(cell, "NaN") || strings.Contains(cell, "undefined") ||
					strings.Contains(cell, "Value") {
					t.Errorf("%s: %s shows %q in %q", module, title, cell, row)
				}
			}
		}
	}
	return shown
}

// checkWell: when all is well, panels have data, but for those with a sentence that says so.
func checkWell(t *testing.T, prom *e2e.Prometheus, n int) {
	checkData(t, prom, "crowd")
	all, _ := ask(t, prom, "crowd")
	for version, module := range grafanas {
		shown := show(t, module, all)
		for _, d := range dashboards(t) {
			for _, p := range d.all() {
				if len(shown[p.Title]) == 0 && p.FieldConfig.Defaults.NoValue == noData {
					t.Errorf("Grafana %s: %q is empty", version, p.Title)
				}
			}
		}
		for _, title := range []string{"Need attention", "Missing data", "Targets: ${show:text}", "Targets that cannot be read",
			"Firing alerts"} {
			if rows := shown[title]; len(rows) > 0 {
				t.Errorf("Grafana %s: %s has %q when all is well", version, title, rows)
			}
		}
	}
}

// checkTrouble: with every kind of trouble, every query has a result.
func checkTrouble(t *testing.T, prom *e2e.Prometheus, n int) {
	var all results
	e2e.Eventually(t, time.Minute, "a result of every query", func() error {
		var empty []string
		all, empty = ask(t, prom, "crowd")
		empty = slices.DeleteFunc(empty, func(query string) bool {
			native := strings.Contains(query, "histogram_quantile") && !strings.Contains(query, "_bucket")
			return native || strings.Contains(query, "absent(")
		})
		if len(empty) > 0 {
			return fmt.Errorf("no result:\n%s", strings.Join(empty, "\n"))
		}
		return nil
	})
	// of are the targets with these numbers of each hundred.
	of := func(numbers ...int) (total int) {
		for _, i := range numbers {
			total += (n - i + 99) / 100
		}
		return total
	}
	each := func(numbers ...int) string { return fmt.Sprint(of(numbers...)) }
	want := map[string][][]string{
		"Need attention": {
			{"lost", each(0)}, {"about to end", each(1)}, {"overdue", each(2)}, {"not renewed", each(3)}, {"at risk", each(4)},
		},
		"Missing data": {
			{"shards gone", "1"}, {"hidden", "4"}, {"down", "1"}, {"unknown", each(5)}, {"stale", each(10)}, {"failing", each(0, 5, 10)},
			{"lists failing", "2"}, {"unwatched", "3"},
		},
	}
	for version, module := range grafanas {
		shown := show(t, module, all)
		for title, rows := range want {
			if !slices.EqualFunc(shown[title], rows, slices.Equal) {
				t.Errorf("Grafana %s: %s shows %q instead of %q", version, title, shown[title], rows)
			}
		}
		// One row for each target, not for each replica, with all columns.
		for title, table := range map[string]struct {
			rows    int
			columns string
		}{
			"Targets: ${show:text}":       {of(0, 1, 2, 3, 4), "! State For Consumer Provider Expires in Token expected Data age Read error Page"},
			"Targets that cannot be read": {of(0, 5, 10), "Reason Data age Consumer Provider State Page"},
			"What comes next":             {min(20, n-1), "Renewal New token Expiration Consumer Provider"},
			"Processes": {3, "Up Instance Shard Targets In progress Rate limit Clock skew Access token Targets file State file Version " +
				"IDaaS instance"},
			"Schedules": {1, "Schedule Targets Interval Next Lag Skipped"},
		} {
			rows := shown[title]
			if len(rows) != table.rows+1 || strings.Join(rows[0], " ") != table.columns {
				t.Errorf("Grafana %s: %s has %d rows with %q instead of %d with %s", version, title, len(rows)-1, rows[:min(len(rows), 2)],
					table.rows, table.columns)
			}
		}
	}
}
