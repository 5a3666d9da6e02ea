package timeline

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// hourly is the number of long-lived targets, each with that number of tokens in pages of 10: their walks take 52 of 60 minutes.
const hourly, longLived = 312, 300

// listed starts an exporter with that targets file, which may list applications and providers, with RAM credentials.
func (w *World) listed(targets string, environ ...string) {
	file := filepath.Join(w.data, "targets.yaml")
	if err := os.WriteFile(file, []byte(targets), 0o600); err != nil {
		w.Fatal(err)
	}
	w.Exporter("exporter:9877", slices.Concat([]string{"IDAAS_TARGETS_FILE=" + file, "IDAAS_MANAGEMENT_ENDPOINT=" + api}, environ)...)
}

// jwts issues a token of 15 minutes every 5 minutes, and removes it 5 minutes after its expiration.
func (w *World) jwts(target string, first, last time.Duration) {
	for at := first; at <= last; at += 5 * minute {
		var id string
		issue := func() { id = w.Issue(target, at, 15*minute) }
		if at <= 0 {
			issue()
		} else {
			w.At(at, "", issue)
		}
		if at > -20*minute {
			w.At(at+20*minute, "", func() { w.API.Remove(id) })
		} else {
			w.API.Remove(id)
		}
	}
}

// shown notes the label of an application's target on /metrics.
func (w *World) shown(id, label string) {
	shown := strings.Contains(w.scrape(), fmt.Sprintf("consumer=%q", label))
	w.notes = append(w.notes, line{w.Now(), fmt.Sprintf("-- %s is shown as %s: %t", id, label, shown)})
}

var watching = []Scenario{
	{
		Name: "new_agent",
		Story: "Agents with names like prod-… are found. A new one is, is shown by its name, and is alerted for when its tokens are not\n" +
			"renewed. Another one has a name that no entry takes, which is reported.",
		Lasts: 6 * hour,
		API: func(c *simulator.Config) {
			*c = simulator.WithRAM(*c, simulator.RAMUser{AccessKeyID: "key", AccessKeySecret: "ram-secret"})
		},
		Play: func(w *World) {
			agent := func(id, name string) {
				w.API.SetApplication(simulator.Application{ID: id, Name: name, Identity: "agent"})
			}
			agent("app_old", "prod-old")
			w.Renew("app_old:agents", hour, -8*hour, 30*minute, 6*hour)
			w.listed("targets:\n- {consumers: {match: ^prod-, identity: agent}, credential_providers: [agents], lost_after: 30m}\n",
				"IDAAS_CONSUMER_LABEL=name", "IDAAS_POLL_SCHEDULE=@every 1m")
			w.At(hour, "the agent prod-new is created", func() { agent("app_new", "prod-new") })
			w.Renew("app_new:agents", hour, hour+minute, 30*minute, 2*hour)
			w.Every(hour+5*minute, 10*minute, hour+15*minute, func() { w.shown("app_new", "prod-new") })
			w.At(2*hour, "prod-new gets no more tokens", func() {})
			w.At(3*hour, "the agent trial is created", func() { agent("app_trial", "trial") })
			w.Renew("app_trial:agents", hour, 3*hour, 30*minute, 6*hour)
			w.At(5*hour, "prod-new gets tokens again", func() {})
			w.Renew("app_new:agents", hour, 5*hour, 30*minute, 6*hour)
		},
	},
	{
		Name: "mixed_schedules",
		Story: "JWTs of 15 minutes are polled each minute, and 312 targets of 30 pages each hour. With 3 requests a second, that takes\n" +
			"52 of 60 minutes. The alerts for JWTs are in time, and nothing else is reported.",
		Lasts: 4 * hour,
		Play: func(w *World) {
			var yaml strings.Builder
			yaml.WriteString("credential_providers:\n  orders_jwt: {poll_schedule: '@every 1m', lost_after: 5m}\ntargets:\n")
			for i := range hourly {
				name := fmt.Sprintf("app_%03d", i)
				fmt.Fprintf(&yaml, "- {consumer: %s, credential_providers: [crm_oauth]}\n", name)
				for range longLived {
					w.Issue(name+":crm_oauth", -10*day, 90*day)
				}
			}
			for _, name := range []string{"steady", "stops", "returns"} {
				fmt.Fprintf(&yaml, "- {consumer: %s, credential_providers: [orders_jwt]}\n", name)
			}
			w.jwts("steady:orders_jwt", -2*hour, 4*hour)
			w.jwts("stops:orders_jwt", -2*hour, 2*hour)
			w.jwts("returns:orders_jwt", -2*hour, 2*hour)
			w.jwts("returns:orders_jwt", 3*hour, 4*hour)
			w.At(2*hour, "stops and returns get no more tokens", func() {})
			w.At(3*hour, "returns gets tokens again", func() {})
			w.listed(yaml.String(), "IDAAS_POLL_SCHEDULE=@hourly", "IDAAS_RATE_LIMIT=3", "IDAAS_PAGE_SIZE=10")
		},
		Check: func(t *testing.T, transitions []Transition, _ route) {
			for _, subject := range []string{"stops/orders_jwt", "returns/orders_jwt"} {
				i := slices.IndexFunc(transitions, func(tr Transition) bool { return tr.Subject == subject && tr.Firing })
				// The last token expires at 2 h 15 min, and is lost at 2 h 20 min.
				if i < 0 || transitions[i].At.After(epoch.Add(2*hour+23*minute)) {
					t.Errorf("%s: no alert in time", subject)
				}
			}
			for _, tr := range transitions {
				if !slices.Contains([]string{"stops/orders_jwt", "returns/orders_jwt"}, tr.Subject) {
					t.Errorf("%+v", tr)
				}
			}
		},
	},
}
