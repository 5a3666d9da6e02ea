package check

import (
	"bytes"
	"flag"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator/identities"
)

var update = flag.Bool("update", false, "write testdata")

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

const (
	testClient  = "app_exporter"
	testSecret  = "planted secret+/%\""
	testPerson  = "jane.doe@example.com" // only ever shown as its label
	shownPerson = "a1b2c3d4e5f6"
)

// world is a simulated API on the loopback interface, and a Config that leads there.
type world struct {
	*simulator.Server
	http    *httptest.Server
	ecs     *identities.ECS // that the federated credential of the client is for, as is
	ca      *identities.CA  // this one
	Config  Config
	secrets []string
}

func newWorld(t *testing.T, c simulator.Config, wrap ...func(http.Handler) http.Handler) *world {
	t.Helper()
	ecs, ca := identities.NewECS(t, time.Now()), identities.NewCA(t, time.Now())
	if c.Clients == nil {
		c.Clients = []simulator.Client{{
			ID: testClient, Secret: testSecret, FederatedCredential: "k8s", PKCS7: ecs.Verify,
			PCA: simulator.PCA{Roots: ca.Roots},
		}}
	}
	w := &world{Server: simulator.New(c), ecs: ecs, ca: ca, secrets: []string{testSecret, testPerson}}
	var handler http.Handler = w.Server
	for _, f := range wrap {
		handler = f(handler)
	}
	w.serve(t, httptest.NewUnstartedServer(handler), (*httptest.Server).Start)
	w.Config = Config{
		Client: idaas.Config{
			InstanceID:    "idaas_simulator",
			Endpoint:      w.http.URL,
			TokenEndpoint: w.http.URL + simulator.TokenPath,
			Network:       "internet",
			Auth: auth.Identity{
				Method: "client_secret_post", ClientID: testClient, Scope: simulator.ReadScope,
				Secret: auth.Credential{Text: poller.NewSecret(testSecret)},
			},
			PageSize:  100,
			RateLimit: 1000,
			Timeout:   5 * time.Second,
			UserAgent: "test",
			Log:       slog.New(slog.DiscardHandler),
		},
		Targets: []poller.Target{
			{Consumer: "app_billing", Provider: "github_oauth", Label: "billing"},
			{Consumer: testPerson, Provider: "orders_jwt", Label: shownPerson},
		},
		Schedule:    scheduled(5 * time.Minute),
		Concurrency: 4,
		Timeout:     time.Hour,
		Progress:    io.Discard,
	}
	w.transport(t)
	for _, target := range w.Config.Targets {
		w.Add(target.Consumer, target.Provider, tokens(3)...)
	}
	return w
}

func (w *world) serve(t *testing.T, s *httptest.Server, start func(*httptest.Server)) {
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	start(s)
	w.http = s
	t.Cleanup(func() {
		w.Close()
		s.Close()
	})
}

// transport gives the client a transport of its own, for the case to change.
func (w *world) transport(t *testing.T) *http.Transport {
	transport := idaas.NewTransport(nil)
	transport.Proxy = nil
	t.Cleanup(transport.CloseIdleConnections)
	w.Config.Client.Transport = transport
	return transport
}

// discover removes all settings that can be discovered.
func (w *world) discover() {
	c := &w.Config.Client
	c.Domain, c.InstanceID, c.Endpoint, c.TokenEndpoint = w.http.URL, "", "", ""
}

// readyToken sets the access token of the client to one of the simulator.
func (w *world) readyToken(t *testing.T) {
	if r := w.run(t); r.Failed() {
		t.Fatalf("no access token: %+v", r)
	}
	requests := w.Log()
	token := requests[len(requests)-1].AccessToken
	w.Config.Client.AccessToken = auth.Credential{Text: poller.NewSecret(token)}
}

// run checks the world, and that the output has no secret.
func (w *world) run(t *testing.T) Report {
	t.Helper()
	r := Run(t.Context(), w.Config)
	var out bytes.Buffer
	if err := r.Table(&out); err != nil {
		t.Error(err)
	}
	if err := r.JSON(&out); err != nil {
		t.Error(err)
	}
	secrets := w.secrets
	for _, request := range w.Log() {
		if request.AccessToken != "" {
			secrets = append(secrets, request.AccessToken)
		}
	}
	for _, secret := range secrets {
		for _, form := range []string{secret, strings.Trim(jsonOf(t, secret), `"`)} {
			if strings.Contains(out.String(), form) {
				t.Errorf("%q is in the output:\n%s", form, out.String())
			}
		}
	}
	return r
}

func tokens(n int) []simulator.Token {
	list := make([]simulator.Token, n)
	for i := range list {
		list[i].Expires = time.Now().Add(time.Hour)
	}
	return list
}

// every is a schedule with times at whole multiples of itself.
type every time.Duration

func (e every) Next(t time.Time) time.Time {
	return t.Truncate(time.Duration(e)).Add(time.Duration(e))
}

// scheduled returns every d with its text.
func scheduled(d time.Duration) poller.Schedule {
	return poller.Schedule{Text: "@every " + d.String(), Calendar: every(d)}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it). Got:\n%s", file, got)
	}
}
