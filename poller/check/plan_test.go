package check

import (
	"cmp"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// planned is a target of a plan.
type planned struct {
	provider string
	every    time.Duration // 0: the schedule of the settings
	found    bool
	sample   idaas.Sample
}

// complete is a sample of a list with that number of pages and lifetime of tokens.
func complete(pages int, lifetime time.Duration) idaas.Sample {
	return idaas.Sample{Pages: pages, Tokens: pages, Reported: int64(pages), Complete: true, Lifetime: lifetime}
}

func TestPlan(t *testing.T) {
	const (
		day       = 24 * time.Hour
		short     = "warning orders_jwt targets: 1, about 12 an hour, tokens live 14m59s: shorter than 3 polls for 1 of the targets"
		suggested = " → poll_schedule: '@every 1m' for orders_jwt in the targets file costs about 48 requests an hour"
	)
	jwt := complete(1, 15*time.Minute)
	for name, c := range map[string]struct {
		rate    float64 // 0: 3
		targets []planned
		want    []string // rows, with what the advice begins with
	}{
		"one schedule": {
			targets: []planned{{"orders_jwt", 0, false, jwt}, {"orders_jwt", 0, false, complete(5, 20*time.Minute)}},
			want: []string{
				"ok @every 5m0s targets: 2, about 6 in 2s, every 5m0s, 72 an hour",
				"ok all about 72 an hour, without those for access tokens; the limit of 3/s allows 10800",
				"ok orders_jwt targets: 2, about 72 an hour, tokens live 15m0s",
			},
		},
		"tokens live shorter than three polls": {
			targets: []planned{{"orders_jwt", 0, false, complete(1, 15*time.Minute-time.Second)}},
			want: []string{
				"ok @every 5m0s targets: 1, about 1 in 333ms, every 5m0s, 12 an hour",
				"ok all about 12 an hour, without those for access tokens; the limit of 3/s allows 10800", short + suggested,
			},
		},
		"each target with its own schedule": {
			targets: []planned{
				{"a", time.Minute, false, jwt},
				{"a", time.Hour, false, complete(4, 90*day)},
				{"b", time.Hour, false, jwt},
				{"b", time.Minute, false, complete(2, 90*day)},
			},
			want: []string{
				"ok @every 1m0s targets: 2, about 3 in 1s, every 1m0s, 180 an hour",
				"ok @every 1h0m0s targets: 2, about 5 in 1.667s, every 1h0m0s, 5 an hour",
				"ok all about 185 an hour, without those for access tokens; the limit of 3/s allows 10800",
				"ok a targets: 2, about 64 an hour, tokens live 15m0s",
				"warning b targets: 2, about 121 an hour, tokens live 15m0s: shorter than 3 polls for 1 of the targets" +
					" → poll_schedule: '@every 1m' for b in the targets file costs about 59 requests an hour",
			},
		},
		"long-lived tokens": {
			targets: []planned{{"crm", 0, false, complete(10, 90*day)}},
			want: []string{
				"ok @every 5m0s targets: 1, about 10 in 3.333s, every 5m0s, 120 an hour",
				"ok all about 120 an hour, without those for access tokens; the limit of 3/s allows 10800",
				"ok crm targets: 1, about 120 an hour, tokens live 90d; " +
					"poll_schedule: '@hourly' for crm in the targets file saves about 110 requests an hour",
			},
		},
		"polled less often than suggested": {
			targets: []planned{{"crm", day, false, complete(12, 90*day)}},
			want: []string{
				"ok @every 24h0m0s targets: 1, about 12 in 4s, every 24h0m0s, 0.5 an hour",
				"ok all about 0.5 an hour, without those for access tokens; the limit of 3/s allows 10800",
				"ok crm targets: 1, about 0.5 an hour, tokens live 90d",
			},
		},
		"tokens of seconds": {
			targets: []planned{{"flash", 0, false, complete(1, 5*time.Second)}},
			want: []string{
				"ok @every 5m0s targets: 1, about 1 in 333ms, every 5m0s, 12 an hour",
				"ok all about 12 an hour, without those for access tokens; the limit of 3/s allows 10800",
				"warning flash targets: 1, about 12 an hour, tokens live 5s: shorter than 3 polls for 1 of the targets" +
					" → poll_schedule: '@every 1s' for flash in the targets file costs about 3588 requests an hour",
			},
		},
		"a cycle longer than its interval": {
			rate: 0.5, targets: []planned{{"crm", time.Minute, false, complete(31, 0)}},
			want: []string{
				"warning @every 1m0s targets: 1, about 31 in 1m2s, every 1m0s, 1860 an hour → the requests take longer",
				"warning all about 1860 an hour, without those for access tokens; the limit of 0.5/s allows 1800 → the requests take longer",
				"ok crm targets: 1, about 1860 an hour, lifetime of tokens unknown",
			},
		},
		"schedules that fit alone, but not together": {
			rate: 0.5, targets: []planned{{"a", time.Minute, false, complete(20, 0)}, {"b", 2 * time.Minute, false, complete(40, 0)}},
			want: []string{
				"ok @every 1m0s targets: 1, about 20 in 40s, every 1m0s, 1200 an hour",
				"ok @every 2m0s targets: 1, about 40 in 1m20s, every 2m0s, 1200 an hour",
				"warning all about 2400 an hour, without those for access tokens; the limit of 0.5/s allows 1800 → the requests take longer",
				"ok a targets: 1, about 1200 an hour, lifetime of tokens unknown",
				"ok b targets: 1, about 1200 an hour, lifetime of tokens unknown",
			},
		},
		"found and empty: once an hour": {
			targets: []planned{
				{"a", 0, true, idaas.Sample{Pages: 1, Complete: true}},
				{"a", 0, false, idaas.Sample{Pages: 1, Complete: true}},
				{"a", 2 * time.Hour, true, idaas.Sample{Pages: 1, Complete: true}},
			},
			want: []string{
				"ok @every 5m0s targets: 2, about 2 in 667ms, every 5m0s, 13 an hour",
				"ok @every 2h0m0s targets: 1, about 1 in 333ms, every 2h0m0s, 0.5 an hour",
				"ok all about 13.5 an hour, without those for access tokens; the limit of 3/s allows 10800",
				"ok a targets: 3, about 13.5 an hour, lifetime of tokens unknown",
			},
		},
		"not read, and without a total": {
			targets: []planned{
				{"a", 0, false, idaas.Sample{}},
				{"b", time.Hour, false, idaas.Sample{Pages: 3, Tokens: 300, Reported: -1}},
				{"c", time.Minute, false, idaas.Sample{Pages: 3, Tokens: 240, Reported: 1000}},
			},
			want: []string{
				"ok @every 1m0s targets: 1, about 13 in 4.333s, every 1m0s, 780 an hour",
				"ok @every 5m0s targets: 1, at least 1 in 333ms, every 5m0s, 12 an hour",
				"ok @every 1h0m0s targets: 1, at least 4 in 1.333s, every 1h0m0s, 4 an hour",
				"ok all at least 796 an hour, without those for access tokens; the limit of 3/s allows 10800",
				"ok a targets: 1, at least 12 an hour, lifetime of tokens unknown",
				"ok b targets: 1, at least 4 an hour, lifetime of tokens unknown",
				"ok c targets: 1, about 780 an hour, lifetime of tokens unknown",
			},
		},
		"slow responses": {
			rate: 1000, targets: []planned{{"a", time.Second, false, idaas.Sample{Pages: 1, Tokens: 1, Complete: true, Took: 5 * time.Second}}},
			want: []string{
				"warning @every 1s targets: 1, about 1 in 5s, every 1s, 3600 an hour → the requests take longer",
				"ok all about 3600 an hour, without those for access tokens; the limit of 1000/s allows 3600000",
				"ok a targets: 1, about 3600 an hour, lifetime of tokens unknown",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &preflight{
				Config: Config{Schedule: scheduled(5 * time.Minute), Concurrency: 4, Client: idaas.Config{RateLimit: cmp.Or(c.rate, 3)}},
				read:   map[poller.Key]idaas.Sample{},
			}
			for i, target := range c.targets {
				one := poller.Target{Consumer: string(rune('a' + i)), Provider: target.provider, Found: target.found}
				if target.every > 0 {
					one.Schedule = scheduled(target.every)
				}
				p.Targets = append(p.Targets, one)
				if target.sample != (idaas.Sample{}) {
					p.read[one.Key()] = target.sample
				}
			}
			p.plan(time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC))
			for i, f := range p.Findings {
				got := string(f.Status) + " " + f.Subject + " " + f.Detail
				if f.Advice != "" {
					got += " → " + f.Advice
				}
				if i >= len(c.want) || !strings.HasPrefix(got, c.want[i]) || !strings.Contains(c.want[i], "→") && got != c.want[i] {
					t.Errorf("row %d: %s", i, got)
				}
			}
			if len(p.Findings) != len(c.want) {
				t.Errorf("%d rows, want %d", len(p.Findings), len(c.want))
			}
		})
	}
}

// nights is hourly from 22 to 4 o'clock.
type nights struct{}

func (nights) Next(t time.Time) time.Time {
	t = every(time.Hour).Next(t)
	for h := t.Hour(); h > 4 && h < 22; h = t.Hour() {
		t = t.Add(time.Hour)
	}
	return t
}

func TestFrequency(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		schedule          poller.Calendar
		hourly            float64
		shortest, longest time.Duration
	}{
		"seconds": {every(time.Second), 3600, time.Second, time.Second},
		"hourly":  {every(time.Hour), 1, time.Hour, time.Hour},
		"weekly":  {every(7 * day), 1. / 168, 7 * day, 7 * day},
		"rarely":  {every(400 * day), 1. / 9600, 400 * day, 400 * day},
		"nights":  {nights{}, 7. / 24, time.Hour, 18 * time.Hour},
	} {
		f := frequencyOf(c.schedule, time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC))
		if math.Abs(f.hourly-c.hourly) > c.hourly/100 || f.shortest != c.shortest || f.longest != c.longest {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// The lifetime in a plan is that of the token issued last.
func TestPlannedLifetime(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		tokens []simulator.Token
		want   string
	}{
		"active": {[]simulator.Token{{Created: now, Updated: now, Expires: now.Add(10 * time.Minute)}}, "tokens live 10m0s: shorter"},
		"expired": {[]simulator.Token{
			{Created: now.Add(-time.Hour), Updated: now.Add(-time.Hour), Expires: now.Add(-50 * time.Minute)},
		}, "tokens live 10m0s: shorter"},
		"the newest of two": {[]simulator.Token{
			{Created: now.Add(-time.Hour), Updated: now.Add(-time.Hour), Expires: now.Add(-50 * time.Minute)},
			{Created: now, Updated: now, Expires: now.Add(240 * time.Hour)},
		}, "tokens live 10d; poll_schedule: '@hourly'"},
		"never expiring": {[]simulator.Token{{Created: now, Updated: now}}, "lifetime of tokens unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, simulator.Config{})
			w.Add("app_agent", "agents", c.tokens...)
			w.Config.Targets = []poller.Target{{Consumer: "app_agent", Provider: "agents", Label: "agent"}}
			w.wantRows(t, []string{"agents  targets: 1, about 12 an hour, " + c.want})
		})
	}
}
