// Package collector exposes a poller's snapshot and the exporter's own events as Prometheus metrics.
package collector

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const (
	namespace = "idaas"
	cached    = " Cached since the target's last complete walk, evaluated at scrape time."
)

// Labels of some series of a target. Their addresses are used.
var within, reason, stateLabel, scheduleLabel = "within", "reason", "state", "schedule"

// The tokens of a target at its last complete walk.
var (
	tokens = perTarget("authentication_tokens", "All authentication tokens: active, expired and revoked."+cached)
	active = perTarget("authentication_tokens_active",
		"Active tokens: neither revoked nor expired. Between walks, expired tokens are subtracted but new ones are unknown."+cached)
	expired = perTarget("authentication_tokens_expired", "Expired tokens that are not revoked."+cached)
	revoked = perTarget("authentication_tokens_revoked", "Revoked tokens, expired or not."+cached)

	expiring = perTarget("authentication_tokens_expiring",
		"Active tokens that expire within the window. Windows are cumulative: do not add them."+cached, within)
	withoutExpiration = perTarget("authentication_tokens_without_expiration", "Active tokens that never expire."+cached)
	earliest          = perTarget("authentication_tokens_earliest_expiration_timestamp_seconds",
		"Expiration of the active token that expires first; absent if none expires."+cached)
	latest = perTarget("authentication_tokens_latest_expiration_timestamp_seconds",
		"Expiration of the active token that expires last; absent if none is active or one never expires."+cached)
	lifetime = perTarget("authentication_tokens_lifetime_seconds",
		"Expiration minus issue of the active token that expires last, kept after its expiration; absent while unknown.")
	newestIssue = perTarget("authentication_tokens_newest_issue_timestamp_seconds",
		"Latest issue of the tokens active at the last complete walk; absent while unknown.")
	lastActive = perTarget("authentication_tokens_last_active_timestamp_seconds",
		"End of the last complete walk with an active token, or the last expiration of its tokens if that has passed; absent if none was found.")
	targetInfo = perTarget("target_info", "1, with labels from the token issued last; absent until a token is found.",
		"credential_provider_id", "token_type", "consumer_type")
)

// The state of a target, and its causes.
var (
	state = perTarget("target_state",
		"1 for the state of the target: unknown, empty, retired, lost, overdue, paused, about_to_end, not_renewed, at_risk or ok.", stateLabel)
	stateSince = perTarget("target_state_since_timestamp_seconds",
		"Start of the state by the times of the tokens, not of the walk that found it; absent while unknown.")
	historyStart = perTarget("authentication_tokens_history_start_timestamp_seconds",
		"Start of the history of active tokens: at most 35 days before the last one ended, or before now; absent while unknown.")
	usualPause = perTarget("authentication_tokens_usual_pause_seconds",
		"Usual time without a token: the third-longest, or the longest in the first three weeks; 0: none; absent under 12 hours of history.")
	nextExpected = perTarget("authentication_tokens_next_expected_timestamp_seconds",
		"Time by which a new token is expected; absent while a token is active.")
	renewalExpected = perTarget("authentication_tokens_renewal_expected_timestamp_seconds",
		"Time by which a renewal is expected; absent without an active token or a usual reserve.")
)

// The walks of a target.
var (
	pollSuccess = perTarget("poll_success", "1 if the latest walk of the target was complete, else 0; absent before the first.")
	pollError   = perTarget("poll_error",
		"1 with the reason while the latest walk of the target is a failed one; absent otherwise.", reason)
	lastSuccess    = perTarget("poll_last_success_timestamp_seconds", "End of the last complete walk of the target; absent before the first.")
	targetInterval = perTarget("poll_target_interval_seconds",
		"Longest usual time between two polls of the target; an hour or more for a discovered target without tokens.")
	reported = perTarget("poll_reported_tokens",
		"The API's totalCount at the last complete walk, to compare with the tokens counted; absent if it sent none.")
)

// The schedules.
var (
	pollTargets     = plain("poll_targets", "Targets of this process.")
	inProgress      = plain("poll_targets_in_progress", "Targets queued or being walked.")
	cycles          = perSchedule("poll_cycles_total", "Scheduled times so far.")
	skipped         = perSchedule("poll_skipped_total", "Targets skipped at a scheduled time because they were still queued or being walked.")
	lastCycle       = perSchedule("poll_last_cycle_timestamp_seconds", "Latest scheduled time.")
	nextCycle       = perSchedule("poll_next_cycle_timestamp_seconds", "Next scheduled time.")
	interval        = perSchedule("poll_interval_seconds", "Time between the latest scheduled time and the next.")
	lag             = perSchedule("poll_lag_seconds", "Time since the oldest scheduled poll that is queued or in progress; 0: none is.")
	scheduleTargets = perSchedule("poll_schedule_targets", "Targets of this process with the schedule.")
)

// What no target watches.
var unwatched = plain("consumers_unwatched",
	"Applications that no entry of the targets takes, of all shards; absent before the first list, and where none is needed.")

// events are the metrics of events. A vector without labels is a gauge that is absent until set.
type events struct {
	registry                                    *prometheus.Registry
	now                                         func() time.Time
	fallbacks, retries, throttled               prometheus.Counter
	pollFailures, requests, wait, tokenFailures *prometheus.CounterVec
	pollDuration                                prometheus.Histogram
	requestDuration                             *prometheus.HistogramVec
	pageSize, skew, tokenExpiration, instance   *prometheus.GaugeVec
	reload, state                               outcome
	discovery                                   [2]outcome // by list
}

// outcome has the result of the latest attempt, and the time of the last one that succeeded.
type outcome struct{ ok, when *prometheus.GaugeVec }

func newEvents(c Config) *events {
	registry := prometheus.NewRegistry()
	m := maker{promauto.With(registry)}
	m.gauges("api_rate_limit", "Maximum requests per second of this process.").WithLabelValues().Set(c.RateLimit)
	m.gauges("shards", "Processes that share the targets.").WithLabelValues().Set(float64(c.ShardCount))
	m.gauges("shard_index", "1, with the index of this process.", "shard_index").WithLabelValues(strconv.Itoa(c.ShardIndex)).Set(1)
	discovery := func(kind, list, only string) outcome {
		return outcome{
			m.gauges(kind+"_discovery_success", "1 if the latest list of "+list+" is in use, else 0; only with "+only+"."),
			m.gauges(kind+"_discovery_last_success_timestamp_seconds",
				"Time of the list of "+list+" in use; absent before the first; only with "+only+"."),
		}
	}
	return &events{
		registry:     registry,
		now:          time.Now,
		pollFailures: m.counters("poll_failures_total", "Failed walks.", "reason"),
		pollDuration: m.NewHistogram(histogram("poll_duration_seconds", "Duration of complete walks.",
			0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)),
		fallbacks: m.counters("poll_live_fallbacks_total", "Live walks whose counts did not add up, followed by a full walk.").WithLabelValues(),
		requests:  m.counters("api_requests_total", "HTTP attempts; code is the status, or error without a response.", "operation", "code"),
		requestDuration: m.NewHistogramVec(histogram("api_request_duration_seconds", "Duration of HTTP attempts.",
			0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10), []string{"operation"}),
		retries:   m.counters("api_retries_total", "Requests that were retried.").WithLabelValues(),
		throttled: m.counters("api_throttled_total", "Throttled requests.").WithLabelValues(),
		wait: m.counters("api_wait_seconds_total",
			"Waiting time before requests: for the rate limit (limiter), after Retry-After (hint), between retries (backoff).", "cause"),
		pageSize: m.gauges("api_page_size", "Requested tokens per page: IDAAS_PAGE_SIZE, or fewer while the API refuses that."),
		skew:     m.gauges("api_clock_skew_seconds", "Date of the server minus local time, ±1 s; absent while unknown."),
		tokenExpiration: m.gauges("access_token_expiration_timestamp_seconds",
			"Expiration of the exporter's access token; absent while unknown."),
		tokenFailures: m.counters("access_token_failures_total", "Failed requests for an access token.", "reason"),
		instance:      m.gauges("instance_info", "1, with the IDaaS instance and the developer API in use.", "instance_id", "api_endpoint"),
		reload: outcome{
			m.gauges("config_last_reload_successful", "1 if the latest load of the targets, at start or by a reload, succeeded, else 0."),
			m.gauges("config_last_reload_success_timestamp_seconds", "Time of the last successful load of the targets."),
		},
		state: outcome{
			m.gauges("state_last_write_successful", "1 if the latest write of the state file succeeded, else 0; absent before the first."),
			m.gauges("state_last_write_success_timestamp_seconds",
				"Time of the last successful write of the state file; absent before the first."),
		},
		discovery: [...]outcome{
			poller.Providers:    discovery("provider", "credential providers", "credential_providers: all"),
			poller.Applications: discovery("consumer", "applications", "consumers or IDAAS_CONSUMER_LABEL=name"),
		},
	}
}

// descriptions are those of the gauges above.
var descriptions []*prometheus.Desc

func perTarget(name, help string, labels ...string) *prometheus.Desc {
	return plain(name, help, append([]string{"consumer", "credential_provider"}, labels...)...)
}

func perSchedule(name, help string) *prometheus.Desc { return plain(name, help, scheduleLabel) }

func plain(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
	descriptions = append(descriptions, d)
	return d
}

type maker struct{ promauto.Factory }

func (m maker) counters(name, help string, labels ...string) *prometheus.CounterVec {
	return m.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func (m maker) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return m.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

// histogram is classic and native.
func histogram(name, help string, buckets ...float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}
}
