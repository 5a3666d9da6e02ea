package poller

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"
)

// At start the last scheduled time is computed, also for irregular calendars.
func TestDueTimesAroundAStart(t *testing.T) {
	now := time.Date(2026, 11, 24, 14, 28, 0, 0, time.UTC) // a Tuesday
	for spec, want := range map[string]string{
		"*/5 * * * *":                "Tue Nov 24 14:25, Tue Nov 24 14:30",
		"28 * * * *":                 "Tue Nov 24 14:28, Tue Nov 24 15:28",
		"1,2 * * * *":                "Tue Nov 24 14:02, Tue Nov 24 15:01",
		"@monthly":                   "Sun Nov  1 00:00, Tue Dec  1 00:00",
		"5 4 * * SUN,WED":            "Sun Nov 22 04:05, Wed Nov 25 04:05",
		"* 9 * * MON":                "Mon Nov 23 09:59, Mon Nov 30 09:00",
		"0 0 29 2 *":                 "Thu Feb 29 00:00, Tue Feb 29 00:00",
		"@every 90s":                 "Tue Nov 24 14:28, Tue Nov 24 14:29",
		"TZ=Asia/Shanghai 0 8 * * *": "Tue Nov 24 00:00, Wed Nov 25 00:00",
	} {
		schedule, err := cron.ParseStandard(spec)
		if err != nil {
			t.Fatal(err)
		}
		last, next, _ := Schedule{Calendar: schedule}.around(now)
		const layout = "Mon Jan _2 15:04"
		if got := last.UTC().Format(layout) + ", " + next.UTC().Format(layout); got != want {
			t.Errorf("%s: %s, want %s", spec, got, want)
		}
	}
}

// Polls follow the calendar of their zone, also over the changes to and from daylight-saving time.
func TestSchedulesOverDaylightSaving(t *testing.T) {
	utc := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, tt := range []struct {
		name, spec string
		start      time.Time
		want       []string // due times in UTC, after the start
	}{
		{"into it, at a full hour", "CRON_TZ=Europe/Berlin 0 * * * *", utc("2026-03-28T23:30:00Z"), []string{"00:00", "01:00", "02:00", "03:00"}},
		{
			"out of it, at a full hour", "CRON_TZ=Europe/Berlin 0 * * * *", utc("2026-10-24T23:30:00Z"),
			[]string{"00:00", "01:00", "02:00", "03:00"},
		},
		{"a time of day that is left out comes the next day", "CRON_TZ=Europe/Berlin 30 2 * * *", utc("2026-03-28T12:00:00Z"), []string{"00:30"}},
		{"daily moves with the zone", "CRON_TZ=America/New_York 0 9 * * *", utc("2026-03-07T00:00:00Z"), []string{"14:00", "13:00", "13:00"}},
		{"every", "@every 6h", utc("2026-03-28T23:30:00Z"), []string{"05:30", "11:30"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				schedule, err := cron.ParseStandard(tt.spec)
				if err != nil {
					t.Fatal(err)
				}
				f := &fakeSource{}
				f.set("a", pages(1, time.Second))
				p := newTestPoller(t, f, 1, "a")
				p.timers[0].Schedule.Calendar = schedule
				offset := time.Until(tt.start)
				p.now = func() time.Time { return time.Now().Add(offset) }
				var due []string
				stop := run(p)
				defer stop()
				for range len(tt.want) {
					synctest.Wait()
					next := p.Snapshot().Schedules[0].Next
					time.Sleep(next.Sub(p.now()) + maxSleep)
					synctest.Wait()
					last := p.Snapshot().Schedules[0].Last
					if !last.Equal(next) {
						t.Fatalf("due at %v, came at %v", next, last)
					}
					due = append(due, last.UTC().Format("15:04"))
				}
				if !slices.Equal(due, tt.want) {
					t.Errorf("due at %v, want %v", due, tt.want)
				}
			})
		})
	}
}
