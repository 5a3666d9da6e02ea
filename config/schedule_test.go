package config

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // as in main

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

func TestSchedule(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)
	for spec, want := range map[string]time.Time{
		"*/5 * * * *":                      time.Date(2026, 3, 1, 12, 5, 0, 0, time.UTC),
		"0 0 29 2 *":                       time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC),
		"@hourly":                          time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC),
		"CRON_TZ=Asia/Shanghai 0 21 * * *": time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC),
		"TZ=Asia/Shanghai @daily":          time.Date(2026, 3, 1, 16, 0, 0, 0, time.UTC),
		"@every 90s":                       time.Date(2026, 3, 1, 12, 1, 30, 0, time.UTC),
		"@every 1d":                        time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC),
		"@every 7d":                        time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC),
		"@every 1s500ms":                   time.Date(2026, 3, 1, 12, 0, 31, 500_000_000, time.UTC),
		"TZ=UTC   @every 1m":               time.Date(2026, 3, 1, 12, 1, 0, 0, time.UTC),
		"@every  1m":                       time.Date(2026, 3, 1, 12, 1, 0, 0, time.UTC),
	} {
		schedule, err := parseSchedule(spec)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
		} else if got := schedule.Next(now); !got.Equal(want) {
			t.Errorf("%s: next = %v, want %v", spec, got, want)
		}
	}
}

// TestSchedulePanics has texts for which the parser of cron panics.
func TestSchedulePanics(t *testing.T) {
	for _, spec := range []string{
		"TZ=UTC", "CRON_TZ=UTC", "TZ= ", " TZ=UTC", "", "TZ=UTC TZ=UTC", "TZ=UTC CRON_TZ=UTC",
		"TZ=UTC TZ=UTC 0 3 * * *",
	} {
		if schedule, err := parseSchedule(spec); err == nil {
			t.Errorf("%q: %v", spec, schedule)
		}
	}
}

func mustParse(t *testing.T, spec string) poller.Calendar {
	t.Helper()
	schedule, err := parseSchedule(spec)
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return schedule
}

// A skipped time is scheduled at the change; a repeated time is scheduled once, except in hourly schedules.
func TestScheduleWhenClocksAreSet(t *testing.T) {
	for _, c := range []struct{ zone, spec, after, due string }{ // consecutive times in UTC
		// 2:00 to 3:00 is skipped.
		{"America/New_York", "30 2 14 3 *", "2027-03-01T00:00:00Z", "2027-03-14T07:00:00Z 2028-03-14T06:30:00Z"},
		{"America/New_York", "30 2 * * *", "2027-03-13T00:00:00Z", "2027-03-13T07:30:00Z 2027-03-14T07:00:00Z 2027-03-15T06:30:00Z"},
		{"America/New_York", "*/20 2,3 * * *", "2027-03-14T05:00:00Z", "2027-03-14T07:00:00Z 2027-03-14T07:20:00Z 2027-03-14T07:40:00Z " +
			"2027-03-15T06:00:00Z"},
		{"America/New_York", "0 3 * * *", "2027-03-14T05:00:00Z", "2027-03-14T07:00:00Z 2027-03-15T07:00:00Z"},
		{"America/New_York", "@hourly", "2027-03-14T05:30:00Z", "2027-03-14T06:00:00Z 2027-03-14T07:00:00Z 2027-03-14T08:00:00Z"},
		{"America/New_York", "*/30 * * * *", "2027-03-14T06:15:00Z", "2027-03-14T06:30:00Z 2027-03-14T07:00:00Z 2027-03-14T07:30:00Z"},
		// 1:00 to 2:00 is repeated.
		{"America/New_York", "30 1 * * *", "2027-11-07T00:00:00Z", "2027-11-07T05:30:00Z 2027-11-08T06:30:00Z"},
		{"America/New_York", "30 1 * * *", "2027-11-07T06:10:00Z", "2027-11-08T06:30:00Z"},
		{"America/New_York", "*/30 0-2 * * *", "2027-11-07T04:45:00Z", "2027-11-07T05:00:00Z 2027-11-07T05:30:00Z 2027-11-07T07:00:00Z " +
			"2027-11-07T07:30:00Z 2027-11-08T05:00:00Z"},
		{"America/New_York", "@hourly", "2027-11-07T04:30:00Z", "2027-11-07T05:00:00Z 2027-11-07T06:00:00Z 2027-11-07T07:00:00Z"},
		{"America/New_York", "*/30 0-23 7 11 *", "2027-11-07T05:15:00Z", "2027-11-07T05:30:00Z 2027-11-07T06:00:00Z 2027-11-07T06:30:00Z " +
			"2027-11-07T07:00:00Z"},
		{"Europe/Berlin", "30 2 28 3 *", "2027-03-01T00:00:00Z", "2027-03-28T01:00:00Z 2028-03-28T00:30:00Z"},
		{"Europe/Berlin", "30 2 * * 0", "2027-03-27T00:00:00Z", "2027-03-28T01:00:00Z 2027-04-04T00:30:00Z"},
		{"Europe/Berlin", "30 2 31 10 *", "2027-10-01T00:00:00Z", "2027-10-31T00:30:00Z 2028-10-31T01:30:00Z"},
		// Midnight is skipped; in Santiago and Beirut, 23:00 to 24:00 is repeated.
		{"America/Santiago", "@daily", "2027-09-04T00:00:00Z", "2027-09-04T04:00:00Z 2027-09-05T04:00:00Z 2027-09-06T03:00:00Z"},
		{"America/Santiago", "0 0 5 9 *", "2027-01-01T00:00:00Z", "2027-09-05T04:00:00Z 2028-09-05T03:00:00Z"},
		{"America/Santiago", "30 23 * * *", "2027-04-03T12:00:00Z", "2027-04-04T02:30:00Z 2027-04-05T03:30:00Z"},
		{"Africa/Cairo", "@daily", "2027-04-28T23:00:00Z", "2027-04-29T22:00:00Z 2027-04-30T21:00:00Z"},
		{"Africa/Cairo", "15 0 * * 5", "2027-04-29T00:00:00Z", "2027-04-29T22:00:00Z 2027-05-06T21:15:00Z"},
		{"Asia/Beirut", "30 0 * * *", "2027-03-26T23:00:00Z", "2027-03-27T22:00:00Z 2027-03-28T21:30:00Z"},
		{"Asia/Beirut", "@monthly", "2027-10-30T00:00:00Z", "2027-10-31T22:00:00Z 2027-11-30T22:00:00Z"},
		{"Asia/Gaza", "30 2 * * *", "2026-03-27T12:00:00Z", "2026-03-28T00:00:00Z 2026-03-28T23:30:00Z"},
		// Half an hour is skipped or repeated.
		{"Australia/Lord_Howe", "15 2 * * *", "2027-10-02T00:00:00Z", "2027-10-02T15:30:00Z 2027-10-03T15:15:00Z"},
		{"Australia/Lord_Howe", "45 1 * * *", "2027-04-03T00:00:00Z", "2027-04-03T14:45:00Z 2027-04-04T15:15:00Z"},
		{"Australia/Lord_Howe", "*/15 * * * *", "2027-04-03T14:20:00Z", "2027-04-03T14:30:00Z 2027-04-03T14:45:00Z 2027-04-03T15:00:00Z " +
			"2027-04-03T15:15:00Z 2027-04-03T15:30:00Z"},
		// A day was skipped.
		{"Pacific/Apia", "0 12 * * *", "2011-12-29T00:00:00Z", "2011-12-29T22:00:00Z 2011-12-30T10:00:00Z 2011-12-30T22:00:00Z " +
			"2011-12-31T22:00:00Z"},
		{"Pacific/Apia", "0 0 30 12 *", "2011-12-01T00:00:00Z", "2011-12-30T10:00:00Z 2012-12-29T10:00:00Z"},
		{"UTC", "30 2 14 3 *", "2027-03-01T00:00:00Z", "2027-03-14T02:30:00Z 2028-03-14T02:30:00Z"},
		{"UTC", "0 0 29 2 *", "2096-02-01T00:00:00Z", "2096-02-29T00:00:00Z 2104-02-29T00:00:00Z"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		after, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		// The zone of the schedule, or of the process.
		for spec, now := range map[string]time.Time{"CRON_TZ=" + c.zone + " " + c.spec: after, c.spec: after.In(zone), "TZ=Local " +
			c.spec: after.In(zone)} {
			schedule := mustParse(t, spec)
			for _, want := range strings.Fields(c.due) {
				due := schedule.Next(now)
				if got := due.UTC().Format(time.RFC3339); got != want || due.Location() != now.Location() {
					t.Errorf("%s in %s after %v: %s, want %s", spec, now.Location(), now, got, want)
				}
				now = due
			}
		}
	}
}

// In a year, a daily schedule has one time per day and an hourly one a time per hour. Next returns the same time for every
// argument before it.
func TestScheduleOverAYear(t *testing.T) {
	start := time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)
	end := start.AddDate(1, 1, 0)
	for _, name := range []string{
		"America/New_York", "Europe/Berlin", "America/Santiago", "Africa/Cairo", "Asia/Beirut",
		"Australia/Lord_Howe", "Asia/Gaza", "Africa/Casablanca", "America/Nuuk", "Pacific/Apia", "Asia/Kathmandu", "UTC",
	} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		first := start.In(zone).Truncate(time.Minute)
		last := end.In(zone)
		days := int(time.Date(last.Year(), last.Month(), last.Day(), 0, 0, 0, 0, time.UTC).Sub(time.Date(first.Year(), first.Month(),
			first.Day(), 0, 0, 0, 0, time.UTC)).Hours() / 24)
		hours := int(end.Sub(start).Hours())
		for _, hour := range []string{"0", "1", "2", "23"} {
			for _, minute := range []string{"0", "30"} {
				spec := minute + " " + hour + " * * *"
				schedule := mustParse(t, "CRON_TZ="+name+" "+spec)
				n := 0
				for due := schedule.Next(start); !due.After(end); due = schedule.Next(due) {
					n++
					next := schedule.Next(due)
					if pause := next.Sub(due); pause < 22*time.Hour || pause > 26*time.Hour {
						t.Errorf("%s in %s: %v after %v", spec, name, pause, due)
					}
					if from := schedule.Next(due.Add(7 * time.Hour)); !from.Equal(next) {
						t.Errorf("%s in %s: %v after %v, but %v from between", spec, name, next, due, from)
					}
				}
				if n < days-1 || n > days+1 {
					t.Errorf("%s in %s: due %d times in %d days", spec, name, n, days)
				}
			}
		}
		n := 0
		schedule := mustParse(t, "CRON_TZ="+name+" 0 * * * *")
		for due := schedule.Next(start); !due.After(end); due = schedule.Next(due) {
			if due.In(zone).Minute() != 0 {
				t.Errorf("hourly in %s: %v", name, due.In(zone))
			}
			n++
		}
		if name != "Australia/Lord_Howe" && n != hours {
			t.Errorf("hourly in %s: due %d times in %d hours", name, n, hours)
		}
	}
}
