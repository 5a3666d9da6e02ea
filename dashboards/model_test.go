package dashboards

import (
	"fmt"
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
	}
)

var prometheus = source{Type: "prometheus", UID: "${datasource}"}

const (
	emptyWhenWell = " Empty when all is well."
	tokensUID     = "idaas-tokens"
	exporterUID   = "idaas-token-exporter"
	// process selects every process of the chosen jobs, facts the chosen targets.
	process = `{job=~"$job"}`
	facts   = `{job=~"$job",credential_provider=~"$provider",consumer=~"$consumer"}`
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
		property("color", object{"mode": "fixed", "fixedColor": "red"}))
}

// coarse asks a long expression for fewer points.
func (p *panel) coarse() *panel {
	p.Interval, p.MaxDataPoints = "1m", 200
	return p
}

func property(id string, value any) object { return object{"id": id, "value": value} }

var lastValue = object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}

func stat(title, description string, w int, unit string, steps []step, queries ...query) *panel {
	p := newPanel("stat", title, description, w, 4, unit, steps).ask("time_series", true, queries...)
	p.Options = object{
		"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
		"textMode": "auto", "wideLayout": true, "showPercentChange": false, "reduceOptions": lastValue,
	}
	return p
}

func bars(title, description string, w int, unit string, queries ...query) *panel {
	p := newPanel("bargauge", title, description, w, 7, unit, plain("blue")).ask("time_series", true, queries...)
	p.Options = object{
		"displayMode": "basic", "orientation": "horizontal", "valueMode": "color", "showUnfilled": true,
		"minVizWidth": 8, "minVizHeight": 16, "maxVizHeight": 30, "namePlacement": "left", "sizing": "auto",
		"reduceOptions": lastValue,
	}
	return p.with("min", 0)
}

func series(title, description string, w int, unit string, queries ...query) *panel {
	p := newPanel("timeseries", title, description, w, 8, unit, plain("green")).ask("time_series", false, queries...)
	p.Options = object{
		"legend":  object{"showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": []string{}},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	}
	return p.with("color", object{"mode": "palette-classic"}).with("custom", object{
		"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "auto", "pointSize": 4,
		"spanNulls": false, "stacking": object{"mode": "none", "group": "A"},
	})
}

// sparse joins the points of what has values only when something happens.
func (p *panel) sparse() *panel { return p.custom("spanNulls", 3600000) }

// limit colors what lies above the thresholds of a time series.
func (p *panel) limit(steps ...step) *panel {
	return p.with("thresholds", thresholds(steps)).custom("thresholdsStyle", object{"mode": "dashed"})
}

func timeline(title, description string, w int, maps []object, q query) *panel {
	p := newPanel("state-timeline", title, description, w, 8, "none", []step{{color: "red"}, {1, "green"}})
	p.ask("time_series", false, q).with("mappings", maps).with("custom", object{"lineWidth": 0, "fillOpacity": 70})
	p.Options = object{
		"mergeValues": true, "showValue": "never", "alignValue": "left", "rowHeight": 0.9,
		"legend":  object{"showLegend": false, "displayMode": "list", "placement": "bottom", "calcs": []string{}},
		"tooltip": object{"mode": "single", "sort": "none"},
	}
	return p
}

// table joins the columns' queries by their labels; rows are sorted by the named columns, a minus sign is descending.
func table(title, description string, w, h int, sort []string, columns ...column) *panel {
	p := newPanel("table", title, description, w, h, "none", plain("text"))
	p.with("custom", object{"align": "auto", "cellOptions": object{"type": "auto"}, "inspect": false, "minWidth": 60})
	var queries int
	for _, c := range columns {
		if c.expr != "" {
			queries++
		}
	}
	order, names := object{}, object{}
	for i, c := range columns {
		from := c.from
		if c.expr != "" {
			if from = "Value"; queries > 1 {
				from = "Value #" + string(rune('A'+len(p.Targets)))
			}
			p.ask("table", true, query{expr: c.expr})
		}
		order[from], names[from] = i, c.name
		if properties := c.properties(); len(properties) > 0 {
			p.override(c.name, properties...)
		}
	}
	if queries > 1 {
		p.Transformations = []object{{"id": "merge", "options": object{}}}
	}
	p.Transformations = append(p.Transformations, object{"id": "organize", "options": object{
		"excludeByName": object{"Time": true}, "indexByName": order, "renameByName": names,
	}})
	by := []object{}
	for _, name := range sort {
		by = append(by, object{"displayName": strings.TrimPrefix(name, "-"), "desc": strings.HasPrefix(name, "-")})
	}
	p.Options = object{"frameIndex": 0, "showHeader": true, "cellHeight": "sm", "sortBy": by}
	return p
}

func (c column) properties() (list []object) {
	if c.unit != "" {
		list = append(list, property("unit", c.unit))
	}
	if c.maps != nil {
		list = append(list, property("mappings", c.maps))
	}
	if c.steps != nil {
		list = append(list, property("thresholds", thresholds(c.steps)))
	}
	if c.steps != nil || c.maps != nil {
		list = append(list, property("custom.cellOptions", object{"type": "color-text"}))
	}
	if c.width > 0 {
		list = append(list, property("custom.width", c.width))
	}
	if c.url != "" {
		list = append(list, property("links", []object{{"title": "Show only ${__value.text}", "url": c.url}}))
	}
	return list
}

// drill is the address of a dashboard with one variable, if any, set to the clicked value and the others kept.
func drill(uid, variable string) string {
	url := "/d/" + uid + "?${__url_time_range}"
	for _, v := range []string{"datasource", "job", "provider", "consumer"} {
		if v == variable {
			url += "&var-" + v + "=${__value.raw:percentencode}"
		} else {
			url += "&${" + v + ":queryparam}"
		}
	}
	return url
}

func provider(uid string) column {
	return column{name: "Provider", from: "credential_provider", url: drill(uid, "provider")}
}

func consumer(uid string) column {
	return column{name: "Consumer", from: "consumer", url: drill(uid, "consumer")}
}

func job() column { return column{name: "Job", from: "job"} }

func row(title string) *panel {
	return &panel{Type: "row", Title: title, GridPos: gridPos{W: 24, H: 1}, Collapsed: new(bool), Panels: []*panel{}}
}

// newDashboard places the panels from left to right and numbers them.
func newDashboard(uid, title, description string, other link, panels ...*panel) dashboard {
	var x, y, height int
	for i, p := range panels {
		if x+p.GridPos.W > 24 {
			x, y, height = 0, y+height, 0
		}
		p.ID, p.GridPos.X, p.GridPos.Y = i+1, x, y
		x, height = x+p.GridPos.W, max(height, p.GridPos.H)
	}
	other.Type, other.Icon, other.Tags, other.IncludeVars, other.KeepTime = "link", "dashboard", []string{}, true, true
	return dashboard{
		UID: uid, Title: title, Description: description, Tags: []string{"idaas", "tokens"}, SchemaVersion: 39,
		Version: 1, Editable: true, GraphTooltip: 1, Timezone: "browser", Refresh: "1m",
		Time: object{"from": "now-1h", "to": "now"}, Annotations: object{"list": []object{}}, Links: []link{other},
		Panels: panels,
		Templating: object{"list": []object{
			{
				"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "regex": "",
				"hide": 0, "multi": false, "includeAll": false, "refresh": 1, "options": []object{}, "current": object{"selected": false, "text": "default", "value": "default"},
			},
			variable("job", "Job", `label_values(idaas_token_exporter_build_info, job)`),
			variable("provider", "Provider", `label_values(idaas_poll_success{job=~"$job"}, credential_provider)`),
			variable("consumer", "Consumer", `label_values(idaas_poll_success{job=~"$job",credential_provider=~"$provider"}, consumer)`),
		}},
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
