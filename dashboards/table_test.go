package dashboards

import "strings"

// table joins the columns' queries by their labels; rows are sorted by the named columns, a minus sign is descending.
// Without rows it says what that means.
func table(title, description, empty string, w, h int, sort []string, columns ...column) *panel {
	p := newPanel("table", title, description, w, h, "none", plain("text")).with("noValue", empty)
	p.with("custom", object{"align": "auto", "cellOptions": object{"type": "auto"}, "inspect": false, "minWidth": 60})
	var queries int
	for _, c := range columns {
		if c.expr != "" {
			queries++
		}
	}
	order, names, hidden := object{}, object{}, object{"Time": true}
	for i, c := range columns {
		from := c.from
		if c.expr != "" {
			if from = "Value"; queries > 1 {
				from = "Value #" + string(rune('A'+len(p.Targets)))
			}
			p.ask("table", true, query{expr: c.expr})
		}
		if c.expr != "" && c.from != "" {
			hidden[from], from = true, c.from
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
		"excludeByName": hidden, "indexByName": order, "renameByName": names,
	}})
	by := []object{}
	for _, name := range sort {
		by = append(by, object{"displayName": strings.TrimPrefix(name, "-"), "desc": strings.HasPrefix(name, "-")})
	}
	p.Options = object{"frameIndex": 0, "showHeader": true, "cellHeight": "sm", "sortBy": by}
	return p
}

func (c column) properties() (list []object) {
	align := "left"
	if c.unit != "" {
		align = "right"
	}
	// Without its own noValue an empty cell says what an empty table means.
	list = append(list, property("noValue", "-"), property("custom.align", align))
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
	} else {
		list = append(list, property("custom.minWidth", nameWidth))
	}
	if c.links != nil {
		list = append(list, property("links", c.links))
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

// page leads to the status page of a target's exporter. It keeps of the rows one process each.
func page(rows string) column {
	return column{
		name: "Status page", from: "instance",
		expr: per("topk %[1]s (1, max by (job, instance, credential_provider, consumer) (idaas_poll_success%[2]s and on (job, credential_provider, consumer) %[3]s))", byTarget, facts, rows),
		links: []object{{
			"title": "Open the status page of this target", "targetBlank": true,
			"url": "${exporter:raw}${__value.raw}/?consumer=${__data.fields.Consumer:percentencode}&credential_provider=${__data.fields.Provider:percentencode}",
		}},
	}
}
