package check

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator/identities"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// pkcs7 makes the client an ECS instance, with another metadata service if metadata is not nil.
func pkcs7(metadata roundTripper) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		a := &w.Config.Client.Auth
		a.Method, a.FederatedCredential, a.Metadata = "pkcs7", "k8s", w.ecs
		if metadata != nil {
			a.Metadata = metadata
		}
	}
}

// pca gives the client a certificate, and then changes the world.
func pca(change func(*testing.T, *world)) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		key, text := newKey(t)
		w.secrets = append(w.secrets, text)
		a := &w.Config.Client.Auth
		a.Method, a.FederatedCredential, a.PrivateKey.File, a.Chain.File = "pca", "k8s", file(t, text), file(t, w.ca.Chain)
		a.Certificate.File = file(t, w.ca.Issue(t, "exporter", key.Public(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
		if change != nil {
			change(t, w)
		}
	}
}

// idToken is one that the simulator does not expect.
func idToken(t *testing.T, w *world) string {
	key, _ := newKey(t)
	text, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": "kubernetes"}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	w.secrets = append(w.secrets, text)
	return text
}

func TestFederatedFailures(t *testing.T) {
	hourBehind := func() time.Time { return time.Now().Add(-time.Hour) }
	sixMinutesAhead := func() time.Time { return time.Now().Add(6 * time.Minute) }
	checkFindings(t, map[string]expected{
		"wrong ID token": {
			change: func(t *testing.T, w *world) {
				a := &w.Config.Client.Auth
				a.Method, a.FederatedCredential, a.IDToken.File = "oidc", "k8s", file(t, idToken(t, w))
			},
			step: stepAccess, detail: "invalid_client", advice: []string{"IDAAS_OIDC_TOKEN_FILE", "IDAAS_FEDERATED_CREDENTIAL_NAME"},
		},
		"wrong federated credential": {
			change: func(t *testing.T, w *world) {
				a := &w.Config.Client.Auth
				a.Method, a.FederatedCredential, a.IDToken.File = "oidc", "other", file(t, idToken(t, w))
			},
			step: stepAccess, detail: "invalid_client_credential",
			advice: []string{"M2M application app_exporter", "IDAAS_FEDERATED_CREDENTIAL_NAME"},
		},
		"PCA: key in the chain": {
			change: pca(func(t *testing.T, w *world) {
				_, text := newKey(t)
				w.secrets = append(w.secrets, text)
				w.Config.Client.Auth.Chain.File = file(t, w.ca.Chain+text)
			}),
			step: stepAccess, detail: "contains a private key", advice: []string{"only public data", "replace the key"},
		},
		"PKCS#7, all well": {change: pkcs7(nil), step: stepAccess, status: OK, detail: "expires in"},
		"PKCS#7: no metadata service": {
			change: pkcs7(func(*http.Request) (*http.Response, error) {
				return nil,
					errors.New("no route to host")
			}), step: stepAccess, detail: "PUT api/token: no route to host",
			advice: []string{"only ECS", "IDAAS_PKCS7_FILE"},
		},
		"PKCS#7: metadata service: 404": {change: pkcs7(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 404, Body: http.NoBody}, nil
		}), step: stepAccess, detail: "PUT api/token: 404", advice: []string{"only ECS"}},
		"PKCS#7: metadata service hangs": {
			change: func(t *testing.T, w *world) {
				w.Config.Client.Timeout = 100 * time.Millisecond
				pkcs7(func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() })(t, w)
			},
			step: stepAccess, detail: "no complete response within ", advice: []string{"only ECS"},
		},
		"PKCS#7: file missing": {
			change: func(t *testing.T, w *world) {
				pkcs7(nil)(t, w)
				w.Config.Client.Auth.Document.File = "/nonexistent/document"
			},
			step: stepAccess, detail: "no such file", advice: []string{"IDAAS_PKCS7_FILE"},
		},
		"PKCS#7: another instance's": {
			change: func(t *testing.T, w *world) {
				pkcs7(nil)(t, w)
				ecs := w.Config.Client.Auth.Metadata.(*identities.ECS)
				w.Config.Client.Auth.Document.File = file(t, ecs.Sign(`{"aud":"idaas_other","signingTime":1}`))
			},
			step: stepAccess, detail: "invalid_audience", advice: []string{"PKCS#7 document for IDAAS_INSTANCE_ID"},
		},
		"PKCS#7: an hour old": {
			change: func(t *testing.T, w *world) {
				pkcs7(nil)(t, w)
				ecs := w.Config.Client.Auth.Metadata.(*identities.ECS)
				w.Config.Client.Auth.Document.File = file(t, ecs.Sign(`{"aud":"idaas_simulator","signingTime":1}`))
			},
			step: stepAccess, detail: "expired_token", advice: []string{"the PKCS#7 document (IDAAS_PKCS7_FILE", "used too late", "clock"},
		},
		"PKCS#7: clock ahead": {
			api: simulator.Config{Now: hourBehind}, change: pkcs7(nil), step: stepAccess, detail: "in the future",
			advice: []string{"the PKCS#7 document", "a wrong clock"},
		},
		"PCA, all well": {change: pca(nil), step: stepAccess, status: OK, detail: "expires in"},
		"PCA: wrong key": {
			change: pca(func(t *testing.T, w *world) {
				_, key := newKey(t)
				w.secrets = append(w.secrets, key)
				w.Config.Client.Auth.PrivateKey.File = file(t, key)
			}),
			step: stepAccess, detail: `the certificate "exporter" is of another key`,
			advice: []string{"IDAAS_CERTIFICATE_FILE and IDAAS_PRIVATE_KEY_FILE are not of one pair"},
		},
		"PCA: expired": {
			change: pca(func(t *testing.T, w *world) {
				key, text := newKey(t)
				w.Config.Client.Auth.PrivateKey.File = file(t, text)
				w.Config.Client.Auth.Certificate.File = file(t,
					identities.NewCA(t, time.Now()).Issue(t, "exporter", key.Public(), time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)))
			}),
			step: stepAccess, detail: `the certificate "exporter" expired at`,
			advice: []string{"the certificate (IDAAS_CERTIFICATE_FILE", "renew it", "clock"},
		},
		"PCA: another CA": {
			change: pca(func(t *testing.T, w *world) {
				key, text := newKey(t)
				ca := identities.NewCA(t, time.Now())
				a := &w.Config.Client.Auth
				a.PrivateKey.File, a.Chain.File = file(t, text), file(t, ca.Chain)
				a.Certificate.File = file(t, ca.Issue(t, "exporter", key.Public(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
			}),
			step: stepAccess, detail: "not trusted", advice: []string{"federated credential provider (PCA)", "IDAAS_CERTIFICATE_CHAIN_FILE"},
		},
		"PCA: unreadable chain": {
			change: pca(func(_ *testing.T, w *world) { w.Config.Client.Auth.Chain.File = "/nonexistent/chain" }),
			step:   stepAccess, detail: "no such file", advice: []string{"read that file", "IDAAS_CERTIFICATE_CHAIN_FILE"},
		},
		"PCA: clock behind": {
			api: simulator.Config{Now: sixMinutesAhead}, change: pca(nil), step: stepAccess, detail: "expired_token",
			advice: []string{"the certificate", "clock"},
		},
	})
}
