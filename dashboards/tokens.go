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
		"no watched target is in these states", 24, 8, []string{"-!", "-State", "-For"},
		column{expr: group(facts("idaas_target_state", `state=~"$show"`))},
		column{
			name: "!", width: 35, empty: " ", maps: []object{shown("1", "!", "red")},
			expr: group(facts("idaas_target_state", `state=~"$show"`, `state=~"lost|about_to_end"`)),
		},
		column{name: "State", from: "state", maps: stateMaps(), width: 98},
		column{
			name: "For", expr: "time() - " + most(of("idaas_target_state_since_timestamp_seconds", "state")), unit: "dtdhms",
			width: timeWidth,
		},
		only("Consumer", "consumer", "consumer"), only("Provider", "credential_provider", "provider"),
		column{
			name: "Expires in", unit: "dtdhms", width: 112, empty: "none active",
			expr: most(of("idaas_authentication_tokens_latest_expiration_timestamp_seconds", "state")) + " - time()",
		},
		column{
			name: "Token expected", unit: "dtdhms", width: timeWidth,
			expr: most(`{__name__=~"idaas_.+_(next|renewal)_expected_timestamp_seconds",consumer=~"$consumer"}`+
				` and ignoring(state) idaas_target_state{state=~"$show"}`) + " - time()",
		},
		column{name: "Data age", expr: "time() - " + most(of("idaas_poll_last_success_timestamp_seconds", "state")), unit: "dtdhms", width: 112},
		column{
			name: "Read error", from: "reason", expr: group(of("idaas_poll_error", "state,reason")), width: 102, maps: reasons,
		},
		statusPage(of("idaas_poll_success", "state")),
	)
}

// next is the table of what is expected to happen next, the soonest first.
func next() *panel {
	soonest := func(metric, from string) string {
		return "bottomk(20,1e3*" + most(facts("idaas_authentication_tokens_"+metric+"_timestamp_seconds")+">time()+"+from) + ")"
	}
	event := func(name, expr string) column {
		return column{name: name, unit: "dateTimeFromNow", width: 90, empty: " ", expr: expr}
	}
	p := table("What comes next", "The next tokens and renewals by the usual rhythm of each target, and the next expirations of last tokens. "+
		"Not listed, because tokens that live for minutes would fill the list: renewals in the next hour, and expirations in the next 25 hours.",
		"nothing is expected of watched targets", 16, 7, nil,
		event("Renewal", soonest("renewal_expected", "3600")),
		event("New token", soonest("next_expected", "0")),
		event("Expiration", soonest("latest_expiration", "9e4")),
		only("Consumer", "consumer", "consumer"), column{name: "Provider", from: "credential_provider", width: 370},
	)
	rest := p.Transformations[2:]
	p.Transformations = p.Transformations[:2:2]
	p.transform("calculateField", object{
		"mode": "reduceRow", "alias": "Next", "replaceFields": false,
		"reduce": object{"reducer": "min", "include": []string{"Value #A", "Value #B", "Value #C"}},
	}).transform("sortBy", object{"sort": []object{{"field": "Next"}}}).transform("limit", object{"limitField": 20})
	p.Transformations = append(p.Transformations, rest...)
	return p
}

func alerts() *panel {
	return table("Firing alerts", "Critical alerts and warnings of the shipped rules that fire now. Provider and Consumer do not filter "+
		"them. "+
		"Click one to open its runbook.",
		"no alert fires", 8, 7, []string{"Severity", "For"},
		column{name: "Severity", from: "severity", width: 72, maps: []object{shown("critical", "critical", "red"), shown("warning", "warning",
			"orange")}},
		column{
			name: "For", unit: "dtdhms", width: 112,
			expr: `time() - min by(alertname,severity)(ALERTS_FOR_STATE{alertname=~"IDaaS.+",job=~"$job|"}` +
				` and ignoring(alertstate) ALERTS{alertstate="firing",severity!="info"})`,
		},
		column{
			name: "Alert", from: "alertname", width: 220, maps: []object{shown("../prometheus/README", "no rules are loaded", "purple")},
			links: []object{{"title": "Open the runbook", "url": runbooks + "${__value.raw}.md", "targetBlank": true}},
		},
		column{
			name: "Times", unit: "locale", width: 58,
			expr: `count by(alertname,severity)(ALERTS{alertstate="firing",severity!="info",alertname=~"IDaaS.+",job=~"$job|"})`,
		},
		column{expr: `label_replace(absent({__name__=~"ALERTS|idaas:.+",alertname=~"IDaaS.+|"}),"alertname","../prometheus/README","","")`},
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
			10, "locale", "no watched target").byState(true, "lost", "about_to_end", "overdue", "not_renewed", "at_risk").blind(),
		stat("Need no attention", "The other watched targets by state.", 7, "locale", "none").byState(true, "ok", "paused", "empty",
			"retired").blind(),
		missing(7).leads("Open IDaaS token exporter", drill(exporterUID, "")),
		targets(), next(), alerts(),

		row("Over time"),
		counts("Targets that need attention", "Watched targets by state, of the states that need attention, and those never read.", 12).
			byState(false, "lost", "about_to_end", "overdue", "not_renewed", "at_risk", "unknown").
			custom("drawStyle", "bars").custom("fillOpacity", 80).custom("stacking", object{"mode": "normal", "group": "A"}).
			with("noValue", "no watched target in these states"),
		counts("Active tokens by process", "Between two walks tokens expire and new ones are not seen yet: the number sags. Replicas have "+
			"the same tokens, shards different ones.", 12,
			query{"sum by(instance)(" + facts("idaas_authentication_tokens_active") + ")", "{{instance}}"}).coarse(),

		folded("Tokens and providers",
			stat("Active tokens that expire within", "Windows are cumulative: the longer ones contain the shorter ones. Do not add them.",
				12, "locale", "no data", windows(".+[smh]"), windows("1?[0-9]d"), windows("([2-9][0-9]|.{3,})d")).
				with("color", object{"mode": "fixed", "fixedColor": "blue"}),
			stat("Tokens", "Every token is active, expired or revoked. Those without expiration are active and never expire.", 12, "locale",
				"no data",
				query{sum("idaas_authentication_tokens"), "all"}, query{sum("idaas_authentication_tokens_active"), "active"},
				query{sum("idaas_authentication_tokens_expired"), "expired"}, query{sum("idaas_authentication_tokens_revoked"), "revoked"},
				query{sum("idaas_authentication_tokens_without_expiration"), "no expiration"}),
			providers()),
	)
}

// windows are numbers of tokens that expire within windows of similar length. The longer window has the larger number.
func windows(like string) query {
	expiring := facts("idaas_authentication_tokens_expiring", `within=~"`+like+`"`)
	return query{"sort(sum by(within)(" + most(expiring) + "))", "{{within}}"}
}

// providers is a matrix: one row for each provider, one column for each state.
func providers() *panel {
	p := newPanel("table", "Targets by provider and state", "Click a provider to show only that one.", 24, 8, "locale", plain("text")).
		with("noValue", "no target").ask("table", true,
		query{expr: "count by(credential_provider,state)(" + group(facts("idaas_target_state")) + ")"})
	p.with("custom", object{"align": "right", "cellOptions": object{"type": "color-text"}, "inspect": false, "minWidth": 100})
	p.override(`credential_provider\state`, property("displayName", "Provider"), property("custom.align", "left"), property("custom.width",
		idWidth),
		property("links", only("", "", "provider").links))
	for _, s := range states {
		p.override(s.name, property("displayName", s.text), property("noValue", "-"),
			property("thresholds", thresholds([]step{{color: "text"}, {1, s.color}})))
	}
	p.transform("groupingToMatrix", object{
		"columnField": "state", "rowField": "credential_provider", "valueField": "Value", "emptyValue": "null",
	})
	order := object{`credential_provider\state`: 0}
	for i, s := range states {
		order[s.name] = i + 1
	}
	p.transform("organize", object{"excludeByName": object{}, "indexByName": order, "renameByName": object{}})
	p.Options = object{"cellHeight": "sm"}
	return p
}
