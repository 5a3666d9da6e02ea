package page

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// TestSentences has a target in every state. It is 2000-01-01 00:00 UTC.
func TestSentences(t *testing.T) {
	type change = func(now time.Time, c *poller.Census)
	lasting := func(d time.Duration) change { return func(now time.Time, c *poller.Census) { expiring(c, now.Add(d)) } }
	renewed := func(d time.Duration) change {
		return func(now time.Time, c *poller.Census) {
			expiring(c, now.Add(d))
			c.History.Reserves = [10]uint32{23 * 86400, 23 * 86400, 23 * 86400}
		}
	}
	ended := func(ago time.Duration, change change) change {
		return func(now time.Time, c *poller.Census) {
			change(now.Add(2*time.Hour-ago), c)
			c.ReadAt = now.Add(-time.Minute)
		}
	}
	gone := func(ago time.Duration) change {
		return func(now time.Time, c *poller.Census) {
			c.Expired, c.LastActive, c.History = 1, now.Add(-ago).UnixMilli(), steady(now.Add(-ago))
		}
	}
	for _, tt := range []struct {
		change  change
		failure poller.Reason
		want    string
		state   poller.State
	}{
		{nil, "", "Not read yet", poller.Unknown},
		{nil, poller.Forbidden, "Cannot be read: forbidden", poller.Unknown},
		{func(time.Time, *poller.Census) {}, "", "Empty", poller.Empty},
		{gone(80 * day), "", "Retired, no token since 1999-10-13 00:00 UTC", poller.Retired},
		{gone(time.Hour), "", "Lost, no token since 23:00 UTC", poller.Lost},
		{ended(2*time.Hour, nightly), "", "Paused, next token expected by 2000-01-02 20:00 UTC", poller.Paused},
		{ended(45*time.Hour+50*time.Minute, nightly), "", "Paused, next token expected by 00:10 UTC", poller.Paused},
		{ended(46*time.Hour+30*time.Second, nightly), "", "Paused, next token was expected by 23:59 UTC", poller.Paused},
		{ended(48*time.Hour, nightly), "", "Overdue since 22:00 UTC", poller.Overdue},
		{lasting(10 * time.Hour), "", "About to end, last token expires at 10:00 UTC", poller.AboutToEnd},
		{lasting(5 * day), "", "At risk, last token expires at 2000-01-06 00:00 UTC", poller.AtRisk},
		{renewed(11 * day), "", "Not renewed, renewal was expected by 12:00 UTC", poller.NotRenewed},
		{renewed(29 * day), "", "Ok, renewed every 7 days, next renewal expected by 2000-01-18 12:00 UTC", poller.OK},
		{lasting(29 * day), "", "Ok", poller.OK},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := reading("a", "p", tt.change)
			if tt.failure != "" {
				r.Failure = &poller.Failure{Reason: tt.failure}
			}
			row := newRow(r, time.Now(), 5*time.Minute, 0)
			if got := row.Sentence(); got != tt.want || row.Status.State != tt.state {
				t.Errorf("%s: %q, want %s: %q", row.Status.State, got, tt.state, tt.want)
			}
		})
	}
	for _, s := range poller.Urgency() {
		if symbols[s] == "" || reasons[s] == "" {
			t.Errorf("%s has symbol %q and reason %q", s, symbols[s], reasons[s])
		}
	}
}

// TestReadme compares the README's table of states with the page. Rewrite the table with -update.
func TestReadme(t *testing.T) {
	table := "| state | meaning |\n|---|---|\n"
	for _, s := range poller.Urgency() {
		table += fmt.Sprintf("| `%s` | %s |\n", s, reasons[s])
	}
	const file, begin, end = "../../../README.md", "<!-- states -->\n", "<!-- /states -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), begin)
	got, after, ok := strings.Cut(rest, end)
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+table+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if !ok || got != table {
		t.Errorf("the table of states in %s is out of date: run go test ./collector/web/page -update", file)
	}
}

func TestWeeks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := newRow(reading("a", "p", nightly), time.Now(), 5*time.Minute, 0)
		weeks := row.Weeks()
		var got []string
		for _, w := range weeks {
			got = append(got, executed(t, "week", w), fmt.Sprint(strings.Count(w.Active, "z"), strings.Count(w.Paused, "z")))
		}
		const full = ": 7 h with an active token, 161 h without 7 161 "
		want := "week from 1999-11-28" + full + "week from 1999-12-05" + full + "week from 1999-12-12" + full + "week from 1999-12-19" + full +
			"week from 1999-12-26: 6 h with an active token, 138 h without, 1 h unknown 6 138"
		if text := strings.Join(got, " "); text != want {
			t.Errorf(" got %s\nwant %s", text, want)
		}
		for _, change := range []func(time.Time, *poller.Census){nil, func(time.Time, *poller.Census) {}} {
			row := newRow(reading("a", "p", change), time.Now(), 0, 0)
			if row.Weeks() != nil {
				t.Error("weeks without a history")
			}
		}
	})
}
