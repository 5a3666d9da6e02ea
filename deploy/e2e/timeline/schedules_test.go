package timeline

import (
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

func slower(schedule string) func(w *World) {
	return func(w *World) {
		troubled(w)
		w.Exporter("exporter:9877", "IDAAS_POLL_SCHEDULE="+schedule)
		w.Cut(8*hour+30*time.Second, 3*hour)
	}
}

var schedules = []Scenario{
	{Name: "every_minute", Story: "Polled every minute; the API is down for 3 hours.", Lasts: 13 * hour, Play: slower("@every 1m")},
	{
		Name: "every_hour", Story: "Polled once an hour; the API is down for 3 hours, then one provider, " +
			"and later the token endpoint alone: what is told lasts until a walk succeeds.",
		Lasts: 30 * hour,
		Play: func(w *World) {
			slower("@every 1h")(w)
			orders := simulator.Fault{Operation: simulator.List, Provider: "orders_jwt", Kind: simulator.Status, Status: 500}
			w.Break(14*hour+30*minute, 3*hour, "orders_jwt cannot be read", orders)
			w.Break(23*hour+30*minute, 4*hour, "there are no access tokens",
				simulator.Fault{Operation: simulator.Access, Kind: simulator.Status, Status: 503})
		},
	},
	{
		Name: "at_night", Story: "Polled at night only, every hour from 22 to 4 o'clock in Berlin, " +
			"through the change to summer time; long tokens only.",
		Start: time.Date(2028, 3, 24, 0, 0, 0, 0, time.UTC), Lasts: 4 * day, Scrape: coarse, Evaluate: coarse,
		Play: func(w *World) {
			w.Renew("billing:crm_oauth", 30*day, -20*day, 7*day, 4*day)
			w.Issue("ending:crm_oauth", -25*day, 28*day)
			w.Exporter("exporter:9877", "IDAAS_POLL_SCHEDULE=CRON_TZ=Europe/Berlin 0 22-23,0-4 * * *")
		},
	},
	{
		Name: "max_staleness", Story: "IDAAS_MAX_STALENESS of an hour: series go while the API is down for 3 hours. " +
			"What was told goes with them, the blindness is told first.",
		Lasts: 7 * hour, Environ: []string{"IDAAS_MAX_STALENESS=1h"},
		Play: func(w *World) {
			troubled(w)
			w.Cut(2*hour+30*time.Second, 3*hour)
		},
	},
}
