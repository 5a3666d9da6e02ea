package config

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// The values of an entry precede those of its provider, and these the settings; also for discovered targets.
func TestOwnThresholds(t *testing.T) {
	text := `
targets:
  - {consumer: a, credential_providers: [p, q], lost_after: 1h}
  - {consumer: b, credential_providers: all, at_risk_before: '10%, 2d'}
  - {consumer: c, credential_providers: [p]}
credential_providers:
  p: {expiring_within: [5m, 15m], at_risk_before: '50.5%,30d', about_to_end_before: '1%,10m', lost_after: 30m}
  unused: {lost_after: 30m}
`
	t.Chdir(t.TempDir())
	if err := os.WriteFile("targets.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, minimal("IDAAS_TARGETS=d:q", "IDAAS_TARGETS_FILE=targets.yaml", "IDAAS_LOST_AFTER=20m", "IDAAS_AT_RISK_BEFORE=30%,3d",
		"IDAAS_MANAGEMENT_ENDPOINT=https://eiam.example.com"))
	var got []string
	for _, x := range found(t, c, []poller.Listed{{Identifier: "p"}, {Identifier: "r"}}) {
		h := x.Thresholds
		got = append(got, fmt.Sprint(x.Consumer, x.Provider, " ", len(x.Windows), " ", h.AtRisk, h.AboutToEnd, h.LostAfter, h.LostAlone))
	}
	want := []string{
		"dq 4 {0.3 72h0m0s} {0.05 24h0m0s} 20m0s false",
		"ap 2 {0.505 720h0m0s} {0.01 10m0s} 1h0m0s true",
		"aq 4 {0.3 72h0m0s} {0.05 24h0m0s} 1h0m0s true",
		"cp 2 {0.505 720h0m0s} {0.01 10m0s} 30m0s true",
		"bp 2 {0.1 48h0m0s} {0.01 10m0s} 30m0s true",
		"br 4 {0.1 48h0m0s} {0.05 24h0m0s} 20m0s false",
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

// A schedule that YAML does not read is reported as one without quotes, with its line.
func TestSchedulesWithoutQuotes(t *testing.T) {
	for _, entry := range []string{
		"poll_schedule: @hourly", "poll_schedule: */5 * * * *", "poll_schedule:   * * * * * # all", "poll_schedule: &fast @every 1m",
		"{consumer: a, poll_schedule: @hourly}", "poll_schedule:\n  */5 * * * *",
	} {
		_, err := fileTargets(t, false, "a:p", "x-first:\n  "+entry+"\n")
		if line := 1 + strings.Count("\n"+entry, "\n"); err == nil ||
			!strings.HasPrefix(err.Error(), fmt.Sprintf("targets.yaml: line %d: ", line)) ||
			!strings.HasSuffix(err.Error(), "; put it in quotes") {
			t.Errorf("%s: %v", entry, err)
		}
	}
	for _, entry := range []string{"poll_schedule: *fast", "poll_schedule: '@hourly", "poll_schedule:\t%", "a@b: [*\n"} {
		_, err := fileTargets(t, false, "a:p", "x-first:\n  "+entry+"\n")
		if err == nil || strings.Contains(err.Error(), "quotes") && entry != "a@b: [*\n" {
			t.Errorf("%s: %v", entry, err)
		}
	}
}

// The schedule of an entry precedes that of its provider, and this IDAAS_POLL_SCHEDULE.
func TestOwnSchedules(t *testing.T) {
	t.Chdir(t.TempDir())
	text := `
targets:
  - {consumer: a, credential_providers: [p, q], poll_schedule: "*/5 * * * *"}
  - {consumer: b, credential_providers: all, poll_schedule: &every '@every 1m'}
  - {consumer: c, credential_providers: [p, q]}
credential_providers:
  p: {poll_schedule: 0 4 * * *}
`
	if err := os.WriteFile("targets.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, minimal("IDAAS_TARGETS=d:q", "IDAAS_TARGETS_FILE=targets.yaml", "IDAAS_MANAGEMENT_ENDPOINT=https://eiam.example.com"))
	var got []string
	for _, x := range found(t, c, []poller.Listed{{Identifier: "p"}}) {
		got = append(got, fmt.Sprint(x.Consumer, x.Provider, " ", x.Schedule.Text, " ", x.Found))
	}
	if text, want := strings.Join(got, ", "), "dq  false, ap */5 * * * * false, aq */5 * * * * false, cp 0 4 * * * false, cq  false, "+
		"bp @every 1m true"; text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

const schedules = "; accepted: '*/5 * * * *', '@hourly', '@every 90s'"

// providers returns lines for n credential providers with a schedule each.
func providers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  p%02d: {poll_schedule: '%d * * * *'}\n", i, 1+i)
	}
	return b.String()
}
