package dashboards

// What the words mean is the exporter's own definition; the alert rules use the same.
var (
	total      = most("idaas_authentication_tokens")
	active     = most("idaas_authentication_tokens_active")
	fewest     = least("idaas_authentication_tokens_active")
	expired    = most("idaas_authentication_tokens_expired")
	revoked    = most("idaas_authentication_tokens_revoked")
	endless    = most("idaas_authentication_tokens_without_expiration")
	earliest   = least("idaas_authentication_tokens_earliest_expiration_timestamp_seconds")
	latest     = per("(%s unless %s > 0)", most("idaas_authentication_tokens_latest_expiration_timestamp_seconds"), endless)
	lifetime   = most("idaas_authentication_tokens_lifetime_seconds")
	issued     = most("idaas_authentication_tokens_newest_issue_timestamp_seconds")
	lastActive = most("idaas_authentication_tokens_last_active_timestamp_seconds")
	expiring   = most("idaas_authentication_tokens_expiring")
	lastWalk   = most("idaas_poll_last_success_timestamp_seconds")
	oldestWalk = least("idaas_poll_last_success_timestamp_seconds")
	complete   = least("idaas_poll_success")
	interval   = `max by (job) (idaas_poll_interval_seconds` + process + `)`

	// notJudged: the lifetime is under three poll intervals.
	notJudged = per(`%s < on (job) group_left () (3 * %s)`, lifetime, interval)
	// atRisk is the time left where the last token ends within min(7d, lifetime/5), a day when the lifetime is
	// unknown. There is no latest expiration when none is active or one never expires.
	atRisk = per(`(%s - time() <= (clamp_max(0.2 * %s, 604800) or 0 * %s + 86400)) unless (%s)`, latest, lifetime, active, notJudged)
	// lost is the time since the last token ended, negative, where a complete walk after that saw none active. That it is
	// the fewest of all replicas, see the alert rules.
	lost = per(`(%s - time()) and (%s == 0) and (%s > 0) and (%s > %[1]s)`, lastActive, fewest, total, lastWalk)
	// trouble is what the first table shows, the longest lost first.
	trouble = per(`(%s) or (%s)`, lost, atRisk)
	// noFacts: attempted, but never read, or dropped because the facts were too old.
	noFacts = per(`%s unless %s`, complete, active)

	// left sorts every target by the time left; targets to which no time applies come last.
	left = per(`(%s - time()) or (%s - time() and %s == 0) or (0 * (%s > 0) + 1e11) or (0 * %[3]s + 2e11) or (0 * %s + 3e11)`,
		latest, lastActive, active, endless, complete)
	leftMaps = []object{
		shown("100000000000", "never expires", "text"),
		shown("200000000000", "no token seen", "text"),
		shown("300000000000", "no facts", "purple"),
	}

	status = per(`(0 * (%s) + 5) or (0 * (%s) + 4) or (0 * (%s == 0) + 3) or (0 * (%s) + 2) or (0 * (%s) + 1) or (0 * %[3]s)`,
		lost, atRisk, active, noFacts, notJudged)
	statusMaps = []object{
		shown("5", "lost", "red"), shown("4", "at risk", "orange"), shown("3", "none active", "yellow"),
		shown("2", "no facts", "purple"), shown("1", "not judged", "blue"), shown("0", "in order", "green"),
	}
)

const (
	lostMeans   = "Lost: no token is active, some are expired or revoked, and the last complete walk is later than the end of the last active one."
	atRiskMeans = "At risk: tokens are active, none without expiration, and the last of them ends within a fifth of its lifetime, at most 7 days (1 day when the lifetime is unknown). Not judged when the lifetime is under three poll intervals."
)

// orZero is 0, not nothing, while there are targets to count.
func orZero(count, among string) string { return per("%s or 0 * count(%s)", count, among) }

func byName(expr string) string { return "max " + byTarget + " (" + expr + ")" }

// where keeps of a column only the rows that the table shows.
func where(expr, rows string) string { return byName(per("(%s) and %s", expr, rows)) }

func tokens() dashboard {
	worst := per("bottomk(50, %s)", trouble)
	next := per("bottomk(50, %s)", left)
	return newDashboard(tokensUID, "IDaaS tokens",
		"Authentication tokens by consumer and credential provider: what is lost or at risk, what expires when.",
		link{Title: "IDaaS token exporter", URL: "/d/" + exporterUID, Tooltip: "How old and how complete the data is"},

		stat("Lost", "Targets (one consumer at one provider) that are lost. "+lostMeans, 4, "locale", bad(1, "red"),
			query{orZero(per("count(%s)", lost), active), "lost"}).with("noValue", "no data"),
		stat("At risk", "Targets that are at risk. "+atRiskMeans, 4, "locale", bad(1, "orange"),
			query{orZero(per("count(%s)", atRisk), active), "at risk"}).with("noValue", "no data"),
		stat("Without facts", "Targets that were attempted but have no token counts: never read completely, or dropped because their data was too old. Nothing is known of their tokens.",
			4, "locale", bad(1, "purple"), query{orZero(per("count(%s)", noFacts), complete), "without facts"}).with("noValue", "no data").leads(exporterUID),
		stat("Next expiration", "Time until the first active token of all chosen targets expires. Normal to be short where tokens rotate.",
			4, "s", plain("blue"), query{per("clamp_min(min(%s) - time(), 0)", earliest), "next"}).with("noValue", "none"),
		stat("Last expiration", "Time until the last active token of all chosen targets that has an expiration is gone.",
			4, "s", plain("blue"), query{per("clamp_min(max(%s) - time(), 0)", latest), "last"}).with("noValue", "none"),
		stat("Oldest data", "Age of the oldest facts shown here: since the end of the last complete walk of the target that has waited longest. The other dashboard compares it with the schedule.",
			4, "s", plain("blue"), query{per("max(time() - %s)", oldestWalk), "oldest"}).with("noValue", "no data").leads(exporterUID),

		stat("Tokens by state", "Every token is active, expired or revoked. Those without expiration are active ones. Between two walks the exporter sees tokens expire but not be replaced.",
			14, "locale", plain("text"),
			query{per("count(%s)", active), "targets"}, query{per("sum(%s)", total), "tokens"},
			query{per("sum(%s)", active), "active"}, query{per("sum(%s)", expired), "expired"},
			query{per("sum(%s)", revoked), "revoked"}, query{per("sum(%s)", endless), "never expire"}).
			paint("active", "green").paint("expired", "yellow").paint("revoked", "purple").paint("never expire", "blue"),
		stat("Active tokens expiring within", "Active tokens that expire within each configured window. Windows are cumulative: the longer ones contain the shorter, so they do not add up. The fewest tokens come first.",
			10, "locale", plain("blue"), query{per("sort(sum by (within) (%s))", expiring), "{{within}}"}),

		table("Lost and at risk", lostMeans+" "+atRiskMeans+" The 50 that are most urgent; a negative time is how long ago the last token ended."+emptyWhenWell,
			24, 7, []string{"Time left"},
			column{name: "Status", expr: byName(per("(0 * (%s) + 5 or 0 * (%s) + 4) and %s", lost, atRisk, worst)), maps: statusMaps, width: 100},
			provider(tokensUID), consumer(tokensUID),
			column{name: "Time left", expr: byName(worst), unit: "s", steps: []step{{color: "red"}, {0, "orange"}}},
			column{name: "Lifetime", expr: where(lifetime, worst), unit: "s"},
			column{name: "Last issued", expr: where("time() - "+issued, worst), unit: "s"},
			column{name: "Active", expr: where(active, worst), unit: "locale", width: 90},
			column{name: "Expired", expr: where(expired, worst), unit: "locale", width: 90},
			column{name: "Revoked", expr: where(revoked, worst), unit: "locale", width: 90},
			column{name: "Data age", expr: where("time() - "+oldestWalk, worst), unit: "s"},
			job()),

		table("Targets by time left", "The 50 targets whose last token ends first; a negative time is how long ago it ended. Not judged: tokens that live under three poll intervals are normally this short. Click a provider or a consumer to see only that one.",
			24, 10, []string{"Time left"},
			column{name: "Status", expr: byName(per("(%s) and %s", status, next)), maps: statusMaps, width: 100},
			provider(tokensUID), consumer(tokensUID),
			column{name: "Time left", expr: byName(next), unit: "s", maps: leftMaps, steps: []step{{color: "red"}, {0, "text"}}},
			column{name: "Lifetime", expr: where(lifetime, next), unit: "s"},
			column{name: "Last issued", expr: where("time() - "+issued, next), unit: "s"},
			column{name: "Active", expr: where(active, next), unit: "locale", width: 90},
			column{name: "Expired", expr: where(expired, next), unit: "locale", width: 90},
			column{name: "Never expire", expr: where(endless, next), unit: "locale", width: 110},
			column{name: "Data age", expr: where("time() - "+oldestWalk, next), unit: "s"},
			job()),

		row("Over time"),
		series("Targets lost, at risk, without facts", "How many targets are in trouble. "+lostMeans+" "+atRiskMeans, 12, "locale",
			query{orZero(per("count(%s)", lost), active), "lost"}, query{orZero(per("count(%s)", atRisk), active), "at risk"},
			query{orZero(per("count(%s)", noFacts), complete), "without facts"}).
			paint("lost", "red").paint("at risk", "orange").paint("without facts", "purple").limit(step{color: "green"}, step{1, "orange"}).coarse(),
		series("Tokens by state over time", "Active, expired and revoked tokens; together they are all tokens. Active ones sag between two walks, when tokens expire and their replacements are not seen yet.",
			12, "locale", query{per("sum(%s)", active), "active"}, query{per("sum(%s)", expired), "expired"}, query{per("sum(%s)", revoked), "revoked"}).
			paint("active", "green").paint("expired", "yellow").paint("revoked", "purple").
			custom("stacking", object{"mode": "normal", "group": "A"}),
		series("Time left of targets over time", "Time until a target's last active token ends, over all targets that have such a time: the shortest, the median and the longest. Also when the very next token expires. The scale is logarithmic.",
			12, "s", query{per("clamp_min(min(%s) - time(), 1)", earliest), "next expiration"},
			query{per("clamp_min(min(%s - time()), 1)", latest), "shortest"}, query{per("clamp_min(quantile(0.5, %s - time()), 1)", latest), "median"},
			query{per("clamp_min(max(%s - time()), 1)", latest), "longest"}).
			custom("scaleDistribution", object{"type": "log", "log": 10}).custom("fillOpacity", 0),
		series("Active tokens expiring over time", "Active tokens that expire within each configured window. Windows are cumulative, so the lines lie above each other and do not add up.",
			12, "locale", query{per("sum by (within) (%s)", expiring), "{{within}}"}),

		row("By provider and consumer"),
		group("By provider", "Provider", "credential_provider", "provider"),
		group("By consumer", "Consumer", "consumer", "consumer"),
		bars("Targets by kind of token", "Targets by the type of their most recently issued token and by the type of consumer. Targets in which no token was ever seen are not counted.",
			12, "locale", query{per("topk(10, count by (token_type, consumer_type) (%s))", most("idaas_target_info")), "{{token_type}}, {{consumer_type}}"}),
		bars("Longest lifetime by provider", "Lifetime of the active token that expires last, the longest of each provider; the 10 longest.",
			12, "s", query{per("topk(10, max by (credential_provider) (%s))", lifetime), "{{credential_provider}}"}),
	)
}

// group is the table of all providers or all consumers, those in trouble first.
func group(title, name, label, variable string) *panel {
	by := "by (" + label + ")"
	rows := per("topk(50, sum %[1]s (0 * (%[2]s) + 1e6 or 0 * (%[3]s) + 1 or 1e-9 * %[4]s))", by, lost, atRisk, active)
	count := func(expr string) string { return per("count %s (%s) and %s", by, expr, rows) }
	return table(title, "At most 50: those with most lost targets first, then those with most at risk, then those with most active tokens. Click one to see only it.",
		12, 9, []string{"-Lost", "-At risk", "-Active"},
		column{name: name, from: label, url: drill(tokensUID, variable)},
		column{name: "Targets", expr: count(active), unit: "locale", width: 70},
		column{name: "Lost", expr: count(lost), unit: "locale", steps: plain("red"), width: 60},
		column{name: "At risk", expr: count(atRisk), unit: "locale", steps: plain("orange"), width: 70},
		column{name: "Active", expr: per("sum %s (%s) and %s", by, active, rows), unit: "locale", width: 70},
		column{name: "Expired", expr: per("sum %s (%s) and %s", by, expired, rows), unit: "locale", width: 75},
		column{name: "Next expiration", expr: per("clamp_min(min %s (%s) - time(), 0) and %s", by, earliest, rows), unit: "s", width: 115},
	)
}
