package check

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stable replaces what differs from run to run in a report.
func stable(w *world, r Report) Report {
	took := regexp.MustCompile(`\b(first page in|(?:about|at least) [0-9]+ in) [0-9.a-zµ]+`)
	id := regexp.MustCompile(`request id [A-Z0-9]+`)
	clock := regexp.MustCompile(`^[0-9.]+m?s (ahead of|behind)`)
	out := Report{}
	for _, f := range r.Findings {
		for _, text := range []*string{&f.Subject, &f.Detail, &f.Advice} {
			*text = strings.ReplaceAll(*text, w.http.URL, "https://idaas.test")
			*text = took.ReplaceAllString(*text, "$1 42ms")
			*text = id.ReplaceAllString(*text, "request id REQUEST")
			*text = clock.ReplaceAllString(*text, "0s behind")
		}
		out.Findings = append(out.Findings, f)
	}
	return out
}

func table(t *testing.T, r Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Table(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHealthy(t *testing.T) {
	w := newWorld(t, simulator.Config{})
	w.discover()
	w.Add("app_billing", "github_oauth", tokens(1500)...)
	r := w.run(t)
	if r.Failed() {
		t.Error("it failed")
	}
	s := stable(w, r)
	golden(t, "healthy.txt", table(t, s))
	var b bytes.Buffer
	if err := s.JSON(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "healthy.json", b.String())
	var back struct {
		Failed   *bool     `json:"failed"`
		Findings []Finding `json:"findings"`
	}
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back.Failed == nil || len(back.Findings) != len(r.Findings) {
		t.Errorf("JSON reads back as %+v, %v", back, err)
	}
}

func TestMixed(t *testing.T) {
	w := newWorld(t, simulator.Config{
		MaxPageSize: 50, ClockSkew: -3 * time.Minute, OmitTotalCount: true, Seconds: true, End: simulator.EndEmpty,
		Clients: []simulator.Client{{ID: testClient, Secret: testSecret, Providers: []string{"github_oauth", "orders_jwt", "slow"}}},
	})
	w.Config.Warnings = []string{"IDAAS_POLL_SHEDULE is not a setting: is IDAAS_POLL_SCHEDULE meant?"}
	w.Config.Schedule = scheduled(time.Second)
	w.Config.Client.RateLimit = 30
	w.Config.Client.Retries = 4
	w.Config.Client.Timeout = 100 * time.Millisecond
	w.Add("app_billing", "github_oauth", tokens(70)...)
	w.Add("app_billing", "private", tokens(1)...)
	w.Inject(simulator.Fault{Consumer: "app_slow", Kind: simulator.Hang})
	w.Add("app_slow", "slow", tokens(1)...)
	for _, pair := range []string{
		"app_billing private", "app_payroll private", "app_slow slow", "app_billing atp_12345",
		"app_misspelt github_oauth",
	} {
		consumer, provider, _ := strings.Cut(pair, " ")
		w.Config.Targets = append(w.Config.Targets, poller.Target{Consumer: consumer, Provider: provider, Label: consumer})
	}
	w.Config.Targets[2].Label = "a consumer with an alias as long as aliases may get, or nearly"
	r := w.run(t)
	if !r.Failed() {
		t.Error("it did not fail")
	}
	golden(t, "mixed.txt", table(t, stable(w, r)))
}

// behaviour returns the finding about a part of the API behaviour.
func behaviour(r Report, subject string) Finding {
	for _, f := range r.Findings {
		if f.Step == stepBehaviour && f.Subject == subject {
			return f
		}
	}
	return Finding{}
}

func TestAPIBehaviour(t *testing.T) {
	for name, c := range map[string]struct {
		api     simulator.Config
		change  func(*world)
		subject string
		status  Status
		detail  string
		advice  string
	}{
		"correct total": {subject: "totalCount", status: OK, detail: "absent for 0 of 2 targets, correct for 2 of 2 complete lists"},
		"wrong total": {
			change:  func(w *world) { w.Inject(simulator.Fault{Consumer: "app_billing", Kind: simulator.Duplicates}) },
			subject: "totalCount", status: Warning, detail: "correct for 1 of 2 complete lists",
			advice: "idaas_poll_reported_tokens does not verify",
		},
		"no total": {
			api: simulator.Config{OmitTotalCount: true}, subject: "totalCount", status: Warning,
			detail: "absent for 2 of 2 targets", advice: "totalCount is unreliable",
		},
		"page size": {subject: "page size", status: OK, detail: "100 accepted"},
		"page size refused": {
			api: simulator.Config{MaxPageSize: 50}, subject: "page size", status: Warning,
			detail: "100 refused, 20 accepted", advice: "IDAAS_PAGE_SIZE=20",
		},
		"page size clamped": {
			api: simulator.Config{MaxPageSize: 10, ClampPageSize: true}, change: long, subject: "page size", status: OK,
			detail: "100 accepted",
		},
		"nothing was read": {
			change: func(w *world) { w.Config.Client.Auth.Scope = "x" }, subject: "", status: Skipped,
			detail: "no target was read",
		},
		"no target was given": {change: func(w *world) { w.Config.Targets = nil }, subject: "", status: Skipped, detail: "no target was read"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.api)
			if c.change != nil {
				c.change(w)
			}
			f := behaviour(w.run(t), c.subject)
			if f.Status != c.status || !strings.Contains(f.Detail, c.detail) || !strings.Contains(f.Advice, c.advice) ||
				(c.advice == "") != (f.Advice == "") {
				t.Errorf("got %+v, want %+v", f, c)
			}
		})
	}
}

func long(w *world) {
	for _, target := range w.Config.Targets {
		w.Add(target.Consumer, target.Provider, tokens(301)...)
	}
}

func TestHundredsOfTargets(t *testing.T) {
	w := newWorld(t, simulator.Config{})
	w.Config.Targets = nil
	for i := range 120 {
		consumer := fmt.Sprintf("app_%03d", i)
		w.Add(consumer, "jwt", tokens(250)...)
		w.Config.Targets = append(w.Config.Targets, poller.Target{Consumer: consumer, Provider: "jwt", Label: consumer})
	}
	r := w.run(t)
	if n := countOf(r, stepTarget, OK); n != 120 {
		t.Errorf("%d lines", n)
	}
	if n := w.Requests(simulator.List); n != 120*3 {
		t.Errorf("%d requests", n)
	}
}

func countOf(r Report, step string, status Status) (n int) {
	for _, f := range r.Findings {
		if f.Step == step && f.Status == status {
			n++
		}
	}
	return n
}

// A failure that all targets would have is reported once.
func TestSharedFailureIsReportedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		fault           simulator.Fault
		failed, skipped int
		requests        int
	}{
		"refused":          {simulator.Fault{Status: 401, Kind: simulator.Status}, 1, 1, 2},
		"connection":       {simulator.Fault{Kind: simulator.CutBody}, 1, 1, 2},
		"no response":      {simulator.Fault{Kind: simulator.Hang}, 1, 1, 2},
		"server error":     {simulator.Fault{Kind: simulator.Status}, 6, 0, 12},
		"one of them":      {simulator.Fault{Kind: simulator.Status, Consumer: "app_1"}, 1, 0, 7},
		"each of them":     {simulator.Fault{Kind: simulator.Status, Status: 403}, 6, 0, 6},
		"after a good one": {simulator.Fault{Kind: simulator.Status, Status: 401, When: afterFirst()}, 5, 0, 11},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, simulator.Config{})
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)))
				w.Server = simulator.New(simulator.Config{Clients: []simulator.Client{{ID: testClient, Secret: testSecret}}})
				defer w.Close()
				w.Config.Client.Transport = inMemory{w.Server}
				w.Config.Client.Retries = 4
				w.Config.Client.Timeout = 500 * time.Millisecond
				w.Config.Targets = nil
				for i := range 6 {
					consumer := fmt.Sprintf("app_%d", i)
					w.Add(consumer, "jwt", tokens(1)...)
					w.Config.Targets = append(w.Config.Targets, poller.Target{Consumer: consumer, Provider: "jwt", Label: consumer})
				}
				c.fault.Operation = simulator.List
				w.Inject(c.fault)
				r := w.run(t)
				failed, skipped := countOf(r, stepTarget, Failed), countOf(r, stepTarget, Skipped)
				if n := strings.Count(table(t, r), "→"); n != 1 {
					t.Errorf("%d pieces of advice:\n%s", n, table(t, r))
				}
				if n := w.Requests(simulator.List); failed != c.failed || skipped != c.skipped || n != c.requests {
					t.Errorf("%d failed, %d skipped, %d requests; want %+v\n%s", failed, skipped, n, c, table(t, r))
				}
			})
		})
	}
}

// afterFirst is true from the second request on.
func afterFirst() func(time.Time) bool {
	first := true
	return func(time.Time) bool {
		defer func() { first = false }()
		return !first
	}
}

func TestInterrupted(t *testing.T) {
	w := newWorld(t, simulator.Config{})
	w.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Hang})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := Run(ctx, w.Config)
	if text := table(t, r); !r.Failed() || !strings.Contains(text, "interrupted") || countOf(r, stepTarget, Skipped) != 1 {
		t.Error(text)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if r := Run(ended, w.Config); !r.Failed() || countOf(r, stepDiscovery, Failed) != 1 {
		t.Error(table(t, r))
	}
}

func TestFindingsArePrintable(t *testing.T) {
	w := newWorld(t, simulator.Config{InstanceID: "x\x1b[2J\ny"})
	w.discover()
	for _, f := range w.run(t).Findings {
		if strings.ContainsAny(f.Subject+f.Detail+f.Advice, "\x1b\n") {
			t.Errorf("%q", f)
		}
	}
}
