package timeline

import (
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// usual are some consumers for whom all is well.
func usual(w *World) {
	w.Renew("billing:crm_oauth", 30*day, -20*day, 7*day, w.scenario.Lasts)
	w.Renew("checkout:checkout_jwt", 15*minute, -8*minute, 10*minute, w.scenario.Lasts)
	w.Renew("hourly:orders_jwt", 15*minute, -30*minute, hour, w.scenario.Lasts)
}

var outages = []Scenario{
	{
		Name:  "api_down",
		Story: "The API cannot be reached for 5 minutes, for an hour, and, while the last token of ending ends, for a day and a half.",
		Lasts: 3*day + 12*hour, Scrape: coarse, Evaluate: coarse,
		Play: func(w *World) {
			usual(w)
			w.Issue("ending:crm_oauth", -28*day, 30*day)
			w.Cut(6*hour+30*time.Second, 5*minute)
			w.Cut(12*hour+30*time.Second, hour)
			w.Cut(day+18*hour+30*time.Second, 36*hour)
		},
	},
	{
		Name:  "throttled",
		Story: "The API tells every other request to slow down, for three hours.",
		Lasts: 6 * hour,
		Play: func(w *World) {
			usual(w)
			odd := 0
			f := simulator.Fault{Operation: simulator.List, Kind: simulator.Throttle, TimeLeft: 2 * time.Second}
			f.When = func(now time.Time) bool {
				odd++
				at := now.Sub(w.start)
				return at > hour && at < 4*hour && odd%2 == 0
			}
			w.API.Inject(f)
			w.At(hour, "every other request is throttled", func() {})
			w.At(4*hour, "none is throttled any more", func() {})
		},
	},
	{
		Name:  "access_lost",
		Story: "The grant for one provider is taken away and given back; then the client itself is locked; then a provider is removed.",
		Lasts: 9 * hour,
		Play: func(w *World) {
			usual(w)
			forbidden := simulator.Fault{Operation: simulator.List, Provider: "orders_jwt", Kind: simulator.Status, Status: 403, Code: "forbidden"}
			w.Break(hour+10*time.Second, hour, "the grant for orders_jwt is gone", forbidden)
			w.At(3*hour+10*time.Second, "the client is locked", w.API.RevokeAccessTokens)
			w.Break(3*hour+10*time.Second, 2*hour, "",
				simulator.Fault{Operation: simulator.Access, Kind: simulator.Status, Status: 401, Code: "invalid_client"})
			w.At(5*hour+10*time.Second, "the client is unlocked", func() {})
			removed := simulator.Fault{
				Operation: simulator.List, Provider: "checkout_jwt", Kind: simulator.Status,
				Status: 404, Code: "credential_provider_not_found",
			}
			w.Break(6*hour+10*time.Second, 2*hour, "the provider checkout_jwt is removed", removed)
		},
	},
	{
		Name:  "malformed_answers",
		Story: "A proxy answers with its login page for an hour; later, one provider does not answer at all.",
		Lasts: 5 * hour,
		Play: func(w *World) {
			usual(w)
			w.Break(hour+10*time.Second, hour, "a login page instead of answers", simulator.Fault{Operation: simulator.List, Kind: simulator.HTML})
			w.Break(3*hour+10*time.Second, hour, "orders_jwt hangs",
				simulator.Fault{Operation: simulator.List, Provider: "orders_jwt", Kind: simulator.Hang})
		},
	},
	{
		Name:  "half_a_walk",
		Story: "A consumer has 150 tokens, on two pages. The second, with all that are active, cannot be read for 3 hours: nothing is lost.",
		Lasts: 5 * hour,
		Play: func(w *World) {
			for range 120 {
				w.Issue("batch:crm_oauth", -40*day, 30*day)
			}
			for range 30 {
				w.Issue("batch:crm_oauth", -10*day, 30*day)
			}
			w.Break(hour, 3*hour, "the second page cannot be read",
				simulator.Fault{Operation: simulator.List, Page: 2, Kind: simulator.Status, Status: 500})
		},
	},
	{
		Name: "wrong_clock",
		Story: "Our clock is five minutes ahead, and set right; then an hour ahead, when all tokens seem to end an hour early; " +
			"then an hour behind.",
		Lasts: 9 * hour,
		Play: func(w *World) {
			usual(w)
			w.Issue("ending:crm_oauth", -29*day-2*hour, 30*day)
			w.Clock(hour, -5*minute, "our clock is five minutes ahead")
			w.Clock(2*hour, 0, "our clock is set right")
			w.Clock(3*hour, -hour, "our clock is an hour ahead")
			w.Clock(5*hour, 0, "our clock is set right")
			w.Clock(6*hour, hour, "our clock is an hour behind")
			w.Clock(8*hour, 0, "our clock is set right")
		},
	},
	{
		Name:  "endpoint_moved",
		Story: "The endpoint of the API moves. An exporter that knows the domain finds the new one; one that was given the endpoint cannot.",
		Lasts: 6 * hour,
		Play: func(w *World) {
			usual(w)
			w.Exporter("finds:9877", "IDAAS_DOMAIN=http://"+domain, "IDAAS_ENDPOINT=", "IDAAS_TOKEN_ENDPOINT=",
				"IDAAS_SHARD_COUNT=2", "IDAAS_SHARD_INDEX=0")
			w.Exporter("given:9877", "IDAAS_SHARD_COUNT=2", "IDAAS_SHARD_INDEX=1")
			w.Move(2*hour+10*time.Second, "127.0.0.1:2")
		},
	},
}
