package idaas

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

func discovered(change func(*Config)) func(*Config) {
	return func(c *Config) {
		c.Domain, c.Network = "http://localhost", "internet"
		c.InstanceID, c.Endpoint, c.TokenEndpoint = "", "", ""
		change(c)
	}
}

func TestDiscovery(t *testing.T) {
	for _, tt := range []struct {
		name     string
		change   func(*Config)
		requests int
		want     Instance
	}{
		{"everything", func(*Config) {}, 2, Instance{"idaas_simulator", "http://127.0.0.1", "http://localhost" + simulator.TokenPath, ""}},
		{
			"inside a VPC", func(c *Config) { c.Network = "vpc" }, 2,
			Instance{"idaas_simulator", "http://127.0.0.2", "http://localhost" + simulator.TokenPath, ""},
		},
		{
			"what is set wins", func(c *Config) { c.Endpoint = "http://127.0.0.3" }, 2,
			Instance{"idaas_simulator", "http://127.0.0.3", "http://localhost" + simulator.TokenPath, ""},
		},
		{
			"token endpoint set", func(c *Config) { c.TokenEndpoint = "http://localhost" + simulator.TokenPath }, 1,
			Instance{"idaas_simulator", "http://127.0.0.1", "http://localhost" + simulator.TokenPath, ""},
		},
		{
			"only the token endpoint unset", func(c *Config) { c.InstanceID, c.Endpoint = "idaas_simulator", "http://127.0.0.3" }, 2,
			Instance{"idaas_simulator", "http://127.0.0.3", "http://localhost" + simulator.TokenPath, ""},
		},
		{"everything set", func(c *Config) {
			c.InstanceID, c.Endpoint, c.TokenEndpoint = "idaas_simulator", "http://127.0.0.3", "http://localhost"+simulator.TokenPath
		}, 0, Instance{"idaas_simulator", "http://127.0.0.3", "http://localhost" + simulator.TokenPath, ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{InternetEndpoint: "http://127.0.0.1", VPCEndpoint: "http://127.0.0.2"})
				targets := a.fill(20, 3)
				c := a.client(discovered(tt.change))
				for range 3 {
					for _, r := range a.poll(t, c, targets...) {
						a.checkCounts(t, r)
					}
				}
				if n := a.Requests(simulator.Discovery); n != tt.requests {
					t.Errorf("%d discovery requests for all targets and polls, want %d", n, tt.requests)
				}
				if got, err := c.Locate(t.Context()); err != nil || got != tt.want {
					t.Errorf("%+v, %v; want %+v", got, err, tt.want)
				}
			})
		})
	}
}

func TestAReadyTokenNeedsNoTokenEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		c := a.client(discovered(func(c *Config) { c.AccessToken = auth.Credential{Text: poller.NewSecret("ready")} }))
		got, err := c.Locate(t.Context())
		if err != nil || got.TokenEndpoint != "" || a.Requests(simulator.Discovery) != 1 {
			t.Errorf("%+v, %v after %d requests", got, err, a.Requests(simulator.Discovery))
		}
	})
}

// Discovery that fails is repeated with each poll. Until it succeeds, every walk fails with its reason.
func TestDiscoveryIsRetriedWithEachPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(30, 3)
		c := a.client(discovered(func(*Config) {}), retries(0))
		repair := a.Inject(simulator.Fault{Operation: simulator.Discovery, Kind: simulator.Status, Status: 404})
		p := a.poller(c, 4, targets...)
		stop := run(p)
		defer stop()
		time.Sleep(time.Minute)
		if failed := failures(p.Snapshot().Readings); failed[poller.NotFound] != 30 || a.Requests("") != 1 {
			t.Fatalf("%v after %d requests", failed, a.Requests(""))
		}
		repair()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		for _, r := range p.Snapshot().Readings {
			a.checkCounts(t, r)
		}
	})
}

func TestBadDiscoveryDocuments(t *testing.T) {
	const instanceDocument = `{"instance_id":"idaas_1","developer_api_endpoint":{"internet":"https://api.example.com"},` +
		`"default_authorization_server_issuer":"https://issuer.example.com/x"}`
	for _, tt := range []struct{ name, instance, issuer, want string }{
		{"not JSON", "<html>", "", "instance document: "},
		{"empty", "{}", "", "no instance_id"},
		{"null", "null", "", "no instance_id"},
		{"dots", strings.Replace(instanceDocument, "idaas_1", "..", 1), "", "no instance_id"},
		{
			"no endpoint for the network", strings.Replace(instanceDocument, `"internet"`, `"vpc"`, 1), "",
			"developer_api_endpoint for internet: no host",
		},
		{"plain http", strings.Replace(instanceDocument, "https://api", "http://api", 1), "", "loopback"},
		{"wrong type", strings.Replace(instanceDocument, `"idaas_1"`, "7", 1), "", "instance document: "},
		{
			"no issuer", strings.Replace(instanceDocument, "https://issuer.example.com/x", "", 1), "",
			"default_authorization_server_issuer: no host",
		},
		{
			"plain http issuer", strings.Replace(instanceDocument, "https://issuer", "http://issuer", 1), "",
			"default_authorization_server_issuer: http://",
		},
		{"no token endpoint", instanceDocument, "{}", "OpenID document: its token_endpoint: no host"},
		{"plain http token endpoint", instanceDocument, `{"token_endpoint":"http://issuer.example.com/token"}`, "loopback"},
		{"token endpoint of a wrong type", instanceDocument, `{"token_endpoint":["x"]}`, "OpenID document: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &api{}
				a.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
						_, _ = io.WriteString(w, tt.issuer)
						return
					}
					_, _ = io.WriteString(w, tt.instance)
				}))
				// The transport of the test has no TLS.
				a.transport.DialTLSContext = a.transport.DialContext
				_, err := a.client(discovered(func(*Config) {})).Locate(t.Context())
				if err == nil || poller.ReasonOf(err) != poller.Malformed || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %q", err, tt.want)
				}
			})
		})
	}
}

// replies responds to each request with the next of its bodies.
type replies []string

func (r *replies) RoundTrip(req *http.Request) (*http.Response, error) {
	body := (*r)[0]
	*r = (*r)[1:]
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

// Discovered values are complete and safe destinations of credentials, or there is an error.
func FuzzDiscovery(f *testing.F) {
	const issuer = `{"token_endpoint":"https://issuer.example.com/token"}`
	f.Add(
		`{"instance_id":"idaas_1","developer_api_endpoint":{"internet":"https://api.example.com"},`+
			`"default_authorization_server_issuer":"issuer.example.com/x"}`,
		issuer,
	)
	f.Add(`{"instance_id":"..","developer_api_endpoint":{"internet":"http://api.example.com"}}`, issuer)
	f.Add(
		`{"instance_id":"a/b?c","developer_api_endpoint":{"internet":"127.0.0.1"},"default_authorization_server_issuer":"http://[::1]/x"}`,
		`{"token_endpoint":"http://example.com/token"}`,
	)
	f.Add(`{"developer_api_endpoint":[]}`, `null`)
	f.Add(`{"instance_id":null,"developer_api_endpoint":null}`, "\xff")
	f.Fuzz(func(t *testing.T, instance, openID string) {
		c := New(Config{
			Domain: "https://example.com", Network: "internet", RateLimit: 1e9, Timeout: time.Minute,
			Transport: &replies{instance, openID}, Auth: auth.Identity{Method: "client_secret_post"},
		})
		got, err := c.Locate(t.Context())
		if err != nil {
			if poller.ReasonOf(err) != poller.Malformed && poller.ReasonOf(err) != poller.Throttled || got != (Instance{}) {
				t.Errorf("%+v, %v", got, err)
			}
			return
		}
		if strings.Trim(got.ID, ".") == "" {
			t.Errorf("instance id %q", got.ID)
		}
		for _, e := range []struct {
			url      string
			withPath bool
		}{{got.Endpoint, false}, {got.TokenEndpoint, true}} {
			if again, err := poller.ParseEndpoint(e.url, e.withPath); err != nil || again != e.url {
				t.Errorf("%q is no endpoint: %v", e.url, err)
			}
		}
	})
}

// An endpoint is discovered again if it does not respond, or not like the API, and only then.
func TestAnEndpointThatMoves(t *testing.T) {
	for name, tt := range map[string]struct {
		fault       simulator.Fault // of the old endpoint
		rediscovers bool
	}{
		"refused":         {simulator.Fault{Kind: simulator.Reset}, true},
		"silent":          {simulator.Fault{Kind: simulator.Hang}, true},
		"redirects":       {simulator.Fault{Kind: simulator.Redirect}, true},
		"a login page":    {simulator.Fault{Kind: simulator.HTML}, true},
		"another's 404":   {simulator.Fault{Kind: simulator.Status, Status: 404, Body: "404 page not found"}, true},
		"a gateway's 502": {simulator.Fault{Kind: simulator.Status, Status: 502, Body: "<html>"}, true},
		"its own 404":     {simulator.Fault{Kind: simulator.Status, Status: 404, Code: "provider_not_found"}, false},
		"its own 403":     {simulator.Fault{Kind: simulator.Status, Status: 403, Code: "forbidden"}, false},
		"throttled":       {simulator.Fault{Kind: simulator.Throttle}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{InternetEndpoint: "http://127.0.0.1"})
				old, moved := a.Server, simulator.New(simulator.Config{
					InternetEndpoint: "http://127.0.0.2", Clients: []simulator.Client{{ID: testClient, Secret: testSecret}},
				})
				defer moved.Close()
				targets := a.fill(3, 3)
				for _, target := range targets {
					moved.Add(target.Consumer, target.Provider, simulator.Token{ID: "there"})
				}
				there := false
				a.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Host == "127.0.0.2" || there && r.Host == "localhost" {
						moved.ServeHTTP(w, r)
						return
					}
					old.ServeHTTP(w, r)
				}))
				c := a.client(discovered(func(c *Config) { c.Retries = 1 }))
				for _, r := range a.poll(t, c, targets...) {
					a.checkCounts(t, r)
				}
				there = true
				tt.fault.Operation = simulator.List
				old.Inject(tt.fault)
				time.Sleep(time.Minute)
				if !slices.ContainsFunc(a.poll(t, c, targets...), func(r *poller.Reading) bool { return r.Failure != nil }) {
					t.Error("the old place answers")
				}
				time.Sleep(time.Minute)
				for _, r := range a.poll(t, c, targets...) {
					if got := r.Failure == nil; got != tt.rediscovers {
						t.Errorf("read from the new place: %v, want %v (%+v)", got, tt.rediscovers, r.Failure)
					}
				}
				if n := moved.Requests(simulator.Discovery); (n > 0) != tt.rediscovers || n > 2 {
					t.Errorf("%d discovery requests", n)
				}
				if said := strings.Contains(a.log.String(), "instance endpoints changed"); said != tt.rediscovers {
					t.Errorf("log:\n%s", a.log.String())
				}
			})
		})
	}
}

// During an outage of everything, discovery sends few requests, and the discovered values are kept.
func TestDiscoveryInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{})
		targets := a.fill(10, 3)
		c := a.client(discovered(func(c *Config) { c.Retries = 0 }))
		a.poll(t, c, targets...)
		repair := a.Inject(simulator.Fault{Kind: simulator.Reset})
		before := a.events.soFar().requests["discovery error"]
		start := time.Now()
		for time.Since(start) < 10*time.Minute {
			a.poll(t, c, targets...)
			time.Sleep(time.Second)
		}
		if n := a.events.soFar().requests["discovery error"] - before; n < 10 || n > 40 {
			t.Errorf("%d discovery requests in ten minutes", n)
		}
		repair()
		for _, r := range a.poll(t, c, targets...) {
			a.checkCounts(t, r)
		}
	})
}
