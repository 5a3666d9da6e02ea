package timeline

import (
	"fmt"
	"time"
)

// coarse is a scrape or evaluation interval for lives of weeks.
const coarse = 3 * minute

var renewals = []Scenario{
	{
		Name:  "renewed_in_time",
		Story: "Tokens renewed in their usual rhythm, whatever that is: nobody is told.",
		Lasts: 35 * day, Scrape: coarse, Evaluate: coarse,
		Play: func(w *World) {
			w.Renew("daily:long_oauth", 30*day, -20*day, day, 35*day)
			w.Renew("weekly:long_oauth", 30*day, -26*day, 7*day, 35*day)
			w.Renew("monthly:long_oauth", 90*day, -89*day, 30*day, 35*day)
			w.Renew("alone:long_oauth", 30*day, -20*day, 23*day, 35*day) // a week before the end of the only one
			w.Renew("weekly:short_oauth", 10*day, -8*day, 7*day, 35*day)
		},
	},
	{
		Name:  "just_in_time",
		Story: "Renewed with an hour left, and when none is left: what is told each time, and ends by itself.",
		Lasts: 12 * day, Scrape: coarse, Evaluate: coarse,
		Play: func(w *World) {
			w.Renew("hour_left:crm_oauth", 10*day, -5*day, 10*day-hour, 12*day)
			w.Renew("none_left:crm_oauth", 10*day, -5*day, 10*day+20*minute, 12*day)
			w.Renew("daily:crm_oauth", day, -hour, day-hour, 12*day)
		},
	},
	{
		Name:  "renewal_stops",
		Story: "A weekly renewal stops, and comes back after the last token has ended; another consumer is retired.",
		Lasts: 36 * day, Scrape: coarse, Evaluate: coarse,
		Play: func(w *World) {
			w.Renew("billing:crm_oauth", 30*day, -27*day, 7*day, 0)
			w.At(1*day, "billing is not renewed any more", func() {})
			w.At(28*day+12*hour, "billing is renewed again", func() { w.Issue("billing:crm_oauth", w.Now(), 30*day) })
			w.Issue("retired:crm_oauth", -80*day, 90*day)
			w.Target("other:crm_oauth")
			w.At(14*day, "retired is taken out of the targets", func() {
				w.targets = []string{"billing:crm_oauth", "other:crm_oauth"}
				w.processes[0].Restart()
			})
		},
	},
	{
		Name:  "rotating_jwts",
		Story: "15-minute JWTs: rotated all the time, fetched by an hourly job, nightly, on weekdays; overrides for the last two.",
		Lasts: 8 * day, Scrape: coarse, Evaluate: coarse,
		Play: func(w *World) {
			w.Renew("always:checkout_jwt", 15*minute, -10*minute, 10*minute+3*time.Second, 8*day)
			w.Renew("hourly:orders_jwt", 15*minute, -30*minute, hour, 8*day)
			for d := range 8 {
				at := time.Duration(d)*day + 2*hour + 20*time.Second // a Saturday first
				w.At(at, "", func() { w.Issue("nightly:weekday_report_jwt", at, 15*minute) })
				if d%7 > 1 {
					w.At(at, "", func() { w.Issue("weekdays:weekday_report_jwt", at, 15*minute) })
				}
			}
			w.Issue("weekdays:weekday_report_jwt", -22*hour, 15*minute)
			w.Renew("stops:orders_jwt", 15*minute, -5*minute, 10*minute, 3*day)
			w.At(3*day+10*minute, "stops fetches no more", func() {})
			w.At(4*day, "stops fetches again", func() { w.Issue("stops:orders_jwt", 4*day, 15*minute) })
			w.Renew("stops:orders_jwt", 15*minute, 4*day+10*minute, 10*minute, 8*day)
		},
	},
	{
		Name:  "jwts_by_the_thousand",
		Story: "A gateway that gets 60 JWTs of 15 minutes each minute, of which the ended ones are cleaned up: silence; then it gets no more.",
		Lasts: 9 * hour,
		Play: func(w *World) {
			var ids []string
			w.Every(0, minute, 6*hour, func() {
				for range 60 {
					ids = append(ids, w.Issue("gateway:orders_jwt", w.Now(), 15*minute))
				}
				for len(ids) > 60*20 {
					w.API.Remove(ids[0])
					ids = ids[1:]
				}
			})
			w.At(6*hour, "the gateway gets no more", func() {})
		},
	},
	{
		Name:  "never_expiring",
		Story: "Tokens without an end beside ending ones: known as such, and nothing ends while there is one.",
		Lasts: 3 * day,
		Play: func(w *World) {
			never := w.Issue("agent:crm_oauth", -30*day, 0)
			w.Issue("agent:crm_oauth", -9*day, 10*day)
			w.Issue("accepted:legacy_oauth", -30*day, 0)
			w.At(2*day, "agent's token without an end is revoked", func() { w.API.Revoke(never) })
		},
	},
}

// many are the names of n targets.
func many(n int, provider string) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("app_%03d:%s", i, provider)
	}
	return names
}
