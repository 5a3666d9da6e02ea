package simulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator/identities"
)

func TestFederatedCredentials(t *testing.T) {
	ecs, ca := identities.NewECS(t, epoch), identities.NewCA(t, epoch)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, Config{Clients: []Client{
		{ID: testClient, FederatedCredential: "mine", PKCS7: ecs.Verify, PCA: PCA{Roots: ca.Roots, CommonName: "me"}},
		{ID: "app_pods", FederatedCredential: "mine"},
	}})
	form := func(client, kind, assertion string, more ...string) url.Values {
		form := tokenForm(append([]string{
			"application_federated_credential_name", "mine", "client_assertion_type", kind, "client_assertion", assertion,
		}, more...)...)
		form.Set("client_id", client)
		return form
	}
	document := func(instance string, at time.Time) string {
		return ecs.Sign(fmt.Sprintf(`{"aud": %q, "signingTime": %d}`, instance, at.Unix()))
	}
	assertion := func(method jwt.SigningMethod, key any) string {
		text, err := jwt.NewWithClaims(method, jwt.MapClaims{
			"iss": testClient, "sub": testClient, "aud": f.url + TokenPath, "jti": rand.Text(), "iat": epoch.Unix(),
			"exp": epoch.Add(time.Minute).Unix(),
		}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	certificate := func(name string, from, to time.Time) string { return ca.Issue(t, name, key.Public(), from, to) }
	good := certificate("me", epoch, epoch.Add(time.Hour))
	certified := func(certificate, chain string) url.Values {
		return form(testClient, x509Bearer, assertion(jwt.SigningMethodES256, key), "client_x509", certificate, "client_x509_chain", chain)
	}
	otherName := certified(good, ca.Chain)
	otherName.Set("application_federated_credential_name", "other")
	const invalid, credential = "401 invalid_client", "401 invalid_client_credential"
	for name, test := range map[string]struct {
		form url.Values
		want string
	}{
		"document":         {form(testClient, pkcs7Bearer, document("idaas_simulator", epoch)), ReadScope},
		"just an hour old": {form(testClient, pkcs7Bearer, document("idaas_simulator", epoch.Add(-time.Hour))), ReadScope},
		"older": {
			form(testClient, pkcs7Bearer, document("idaas_simulator", epoch.Add(-time.Hour-time.Second))), "401 expired_token",
		},
		"of the future":        {form(testClient, pkcs7Bearer, document("idaas_simulator", epoch.Add(2*time.Minute))), invalid},
		"for another instance": {form(testClient, pkcs7Bearer, document("other", epoch)), "401 invalid_audience"},
		"for nobody":           {form(testClient, pkcs7Bearer, ecs.Sign("")), "401 invalid_audience"},
		"another's document": {
			form(testClient, pkcs7Bearer, identities.NewECS(t, epoch).Sign(`{"aud": "idaas_simulator", "signingTime": 1}`)), invalid,
		},
		"no document":              {form(testClient, pkcs7Bearer, "AAAA"), invalid},
		"client without documents": {form("app_pods", pkcs7Bearer, document("idaas_simulator", epoch)), credential},
		"certificate":              {certified(good, ca.Chain), ReadScope},
		"chain with root":          {certified(good, ca.Chain+ca.Root), ReadScope},
		"expired":                  {certified(certificate("me", epoch.Add(-time.Hour), epoch.Add(-time.Minute)), ca.Chain), invalid},
		"not yet good":             {certified(certificate("me", epoch.Add(time.Minute), epoch.Add(time.Hour)), ca.Chain), invalid},
		"without what is between":  {certified(good, ca.Root), invalid},
		"without a chain":          {certified(good, ""), invalid},
		"another name":             {certified(certificate("you", epoch, epoch.Add(time.Hour)), ca.Chain), credential},
		"another CA": {
			certified(identities.NewCA(t, epoch).Issue(t, "me", key.Public(), epoch, epoch.Add(time.Hour)), ca.Chain), invalid,
		},
		"no certificate":       {certified("x", ca.Chain), invalid},
		"a broken certificate": {certified("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ca.Chain), invalid},
		"certificate as secret": {
			form(testClient, x509Bearer, assertion(jwt.SigningMethodHS256, []byte(good)), "client_x509", good, "client_x509_chain", ca.Chain),
			invalid,
		},
		"another federated name":    {otherName, credential},
		"client without a CA":       {form("app_pods", x509Bearer, "x", "client_x509", good, "client_x509_chain", ca.Chain), credential},
		"assertion without its own": {form(testClient, x509Bearer, "x", "client_x509", good, "client_x509_chain", ca.Chain), invalid},
	} {
		t.Run(name, func(t *testing.T) {
			if got := outcome(t, f.post(test.form)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
