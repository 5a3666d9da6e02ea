package check

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// file writes a file for the test and returns its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credential")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newKey(t *testing.T) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// tls serves the world with TLS, too, for list requests.
func (w *world) tls(t *testing.T, certificate *tls.Certificate, trusted bool, host string) {
	s := httptest.NewUnstartedServer(w.Server)
	if certificate != nil {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
	}
	before := w.http
	w.serve(t, s, (*httptest.Server).StartTLS)
	w.http = before
	transport := w.transport(t)
	if trusted {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		transport.TLSClientConfig.RootCAs.AddCert(s.Certificate())
	}
	w.Config.Client.Endpoint = strings.Replace(s.URL, "127.0.0.1", host, 1)
}

func expired(t *testing.T) *tls.Certificate {
	key, _ := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func fault(f simulator.Fault) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) { w.Inject(f) }
}

// listFault returns an error for each list request.
func listFault(status int, code string) func(*testing.T, *world) {
	return fault(simulator.Fault{Operation: simulator.List, Kind: simulator.Status, Status: status, Code: code})
}

func tokenFault(status int, code string) func(*testing.T, *world) {
	return fault(simulator.Fault{Operation: simulator.Access, Kind: simulator.Status, Status: status, Code: code})
}

func client(change func(*idaas.Config)) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) { change(&w.Config.Client) }
}

// closed is an address where nothing listens.
func closed(t *testing.T) string {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	return s.URL
}

// expected is a finding in a world that was changed.
type expected struct {
	api    simulator.Config
	change func(*testing.T, *world)
	step   string
	status Status // "": failed
	detail string
	advice []string
}
