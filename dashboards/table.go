package main

import "strings"

// column of a table: a label (from), or the value of a query (expr).
type column struct {
	name, from, expr, unit string
	steps                  []step
	maps                   []object
	width                  int
	links                  []object
	empty                  string // what a cell without a value shows, "-" if not set
}

// Widths that columns need for the longest usual text, measured in the fonts of Grafana.
const (
	idWidth   = 382 // an id of 40 letters that is a link
	timeWidth = 130 // 99 d 00:00:00 ago
)

// table joins the queries of the columns by their labels. Rows are sorted by the named columns; a minus sign is descending. A first
// column without a name is a query that chooses the rows, another one adds rows. empty is what the table shows without rows.
func table(title, description, empty string, w, h int, sort []string, columns ...column) *panel {
	p := newPanel("table", title, description, w, h, "none", plain("text")).with("noValue", empty)
	p.with("custom", object{"align": "left", "cellOptions": object{"type": "auto"}, "inspect": false, "minWidth": 60})
	// A query without a result has a frame with a time and a value only. The time joins it with the other frames.
	order, names, joined, fields := object{}, object{}, []string{"Time"}, []string{}
	queries := 0
	for _, c := range columns {
		queries += min(len(c.expr), 1)
	}
	for i, c := range columns {
		field := c.from
		if c.expr != "" {
			value := "Value"
			if queries > 1 {
				value += " #" + string(rune('A'+len(p.Targets)))
			}
			p.ask("table", true, query{expr: c.expr})
			if field == "" {
				field = value
			}
		}
		if c.name != "" || i == 0 {
			joined = append(joined, field)
		}
		if c.name != "" {
			order[field], names[field], fields = i, c.name, append(fields, field)
			p.override(c.name, c.properties()...)
		}
	}
	p.transform("filterFieldsByName", object{"include": object{"names": joined}}).transform("merge", object{})
	if columns[0].name == "" {
		p.transform("filterByValue", object{"type": "include", "match": "all", "filters": []object{
			{"fieldName": joined[1], "config": object{"id": "isNotNull", "options": object{}}},
		}})
	}
	p.transform("filterFieldsByName", object{"include": object{"names": fields}}).
		transform("organize", object{"excludeByName": object{}, "indexByName": order, "renameByName": names})
	by := []object{}
	for _, name := range sort {
		by = append(by, object{"displayName": strings.TrimPrefix(name, "-"), "desc": strings.HasPrefix(name, "-")})
	}
	p.Options = object{"cellHeight": "sm", "sortBy": by}
	return p
}

func (p *panel) transform(id string, options object) *panel {
	p.Transformations = append(p.Transformations, object{"id": id, "options": options})
	return p
}

func (c column) properties() (list []object) {
	empty := "-"
	if c.empty != "" {
		empty = c.empty
	}
	// Without its own noValue an empty cell shows the text of an empty table.
	list = append(list, property("noValue", empty), property("custom.width", c.width))
	if c.unit != "" {
		list = append(list, property("unit", c.unit), property("custom.align", "right"))
	}
	if c.maps != nil {
		list = append(list, property("mappings", c.maps))
	}
	if c.steps != nil {
		list = append(list, property("thresholds", thresholds(c.steps)))
	}
	if c.steps != nil || c.maps != nil && c.from != "instance" {
		list = append(list, property("custom.cellOptions", object{"type": "color-text"}))
	}
	if c.links != nil {
		list = append(list, property("links", c.links))
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

// only is a label whose cells are links that set a variable.
func only(name, from, variable string) column {
	return column{name: name, from: from, width: idWidth, links: []object{
		{"title": "Show only ${__value.text}", "url": drill(tokensUID, variable)},
	}}
}

// Values as another text or in another color.
var (
	open    = []object{{"type": "regex", "options": object{"pattern": ".*", "result": object{"index": 0, "text": "open"}}}}
	reasons = []object{{"type": "regex", "options": object{"pattern": ".+", "result": object{"index": 0, "color": "orange"}}}}
)

// statusPage links to the status page of the target at one of its processes.
func statusPage(expr string) column {
	return column{name: "Page", from: "instance", width: 62, maps: open, expr: "topk " + merged + "(1," + expr + ")", links: []object{{
		"title": "Open the status page of this target", "targetBlank": true,
		"url": "${exporter:raw}${__value.raw}/?consumer=${__data.fields.Consumer:percentencode}" +
			"&credential_provider=${__data.fields.Provider:percentencode}",
	}}}
}
