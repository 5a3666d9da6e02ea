package dashboards

import (
	"fmt"
	"slices"
	"strings"
)

// The parts of Grafana's dashboard model (schema version 39) that these dashboards use. Options differ by
// panel type and are plain objects; encoding/json sorts their keys, so the files are stable.
type (
	object = map[string]any

	dashboard struct {
		ID            *int     `json:"id"`
		UID           string   `json:"uid"`
		Title         string   `json:"title"`
		Description   string   `json:"description"`
		Tags          []string `json:"tags"`
		SchemaVersion int      `json:"schemaVersion"`
		Version       int      `json:"version"`
		Editable      bool     `json:"editable"`
		GraphTooltip  int      `json:"graphTooltip"`
		Timezone      string   `json:"timezone"`
		Refresh       string   `json:"refresh"`
		Time          object   `json:"time"`
		Annotations   object   `json:"annotations"`
		Links         []link   `json:"links"`
		Templating    object   `json:"templating"`
		Panels        []*panel `json:"panels"`
	}
	link struct {
		Title       string   `json:"title"`
		Type        string   `json:"type"`
		URL         string   `json:"url"`
		Icon        string   `json:"icon"`
		Tooltip     string   `json:"tooltip"`
		Tags        []string `json:"tags"`
		AsDropdown  bool     `json:"asDropdown"`
		IncludeVars bool     `json:"includeVars"`
		KeepTime    bool     `json:"keepTime"`
		TargetBlank bool     `json:"targetBlank"`
	}
	source struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	}
	gridPos struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	}
	panel struct {
		ID              int          `json:"id"`
		Type            string       `json:"type"`
		Title           string       `json:"title"`
		Description     string       `json:"description,omitempty"`
		GridPos         gridPos      `json:"gridPos"`
		Collapsed       *bool        `json:"collapsed,omitempty"`
		Panels          []*panel     `json:"panels,omitzero"`
		Datasource      *source      `json:"datasource,omitempty"`
		Interval        string       `json:"interval,omitempty"`
		MaxDataPoints   int          `json:"maxDataPoints,omitempty"`
		Targets         []target     `json:"targets,omitempty"`
		FieldConfig     *fieldConfig `json:"fieldConfig,omitempty"`
		Options         object       `json:"options,omitempty"`
		Transformations []object     `json:"transformations,omitempty"`
	}
	target struct {
		RefID        string `json:"refId"`
		Datasource   source `json:"datasource"`
		EditorMode   string `json:"editorMode"`
		Expr         string `json:"expr"`
		LegendFormat string `json:"legendFormat,omitempty"`
		Format       string `json:"format"`
		Instant      bool   `json:"instant"`
		Range        bool   `json:"range"`
		Interval     string `json:"interval,omitempty"`
	}
	fieldConfig struct {
		Defaults  object   `json:"defaults"`
		Overrides []object `json:"overrides"`
	}

	// query is one expression and what its series are called.
	query struct{ expr, legend string }
	// step is a threshold: from this value on, this color. The first step of a list has no value.
	step struct {
		from  float64
		color string
	}
	// column of a table: a label (from) or a value (expr).
	column struct {
		name, from, expr, unit string
		steps                  []step
		maps                   []object
		url                    string
		width                  int
		links                  []object
	}
)

var prometheus = source{Type: "prometheus", UID: "${datasource}"}

const (
	emptyWhenWell = " Empty when all is well."
	notChosen     = " Provider and Consumer do not narrow it."
	unknown       = "no data"
	// nameWidth shows a usual name whole, also in a window of 1000 pixels.
	nameWidth   = 200
	tokensUID   = "idaas-tokens"
	exporterUID = "idaas-token-exporter"
	// process selects every process of the chosen jobs, facts the chosen targets.
	process = `{job=~"$job"}`
	facts   = `{job=~"$job",credential_provider=~"$provider",consumer=~"$consumer"}`
	// firing are the alerts of the shipped rules; some have no provider, no consumer, or no job.
	firing = `ALERTS{alertstate="firing",alertname=~"IDaaS.*",job=~"$job|",credential_provider=~"$provider|",consumer=~"$consumer|"}`
	// byTarget names a target in tables, whatever other labels a scrape adds.
	byTarget = `by (job, credential_provider, consumer)`
)

// most and least are one value per target: replicas that read the same target are not counted twice.
func most(metric string) string  { return "max without (instance, pod) (" + metric + facts + ")" }
func least(metric string) string { return "min without (instance, pod) (" + metric + facts + ")" }

// per fills %[1]s, %[2]s, … of an expression.
func per(format string, parts ...any) string { return fmt.Sprintf(format, parts...) }

func thresholds(steps []step) object {
	list := []object{}
	for i, s := range steps {
		if i == 0 {
			list = append(list, object{"color": s.color, "value": nil})
			continue
		}
		list = append(list, object{"color": s.color, "value": s.from})
	}
	return object{"mode": "absolute", "steps": list}
}

func plain(color string) []step { return []step{{color: color}} }
func bad(from float64, color string) []step {
	return []step{{color: "green"}, {from, color}}
}

// shown maps one value to a text and a color.
func shown(value, text, color string) object {
	return object{"type": "value", "options": object{value: object{"index": 0, "text": text, "color": color}}}
}

// nothing stands for a value that is not there: unknown is not zero, and has its own color.
func nothing(text string) object {
	return object{"type": "special", "options": object{"match": "null", "result": object{"index": 0, "text": text, "color": "purple"}}}
}

func newPanel(kind, title, description string, w, h int, unit string, steps []step) *panel {
	return &panel{
		Type: kind, Title: title, Description: description, GridPos: gridPos{W: w, H: h}, Datasource: &prometheus,
		FieldConfig: &fieldConfig{Overrides: []object{}, Defaults: object{
			"unit": unit, "thresholds": thresholds(steps), "mappings": []object{}, "color": object{"mode": "thresholds"},
		}},
	}
}

// scrapeInterval is the longest that is right: without it Grafana takes rates over a minute, in which the shipped scrape
// configuration has one sample. It counts for a query, not for a panel.
const scrapeInterval = "1m"

// ask adds the queries of a panel, evaluated once (now) or over the whole range.
func (p *panel) ask(format string, instant bool, queries ...query) *panel {
	for _, q := range queries {
		t := target{
			RefID: string(rune('A' + len(p.Targets))), Datasource: prometheus, EditorMode: "code", Expr: q.expr,
			LegendFormat: q.legend, Format: format, Instant: instant, Range: !instant,
		}
		if strings.Contains(q.expr, "$__rate_interval") {
			t.Interval = scrapeInterval
		}
		p.Targets = append(p.Targets, t)
	}
	return p
}

func (p *panel) with(key string, value any) *panel {
	p.FieldConfig.Defaults[key] = value
	return p
}

// leads makes a panel a way to the other dashboard, with the same choice of targets.
func (p *panel) leads(uid string) *panel {
	return p.with("links", []object{{"title": "Open the other dashboard", "url": drill(uid, "")}})
}

func (p *panel) custom(key string, value any) *panel {
	p.FieldConfig.Defaults["custom"].(object)[key] = value
	return p
}

func (p *panel) override(name string, properties ...object) *panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, object{
		"matcher": object{"id": "byName", "options": name}, "properties": properties,
	})
	return p
}

// paint gives one series a color of its own.
func (p *panel) paint(name, color string) *panel {
	return p.override(name, property("color", object{"mode": "fixed", "fixedColor": color}))
}

// dashed draws a series as a limit.
func (p *panel) dashed(name string) *panel {
	return p.override(name, property("custom.lineStyle", object{"fill": "dash", "dash": []int{10, 10}}),
		property("custom.fillOpacity", 0), property("custom.stacking", object{"mode": "none", "group": "A"}),
		property("color", object{"mode": "fixed", "fixedColor": "#808080"}))
}

// coarse asks a long expression for fewer points.
func (p *panel) coarse() *panel {
	p.Interval, p.MaxDataPoints = "1m", 60
	return p
}

func property(id string, value any) object { return object{"id": id, "value": value} }

var lastValue = object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}

func stat(title, description string, w int, unit string, steps []step, queries ...query) *panel {
	p := newPanel("stat", title, description, w, 4, unit, steps).ask("time_series", true, queries...).with("mappings", []object{nothing(unknown)})
	p.Options = object{
		"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
		"textMode": "auto", "wideLayout": true, "showPercentChange": false, "reduceOptions": lastValue,
	}
	return p
}

func series(title, description string, w int, unit string, queries ...query) *panel {
	p := newPanel("timeseries", title, description, w, 8, unit, plain("green")).ask("time_series", false, queries...)
	p.Options = object{
		"legend":  object{"showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": []string{}},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	}
	return p.with("color", object{"mode": "palette-classic"}).with("noValue", unknown).with("custom", object{
		"drawStyle": "line", "lineWidth": 1, "fillOpacity": 0, "showPoints": "auto", "pointSize": 4, "axisSoftMin": 0,
		"spanNulls": false, "stacking": object{"mode": "none", "group": "A"},
	})
}

// counts are whole, on an axis of whole numbers even when all are zero.
func counts(title, description string, w int, queries ...query) *panel {
	return series(title, description, w, "locale", queries...).with("decimals", 0).custom("axisSoftMax", 5)
}

// sparse shows the single points of what has values only when something happens; gaps stay gaps.
func (p *panel) sparse() *panel { return p.custom("showPoints", "always") }

func row(title string) *panel {
	return &panel{Type: "row", Title: title, GridPos: gridPos{W: 24, H: 1}, Collapsed: new(bool), Panels: []*panel{}}
}

func (p *panel) asks(what string) bool {
	return slices.ContainsFunc(p.Targets, func(t target) bool { return strings.Contains(t.Expr, what) })
}

// fired draws when alerts began, and for how long they lasted.
var fired = object{
	"name": "Firing alerts", "enable": true, "iconColor": "red", "datasource": prometheus,
	"expr": "count by (alertname, severity) (" + firing + ")", "step": "60s",
	"titleFormat": "{{alertname}}", "textFormat": "{{severity}}", "tagKeys": "severity",
}

// newDashboard places the panels from left to right and numbers them.
func newDashboard(uid, title, description string, other link, panels ...*panel) dashboard {
	var x, y, height int
	for i, p := range panels {
		if p.Type != "row" && !p.asks("$provider") {
			if rest, well := strings.CutSuffix(p.Description, emptyWhenWell); well {
				p.Description = rest + notChosen + emptyWhenWell
			} else {
				p.Description += notChosen
			}
		}
		if x+p.GridPos.W > 24 {
			x, y, height = 0, y+height, 0
		}
		p.ID, p.GridPos.X, p.GridPos.Y = i+1, x, y
		x, height = x+p.GridPos.W, max(height, p.GridPos.H)
	}
	list := []object{
		{
			"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "regex": "",
			"hide": 0, "multi": false, "includeAll": false, "refresh": 1, "options": []object{}, "current": object{"selected": false, "text": "default", "value": "default"},
		},
		variable("job", "Job", `label_values(idaas_token_exporter_build_info, job)`),
		variable("provider", "Provider", `label_values(idaas_poll_success{job=~"$job"}, credential_provider)`),
		variable("consumer", "Consumer", `label_values(idaas_poll_success{job=~"$job",credential_provider=~"$provider"}, consumer)`),
	}
	if uid == tokensUID {
		typed := object{"selected": true, "text": "http://", "value": "http://"}
		list = append(list, object{
			"name": "exporter", "label": "Status pages at", "type": "textbox", "query": "http://", "hide": 0, "skipUrlSync": false,
			"description": "What stands before an exporter's address, as Prometheus knows it, in links to its status page: https://, or the address of a proxy.",
			"current":     typed, "options": []object{typed},
		})
	}
	other.Type, other.Icon, other.Tags, other.IncludeVars, other.KeepTime = "link", "dashboard", []string{}, true, true
	return dashboard{
		UID: uid, Title: title, Description: description, Tags: []string{"idaas", "tokens"}, SchemaVersion: 39,
		Version: 1, Editable: true, GraphTooltip: 1, Timezone: "browser", Refresh: "1m",
		Time: object{"from": "now-1h", "to": "now"}, Annotations: object{"list": []object{fired}}, Links: []link{other},
		Panels:     panels,
		Templating: object{"list": list},
	}
}

func variable(name, label, values string) object {
	return object{
		"name": name, "label": label, "type": "query", "datasource": prometheus,
		"query": object{"qryType": 1, "query": values, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
		"regex": "", "hide": 0, "multi": true, "includeAll": true, "allValue": ".*", "refresh": 2, "sort": 1,
		"skipUrlSync": false, "options": []object{},
		"current": object{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}},
	}
}
