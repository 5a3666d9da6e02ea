//go:build cluster

package kubernetes

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e/rules"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// addVolumes makes claims possible: there is no provisioner.
func (n *node) addVolumes(t *testing.T, count int) {
	t.Helper()
	var text strings.Builder
	for i := range count {
		dir := filepath.Join(t.TempDir(), fmt.Sprint("volume-", i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		e2e.Command(t, nil, "chmod", "755", filepath.Dir(dir), filepath.Dir(filepath.Dir(dir)))
		e2e.Command(t, nil, "chown", "65532:65532", dir)
		fmt.Fprintf(&text, `---
apiVersion: v1
kind: PersistentVolume
metadata: {name: volume-%d}
spec:
  capacity: {storage: 10Mi}
  accessModes: [ReadWriteOnce]
  storageClassName: by-hand
  hostPath: {path: %q}
`, i, dir)
	}
	n.apply(t, text.String())
}

func (n *node) apply(t *testing.T, manifest string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	e2e.WriteFile(t, file, manifest)
	n.run(t, "kubectl", "apply", "-f", file)
}

func (n *node) setSecret(t *testing.T, secret, ca string) {
	t.Helper()
	dir := t.TempDir()
	e2e.WriteFile(t, dir+"/client-secret", secret)
	e2e.WriteFile(t, dir+"/ca.crt", ca)
	n.apply(t, n.run(t, "kubectl", "-n", "strict", "create", "secret", "generic", "idaas",
		"--from-file="+dir, "--dry-run=client", "-o", "yaml"))
}

// remote is a simulated IDaaS at the node's address, with a certificate for it.
type remote struct {
	address, ca string
	close       func()
}

func (n *node) startAPI(t *testing.T, providers ...string) *remote {
	t.Helper()
	certificate, key := newCertificate(t)
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	sim := simulator.New(simulator.Config{Clients: []simulator.Client{{ID: "exporter", Secret: "not a secret"}}})
	for _, provider := range providers {
		sim.Add("billing", provider, simulator.Token{ID: provider, Created: time.Now(), Expires: time.Now().Add(time.Hour)})
	}
	l := n.Listen(t, nodeAddress+":0")
	server := &http.Server{Handler: sim, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}}
	go server.ServeTLS(l, "", "")
	r := &remote{l.Addr().String(), string(certificate), func() {
		server.Close()
		sim.Close()
	}}
	t.Cleanup(r.close)
	return r
}

// newCertificate returns one for the node's address, signed by itself, and its key.
func newCertificate(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(nodeAddress)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// hastyChart returns a copy of the chart whose alerts wait for seconds, not minutes.
func hastyChart(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "chart")
	e2e.Command(t, nil, "cp", "-r", "deploy/helm", dir)
	file := dir + "/files/rules.yaml"
	e2e.WriteFile(t, file, rules.Shorten(e2e.ReadFile(t, file)))
	return dir
}

// addShell makes what stands in for the image of that name: this machine's shell, wget and grep. The wget of Debian's static
// busybox crashes where its libraries are not.
func addShell(t *testing.T, e *e2e.Engine, image string) {
	t.Helper()
	files := map[string]string{}
	for name, as := range map[string]string{"dash": "/bin/sh", "wget": "/bin/wget", "grep": "/bin/grep"} {
		maps.Copy(files, e2e.WithLibraries(t, e2e.LookPath(t, name)))
		files[as] = e2e.LookPath(t, name)
	}
	e.Add(t, image, files, "--env", "PATH=/bin")
}

// startMonitoring starts the Prometheus Operator and a Prometheus that takes every monitor and rule; it returns its pod.
func (n *node) startMonitoring(t *testing.T, e *e2e.Engine) string {
	t.Helper()
	for _, name := range []string{"operator", "prometheus-config-reloader", "prometheus"} {
		image := "localhost/" + name + ":v0"
		program, err := filepath.Abs(e2e.Root + "/.tools/cluster/" + name)
		if err != nil {
			t.Fatal(err)
		}
		e.Add(t, image, map[string]string{"/bin/" + name: program}, "--entrypoint", fmt.Sprintf("[%q]", "/bin/"+name))
		n.load(t, image)
	}
	n.apply(t, e2e.ReadFile(t, "testdata/monitoring.yaml"))
	e2e.Eventually(t, 3*time.Minute, "Prometheus", func() error {
		_, err := n.try(t, "kubectl", "-n", "monitoring", "wait", "--for", "condition=Ready", "pod/prometheus-lab-0", "--timeout", "2s")
		return err
	})
	return "prometheus-lab-0"
}
