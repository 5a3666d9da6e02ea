package check

import (
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

func TestFailures(t *testing.T) {
	const query = "Query authentication tokens"
	hourAhead := func() time.Time { return time.Now().Add(time.Hour) }
	hourBehind := func() time.Time { return time.Now().Add(-time.Hour) }
	checkFindings(t, map[string]expected{
		"wrong secret": {
			change: client(func(c *idaas.Config) { c.Auth.Secret.Text = poller.NewSecret("other planted") }),
			step:   stepAccess, detail: "invalid_client",
			advice: []string{"the secret (IDAAS_CLIENT_SECRET or IDAAS_CLIENT_SECRET_FILE) does not belong to client app_exporter"},
		},
		"wrong secret, basic": {
			change: client(func(c *idaas.Config) {
				c.Auth.Method, c.Auth.Secret.Text = "client_secret_basic", poller.NewSecret("other planted")
			}),
			step: stepAccess, detail: "invalid_client", advice: []string{"does not belong", "IDAAS_CLIENT_SECRET"},
		},
		"wrong secret, JWT": {
			change: client(func(c *idaas.Config) {
				c.Auth.Method, c.Auth.Secret.Text = "client_secret_jwt", poller.NewSecret("other planted")
			}),
			step: stepAccess, detail: "invalid_client", advice: []string{"does not belong", "IDAAS_CLIENT_SECRET", "clock"},
		},
		"unknown client": {
			change: client(func(c *idaas.Config) { c.Auth.ClientID = "app_other" }),
			step:   stepAccess, advice: []string{"client app_other", "IDAAS_CLIENT_ID"},
		},
		"wrong key": {
			change: func(t *testing.T, w *world) {
				_, key := newKey(t)
				w.secrets = append(w.secrets, key)
				w.Config.Client.Auth.Method, w.Config.Client.Auth.PrivateKey.File = "private_key_jwt", file(t, key)
			},
			step: stepAccess, detail: "invalid_client", advice: []string{"the private key (IDAAS_PRIVATE_KEY_FILE) does not belong", "clock"},
		},
		"no key": {
			change: func(t *testing.T, w *world) {
				w.Config.Client.Auth.Method, w.Config.Client.Auth.PrivateKey.File = "private_key_jwt", file(t, "planted nonsense")
				w.secrets = append(w.secrets, "planted nonsense")
			},
			step: stepAccess, detail: "no PEM block", advice: []string{"IDAAS_PRIVATE_KEY_FILE"},
		},
		"secret file missing": {
			change: client(func(c *idaas.Config) { c.Auth.Secret = auth.Credential{File: "/nonexistent/secret"} }),
			step:   stepAccess, detail: "no such file", advice: []string{"read that file", "IDAAS_CLIENT_SECRET_FILE"},
		},
		"secret file empty": {
			change: func(t *testing.T, w *world) { w.Config.Client.Auth.Secret = auth.Credential{File: file(t, "\n")} },
			step:   stepAccess, detail: "is empty", advice: []string{"IDAAS_CLIENT_SECRET_FILE"},
		},
		"wrong audience": {
			api:    simulator.Config{TokenEndpoint: "https://other.test/token"},
			change: client(func(c *idaas.Config) { c.Auth.Method = "client_secret_jwt" }),
			step:   stepAccess, detail: "invalid_audience", advice: []string{"IDAAS_TOKEN_ENDPOINT"},
		},
		"clock behind, JWT": {
			api:    simulator.Config{Now: hourAhead},
			change: client(func(c *idaas.Config) { c.Auth.Method = "client_secret_jwt" }),
			step:   stepAccess, detail: "expired_token", advice: []string{"used too late", "clock"},
		},
		"clock ahead, JWT": {
			api:    simulator.Config{Now: hourBehind},
			change: client(func(c *idaas.Config) { c.Auth.Method = "client_secret_jwt" }),
			step:   stepAccess, detail: "invalid_client", advice: []string{"wrong clock"},
		},
		"clock seen though refused": {
			api:    simulator.Config{Now: hourBehind},
			change: client(func(c *idaas.Config) { c.Auth.Method = "client_secret_jwt" }),
			step:   stepClock, detail: "ahead", advice: []string{"NTP"},
		},
		"clock behind": {
			api: simulator.Config{ClockSkew: 2 * time.Minute}, step: stepClock, detail: "behind the server's",
			advice: []string{"NTP"},
		},
		"clock ahead": {
			api: simulator.Config{ClockSkew: -2 * time.Minute}, step: stepClock, detail: "ahead of the server's",
			advice: []string{"NTP"},
		},
		"clock a bit off": {api: simulator.Config{ClockSkew: 50 * time.Second}, step: stepClock, status: OK, detail: "behind"},
		"unknown scope": {
			change: client(func(c *idaas.Config) { c.Auth.Scope = "urn:cloud:idaas:pam|other" }), step: stepAccess,
			detail: "invalid_scope", advice: []string{"IDAAS_SCOPE", "authentication_token:read"},
		},
		"scope not found":  {change: tokenFault(400, "scope_not_found"), step: stepAccess, advice: []string{"IDAAS_SCOPE"}},
		"no license":       {change: tokenFault(400, "operation_denied_by_license"), step: stepAccess, advice: []string{"edition"}},
		"list: no license": {change: listFault(400, "operation_denied_by_license"), step: stepTarget, advice: []string{"edition"}},
		"missing grant": {
			api:  simulator.Config{Clients: []simulator.Client{{ID: testClient, Secret: testSecret, Forbidden: true}}},
			step: stepAccess, detail: "access_denied", advice: []string{query, "PAM application"},
		},
		"missing grant, in words only": {
			change: fault(simulator.Fault{
				Operation: simulator.Access, Kind: simulator.Status, Status: 400,
				Body: `{"error":"x","error_description":"The client has not been authorized by resource server pam"}`,
			}),
			step: stepAccess, advice: []string{query},
		},
		"token endpoint: no such path": {
			change: client(func(c *idaas.Config) { c.TokenEndpoint += "/other" }),
			step:   stepAccess, detail: "404", advice: []string{"IDAAS_TOKEN_ENDPOINT"},
		},
		"token endpoint: redirect": {
			change: fault(simulator.Fault{Operation: simulator.Access, Kind: simulator.Redirect}), step: stepAccess,
			detail: "302", advice: []string{"IDAAS_TOKEN_ENDPOINT"},
		},
		"token endpoint: login": {
			change: fault(simulator.Fault{Operation: simulator.Access, Kind: simulator.HTML}), step: stepAccess,
			advice: []string{"login page", "IDAAS_TOKEN_ENDPOINT"},
		},
		"token endpoint: trouble": {change: tokenFault(500, ""), step: stepAccess, advice: []string{"try again later", "request id"}},
		"token endpoint: refused": {
			change: func(t *testing.T, w *world) { w.Config.Client.TokenEndpoint = closed(t) + "/token" },
			step:   stepAccess, detail: "refused", advice: []string{"nothing listens", "IDAAS_TOKEN_ENDPOINT"},
		},
		"discovered token endpoint: refused": {
			change: func(_ *testing.T, w *world) { w.discover() },
			api:    simulator.Config{TokenEndpoint: "http://127.0.0.1:1/token"},
			step:   stepAccess, detail: "refused", advice: []string{"IDAAS_DOMAIN"},
		},

		"missing grant for one provider": {
			api:  simulator.Config{Clients: []simulator.Client{{ID: testClient, Secret: testSecret, Providers: []string{"github_oauth"}}}},
			step: stepTarget, detail: "403", advice: []string{query, "data permission"},
		},
		"missing scope": {
			api: simulator.Config{Clients: []simulator.Client{{ID: testClient, Secret: testSecret, Scopes: []string{"urn:cloud:idaas:pam|other"}}}},
			change: client(func(c *idaas.Config) {
				c.Auth.Scope = "urn:cloud:idaas:pam|.all"
			}),
			step: stepTarget, detail: "403", advice: []string{"IDAAS_SCOPE", query},
		},
		"wrong instance": {
			change: client(func(c *idaas.Config) { c.InstanceID = "idaas_other" }), step: stepTarget, detail: "404",
			advice: []string{"IDAAS_INSTANCE_ID", "IDAAS_ENDPOINT", "region"},
		},
		"unknown provider": {
			change: func(_ *testing.T, w *world) { w.Config.Targets[1].Provider = "Orders" }, step: stepTarget,
			detail: "credential_provider_not_found", advice: []string{"IDAAS_TARGETS_FILE", "identifier, neither its name nor its id 'atp_…'"},
		},
		"unknown consumer": {
			change: func(_ *testing.T, w *world) { w.Config.Targets[1].Consumer = "app_misspelt" }, step: stepTarget,
			status: Warning, detail: "tokens read 0", advice: []string{"an empty list for an unknown consumer", "IDAAS_TARGETS"},
		},
		"consumer refused": {change: listFault(404, "consumer_not_found"), step: stepTarget, advice: []string{"consumer id", "IDAAS_TARGETS"}},
		"plain 404":        {change: listFault(404, "x"), step: stepTarget, advice: []string{"IDAAS_INSTANCE_ID", "IDAAS_TARGETS"}},
		"page size refused for good": {
			api:  simulator.Config{MaxPageSize: 10},
			step: stepTarget, detail: "400", advice: []string{"IDAAS_PAGE_SIZE=20 or less"},
		},
		"page size refused": {
			api: simulator.Config{MaxPageSize: 50}, step: stepBehaviour, status: Warning,
			detail: "100 refused, 20 accepted", advice: []string{"IDAAS_PAGE_SIZE=20"},
		},
		"throttled": {
			change: fault(simulator.Fault{Operation: simulator.List, Kind: simulator.Throttle}), step: stepTarget,
			detail: "429", advice: []string{"IDAAS_RATE_LIMIT", "Quota Center"},
		},
		"trouble": {change: listFault(503, ""), step: stepTarget, detail: "503", advice: []string{"try again later"}},
		"login page": {
			change: fault(simulator.Fault{Operation: simulator.List, Kind: simulator.HTML}), step: stepTarget,
			advice: []string{"login page", "IDAAS_ENDPOINT"},
		},
		"redirect": {
			change: fault(simulator.Fault{Operation: simulator.List, Kind: simulator.Redirect}), step: stepTarget,
			advice: []string{"redirects", "IDAAS_ENDPOINT"},
		},
		"unauthorized": {change: listFault(401, ""), step: stepTarget, advice: []string{"IDAAS_TOKEN_ENDPOINT", "one instance"}},
		"ready token revoked": {
			change: func(t *testing.T, w *world) {
				w.readyToken(t)
				w.RevokeAccessTokens()
			},
			step: stepTarget, detail: "401", advice: []string{"revoked", "IDAAS_ACCESS_TOKEN or IDAAS_ACCESS_TOKEN_FILE"},
		},
		"ready token expired": {
			change: func(t *testing.T, w *world) {
				text, err := jwt.NewWithClaims(jwt.SigningMethodHS256,
					jwt.MapClaims{"exp": time.Now().Add(-time.Hour).Unix()}).SignedString([]byte("x"))
				if err != nil {
					t.Fatal(err)
				}
				w.secrets = append(w.secrets, text)
				w.Config.Client.AccessToken.Text = poller.NewSecret(text)
			},
			step: stepAccess, detail: "expired", advice: []string{"the access token (IDAAS_ACCESS_TOKEN", "renew"},
		},
		"ready token file missing": {
			change: client(func(c *idaas.Config) { c.AccessToken.File = "/nonexistent/scope/license" }),
			step:   stepAccess, detail: "no such file", advice: []string{"read that file", "IDAAS_ACCESS_TOKEN_FILE"},
		},
		"no such host": {
			change: func(t *testing.T, w *world) {
				w.transport(t).DialContext = func(context.Context, string, string) (net.Conn, error) {
					return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "eiam.test", IsNotFound: true}}
				}
				w.readyFrom("planted ready token")
			},
			step: stepTarget, detail: "no such host", advice: []string{"does not resolve", "IDAAS_ENDPOINT", "DNS", "IDAAS_NETWORK=vpc"},
		},
		"connection refused": {
			change: func(t *testing.T, w *world) { w.Config.Client.Endpoint = closed(t) }, step: stepTarget,
			detail: "refused", advice: []string{"nothing listens", "IDAAS_ENDPOINT", "HTTPS_PROXY"},
		},
		"discovered endpoint: refused": {
			change: func(_ *testing.T, w *world) { w.discover() },
			api:    simulator.Config{InternetEndpoint: "http://127.0.0.1:1"},
			step:   stepTarget, detail: "refused", advice: []string{"IDAAS_DOMAIN and IDAAS_NETWORK"},
		},
		"connection broken": {
			change: fault(simulator.Fault{Operation: simulator.List, Kind: simulator.CutBody}), step: stepTarget,
			advice: []string{"IDAAS_ENDPOINT", "HTTPS_PROXY"},
		},
		"no answer": {
			change: func(_ *testing.T, w *world) {
				w.Config.Client.Timeout = 100 * time.Millisecond
				w.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Hang})
			},
			step: stepTarget, advice: []string{"IDAAS_REQUEST_TIMEOUT", "firewall", "HTTPS_PROXY", "IDAAS_NETWORK=vpc"},
		},
		"proxy refused": {change: func(t *testing.T, w *world) {
			w.transport(t).Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: strings.TrimPrefix(closed(t), "http://")})
			w.readyFrom("planted ready token")
		}, step: stepTarget, detail: "proxyconnect", advice: []string{"HTTPS_PROXY", "NO_PROXY", "password"}},
		"TLS trust": {
			change: func(t *testing.T, w *world) { w.tls(t, nil, false, "127.0.0.1") }, step: stepTarget,
			detail: "unknown authority", advice: []string{"IDAAS_CA_FILE"},
		},
		"TLS name": {
			change: func(t *testing.T, w *world) { w.tls(t, nil, true, "localhost") }, step: stepTarget, detail: "localhost",
			advice: []string{"other host names", "IDAAS_ENDPOINT"},
		},
		"TLS expired": {
			change: func(t *testing.T, w *world) { w.tls(t, expired(t), true, "127.0.0.1") }, step: stepTarget,
			detail: "expired", advice: []string{"not valid", "clock"},
		},
		"TLS, all well": {change: func(t *testing.T, w *world) { w.tls(t, nil, true, "127.0.0.1") }, step: stepTarget, status: OK},
		"TLS not spoken": {change: func(_ *testing.T, w *world) {
			w.Config.Client.Endpoint = "https" + strings.TrimPrefix(w.http.URL, "http")
		}, step: stepTarget, advice: []string{"does not use TLS", "IDAAS_ENDPOINT"}},
		"not a domain": {
			change: func(_ *testing.T, w *world) { w.discover(); w.Config.Client.Domain += "/other" }, step: stepDiscovery,
			detail: "404", advice: []string{"not the domain of an instance", "IDAAS_DOMAIN"},
		},
		"domain: login": {
			change: func(_ *testing.T, w *world) { w.discover(); w.Inject(simulator.Fault{Kind: simulator.HTML}) },
			step:   stepDiscovery, advice: []string{"login page", "IDAAS_DOMAIN"},
		},
		"domain: refused": {
			change: func(t *testing.T, w *world) { w.discover(); w.Config.Client.Domain = closed(t) }, step: stepDiscovery,
			advice: []string{"nothing listens", "IDAAS_DOMAIN", "issuer", "IDAAS_TOKEN_ENDPOINT"},
		},
		"no such network": {
			change: func(_ *testing.T, w *world) {
				w.discover()
				w.Config.Client.Network = "vpc"
				w.Inject(simulator.Fault{Operation: simulator.Discovery, Kind: simulator.MissingField, Field: "developer_api_endpoint"})
			},
			step: stepDiscovery, detail: "vpc", advice: []string{"IDAAS_NETWORK", "IDAAS_ENDPOINT"},
		},
	})
}

// checkFindings runs a check in each of the worlds, and looks for the finding expected.
func checkFindings(t *testing.T, cases map[string]expected) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.api)
			w.secrets = append(w.secrets, "other planted")
			if c.change != nil {
				c.change(t, w)
			}
			if c.status == "" {
				c.status = Failed
			}
			r := w.run(t)
			if r.Failed() != (c.status == Failed) {
				t.Errorf("failed: %v", r.Failed())
			}
			found := false
			for _, f := range r.Findings {
				if f.Status == Failed && f.Advice == "" {
					t.Errorf("no advice: %+v", f)
				}
				hit := f.Step == c.step && f.Status == c.status && strings.Contains(f.Detail, c.detail)
				for _, phrase := range c.advice {
					hit = hit && strings.Contains(f.Advice, phrase)
				}
				found = found || hit
			}
			if !found {
				t.Errorf("want %s %s %q %q, got\n%s", c.status, c.step, c.detail, c.advice, table(t, r))
			}
			if c.step == stepAccess && c.status == Failed && w.Requests(simulator.List) > 0 || c.step == stepDiscovery &&
				countOf(r, stepTarget, Skipped) != 1 {
				t.Errorf("what cannot work was tried:\n%s", table(t, r))
			}
		})
	}
}

// readyFrom sets the access token of the client.
func (w *world) readyFrom(text string) {
	text = strings.ReplaceAll(text, " ", "_")
	w.secrets = append(w.secrets, text)
	w.Config.Client.AccessToken.Text = poller.NewSecret(text)
}

// Secrets that a server repeats in its response are hidden.
func TestSecretsSentBack(t *testing.T) {
	for _, method := range []string{"client_secret_post", "client_secret_basic", "client_secret_jwt"} {
		t.Run(method, func(t *testing.T) {
			w := newWorld(t, simulator.Config{}, func(api http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					_ = r.ParseForm()
					said := r.PostForm.Encode() + r.PostForm.Get("client_secret") + r.Header.Get("Authorization") + r.URL.Query().Get("consumerId")
					if r.URL.Path == simulator.TokenPath && r.PostForm.Get("scope") == simulator.ReadScope {
						api.ServeHTTP(rw, r)
						return
					}
					rw.WriteHeader(http.StatusForbidden)
					_, _ = rw.Write([]byte(`{"error":"x","error_description":` + jsonOf(t, said) + `}`))
				})
			})
			basic := base64.StdEncoding.EncodeToString([]byte(testClient + ":" + testSecret))
			w.secrets = append(w.secrets, basic, url.QueryEscape(basic), url.QueryEscape(testSecret))
			w.Config.Client.Auth.Method = method
			if r := w.run(t); countOf(r, stepTarget, Failed) != 2 {
				t.Error(table(t, r))
			}
			w.Config.Client.Auth.Scope = "other"
			if r := w.run(t); countOf(r, stepAccess, Failed) != 1 {
				t.Error(table(t, r))
			}
		})
	}
}
