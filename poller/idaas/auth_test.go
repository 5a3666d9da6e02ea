package idaas

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator/identities"
)

func by(a auth.Identity) func(*Config) {
	return func(c *Config) {
		a.ClientID, a.Scope = testClient, testScope
		c.Auth = a
	}
}

func newFile(t *testing.T, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "credential")
	writeFile(t, file, string(text))
	return file
}

func pkcs8(t *testing.T, key crypto.Signer) []byte { return []byte(identities.PrivateKey(t, key)) }

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// idToken returns an ID token as Kubernetes gives it to a pod.
func idToken(t *testing.T, key *ecdsa.PrivateKey, subject string) []byte {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": "https://kubernetes.test", "sub": subject, "aud": "idaas",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(text + "\n")
}

// With every method, a new client sends one token request and its counts are right. Credentials of another client are refused.
func TestAuthMethods(t *testing.T) {
	rsa2048, rsa2056, rsa3080 := rsaKey(t, 2048), rsaKey(t, 2056), rsaKey(t, 3080)
	p256, p384, p521 := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384()), ecKey(t, elliptic.P521())
	sec1, err := x509.MarshalECPrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	key := func(text []byte, kid string) auth.Identity {
		return auth.Identity{Method: "private_key_jwt", PrivateKey: auth.Credential{File: newFile(t, text)}, KeyID: kid}
	}
	keyText := func(text string) auth.Identity {
		return auth.Identity{Method: "private_key_jwt", PrivateKey: auth.Credential{Text: poller.NewSecret(text)}}
	}
	secret := func(method, text string) auth.Identity {
		return auth.Identity{Method: method, Secret: auth.Credential{Text: poller.NewSecret(text)}}
	}
	for _, tt := range []struct {
		name    string
		auth    auth.Identity
		public  map[string]crypto.PublicKey
		refused string // part of the error; empty: accepted
	}{
		{"client_secret_post", secret("client_secret_post", testSecret), nil, ""},
		{"client_secret_basic", secret("client_secret_basic", testSecret), nil, ""},
		{"client_secret_jwt", secret("client_secret_jwt", testSecret), nil, ""},
		{"client_secret_post, wrong secret", secret("client_secret_post", "wrong"), nil, "invalid_client"},
		{"client_secret_basic, wrong secret", secret("client_secret_basic", "wrong"), nil, "invalid_client"},
		{"client_secret_jwt, wrong secret", secret("client_secret_jwt", "wrong"), nil, "invalid_client"},
		{"RS256", key(pkcs8(t, rsa2048), ""), map[string]crypto.PublicKey{"": rsa2048.Public()}, ""},
		{
			"RS256, PKCS #1, kid",
			key(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsa2048)}), "k1"),
			map[string]crypto.PublicKey{"k1": rsa2048.Public()},
			"",
		},
		{"RS384", key(pkcs8(t, rsa2056), ""), map[string]crypto.PublicKey{"": rsa2056.Public()}, ""},
		{"RS512", key(pkcs8(t, rsa3080), ""), map[string]crypto.PublicKey{"": rsa3080.Public()}, ""},
		{"ES256, SEC 1 after its parameters", key(append(
			pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}}),
			pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...), ""), map[string]crypto.PublicKey{"": p256.Public()}, ""},
		{"ES384", key(pkcs8(t, p384), "k2"), map[string]crypto.PublicKey{"k1": p256.Public(), "k2": p384.Public()}, ""},
		{"ES512", key(pkcs8(t, p521), ""), map[string]crypto.PublicKey{"": p521.Public()}, ""},
		{"RS256, on one line", keyText(breaks(string(pkcs8(t, rsa2048)), " ")), map[string]crypto.PublicKey{"": rsa2048.Public()}, ""},
		{"RS256, escaped", keyText(breaks(string(pkcs8(t, rsa2048)), `\n`)), map[string]crypto.PublicKey{"": rsa2048.Public()}, ""},
		{"RS256, without line breaks", keyText(breaks(string(pkcs8(t, rsa2048)), "")), map[string]crypto.PublicKey{"": rsa2048.Public()}, ""},
		{
			"ES256, SEC 1, CRLF escaped", keyText(breaks(string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})), `\r\n`)),
			map[string]crypto.PublicKey{"": p256.Public()},
			"",
		},
		{
			"ES384, after a certificate", keyText(identities.NewCA(t, time.Now()).Root + string(pkcs8(t, p384))),
			map[string]crypto.PublicKey{"": p384.Public()},
			"",
		},
		{"another key", key(pkcs8(t, rsa2048), ""), map[string]crypto.PublicKey{"": rsa2056.Public()}, "invalid_client"},
		{"an unknown kid", key(pkcs8(t, rsa2048), "k9"), map[string]crypto.PublicKey{"k1": rsa2048.Public()}, "invalid_client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{Clients: []simulator.Client{{ID: testClient, Secret: testSecret, PublicKeys: tt.public}}})
				targets := a.fill(3, 4)
				readings := a.poll(t, a.client(by(tt.auth)), targets...)
				if n := a.Requests(simulator.Access); n != 1 {
					t.Errorf("%d token requests, want 1", n)
				}
				for _, r := range readings {
					if tt.refused == "" {
						a.checkCounts(t, r)
					} else if r.Failure == nil || r.Failure.Reason != poller.AccessToken || !strings.Contains(r.Failure.Text, tt.refused) {
						t.Errorf("%+v", r.Failure)
					}
				}
			})
		})
	}
}

func TestOIDC(t *testing.T) {
	issuer := ecKey(t, elliptic.P256())
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, simulator.Config{AccessTokenLifetime: time.Minute, Clients: []simulator.Client{{
			ID: testClient, FederatedCredential: "pods",
			OIDC: simulator.OIDC{
				Issuer: "https://kubernetes.test", Subject: "exporter", PublicKeys: map[string]crypto.PublicKey{"": issuer.Public()},
			},
		}}})
		targets := a.fill(1, 4)
		file := newFile(t, idToken(t, issuer, "someone else"))
		c := a.client(by(auth.Identity{Method: "oidc", IDToken: auth.Credential{File: file}, FederatedCredential: "pods"}))
		if r := a.poll(t, c, targets...)[0]; r.Failure == nil || r.Failure.Reason != poller.AccessToken {
			t.Fatalf("another subject: %+v", r.Failure)
		}
		// The kubelet replaces the file. No restart is necessary.
		writeFile(t, file, string(idToken(t, issuer, "exporter")))
		time.Sleep(time.Minute)
		a.checkCounts(t, a.poll(t, c, targets...)[0])
	})
}

// Credential files are read at each use: no restart is necessary after a rotation.
func TestKeyRotation(t *testing.T) {
	first, second := ecKey(t, elliptic.P256()), rsaKey(t, 2048)
	file := newFile(t, pkcs8(t, first))
	synctest.Test(t, func(t *testing.T) {
		public := map[string]crypto.PublicKey{"a": first.Public(), "b": second.Public()}
		a := newAPI(t, simulator.Config{AccessTokenLifetime: time.Minute, Clients: []simulator.Client{{ID: testClient, PublicKeys: public}}})
		targets := a.fill(1, 4)
		c := a.client(by(auth.Identity{Method: "private_key_jwt", PrivateKey: auth.Credential{File: file}}))
		a.checkCounts(t, a.poll(t, c, targets...)[0])
		writeFile(t, file, string(pkcs8(t, second)))
		time.Sleep(2 * time.Minute)
		a.checkCounts(t, a.poll(t, c, targets...)[0])
		if n := a.Requests(simulator.Access); n != 2 {
			t.Errorf("%d token requests, want 2", n)
		}
	})
}

func TestBadPrivateKeys(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224 := ecKey(t, elliptic.P224())
	for name, tt := range map[string]struct {
		text []byte
		want string
	}{
		"no PEM": {[]byte("c2VjcmV0LWtleQ=="), "the private key: no PEM block PRIVATE KEY"},
		"certificate": {
			pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("secret-key")}), "the private key: no PEM block PRIVATE KEY",
		},
		"encrypted": {pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("secret-key")}), `"ENCRYPTED PRIVATE KEY"`},
		"broken":    {pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("secret-key")}), `"RSA PRIVATE KEY"`},
		"Ed25519":   {pkcs8(t, ed), "neither an unencrypted RSA key nor an EC key on P-256"},
		"P-224":     {pkcs8(t, p224), "neither an unencrypted RSA key nor an EC key on P-256"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, simulator.Config{})
				c := a.client(by(auth.Identity{Method: "private_key_jwt", PrivateKey: auth.Credential{File: newFile(t, tt.text)}}))
				r := a.poll(t, c, a.fill(1, 1)...)[0]
				if r.Failure == nil || r.Failure.Reason != poller.AccessToken || !strings.Contains(r.Failure.Text, tt.want) ||
					strings.Contains(r.Failure.Text, "secret-key") {
					t.Errorf("%+v", r.Failure)
				}
				if n := a.Requests(""); n != 0 {
					t.Errorf("%d requests without a key", n)
				}
			})
		})
	}
}
