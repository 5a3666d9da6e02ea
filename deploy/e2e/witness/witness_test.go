package witness

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator/identities"
)

// The vendor's own clients are witnesses: what they send, the service accepts, and what they can read, the service sends.

// witnessed is what both clients are given: servers that keep what they are asked.
type witnessed struct {
	e2e.Network
	ecs     *identities.ECS
	ca      *identities.CA
	ram     simulator.RAMUser // whose credentials both clients have
	sim     *simulator.Server
	service *httptest.Server // the metadata service
	server  *httptest.Server
	trusted string // file of its certificate

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

// newWitnessed gives both clients a network of their own, in which the ECS metadata service has its real address.
func newWitnessed(t *testing.T) *witnessed {
	t.Helper()
	w := &witnessed{Network: e2e.NewNetwork(t), ecs: identities.NewECS(t, time.Now()), ca: identities.NewCA(t, time.Now())}
	e2e.RunTool(t, nil, "nsenter", append(w.Enter()[1:], "ip", "address", "add", "100.100.100.200/32", "dev", "lo")...)
	w.metadata(t, w.record(w.ecs))
	return w
}

// metadata has h be the metadata service from now on.
func (w *witnessed) metadata(t *testing.T, h http.Handler) {
	t.Helper()
	if w.service != nil {
		w.service.Close()
	}
	w.service = httptest.NewUnstartedServer(h)
	w.service.Listener.Close()
	w.service.Listener = w.Listen(t, "100.100.100.200:80")
	w.service.Start()
	t.Cleanup(w.service.Close)
}

// serve has client be known to a simulator with a target of several pages, whose clock differs from that of this machine.
func (w *witnessed) serve(t *testing.T, client simulator.Client, skew time.Duration) {
	t.Helper()
	client.ID = witnessClient
	clock := func() time.Time { return time.Now().Add(skew) }
	sim := simulator.New(simulator.WithRAM(simulator.Config{
		InstanceID: "idaas_witness", Clients: []simulator.Client{client}, Now: clock,
	}, w.ram))
	w.sim = sim
	now := clock()
	sim.Generate(witnessConsumer, witnessProvider, 130, func(i int) simulator.Token {
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
	w.server = httptest.NewUnstartedServer(w.record(sim))
	w.server.Listener.Close()
	w.server.Listener = w.Listen(t, "127.0.0.1:0")
	w.server.StartTLS()
	t.Cleanup(func() {
		sim.Close()
		w.server.Close()
	})
	w.trusted = filepath.Join(t.TempDir(), "ca.pem")
	e2e.WriteFile(t, w.trusted, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.server.Certificate().Raw})))
}

// record keeps what h is asked.
func (w *witnessed) record(h http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		w.mu.Lock()
		w.requests = append(w.requests, &sentRequest{r.Method, r.URL.Path, r.Header.Clone(), r.URL.Query(), form})
		w.mu.Unlock()
		h.ServeHTTP(rw, r)
	})
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
	askVendor(t, w.Enter(), append(env, "SSL_CERT_FILE="+w.trusted, "REQUESTS_CA_BUNDLE="+w.trusted), job, answer)
}

// askVendor is python, by a command line that begins with enter.
func askVendor(t *testing.T, enter, env []string, job map[string]any, answer any) {
	t.Helper()
	question, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	args := append(enter, e2e.Tool(t, "../witness/bin/python"), "-B", "witness.py")
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(env, "HOME="+t.TempDir())
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
		"developerApiEndpoint": w.server.URL, "openApiEndpoint": w.server.URL, "scope": simulator.ReadScope, "authnConfiguration": authn,
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "client-config.json")
	e2e.WriteFile(t, file, string(text))
	return file
}

// witnessMethods are the ways to authenticate that the vendor's client has: what the service is to know of the client, what
// stands in authnConfiguration and what in the environment, for both clients alike.
var witnessMethods = []struct {
	name    string
	prepare func(t *testing.T, w *witnessed, c *simulator.Client) (authn map[string]string, env []string)
}{
	{"client_secret_post", secretWitness("CLIENT_SECRET_POST")},
	{"client_secret_basic", secretWitness("CLIENT_SECRET_BASIC")},
	{"client_secret_jwt", secretWitness("CLIENT_SECRET_JWT")},
	{"private_key_jwt, RSA", keyWitness(func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 3072) })},
	{"private_key_jwt, EC", keyWitness(func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) })},
	{"oidc", func(t *testing.T, _ *witnessed, c *simulator.Client) (map[string]string, []string) {
		key := newECKey(t)
		claims := jwt.MapClaims{"iss": "https://kubernetes.test", "sub": "exporter", "exp": time.Now().Add(time.Hour).Unix()}
		text, err := jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "token")
		e2e.WriteFile(t, file, text)
		c.FederatedCredential = "pods"
		c.OIDC = simulator.OIDC{Issuer: "https://kubernetes.test", PublicKeys: map[string]crypto.PublicKey{"": key.Public()}}
		return map[string]string{
			"authnMethod": "OIDC", "clientDeployEnvironment": "KUBERNETES",
			"applicationFederatedCredentialName": "pods", "oidcTokenFilePath": file,
		}, nil
	}},
	{"pkcs7", func(_ *testing.T, w *witnessed, c *simulator.Client) (map[string]string, []string) {
		c.FederatedCredential, c.PKCS7 = "machines", w.ecs.Verify
		return map[string]string{
			"authnMethod": "PKCS7", "clientDeployEnvironment": "ALIBABA_CLOUD_ECS",
			"applicationFederatedCredentialName": "machines",
		}, nil
	}},
	{"pca, RSA", certificateWitness(func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) })},
	{"ram, an access key", ramWitness("")},
	{"ram, a role", ramWitness("the-token-of-a-session")},
	{"pca, EC", certificateWitness(func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) })},
}

type preparation = func(*testing.T, *witnessed, *simulator.Client) (map[string]string, []string)

func secretWitness(method string) preparation {
	return func(_ *testing.T, _ *witnessed, c *simulator.Client) (map[string]string, []string) {
		c.Secret = witnessSecret
		return map[string]string{"authnMethod": method, "clientSecretEnvVarName": "WITNESS"}, []string{"WITNESS=" + witnessSecret}
	}
}

func ramWitness(session string) preparation {
	return func(_ *testing.T, w *witnessed, _ *simulator.Client) (map[string]string, []string) {
		return map[string]string{"authnMethod": "PLUGIN", "pluginName": "alibabacloudPluginCredentialProvider"}, w.giveRAM(session)
	}
}

// giveRAM makes RAM credentials known, and returns the environment that has them.
func (w *witnessed) giveRAM(session string) []string {
	w.ram = simulator.RAMUser{AccessKeyID: "LTAI-witness", AccessKeySecret: "the-secret-of-an-access-key", SecurityToken: session}
	return []string{
		"ALIBABA_CLOUD_ACCESS_KEY_ID=" + w.ram.AccessKeyID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET=" + w.ram.AccessKeySecret,
		"ALIBABA_CLOUD_SECURITY_TOKEN=" + session,
	}
}

func keyWitness(generate func() (crypto.Signer, error)) preparation {
	return func(t *testing.T, _ *witnessed, c *simulator.Client) (map[string]string, []string) {
		key, err := generate()
		if err != nil {
			t.Fatal(err)
		}
		c.PublicKeys = map[string]crypto.PublicKey{"": key.Public()}
		return map[string]string{"authnMethod": "PRIVATE_KEY_JWT", "privateKeyEnvVarName": "WITNESS"},
			[]string{"WITNESS=" + identities.PrivateKey(t, key)}
	}
}

func certificateWitness(generate func() (crypto.Signer, error)) preparation {
	return func(t *testing.T, w *witnessed, c *simulator.Client) (map[string]string, []string) {
		key, err := generate()
		if err != nil {
			t.Fatal(err)
		}
		c.FederatedCredential, c.PCA = "laptops", simulator.PCA{Roots: w.ca.Roots, CommonName: "exporter"}
		return map[string]string{
			"authnMethod": "PCA", "applicationFederatedCredentialName": "laptops", "privateKeyEnvVarName": "WITNESS",
			"clientX509Certificate": w.ca.Issue(t, "exporter", key.Public(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)),
			"x509CertChains":        w.ca.Chain,
		}, []string{"WITNESS=" + identities.PrivateKey(t, key)}
	}
}

// TestWitnesses has both clients get an access token and list a target of several pages: the sums must be the same, and so
// must the requests, but for what witnessDifferences has.
func TestWitnesses(t *testing.T) {
	met := map[string]bool{}
	for _, m := range witnessMethods {
		t.Run(m.name, func(t *testing.T) {
			w := newWitnessed(t)
			var client simulator.Client
			authn, env := m.prepare(t, w, &client)
			w.serve(t, client, 0)
			env = append(env, "CLOUD_IDAAS_CONFIG_PATH="+w.vendorFile(t, authn))
			var listings []listing
			w.python(t, env, map[string]any{"do": "walk", "consumer": witnessConsumer, "provider": witnessProvider, "size": witnessSize}, &listings)
			theirs := w.sent()
			env = append(env, "IDAAS_CA_FILE="+w.trusted, "IDAAS_TARGETS="+witnessConsumer+":"+witnessProvider,
				"IDAAS_RATE_LIMIT=1000", fmt.Sprint("IDAAS_PAGE_SIZE=", witnessSize))
			for _, walk := range []string{"full", "live"} {
				checkSums(t, w.once(t, append(env, "IDAAS_WALK="+walk)), listings)
				w.compare(t, theirs, w.sent(), met)
			}
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
	args := append(w.Enter(), e2e.Exporter(t), "once")
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = env
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the exporter: %v\n%s", err, log.String())
	}
	return string(out)
}

// checkSums compares what the exporter shows with what the vendor's client lists, under every pair of filters.
func checkSums(t *testing.T, text string, listings []listing) {
	t.Helper()
	all, counts, never := listings[0].Tokens, map[string]int{}, 0
	for _, l := range listings {
		want := 0
		for _, token := range all {
			expired := token.Expiration != 0 && token.Expiration <= time.Now().UnixMilli()
			if (l.Revoked == nil || *l.Revoked == token.Revoked) && (l.Expired == nil || *l.Expired == expired) {
				want++
			}
		}
		pages := (want + witnessSize - 1) / witnessSize
		name := "revoked=" + filter(l.Revoked) + " expired=" + filter(l.Expired)
		if len(l.Tokens) != want || l.Total != want || l.Pages != pages {
			t.Errorf("%s: the vendor's client reads %d tokens of %d on %d pages, want %d on %d", name, len(l.Tokens), l.Total, l.Pages, want, pages)
		}
		counts[name] = len(l.Tokens)
	}
	for _, token := range all {
		if !token.Revoked && token.Expiration == 0 {
			never++
		}
	}
	for metric, want := range map[string]int{
		"authentication_tokens":                    counts["revoked= expired="],
		"authentication_tokens_active":             counts["revoked=false expired=false"],
		"authentication_tokens_expired":            counts["revoked=false expired=true"],
		"authentication_tokens_revoked":            counts["revoked=true expired=false"] + counts["revoked=true expired=true"],
		"authentication_tokens_without_expiration": never,
		"poll_reported_tokens":                     len(all),
	} {
		series := fmt.Sprintf("idaas_%s{consumer=%q,credential_provider=%q} %d\n", metric, witnessConsumer, witnessProvider, want)
		if want < 20 || !strings.Contains(text, series) {
			t.Errorf("there is no %s, or too few for several pages", series)
		}
	}
}

func filter(value *bool) string {
	if value == nil {
		return ""
	}
	return fmt.Sprint(*value)
}
