package dashboards

import "strings"

// rate is a counter's rate per second over all processes, by the given labels.
func rate(metric, by string) string {
	return per("sum by (%s) (rate(%s%s[$__rate_interval]))", by, metric, process)
}

// ofProcess keeps of the runtime's metrics those of the exporter: other programs have them too.
func ofProcess(metric string) string {
	return per("%[1]s%[2]s and on (job, instance) idaas_token_exporter_build_info%[2]s", metric, process)
}

func byProcess(metric string) string { return "max by (job, instance) (" + metric + process + ")" }

// ahead is how far in the future a time was when it was scraped: it does not sink until the next scrape.
func ahead(metric, of string) string { return per("%[1]s%[2]s - timestamp(%[1]s%[2]s)", metric, of) }

// seldom are the failures per hour by reason, of the reasons that occur.
func seldom(metric string) string {
	return per("3600 * %s and on (reason) sum by (reason) (increase(%s%s[$__range])) > 0", rate(metric, "reason"), metric, process)
}

// quantiles are of a histogram as it was scraped, classic or native.
func quantiles(metric, by, legend string) (list []query) {
	classic, native := rate(metric+"_bucket", strings.Trim("le, "+by, ", ")), rate(metric, by)
	for _, q := range [][2]string{{"0.5", "p50"}, {"0.9", "p90"}, {"0.99", "p99"}} {
		list = append(list, query{per("histogram_quantile(%[1]s, %[2]s) >= 0 or histogram_quantile(%[1]s, %[3]s) >= 0", q[0], classic, native), q[1] + legend})
	}
	return list
}

func exporter() dashboard {
	// Of when it was scraped, as the poll intervals beside it.
	age := per("max without (instance, pod) (timestamp(%[1]s) - %[1]s)", walked)
	known := per("on (job, instance) last_over_time(idaas_token_exporter_build_info%s[1d])", process)
	// failed are the reasons of the targets that fail, of which alone the age is asked there.
	failed := "idaas_poll_error" + facts
	failedAge := per("max without (instance, pod) (timestamp(%[1]s) - (%[1]s and on (job, credential_provider, consumer) %[2]s))", walked, failed)
	cycle := per("max by (job) (max by (job, instance) (idaas_poll_last_success_timestamp_seconds%s) - %s >= 0)", process, byProcess("idaas_poll_last_cycle_timestamp_seconds"))
	never := []object{shown("100000000000", "never read", "purple"), shown("200000000000", unknown, "purple")}
	blind := []object{shown("-1", unknown, "purple")}
	yesNo := []object{shown("1", "yes", "green"), shown("0", "no", "red"), shown("2", "not used", "text"), nothing(unknown)}

	return newDashboard(exporterUID, "IDaaS token exporter",
		"How well the exporter reads IDaaS: age of its data, walks and their failures, API requests, its schedule and its processes.",
		link{Title: "IDaaS tokens", URL: "/d/" + tokensUID, Tooltip: "The tokens themselves"},

		stat("Oldest data", "Since the end of the last complete walk of the target that has waited longest, on any replica, when it was scraped.",
			4, "dtdhmss", plain("blue"), query{oldest, "oldest"}),
		stat("Intervals", "The age of the oldest data in poll intervals: up to 2 is normal, from 3 on walks failed or are late.",
			4, "none", []step{{color: "green"}, {3, "orange"}, {5, "red"}}, query{per("max(max by (job) %s / on (job) %s)", ages, interval), "intervals"}).with("decimals", 1),
		stat("Complete", "Share of the targets whose latest walk was complete, on every replica.",
			4, "percentunit", []step{{color: "red"}, {0.95, "orange"}, {1, "green"}}, query{per("avg(%s)", complete), "complete"}),
		stat("Failures", "Walks that failed in the chosen time range. A failed walk publishes nothing; the target keeps its last facts.",
			4, "locale", bad(1, "orange"), query{per("round(sum(increase(idaas_poll_failures_total%s[$__range])))", process), "failed"}),
		stat("Next cycle", "Time until the next cycle is due, of the process whose turn it is. Long overdue is wrong.",
			4, "s", []step{{color: "red"}, {-60, "green"}}, query{per("min(%s)", ahead("idaas_poll_next_cycle_timestamp_seconds", process)), "next"}),
		stat("Own token", "Time left of the exporter's own access token, the soonest of all processes. It is renewed when it is needed: past its end is normal between slow polls.",
			4, "s", plain("blue"), query{per("min(idaas_access_token_expiration_timestamp_seconds%s) - time()", process), "left"}),

		stat("Processes", "Exporter processes, replicas and shards together, that answer Prometheus, and those known since yesterday that it asks in vain.",
			4, "locale", plain("green"), query{per("count(up%[1]s == 1 and %[2]s) or 0 * count(up%[1]s and %[2]s)", process, known), "up"},
			query{per("count(up%[1]s == 0 and %[2]s) or 0 * count(up%[1]s and %[2]s)", process, known), "down"}).
			override("down", property("thresholds", thresholds([]step{{color: "text"}, {1, "red"}}))),
		stat("Shards gone", "Shards that should be there and are not scraped: nobody reads their targets.",
			4, "locale", bad(1, "red"), query{missing, "missing"}),
		stat("Throttled", "Answers in the chosen time range that said: slow down.",
			4, "locale", bad(1, "orange"), query{per("round(sum(increase(idaas_api_throttled_total%s[$__range])))", process), "throttled"}),
		stat("Clock skew", "Largest difference between the server's clock and a process's own. States of tokens depend on the local clock.",
			4, "s", []step{{color: "green"}, {5, "orange"}, {60, "red"}}, query{per("max(abs(idaas_api_clock_skew_seconds%s))", process), "skew"}),
		stat("Settings", "Whether every process accepted its targets file when it last read it. After a refused one the targets of before stay.",
			4, "none", plain("text"), query{per("min(idaas_config_last_reload_successful%s)", process), "loaded"}).with("mappings", yesNo),
		stat("State file", "Whether every process wrote its state file when it last tried; not used when none is configured.",
			4, "none", plain("text"), query{per("min(idaas_state_last_write_successful%[1]s) or 0 * count(idaas_token_exporter_build_info%[1]s) + 2", process), "written"}).with("mappings", yesNo),

		row("Targets"),
		table("Failing targets", "Targets whose latest walk failed, and why; the 50 that have been without a complete walk for longest."+emptyWhenWell,
			"no target fails", 12, 8, []string{"-Since complete"}, provider(exporterUID), consumer(exporterUID),
			column{name: "Reason", from: "reason", width: 120},
			column{name: "Since complete", expr: per("topk(50, max by (job, credential_provider, consumer, reason) (idaas_poll_error%[1]s) * on (job, credential_provider, consumer) group_left () (%[2]s or %[3]s)) or 2e11 * %[4]s",
				facts, byName(failedAge), byName(per("0 * %s + 1e11", failed)), unwatched), unit: "dtdhmss", maps: never, steps: plain("orange"), width: 155},
			job()),
		table("Targets with the oldest data", "The 20 targets that have waited longest for a complete walk. Poll intervals, when they were scraped: up to 2 are normal. Click a provider or a consumer to see its tokens.",
			nothingHere, 12, 8, []string{"-Data age"}, provider(tokensUID), consumer(tokensUID),
			column{name: "Data age", expr: byName(per("topk(20, %s)", age)), unit: "dtdhmss", width: 125},
			column{name: "Poll intervals", expr: byName(per("topk(20, %s) / on (job) group_left () %s", age, interval)), steps: []step{{color: "green"}, {3, "orange"}, {5, "red"}}, width: 130},
			job()),
		series("Data age", "Minutes since the last complete walk, over the targets: the oldest, the median (of the process that is furthest behind) and the newest, against the longest poll interval.",
			12, "suffix: min", query{oldest + " / 60", "oldest"}, query{per("max(%s - quantile by (job, instance) (0.5, %s)) / 60", scraped, walked), "median"}, query{per("min(%s - max by (job, instance) (%s)) / 60", scraped, walked), "newest"},
			query{per("max(%s) / 60", interval), "poll interval"}).dashed("poll interval").coarse(),
		table("Targets that failed most", "The 20 targets whose latest walk had failed for the largest part of the chosen time range."+emptyWhenWell,
			"no target failed", 12, 8, []string{"-Time failed"}, provider(exporterUID), consumer(exporterUID),
			column{name: "Time failed", expr: byName(per("topk(20, 1 - min without (instance, pod) (avg_over_time(idaas_poll_success%s[$__range])) > 0)", facts)) + " or -1 * " + unwatched, unit: "percentunit", maps: blind, steps: plain("orange"), width: 125},
			job()),

		row("Walks and schedule"),
		series("Failures per hour by reason", "Failed walks, and failed attempts to get the exporter's own access token, as a rate per hour. Only reasons that occur are drawn beside the total.",
			12, "none", query{per("3600 * sum(rate(idaas_poll_failures_total%s[$__rate_interval]))", process), "all walks"},
			query{seldom("idaas_poll_failures_total"), "{{reason}}"},
			query{seldom("idaas_access_token_failures_total"), "own token: {{reason}}"}),
		series("Cycle against the schedule", "Minutes from a cycle's due time to the end of its last complete walk so far, of the slowest process, against the time between two cycles. A cycle that comes near the interval outlasts the schedule soon.",
			12, "suffix: min", query{per("%s / 60", cycle), "{{job}} cycle"}, query{per("min by (job) (idaas_poll_interval_seconds%s) / 60", process), "{{job}} interval"}),
		series("Duration of complete walks", "How long the walk of one target takes: median, 90th and 99th percentile of all targets.",
			8, "s", quantiles("idaas_poll_duration_seconds", "", "")...).sparse(),
		counts("Targets in progress", "Targets queued or being walked, the sum over the processes.",
			8, query{per("sum(idaas_poll_targets_in_progress%s)", process), "in progress"}),
		series("Skipped targets and cycles per hour", "Targets skipped because they were still being walked when they were due again, and cycles that came due; sums over the processes. Skipped ones mean that the schedule is too tight.",
			8, "none", query{per("3600 * sum(rate(idaas_poll_skipped_total%s[$__rate_interval]))", process), "skipped"},
			query{per("3600 * sum(rate(idaas_poll_cycles_total%s[$__rate_interval]))", process), "cycles"}).paint("skipped", "red").paint("cycles", "blue"),
		table("Counts that differ from the API's", "Targets where the walk counted more than 2 % more or fewer tokens than the API itself reports; the 20 largest differences. One that stays means that pages are missed."+emptyWhenWell,
			"no counts differ", 24, 6, []string{"-Difference"}, provider(tokensUID), consumer(tokensUID),
			column{name: "Difference", expr: byName(per("topk(20, abs(%s - %[2]s) > 0.02 * %[2]s)", total, most("idaas_poll_reported_tokens"))) + " or -1 * " + unwatched, unit: "locale", maps: blind, steps: plain("orange"), width: 125},
			job()),

		row("API"),
		series("Requests by operation and code", "HTTP requests to IDaaS, each attempt counted, of the operations and codes that occur in the chosen time range.",
			12, "reqps", query{per("%s and on (operation, code) sum by (operation, code) (increase(idaas_api_requests_total%s[$__range])) > 0", rate("idaas_api_requests_total", "operation, code"), process), "{{operation}} {{code}}"}),
		series("Latency by operation", "How long one request takes: median, 90th and 99th percentile.",
			12, "s", quantiles("idaas_api_request_duration_seconds", "operation", " {{operation}}")...).sparse(),
		series("Rate limit in use", "Requests as a share of the rate limit, over all processes.",
			8, "percentunit", query{per("sum(rate(idaas_api_requests_total%[1]s[$__rate_interval])) / sum(idaas_api_rate_limit%[1]s)", process), "in use"}),
		series("Throttled and retried", "Answers that said \"slow down\", and requests made again after a failure. Above 5 % of all requests the rate limit is too high.",
			8, "reqps", query{per("sum(rate(idaas_api_throttled_total%s[$__rate_interval]))", process), "throttled"},
			query{per("sum(rate(idaas_api_retries_total%s[$__rate_interval]))", process), "retried"},
			query{per("0.05 * sum(rate(idaas_api_requests_total%s[$__rate_interval]))", process), "5 % of requests"}).dashed("5 % of requests"),
		series("Waiting by cause", "Seconds spent waiting per second: for the own rate limit, because the API asked for it, or between retries. Several targets wait at once, so more than 1 is possible.",
			8, "none", query{rate("idaas_api_wait_seconds_total", "cause"), "{{cause}}"}),
		series("Own token over time", "Minutes left of the exporter's own access token, the soonest of all processes. It is renewed at two thirds of its life when it is needed.",
			12, "suffix: min", query{per("(min(idaas_access_token_expiration_timestamp_seconds%s) - time()) / 60", process), "left"}),
		series("Clock skew over time", "The server's clock less the process's own, the highest and the lowest of all processes.",
			12, "s", query{per("max(idaas_api_clock_skew_seconds%s)", process), "highest"}, query{per("min(idaas_api_clock_skew_seconds%s)", process), "lowest"}),

		row("Processes and memory"),
		table("Process by process", "Each process that Prometheus asks, also when it is down: version, what it watches, its part of the targets, its schedule and its last good settings.",
			nothingHere, 24, 6, []string{"Up", "Instance"},
			column{name: "Up", expr: per("max by (job, instance) (up%s and %s)", process, known), maps: []object{shown("1", "up", "green"), shown("0", "down", "red")}, width: 75},
			column{name: "Instance", from: "instance"},
			column{name: "Version", from: "version", width: 100},
			column{name: "Shard", from: "shard_index", width: 75},
			column{name: "IDaaS instance", from: "instance_id"},
			column{name: "API", from: "api_endpoint"},
			column{name: "Targets", expr: byProcess("idaas_poll_targets"), unit: "locale", width: 85},
			column{name: "In progress", expr: byProcess("idaas_poll_targets_in_progress"), unit: "locale", width: 105},
			column{name: "Last cycle", expr: "time() - " + byProcess("idaas_poll_last_cycle_timestamp_seconds"), unit: "dtdhmss", width: 120},
			column{name: "Next cycle", expr: per("max by (job, instance) (%s)", ahead("idaas_poll_next_cycle_timestamp_seconds", process)), unit: "dtdhmss", width: 120},
			column{name: "Interval", expr: byProcess("idaas_poll_interval_seconds"), unit: "dtdhmss", width: 120},
			column{name: "Rate limit", expr: byProcess("idaas_api_rate_limit"), unit: "reqps", width: 100},
			column{name: "Settings age", expr: "time() - " + byProcess("idaas_config_last_reload_success_timestamp_seconds"), unit: "dtdhmss", width: 120},
			job()).
			about("max by (job, instance, version) (idaas_token_exporter_build_info"+process+")",
				"max by (job, instance, shard_index) (idaas_shard_index"+process+" == 1)",
				"max by (job, instance, instance_id, api_endpoint) (idaas_instance_info"+process+")"),
		series("Memory", "Resident memory of each process, and of it the heap that Go has allocated.",
			12, "bytes", query{ofProcess("process_resident_memory_bytes"), "{{instance}} resident"}, query{ofProcess("go_memstats_heap_alloc_bytes"), "{{instance}} heap"}),
		counts("Goroutines", "Goroutines of each process; a number that only grows is a leak.",
			6, query{ofProcess("go_goroutines"), "{{instance}}"}),
		series("CPU", "CPU cores used by each process.",
			6, "none", query{per("rate(process_cpu_seconds_total%[1]s[$__rate_interval]) and on (job, instance) idaas_token_exporter_build_info%[1]s", process), "{{instance}}"}),
	)
}

// about adds queries to a table only for their labels.
func (p *panel) about(exprs ...string) *panel {
	hidden := p.Transformations[1]["options"].(object)["excludeByName"].(object)
	for _, expr := range exprs {
		p.ask("table", true, query{expr: expr})
		hidden["Value #"+p.Targets[len(p.Targets)-1].RefID] = true
	}
	return p
}
