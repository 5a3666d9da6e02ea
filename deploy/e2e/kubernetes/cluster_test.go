//go:build cluster

package kubernetes

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

const (
	released = "deployment/idaas-token-exporter"
	ourPods  = "app.kubernetes.io/name=idaas-token-exporter"
)

// TestCluster lives with the chart on a real node: everything that needs pods that run.
func TestCluster(t *testing.T) {
	n := startNode(t)
	e := e2e.Containers(t)
	e.Run(t, "podman", "tag", e.BuildExporter(t, runtime.GOARCH), "ghcr.io/idaas-exporter/idaas-token-exporter:v0.1.0")
	addShell(t, e, "docker.io/library/busybox:1.37")
	n.load(t, "ghcr.io/idaas-exporter/idaas-token-exporter:v0.1.0", "docker.io/library/busybox:1.37")
	n.addMonitoring(t, "alertmanagerconfigs", "alertmanagers", "podmonitors", "probes", "prometheusagents", "prometheuses",
		"prometheusrules", "scrapeconfigs", "servicemonitors", "thanosrulers")
	prom := n.startMonitoring(t, e)

	n.addNamespace(t, "demo")
	demo := hastyChart(t)
	n.helm(t, "-n", "demo", "install", "idaas-token-exporter", demo,
		"--set", "demo=true,monitor.kind=ServiceMonitor,monitor.interval=2s,monitor.scrapeTimeout=2s,prometheusRule.enabled=true",
		"--wait", "--timeout", "60s")
	n.helm(t, "-n", "demo", "test", "idaas-token-exporter")

	n.addNamespace(t, "strict")
	t.Run("one process", func(t *testing.T) { n.checkProcess(t) })
	t.Run("shards", func(t *testing.T) { n.checkShards(t) })
	t.Run("TLS and a password", func(t *testing.T) { n.checkGuarded(t) })
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
		e2e.WriteFile(t, file, fmt.Sprintf(`
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
		e2e.Eventually(t, 2*time.Minute, what, func() error {
			text, err := n.Get(t.Context(), "http://"+address+":9877/metrics")
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
	memory, limit := e2e.Value(text, "process_resident_memory_bytes"), e2e.Value(text, "go_gc_gomemlimit_bytes")
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
		case <-time.After(e2e.Poll):
		}
		addresses, err := n.try(t, "kubectl", "-n", "strict", "get", "pods", "-l", ourPods, "-o", "jsonpath={.items[*].status.podIP}")
		if err != nil {
			return err
		}
		whole := slices.ContainsFunc(strings.Fields(addresses), func(address string) bool {
			text, err := n.Get(t.Context(), "http://"+address+":9877/metrics")
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
	restarts := n.run(t, "kubectl", "-n", "strict", "get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}")
	if strings.Trim(restarts, "0 ") != "" {
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
	e2e.WriteFile(t, file, fmt.Sprintf(`
settings: {IDAAS_DOMAIN: %q, IDAAS_CLIENT_ID: exporter, IDAAS_POLL_SCHEDULE: "@every 2s", IDAAS_RATE_LIMIT: 300, IDAAS_REQUEST_RETRIES: 0}
secret: {name: idaas, files: {IDAAS_CLIENT_SECRET_FILE: client-secret, IDAAS_CA_FILE: ca.crt}}
targets: [{consumer: billing, credential_providers: [%s]}]
shards: 3
state: {persistence: {enabled: true, size: 10Mi, storageClassName: by-hand}}
`, api.address, strings.Join(providers, ", ")))
	n.helm(t, "-n", "strict", "install", "idaas-token-exporter", chart, "-f", file, "--wait", "--timeout", "90s")
	check := func(what string) {
		t.Helper()
		e2e.Eventually(t, time.Minute, what, func() error {
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

// checkGuarded: behind TLS and a password the probes still reach the exporter, and others do not.
func (n *node) checkGuarded(t *testing.T) {
	certificate, key := newCertificate(t)
	dir := t.TempDir()
	e2e.WriteFile(t, dir+"/tls.crt", string(certificate))
	e2e.WriteFile(t, dir+"/tls.key", string(key))
	e2e.WriteFile(t, dir+"/web.yaml", `
tls_server_config: {cert_file: tls.crt, key_file: tls.key}
basic_auth_users: {prometheus: $2a$04$YhWz7sZGL5yHoIMV8QAxD.3mn3OekcHliV6ZXFNyI1.A6kKlaX48q}
`)
	n.run(t, "kubectl", "-n", "strict", "create", "secret", "generic", "web", "--from-file="+dir)
	n.helm(t, "-n", "strict", "install", "idaas-token-exporter", chart,
		"--set", "demo=true,web.configSecret=web,monitor.scheme=https", "--wait", "--timeout", "60s")
	n.helm(t, "-n", "strict", "test", "idaas-token-exporter")
	if text, err := n.scrape(t, "strict", n.pods(t, "strict", ourPods)[0]); err == nil {
		t.Errorf("anybody may read\n%s", text)
	}
	n.helm(t, "-n", "strict", "uninstall", "idaas-token-exporter", "--wait")
	n.run(t, "kubectl", "-n", "strict", "delete", "secret", "web")
}

// checkMonitoring: the ServiceMonitor is a target that is up, the rules are loaded, and the demo's lost target fires.
func (n *node) checkMonitoring(t *testing.T, pod string) {
	api := "http://" + n.field(t, "monitoring", "pod/"+pod, ".status.podIP") + ":9090/api/v1/"
	ask := func(path string, into any) error {
		text, err := n.Get(t.Context(), api+path)
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
	e2e.Eventually(t, 2*time.Minute, "the target", func() error {
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
		Data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
	}
	e2e.Eventually(t, 5*time.Minute, "the alert", func() error {
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
