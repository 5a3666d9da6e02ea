// Package identities has simulated identities for tests: an ECS instance, whose metadata service signs identity documents, and a private
// CA.
package identities

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
)

// ECS is an instance: the http.Handler of its metadata service, and an http.RoundTripper to it. It is safe for concurrent use.
type ECS struct {
	t      testing.TB
	signer authority
	signed atomic.Int64
}

// NewECS returns an instance with a certificate that is valid from now on, for years.
func NewECS(t testing.TB, now time.Time) *ECS {
	t.Helper()
	return &ECS{t: t, signer: newAuthority(t, "ecs", nil, now)}
}

const session = "session-of-the-metadata-service"

// ServeHTTP returns session tokens, and documents for requests with a session token.
func (e *ECS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get("X-Aliyun-Ecs-Metadata-Token-Ttl-Seconds") != "":
		_, _ = w.Write([]byte(session))
	case r.Method != http.MethodGet || r.Header.Get("X-Aliyun-Ecs-Metadata-Token") != session:
		http.Error(w, "no session", http.StatusForbidden)
	case r.URL.Path == "/latest/dynamic/instance-identity/pkcs7":
		_, _ = w.Write([]byte(e.Sign(r.URL.Query().Get("audience"))))
	case r.URL.Path == "/latest/dynamic/instance-identity/document":
		_, _ = w.Write([]byte(`{"instance-id":"i-simulated","owner-account-id":"1","region-id":"cn-hangzhou"}`))
	default:
		http.Error(w, "no such thing", http.StatusNotFound)
	}
}

// RoundTrip responds to requests to the address of the metadata service. Others are errors.
func (e *ECS) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "http" || r.URL.Host != "100.100.100.200" {
		return nil, errors.New("not the metadata service: " + r.URL.String())
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Result(), nil
}

// Sign returns an identity document for an audience, as lines of Base64.
func (e *ECS) Sign(audience string) string {
	e.signed.Add(1)
	content, err := json.Marshal(map[string]string{
		"instance-id": "i-simulated", "owner-account-id": "1", "region-id": "cn-hangzhou", "audience": audience,
	})
	if err != nil {
		e.t.Error(err)
	}
	data, err := pkcs7.NewSignedData(content)
	if err != nil {
		e.t.Error(err)
		return ""
	}
	data.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := data.AddSigner(e.signer.certificate, e.signer.key, pkcs7.SignerInfoConfig{}); err != nil {
		e.t.Error(err)
	}
	der, err := data.Finish()
	if err != nil {
		e.t.Error(err)
	}
	var lines strings.Builder
	for text := base64.StdEncoding.EncodeToString(der); text != ""; {
		n := min(len(text), 64)
		lines.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	return lines.String()
}

// Signed returns the number of signed documents.
func (e *ECS) Signed() int { return int(e.signed.Load()) }

// Verify returns the content of a document of this instance.
func (e *ECS) Verify(document []byte, at time.Time) ([]byte, error) {
	data, err := pkcs7.Parse(document)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(e.signer.certificate)
	return data.Content, data.VerifyWithChainAtTime(roots, at)
}
