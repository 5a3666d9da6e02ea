package prometheus

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

// noData is what a panel shows that always has data when all is well. Others have a sentence for that.
const noData = "no data"

type dashboard struct {
	UID        string
	Title      string
	Panels     []panel
	Templating struct {
		List []struct {
			Name    string
			Type    string
			Query   json.RawMessage
			Current struct{ Value any }
		}
	}

	file string
	text string
}

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	GridPos     struct{ X, Y, W, H int }

	MaxDataPoints int
	Targets       []struct {
		RefID string
		Expr  string
		Range bool
	}
	Panels      []panel // of a collapsed row
	FieldConfig struct{ Defaults struct{ NoValue string } }
}

func dashboards(t testing.TB) []dashboard {
	t.Helper()
	files, err := filepath.Glob(e2e.Root + "/dashboards/*.json")
	if err != nil || files == nil {
		t.Fatal("no dashboards", err)
	}
	var all []dashboard
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := dashboard{file: file, text: string(text)}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(file, err)
		}
		all = append(all, d)
	}
	return all
}

// all returns every panel that can be drawn.
func (d dashboard) all() (list []panel) {
	for _, p := range d.Panels {
		for _, q := range append([]panel{p}, p.Panels...) {
			if q.Type != "row" {
				list = append(list, q)
			}
		}
	}
	return list
}

func TestDashboardsLayout(t *testing.T) {
	for _, d := range dashboards(t) {
		ids := map[int]bool{}
		for i, p := range d.Panels {
			if ids[p.ID] {
				t.Errorf("%s: the id of %q is taken", d.UID, p.Title)
			}
			ids[p.ID] = true
			a := p.GridPos
			if a.X < 0 || a.Y < 0 || a.W < 1 || a.H < 1 || a.X+a.W > 24 {
				t.Errorf("%s: %q is off the grid: %+v", d.UID, p.Title, a)
			}
			for _, q := range d.Panels[:i] {
				b := q.GridPos
				if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
					t.Errorf("%s: %q and %q overlap", d.UID, p.Title, q.Title)
				}
			}
		}
	}
}

var (
	variable = regexp.MustCompile(`\$\{?(\w+)`)
	uidLink  = regexp.MustCompile(`"(?:[^"]*)/d/([\w-]+)`)
	builtin  = regexp.MustCompile(`^__`)
)

func TestDashboardsVariables(t *testing.T) {
	uids := map[string]bool{}
	for _, d := range dashboards(t) {
		uids[d.UID] = true
	}
	for _, d := range dashboards(t) {
		used := map[string]bool{}
		for _, name := range variable.FindAllStringSubmatch(d.text, -1) {
			used[name[1]] = true
		}
		for _, v := range d.Templating.List {
			if !used[v.Name] {
				t.Errorf("%s: the variable %s is not used", d.UID, v.Name)
			}
			delete(used, v.Name)
		}
		for name := range used {
			if !builtin.MatchString(name) {
				t.Errorf("%s: there is no variable %s", d.UID, name)
			}
		}
		for _, link := range uidLink.FindAllStringSubmatch(d.text, -1) {
			if !uids[link[1]] {
				t.Errorf("%s: there is no dashboard %s to link to", d.UID, link[1])
			}
		}
	}
}

const (
	window = 30 * time.Second // of time that the dashboards show
	step   = time.Second
)

// filled is an expression as Grafana would send it with one job chosen.
func filled(expr, job string) string {
	return strings.NewReplacer(
		"$__rate_interval", "20s", "$__interval", step.String(), "$__range", window.String(),
		"$job", job, "$provider", ".*", "$consumer", ".*", "$show", "lost|about_to_end|overdue|not_renewed|at_risk",
	).Replace(expr)
}

var labelValues = regexp.MustCompile(`label_values\((.*), (\w+)\)`)

func checkExpressions(t *testing.T, known catalogue) {
	known = recorded(t, known)
	for _, wrong := range []string{"no_such_metric", `up{consumer="x"}`, "sum by (no_such_label) (up)", "up + on (no_such_label) up", "up +"} {
		if known.missing(wrong) == nil {
			t.Errorf("nothing seems to be wrong with %s", wrong)
		}
	}
	for _, d := range dashboards(t) {
		for _, p := range d.all() {
			for _, q := range p.Targets {
				for _, fault := range known.missing(filled(q.Expr, "demo")) {
					t.Errorf("%s: %q, query %s: %s", d.UID, p.Title, q.RefID, fault)
				}
			}
		}
		for _, v := range d.Templating.List {
			if v.Type != "query" {
				continue
			}
			var query struct{ Query string }
			if err := json.Unmarshal(v.Query, &query); err != nil {
				t.Fatal(err)
			}
			part := labelValues.FindStringSubmatch(query.Query)
			if part == nil {
				t.Errorf("%s: the variable %s is not label_values(metric, label): %s", d.UID, v.Name, query.Query)
				continue
			}
			for _, fault := range known.missing(fmt.Sprintf("count by (%s) (%s)", part[2], filled(part[1], "demo"))) {
				t.Errorf("%s: variable %s: %s", d.UID, v.Name, fault)
			}
		}
	}
}

// checkData waits until every panel has something to draw of a job, but for panels with a sentence for that.
func checkData(t *testing.T, prom *e2e.Prometheus, job string) {
	var empty []string
	for _, d := range dashboards(t) {
		for _, p := range d.all() {
			name := fmt.Sprintf("%s: %s", d.UID, p.Title)
			sentence := p.FieldConfig.Defaults.NoValue
			if sentence == "" {
				t.Errorf("%s: no text for no value", name)
			}
			e2e.Eventually(t, time.Minute, name, func() error {
				drawn := 0
				for _, q := range p.Targets {
					n, err := draw(t, prom, filled(q.Expr, job), q.Range)
					if err != nil {
						t.Fatalf("%s, query %s: %v", name, q.RefID, err)
					}
					drawn += n
				}
				if drawn == 0 && sentence == noData {
					return fmt.Errorf("no data")
				}
				if drawn == 0 {
					empty = append(empty, name+": "+sentence)
				}
				return nil
			})
		}
	}
	t.Logf("empty panels:\n   %s", strings.Join(empty, "\n   "))
}

// draw returns how many series a query of a panel has.
func draw(t *testing.T, p *e2e.Prometheus, expr string, over bool) (int, error) {
	if !over {
		samples, err := p.Query(t.Context(), expr)
		return len(samples), err
	}
	now := time.Now()
	at := func(t time.Time) string { return fmt.Sprintf("%.3f", float64(t.UnixMilli())/1000) }
	var v e2e.Vector
	err := p.Api(t.Context(), "query_range", url.Values{
		"query": {expr}, "start": {at(now.Add(-window))}, "end": {at(now)}, "step": {step.String()},
	}, &v)
	return len(v.Result), err
}
