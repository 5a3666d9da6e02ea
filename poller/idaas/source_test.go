package idaas

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator/identities"
)

// Requests to the metadata service have the retries, timeouts and limits of all requests.
func TestMetadataRetries(t *testing.T) {
	answer := func(status int, header, value, body string) roundTripper {
		return func(*http.Request) (*http.Response, error) {
			resp := newResponse(status, body)
			resp.Header = http.Header{header: {value}}
			return resp, nil
		}
	}
	cut := func(*http.Request) (*http.Response, error) {
		resp := newResponse(200, "")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("MII"), iotest.ErrReader(io.ErrUnexpectedEOF)))
		return resp, nil
	}
	hang := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	for name, tt := range map[string]struct {
		fault roundTripper
		again bool
		least time.Duration
	}{
		"503":                   {answer(503, "", "", ""), true, 0},
		"500":                   {answer(500, "", "", ""), true, 0},
		"408":                   {answer(408, "", "", ""), true, 0},
		"429":                   {answer(429, "", "", ""), true, 0},
		"429, retry-after":      {answer(429, "Retry-After", "7", ""), true, 7 * time.Second},
		"503, retry-after":      {answer(503, "Retry-After", "600", ""), true, 2 * time.Minute},
		"cut":                   {cut, true, 0},
		"reset":                 {func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNRESET }, true, 0},
		"refused":               {func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED }, true, 0},
		"timeout":               {hang, true, 10 * time.Second},
		"404":                   {answer(404, "", "", ""), false, 0},
		"403":                   {answer(403, "", "", ""), false, 0},
		"redirect":              {answer(302, "Location", "http://elsewhere.test/", "<html>"), false, 0},
		"permanent redirect":    {answer(307, "Location", "http://100.100.100.200/latest/api/token", ""), false, 0},
		"empty":                 {answer(200, "", "", " \n"), false, 0},
		"longer than it may be": {answer(200, "", "", strings.Repeat("A", 17<<20)), false, 0},
	} {
		for _, method := range []string{http.MethodPut, http.MethodGet} {
			for _, times := range []int{1, 4, 5} {
				synctest.Test(t, func(t *testing.T) {
					a, ecs, identity := newPKCS7(t, simulator.Config{})
					requests := 0
					identity.Metadata = roundTripper(func(r *http.Request) (*http.Response, error) {
						if r.URL.Host != "100.100.100.200" {
							t.Errorf("a request to %s", r.URL)
						}
						if r.Method == method {
							if requests++; requests <= times {
								return tt.fault(r)
							}
						}
						return ecs.RoundTrip(r)
					})
					began := time.Now()
					r := a.poll(t, a.client(by(identity)), a.fill(1, 4)...)[0]
					want := times + 1
					if !tt.again {
						want = 1
					} else if times == 5 {
						want = 5
					}
					if requests != want || tt.again && times < 5 != (r.Failure == nil) || !tt.again && r.Failure == nil {
						t.Errorf("%s of %s, %d times: %d requests, want %d: %+v", name, method, times, requests, want, r.Failure)
					}
					if took := time.Since(began); tt.again && took < tt.least {
						t.Errorf("%s of %s: waited %v", name, method, took)
					}
				})
			}
		}
	}
}

// A file that changed after a refusal is used once. An unchanged file is not sent twice.
func TestReplacedFiles(t *testing.T) {
	first, second := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	ca := identities.NewCA(t, start2020)
	issue := func(key crypto.Signer) string {
		return ca.Issue(t, "exporter", key.Public(), start2020, start2020.AddDate(1, 0, 0))
	}
	wrong := string(idToken(t, second, "exporter"))
	for name, tt := range map[string]struct {
		method   string
		before   string // contents of the file, which is replaced half a second after the request begins
		after    string
		missing  bool // before
		requests int
		refused  string
	}{
		"key, then certificate":       {method: "pca", before: issue(first), after: issue(second), requests: 1},
		"a certificate that is empty": {method: "pca", before: "", after: issue(second), requests: 1},
		"a certificate half written":  {method: "pca", before: issue(second)[:100], after: issue(second), requests: 1},
		"a certificate not yet there": {method: "pca", missing: true, after: issue(second), requests: 1},
		"another key for good":        {method: "pca", before: issue(first), after: issue(first), refused: "is of another key"},
		"an ID token":                 {method: "oidc", before: wrong, after: string(idToken(t, first, "exporter")), requests: 2},
		"an ID token half written":    {method: "oidc", before: "eyJhbGciOi", after: string(idToken(t, first, "exporter")), requests: 1},
		"an ID token for good":        {method: "oidc", before: wrong, after: wrong, requests: 1, refused: "invalid_client"},
		"two wrong ID tokens": {
			method: "oidc", before: wrong, after: string(idToken(t, second, "other")), requests: 2, refused: "invalid_client",
		},
		"a secret":          {method: "client_secret_post", before: "old", after: testSecret, requests: 2},
		"a secret for good": {method: "client_secret_basic", before: "old", after: "old\n", requests: 1, refused: "invalid_client"},
		"a key":             {method: "private_key_jwt", before: string(pkcs8(t, first)), after: string(pkcs8(t, second)), requests: 2},
		"a key for good": {
			method: "private_key_jwt", before: string(pkcs8(t, first)), after: string(pkcs8(t, first)), requests: 1, refused: "invalid_client",
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t, simulator.Config{Clients: []simulator.Client{{
				ID: testClient, Secret: testSecret, FederatedCredential: "f", PCA: simulator.PCA{Roots: ca.Roots},
				PublicKeys: map[string]crypto.PublicKey{"": second.Public()},
				OIDC: simulator.OIDC{
					Issuer: "https://kubernetes.test", Subject: "exporter", PublicKeys: map[string]crypto.PublicKey{"": first.Public()},
				},
			}}})
			path := filepath.Join(t.TempDir(), "replaced")
			if !tt.missing {
				writeFile(t, path, tt.before)
			}
			file := auth.Credential{File: path}
			identity := auth.Identity{Method: tt.method, FederatedCredential: "f", IDToken: file, Secret: file, Certificate: file, PrivateKey: file}
			if tt.method == "pca" {
				identity.PrivateKey.File, identity.Chain.File = newFile(t, pkcs8(t, second)), newFile(t, []byte(ca.Chain))
			}
			time.AfterFunc(500*time.Millisecond, func() { writeFile(t, path, tt.after) })
			r := a.poll(t, a.client(by(identity)), a.fill(1, 4)...)[0]
			time.Sleep(time.Second)
			if n := a.Requests(simulator.Access); n != tt.requests {
				t.Errorf("%s: %d token requests, want %d", name, n, tt.requests)
			}
			if tt.refused == "" {
				a.checkCounts(t, r)
			} else if r.Failure == nil || r.Failure.Reason != poller.AccessToken || !strings.Contains(r.Failure.Text, tt.refused) {
				t.Errorf("%s: %+v", name, r.Failure)
			}
		})
	}
}

// Failures of a file system are retried like those of requests. Failures of a file are not.
func TestDiskFailures(t *testing.T) {
	for _, tt := range []struct {
		err   error
		again bool
	}{
		{context.DeadlineExceeded, true},
		{os.ErrDeadlineExceeded, true},
		{syscall.EIO, true},
		{syscall.ESTALE, true},
		{syscall.EMFILE, true},
		{fs.ErrNotExist, false},
		{syscall.EACCES, false},
		{syscall.EISDIR, false},
		{errors.New("longer than 65536 bytes"), false},
	} {
		path := &fs.PathError{Op: "read", Path: "/f", Err: tt.err}
		for _, err := range []error{path, fmt.Errorf("read of a file without an absolute path: %w", tt.err)} {
			if f := failBecause(poller.AccessToken, "access token: %w", err); f.retry != tt.again || poller.ReasonOf(f) != poller.AccessToken {
				t.Errorf("%v: %+v", err, f)
			}
		}
	}
}
