package kubernetes

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e/rules"
	"go.yaml.in/yaml/v3"
)

var chart = e2e.Root + "/deploy/helm"

var codeBlocks = regexp.MustCompile("(?s)\n *```(\\w+)\n(.*?)\n *```")

func fixtures(t *testing.T, kind string) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/" + kind + "/*.yaml")
	if err != nil || files == nil {
		t.Fatal("no fixtures", err)
	}
	return files
}

// render returns what the chart makes of values, as helm install would send it.
func render(t *testing.T, values string, more ...string) string {
	t.Helper()
	args := []string{"template", "exporter", "deploy/helm", "--kube-version", "1.37", "-f", "deploy/e2e/kubernetes/" + values}
	return e2e.Command(t, nil, e2e.Tool(t, "helm"), append(args, more...)...)
}

// objects parses what was rendered: kind → objects.
func objects(t *testing.T, text string) map[string][]map[string]any {
	t.Helper()
	found := map[string][]map[string]any{}
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o map[string]any
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if o != nil {
			found[o["kind"].(string)] = append(found[o["kind"].(string)], o)
		}
	}
}

// TestGenerated: copies and the plain manifest are what they are made of.
func TestGenerated(t *testing.T) {
	copied := t.TempDir()
	for _, folder := range []string{"deploy", "dashboards"} {
		e2e.Command(t, nil, "mkdir", "-p", copied+"/"+folder)
	}
	for _, folder := range []string{"deploy/helm", "deploy/kubernetes", "deploy/prometheus", "dashboards"} {
		e2e.Command(t, nil, "cp", "-r", folder, copied+"/"+folder)
	}
	e2e.Command(t, nil, "rm", "-r", copied+"/dashboards")
	e2e.Command(t, nil, "cp", "-r", "dashboards", copied+"/dashboards")
	e2e.Command(t, []string{"HELM=" + e2e.Tool(t, "helm")}, "deploy/e2e/generate.sh", copied)
	for _, folder := range []string{"deploy/helm/files", "deploy/kubernetes"} {
		if out, err := e2e.Try(t, nil, "diff", "-r", folder, copied+"/"+folder); err != nil {
			t.Errorf("not current, run make -C deploy/e2e generate: %v%s", err, out)
		}
	}
}

// TestChartValues: the chart takes what it should, and says what is wrong with the rest.
func TestChartValues(t *testing.T) {
	helm := e2e.Tool(t, "helm")
	for _, file := range fixtures(t, "good") {
		e2e.Command(t, nil, helm, "lint", "--strict", "--kube-version", "1.37", "deploy/helm", "-f", "deploy/e2e/kubernetes/"+file)
	}
	for _, file := range fixtures(t, "bad") {
		first, _, _ := strings.Cut(e2e.ReadFile(t, file), "\n")
		want := strings.TrimPrefix(first, "# ")
		_, err := e2e.Try(t, nil, helm, "template", "exporter", "deploy/helm", "--kube-version", "1.37", "-f", "deploy/e2e/kubernetes/"+file)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: not %q: %v", file, want, err)
		}
	}
}

// TestChartRules: without values the chart's alerts are the shipped ones; values change what they name and nothing else.
func TestChartRules(t *testing.T) {
	var shipped map[string]any
	if err := yaml.Unmarshal([]byte(e2e.ReadFile(t, e2e.Root+"/deploy/prometheus/rules.yaml")), &shipped); err != nil {
		t.Fatal(err)
	}
	plain := objects(t, render(t, "testdata/good/demo.yaml", "--set", "prometheusRule.enabled=true"))["PrometheusRule"][0]["spec"]
	if !reflect.DeepEqual(plain, any(shipped)) {
		t.Error("the chart changes the rules that it ships")
	}
	changed := objects(t, render(t, "testdata/good/everything.yaml"))["PrometheusRule"][0]["spec"]
	text, err := yaml.Marshal(changed)
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/rules.yaml"
	e2e.WriteFile(t, file, string(text))
	e2e.Command(t, nil, e2e.Tool(t, "promtool"), "check", "rules", "--lint=all", "--lint-fatal", file)
	for _, r := range rules.ParseRules(t, string(text)) {
		switch {
		case r.Alert == "IDaaSTokensNeverExpire",
			r.Alert == "IDaaSTokensAtRisk" && r.Labels["severity"] != "critical",
			r.Alert == "IDaaSTokensLost" && r.Labels["severity"] != "critical",
			r.Alert == "IDaaSDataStale" && r.Labels["severity"] != "warning",
			r.Alert != "" && r.Labels["team"] != "identity":
			t.Errorf("%+v", r)
		}
	}
}

// TestChart gives everything to a real API server, and lives with a release there.
func TestChart(t *testing.T) {
	k := startKubernetes(t, nil)
	k.addMonitoring(t, "servicemonitors", "podmonitors", "prometheusrules")
	k.addNamespace(t, "strict")
	t.Run("dry run", func(t *testing.T) {
		// Unlike helm, kubectl has the server refuse misspelt fields.
		for _, file := range fixtures(t, "good") {
			manifest := filepath.Join(t.TempDir(), "manifest.yaml")
			e2e.WriteFile(t, manifest, render(t, file))
			k.run(t, "kubectl", "-n", "strict", "create", "--dry-run=server", "-f", manifest)
		}
		broken := filepath.Join(t.TempDir(), "manifest.yaml")
		e2e.WriteFile(t, broken, strings.Replace(render(t, "testdata/good/demo.yaml"), "  replicas: 1", "  replicaz: 1", 1))
		if _, err := k.try(t, "kubectl", "-n", "strict", "create", "--dry-run=server", "-f", broken); err == nil {
			t.Error("a misspelt field is not refused: this test finds nothing")
		}
	})
	t.Run("without helm", func(t *testing.T) {
		secret := filepath.Join(t.TempDir(), "client-secret")
		e2e.WriteFile(t, secret, "not a secret")
		manifest := e2e.Root + "/deploy/kubernetes/idaas-token-exporter.yaml"
		k.run(t, "kubectl", "-n", "strict", "create", "secret", "generic", "idaas-token-exporter", "--from-file="+secret)
		k.run(t, "kubectl", "-n", "strict", "apply", "-f", manifest)
		checkPods(t, k, "strict", 1)
		k.run(t, "kubectl", "-n", "strict", "delete", "-f", manifest)
		k.run(t, "kubectl", "-n", "strict", "delete", "secret", "idaas-token-exporter")
		checkGone(t, k, "strict")
	})
	t.Run("quick start", func(t *testing.T) {
		k.env = append(k.env, "PATH="+filepath.Dir(e2e.Tool(t, "helm"))+":"+os.Getenv("PATH"))
		e2e.Command(t, k.env, "sh", "-euc", e2e.QuickStart(t, "helm"))
		checkPods(t, k, "idaas", 1)
		// And what deploy/README.md says next.
		blocks := codeBlocks.FindAllStringSubmatch(e2e.ReadFile(t, e2e.Root+"/deploy/README.md"), 2)
		if len(blocks) != 2 || blocks[0][1] != "sh" || blocks[1][1] != "yaml" {
			t.Fatalf("%q", blocks)
		}
		dir := t.TempDir()
		e2e.Command(t, nil, "ln", "-s", strings.TrimSpace(e2e.Command(t, nil, "pwd"))+"/deploy", dir)
		e2e.WriteFile(t, dir+"/client-secret", "not a secret")
		e2e.WriteFile(t, dir+"/values.yaml", blocks[1][2])
		e2e.Command(t, k.env, "sh", "-euc", "cd "+dir+"\n"+blocks[0][2])
		k.run(t, "kubectl", "-n", "idaas", "get", "servicemonitor/idaas-token-exporter", "prometheusrule/idaas-token-exporter",
			"configmap/idaas-token-exporter-tokens")
		k.run(t, "helm", "-n", "idaas", "uninstall", "idaas-token-exporter")
	})
	t.Run("release", func(t *testing.T) {
		helm := func(args ...string) string {
			t.Helper()
			return k.run(t, "helm", append([]string{"-n", "strict"}, args...)...)
		}
		notes := helm("install", "exporter", chart, "-f", "testdata/good/real.yaml")
		if !strings.Contains(notes, "kubectl -n strict exec deployment/exporter-idaas-token-exporter -- /idaas-token-exporter check") {
			t.Errorf("the notes do not say what is next:\n%s", notes)
		}
		checkPods(t, k, "strict", 1)
		helm("upgrade", "exporter", chart, "-f", "testdata/good/everything.yaml")
		checkPods(t, k, "strict", 3)
		helm("rollback", "exporter", "1")
		checkPods(t, k, "strict", 1)
		helm("upgrade", "exporter", chart, "-f", "testdata/good/oidc.yaml")
		checkPods(t, k, "strict", 1)
		helm("upgrade", "exporter", chart, "-f", "testdata/good/real.yaml")
		checkPods(t, k, "strict", 2) // the old pod stays until the new one is ready, and here none ever is
		helm("uninstall", "exporter", "--wait", "--timeout", "60s")
		checkGone(t, k, "strict")
	})
}

// checkPods waits until the controllers made so many pods, none refused.
func checkPods(t *testing.T, k *kubernetes, namespace string, want int) {
	t.Helper()
	e2e.Eventually(t, time.Minute, fmt.Sprint(want, " pods"), func() error {
		pods := strings.Fields(k.run(t, "kubectl", "-n", namespace, "get", "pods", "-o", "name"))
		if len(pods) != want {
			events := k.run(t, "kubectl", "-n", namespace, "get", "events", "-o", "custom-columns=:reason,:message", "--no-headers")
			return fmt.Errorf("%v\n%s", pods, events)
		}
		return nil
	})
	refused := k.run(t, "kubectl", "-n", namespace, "get", "events", "--field-selector", "type=Warning,reason=FailedCreate",
		"-o", "custom-columns=:message", "--no-headers")
	if refused != "" {
		t.Errorf("refused:\n%s", refused)
	}
}

// checkGone: nothing but what every namespace has is left.
func checkGone(t *testing.T, k *kubernetes, namespace string) {
	t.Helper()
	kinds := "all,configmaps,secrets,serviceaccounts,persistentvolumeclaims," +
		"networkpolicies,poddisruptionbudgets,servicemonitors,podmonitors,prometheusrules,roles,rolebindings"
	e2e.Eventually(t, time.Minute, "all gone", func() error {
		var left []string
		for _, name := range strings.Fields(k.run(t, "kubectl", "-n", namespace, "get", kinds, "-o", "name")) {
			if name != "configmap/kube-root-ca.crt" && name != "serviceaccount/default" {
				left = append(left, name)
			}
		}
		if left != nil {
			return fmt.Errorf("still there: %v", left)
		}
		return nil
	})
}
