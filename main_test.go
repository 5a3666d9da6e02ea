package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

const secret = "plain-sight-4711"

// lockedBuffer is a buffer for one writer and one reader at the same time.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// startSimulator serves a simulator on loopback until the test ends, and returns the settings to connect to it.
func startSimulator(t *testing.T, c simulator.Config) (*simulator.Server, []string) {
	c.InstanceID = "idaas_test"
	c.Clients = []simulator.Client{{ID: "app_exporter", Secret: secret}}
	sim := simulator.New(c)
	server := httptest.NewServer(sim)
	t.Cleanup(func() {
		sim.Close()
		server.Close()
	})
	return sim, []string{
		"IDAAS_INSTANCE_ID=idaas_test", "IDAAS_ENDPOINT=" + server.URL, "IDAAS_TOKEN_ENDPOINT=" + server.URL + simulator.TokenPath,
		"IDAAS_CLIENT_ID=app_exporter", "IDAAS_CLIENT_SECRET=" + secret, "IDAAS_LISTEN_ADDRESS=127.0.0.1:0",
		"IDAAS_POLL_SCHEDULE=@every 1h", "IDAAS_RATE_LIMIT=1000", "IDAAS_REQUEST_RETRIES=0",
	}
}

// running is a running exporter.
type running struct {
	t      *testing.T
	url    string
	stderr *lockedBuffer
	stop   func() int // stops it as a signal does, and returns its exit code
}

var listening = regexp.MustCompile(`Listening on"? address=(\S+)`)

func start(t *testing.T, args []string, environ ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, stderr: &lockedBuffer{}}
	exit := make(chan int, 1)
	go func() { exit <- run(ctx, args, environ, io.Discard, r.stderr) }()
	r.stop = sync.OnceValue(func() int {
		cancel()
		http.DefaultClient.CloseIdleConnections()
		return <-exit
	})
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Log(r.stderr.String())
		}
	})
	eventually(t, "listening", func() bool {
		m := listening.FindStringSubmatch(r.stderr.String())
		if m != nil {
			r.url = "http://" + m[1]
		}
		return m != nil
	})
	return r
}

// eventually calls ok until it returns true, for at most 20 s.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

func (r *running) get(path string) (status int, body string) {
	r.t.Helper()
	resp, err := http.Get(r.url + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

type exposition map[string]*dto.MetricFamily

func parse(t *testing.T, text string) exposition {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return families
}

func (r *running) scrape() exposition {
	r.t.Helper()
	status, text := r.get("/metrics")
	if status != http.StatusOK {
		r.t.Fatalf("/metrics: %d %s", status, text)
	}
	return parse(r.t, text)
}

// value returns the value of the series with these labels: name, value, …
func (e exposition) value(metric string, labels ...string) (float64, bool) {
	for _, m := range e[metric].GetMetric() {
		has := map[string]string{}
		for _, l := range m.GetLabel() {
			has[l.GetName()] = l.GetValue()
		}
		match := true
		for i := 0; i < len(labels); i += 2 {
			match = match && has[labels[i]] == labels[i+1]
		}
		if match {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
		}
	}
	return 0, false
}

func (e exposition) counts(consumer, provider string) (simulator.Counts, bool) {
	get := func(name string) int {
		v, _ := e.value("idaas_authentication_tokens"+name, "consumer", consumer, "credential_provider", provider)
		return int(v)
	}
	_, ok := e.value("idaas_authentication_tokens", "consumer", consumer, "credential_provider", provider)
	return simulator.Counts{
		Total: get(""), Active: get("_active"), Expired: get("_expired"), Revoked: get("_revoked"),
		WithoutExpiration: get("_without_expiration"),
	}, ok
}

func (r *running) attempted() {
	r.t.Helper()
	eventually(r.t, "every target attempted", func() bool { status, _ := r.get("/-/ready"); return status == http.StatusOK })
}

func TestEveryGaugeEqualsAnIndependentCount(t *testing.T) {
	consumers := []string{
		"app_plain", "urn:a:b", `quote"d`, "two words", "me@example.com", "Jürgen-測試", "100%+&=#?/\\", "expired-and-not",
	}
	for _, c := range []struct {
		name   string
		config simulator.Config
		fault  simulator.FaultKind
	}{
		{"absent nextToken", simulator.Config{End: simulator.EndAbsent}, simulator.Slow},
		{"null nextToken", simulator.Config{End: simulator.EndNull}, simulator.ShortPage},
		{"empty nextToken", simulator.Config{End: simulator.EndEmpty}, simulator.EmptyPage},
		{"duplicates", simulator.Config{ClampPageSize: true, MaxPageSize: 7}, simulator.Duplicates},
		{"seconds", simulator.Config{Seconds: true}, simulator.UnknownFields},
		{"negative expirations", simulator.Config{OmitTotalCount: true}, simulator.Slow},
	} {
		t.Run(c.name, func(t *testing.T) {
			sim, environ := startSimulator(t, c.config)
			sim.Inject(simulator.Fault{Operation: simulator.List, Kind: c.fault, Page: 1})
			now := time.Now()
			var targets []string
			for n, consumer := range consumers {
				targets = append(targets, consumer+":orders_jwt")
				for i := range 30 * n {
					sim.Add(consumer, "orders_jwt", simulator.Token{
						ID:        fmt.Sprintf("%s-%d", consumer, i),
						Created:   now.Add(-48 * time.Hour),
						Expires:   []time.Time{now.Add(time.Duration(i-20) * time.Hour), {}, now.Add(-time.Hour)}[i%3],
						ExpiresAs: simulator.Form(i % 4),
						Revoked:   i%5 == 0,
						RevokedAs: simulator.Form(i % 3),
					})
				}
			}
			sim.Add(consumers[0], "orders_jwt")
			r := start(t, nil, append(environ, "IDAAS_TARGETS="+strings.Join(targets, ","))...)
			r.attempted()
			for _, consumer := range consumers {
				before := sim.Count(consumer, "orders_jwt", time.Now())
				got, known := r.scrape().counts(consumer, "orders_jwt")
				after := sim.Count(consumer, "orders_jwt", time.Now())
				if !known || got != before && got != after {
					t.Errorf("%s: %+v (present: %v), want %+v", consumer, got, known, after)
				}
			}
			if n := sim.Requests(simulator.Access); n != 1 {
				t.Errorf("%d token requests for %d targets, want 1", n, len(targets))
			}
			if code := r.stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestTwentyThousandTokens(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	now := time.Now()
	sim.Generate("big", "orders_jwt", 20_000, func(i int) simulator.Token {
		return simulator.Token{ID: fmt.Sprint(i), Expires: now.Add(time.Duration(i-10_000) * time.Minute), Revoked: i%7 == 0}
	})
	r := start(t, nil, append(environ, "IDAAS_TARGETS=big:orders_jwt")...)
	r.attempted()
	got, _ := r.scrape().counts("big", "orders_jwt")
	if want := sim.Count("big", "orders_jwt", time.Now()); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if n := sim.Requests(simulator.List); n != 200 {
		t.Errorf("%d list requests, want 200", n)
	}
}

func TestATokenExpiresAtItsSecondWithoutAPoll(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	end := time.Now().Add(2 * time.Second)
	sim.Add("a", "p", simulator.Token{ID: "1", Expires: end}, simulator.Token{ID: "2"})
	r := start(t, nil, append(environ, "IDAAS_TARGETS=a:p")...)
	r.attempted()
	eventually(t, "the token expired", func() bool {
		before := time.Now()
		got, _ := r.scrape().counts("a", "p")
		expired := got == simulator.Counts{Total: 2, Active: 1, Expired: 1, WithoutExpiration: 1}
		if !expired && (got != simulator.Counts{Total: 2, Active: 2, WithoutExpiration: 1} || before.After(end)) {
			t.Fatalf("%v after its end: %+v", before.Sub(end), got)
		}
		if expired && time.Now().Before(end) {
			t.Fatalf("expired %v before its end", time.Until(end))
		}
		return expired
	})
	if n := sim.Requests(simulator.List); n != 1 {
		t.Errorf("%d list requests, want 1", n)
	}
}

func TestAFailingTargetLeavesTheOthersAndItsOwnLastData(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	sim.Add("a", "p", simulator.Token{ID: "1"}, simulator.Token{ID: "2"})
	sim.Add("b", "p", simulator.Token{ID: "3"})
	r := start(t, nil, append(environ, "IDAAS_TARGETS=a:p,b:p", "IDAAS_POLL_SCHEDULE=@every 1s")...)
	r.attempted()
	repair := sim.Inject(simulator.Fault{Operation: simulator.List, Consumer: "a", Kind: simulator.Status, Status: 403, Code: "access_denied"})
	sim.Add("b", "p", simulator.Token{ID: "4"})
	eventually(t, "a fails and b is fresh", func() bool {
		e := r.scrape()
		failed, _ := e.value("idaas_poll_error", "consumer", "a", "reason", "forbidden")
		b, _ := e.counts("b", "p")
		a, _ := e.counts("a", "p")
		if a.Total != 2 {
			t.Fatalf("a has lost its data: %+v", a)
		}
		return failed == 1 && b.Total == 2
	})
	repair()
	sim.Add("a", "p", simulator.Token{ID: "5"})
	eventually(t, "a recovered", func() bool {
		e := r.scrape()
		ok, _ := e.value("idaas_poll_success", "consumer", "a")
		_, failing := e.value("idaas_poll_error", "consumer", "a")
		a, _ := e.counts("a", "p")
		return ok == 1 && !failing && a.Total == 3
	})
	r.stop()
	if log := r.stderr.String(); strings.Count(log, "target failed") != 1 || strings.Count(log, "target recovered") != 1 ||
		strings.Contains(log, "\x1b") {
		t.Errorf("want one plain line per transition:\n%s", log)
	}
}

func TestRoutes(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	sim.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Hang})
	r := start(t, nil, append(environ, "IDAAS_TARGETS=a:p")...)
	for path, want := range map[string]int{"/": 200, "/metrics": 200, "/-/healthy": 200, "/-/ready": 503, "/nothing": 404} {
		if got, body := r.get(path); got != want {
			t.Errorf("%s: %d, want %d\n%s", path, got, want, body)
		}
	}
	if _, page := r.get("/"); !strings.Contains(page, "IDaaS token exporter") || !strings.Contains(page, `href="metrics"`) {
		t.Errorf("status page:\n%s", page)
	}
	if _, known := r.scrape().counts("a", "p"); known {
		t.Error("an unknown target has token series")
	}
	if _, attempted := r.scrape().value("idaas_poll_success", "consumer", "a"); attempted {
		t.Error("poll success before the first attempt has ended")
	}
}

func TestScrapeFormats(t *testing.T) {
	r := start(t, []string{"demo"}, "IDAAS_LISTEN_ADDRESS=127.0.0.1:0")
	for accept, want := range map[string]string{
		"": "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0": "application/openmetrics-text; version=1.0.0",
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/metrics", http.NoBody)
		req.Header.Set("Accept", accept)
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, want) || resp.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("Accept %q: %s, encoded %q", accept, got, resp.Header.Get("Content-Encoding"))
		}
	}
}

// A walk in flight is canceled at the end.
func TestGracefulEnd(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	sim.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Hang})
	r := start(t, nil, append(environ, "IDAAS_TARGETS=a:p")...)
	eventually(t, "a walk", func() bool { return sim.Requests(simulator.List) > 0 })
	began := time.Now()
	if code := r.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	if log := r.stderr.String(); !strings.Contains(log, "stopped") || strings.Contains(log, "failing") {
		t.Errorf("log:\n%s", log)
	}
}
