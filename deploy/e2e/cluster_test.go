//go:build cluster

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

const (
	released = "deployment/idaas-token-exporter"
	ourPods  = "app.kubernetes.io/name=idaas-token-exporter"
)

// TestCluster lives with the chart on a real node: everything that needs pods that run.
func TestCluster(t *testing.T) {
	n := startNode(t)
	e := containers(t)
	e.run(t, "podman", "tag", e.buildExporter(t, runtime.GOARCH), "ghcr.io/idaas-exporter/idaas-token-exporter:v0.1.0")
	e.addShell(t, "docker.io/library/busybox:1.37")
	n.load(t, "ghcr.io/idaas-exporter/idaas-token-exporter:v0.1.0", "docker.io/library/busybox:1.37")
	n.addMonitoring(t, "alertmanagerconfigs", "alertmanagers", "podmonitors", "probes", "prometheusagents", "prometheuses",
		"prometheusrules", "scrapeconfigs", "servicemonitors", "thanosrulers")
	prom := n.startMonitoring(t, e)

	n.addNamespace(t, "demo")
	demo := hastyChart(t)
	n.helm(t, "-n", "demo", "install", "idaas-token-exporter", demo, "--set", "demo=true,monitor.kind=ServiceMonitor,monitor.interval=2s,monitor.scrapeTimeout=2s,prometheusRule.enabled=true", "--wait", "--timeout", "60s")
	n.helm(t, "-n", "demo", "test", "idaas-token-exporter")

	n.addNamespace(t, "strict")
	t.Run("one process", func(t *testing.T) { n.checkProcess(t) })
	t.Run("shards", func(t *testing.T) { n.checkShards(t) })
	t.Run("gone", func(t *testing.T) { checkGone(t, n.kubernetes, "strict") })
	t.Run("monitoring", func(t *testing.T) { n.checkMonitoring(t, prom) })
	n.helm(t, "-n", "demo", "uninstall", "idaas-token-exporter", "--wait")
}

func (n *node) helm(t *testing.T, args ...string) string {
	t.Helper()
	began := time.Now()
	out := n.run(t, "helm", args...)
	t.Logf("%v: helm %s", time.Since(began).Round(100*time.Millisecond), strings.Join(args, " "))
	return out
}

// checkProcess: a Deployment, from a wrong secret on.
func (n *node) checkProcess(t *testing.T) {
	api := n.startAPI(t, "orders_jwt", "crm_oauth")
	n.setSecret(t, "wrong", api.ca)
	values := func(providers string) string {
		file := filepath.Join(t.TempDir(), "values.yaml")
		writeFile(t, file, fmt.Sprintf(`
settings: {IDAAS_DOMAIN: %q, IDAAS_CLIENT_ID: exporter, IDAAS_POLL_SCHEDULE: "@every 2s", IDAAS_RATE_LIMIT: 100, IDAAS_REQUEST_RETRIES: 0}
secret: {name: idaas, files: {IDAAS_CLIENT_SECRET_FILE: client-secret, IDAAS_CA_FILE: ca.crt}}
targets: [{consumer: billing, credential_providers: [%s]}]
`, api.address, providers))
		return file
	}
	n.helm(t, "-n", "strict", "install", "idaas-token-exporter", chart, "-f", values("orders_jwt"), "--wait", "--timeout", "60s")
	n.helm(t, "-n", "strict", "test", "idaas-token-exporter")
	pod := n.pods(t, "strict", ourPods)
	address := n.field(t, "strict", "service/idaas-token-exporter", ".spec.clusterIP")
	sees := func(what string, lines ...string) {
		t.Helper()
		began := time.Now()
		eventually(t, 2*time.Minute, what, func() error {
			text, err := n.get(t.Context(), "http://"+address+":9877/metrics")
			for _, line := range lines {
				if err == nil && !strings.Contains(text, line) {
					err = fmt.Errorf("no %s", line)
				}
			}
			return err
		})
		t.Logf("%s: after %v", what, time.Since(began).Round(100*time.Millisecond))
	}
	const tokens = `idaas_authentication_tokens{consumer="billing",credential_provider="%s"} 1`
	orders, crm := fmt.Sprintf(tokens, "orders_jwt"), fmt.Sprintf(tokens, "crm_oauth")
	sees("the wrong secret is refused", `idaas_poll_error{consumer="billing",credential_provider="orders_jwt",reason="access_token"} 1`)
	n.setSecret(t, "not a secret", api.ca)
	sees("a new secret is taken up", orders)
	n.helm(t, "-n", "strict", "upgrade", "idaas-token-exporter", chart, "-f", values("orders_jwt, crm_oauth"))
	sees("a new target is read", orders, crm)
	if now := n.pods(t, "strict", ourPods); !slices.Equal(now, pod) {
		t.Errorf("%v was replaced by %v", pod, now)
	}
	text, err := n.scrape(t, "strict", pod[0])
	if err != nil {
		t.Fatal(err)
	}
	memory, limit := value(text, "process_resident_memory_bytes"), value(text, "go_gc_gomemlimit_bytes")
	t.Logf("%.0f MB of memory, its own limit at %.0f MB", memory/1e6, limit/1e6)
	if !(memory < 128<<20) || !(limit < 128<<20*0.81) {
		t.Error("that is more than the chart allows")
	}
	// The new pod has read every target before the old one goes.
	n.run(t, "kubectl", "-n", "strict", "rollout", "restart", released)
	until := make(chan struct{})
	missed := make(chan error, 1)
	go func() { missed <- n.always(t, until, orders, crm) }()
	n.run(t, "kubectl", "-n", "strict", "rollout", "status", released, "--timeout", "60s")
	close(until)
	if err := <-missed; err != nil {
		t.Errorf("during a restart: %v", err)
	}
	n.checkQuiet(t)
	n.helm(t, "-n", "strict", "uninstall", "idaas-token-exporter", "--wait")
	n.run(t, "kubectl", "-n", "strict", "delete", "secret", "idaas")
}

// always scrapes every pod, as Prometheus does, until it is told to stop: at any time one of them must have these lines.
func (n *node) always(t *testing.T, until chan struct{}, lines ...string) error {
	for rounds := 0; ; rounds++ {
		select {
		case <-until:
			if rounds == 0 {
				return fmt.Errorf("nothing was scraped in the meantime")
			}
			return nil
		case <-time.After(poll):
		}
		addresses, err := n.try(t, "kubectl", "-n", "strict", "get", "pods", "-l", ourPods, "-o", "jsonpath={.items[*].status.podIP}")
		if err != nil {
			return err
		}
		whole := slices.ContainsFunc(strings.Fields(addresses), func(address string) bool {
			text, err := n.get(t.Context(), "http://"+address+":9877/metrics")
			return err == nil && !slices.ContainsFunc(lines, func(line string) bool { return !strings.Contains(text, line) })
		})
		if !whole {
			return fmt.Errorf("none of %s has %q", addresses, lines)
		}
	}
}

// checkQuiet: no container was restarted.
func (n *node) checkQuiet(t *testing.T) {
	t.Helper()
	if restarts := n.run(t, "kubectl", "-n", "strict", "get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}"); strings.Trim(restarts, "0 ") != "" {
		t.Errorf("restarts: %s", restarts)
	}
}

// checkShards: three processes share the targets, and remember them while the API is away.
func (n *node) checkShards(t *testing.T) {
	var providers []string
	for i := range 12 {
		providers = append(providers, fmt.Sprintf("provider%d_jwt", i))
	}
	api := n.startAPI(t, providers...)
	n.setSecret(t, "not a secret", api.ca)
	n.addVolumes(t, 3)
	file := filepath.Join(t.TempDir(), "values.yaml")
	writeFile(t, file, fmt.Sprintf(`
settings: {IDAAS_DOMAIN: %q, IDAAS_CLIENT_ID: exporter, IDAAS_POLL_SCHEDULE: "@every 2s", IDAAS_RATE_LIMIT: 300, IDAAS_REQUEST_RETRIES: 0}
secret: {name: idaas, files: {IDAAS_CLIENT_SECRET_FILE: client-secret, IDAAS_CA_FILE: ca.crt}}
targets: [{consumer: billing, credential_providers: [%s]}]
shards: 3
state: {persistence: {enabled: true, size: 10Mi, storageClassName: by-hand}}
`, api.address, strings.Join(providers, ", ")))
	n.helm(t, "-n", "strict", "install", "idaas-token-exporter", chart, "-f", file, "--wait", "--timeout", "90s")
	check := func(what string) {
		t.Helper()
		eventually(t, time.Minute, what, func() error {
			pods := n.pods(t, "strict", ourPods)
			seen := 0
			for i, pod := range pods {
				text, err := n.scrape(t, "strict", pod)
				if err != nil {
					return err
				}
				if !strings.Contains(text, fmt.Sprintf(`idaas_shard_index{shard_index="%d"} 1`, i)) {
					return fmt.Errorf("%s does not know its number", pod)
				}
				seen += strings.Count(text, "\nidaas_authentication_tokens{")
			}
			if len(pods) != 3 || seen != len(providers) {
				return fmt.Errorf("%v show %d of %d targets", pods, seen, len(providers))
			}
			return nil
		})
	}
	check("three shards read every target once")
	api.close()
	began := time.Now()
	n.run(t, "kubectl", "-n", "strict", "rollout", "restart", "statefulset/idaas-token-exporter")
	n.run(t, "kubectl", "-n", "strict", "rollout", "status", "statefulset/idaas-token-exporter", "--timeout", "120s")
	t.Log("a rolling restart of three shards took", time.Since(began).Round(time.Second))
	check("after a restart without the API")
	n.checkQuiet(t)
	n.helm(t, "-n", "strict", "uninstall", "idaas-token-exporter", "--wait")
	n.run(t, "kubectl", "-n", "strict", "delete", "secret", "idaas")
	n.run(t, "kubectl", "delete", "persistentvolume", "--all")
}

// addVolumes makes claims possible: there is no provisioner.
func (n *node) addVolumes(t *testing.T, count int) {
	t.Helper()
	var text strings.Builder
	for i := range count {
		dir := filepath.Join(t.TempDir(), fmt.Sprint("volume-", i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		command(t, nil, "chmod", "755", filepath.Dir(dir), filepath.Dir(filepath.Dir(dir)))
		command(t, nil, "chown", "65532:65532", dir)
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
	writeFile(t, file, manifest)
	n.run(t, "kubectl", "apply", "-f", file)
}

func (n *node) setSecret(t *testing.T, secret, ca string) {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, dir+"/client-secret", secret)
	writeFile(t, dir+"/ca.crt", ca)
	n.apply(t, n.run(t, "kubectl", "-n", "strict", "create", "secret", "generic", "idaas", "--from-file="+dir, "--dry-run=client", "-o", "yaml"))
}

// remote is a simulated IDaaS at the node's address, with a certificate for it.
type remote struct {
	address, ca string
	close       func()
}

func (n *node) startAPI(t *testing.T, providers ...string) *remote {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(nodeAddress)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sim := simulator.New(simulator.Config{Clients: []simulator.Client{{ID: "exporter", Secret: "not a secret"}}})
	for _, provider := range providers {
		sim.Add("billing", provider, simulator.Token{ID: provider, Created: time.Now(), Expires: time.Now().Add(time.Hour)})
	}
	l := n.listen(t, nodeAddress+":0")
	server := &http.Server{Handler: sim, TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
	go server.ServeTLS(l, "", "")
	r := &remote{l.Addr().String(), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), func() {
		server.Close()
		sim.Close()
	}}
	t.Cleanup(r.close)
	return r
}

// hastyChart returns a copy of the chart whose alerts wait for seconds, not minutes.
func hastyChart(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "chart")
	command(t, nil, "cp", "-r", "deploy/helm", dir)
	rules := dir + "/files/rules.yaml"
	writeFile(t, rules, shorten(readFile(t, rules)))
	return dir
}

// addShell makes what stands in for the image of that name: this machine's shell, wget and grep. The wget of Debian's static
// busybox crashes where its libraries are not.
func (e *engine) addShell(t *testing.T, image string) {
	t.Helper()
	files := map[string]string{}
	for name, as := range map[string]string{"dash": "/bin/sh", "wget": "/bin/wget", "grep": "/bin/grep"} {
		maps.Copy(files, withLibraries(t, lookPath(t, name)))
		files[as] = lookPath(t, name)
	}
	e.add(t, image, files, "--env", "PATH=/bin")
}

// startMonitoring starts the Prometheus Operator and a Prometheus that takes every monitor and rule; it returns its pod.
func (n *node) startMonitoring(t *testing.T, e *engine) string {
	t.Helper()
	for _, name := range []string{"operator", "prometheus-config-reloader", "prometheus"} {
		image := "localhost/" + name + ":v0"
		program, err := filepath.Abs(root + "/.tools/cluster/" + name)
		if err != nil {
			t.Fatal(err)
		}
		e.add(t, image, map[string]string{"/bin/" + name: program}, "--entrypoint", fmt.Sprintf("[%q]", "/bin/"+name))
		n.load(t, image)
	}
	n.apply(t, readFile(t, "testdata/monitoring.yaml"))
	eventually(t, 3*time.Minute, "Prometheus", func() error {
		_, err := n.try(t, "kubectl", "-n", "monitoring", "wait", "--for", "condition=Ready", "pod/prometheus-lab-0", "--timeout", "2s")
		return err
	})
	return "prometheus-lab-0"
}

// checkMonitoring: the ServiceMonitor is a target that is up, the rules are loaded, and the demo's lost target fires.
func (n *node) checkMonitoring(t *testing.T, pod string) {
	api := "http://" + n.field(t, "monitoring", "pod/"+pod, ".status.podIP") + ":9090/api/v1/"
	ask := func(path string, into any) error {
		text, err := n.get(t.Context(), api+path)
		if err == nil {
			err = json.Unmarshal([]byte(text), into)
		}
		return err
	}
	var targets struct {
		Data struct {
			ActiveTargets []struct {
				Health string
				Labels map[string]string
			}
		}
	}
	eventually(t, 2*time.Minute, "the target", func() error {
		if err := ask("targets", &targets); err != nil {
			return err
		}
		for _, target := range targets.Data.ActiveTargets {
			if target.Health == "up" && target.Labels["namespace"] == "demo" && target.Labels["job"] == "idaas-token-exporter" {
				return nil
			}
		}
		return fmt.Errorf("%+v", targets)
	})
	var alerts struct {
		Data struct{ Alerts []alert }
	}
	eventually(t, 5*time.Minute, "the alert", func() error {
		if err := ask("alerts", &alerts); err != nil {
			return err
		}
		for _, a := range alerts.Data.Alerts {
			if a.State == "firing" && a.Labels["alertname"] == "IDaaSTokensLost" && a.Labels["consumer"] == "nightly-report" {
				return nil
			}
		}
		return fmt.Errorf("%+v", alerts)
	})
}
