// Package collector shows a poller's snapshot, and what the exporter does, as Prometheus metrics.
package collector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const (
	namespace = "idaas"
	cached    = " Cached since the target's last complete walk, evaluated at scrape time."
)

// Labels of some series of a target; their addresses are used.
var within, reason, stateLabel = "within", "reason", "state"

// Facts of one target as of its last complete walk.
var (
	tokens            = perTarget("authentication_tokens", "All authentication tokens: active, expired and revoked."+cached)
	active            = perTarget("authentication_tokens_active", "Tokens neither revoked nor expired. Between walks tokens are seen to end but not to be replaced: this sags until the next."+cached)
	expired           = perTarget("authentication_tokens_expired", "Tokens expired and not revoked."+cached)
	revoked           = perTarget("authentication_tokens_revoked", "Revoked tokens, expired or not."+cached)
	expiring          = perTarget("authentication_tokens_expiring", "Active tokens that expire within the window. Windows are cumulative: a sum over them means nothing."+cached, within)
	withoutExpiration = perTarget("authentication_tokens_without_expiration", "Active tokens that never expire."+cached)
	earliest          = perTarget("authentication_tokens_earliest_expiration_timestamp_seconds", "When the first active token expires; absent when none does."+cached)
	latest            = perTarget("authentication_tokens_latest_expiration_timestamp_seconds", "When the last active token is gone; absent when none is active or one never expires."+cached)
	lifetime          = perTarget("authentication_tokens_lifetime_seconds", "Expiration minus issue of the active token that expires last, carried on after it ended; absent while unknown.")
	newestIssue       = perTarget("authentication_tokens_newest_issue_timestamp_seconds", "Latest issue among the tokens active at the last complete walk; absent while unknown.")
	lastActive        = perTarget("authentication_tokens_last_active_timestamp_seconds", "End of the last complete walk that saw an active token or, once they have passed, the expiration of the last of those; absent if none was ever seen.")
	historyStart      = perTarget("authentication_tokens_history_start_timestamp_seconds", "Since when it is known when a token was active: at most 35 days, without the running pause; absent while unknown.")
	usualPause        = perTarget("authentication_tokens_usual_pause_seconds", "Usual time without an active token: the third-longest of the history, or the longest in its first three weeks; 0 if there is none, absent under 12 hours of history.")
	nextExpected      = perTarget("authentication_tokens_next_expected_timestamp_seconds", "By when a new token is expected; absent while a token is active.")
	renewalExpected   = perTarget("authentication_tokens_renewal_expected_timestamp_seconds", "By when the next token is expected while one is active; absent unless the usual reserve of renewals is known.")
	state             = perTarget("target_state", "1 under the state of the target: unknown, empty, retired, lost, overdue, paused, about_to_end, not_renewed, at_risk or ok.", stateLabel)
	stateSince        = perTarget("target_state_since_timestamp_seconds", "Since when the target is in its state, by the times of its tokens; absent while unknown.")
	targetInfo        = perTarget("target_info", "1, labelled with what the token issued last says of the target; absent until a token was seen.", "credential_provider_id", "token_type", "consumer_type")
)

// The walks of one target.
var (
	pollSuccess = perTarget("poll_success", "1 if the target's latest walk was complete, else 0; absent until one has ended.")
	pollError   = perTarget("poll_error", "1 while the target's latest walk failed for that reason; absent otherwise.", reason)
	lastSuccess = perTarget("poll_last_success_timestamp_seconds", "End of the target's last complete walk; absent until there was one.")
	reported    = perTarget("poll_reported_tokens", "The API's own totalCount at the last complete walk, to compare with the tokens walked; absent when it sent none.")
)

// The schedule.
var (
	pollTargets = plain("poll_targets", "Targets of this process.")
	inProgress  = plain("poll_targets_in_progress", "Targets queued or being walked.")
	lastCycle   = plain("poll_last_cycle_timestamp_seconds", "Latest due time of the schedule.")
	nextCycle   = plain("poll_next_cycle_timestamp_seconds", "Next due time of the schedule.")
	interval    = plain("poll_interval_seconds", "Time between the latest due time and the next.")
)

// events are the metrics of what happens, and together a Collector. A vector without labels is a gauge that is absent until set.
type events struct {
	*prometheus.Registry
	cycles, skipped, fallbacks                  prometheus.Counter
	retries, throttled                          prometheus.Counter
	pollFailures, requests, wait, tokenFailures *prometheus.CounterVec
	pollDuration                                prometheus.Histogram
	requestDuration                             *prometheus.HistogramVec
	rateLimit, pageSize, shards, shardIndex     *prometheus.GaugeVec
	skew, tokenExpiration, instance             *prometheus.GaugeVec
	reloadOK, reloadTime, stateOK, stateTime    *prometheus.GaugeVec
	discoveryOK, discoveryTime                  *prometheus.GaugeVec
}

func newEvents() *events {
	registry := prometheus.NewRegistry()
	m := maker{promauto.With(registry)}
	return &events{
		Registry:        registry,
		pollFailures:    m.counters("poll_failures_total", "Failed walks.", "reason"),
		pollDuration:    m.NewHistogram(histogram("poll_duration_seconds", "Duration of complete walks.", 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)),
		cycles:          m.counter("poll_cycles_total", "Due times of the schedule that came."),
		skipped:         m.counter("poll_skipped_total", "Targets skipped at a due time because they were still queued or being walked."),
		fallbacks:       m.counter("poll_live_fallbacks_total", "Live walks that did not add up and were walked in full."),
		requests:        m.counters("api_requests_total", "HTTP attempts; code is the status, or error when no answer came.", "operation", "code"),
		requestDuration: m.NewHistogramVec(histogram("api_request_duration_seconds", "Duration of HTTP attempts.", 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10), []string{"operation"}),
		retries:         m.counter("api_retries_total", "Requests sent again."),
		throttled:       m.counter("api_throttled_total", "Answers that said to slow down."),
		wait:            m.counters("api_wait_seconds_total", "Time spent waiting before requests: for the rate limit (limiter), because the API asked for it (hint), between retries (backoff).", "cause"),
		rateLimit:       m.gauges("api_rate_limit", "Requests per second that this process may send."),
		pageSize:        m.gauges("api_page_size", "Tokens per page asked for now: fewer than configured while the API refuses that."),
		skew:            m.gauges("api_clock_skew_seconds", "Server Date minus local clock, good to about a second; absent until known."),
		tokenExpiration: m.gauges("access_token_expiration_timestamp_seconds", "Expiration of the exporter's own access token; absent until known."),
		tokenFailures:   m.counters("access_token_failures_total", "Failed attempts to get an access token.", "reason"),
		instance:        m.gauges("instance_info", "1, labelled with the IDaaS instance and the developer API that is asked.", "instance_id", "api_endpoint"),
		reloadOK:        m.gauges("config_last_reload_successful", "1 if the targets were loaded without a fault the last time, at start or by a reload, else 0."),
		reloadTime:      m.gauges("config_last_reload_success_timestamp_seconds", "When the targets were last loaded without a fault."),
		stateOK:         m.gauges("state_last_write_successful", "1 if the state file was written the last time it had to be, else 0; absent until then."),
		stateTime:       m.gauges("state_last_write_success_timestamp_seconds", "When the state file was last written; absent until it was."),
		discoveryOK:     m.gauges("provider_discovery_success", "1 if the latest list of the credential providers is used, else 0; absent where no target asks for all."),
		discoveryTime:   m.gauges("provider_discovery_last_success_timestamp_seconds", "When the credential providers in use were listed; absent before the first list, and where no target asks for all."),
		shards:          m.gauges("shards", "Processes that share the targets."),
		shardIndex:      m.gauges("shard_index", "1, labelled with which of them this one is.", "shard_index"),
	}
}

// descriptions are those of all the above.
var descriptions []*prometheus.Desc

func perTarget(name, help string, labels ...string) *prometheus.Desc {
	return plain(name, help, append([]string{"consumer", "credential_provider"}, labels...)...)
}

func plain(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
	descriptions = append(descriptions, d)
	return d
}

type maker struct{ promauto.Factory }

func (m maker) counter(name, help string) prometheus.Counter {
	return m.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
}

func (m maker) counters(name, help string, labels ...string) *prometheus.CounterVec {
	return m.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func (m maker) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return m.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

// histogram is classic and native: whichever the scraper asks for.
func histogram(name, help string, buckets ...float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}
}
