package dashboards

import "strings"

// What the words mean is defined once, by the recording rules that are shipped beside the alerts.
var (
	total    = most("idaas_authentication_tokens")
	active   = "idaas:shown:tokens_active" + facts
	expired  = "idaas:shown:tokens_expired" + facts
	revoked  = "idaas:shown:tokens_revoked" + facts
	endless  = most("idaas_authentication_tokens_without_expiration")
	lifetime = most("idaas_authentication_tokens_lifetime_seconds")
	complete = least("idaas_poll_success")
	interval = `max by (job) (idaas_poll_interval_seconds` + process + `)`

	walked = "idaas_poll_last_success_timestamp_seconds" + facts
	// The ages of facts when they were scraped, by process, which is scraped as a whole.
	scraped = "max by (job, instance) (timestamp(idaas_poll_interval_seconds" + process + "))"
	ages    = per("(%s - min by (job, instance) (%s))", scraped, walked)
	oldest  = per("max(%s)", ages)

	state  = "idaas:shown:status" + facts
	ends   = "idaas:shown:end_timestamp_seconds" + facts
	lost   = "idaas:shown:lost_end_timestamp_seconds" + facts
	atRisk = "idaas:shown:at_risk_end_timestamp_seconds" + facts
	judged = "idaas:shown:judged_end_timestamp_seconds" + facts
	// Of the time left: targets to which no time applies come last.
	leftMaps = []object{shown("10000000000", "no end known", "text")}
	// unwatched tells a table that is empty because nothing is scraped from one where all is well.
	unwatched = "absent(idaas_poll_success" + facts + ")"
	// unruled also tells one that is empty because the rules are not loaded.
	unruled    = "absent(" + state + ")"
	statusMaps = []object{
		shown("6", "no data", "purple"),
		shown("5", "lost", "red"), shown("4", "at risk", "orange"), shown("3", "none active", "yellow"),
		shown("2", "no facts", "purple"), shown("1", "not judged", "blue"), shown("0", "in order", "green"),
	}

	// Shards that were scraped in the last day and are not now, by the names of their last processes.
	gone   = per("(group by (job, shard_index) (last_over_time(idaas_shard_index%[1]s[1d])) unless on (job, shard_index) idaas_shard_index%[1]s)", process)
	hidden = per("max by (job, shard_index) (last_over_time(idaas_shard_index%[1]s[1d]) * on (job, instance) group_left () last_over_time(idaas_poll_targets%[1]s[1d])) and %[2]s", process, gone)
	// missing also counts shards that never were there.
	missing = per("sum(max by (job) (last_over_time(idaas_shards%[1]s[1d])) - (count by (job) (count by (job, shard_index) (idaas_shard_index%[1]s)) or 0 * max by (job) (last_over_time(idaas_shards%[1]s[1d]))))", process)
)

const (
	lostMeans   = "Lost: no token is active, some are expired or revoked, and the last complete walk is later than the end of the last active one."
	atRiskMeans = "At risk: tokens are active, none without expiration, and the last of them ends within a fifth of its lifetime, at most 7 days (1 day when the lifetime is unknown), or what is set instead in the rules. Not judged when the lifetime is under three poll intervals."
	ruled       = " Recorded every other minute by the rules of deploy/prometheus/rules.yaml; without them there is no data."
	runbook     = "https://github.com/idaas-exporter/idaas-token-exporter/blob/main/deploy/runbooks/${__value.raw}.md"
	nothingHere = "nothing to show"
)

// are counts targets: 0, not nothing, while there are any.
func are(some string) string { return per("count(%s) or 0 * count(%s)", some, state) }

// fires counts the alerts of one severity that fire now.
func fires(severity string) string {
	return per("group by (alertname, job, credential_provider, consumer) (%s)", strings.Replace(firing, "{", per("{severity=%q,", severity), 1))
}

func byName(expr string) string { return "max " + byTarget + " (" + expr + ")" }

// where keeps of a column only the rows that the table shows, before anything is computed.
func where(expr, rows string) string {
	return byName(per("(%s) and on (job, credential_provider, consumer) %s", expr, rows))
}

// windows asks for windows by their length: Grafana keeps the order of the queries, Prometheus sorts by text.
func windows(by string) (list []query) {
	for _, length := range []string{
		"[0-9]+s", "[0-9]m.*", "[0-9]{2}m.*", "[0-9]{3,}m.*", "[1-5]h.*", "[6-9]h.*", "[0-9]{2}h.*", "[0-9]{3,}h.*",
		"[1-3]d.*", "[4-9]d.*", "[12][0-9]d.*", "[3-9][0-9]d.*", "[1-2][0-9]{2}d.*", "([3-9][0-9]{2}|[0-9]{4,})d.*",
	} {
		list = append(list, query{per(by, per(`idaas:shown:tokens_expiring{job=~"$job",credential_provider=~"$provider",within=~%q}`, length)), "{{within}}"})
	}
	return list
}

// targets is a table of targets, each with its status page.
func targets(title, description, empty string, h int, rows string, steps []step, first string, more ...column) *panel {
	columns := []column{
		{name: "Status", expr: per("%s or 6 * %s", where(state, rows), unruled), maps: statusMaps, width: 100},
		provider(tokensUID), consumer(tokensUID),
		{name: "Time left", expr: per("clamp_max(%s - time(), 1e10)", where(ends, rows)), unit: "dtdhmss", maps: leftMaps, steps: steps, width: 150},
		{name: "Lifetime", expr: where("idaas_authentication_tokens_lifetime_seconds"+facts, rows), unit: "dtdhmss", width: 125},
	}
	columns = append(columns, more...)
	return table(title, description, empty, 24, h, []string{first}, append(columns, page(rows), job())...)
}

func number(name, expr string, width int) column {
	return column{name: name, expr: expr, unit: "locale", width: width}
}

func tokens() dashboard {
	lostRows, riskRows := per("topk(50, %s)", lost), per("bottomk(50, %s)", atRisk)
	nextRows := per("bottomk(50, %s unless (%s or %s))", ends, lost, atRisk)
	data := func(rows string) column {
		return column{name: "Data age", expr: per("time() - min %s (%s and on (job, credential_provider, consumer) %s)", byTarget, walked, rows), unit: "dtdhmss", width: 125}
	}

	return newDashboard(tokensUID, "IDaaS tokens",
		"Authentication tokens by consumer and credential provider: what is lost or at risk, what expires when. Needs the recording rules of deploy/prometheus/rules.yaml.",
		link{Title: "IDaaS token exporter", URL: "/d/" + exporterUID, Tooltip: "How old and how complete the data is"},

		stat("Not watched", "Shards of an exporter that should be there and are not scraped: nothing here tells of their targets. The table below says which, since when, and how many targets that hides. An exporter that is gone for more than a day is forgotten.",
			4, "locale", bad(1, "red"), query{missing, "shards"}).leads(exporterUID),
		stat("Lost", "Targets (one consumer at one provider) that are lost. "+lostMeans+ruled, 4, "locale", bad(1, "red"), query{are(lost), "lost"}),
		stat("At risk", "Targets that are at risk. "+atRiskMeans+ruled, 4, "locale", bad(1, "orange"), query{are(atRisk), "at risk"}),
		stat("No facts", "Targets that were attempted but have no token counts: never read completely, or dropped because their data was too old. Nothing is known of their tokens.",
			4, "locale", bad(1, "purple"), query{are(state + " == 2"), "no facts"}).leads(exporterUID),
		stat("Next to end", "Time until the first target runs out: the soonest end of a last active token, of the targets that are judged. Short-lived tokens that rotate are not judged here.",
			4, "dtdhmss", plain("blue"), query{per("min(%s) - time()", judged), "next"}),
		stat("Oldest data", "Age of the oldest facts shown here when they were scraped: since the end of the last complete walk of the target that has waited longest. The other dashboard compares it with the schedule.",
			4, "dtdhmss", plain("blue"), query{oldest, "oldest"}).leads(exporterUID),

		table("Shards that are not watched", "Shards that were scraped within the last day and are not now: since when, and how many targets have no data because of it."+emptyWhenWell,
			"no known shard is missing", 12, 6, []string{"-Targets hidden"},
			job(), column{name: "Shard", from: "shard_index", width: 80},
			column{name: "Gone for", expr: per("time() - max by (job, shard_index) (max_over_time(timestamp(idaas_shard_index%s)[1d:1m])) and %s", process, gone), unit: "dtdhmss", steps: plain("red"), width: 150},
			number("Targets hidden", hidden, 160)),
		table("Firing alerts", "Alerts of the shipped rules that fire now, the gravest first; at most 100. Click one to open its runbook."+emptyWhenWell,
			"no alert fires", 12, 6, []string{"-Severity"},
			column{name: "Severity", expr: per("topk(100, 3 * %s or 2 * %s or %s) or 4 * absent(idaas:threshold:stale_intervals)", fires("critical"), fires("warning"), fires("info")), width: 100, maps: []object{shown("4", "no rules", "purple"), shown("3", "critical", "red"), shown("2", "warning", "orange"), shown("1", "info", "blue")}},
			column{name: "Alert", from: "alertname", links: []object{{"title": "Open the runbook", "url": runbook, "targetBlank": true}}},
			provider(tokensUID), consumer(tokensUID), job()),

		targets("Lost targets", lostMeans+" The 50 lost last, the latest first; the time left is how long ago the last token ended."+ruled+emptyWhenWell,
			"no target is lost", 6, lostRows, plain("red"), "-Time left",
			number("Expired", where(expired, lostRows), 85), number("Revoked", where(revoked, lostRows), 90), data(lostRows)),
		targets("Targets at risk", atRiskMeans+" The 50 that end first."+ruled+emptyWhenWell,
			"no target is at risk", 6, riskRows, plain("orange"), "Time left",
			number("Active", where(active, riskRows), 80),
			column{name: "Last issued", expr: "time() - " + where("idaas_authentication_tokens_newest_issue_timestamp_seconds"+facts, riskRows), unit: "dtdhmss", width: 125}, data(riskRows)),
		targets("Other targets by time left", "The 50 whose last token ends first, of the targets that are neither lost nor at risk. Not judged: tokens that live under three poll intervals are normally this short. Click a provider or a consumer to see only that one."+ruled,
			nothingHere, 10, nextRows, plain("text"), "Time left",
			number("Active", where(active, nextRows), 80), number("Expired", where(expired, nextRows), 85), data(nextRows)),

		stat("Tokens by state", "Every token is active, expired or revoked. Those without expiration are active ones. Between two walks the exporter sees tokens expire but not be replaced.",
			14, "locale", plain("text"),
			query{per("count(%s)", active), "targets"}, query{per("sum(%s)", total), "tokens"},
			query{per("sum(%s)", active), "active"}, query{per("sum(%s)", expired), "expired"},
			query{per("sum(%s)", revoked), "revoked"}, query{per("sum(%s)", endless), "endless"}).
			paint("active", "green").paint("expired", "yellow").paint("revoked", "text").paint("endless", "blue"),
		stat("Active tokens expiring within", "Active tokens that expire within each configured window, the shortest first. Windows are cumulative: the longer ones contain the shorter, so they do not add up. Consumer does not narrow it."+ruled,
			10, "locale", plain("blue"), windows("sort(sum by (within) (%s))")...),

		row("Over time"),
		counts("Targets lost, at risk, without facts", "How many targets are in trouble. "+lostMeans+" "+atRiskMeans, 12,
			query{are(lost), "lost"}, query{are(atRisk), "at risk"}, query{are(state + " == 2"), "without facts"}).
			paint("lost", "red").paint("at risk", "orange").paint("without facts", "purple").coarse(),
		counts("Tokens by state over time", "Active, expired and revoked tokens; together they are all tokens. Active ones sag between two walks, when tokens expire and their replacements are not seen yet.",
			12, query{per("sum(%s)", active), "active"}, query{per("sum(%s)", expired), "expired"}, query{per("sum(%s)", revoked), "revoked"}).
			paint("active", "green").paint("expired", "yellow").paint("revoked", "text").with("min", 0).custom("fillOpacity", 10).
			custom("stacking", object{"mode": "normal", "group": "A"}).coarse(),
		series("Next target to run out over time", "Days until the first target runs out, of those that are judged.",
			12, "suffix: d", query{per("(min(%s) - time()) / 86400", judged), "next to end"}).coarse(),
		counts("Active tokens expiring over time", "Active tokens that expire within each configured window, the shortest first. Windows are cumulative, so the lines lie above each other and do not add up. Consumer does not narrow it.",
			12, windows("sum by (within) (%s)")...).coarse(),

		row("By provider and consumer"),
		group("By provider", "Provider", "credential_provider", "provider"),
		group("By consumer", "Consumer", "consumer", "consumer"),
		table("Targets by kind of token", "Targets by the type of their most recently issued token and by the type of consumer. Targets in which no token was ever seen are not counted.",
			nothingHere, 12, 7, []string{"-Targets"}, column{name: "Token type", from: "token_type"}, column{name: "Consumer type", from: "consumer_type", width: 140},
			number("Targets", per("topk(10, count by (token_type, consumer_type) (%s))", most("idaas_target_info")), 110)),
		table("Longest lifetime by provider", "Lifetime of the active token that expires last, the longest of each provider; the 10 longest.",
			nothingHere, 12, 7, []string{"-Lifetime"}, column{name: "Provider", from: "credential_provider", url: drill(tokensUID, "provider")},
			column{name: "Lifetime", expr: per("topk(10, max by (credential_provider) (%s))", lifetime), unit: "dtdhmss", width: 150}),
	)
}

// group is the table of all providers or all consumers, those in trouble first.
func group(title, name, label, variable string) *panel {
	by := "by (" + label + ")"
	rows := per("topk(50, sum %[1]s (0 * %[2]s + 1e6 or 0 * %[3]s + 1) or 1e-9 * sum %[1]s (%[4]s) or 0 * count %[1]s (%[5]s == 2))", by, lost, atRisk, active, state)
	of := func(what, expr string) string { return per("%s %s (%s and on (%s) %s)", what, by, expr, label, rows) }
	return table(title, "At most 50: those with most lost targets first, then those with most at risk, then those with most active tokens. Click one to see only it."+ruled,
		nothingHere, 12, 9, []string{"-Lost", "-At risk", "-Active"},
		column{name: name, from: label, url: drill(tokensUID, variable)},
		number("Targets", of("count", state), 80),
		column{name: "Lost", expr: of("count", lost), unit: "locale", steps: plain("red"), width: 75},
		column{name: "At risk", expr: of("count", atRisk), unit: "locale", steps: plain("orange"), width: 95},
		number("Active", of("sum", active), 95),
		column{name: "Next to end", expr: of("min", judged) + " - time()", unit: "dtdhmss", width: 130},
	)
}
