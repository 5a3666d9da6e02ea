package main

// targets is the table of targets in the chosen states.
func targets() *panel {
	// of keeps of a metric the targets in the chosen states. The first query selects by all variables, the others only keep responses small.
	of := func(metric, also string) string {
		return metric + `{consumer=~"$consumer"} and ignoring(` + also + `) idaas_target_state{state=~"$show"}`
	}
	return table("Targets: ${show:text}",
		"One row for each target (one consumer at one credential provider) in the chosen states, critical ones (!) first. For: time in this "+
			"state, "+
			"by the times of its tokens. Expires in: of the last token. Token expected: when the next token or renewal is expected, by the "+
			"usual rhythm of the target. "+
			"Click a consumer or provider to show only that one, and a status page for the reason of the state and the last five weeks.",
		"no watched target is in these states", 24, 8, []string{"-!", "-State"},
		column{expr: group(facts("idaas_target_state", `state=~"$show"`))},
		column{
			name: "!", width: 35, empty: " ", maps: []object{shown("1", "!", "red")},
			expr: group(facts("idaas_target_state", `state=~"$show"`, `state=~"lost|about_to_end"`)),
		},
		column{name: "State", from: "state", maps: stateMaps(), width: 100},
		column{
			name: "For", expr: "time() - " + most(of("idaas_target_state_since_timestamp_seconds", "state")), unit: "dtdhms",
			width: timeWidth,
		},
		only("Consumer", "consumer", "consumer"), only("Provider", "credential_provider", "provider"),
		column{
			name: "Expires in", unit: "dtdhms", width: 120, empty: "none active",
			expr: most(of("idaas_authentication_tokens_latest_expiration_timestamp_seconds", "state")) + " - time()",
		},
		column{
			name: "Token expected", unit: "dtdhms", width: timeWidth,
			expr: most(`{__name__=~"idaas_.+_(next|renewal)_expected_timestamp_seconds",consumer=~"$consumer"}`+
				` and ignoring(state) idaas_target_state{state=~"$show"}`) + " - time()",
		},
		column{name: "Data age", expr: "time() - " + most(of("idaas_poll_last_success_timestamp_seconds", "state")), unit: "dtdhms", width: 110},
		column{
			name: "Read error", from: "reason", expr: group(of("idaas_poll_error", "state,reason")), width: 110, steps: plain("orange"),
			empty: "none",
		},
		statusPage(of("idaas_poll_success", "state")),
	)
}

// next lists what is expected to happen next: one row for each series, with the legend as the event.
func next() *panel {
	soonest := func(metric, from string) string {
		return "bottomk(20,1e3*" + most(facts("idaas_authentication_tokens_"+metric+"_timestamp_seconds")+">time()+"+from) + ")"
	}
	p := table("What comes next", "The next tokens and renewals by the usual rhythm of each target, and the next expirations of last tokens. "+
		"Not listed, because tokens that live for minutes would fill the list: renewals in the next hour, and expirations in the next 25 hours.",
		"nothing is expected", 15, 7, nil,
		column{name: "Next", from: "Last * (min)", unit: "dateTimeFromNow", width: 110},
		only("Consumer", "consumer", "consumer"), only("Provider", "credential_provider", "provider"),
		column{name: "Event", from: "Field", width: 150},
	)
	organize := p.Transformations[len(p.Transformations)-1]
	p.Transformations = nil
	by := object{"operation": "groupby", "aggregations": []string{}}
	p.transform("reduce", object{"reducers": []string{"lastNotNull"}, "mode": "seriesToRows", "labelsToFields": true}).
		transform("groupBy", object{"fields": object{
			"Field": by, "consumer": by, "credential_provider": by,
			"Last *": object{"operation": "aggregate", "aggregations": []string{"min"}},
		}}).
		transform("sortBy", object{"sort": []object{{"field": "Last * (min)"}}}).
		transform("limit", object{"limitField": 20})
	p.Transformations = append(p.Transformations, organize)
	return p.ask("time_series", true, query{soonest("renewal_expected", "3600"), "renewal expected"},
		query{soonest("next_expected", "0"), "new token expected"}, query{soonest("latest_expiration", "9e4"), "last token expires"})
}

func alerts() *panel {
	return table("Firing alerts", "Critical alerts and warnings of the shipped rules that fire now. Provider and Consumer do not filter "+
		"them. "+
		"Click one to open its runbook.",
		"no alert fires", 9, 7, []string{"Severity", "For"},
		column{name: "Severity", from: "severity", width: 85, maps: []object{shown("critical", "critical", "red"), shown("warning", "warning",
			"orange")}},
		column{
			name: "Alert", from: "alertname", width: 235, maps: []object{shown("no rules", "no rules are loaded", "purple")},
			links: []object{{"title": "Open the runbook", "url": runbooks + "${__value.raw}.md", "targetBlank": true}},
		},
		column{
			name: "For", unit: "dtdhms", width: timeWidth,
			expr: `time() - min by(alertname,severity)(ALERTS_FOR_STATE{alertname=~"IDaaS.+",job=~"$job|"}` +
				` and ignoring(alertstate) ALERTS{alertstate="firing",severity!="info"})`,
		},
		column{
			name: "Times", unit: "locale", width: 60,
			expr: `count by(alertname,severity)(ALERTS{alertstate="firing",severity!="info",alertname=~"IDaaS.+",job=~"$job|"})`,
		},
		column{expr: `label_replace(absent({__name__=~"ALERTS|idaas:.+",alertname=~"IDaaS.+|"}),"alertname","no rules","","")`},
	)
}

func tokens() dashboard {
	show := "need attention : " + trouble + ", all : .+"
	for _, s := range states {
		show += ", " + s.text + " : " + s.name
	}
	sum := func(metric string) string { return "sum(" + most(facts(metric)) + ")" }
	return newDashboard(tokensUID, "IDaaS tokens",
		"Authentication tokens by consumer and credential provider: who is or will soon be without a token, and what is expected next.",
		object{"title": "IDaaS token exporter", "url": "/d/" + exporterUID, "tooltip": "Whether the data is complete and current"},
		[]object{
			{
				"name": "show", "label": "State", "type": "custom", "query": show, "hide": 0, "multi": false, "includeAll": false,
				"skipUrlSync": false, "options": []object{}, "current": object{"selected": true, "text": "need attention", "value": trouble},
			},
		},
		stat("Need attention", "Watched targets (one consumer at one credential provider) by state, of the states that need attention.",
			10, "locale", "no watched target").byState("lost", "about_to_end", "overdue", "not_renewed", "at_risk").blind(),
		stat("Need no attention", "The other watched targets by state.", 7, "locale", "no target").byState("ok", "paused", "empty", "retired"),
		missing(7).leads("Open IDaaS token exporter", drill(exporterUID, "")),
		targets(), next(), alerts(),

		row("Over time"),
		counts("Targets that need attention", "Watched targets by state, of the states that need attention, and those never read.", 12,
			query{"count by(state)(" + group(facts("idaas_target_state", `state!~"ok|paused|empty|retired"`)) + ")", "{{state}}"}).
			custom("drawStyle", "bars").custom("fillOpacity", 80).custom("stacking", object{"mode": "normal", "group": "A"}).stateColors(),
		counts("Tokens by state", "Every token is active, expired or revoked. Between two walks tokens expire and new ones are not seen "+
			"yet: active tokens sag.", 12,
			query{sum("idaas_authentication_tokens_active"), "active"}, query{sum("idaas_authentication_tokens_expired"), "expired"},
			query{sum("idaas_authentication_tokens_revoked"), "revoked"}).
			paint("active", "green").paint("expired", "yellow").paint("revoked", "text"),

		row("Tokens and providers"),
		stat("Active tokens that expire within", "Windows are cumulative: the longer ones contain the shorter ones. Do not add them.", 12,
			"locale", "no data",
			query{"sort(sum by(within)(" + most(facts("idaas_authentication_tokens_expiring")) + "))", "{{within}}"}).
			with("color", object{"mode": "fixed", "fixedColor": "blue"}),
		stat("Tokens", "All tokens of the chosen targets. Those without expiration are active and never expire.", 12, "locale", "no data",
			query{sum("idaas_authentication_tokens"), "all"}, query{sum("idaas_authentication_tokens_active"), "active"},
			query{sum("idaas_authentication_tokens_without_expiration"), "without expiration"}),
		providers(),
	)
}

// stateColors gives the series of each state its text and color.
func (p *panel) stateColors() *panel {
	for _, s := range states {
		p.override(s.name, property("color", object{"mode": "fixed", "fixedColor": s.color}), property("displayName", s.text))
	}
	return p
}

// providers is a matrix: one row for each provider, one column for each state.
func providers() *panel {
	p := newPanel("table", "Targets by provider and state", "Click a provider to show only that one.", 24, 8, "locale", plain("text")).
		with("noValue", "no target").ask("table", true,
		query{expr: "count by(credential_provider,state)(" + group(facts("idaas_target_state")) + ")"})
	p.with("custom", object{"align": "right", "cellOptions": object{"type": "color-text"}, "inspect": false, "minWidth": 60})
	p.override(`credential_provider\state`, property("displayName", "Provider"), property("custom.align", "left"), property("custom.width",
		idWidth),
		property("links", only("", "", "provider").links))
	for _, s := range states {
		p.override(s.name, property("displayName", s.text), property("noValue", "-"), property("thresholds", thresholds(plain(s.color))))
	}
	p.transform("groupingToMatrix", object{
		"columnField": "state", "rowField": "credential_provider", "valueField": "Value", "emptyValue": "null",
	})
	p.Options = object{"frameIndex": 0, "showHeader": true, "cellHeight": "sm", "sortBy": []object{}}
	return p
}
