package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLocation(t *testing.T) {
	const needed = ": required: set it or IDAAS_DOMAIN"
	for _, c := range []struct {
		given string
		want  []string
	}{
		{"", []string{"IDAAS_INSTANCE_ID" + needed, "IDAAS_ENDPOINT" + needed, "IDAAS_TOKEN_ENDPOINT" + needed}},
		{"IDAAS_INSTANCE_ID=i IDAAS_TOKEN_ENDPOINT=h/t", []string{"IDAAS_ENDPOINT" + needed}},
		{"IDAAS_INSTANCE_ID=i IDAAS_ENDPOINT=h", []string{"IDAAS_TOKEN_ENDPOINT" + needed}},
		{"IDAAS_INSTANCE_ID=i IDAAS_ENDPOINT=h IDAAS_ACCESS_TOKEN=a", nil},
		{"IDAAS_ACCESS_TOKEN=a", []string{"IDAAS_INSTANCE_ID" + needed, "IDAAS_ENDPOINT" + needed}},
		{"IDAAS_DOMAIN=d", nil},
		{"IDAAS_DOMAIN=d IDAAS_ENDPOINT=h", nil},
	} {
		environ := append(strings.Fields(c.given), "IDAAS_CLIENT_ID=c", "IDAAS_CLIENT_SECRET=s", "IDAAS_TARGETS=a:b")
		if c.want != nil {
			wantFaults(t, faultsOf(t, environ), c.want...)
			continue
		}
		mustLoad(t, environ)
	}
}

func TestCredentials(t *testing.T) {
	const tokenInstead = ", unless there is IDAAS_ACCESS_TOKEN or IDAAS_ACCESS_TOKEN_FILE"
	for _, c := range []struct {
		more string
		want []string
	}{
		{"", []string{
			"IDAAS_CLIENT_ID: client_secret_post needs it" + tokenInstead,
			"IDAAS_CLIENT_SECRET: client_secret_post needs it, or IDAAS_CLIENT_SECRET_FILE",
		}},
		{"IDAAS_CLIENT_ID=a IDAAS_CLIENT_SECRET=hush IDAAS_CLIENT_SECRET_FILE=b", []string{"IDAAS_CLIENT_SECRET: given together with IDAAS_CLIENT_SECRET_FILE: keep one"}},
		{"IDAAS_ACCESS_TOKEN=hush IDAAS_ACCESS_TOKEN_FILE=b", []string{"IDAAS_ACCESS_TOKEN: given together with IDAAS_ACCESS_TOKEN_FILE: keep one"}},
		{"IDAAS_CLIENT_SECRET=hush", []string{"IDAAS_CLIENT_ID: client_secret_post needs it" + tokenInstead}},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=client_secret_basic", []string{"IDAAS_CLIENT_SECRET: client_secret_basic needs it, or IDAAS_CLIENT_SECRET_FILE"}},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=client_secret_jwt", []string{"IDAAS_CLIENT_SECRET: client_secret_jwt needs it, or IDAAS_CLIENT_SECRET_FILE"}},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=private_key_jwt IDAAS_CLIENT_SECRET=hush", []string{"IDAAS_PRIVATE_KEY_FILE: private_key_jwt needs it"}},
		{"IDAAS_AUTH_METHOD=private_key_jwt IDAAS_PRIVATE_KEY_FILE=/missing", []string{"IDAAS_CLIENT_ID: private_key_jwt needs it" + tokenInstead}},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=oidc IDAAS_CLIENT_SECRET=hush", []string{"IDAAS_FEDERATED_CREDENTIAL_NAME: oidc needs it"}},
		{"IDAAS_AUTH_METHOD=oidc IDAAS_FEDERATED_CREDENTIAL_NAME=f", []string{"IDAAS_CLIENT_ID: oidc needs it" + tokenInstead}},
		{"IDAAS_CLIENT_ID=a IDAAS_CLIENT_SECRET_FILE=/missing", nil},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=client_secret_jwt IDAAS_CLIENT_SECRET=hush", nil},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=private_key_jwt IDAAS_PRIVATE_KEY_FILE=/missing IDAAS_CLIENT_SECRET=hush", nil},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=oidc IDAAS_FEDERATED_CREDENTIAL_NAME=f", nil},
		{"IDAAS_ACCESS_TOKEN=hush", nil},
		{"IDAAS_ACCESS_TOKEN_FILE=/missing", nil},
		{"IDAAS_ACCESS_TOKEN=hush IDAAS_CLIENT_ID=a IDAAS_CLIENT_SECRET=hush", nil},
		{"IDAAS_ACCESS_TOKEN=hush IDAAS_AUTH_METHOD=oidc", nil},
	} {
		environ := append(strings.Fields(c.more), "IDAAS_DOMAIN=d", "IDAAS_TARGETS=a:b")
		if c.want != nil {
			wantFaults(t, faultsOf(t, environ), c.want...)
			continue
		}
		if got := mustLoad(t, environ).HasAccessToken(); got != strings.Contains(c.more, "ACCESS_TOKEN") {
			t.Errorf("%s: HasAccessToken = %v", c.more, got)
		}
	}
}

func TestOIDCTokenFile(t *testing.T) {
	const ack = "ALIBABA_CLOUD_OIDC_TOKEN_FILE=/ack"
	for given, want := range map[string]string{
		"":                                  "/var/run/secrets/kubernetes.io/serviceaccount/token",
		ack:                                 "/ack",
		ack + " IDAAS_OIDC_TOKEN_FILE=/own": "/own",
		"ALIBABA_CLOUD_OIDC_TOKEN_FILE=":    "/var/run/secrets/kubernetes.io/serviceaccount/token",
	} {
		if got := mustLoad(t, minimal(strings.Fields(given)...)).OIDCTokenFile; got != want {
			t.Errorf("%s: %s, want %s", given, got, want)
		}
	}
}

func TestCAFile(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for name, data := range map[string][]byte{
		"good.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), "der.pem": der, "empty.pem": nil,
		"key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), "huge.pem": make([]byte, 1<<20+1),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := mustLoad(t, minimal("IDAAS_CA_FILE=good.pem"))
	system, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	if c.RootCAs.Equal(system) {
		t.Error("the certificate was not added")
	}
	if system.AddCert(ca); !c.RootCAs.Equal(system) {
		t.Error("not the system's certificates and the one of the file")
	}
	if mustLoad(t, minimal()).RootCAs != nil {
		t.Error("certificates without a file")
	}
	for name, problem := range map[string]string{
		"der.pem": "no certificate in it", "empty.pem": "no certificate in it", "key.pem": "no certificate in it",
		"huge.pem": "larger than 1 MiB", "missing.pem": "open missing.pem: no such file or directory",
	} {
		wantFaults(t, faultsOf(t, minimal("IDAAS_CA_FILE="+name)), `IDAAS_CA_FILE="`+name+`": `+problem+"; accepted: the path of a PEM file")
	}
}

// A demo must never reach, or send a secret to, the instance that its environment is meant for.
func TestWithoutConnection(t *testing.T) {
	kept := []string{
		"PATH=/bin", "IDAAS_LISTEN_ADDRESS=:1", "IDAAS_WEB_CONFIG_FILE=w", "IDAAS_LOG_LEVEL=debug", "IDAAS_LOG_FORMAT=json",
		"IDAAS_CONSUMER_LABEL=hash", "IDAAS_POLL_SCHEDULE=@daily", "IDAAS_POLL_TIMEOUT=1h", "IDAAS_POLL_CONCURRENCY=1", "IDAAS_PAGE_SIZE=1",
		"IDAAS_RATE_LIMIT=1", "IDAAS_REQUEST_TIMEOUT=1s", "IDAAS_REQUEST_RETRIES=1", "IDAAS_EXPIRING_WITHIN=1h",
	}
	environ := slices.Clone(kept)
	for _, name := range strings.Fields(`DOMAIN INSTANCE_ID ENDPOINT TOKEN_ENDPOINT NETWORK AUTH_METHOD CLIENT_ID CLIENT_SECRET CLIENT_SECRET_FILE
		PRIVATE_KEY_FILE PRIVATE_KEY_ID OIDC_TOKEN_FILE FEDERATED_CREDENTIAL_NAME ACCESS_TOKEN ACCESS_TOKEN_FILE SCOPE CA_FILE TARGETS TARGETS_FILE`) {
		environ = append(environ, "IDAAS_"+name+"=x")
	}
	if got := WithoutConnection(append(environ, "CLOUD_IDAAS_CONFIG_PATH=/x")); !slices.Equal(got, kept) {
		t.Errorf("%q", got)
	}
}
