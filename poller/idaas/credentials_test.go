package idaas

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

const podToken = "token-of-the-pod"

// sources is the API and a source of RAM credentials: all requests that are not for the API are for the source.
type sources struct {
	*api
	mu      sync.Mutex
	given   int // sessions
	fault   func(w http.ResponseWriter, r *http.Request) bool
	asked   []string // hosts of requests
	arrived func()   // called with each request of the API
}

// roleUser is the user of the n-th session of the sources.
func roleUser(n int) simulator.RAMUser {
	id, token := fmt.Sprint("STS.session-", n), fmt.Sprint("security-token-", n)
	return simulator.RAMUser{AccessKeyID: id, AccessKeySecret: testKeySecret, SecurityToken: token}
}

// newSources must be called in a bubble.
func newSources(t *testing.T, users ...simulator.RAMUser) *sources {
	s := &sources{api: newAPI(t, simulator.WithRAM(simulator.Config{AccessTokenLifetime: 10 * time.Minute}, users...))}
	other := &api{}
	other.serve(t, s)
	// Also for https: no TLS in a bubble.
	s.transport.DialContext, s.transport.DialTLSContext = other.listener.dial, other.listener.dial
	return s
}

func (s *sources) client(options ...func(*Config)) *Client {
	return s.api.client(append([]func(*Config){byRAM, func(c *Config) { c.Auth.Metadata = c.Transport }}, options...)...)
}

func (s *sources) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func (s *sources) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.Host, ".test") && r.Host != "uri.test" {
		if s.arrived != nil {
			s.arrived()
		}
		s.Server.ServeHTTP(w, r)
		return
	}
	s.mu.Lock()
	s.asked = append(s.asked, r.Host)
	fault := s.fault
	s.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	switch {
	case r.Method == http.MethodPut:
		_, _ = io.WriteString(w, "metadata-token")
		return
	case strings.HasSuffix(r.URL.Path, "/security-credentials/"):
		_, _ = io.WriteString(w, "exporter")
		return
	}
	s.mu.Lock()
	s.given++
	u := roleUser(s.given)
	s.mu.Unlock()
	session := fmt.Sprintf(`{"Code":"Success","AccessKeyId":%q,"AccessKeySecret":%q,"SecurityToken":%q,"Expiration":%q}`,
		u.AccessKeyID, u.AccessKeySecret, u.SecurityToken, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	if strings.HasPrefix(r.Host, "sts.") {
		session = `{"Credentials":` + session + `}`
	}
	_, _ = io.WriteString(w, session)
}

// faulty makes the first n requests for credentials fail.
func (s *sources) faulty(n int, how func(w http.ResponseWriter, r *http.Request)) {
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		s.mu.Lock()
		n--
		fails := n >= 0
		s.mu.Unlock()
		if fails {
			how(w, r)
		}
		return fails
	}
}

// ramSources are the sources that use HTTP.
var ramSources = map[string]func(t *testing.T){
	"metadata": func(*testing.T) {},
	"URI": func(t *testing.T) {
		t.Setenv("ALIBABA_CLOUD_CREDENTIALS_URI", "http://uri.test/"+podToken)
		noMetadata(t)
	},
	"RRSA": func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(podToken), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("ALIBABA_CLOUD_ROLE_ARN", "acs:role")
		t.Setenv("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:provider")
		t.Setenv("ALIBABA_CLOUD_OIDC_TOKEN_FILE", file)
	},
	"role of a profile": func(t *testing.T) {
		writeProfile(t, `"mode":"RamRoleArn","access_key_id":"base","access_key_secret":"`+testKeySecret+`","ram_role_arn":"acs:role"`)
	},
}

func noMetadata(t *testing.T) { t.Setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true") }

// writeProfile writes a file with one profile of the vendor's CLI.
func writeProfile(t *testing.T, text string) {
	t.Helper()
	dir := os.Getenv("HOME") + "/.aliyun"
	text = `{"current":"a","profiles":[{"name":"a",` + text + `}]}`
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(dir+"/config.json", []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func noKeys(t *testing.T) {
	withKeys(t, "", "", "")
	t.Setenv("HOME", t.TempDir())
}

// A transient failure of a source is retried like one of the API. A redirect or an endless body is an error.
func TestRAMSourceFaults(t *testing.T) {
	status := func(code int, header ...string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			if len(header) > 0 {
				w.Header().Set(header[0], header[1])
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `{"Code":"TheCode","Message":"The message.","RequestId":"r-1"}`)
		}
	}
	for name, fault := range map[string]struct {
		how  func(http.ResponseWriter, *http.Request)
		want string // empty: retried
	}{
		"500": {status(500), ""}, "503": {status(503), ""}, "429": {status(429), ""}, "408": {status(408), ""},
		"a request to wait": {status(429, "Retry-After", "20"), ""},
		"hang":              {func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }, ""},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "{")
		}, ""},
		"closed":     {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ""},
		"a redirect": {status(307, "Location", "http://other.example/steal"), "307 Temporary Redirect"},
		"refused":    {status(403), "403 Forbidden: TheCode: The message. (request id r-1)"},
		"an echo": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"Code":"Echo","Message":"%s %s"}`, r.PostFormValue("OIDCToken"), r.URL.Path)
		}, "400 Bad Request: Echo: "},
		"a long body": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxBody+1)) }, "longer than 16 MiB"},
	} {
		for source, prepare := range ramSources {
			t.Run(source+", "+name, func(t *testing.T) {
				noKeys(t)
				prepare(t)
				t.Setenv("ALIBABA_CLOUD_IMDSV1_DISABLED", "true")
				synctest.Test(t, func(t *testing.T) {
					s := newSources(t, roleUser(1))
					targets := s.fill(1, 4)
					n := 3
					if fault.want != "" {
						n = 1000
					}
					s.faulty(n, fault.how)
					start := time.Now()
					p := s.poller(s.client(), 1, targets...)
					p.Once(t.Context())
					r := p.Snapshot().Readings[0]
					if fault.want == "" {
						s.checkCounts(t, r)
						if name == "a request to wait" && time.Since(start) < 20*time.Second {
							t.Errorf("retried after %v", time.Since(start))
						}
					} else if r.Failure == nil || r.Failure.Reason != poller.AccessToken || !strings.Contains(r.Failure.Text, fault.want) {
						t.Errorf("%+v", r.Failure)
					}
					want := 1
					if name == "refused" || name == "an echo" {
						want = 2 // a file may just be replaced
					}
					if n := s.requests(); fault.want != "" && n != want {
						t.Errorf("%d requests: %v", n, s.asked)
					}
					for _, secret := range []string{podToken, testKeySecret, "security-token"} {
						if found := leaks(s.shown(p), forms(secret)); len(found) > 0 {
							t.Errorf("%s is shown as %v:\n%s", secret, found, s.shown(p))
						}
					}
				})
			})
		}
	}
}

// A refused session is replaced once. If the new one is refused, too, no more are requested.
func TestRAMSessionRefused(t *testing.T) {
	for source, prepare := range ramSources {
		t.Run(source, func(t *testing.T) {
			noKeys(t)
			prepare(t)
			synctest.Test(t, func(t *testing.T) {
				s := newSources(t, roleUser(2))
				targets := s.fill(1, 4)
				s.checkCounts(t, s.poll(t, s.client(retries(0)), targets...)[0])
				if s.given != 2 || s.Requests(simulator.Access) != 2 {
					t.Errorf("%d sessions, %d token requests", s.given, s.Requests(simulator.Access))
				}
				r := s.poll(t, s.client(), targets...)[0]
				if r.Failure == nil || !strings.Contains(r.Failure.Text, "InvalidAccessKeyId.NotFound") || s.given != 4 {
					t.Errorf("%d sessions: %+v", s.given, r.Failure)
				}
			})
		})
	}
}

// A file that is being replaced is read again. A refused key is replaced by that of the file.
func TestRAMFileReplaced(t *testing.T) {
	key := `"mode":"AK","access_key_id":"%s","access_key_secret":"` + testKeySecret + `"`
	for name, before := range map[string]string{"broken": `"mode":`, "a key that is refused": fmt.Sprintf(key, "old")} {
		t.Run(name, func(t *testing.T) {
			noKeys(t)
			synctest.Test(t, func(t *testing.T) {
				s := newSources(t, simulator.RAMUser{AccessKeyID: testKeyID, AccessKeySecret: testKeySecret})
				targets := s.fill(1, 4)
				writeProfile(t, before)
				replace := func() { writeProfile(t, fmt.Sprintf(key, testKeyID)) }
				s.arrived = replace
				if name == "broken" {
					time.AfterFunc(time.Millisecond, replace)
				}
				s.checkCounts(t, s.poll(t, s.client(), targets...)[0])
			})
		})
	}
}

// An identity token that STS refuses is read again, because it may be being replaced.
func TestRAMTokenReplaced(t *testing.T) {
	noKeys(t)
	ramSources["RRSA"](t)
	synctest.Test(t, func(t *testing.T) {
		s := newSources(t, roleUser(1))
		targets := s.fill(1, 4)
		s.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.PostFormValue("OIDCToken") == "new" {
				return false
			}
			time.AfterFunc(replaceTime/2, func() { _ = os.WriteFile(os.Getenv("ALIBABA_CLOUD_OIDC_TOKEN_FILE"), []byte("new"), 0o600) })
			http.Error(w, `{"Code":"AuthenticationFail.OIDCToken.Expired"}`, http.StatusBadRequest)
			return true
		}
		s.checkCounts(t, s.poll(t, s.client(), targets...)[0])
		if n := s.requests(); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}

// A session is used for many calls and replaced before it expires. The log has its source once, and each change.
func TestRAMSessionRenewed(t *testing.T) {
	noKeys(t)
	synctest.Test(t, func(t *testing.T) {
		var users []simulator.RAMUser
		for n := range 10 {
			u := roleUser(n)
			u.Expires = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Hour)
			users = append(users, u)
		}
		s := newSources(t, append(users, simulator.RAMUser{AccessKeyID: testKeyID, AccessKeySecret: testKeySecret})...)
		c := s.client()
		for range 18 {
			if _, err := c.Providers(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
		}
		if s.given != 5 { // in three hours, each used for 40 minutes
			t.Errorf("%d sessions", s.given)
		}
		if log := s.log.String(); strings.Count(log, "RAM credentials found") != 1 ||
			!strings.Contains(log, `source="ECS role exporter" access_key=STS.…n-1`) {
			t.Error(log)
		}
		writeProfile(t, `"mode":"AK","access_key_id":"`+testKeyID+`","access_key_secret":"`+testKeySecret+`"`)
		for range 3 {
			time.Sleep(time.Hour)
			if _, err := c.Providers(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if log := s.log.String(); strings.Count(log, "RAM credentials found") != 2 || !strings.Contains(log, `mode AK" access_key=LTA…st`) {
			t.Error(log)
		}
	})
}

// STS requests use TLS with the roots of the transport. The identity token is sent to no other host.
func TestRAMSourceRoots(t *testing.T) {
	noKeys(t)
	ramSources["RRSA"](t)
	var got []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Host+" "+r.PostFormValue("OIDCToken")+" "+r.UserAgent())
		w.Header().Set("Location", "https://elsewhere.test/")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	server.Config.ErrorLog = nil
	defer server.Close()
	for _, trusted := range []bool{true, false} {
		roots := x509.NewCertPool()
		if trusted {
			roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
		}
		transport := NewTransport(roots)
		transport.TLSClientConfig.ServerName, transport.Proxy = "example.com", nil
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		}
		a := &api{transport: transport}
		c := a.client(byRAM, retries(0))
		_, err := c.Providers(t.Context())
		want := "x509: certificate signed by unknown authority"
		if trusted {
			want = "AssumeRoleWithOIDC at sts.aliyuncs.com: 307 Temporary Redirect"
		}
		if !strings.Contains(fmt.Sprint(err), want) || strings.Contains(fmt.Sprint(err), podToken) {
			t.Errorf("%v, want %s", err, want)
		}
		transport.CloseIdleConnections()
	}
	if len(got) != 1 || got[0] != "sts.aliyuncs.com "+podToken+" idaas-token-exporter/test" {
		t.Error(got)
	}
}
