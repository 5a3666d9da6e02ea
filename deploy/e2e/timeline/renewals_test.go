package timeline

import (
	"fmt"
	"time"
)

// coarse is a scrape or evaluation interval for lives of weeks.
const coarse = 4 * minute

var renewals = []Scenario{
	{
		Name:  "renewed_in_time",
		Story: "Tokens renewed in their usual rhythm, whatever that is: nobody is told.",
		Lasts: 15 * day, Scrape: coarse, Evaluate: coarse,
		Play: func(w *World) {
			w.Renew("daily:long_oauth", 30*day, -29*day, day, 15*day)
			w.Renew("weekly:long_oauth", 30*day, -26*day, 7*day, 15*day)
			w.Renew("monthly:long_oauth", 90*day, -80*day, 30*day, 15*day) // the first ends on the tenth day
			w.Renew("alone:long_oauth", 30*day, -16*day, 23*day, 15*day)   // a week before the end of the only one
			w.Renew("weekly:short_oauth", 10*day, -6*day, 7*day, 15*day)
		},
	},
	{
		Name:  "just_in_time",
		Story: "Renewed with an hour left, and when none is left: what is told each time, and ends by itself.",
		Lasts: 5 * day, Scrape: coarse, Evaluate: coarse,
		Play: func(w *World) {
			w.Renew("hour_left:crm_oauth", 4*day, -day, 4*day-hour, 5*day)
			w.Renew("none_left:crm_oauth", 4*day, -day, 4*day+20*minute, 5*day)
			w.Renew("daily:crm_oauth", day, -hour, day-hour, 5*day)
			w.Renew("in_time:crm_oauth", day, -hour, 18*hour, 5*day)
		},
	},
	{
		Name:  "renewal_stops",
		Story: "A daily renewal stops, and comes back after the last token has ended; another consumer is retired on purpose.",
		Lasts: 14 * day, Scrape: coarse, Evaluate: coarse,
		Play: func(w *World) {
			w.Renew("billing:crm_oauth", 10*day, -9*day, day, 0)
			w.At(1*day, "billing is not renewed any more", func() {})
			w.At(10*day+12*hour, "billing is renewed again", func() { w.Issue("billing:crm_oauth", w.Now(), 10*day) })
			w.Issue("retired:crm_oauth", -82*day, 90*day)
			w.At(12*day, "retired is taken out of the targets", func() {
				w.targets = []string{"billing:crm_oauth"}
				w.processes[0].Restart()
			})
		},
	},
	{
		Name:  "rotating_jwts",
		Story: "15-minute JWTs: rotated all the time, fetched by an hourly job, nightly, on weekdays; overrides for the last two.",
		Lasts: 5 * day, Scrape: coarse, Evaluate: coarse,
		Play: func(w *World) {
			w.Renew("always:checkout_jwt", 15*minute, -10*minute, 10*minute+3*time.Second, 5*day)
			w.Renew("hourly:orders_jwt", 15*minute, -30*minute, hour, 5*day)
			for d := range 5 {
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
			w.Renew("stops:orders_jwt", 15*minute, 4*day+10*minute, 10*minute, 5*day)
		},
	},
	{
		Name:  "jwts_by_the_thousand",
		Story: "A gateway that gets 60 JWTs of 15 minutes each minute, of which the ended ones are cleaned up: silence; then it gets no more.",
		Lasts: 5 * hour,
		Play: func(w *World) {
			w.Target("gateway:orders_jwt")
			var ids []string
			w.Every(0, minute, 2*hour, func() {
				for range 60 {
					ids = append(ids, w.Issue("gateway:orders_jwt", w.Now(), 15*minute))
				}
				for len(ids) > 60*20 {
					w.API.Remove(ids[0])
					ids = ids[1:]
				}
			})
			w.At(2*hour, "the gateway gets no more", func() {})
		},
	},
	{
		Name:  "never_expiring",
		Story: "Tokens without an end beside ending ones: known as such, and nothing ends while there is one.",
		Lasts: 30 * hour,
		Play: func(w *World) {
			never := w.Issue("agent:crm_oauth", -30*day, 0)
			w.Issue("agent:crm_oauth", -9*day, 10*day)
			w.Issue("accepted:legacy_oauth", -30*day, 0)
			w.At(26*hour, "agent's token without an end is revoked", func() { w.API.Revoke(never) })
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
