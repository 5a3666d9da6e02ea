package prometheus

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// hundred is an exporter with a hundred targets that have every series a target can have.
type hundred struct{ address string }

const targets = 100

func startHundred(t *testing.T) hundred {
	t.Helper()
	sim := simulator.New(simulator.Config{Clients: []simulator.Client{{ID: "exporter", Secret: "not a secret"}}})
	now := time.Now()
	var list []string
	for i := range targets {
		consumer, provider := fmt.Sprintf("app_%025d", i), fmt.Sprintf("provider_%d_oauth", i%10)
		id := fmt.Sprint("token-", i, "-")
		sim.Add(consumer, provider,
			simulator.Token{ID: id + "active", Created: now, Expires: now.Add(24 * time.Hour)},
			simulator.Token{ID: id + "expired", Created: now.Add(-24 * time.Hour), Expires: now.Add(-time.Hour)},
			simulator.Token{ID: id + "revoked", Created: now, Expires: now.Add(24 * time.Hour), Revoked: true})
		list = append(list, consumer+":"+provider)
	}
	api := httptest.NewServer(sim)
	t.Cleanup(api.Close)
	t.Cleanup(sim.Close)
	h := hundred{e2e.FreeAddress(t)}
	e2e.Start(t, []string{
		"IDAAS_DOMAIN=" + api.URL,
		"IDAAS_CLIENT_ID=exporter",
		"IDAAS_CLIENT_SECRET=not a secret",
		"IDAAS_TARGETS=" + strings.Join(list, ","),
		"IDAAS_POLL_SCHEDULE=@every 2s",
		"IDAAS_RATE_LIMIT=200",
		"IDAAS_REQUEST_RETRIES=0",
		"IDAAS_LISTEN_ADDRESS=" + h.address,
	}, e2e.Exporter(t))
	e2e.WaitFor(t, "http://"+h.address+"/-/ready")
	// From now on walks fail, so that each target has its error as well.
	sim.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Status, Status: 503})
	return h
}

var documented = regexp.MustCompile(
	`1\.5 \* \(targets \* \((\d+) \+ windows in IDAAS_EXPIRING_WITHIN\) \+ (\d+)\)\s+body_size_limit = (\d+) kB \* targets`,
)

// check compares what is scraped with what deploy/prometheus/README.md says.
func (h hundred) check(t *testing.T, prom *e2e.Prometheus) {
	part := documented.FindStringSubmatch(e2e.ReadFile(t, e2e.Root+"/deploy/prometheus/README.md"))
	if part == nil {
		t.Fatalf("the README has no sum like %s", documented)
	}
	var n [3]float64
	for i := range n {
		n[i], _ = strconv.ParseFloat(part[i+1], 64)
	}
	const windows = 4 // IDAAS_EXPIRING_WITHIN by default
	perTarget, rest, kilobytes := n[0]+windows, n[1], n[2]

	e2e.Eventually(t, 30*time.Second, "every target fails", func() error {
		failing, err := prom.Number(t.Context(), `count(idaas_poll_error{job="hundred"})`)
		if err == nil && failing != targets {
			err = fmt.Errorf("%v do", failing)
		}
		return err
	})
	most, err := prom.Number(t.Context(),
		`max(count by (consumer, credential_provider) ({job="hundred",consumer!="",__name__!~".*:.*|ALERTS.*"}))`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := prom.Number(t.Context(), `scrape_samples_scraped{job="hundred"}`)
	if err != nil {
		t.Fatal(err)
	}
	text, err := e2e.Get(t.Context(), "http://"+h.address+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	size := float64(len(text)) / 1000
	t.Logf("%d targets: %v series each, %v in all, %.0f kB; documented are %v, %v, %v",
		targets, most, all, size, perTarget, perTarget*targets+rest, kilobytes*targets)
	if most > perTarget || all > perTarget*targets+rest || size > kilobytes*targets {
		t.Error("more than documented")
	}
}
