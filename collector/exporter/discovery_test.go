package exporter

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/idaas-exporter/idaas-token-exporter/collector"
	"github.com/idaas-exporter/idaas-token-exporter/config"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

func TestMain(m *testing.M) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // what that starts must not begin in a bubble
	goleak.VerifyTestMain(m)
}

// direct has a handler answer without a network.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("aborted")
		}
	}()
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result(), r.Context().Err()
}

// unused is a listener that nobody connects to.
type unused struct {
	closed chan struct{}
	once   sync.Once
}

func (u *unused) Accept() (net.Conn, error) {
	<-u.closed
	return nil, net.ErrClosed
}

func (u *unused) Close() error {
	u.once.Do(func() { close(u.closed) })
	return nil
}
func (*unused) Addr() net.Addr { return &net.TCPAddr{} }

// fixture is an exporter in a bubble, of an instance with RAM credentials.
type fixture struct {
	*testing.T
	*simulator.Server
	app  *Exporter
	log  bytes.Buffer
	file string
	stop func()

	remove  func() // the list that lists has set
	network Network
}

func newFixture(t *testing.T, targets string) *fixture {
	f := &fixture{T: t, file: filepath.Join(t.TempDir(), "targets.yaml"), Server: simulator.New(simulator.WithRAM(simulator.Config{
		Clients: []simulator.Client{{ID: "app_exporter", Secret: "secret"}},
	}, simulator.RAMUser{AccessKeyID: "key", AccessKeySecret: "ram-secret"}))}
	f.write(targets)
	time.Sleep(time.Until(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)))
	return f
}

func (f *fixture) write(targets string) {
	f.Helper()
	if err := os.WriteFile(f.file, []byte("targets: "+targets), 0o600); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) load(more ...string) *config.Config {
	f.Helper()
	cfg, err := config.Load(slices.Concat([]string{
		"IDAAS_INSTANCE_ID=idaas_simulator", "IDAAS_ENDPOINT=http://127.0.0.1", "IDAAS_TOKEN_ENDPOINT=http://127.0.0.1" + simulator.TokenPath,
		"IDAAS_MANAGEMENT_ENDPOINT=http://127.0.0.1", "IDAAS_CLIENT_ID=app_exporter", "IDAAS_CLIENT_SECRET=secret",
		"IDAAS_RATE_LIMIT=1000", "IDAAS_TARGETS_FILE=" + f.file, "IDAAS_POLL_SCHEDULE=0 */6 * * *",
	}, more), func(string) error { return nil })
	if err != nil {
		f.Fatal(err)
	}
	return cfg
}

// start serves until stop is called.
func (f *fixture) start(more ...string) {
	f.Helper()
	f.network.Transport = direct{f.Server}
	f.network.Listen = func(context.Context, string, string) (net.Listener, error) {
		return &unused{closed: make(chan struct{})}, nil
	}
	f.app = New(f.load(more...), f.network, slog.New(slog.NewTextHandler(&f.log, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { f.app.Serve(ctx) })
	f.stop = func() {
		cancel()
		serving.Wait()
	}
	f.pass(time.Second)
}

func (f *fixture) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// want compares the targets shown, as consumer@provider, where - is in front of those not read.
func (f *fixture) want(what, targets string) {
	f.Helper()
	var shown []string
	for _, r := range f.app.poller.Snapshot().Readings {
		text := r.Target.Label + "@" + r.Target.Provider
		if r.Census == nil {
			text = "-" + text
		}
		shown = append(shown, text)
	}
	slices.SortStableFunc(shown, func(a, b string) int { return strings.Compare(a[strings.Index(a, "@"):], b[strings.Index(b, "@"):]) })
	if got := strings.Join(shown, " "); got != targets {
		f.Errorf("%s: %q, want %q\n%s", what, got, targets, f.log.String())
	}
}

// metric returns the value of a metric without labels; nothing if it is not there.
func (f *fixture) metric(name string) string {
	f.Helper()
	var text bytes.Buffer
	if err := collector.WriteText(f.app.registry(), "", &text); err != nil {
		f.Fatal(err)
	}
	found := regexp.MustCompile("(?m)^" + regexp.QuoteMeta(name) + " (.*)$").FindStringSubmatch(text.String())
	return strings.Join(found[min(1, len(found)):], "")
}

// withKeys gives the process RAM credentials.
func withKeys(t *testing.T) {
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "key")
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ram-secret")
}

const success, lastSuccess = "idaas_provider_discovery_success", "idaas_provider_discovery_last_success_timestamp_seconds"

func TestDiscovery(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumer: a, credential_providers: all}, {consumer: b, credential_providers: [p1]}]")
		f.Add("a", "p1", simulator.Token{})
		f.Add("b", "p1", simulator.Token{})
		f.start()
		defer func() { f.stop() }()
		f.want("at first", "b@p1 a@p1")
		if f.metric(success) != "1" || f.metric(lastSuccess) == "" {
			t.Errorf("%q at %q", f.metric(success), f.metric(lastSuccess))
		}
		f.SetProvider(simulator.Provider{Identifier: "p2", Type: "oauth"})
		f.pass(9 * time.Minute)
		f.want("too soon", "b@p1 a@p1")
		f.pass(time.Minute)
		f.want("a new one is watched", "b@p1 a@p1 a@p2")
		if n := f.Requests(simulator.Providers); n != 2 {
			t.Errorf("%d requests in ten minutes", n)
		}

		// A failure changes nothing, and is told once.
		f.SetProvider(simulator.Provider{Identifier: "p1", Disabled: true})
		remove := f.Inject(simulator.Fault{
			Operation: simulator.Providers, Kind: simulator.Status, Status: 403, Code: "NoPermission", Shape: simulator.ShapeGateway,
		})
		f.pass(30 * time.Minute)
		f.want("while it fails", "b@p1 a@p1 a@p2")
		if f.metric(success) != "0" {
			t.Errorf("it fails, and is shown as %q", f.metric(success))
		}
		if n := strings.Count(f.log.String(), failed); n != 1 || !strings.Contains(f.log.String(), "reason=forbidden") {
			t.Errorf("told %d times:\n%s", n, f.log.String())
		}
		remove()
		f.pass(2 * time.Minute)
		f.want("what was given one by one stays", "b@p1 a@p2")
		if n := strings.Count(f.log.String(), recovered); n != 1 || f.metric(success) != "1" {
			t.Errorf("told %d times, %q", n, f.metric(success))
		}

		// Nobody asks for all any more, and then again.
		f.write("[{consumer: b, credential_providers: [p1]}]")
		f.pass(11 * time.Second)
		f.want("no more", "b@p1")
		if f.metric(success)+f.metric(lastSuccess) != "" {
			t.Error("its metrics are there still")
		}
		f.write("[{consumer: b, credential_providers: all}]")
		if err := f.app.reloader.Reload(); err != nil {
			t.Fatal(err)
		}
		f.pass(time.Second)
		f.want("again", "b@p2")
		if f.metric(success) != "1" {
			t.Error("it is not discovering")
		}
		if strings.Contains(f.log.String(), "ram-secret") {
			t.Error("the log has the secret")
		}
	})
}

// With the API down, a restart knows what the state file does.
func TestDiscoveryAfterARestart(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumer: a, credential_providers: {match: '^p'}}]")
		f.Add("a", "p1", simulator.Token{})
		f.Add("a", "p2", simulator.Token{})
		state := "IDAAS_STATE_FILE=" + filepath.Join(t.TempDir(), "state")
		f.start(state)
		f.want("before", "a@p1 a@p2")
		f.stop()
		remove := f.Inject(simulator.Fault{Kind: simulator.Reset})
		f.start(state)
		defer func() { f.stop() }()
		f.want("restored", "a@p1 a@p2")
		f.pass(20 * time.Minute)
		f.want("later", "a@p1 a@p2")
		if f.metric(success) != "0" || f.metric(lastSuccess) != "" {
			t.Errorf("%q, %q", f.metric(success), f.metric(lastSuccess))
		}
		f.SetProvider(simulator.Provider{Identifier: "p2", Disabled: true})
		remove()
		f.pass(6 * time.Minute)
		f.want("once it is up", "a@p1")
	})
}

// What hangs holds up neither the walks nor the end.
func TestDiscoveryHangs(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumer: a, credential_providers: [p1]}, {consumer: b, credential_providers: all}]")
		f.Add("a", "p1", simulator.Token{})
		f.Inject(simulator.Fault{Operation: simulator.Providers, Kind: simulator.Hang})
		f.start("IDAAS_REQUEST_TIMEOUT=1h", "IDAAS_POLL_SCHEDULE=@every 5m")
		f.want("beside it", "a@p1")
		f.pass(10 * time.Minute)
		if got := f.metric(`idaas_poll_cycles_total{schedule="@every 5m"}`); got != "3" {
			t.Errorf("%s cycles", got)
		}
		start := time.Now()
		f.stop()
		if took := time.Since(start); took > time.Second {
			t.Errorf("the end took %v", took)
		}
	})
}

// Too many found are warned of.
func TestDiscoveryOfMany(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumer: a, credential_providers: all}]")
		for i := range 20 {
			f.SetProvider(simulator.Provider{Identifier: string(rune('a' + i))})
		}
		f.start("IDAAS_RATE_LIMIT=0.1", "IDAAS_POLL_SCHEDULE=@every 1m")
		defer func() { f.stop() }()
		if want := "one request for each poll of 20 targets is 0.3333 per second"; strings.Count(f.log.String(), want) != 1 {
			t.Errorf("no %q in\n%s", want, f.log.String())
		}
	})
}

func TestOnceDiscovers(t *testing.T) {
	withKeys(t)
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "[{consumer: a, credential_providers: all}]")
		f.Add("a", "p1", simulator.Token{})
		once := func() (int, string) {
			var out bytes.Buffer
			app := New(f.load(), Network{Transport: direct{f.Server}}, slog.New(slog.NewTextHandler(&f.log, nil)))
			return app.Once(t.Context(), "", &out), out.String()
		}
		code, text := once()
		const tokens = `idaas_authentication_tokens{consumer="a",credential_provider="p1"} 1`
		if code != 0 || !strings.Contains(text, tokens) || !strings.Contains(text, success+" 1") {
			t.Errorf("%d\n%s", code, text)
		}
		f.Inject(simulator.Fault{Operation: simulator.Providers, Kind: simulator.Status, Status: 403})
		if code, text = once(); code != 1 || !strings.Contains(text, success+" 0") {
			t.Errorf("%d\n%s", code, text)
		}
		if slices.Contains(strings.Fields(text), "idaas_poll_success") {
			t.Error("a target is shown")
		}
	})
}
