package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// The vendor's own clients are witnesses: what they send, the service accepts, and what they can read, the service sends.

// witnessed is what both clients are given: a simulator that keeps what it is asked.
type witnessed struct {
	sim    *simulator.Server
	server *httptest.Server
	ca     string // file of the certificate

	mu       sync.Mutex
	requests []*sentRequest
}

// sentRequest is a request as it came in.
type sentRequest struct {
	method, path string
	header       http.Header
	query, form  url.Values
}

const (
	witnessConsumer = "app_witness"
	witnessProvider = "orders_jwt"
	witnessSize     = 20
	witnessClient   = "app_exporter"
	witnessSecret   = "not a secret, but long enough for HS256"
)

func newWitnessed(t *testing.T, client simulator.Client) *witnessed {
	t.Helper()
	client.ID = witnessClient
	w := &witnessed{sim: simulator.New(simulator.Config{InstanceID: "idaas_witness", Clients: []simulator.Client{client}})}
	now := time.Now()
	w.sim.Generate(witnessConsumer, witnessProvider, 130, func(i int) simulator.Token {
		token := simulator.Token{ID: fmt.Sprintf("atntkn_%03d", i), Type: "jwt", Created: now.Add(-time.Hour), Expires: now.Add(24 * time.Hour)}
		if i%3 == 0 {
			token.Expires = now.Add(-time.Minute)
		}
		if i%4 == 0 {
			token.Expires = time.Time{}
		}
		token.Revoked = i%5 == 0
		return token
	})
	w.server = httptest.NewTLSServer(w)
	t.Cleanup(func() {
		w.sim.Close()
		w.server.Close()
	})
	w.ca = filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, w.ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.server.Certificate().Raw})))
	return w
}

func (w *witnessed) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	w.mu.Lock()
	w.requests = append(w.requests, &sentRequest{r.Method, r.URL.Path, r.Header.Clone(), r.URL.Query(), form})
	w.mu.Unlock()
	w.sim.ServeHTTP(rw, r)
}

// sent returns what came in since it was last asked.
func (w *witnessed) sent() []*sentRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.requests
	w.requests = nil
	return sent
}

// python runs witness.py to its end.
func (w *witnessed) python(t *testing.T, env []string, job map[string]any, answer any) {
	t.Helper()
	question, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), tool(t, "../witness/bin/python"), "-B", "witness/witness.py")
	cmd.Env = append([]string{"HOME=" + t.TempDir(), "SSL_CERT_FILE=" + w.ca}, env...)
	cmd.Stdin = bytes.NewReader(question)
	var out, log strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("the vendor's client: %v\n%s", err, log.String())
	}
	if err := json.Unmarshal([]byte(out.String()), answer); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
}

// listing is one target as the vendor's client lists it under one pair of filters.
type listing struct {
	Revoked, Expired *bool
	Pages, Total     int
	Tokens           []struct {
		ID         string `json:"authentication_token_id"`
		Revoked    bool   `json:"revoked"`
		Expiration int64  `json:"expiration_time"`
	}
}

// vendorFile writes a client-config.json that leads to w.
func (w *witnessed) vendorFile(t *testing.T, authn map[string]string) string {
	t.Helper()
	issuer := w.server.URL + simulator.IssuerPath
	text, err := json.Marshal(map[string]any{
		"idaasInstanceId": "idaas_witness", "clientId": witnessClient, "issuer": issuer, "tokenEndpoint": issuer + "/token",
		"developerApiEndpoint": w.server.URL, "scope": simulator.ReadScope, "authnConfiguration": authn,
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "client-config.json")
	writeFile(t, file, string(text))
	return file
}

// witnessMethods are the ways to authenticate that the vendor's client has. Both clients are told by one client-config.json
// and one environment.
var witnessMethods = []struct {
	name   string
	client simulator.Client
	authn  map[string]string
	env    []string
}{
	{"client_secret_post", simulator.Client{Secret: witnessSecret}, map[string]string{"authnMethod": "CLIENT_SECRET_POST", "clientSecretEnvVarName": "S"}, []string{"S=" + witnessSecret}},
	{"client_secret_basic", simulator.Client{Secret: witnessSecret}, map[string]string{"authnMethod": "CLIENT_SECRET_BASIC", "clientSecretEnvVarName": "S"}, []string{"S=" + witnessSecret}},
	{"client_secret_jwt", simulator.Client{Secret: witnessSecret}, map[string]string{"authnMethod": "CLIENT_SECRET_JWT", "clientSecretEnvVarName": "S"}, []string{"S=" + witnessSecret}},
}

// TestWitnesses has both clients get an access token and list a target of several pages: the sums must be the same, and so
// must the requests, but for what witnessDifferences has.
func TestWitnesses(t *testing.T) {
	met := map[string]bool{}
	for _, m := range witnessMethods {
		t.Run(m.name, func(t *testing.T) {
			w := newWitnessed(t, m.client)
			env := append([]string{"CLOUD_IDAAS_CONFIG_PATH=" + w.vendorFile(t, m.authn)}, m.env...)
			var listings []listing
			w.python(t, env, map[string]any{"do": "walk", "consumer": witnessConsumer, "provider": witnessProvider, "size": witnessSize}, &listings)
			theirs := w.sent()
			env = append(env, "IDAAS_CA_FILE="+w.ca, "IDAAS_TARGETS="+witnessConsumer+":"+witnessProvider, "IDAAS_RATE_LIMIT=1000", fmt.Sprint("IDAAS_PAGE_SIZE=", witnessSize))
			checkSums(t, w.once(t, env), listings)
			compareRequests(t, theirs, w.sent(), met)
		})
	}
	for field := range witnessDifferences {
		if !met[field] {
			t.Errorf("no longer a difference: %s", field)
		}
	}
}

// once runs the exporter for one poll and returns its metrics.
func (w *witnessed) once(t *testing.T, env []string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), exporter(t), "once")
	cmd.Env = env
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the exporter: %v\n%s", err, log.String())
	}
	return string(out)
}

// checkSums compares what the exporter shows with what the vendor's client lists.
func checkSums(t *testing.T, text string, listings []listing) {
	t.Helper()
	count := func(revoked, expired string) (n int) {
		for _, l := range listings {
			if filter(l.Revoked) != revoked || filter(l.Expired) != expired {
				continue
			}
			if n = len(l.Tokens); n != l.Total {
				t.Errorf("the vendor's client reads %d tokens of %d", n, l.Total)
			}
			if want := (n + witnessSize - 1) / witnessSize; l.Pages != want || want < 2 {
				t.Errorf("the vendor's client reads %d pages, want %d, and more than one", l.Pages, want)
			}
			return n
		}
		t.Fatalf("not listed: %q %q", revoked, expired)
		return 0
	}
	never := 0
	for _, token := range listings[0].Tokens {
		if !token.Revoked && token.Expiration == 0 {
			never++
		}
	}
	for metric, want := range map[string]int{
		"authentication_tokens":                    count("", ""),
		"authentication_tokens_active":             count("false", "false"),
		"authentication_tokens_expired":            count("false", "true"),
		"authentication_tokens_revoked":            count("true", ""),
		"authentication_tokens_without_expiration": never,
		"poll_reported_tokens":                     count("", ""),
	} {
		series := fmt.Sprintf("idaas_%s{consumer=%q,credential_provider=%q} %d\n", metric, witnessConsumer, witnessProvider, want)
		if !strings.Contains(text, series) {
			t.Errorf("there is no %s", series)
		}
	}
}

func filter(value *bool) string {
	if value == nil {
		return ""
	}
	return fmt.Sprint(*value)
}

// witnessDifferences are the fields in which the exporter's requests differ from those of the vendor's client, each with the
// reason.
var witnessDifferences = map[string]string{
	"token header Accept":                 "the vendor's sends none: ours asks for JSON, as in every other request",
	"token header Accept-Encoding":        "Go's transport undoes gzip by itself",
	"token header User-Agent":             "each names itself",
	"token assertion life":                "5 minutes, as the vendor's CLI has it: less time for a stolen one",
	"token assertion jti":                 "random; any text will do",
	"list header Accept-Encoding":         "Go's transport undoes gzip by itself",
	"list header User-Agent":              "each names itself",
	"list header Date":                    "the vendor's generic client signs with it; this call is not signed",
	"list header X-Acs-Action":            "of the generic client, for calls without a path of their own",
	"list header X-Acs-Version":           "as X-Acs-Action: the version is in the path",
	"list header X-Acs-Signature-Method":  "there is no signature",
	"list header X-Acs-Signature-Nonce":   "there is no signature",
	"list header X-Acs-Signature-Version": "there is no signature",
}

// compareRequests holds each of our requests against the one of the vendor's that asks the same.
func compareRequests(t *testing.T, theirs, ours []*sentRequest, met map[string]bool) {
	t.Helper()
	for _, r := range ours {
		i := slices.IndexFunc(theirs, func(other *sentRequest) bool { return other.asks() == r.asks() })
		if i < 0 {
			t.Errorf("the vendor's client never asks %s", r.asks())
			continue
		}
		mine, other := r.fields(t), theirs[i].fields(t)
		all := maps.Clone(mine)
		maps.Copy(all, other)
		for _, field := range slices.Sorted(maps.Keys(all)) {
			name := r.kind() + " " + field
			if mine[field] == other[field] {
				continue
			}
			if met[name] = true; witnessDifferences[name] == "" {
				t.Errorf("%s: ours %q, the vendor's %q", name, mine[field], other[field])
			}
		}
	}
}

func (r *sentRequest) kind() string {
	switch {
	case strings.HasSuffix(r.path, "/token"):
		return "token"
	case strings.HasSuffix(r.path, "/authenticationTokens"):
		return "list"
	}
	return r.path
}

// asks names what the request wants, so that it can be found again among another client's.
func (r *sentRequest) asks() string {
	return fmt.Sprintf("%s revoked=%s expired=%s first=%t", r.kind(), r.query.Get("revoked"), r.query.Get("expired"), !r.query.Has("nextToken"))
}

// fields are all that matters of a request, by name; what is random is there or not.
func (r *sentRequest) fields(t *testing.T) map[string]string {
	fields := map[string]string{"method": r.method, "path": r.path}
	for name := range r.header {
		fields["header "+name] = strings.Join(r.header[name], " | ")
	}
	delete(fields, "header Content-Length")
	if scheme, _, _ := strings.Cut(r.header.Get("Authorization"), " "); scheme == "Bearer" {
		fields["header Authorization"] = scheme
	}
	for name, values := range r.query {
		fields["query "+name] = strings.Join(values, " | ")
	}
	if r.query.Has("nextToken") {
		fields["query nextToken"] = "the one of the page before"
	}
	for name, values := range r.form {
		fields["form "+name] = strings.Join(values, " | ")
	}
	if assertion := r.form.Get("client_assertion"); strings.HasSuffix(r.form.Get("client_assertion_type"), "jwt-bearer") {
		delete(fields, "form client_assertion")
		parts := strings.Split(assertion, ".")
		claims := map[string]any{}
		for _, part := range parts[:len(parts)-1] {
			text, err := base64.RawURLEncoding.DecodeString(part)
			if err == nil {
				err = json.Unmarshal(text, &claims)
			}
			if err != nil {
				t.Errorf("%v: %s", err, assertion)
			}
		}
		number := func(name string) float64 { n, _ := claims[name].(float64); return n }
		claims["life"] = number("exp") - number("iat")
		for name, value := range claims {
			fields["assertion "+name] = fmt.Sprint(value)
		}
		for _, name := range []string{"iat", "exp"} {
			if at := number(name); at < 1e9 || at > 1e11 {
				t.Errorf("%s is %v", name, at)
			}
			delete(fields, "assertion "+name)
		}
	}
	return fields
}
