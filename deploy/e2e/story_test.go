package e2e

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

const (
	day  = 24 * time.Hour
	long = 25 * time.Minute // 25 hours, shortened: tokens that live a day or more are long-lived

	job = " job=idaas-token-exporter"
)

// Targets of the story.
const (
	report   = "nightly-report@warehouse_jwt" // its last token runs out
	billing  = "billing@crm_oauth"            // its token is replaced while the API is down
	checkout = "checkout-api@checkout_jwt"    // renews short tokens all the time
	builds   = "ci-runner@github_oauth"       // several pages
	agent    = "ai-agent@vault_jwt"           // never expires
)

type story struct {
	t     *testing.T
	sim   *simulator.Server
	prom  *prometheus
	hooks *webhook

	address string // of the exporter
	env     []string
	running *process
}

func add(s *simulator.Server, target string, tokens ...simulator.Token) {
	consumer, provider := split(target)
	s.Add(consumer, provider, tokens...)
}

func split(target string) (consumer, provider string) {
	consumer, provider, _ = strings.Cut(target, "@")
	return consumer, provider
}

// newStory starts everything, with the shipped files shortened by one substitution.
func newStory(t *testing.T) *story {
	now, dir := time.Now(), t.TempDir()
	s := &story{t: t, hooks: newWebhook(t), address: freeAddress(t)}

	s.sim = simulator.New(simulator.Config{Clients: []simulator.Client{{ID: "exporter", Secret: "not a secret"}}})
	add(s.sim, report, simulator.Token{ID: "report", Created: now, Expires: now.Add(long)})
	add(s.sim, billing, simulator.Token{ID: "billing", Created: now, Expires: now.Add(long)})
	add(s.sim, agent, simulator.Token{ID: "agent", Created: now})
	consumer, provider := split(builds)
	s.sim.Generate(consumer, provider, 250, func(i int) simulator.Token {
		return simulator.Token{ID: fmt.Sprint("build-", i), Created: now, Expires: now.Add(day)}
	})
	s.renew(checkout)
	api := httptest.NewServer(s.sim)
	t.Cleanup(api.Close)
	t.Cleanup(s.sim.Close)

	s.env = []string{
		"IDAAS_DOMAIN=" + api.URL,
		"IDAAS_CLIENT_ID=exporter",
		"IDAAS_CLIENT_SECRET=not a secret",
		"IDAAS_TARGETS=" + strings.ReplaceAll(strings.Join([]string{report, billing, checkout, builds, agent}, ","), "@", ":"),
		"IDAAS_POLL_SCHEDULE=" + shorten("@every 5m"),
		"IDAAS_RATE_LIMIT=100",
		"IDAAS_REQUEST_RETRIES=1",
		"IDAAS_STATE_FILE=" + filepath.Join(dir, "state"),
		"IDAAS_LISTEN_ADDRESS=" + s.address,
	}
	s.startExporter()

	alertmanager := startAlertmanager(t, shortened(t, dir, "alertmanager.yaml",
		"http://pager.example.internal/alerts", s.hooks.url+"/pager",
		"http://chat.example.internal/alerts", s.hooks.url+"/chat",
		"http://log.example.internal/alerts", s.hooks.url+"/log"))
	shortened(t, dir, "rules.yaml")
	writeFile(t, filepath.Join(dir, "overrides-example.yaml"), shorten(readFile(t, root+"/deploy/prometheus/overrides.example.yaml")))
	s.prom = startPrometheus(t, shortened(t, dir, "prometheus.yaml",
		"alertmanager:9093", alertmanager,
		"idaas-token-exporter:9877", s.address), "--rules.alert.resend-delay="+shorten("1m"))
	return s
}

func (s *story) startExporter() {
	s.running = start(s.t, s.env, exporter(s.t))
	waitFor(s.t, "http://"+s.address+"/-/ready")
}

// renew issues a token that lives 15 minutes, shortened, every 5, until the test ends.
func (s *story) renew(target string) {
	issue := func(n int) {
		now := time.Now()
		add(s.sim, target, simulator.Token{ID: fmt.Sprint("short-", n), Created: now, Expires: now.Add(15 * time.Minute / factor)})
		s.sim.Remove(fmt.Sprint("short-", n-20))
	}
	issue(0)
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Minute / factor)
		defer tick.Stop()
		for n := 1; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				issue(n)
			}
		}
	}()
	s.t.Cleanup(func() { cancel(); <-done })
}

// endsIn skips the time until a token's end is as near as this.
func (s *story) endsIn(id string, left time.Duration) {
	s.sim.Update(id, func(t *simulator.Token) {
		skipped := time.Until(t.Expires) - left
		t.Created, t.Expires = t.Created.Add(-skipped), t.Expires.Add(-skipped)
	})
}

// holds waits until a condition has one series.
func (s *story) holds(within time.Duration, expr string) {
	s.t.Helper()
	eventually(s.t, within, expr, func() error {
		_, err := s.prom.number(s.t.Context(), expr)
		return err
	})
}

func (s *story) chapter(title string) { s.hooks.say("--------", title) }

// TestStory runs what is shipped, at the pace of a minute a second, through the trouble it is made for. It takes three
// minutes, nearly all of them waiting.
func TestStory(t *testing.T) {
	t.Parallel()
	s := newStory(t)

	s.chapter("healthy: only what is always so is told")
	neverExpires := "log info     IDaaSTokensNeverExpire " + agent + job
	s.hooks.await(time.Minute, neverExpires)

	s.chapter("the last token of " + report + " runs out")
	s.endsIn("report", 35*time.Second)
	reportEnds := "pager critical IDaaSTokensAboutToEnd " + report + job
	reportLost := "pager critical IDaaSTokensLost " + report + job
	s.hooks.await(time.Minute, neverExpires, reportEnds)
	s.hooks.told(2*time.Minute, reportLost)

	s.chapter("the API fails half-way through a walk; the token of " + billing + " ends soon")
	before := s.metrics("idaas_authentication_tokens{", "github_oauth")
	halfWay := s.sim.Inject(simulator.Fault{Operation: simulator.List, Page: 2, Kind: simulator.CutBody})
	s.endsIn("billing", 35*time.Second)
	billingEnds := "pager critical IDaaSTokensAboutToEnd " + billing + job
	buildsFail := "chat warning  IDaaSTargetFailing " + builds + job + " shard_index=0"
	s.hooks.await(time.Minute, neverExpires, reportLost, billingEnds, buildsFail)
	if after := s.metrics("idaas_authentication_tokens{", "github_oauth"); !slices.Equal(after, before) {
		t.Errorf("half a walk was published: %q became %q", before, after)
	}

	s.chapter("now every request fails; " + billing + " gets a new token unseen")
	down := s.sim.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Status, Status: 503})
	halfWay()
	add(s.sim, billing, simulator.Token{ID: "billing, renewed", Created: time.Now(), Expires: time.Now().Add(long)})
	allFail := fmt.Sprintf("pager critical IDaaSAllTargetsFailing instance=%s%s shard_index=0", s.address, job)
	outage := []string{neverExpires, reportLost, billingEnds, buildsFail, allFail}
	s.hooks.await(time.Minute, outage...)

	s.chapter("the exporter restarts and has only its state")
	kept := func() []string {
		_, provider := split(report)
		return slices.Concat(s.metrics("idaas_authentication_tokens{", ""), s.metrics("idaas_poll_last_success_", ""),
			s.metrics("idaas_authentication_tokens_last_active_", provider)) // the others' may move on right now
	}
	remembered := kept()
	s.running.stop(t)
	s.startExporter()
	if now := kept(); len(now) != 5+5+1 || !slices.Equal(now, remembered) {
		t.Errorf("after the restart there is not what was before:\n%q\n%q", now, remembered)
	}

	s.chapter("for all that is known, " + billing + " has had no token for long: but no walk has looked")
	consumer, provider := split(billing)
	of := fmt.Sprintf("{consumer=%q,credential_provider=%q}", consumer, provider)
	s.holds(time.Minute, fmt.Sprintf(`count_over_time((
		idaas:target:tokens_active%[1]s == 0
		and time() - idaas:target:last_active_timestamp_seconds%[1]s > idaas:target:lost_after_seconds%[1]s
	)[17s:1s]) >= 17`, of)) // longer than the alert's `for`
	if lost, err := s.prom.query(t.Context(), "max_over_time(ALERTS"+strings.Replace(of, "{", `{alertname="IDaaSTokensLost",`, 1)+"[1h])"); err != nil || len(lost) > 0 {
		t.Errorf("an API outage looks like a loss: %v %v", lost, err)
	}

	s.chapter("recovery: the API answers, " + report + " has a token again")
	add(s.sim, report, simulator.Token{ID: "report, renewed", Created: time.Now(), Expires: time.Now().Add(long)})
	down()
	s.hooks.await(2*time.Minute, neverExpires)
	eventually(t, time.Minute, "alerts in Prometheus", func() error {
		alerts, err := s.prom.alerts(t.Context())
		if err == nil && (len(alerts) != 1 || alerts[0].Labels["alertname"] != "IDaaSTokensNeverExpire") {
			err = fmt.Errorf("still there: %v", alerts)
		}
		return err
	})

	s.chapter("all is resolved that can be")
	s.judge(append(outage, reportEnds))
}

// judge compares what fired in the whole story with what should have.
func (s *story) judge(notified []string) {
	slices.Sort(notified)
	if ever := s.hooks.ever(); !slices.Equal(ever, notified) {
		s.t.Errorf("of the whole story the receivers were told: %v", different(ever, notified))
	}
	s.hooks.mu.Lock()
	for _, fault := range s.hooks.faults {
		s.t.Error(fault)
	}
	s.hooks.mu.Unlock()

	want := []string{
		"IDaaSTokensNeverExpire " + agent,
		"IDaaSTokensAtRisk " + report, "IDaaSTokensNotReplaced " + report, "IDaaSTokensAboutToEnd " + report, "IDaaSTokensLost " + report,
		"IDaaSTokensAtRisk " + billing, "IDaaSTokensNotReplaced " + billing, "IDaaSTokensAboutToEnd " + billing,
		"IDaaSAllTargetsFailing @",
	}
	for _, target := range []string{report, billing, checkout, builds, agent} {
		want = append(want, "IDaaSTargetFailing "+target, "IDaaSDataStale "+target)
	}
	fired, err := s.prom.query(s.t.Context(), `group by (alertname, consumer, credential_provider) (max_over_time(ALERTS{alertstate="firing"}[10m]))`)
	if err != nil {
		s.t.Fatal(err)
	}
	var have []string
	for _, f := range fired {
		have = append(have, f.Labels["alertname"]+" "+f.Labels["consumer"]+"@"+f.Labels["credential_provider"])
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(have, want) {
		s.t.Errorf("of the whole story, in Prometheus: %v", different(have, want))
	}
	s.t.Logf("%d alerts fired in Prometheus; the %d not told to anyone were explained by another:\n   %s", len(have), len(have)-len(notified), strings.Join(have, "\n   "))

	var data struct {
		Groups []struct {
			Rules []struct {
				Name, Health, LastError string
			}
		}
	}
	if err := s.prom.api(s.t.Context(), "rules", url.Values{}, &data); err != nil {
		s.t.Fatal(err)
	}
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" {
				s.t.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
}

// metrics returns the exporter's lines that start like this and contain that.
func (s *story) metrics(start, contains string) (lines []string) {
	s.t.Helper()
	text, err := get(s.t.Context(), "http://"+s.address+"/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, start) && strings.Contains(line, contains) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}
