package timeline

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// coarse is a scrape or evaluation interval for lives of weeks.
const coarse = 4 * minute

var renewals = []Scenario{
	{
		Name:  "renewed_in_time",
		Story: "Tokens renewed in their usual rhythm, whatever that is: nobody is told.",
		Lasts: 11 * day, Scrape: coarse, Evaluate: coarse,
		Play: func(w *World) {
			w.Renew("daily:long_oauth", 30*day, -29*day, day, 11*day)
			w.Renew("weekly:long_oauth", 30*day, -26*day, 7*day, 11*day)
			w.Renew("monthly:long_oauth", 90*day, -80*day, 30*day, 11*day) // the first ends on the tenth day
			w.Renew("alone:long_oauth", 30*day, -16*day, 23*day, 11*day)   // a week before the end of the only one
			w.Renew("weekly:short_oauth", 10*day, -6*day, 7*day, 11*day)
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
		Story: "A daily renewal stops, and comes back after the last token has expired; another consumer is stopped on purpose.",
		Lasts: 6 * day, Scrape: coarse, Evaluate: coarse,
		Play: func(w *World) {
			w.Renew("billing:crm_oauth", 4*day, -9*day, day, 0)
			w.At(1*day, "billing is not renewed any more", func() {})
			w.At(4*day+12*hour, "billing is renewed again", func() { w.Issue("billing:crm_oauth", w.Now(), 4*day) })
			w.Issue("stopped:crm_oauth", -86*day, 90*day)
			w.At(5*day, "stopped is removed from the targets", func() {
				w.targets = []string{"billing:crm_oauth"}
				w.processes[0].Restart()
			})
		},
	},
	{
		Name: "rhythms",
		Story: "15-minute JWTs in the rhythm of their consumers, which the list shows: " +
			"all the time, hourly, nightly, on weekdays. Then a run is missed.",
		Start: time.Date(2028, 1, 7, 0, 0, 0, 0, time.UTC), Lasts: 4 * day, Scrape: coarse, Evaluate: coarse, // a Friday
		Play: func(w *World) {
			w.Renew("always:checkout_jwt", 15*minute, -10*minute, 10*minute+3*time.Second, 4*day)
			w.Renew("hourly:orders_jwt", 15*minute, -8*day+5*minute, hour, 4*day)
			w.Renew("hourly_stops:orders_jwt", 15*minute, -8*day+7*minute, hour, 12*hour)
			w.Renew("renews_stops:orders_jwt", hour, -8*day+9*minute, 45*minute, 12*hour)
			w.At(12*hour+10*minute, "hourly_stops and renews_stops get no more", func() {})
			for d := -30; d < 4; d++ {
				at := time.Duration(d)*day + 2*hour + 20*time.Second
				later := func(name string) {
					if at < 0 {
						w.Issue(name, at, 15*minute)
					} else {
						w.At(at, "", func() { w.Issue(name, at, 15*minute) })
					}
				}
				later("nightly:report_jwt")
				if d < 1 {
					later("nightly_stops:report_jwt")
				}
				if weekday := w.start.Add(at).Weekday(); weekday != time.Saturday && weekday != time.Sunday {
					later("weekdays:report_jwt")
					if d < 3 {
						later("weekdays_stops:report_jwt")
					}
				}
			}
			w.At(day+2*hour, "nightly_stops does not run", func() {})
			w.At(3*day+2*hour, "weekdays_stops does not run", func() {})
		},
	},
	{
		Name: "installed",
		Story: "The exporter is installed where 200 targets of two providers have no token any more: " +
			"one notification per provider; 20 more, for 40 days.",
		Lasts: 2 * hour,
		Play: func(w *World) {
			usual(w)
			for i, name := range many(220, "crm_oauth") {
				name = strings.Replace(name, "crm", []string{"crm", "erp"}[i%2], 1)
				w.Issue(name, -time.Duration(i/200)*30*day-30*day, 20*day)
			}
			w.Exporter("exporter:9877", "IDAAS_RATE_LIMIT=3")
		},
		Check: func(t *testing.T, transitions []Transition, route route) {
			notifications := map[string]time.Time{}
			for _, tr := range transitions {
				key := ""
				for _, name := range route.GroupBy {
					key += string(tr.labels[name]) + " "
				}
				if first, ok := notifications[key]; !ok {
					notifications[key] = tr.At
				} else if tr.At.Sub(first) > time.Duration(route.GroupWait) {
					t.Errorf("%s of %s fires too late for the first notification", tr.Alert, tr.Subject)
				}
			}
			if len(notifications) != 3 {
				t.Errorf("%d notifications: %v", len(notifications), notifications)
			}
		},
	},
	{
		Name:  "jwts_by_the_thousand",
		Story: "A gateway that gets 60 JWTs of 15 minutes each minute, of which the ended ones are cleaned up: silence; then it gets no more.",
		Lasts: 5 * hour,
		Play: func(w *World) {
			w.Renew("gateway:orders_jwt", 15*minute, -13*hour, 10*minute, 0)
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
		Lasts: 4 * hour,
		Play: func(w *World) {
			never := w.Issue("agent:crm_oauth", -30*day, 0)
			w.Issue("agent:crm_oauth", -9*day, 10*day)
			w.Issue("accepted:legacy_oauth", -30*day, 0)
			w.At(2*hour, "agent's token without an end is revoked", func() { w.API.Revoke(never) })
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
