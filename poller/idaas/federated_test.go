package idaas

import (
	"crypto"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator/identities"
)

// start2020 is the start of the bubble's clock after newAPI.
var start2020 = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// audience returns the audience of a document.
func audience(instance string, at time.Time) string {
	return fmt.Sprintf(`{"aud":%q,"signingTime":%d}`, instance, at.Unix())
}

// newPKCS7 returns a simulator that accepts the documents of an instance, with the instance and its identity.
func newPKCS7(t *testing.T, c simulator.Config) (*api, *identities.ECS, auth.Identity) {
	ecs := identities.NewECS(t, start2020)
	c.Clients = []simulator.Client{{ID: testClient, FederatedCredential: "machines", PKCS7: ecs.Verify}}
	return newAPI(t, c), ecs, auth.Identity{Method: "pkcs7", FederatedCredential: "machines", Metadata: ecs}
}

// Each access token is requested with a new document, so no document expires.
func TestPKCS7(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, ecs, identity := newPKCS7(t, simulator.Config{AccessTokenLifetime: 3 * time.Hour})
		targets := a.fill(1, 4)
		c := a.client(by(identity))
		for n := range 5 {
			a.checkCounts(t, a.poll(t, c, targets...)[0])
			if ecs.Signed() != n+1 || a.Requests(simulator.Access) != n+1 {
				t.Errorf("%d documents for %d requests, want %d", ecs.Signed(), a.Requests(simulator.Access), n+1)
			}
			time.Sleep(2*time.Hour + time.Second)
		}
	})
}

// A document in a file is read at each use. The token endpoint checks it.
func TestPKCS7File(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, ecs, identity := newPKCS7(t, simulator.Config{AccessTokenLifetime: time.Minute})
		stranger := identities.NewECS(t, start2020)
		targets := a.fill(1, 4)
		file := newFile(t, nil)
		identity.Document.File, identity.Metadata = file, nil
		c := a.client(by(identity))
		now := time.Now()
		for _, tt := range []struct{ document, refused string }{
			{ecs.Sign(audience("idaas_simulator", now)), ""},
			{"-----BEGIN PKCS7-----\n" + ecs.Sign(audience("idaas_simulator", now)) + "-----END PKCS7-----\n", ""},
			{ecs.Sign(audience("idaas_other", now)), "invalid_audience"},
			{ecs.Sign("idaas_simulator"), "invalid_audience"},
			{ecs.Sign(audience("idaas_simulator", now.Add(-time.Hour))), "expired_token"},
			{ecs.Sign(audience("idaas_simulator", now.Add(time.Hour))), "in the future"},
			{stranger.Sign(audience("idaas_simulator", now)), "signature"},
			{"no document", "is not a PKCS#7 signed document"},
			{"\n", "is empty"},
			{ecs.Sign(audience("idaas_simulator", now)), ""},
		} {
			writeFile(t, file, tt.document)
			time.Sleep(time.Minute)
			r := a.poll(t, c, targets...)[0]
			if tt.refused == "" {
				a.checkCounts(t, r)
			} else if r.Failure == nil || r.Failure.Reason != poller.AccessToken || !strings.Contains(r.Failure.Text, tt.refused) ||
				strings.Contains(r.Failure.Text, tt.document) {
				t.Errorf("%s: %+v", tt.refused, r.Failure)
			}
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func newResponse(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body))}
}

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A failure of the metadata service is one line, after the retries of a request.
func TestMetadataService(t *testing.T) {
	answer := func(status int, body string) roundTripper {
		return func(*http.Request) (*http.Response, error) { return newResponse(status, body), nil }
	}
	hang := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	for name, tt := range map[string]struct {
		metadata roundTripper
		want     string
	}{
		"404":   {answer(404, "secret-of-the-service"), "metadata service 100.100.100.200, PUT api/token: 404 Not Found"},
		"empty": {answer(200, " \n"), "the response of the ECS metadata service is not a PKCS#7 signed document"},
		"absent": {
			func(*http.Request) (*http.Response, error) { return nil, errors.New("connect: no route to host") },
			"PUT api/token: connect: no route to host",
		},
		"hangs": {hang, "PUT api/token: no complete response within 10s"},
		"404 for the document": {func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPut {
				return newResponse(200, "secret-of-the-service"), nil
			}
			return newResponse(404, ""), nil
		}, "GET dynamic/instance-identity/pkcs7: 404 Not Found"},
		"another answer": {answer(200, "<html>"), "the response of the ECS metadata service is not a PKCS#7 signed document"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _, identity := newPKCS7(t, simulator.Config{})
				identity.Metadata = tt.metadata
				began := time.Now()
				r := a.poll(t, a.client(by(identity)), a.fill(1, 1)...)[0]
				if r.Failure == nil || r.Failure.Reason != poller.AccessToken || !strings.Contains(r.Failure.Text, tt.want) ||
					strings.ContainsAny(r.Failure.Text, "\n{") ||
					strings.Contains(r.Failure.Text, "secret") {
					t.Errorf("%+v", r.Failure)
				}
				if took := time.Since(began); took > 5*10*time.Second+(500+1000+2000+4000)*time.Millisecond {
					t.Error(took)
				}
			})
		})
	}
}

// The audience in requests of the metadata service has the discovered instance and the time.
func TestMetadataRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, ecs, identity := newPKCS7(t, simulator.Config{InstanceID: "idaas_found"})
		var asked []string
		identity.Metadata = roundTripper(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.Method+" "+r.URL.String()+r.Header.Get("Accept"))
			return ecs.RoundTrip(r)
		})
		c := a.client(by(identity), func(c *Config) {
			c.Domain, c.Network, c.InstanceID, c.Endpoint, c.TokenEndpoint = "http://127.0.0.1", "internet", "", "", ""
		})
		a.checkCounts(t, a.poll(t, c, a.fill(1, 4)...)[0])
		want := []string{
			"PUT http://100.100.100.200/latest/api/token",
			"GET http://100.100.100.200/latest/dynamic/instance-identity/" +
				"pkcs7?audience=%7B%22aud%22%3A%22idaas_found%22%2C%22signingTime%22%3A1577836800%7D",
		}
		if !slices.Equal(asked, want) {
			t.Errorf("%q", asked)
		}
	})
}

func TestPCA(t *testing.T) {
	rsa2048, p256, p384 := rsaKey(t, 2048), ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384())
	ca, other := identities.NewCA(t, start2020), identities.NewCA(t, start2020)
	before, after := start2020.Add(-time.Hour), start2020.AddDate(1, 0, 0)
	for name, tt := range map[string]struct {
		key                crypto.Signer
		certificate, chain string
		common             string
		skew               time.Duration // of the server's clock
		refused            string
	}{
		"RSA": {
			key: rsa2048, certificate: ca.Issue(t, "exporter", rsa2048.Public(), before, after), chain: ca.Chain, common: "exporter",
		},
		"P-256": {key: p256, certificate: ca.Issue(t, "exporter", p256.Public(), before, after), chain: ca.Chain},
		"P-384": {key: p384, certificate: ca.Issue(t, "exporter", p384.Public(), before, after), chain: ca.Chain + ca.Root},
		"another key": {
			key: rsa2048, certificate: ca.Issue(t, "exporter", p256.Public(), before, after), chain: ca.Chain,
			refused: `the certificate "exporter" is of another key`,
		},
		"expired": {
			key: p256, certificate: ca.Issue(t, "exporter", p256.Public(), before, start2020.Add(-time.Minute)), chain: ca.Chain,
			refused: `the certificate "exporter" expired at 2019-12-31T23:59:00Z`,
		},
		"not yet":        {key: p256, certificate: ca.Issue(t, "exporter", p256.Public(), after, after), chain: ca.Chain, refused: "not trusted"},
		"no certificate": {key: p256, certificate: "nonsense", chain: ca.Chain, refused: "has no PEM block CERTIFICATE"},
		"a key instead":  {key: p256, certificate: identities.PrivateKey(t, p256), chain: ca.Chain, refused: "contains a private key"},
		"a broken one": {
			key: p256, certificate: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", chain: ca.Chain, refused: "parsed: x509",
		},
		"another CA": {
			key: p256, certificate: other.Issue(t, "exporter", p256.Public(), before, after), chain: other.Chain, refused: "not trusted",
		},
		"another chain": {
			key: p256, certificate: ca.Issue(t, "exporter", p256.Public(), before, after), chain: other.Chain, refused: "not trusted",
		},
		"no chain": {key: p256, certificate: ca.Issue(t, "exporter", p256.Public(), before, after), refused: "is empty"},
		"another name": {
			key: p256, certificate: ca.Issue(t, "other", p256.Public(), before, after), chain: ca.Chain, common: "exporter",
			refused: "verification condition",
		},
		"clock 6 minutes late": {
			key: p256, certificate: ca.Issue(t, "exporter", p256.Public(), before, after), chain: ca.Chain, skew: 6 * time.Minute,
			refused: "expired_token",
		},
		"clock 5 minutes fast": {
			key: p256, certificate: ca.Issue(t, "exporter", p256.Public(), before, after), chain: ca.Chain, skew: -5 * time.Minute,
			refused: "used before issued",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{
					Now: func() time.Time { return time.Now().Add(tt.skew) },
					Clients: []simulator.Client{
						{ID: testClient, FederatedCredential: "laptops", PCA: simulator.PCA{Roots: ca.Roots, CommonName: tt.common}},
					},
				})
				file := func(text string) auth.Credential { return auth.Credential{File: newFile(t, []byte(text))} }
				key := identities.PrivateKey(t, tt.key)
				c := a.client(by(auth.Identity{
					Method: "pca", FederatedCredential: "laptops", PrivateKey: file(key), Certificate: file(tt.certificate), Chain: file(tt.chain),
				}))
				r := a.poll(t, c, a.fill(1, 4)...)[0]
				if tt.refused == "" {
					a.checkCounts(t, r)
				} else if r.Failure == nil || r.Failure.Reason != poller.AccessToken || !strings.Contains(r.Failure.Text, tt.refused) ||
					strings.ContainsAny(r.Failure.Text, "\n") {
					t.Errorf("%+v", r.Failure)
				}
			})
		})
	}
}

// Certificate, chain and key are read at each use: no restart is necessary after a renewal. The error names an unreadable file.
func TestPCAFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
		ca := identities.NewCA(t, start2020)
		a := newAPI(t, simulator.Config{
			AccessTokenLifetime: time.Minute,
			Clients:             []simulator.Client{{ID: testClient, FederatedCredential: "laptops", PCA: simulator.PCA{Roots: ca.Roots}}},
		})
		targets := a.fill(1, 4)
		key, certificate, chain := newFile(t, nil), newFile(t, nil), newFile(t, []byte(ca.Chain))
		c := a.client(by(auth.Identity{
			Method: "pca", FederatedCredential: "laptops", PrivateKey: auth.Credential{File: key}, Certificate: auth.Credential{File: certificate},
			Chain: auth.Credential{File: chain},
		}))
		for _, k := range []crypto.Signer{first, second} {
			writeFile(t, key, identities.PrivateKey(t, k))
			writeFile(t, certificate, ca.Issue(t, "exporter", k.Public(), start2020, start2020.AddDate(1, 0, 0)))
			a.checkCounts(t, a.poll(t, c, targets...)[0])
			time.Sleep(time.Minute)
		}
		for _, missing := range []string{chain, certificate, key} {
			if err := os.Remove(missing); err != nil {
				t.Fatal(err)
			}
			r := a.poll(t, c, targets...)[0]
			if r.Failure == nil || r.Failure.Reason != poller.AccessToken || !strings.Contains(r.Failure.Text, "open "+missing+": no such file") {
				t.Errorf("%s: %+v", missing, r.Failure)
			}
			time.Sleep(time.Minute)
		}
	})
}
