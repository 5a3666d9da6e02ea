package main

import (
	"slices"
	"strings"
)

func exporter() dashboard {
	return newDashboard(exporterUID, "IDaaS token exporter",
		"Whether the token data is complete and current: targets that cannot be read, processes, schedules, walks, API requests. "+
			"Rates are averages over at least 20 minutes.",
		object{"title": "IDaaS tokens", "url": "/d/" + tokensUID, "tooltip": "Who is or will soon be without a token"}, nil,
		slices.Concat([]*panel{
			missing(10),
			stat("Data", "Read: share of the watched targets whose latest walk was complete. Oldest: age of the oldest data, and the same in "+
				"poll intervals of its target. Up to 2 intervals are normal.", 8, "dtdhms", "no data",
				query{"avg(" + facts("idaas_poll_success") + ")", "read"},
				query{"max(min " + merged + "(time() - " + facts("idaas_poll_last_success_timestamp_seconds") + "))", "oldest"},
				query{"max(min " + merged + "((time() - " + facts("idaas_poll_last_success_timestamp_seconds") +
					") / idaas_poll_target_interval_seconds))", "intervals"}).
				override("read", property("unit", "percentunit")).override("intervals", property("unit", "none"), property("decimals", 1)).blind(),
			stat("In this time range", "Failed: walks that failed. A failed walk changes nothing; the target keeps its last data. Throttled: "+
				"requests that the API refused because there were too many.", 6, "locale", "no data",
				query{"round(sum(increase(" + process("idaas_poll_failures_total") + "[$__range])))", "failed"},
				query{"round(sum(increase(" + process("idaas_api_throttled_total") + "[$__range])))", "throttled"}).blind(),
			failing(), processes(),
		}, walks(), []*panel{folded("API", requests()...), folded("Memory and CPU", runtime()...)})...)
}

// rate of a counter per second, over all processes.
func rate(metric, by string) string {
	return per("sum by(%s)(rate(%s[$__rate_interval]))", by, process(metric))
}

// quantiles are of a histogram, classic or native.
func quantiles(metric, by, legend string) (list []query) {
	for _, q := range [][2]string{{"0.5", "p50"}, {"0.99", "p99"}} {
		list = append(list,
			query{per("histogram_quantile(%s, %s) >= 0", q[0], rate(metric+"_bucket", strings.Trim("le,"+by, ","))), q[1] + legend},
			query{per("histogram_quantile(%s, %s) >= 0", q[0], rate(metric, by)), q[1] + legend})
	}
	return list
}

// byProcess is one value for each process.
func byProcess(metric string) string { return "max by(job,instance)(" + process(metric) + ")" }

func failing() *panel {
	of := func(metric, also string) string {
		return metric + `{consumer=~"$consumer"} and ignoring(` + also + `) idaas_poll_error`
	}
	return table("Targets that cannot be read", "Targets whose latest walk failed, with the reason. Data age: time since the last complete "+
		"walk, which gave the numbers and the state that are shown.",
		"no watched target fails", 24, 7, []string{"-Data age"},
		column{expr: "group " + merged + "(" + facts("idaas_poll_error") + ")"},
		column{name: "Reason", from: "reason", width: 120, maps: reasons},
		column{
			name: "Data age", unit: "dtdhms", width: timeWidth, empty: "never read",
			expr: "time() - " + most(of("idaas_poll_last_success_timestamp_seconds", "reason")),
		},
		only("Consumer", "consumer", "consumer"), only("Provider", "credential_provider", "provider"),
		column{name: "State", from: "state", maps: stateMaps(), width: 105, expr: group(of("idaas_target_state", "state,reason"))},
		statusPage(of("idaas_poll_success", "reason")),
	)
}

func processes() *panel {
	labels := func(metric, label string) string { return "group by(job,instance," + label + ")(" + metric + ")" }
	yesNo := func(yes, no string) []object { return []object{shown("1", yes, "green"), shown("0", no, "red")} }
	return table("Processes", "Every exporter process of the last day. Down: it does not answer. Gone: Prometheus does not scrape it any "+
		"more. Both show the number of targets that they had. State file: - if none is used.",
		"no exporter was scraped within a day", 24, 7, []string{"Up", "Instance"},
		column{expr: "max by(job,instance)(" + lastDay("idaas_token_exporter_build_info") + ")"},
		column{name: "Up", width: 75, empty: "gone", maps: yesNo("up", "down"), expr: byProcess("up")},
		column{name: "Instance", from: "instance", width: 180},
		column{name: "Shard", from: "shard_index", width: 70, expr: labels(lastDay("idaas_shard_index"), "shard_index")},
		column{name: "Targets", unit: "locale", width: 85, expr: "max by(job,instance)(" + lastDay("idaas_poll_targets") + ")"},
		column{name: "In progress", unit: "locale", width: 110, expr: byProcess("idaas_poll_targets_in_progress")},
		column{name: "Rate limit", unit: "reqps", width: 105, expr: byProcess("idaas_api_rate_limit")},
		column{
			name: "Clock skew", unit: "s", width: 105, expr: byProcess("idaas_api_clock_skew_seconds"),
			steps: []step{{color: "text"}, {60, "red"}},
		},
		column{
			name: "Access token", unit: "dtdhms", width: timeWidth,
			expr: byProcess("idaas_access_token_expiration_timestamp_seconds") + " - time()",
		},
		column{
			name: "Targets file", width: 110, maps: yesNo("accepted", "refused"), expr: byProcess("idaas_config_last_reload_successful"),
		},
		column{
			name: "State file", width: 100, maps: yesNo("written", "not written"),
			expr: byProcess("idaas_state_last_write_successful"),
		},
		column{name: "Version", from: "version", width: 100, expr: labels(process("idaas_token_exporter_build_info"), "version")},
		column{name: "IDaaS instance", from: "instance_id", width: 290, expr: labels(process("idaas_instance_info"), "instance_id")},
	)
}

func walks() []*panel {
	hourly := func(metric, by string) string { return "3600 * " + rate(metric, by) + " > 0" }
	return []*panel{
		row("Walks"),
		series("Age of the oldest data", "Above two poll intervals and 10 minutes data is stale. The limit is that of the longest interval.", 8,
			"suffix: min",
			query{"(time() - min(" + facts("idaas_poll_last_success_timestamp_seconds") + ")) / 60", "oldest"},
			query{"max(" + process("idaas_poll_interval_seconds") + ") / 30 + 10", "limit"}).dashed("limit").coarse(),
		counts("Failing targets", "Targets whose latest walk failed.", 8,
			query{"count(group without(instance,pod,node,host,reason)(" + facts("idaas_poll_error") + "))", "failing"}).
			paint("failing", "orange").custom("showPoints", "always").with("noValue", "no watched target failed"),
		series("Failures per hour", "Failed walks, and failed requests for the exporter's own access token, by reason. Only reasons that "+
			"occur are drawn.", 8, "none",
			query{hourly("idaas_poll_failures_total", "reason"), "{{reason}}"},
			query{hourly("idaas_access_token_failures_total", "reason"), "access token: {{reason}}"}).
			with("noValue", "no failure").custom("showPoints", "always"),
		series("Duration of complete walks", "Median and 99th percentile over the targets.", 8, "s",
			quantiles("idaas_poll_duration_seconds", "", "")...),
		counts("Targets in progress", "Targets queued or being walked.", 8,
			query{"sum(" + process("idaas_poll_targets_in_progress") + ")", "in progress"}),
		series("Lag by schedule", "How long the oldest scheduled poll is queued or in progress. Above the interval of the schedule the "+
			"exporter does not keep up.", 8, "s",
			query{"max by(schedule)(" + process("idaas_poll_lag_seconds") + ")", "{{schedule}}"}).custom("axisSoftMax", 60),
		schedules(), differing(),
	}
}

func schedules() *panel {
	of := func(metric string) string { return "(job,schedule)(" + process(metric) + ")" }
	return table("Schedules", "Skipped: targets that were still queued or being walked at their next scheduled time, in the chosen time "+
		"range. The schedule is then too tight.", "no data", 10, 7, []string{"Schedule"},
		column{name: "Schedule", from: "schedule", width: 124},
		column{name: "Targets", unit: "locale", width: 80, expr: "sum by" + of("idaas_poll_schedule_targets")},
		column{name: "Interval", unit: "dtdhms", width: 110, expr: "max by" + of("idaas_poll_interval_seconds")},
		column{name: "Next", unit: "dtdhms", width: 110, expr: "min by" + of("idaas_poll_next_cycle_timestamp_seconds") + " - time()"},
		column{name: "Lag", unit: "dtdhms", width: 110, expr: "max by" + of("idaas_poll_lag_seconds")},
		column{
			name: "Skipped", unit: "locale", width: 82,
			expr: "round(sum by(job,schedule)(increase(" + process("idaas_poll_skipped_total") + "[$__range])))",
		},
	)
}

func differing() *panel {
	return table("Counts that differ from the API's", "The 20 targets with the largest difference, of those where the walk counted over "+
		"2 % more or fewer tokens than the API reports. A difference that stays means that pages are missed.",
		"all counts agree", 14, 7, []string{"-Difference"},
		column{
			name: "Difference", unit: "percentunit", width: 110, steps: plain("orange"),
			expr: "topk(20," + most("abs("+facts("idaas_authentication_tokens")+" / idaas_poll_reported_tokens - 1) > 0.02") + ")",
		},
		only("Consumer", "consumer", "consumer"), only("Provider", "credential_provider", "provider"),
	)
}

func requests() []*panel {
	relative := func(metric string) string { return rate(metric, "") + " / " + rate("idaas_api_requests_total", "") }
	return []*panel{
		series("Requests", "HTTP requests to IDaaS by operation and code, each attempt counted.", 8, "reqps",
			query{rate("idaas_api_requests_total", "operation,code") + " > 0", "{{operation}} {{code}}"}),
		series("Latency", "Median and 99th percentile by operation.", 8, "s",
			quantiles("idaas_api_request_duration_seconds", "operation", " {{operation}}")...),
		series("Rate limit in use", "Requests relative to the rate limit of the deployment.", 8, "percentunit",
			query{rate("idaas_api_requests_total", "") + " / sum(" + process("idaas_api_rate_limit") + ")", "in use"}).
			custom("axisSoftMax", 1),
		series("Throttled and retried", "Throttled requests, and requests repeated after a failure, relative to all requests. Above 5 % "+
			"throttled the rate limit is too high.", 8, "percentunit",
			query{relative("idaas_api_throttled_total"), "throttled"}, query{relative("idaas_api_retries_total"), "retried"}).
			custom("axisSoftMax", 0.05),
		series("Waiting by cause", "Requests that wait at a time: for the rate limit (limiter), because the API demands it (hint), or "+
			"between retries (backoff).", 8, "none",
			query{rate("idaas_api_wait_seconds_total", "cause"), "{{cause}}"}),
		series("Clock skew", "Clock of the server minus the clock of the process: the highest and the lowest of all processes.", 8, "s",
			query{"max(" + process("idaas_api_clock_skew_seconds") + ")", "highest"},
			query{"min(" + process("idaas_api_clock_skew_seconds") + ")", "lowest"}),
	}
}

func runtime() []*panel {
	// Other programs have these metrics, too.
	const ours = " and on(job,instance) idaas_token_exporter_build_info"
	return []*panel{
		series("Memory", "Resident memory of each process.", 8, "bytes",
			query{process("process_resident_memory_bytes") + ours, "{{instance}}"}),
		series("CPU", "CPU cores used by each process.", 8, "none",
			query{"rate(" + process("process_cpu_seconds_total") + "[$__rate_interval])" + ours, "{{instance}}"}),
		counts("Goroutines", "A number that only grows is a leak.", 8, query{process("go_goroutines") + ours, "{{instance}}"}),
	}
}
