package prometheus

import (
	"fmt"
	"strings"
	"time"
)

// crowd is a company with n targets. In trouble, of each hundred the first ten are in one state each. The lost one, the unknown one and
// the next one are not read.
type crowd struct {
	n       int
	shard   int
	shards  int
	trouble bool
	start   time.Time
}

var stateNames = []string{"lost", "about_to_end", "overdue", "not_renewed", "at_risk", "unknown", "ok", "paused", "empty", "retired"}

// metrics is what an exporter exposes: the process, then each target.
func (c crowd) metrics(now time.Time) string {
	var out strings.Builder
	metric := func(name, labels string, value float64) { fmt.Fprintf(&out, "idaas_%s{%s} %f\n", name, labels, value) }
	unix := float64(now.UnixMilli()) / 1000
	ticks := now.Sub(c.start).Seconds() // counters grow by one each second
	wrong := map[bool]float64{c.trouble: 1}[true]

	metric("token_exporter_build_info", `version="1"`, 1)
	metric("shard_index", fmt.Sprintf(`shard_index="%d"`, c.shard), 1)
	metric("shards", "", float64(c.shards))
	metric("instance_info", `instance_id="idaas_ue2jvisn35ea5lmthk267demo01",api_endpoint="https://api"`, 1)
	metric("poll_targets", "", float64(c.n))
	metric("poll_targets_in_progress", "", 1)
	for _, gauge := range []string{"poll_interval_seconds", "poll_lag_seconds", "poll_schedule_targets"} {
		metric(gauge, `schedule="@every 5m"`, 300)
	}
	metric("poll_next_cycle_timestamp_seconds", `schedule="@every 5m"`, unix+60)
	metric("poll_skipped_total", `schedule="@every 5m"`, ticks)
	for _, reason := range []string{"forbidden", "timeout"} {
		metric("poll_failures_total", fmt.Sprintf("reason=%q", reason), ticks)
		metric("access_token_failures_total", fmt.Sprintf("reason=%q", reason), ticks)
	}
	metric("api_requests_total", `operation="list",code="200"`, 10*ticks)
	metric("api_retries_total", "", ticks)
	metric("api_throttled_total", "", ticks)
	metric("api_wait_seconds_total", `cause="limiter"`, ticks)
	metric("api_rate_limit", "", 3)
	metric("api_clock_skew_seconds", "", 0.1)
	metric("access_token_expiration_timestamp_seconds", "", unix+600)
	metric("config_last_reload_successful", "", 1)
	metric("state_last_write_successful", "", 1)
	metric("provider_discovery_success", "", 1-wrong)
	metric("consumers_unwatched", "", 3*wrong)
	for _, h := range [][2]string{{"poll_duration_seconds", ""}, {"api_request_duration_seconds", `operation="list",`}} {
		metric(h[0]+"_bucket", h[1]+`le="1"`, ticks)
		metric(h[0]+"_bucket", h[1]+`le="+Inf"`, ticks)
	}
	fmt.Fprintf(&out, "process_resident_memory_bytes 3e7\nprocess_cpu_seconds_total %f\ngo_goroutines 20\n", ticks/10)

	for i := range c.n {
		state := "ok"
		switch {
		case c.trouble && i%100 < len(stateNames):
			state = stateNames[i%100]
		case i%10 == 7:
			state = "paused"
		}
		c.target(metric, i, state, unix)
	}
	return out.String()
}

func (c crowd) target(metric func(name, labels string, value float64), i int, state string, unix float64) {
	const day = 86400.0
	// Ids have 40 letters.
	target := fmt.Sprintf(`consumer="app_%036d",credential_provider="google_workspace_calendar_oauth_sandbox_%d"`, i, i%10)
	gauge := func(name string, value float64, more ...string) {
		metric(name, strings.Join(append([]string{target}, more...), ","), value)
	}
	tokens := func(name string, value float64, more ...string) { gauge("authentication_tokens"+name, value, more...) }
	stale := c.trouble && i%100 == 10
	gauge("target_state", 1, fmt.Sprintf("state=%q", state))
	success := 1.0
	gauge("poll_target_interval_seconds", 300)
	if state == "unknown" || state == "lost" || stale {
		success = 0
		gauge("poll_error", 1, `reason="timeout"`)
	}
	gauge("poll_success", success)
	if state == "unknown" {
		return
	}
	gauge("target_state_since_timestamp_seconds", unix-day)
	read := unix - float64(i%300)
	if stale {
		read = unix - day
	}
	gauge("poll_last_success_timestamp_seconds", read)
	active, lifetime, end := 2.0, 900.0, unix+float64(20+i%60)*day/2
	if i%3 == 0 {
		lifetime = 90 * day
	}
	switch state {
	case "lost", "overdue", "paused", "retired", "empty":
		active, end = 0, unix-day
	}
	reported := active + 4
	if stale {
		reported = 1
	}
	tokens("", active+4)
	tokens("_active", active)
	tokens("_expired", 3)
	tokens("_revoked", 1)
	tokens("_without_expiration", 0)
	tokens("_lifetime_seconds", lifetime)
	tokens("_last_active_timestamp_seconds", end)
	tokens("_usual_pause_seconds", 0)
	tokens("_history_start_timestamp_seconds", unix-35*day)
	tokens("_newest_issue_timestamp_seconds", end-lifetime)
	if active > 0 {
		tokens("_latest_expiration_timestamp_seconds", end)
		tokens("_earliest_expiration_timestamp_seconds", end)
		tokens("_renewal_expected_timestamp_seconds", end-lifetime/4)
	} else {
		tokens("_next_expected_timestamp_seconds", unix+day/2)
	}
	for _, window := range []string{"1h", "1d", "7d", "30d"} {
		tokens("_expiring", active/2, fmt.Sprintf("within=%q", window))
	}
	gauge("poll_reported_tokens", reported)
	gauge("target_info", 1, `token_type="jwt"`, `consumer_type="custom"`)
}
