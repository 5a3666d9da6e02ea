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
		"@every 1.5h":                      now.Add(90 * time.Minute),
		"@every 1d":                        now.Add(24 * time.Hour),
		"TZ=UTC   @every  1m":              now.Add(time.Minute),
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

func TestEndpoint(t *testing.T) {
	for _, c := range []struct {
		text     string
		withPath bool
		want     string // empty: refused
	}{
		{"eiam.cn-hangzhou.aliyuncs.com", false, "https://eiam.cn-hangzhou.aliyuncs.com"},
		{"host:8443//", false, "https://host:8443"},
		{"HTTPS://host", false, "https://host"},
		{"http://localhost:1", false, "http://localhost:1"},
		{"http://LOCALHOST", false, "http://LOCALHOST"},
		{"http://127.9.9.9:1/", false, "http://127.9.9.9:1"},
		{"http://[::1]:1", false, "http://[::1]:1"},
		{"http://host", false, ""},
		{"http://128.0.0.1", false, ""},
		{"http://127.0.0.1.example.com", false, ""},
		{"http://localhost.example.com", false, ""},
		{"http://localhost@example.com", false, ""},
		{"https://host/v2", false, ""},
		{"https://user@host", false, ""},
		{"https://host?", false, ""},
		{"https://host?a=b", false, ""},
		{"https://host#", false, ""},
		{"https://host#a", false, ""},
		{"ftp://host", false, ""},
		{"https://", false, ""},
		{"https://:443", false, ""},
		{"https://host:", false, ""},
		{"https://host:65536", false, ""},
		{"https://host:port", false, ""},
		{"https://ho st", false, ""},
		{"mailto:someone", false, ""},
		{"host/api/v2/iauths_system/oauth2/token/", true, "https://host/api/v2/iauths_system/oauth2/token"},
		{"https://host/a%20b", true, "https://host/a%20b"},
		{"http://127.0.0.1:8080/token", true, "http://127.0.0.1:8080/token"},
		{"https://host/", true, ""},
		{"http://host/token", true, ""},
		{"https://host/token?x", true, ""},
	} {
		got, err := parseEndpoint(c.text, c.withPath)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}
