package kubernetes

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

// kubernetes is an API server with its controllers. It has no nodes: pods are made, admitted and stay pending.
type kubernetes struct {
	enter []string // what leads to where it is, before a command
	env   []string
	dir   string
}

// startKubernetes starts it on this machine's loopback, or, with what leads there, in another network. The API server gets
// more flags.
func startKubernetes(t *testing.T, enter []string, flags ...string) *kubernetes {
	t.Helper()
	dir := t.TempDir()
	config := dir + "/kubeconfig"
	k := &kubernetes{enter: enter, dir: dir, env: []string{
		"KUBECONFIG=" + config, "HELM_CACHE_HOME=" + dir, "HELM_CONFIG_HOME=" + dir, "HELM_DATA_HOME=" + dir, "HOME=" + dir,
	}}
	etcd, api, controllers := "http://"+e2e.FreeAddress(t), e2e.FreeAddress(t), e2e.FreeAddress(t)
	k.serve(t, "etcd", "--data-dir", dir+"/etcd", "--unsafe-no-fsync", "--log-level", "error",
		"--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", "http://127.0.0.1:0")

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	token := rand.Text()
	e2e.WriteFile(t, dir+"/accounts.key",
		string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	e2e.WriteFile(t, dir+"/tokens.csv", token+",admin,admin,system:masters\n")
	e2e.WriteFile(t, config, fmt.Sprintf(`
apiVersion: v1
kind: Config
current-context: e2e
clusters: [{name: e2e, cluster: {server: "https://%s", certificate-authority: %q, tls-server-name: kubernetes.default.svc}}]
users: [{name: admin, user: {token: %s}}]
contexts: [{name: e2e, context: {cluster: e2e, user: admin}}]
`, api, dir+"/certs/apiserver.crt", token))
	_, port, _ := net.SplitHostPort(api)
	k.serve(t, "kube-apiserver", slices.Concat([]string{
		"--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--secure-port", port, "--cert-dir", dir + "/certs",
		"--token-auth-file", dir + "/tokens.csv", "--authorization-mode", "Node,RBAC", "--anonymous-auth=false",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", dir + "/accounts.key",
		"--service-account-signing-key-file", dir + "/accounts.key", "--service-cluster-ip-range", "10.96.0.0/16",
		"--endpoint-reconciler-type", "none", "--allow-privileged=false", "--profiling=false",
	}, flags)...)
	e2e.Eventually(t, 2*time.Minute, "API server", func() error {
		_, err := k.try(t, "kubectl", "get", "--raw", "/readyz")
		return err
	})
	_, port, _ = net.SplitHostPort(controllers)
	k.serve(t, "kube-controller-manager", "--kubeconfig", config, "--authentication-kubeconfig", config, "--authorization-kubeconfig", config,
		"--bind-address", "127.0.0.1", "--secure-port", port, "--cert-dir", dir+"/controllers", "--leader-elect=false",
		"--service-account-private-key-file", dir+"/accounts.key", "--root-ca-file", dir+"/certs/apiserver.crt", "--profiling=false")
	e2e.Eventually(t, time.Minute, "controllers", func() error {
		_, err := k.try(t, "kubectl", "get", "serviceaccount", "default")
		return err
	})
	return k
}

// serve starts a server whose way to end says nothing.
func (k *kubernetes) serve(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd, log := k.command(t, name, args...), &e2e.LogFile{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		if late.Stop(); t.Failed() {
			t.Logf("%s: %v, last lines:\n%s", name, err, log.Tail())
		}
	})
}

func (k *kubernetes) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	line := slices.Concat(k.enter, []string{e2e.Tool(t, name)}, args)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), k.env...)
	return cmd
}

func (k *kubernetes) try(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	cmd := k.command(t, name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	// Warnings of the API server, such as those of Pod Security, come there, too.
	if err == nil && stderr.Len() > 0 {
		err = errors.New("it warns")
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out), err
}

// Run runs kubectl or helm; a failure or a warning ends the test.
func (k *kubernetes) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := k.try(t, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// addMonitoring adds kinds of the Prometheus Operator.
func (k *kubernetes) addMonitoring(t *testing.T, kinds ...string) {
	t.Helper()
	for _, kind := range kinds {
		file := e2e.One(t, e2e.Root+"/.tools/operator-*/monitoring.coreos.com_"+kind+".yaml")
		k.run(t, "kubectl", "create", "-f", filepath.Clean(file))
		e2e.Eventually(t, time.Minute, kind, func() error { // wait fails while there are no conditions at all
			_, err := k.try(t, "kubectl", "wait", "--for", "condition=Established", "--timeout", "5s", "crd/"+kind+".monitoring.coreos.com")
			return err
		})
	}
}

// addNamespace makes a namespace that takes nothing but restricted pods.
func (k *kubernetes) addNamespace(t *testing.T, name string) {
	t.Helper()
	k.run(t, "kubectl", "create", "namespace", name)
	for _, mode := range []string{"enforce", "warn"} {
		k.run(t, "kubectl", "label", "namespace", name, "pod-security.kubernetes.io/"+mode+"=restricted")
	}
}
