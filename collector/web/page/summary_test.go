package page

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

var jsonIndent = jsontext.WithIndent("  ")

func escaped(s string) string { return url.QueryEscape(s) }

// executed is what one of the page's templates makes of data.
func executed(t *testing.T, name string, data any) string {
	t.Helper()
	var out strings.Builder
	if err := markup.ExecuteTemplate(&out, name, data); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestSummary(t *testing.T) {
	fresh := func(now time.Time, c *poller.Census) { expiring(c, now.Add(20*day)) }
	risky := func(now time.Time, c *poller.Census) { expiring(c, now.Add(2*day)) }
	ending := func(now time.Time, c *poller.Census) { expiring(c, now.Add(day)) }
	lost := func(now time.Time, c *poller.Census) { c.Revoked, c.History = 1, steady(now.Add(-time.Hour)) }
	stale := func(now time.Time, c *poller.Census) { fresh(now, c); c.ReadAt = now.Add(-20*time.Minute - 1) }
	type census = func(now time.Time, c *poller.Census)
	type target struct {
		census
		failure poller.Reason
	}
	for _, tt := range []struct {
		name               string
		targets            []target
		level              poller.State
		text, current, age string
	}{
		{"no targets", nil, poller.Unknown, "No targets", "No", "0 of 0 targets up to date"},
		{"at the start", []target{{}}, poller.Unknown, "1 target not read yet", "No", "0 of 1 target up to date"},
		{"all fresh", []target{{fresh, ""}}, poller.OK, "No target at risk", "Yes", "1 of 1 target up to date, oldest data 1 min old"},
		{
			"some failing, not for long",
			[]target{{fresh, "connection"}, {fresh, ""}},
			poller.OK,
			"No target at risk", "Yes", "2 of 2 targets up to date, oldest data 1 min old; 1 target failing, for up to 1 h",
		},
		{
			"all failing",
			[]target{{fresh, "connection"}, {nil, "forbidden"}},
			poller.Unknown, "API failing since 1999-12-31 23:00:00 UTC",
			"Partly", "1 of 2 targets up to date, oldest data 1 min old; 2 targets failing, for up to 1 h",
		},
		{
			"refused",
			[]target{{nil, "forbidden"}},
			poller.Unknown,
			"1 target cannot be read: forbidden", "No", "0 of 1 target up to date; 1 target failing, for up to 1 h",
		},
		{
			"refused after a walk, others not found or not read",
			[]target{{fresh, "forbidden"}, {nil, "forbidden"}, {nil, "not_found"}, {nil, ""}},
			poller.Unknown, "2 targets cannot be read: forbidden, 1 target cannot be read: not_found, 1 target not read yet",
			"Partly", "1 of 4 targets up to date, oldest data 1 min old; 3 targets failing, for up to 1 h",
		},
		{
			"stale",
			[]target{{fresh, ""}, {stale, ""}},
			poller.Unknown,
			"Data of 1 target stale", "Partly", "1 of 2 targets up to date, oldest data 20 min old",
		},
		{
			"not read yet",
			[]target{{fresh, ""}, {}},
			poller.Unknown,
			"1 target not read yet", "Partly", "1 of 2 targets up to date, oldest data 1 min old",
		},
		{
			"at risk",
			[]target{{risky, ""}, {fresh, ""}},
			poller.AtRisk,
			"1 target at risk", "Yes", "2 of 2 targets up to date, oldest data 1 min old",
		},
		{"paused", []target{{nightly, ""}}, poller.OK, "No target at risk", "Yes", "1 of 1 target up to date, oldest data 1 min old"},
		{
			"everything",
			[]target{{risky, ""}, {risky, ""}, {lost, ""}, {stale, ""}, {ending, ""}},
			poller.Lost,
			"1 target lost, 1 target about to end, 2 targets at risk, data of 1 target stale", "Partly",
			"4 of 5 targets up to date, oldest data 20 min old",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := time.Now()
				s := &poller.Snapshot{Schedules: []poller.Timing{{Last: now, Next: now.Add(5 * time.Minute), Interval: 5 * time.Minute}}}
				for _, target := range tt.targets {
					r := reading("a", "p", target.census)
					if target.failure != "" {
						r.Failure = &poller.Failure{Reason: target.failure, Since: now.Add(-time.Hour), At: now}
					}
					s.Readings = append(s.Readings, r)
				}
				got := newView(Config{Snapshot: func() *poller.Snapshot { return s }}, query{limit: 9}, now).Summary()
				current, age := executed(t, "current", got), executed(t, "age", got)
				if got.Level != tt.level || got.Text != tt.text || current != tt.current || age != tt.age {
					t.Errorf("got %s: %s / %s: %s", got.Level, got.Text, current, age)
				}
			})
		})
	}
	bubble(t, Config{}, func(t *testing.T, page, _ func(string) *httptest.ResponseRecorder) {
		_, next, _ := strings.Cut(page("/?state=ok").Body.String(), "Loses access next")
		next, _, _ = strings.Cut(next, "</div>")
		if !strings.Contains(next, "riskier") || !strings.Contains(next, "in 50 min") || !strings.Contains(next, "2000-01-01 00:50:00 UTC") {
			t.Errorf("next to lose access: %s", next)
		}
	})
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0 s", 999 * time.Millisecond: "0 s", 59*time.Second + 999*time.Millisecond: "59 s", time.Minute: "1 min",
		time.Hour - 1: "59 min", time.Hour: "1 h", 10*time.Hour + 10*time.Minute: "10 h 10 min", day - 1: "23 h 59 min",
		day: "1 day", 2*day - 1: "1 day 23 h", 2 * day: "2 days", 2*day + 5*time.Hour: "2 days 5 h", 14*day - 1: "13 days 23 h",
		14*day + time.Hour: "14 days", 100*day - 1: "99 days", 100 * day: "3 months", 729 * day: "23 months", 730 * day: "2 years",
		1<<63 - 1: "292 years",
	} {
		if got := duration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestTimeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		s := &poller.Snapshot{Readings: []*poller.Reading{
			reading("busy", "p", func(now time.Time, c *poller.Census) {
				c.NeverExpiring = 1
				for i := range 1200 {
					c.Expirations = append(c.Expirations, now.Add(time.Duration(i)*time.Second+time.Millisecond).UnixMilli())
				}
				c.Expirations = append(c.Expirations, now.Add(40*day).UnixMilli())
			}),
			reading("risky", "p", func(now time.Time, c *poller.Census) { expiring(c, now.Add(10*time.Minute), now.Add(2*time.Hour)) }),
		}}
		charts := newView(Config{Snapshot: func() *poller.Snapshot { return s }}, query{limit: 9}, now).Charts()
		for i, want := range []string{
			"Next 24 hours, 1202 active tokens expiring, 2 of targets at risk; 0 s to 1 h from now: 1201, 1 of targets at risk; " +
				"1 h to 2 h from now: 1, 1 of targets at risk, including the last token of such a target",
			"Next 7 days, 1202 active tokens expiring, 2 of targets at risk; " +
				"0 s to 6 h from now: 1202, 2 of targets at risk, including the last token of such a target",
			"Next 30 days, 1202 active tokens expiring, 2 of targets at risk; " +
				"0 s to 1 day from now: 1202, 2 of targets at risk, including the last token of such a target",
		} {
			if got := executed(t, "chart", charts[i]); got != want {
				t.Errorf(" got %s\nwant %s", got, want)
			}
			for _, b := range charts[i].Bars {
				if b.X < 0 || b.X+b.Width > chartWidth || b.Y < chartTop || b.Y+b.Height != chartBase ||
					b.Height < 3 || b.RiskHeight > b.Height {
					t.Errorf("%s: a bar out of the picture: %+v", charts[i].Title, b)
				}
			}
		}
		if got := charts[0].Bars[0].Label + " " + charts[0].Bars[1].Label; got != "1k 1" {
			t.Errorf("over the bars: %s", got)
		}
	})
}
