package main

import (
	"fmt"
	"strings"
)

// The parts of Grafana's dashboard model (schema version 39) that these dashboards use. Options differ by panel type and are plain
// objects. encoding/json sorts their keys, so the files are stable.
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
		Links         []object `json:"links"`
		Templating    object   `json:"templating"`
		Panels        []*panel `json:"panels"`
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
		EditorMode   string `json:"editorMode"`
		Expr         string `json:"expr"`
		LegendFormat string `json:"legendFormat,omitempty"`
		Format       string `json:"format"`
		Instant      bool   `json:"instant,omitempty"`
		Range        bool   `json:"range,omitempty"`
		Interval     string `json:"interval,omitempty"`
	}
	fieldConfig struct {
		Defaults  object   `json:"defaults"`
		Overrides []object `json:"overrides"`
	}

	// query is one expression and the name of its series.
	query struct{ expr, legend string }
	// step is a threshold: from this value on, this color. The first step of a list has no value.
	step struct {
		from  float64
		color string
	}
)

var prometheus = source{Type: "prometheus", UID: "${datasource}"}

const (
	tokensUID   = "idaas-tokens"
	exporterUID = "idaas-token-exporter"
	runbooks    = "https://github.com/idaas-exporter/idaas-token-exporter/blob/main/deploy/runbooks/"

	// ofJob selects every process of the chosen jobs, chosen the series of the chosen targets.
	ofJob  = `job=~"$job"`
	chosen = ofJob + `,credential_provider=~"$provider",consumer=~"$consumer"`
	// merged counts replicas of a target once. Labels of a place are ignored. Labels of a cluster or namespace are not: a target with the
	// same names there is another target.
	merged = "without(instance,pod,node,host)"
	// perPoll is a step of graphs of counters that change once per poll: with it $__rate_interval is at least 20 minutes, four polls of
	// the default schedule.
	perPoll = "5m"
)

// per fills %s, %[1]s, … in an expression.
func per(format string, parts ...any) string { return fmt.Sprintf(format, parts...) }

// facts selects a metric of the chosen targets, with more matchers.
func facts(metric string, more ...string) string {
	return metric + "{" + strings.Join(append(more, chosen), ",") + "}"
}

// process selects a metric of the chosen jobs.
func process(metric string) string { return metric + "{" + ofJob + "}" }

// lastDay is the last value of a metric in the last day.
func lastDay(metric string) string { return "last_over_time(" + process(metric) + "[1d])" }

// most and group are one value for each target, count is how many there are.
func most(expr string) string  { return "max " + merged + "(" + expr + ")" }
func group(expr string) string { return "group " + merged + "(" + expr + ")" }
func count(expr string) string { return "count(" + group(expr) + ")" }

func thresholds(steps []step) object {
	list := []object{}
	for i, s := range steps {
		value := any(s.from)
		if i == 0 {
			value = nil
		}
		list = append(list, object{"color": s.color, "value": value})
	}
	return object{"mode": "absolute", "steps": list}
}

func plain(color string) []step { return []step{{color: color}} }

// shown maps one value to a text and a color.
func shown(value, text, color string) object {
	return object{"type": "value", "options": object{value: object{"index": 0, "text": text, "color": color}}}
}

func newPanel(kind, title, description string, w, h int, unit string, steps []step) *panel {
	return &panel{
		Type: kind, Title: title, Description: description, GridPos: gridPos{W: w, H: h}, Datasource: &prometheus,
		FieldConfig: &fieldConfig{Overrides: []object{}, Defaults: object{
			"unit": unit, "thresholds": thresholds(steps), "color": object{"mode": "thresholds"},
		}},
	}
}

// ask adds the queries of a panel, evaluated once (now) or over the whole range.
func (p *panel) ask(format string, instant bool, queries ...query) *panel {
	for _, q := range queries {
		t := target{
			RefID: string(rune('A' + len(p.Targets))), EditorMode: "code", Expr: q.expr,
			LegendFormat: q.legend, Format: format, Instant: instant, Range: !instant,
		}
		if strings.Contains(q.expr, "$__rate_interval") {
			t.Interval = perPoll
		}
		p.Targets = append(p.Targets, t)
	}
	return p
}

func (p *panel) with(key string, value any) *panel {
	p.FieldConfig.Defaults[key] = value
	return p
}

// leads makes a panel a link to a dashboard, with the same variables.
func (p *panel) leads(title, url string) *panel {
	return p.with("links", []object{{"title": title, "url": url}})
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
		property("color", object{"mode": "fixed", "fixedColor": "#808080"}))
}

func property(id string, value any) object { return object{"id": id, "value": value} }

// stat shows one value for each series. empty is what it shows without series.
func stat(title, description string, w int, unit, empty string, queries ...query) *panel {
	p := newPanel("stat", title, description, w, 4, unit, plain("text")).ask("time_series", true, queries...).with("noValue", empty)
	p.Options = object{
		"colorMode": "value", "graphMode": "none", "orientation": "vertical", "textMode": "value_and_name", "wideLayout": false,
		"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	}
	return p
}

func series(title, description string, w int, unit string, queries ...query) *panel {
	p := newPanel("timeseries", title, description, w, 7, unit, plain("text")).ask("time_series", false, queries...)
	p.Interval, p.MaxDataPoints = "1m", 60
	p.Options = object{
		"legend":  object{"showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": []string{}},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	}
	return p.with("color", object{"mode": "palette-classic"}).with("noValue", "no data").with("custom", object{"axisSoftMin": 0})
}

// counts are whole numbers. The axis has whole numbers also if all are zero.
func counts(title, description string, w int, queries ...query) *panel {
	return series(title, description, w, "locale", queries...).with("decimals", 0).custom("axisSoftMax", 5)
}

// coarse has fewer points, for queries of all targets.
func (p *panel) coarse() *panel {
	p.MaxDataPoints = 30
	return p
}

func row(title string) *panel {
	return &panel{Type: "row", Title: title, GridPos: gridPos{W: 24, H: 1}, Collapsed: new(bool), Panels: []*panel{}}
}

// folded is a row whose panels are loaded when a reader opens it.
func folded(title string, panels ...*panel) *panel {
	p := row(title)
	*p.Collapsed, p.Panels = true, panels
	return p
}

// started marks in graphs the times at which a critical alert fires and did not fire for any target a minute before.
func started() object {
	return object{
		"name": "Critical alerts", "enable": true, "hide": true, "iconColor": "red", "datasource": prometheus, "step": "60s",
		"expr": `group by(alertname)(ALERTS{alertstate="firing",severity="critical",alertname=~"IDaaS.+",job=~"$job|"}` +
			` unless on(alertname) ALERTS{alertstate="firing"} offset 1m)`,
		"titleFormat": "{{alertname}}", "textFormat": "", "tagKeys": "",
	}
}

// place puts the panels from left to right below y and numbers them.
func place(panels []*panel, y int, number *int) {
	x, height := 0, 0
	for _, p := range panels {
		if x+p.GridPos.W > 24 {
			x, y, height = 0, y+height, 0
		}
		*number++
		p.ID, p.GridPos.X, p.GridPos.Y = *number, x, y
		x, height = x+p.GridPos.W, max(height, p.GridPos.H)
		place(p.Panels, y+1, number)
	}
}

func newDashboard(uid, title, description string, link object, variables []object, panels ...*panel) dashboard {
	place(panels, 0, new(int))
	prefix := object{"selected": true, "text": "http://", "value": "http://"}
	for key, value := range (object{
		"type": "link", "icon": "dashboard", "tags": []string{}, "asDropdown": false, "includeVars": true, "keepTime": true,
		"targetBlank": false,
	}) {
		link[key] = value
	}
	return dashboard{
		UID: uid, Title: title, Description: description, Tags: []string{"idaas", "tokens"}, SchemaVersion: 39,
		Version: 1, Editable: true, GraphTooltip: 1, Timezone: "browser", Refresh: "1m", Time: object{"from": "now-6h", "to": "now"},
		Annotations: object{"list": []object{started()}}, Links: []object{link}, Panels: panels,
		Templating: object{"list": append([]object{
			{
				"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "regex": "",
				"hide": 0, "multi": false, "includeAll": false, "refresh": 1, "options": []object{},
				"current": object{"selected": false, "text": "default", "value": "default"},
			},
			variable("job", "Job", `label_values(idaas_token_exporter_build_info, job)`),
			variable("provider", "Provider", `label_values(idaas_target_state{job=~"$job"}, credential_provider)`),
			variable("consumer", "Consumer", `label_values(idaas_target_state{job=~"$job",credential_provider=~"$provider"}, consumer)`),
			{
				"name": "exporter", "label": "Status pages at", "type": "textbox", "query": "http://", "hide": 2, "skipUrlSync": false,
				"description": "Prefix of links to status pages: http://, https:// or the address of a proxy.",
				"options":     []object{prefix}, "current": prefix,
			},
		}, variables...)},
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
