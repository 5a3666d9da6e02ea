package config

import (
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)
	for spec, want := range map[string]time.Time{
		"*/5 * * * *":                      time.Date(2026, 3, 1, 12, 5, 0, 0, time.UTC),
		"0 0 29 2 *":                       time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC),
		"@hourly":                          time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC),
		"CRON_TZ=Asia/Shanghai 0 21 * * *": time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC),
		"TZ=Asia/Shanghai @daily":          time.Date(2026, 3, 1, 16, 0, 0, 0, time.UTC),
		"@every 90s":                       now.Add(90 * time.Second),
		"@every 1d":                        now.Add(24 * time.Hour),
		"TZ=UTC   @every 1m":               now.Add(time.Minute),
		"@every  1m":                       now.Add(time.Minute),
	} {
		schedule, err := parseSchedule(spec)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
		} else if got := schedule.Next(now); !got.Equal(want) {
			t.Errorf("%s: next = %v, want %v", spec, got, want)
		}
	}
}

// TestSchedulePanics holds what makes the parser of cron panic.
func TestSchedulePanics(t *testing.T) {
	for _, spec := range []string{"TZ=UTC", "CRON_TZ=UTC", "TZ= ", " TZ=UTC", ""} {
		if schedule, err := parseSchedule(spec); err == nil {
			t.Errorf("%q: %v", spec, schedule)
		}
	}
}
