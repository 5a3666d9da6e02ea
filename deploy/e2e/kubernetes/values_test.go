package kubernetes

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"
)

// template renders the chart as a release with values, of which later ones replace earlier ones.
func template(t *testing.T, release, folder string, values ...string) (string, error) {
	t.Helper()
	args := []string{"template", release, folder, "--kube-version", "1.37"}
	for _, text := range values {
		file := filepath.Join(t.TempDir(), "values.yaml")
		e2e.WriteFile(t, file, text)
		args = append(args, "-f", file)
	}
	return e2e.Try(t, nil, e2e.Tool(t, "helm"), args...)
}

// rendered parses what template renders; a key that is twice in a map ends the test.
func rendered(t *testing.T, release string, values ...string) map[string][]map[string]any {
	t.Helper()
	text, err := template(t, release, chart, values...)
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, text)
}

// field returns what is at a path of keys; a list stands for its first item.
func field(o any, path ...string) any {
	for _, key := range path {
		if items, ok := o.([]any); ok && len(items) > 0 {
			o = items[0]
		}
		m, _ := o.(map[string]any)
		o = m[key]
	}
	return o
}

func good(t *testing.T, name string) string {
	t.Helper()
	return e2e.ReadFile(t, "testdata/good/"+name+".yaml")
}

// variables returns the variables of the exporter that have a value.
func variables(t *testing.T, found map[string][]map[string]any) map[string]string {
	t.Helper()
	env, _ := field(found["Deployment"][0], "spec", "template", "spec", "containers", "env").([]any)
	values := map[string]string{}
	for _, v := range env {
		if value, ok := field(v, "value").(string); ok {
			values[field(v, "name").(string)] = value
		}
	}
	return values
}

func TestChartNumbers(t *testing.T) {
	values := variables(t, rendered(t, "exporter", good(t, "demo"), `
settings: {IDAAS_A: 20261129, IDAAS_B: 123456789012345, IDAAS_C: 2.5, IDAAS_D: 0, IDAAS_E: true, IDAAS_F: "0123", IDAAS_G: -1234567,
  IDAAS_H: 1234567.5, IDAAS_I: null, IDAAS_J: "null", IDAAS_K: "a \"b\" <c>"}
resources: {limits: {memory: 134217728}}
`))
	for name, want := range map[string]string{
		"IDAAS_A": "20261129", "IDAAS_B": "123456789012345", "IDAAS_C": "2.5", "IDAAS_D": "0", "IDAAS_E": "true", "IDAAS_F": "0123",
		"IDAAS_G": "-1234567", "IDAAS_H": "1234567.5", "IDAAS_I": "", "IDAAS_J": "null", "IDAAS_K": `a "b" <c>`, "GOMEMLIMIT": "104858KiB",
	} {
		if values[name] != want {
			t.Errorf("%s is %q, not %q", name, values[name], want)
		}
	}
}

// paths returns every path in the default values, with the value there.
func paths(values map[string]any, prefix ...string) map[string]any {
	found := map[string]any{}
	for key, value := range values {
		path := append(slices.Clone(prefix), key)
		found[strings.Join(path, ".")] = value
		if m, ok := value.(map[string]any); ok {
			maps.Copy(found, paths(m, path...))
		}
	}
	return found
}

func defaults(t *testing.T) map[string]any {
	t.Helper()
	var values map[string]any
	if err := yaml.Unmarshal([]byte(e2e.ReadFile(t, chart+"/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	return paths(values)
}

// at returns values with one value at a path.
func at(path, value string) string {
	depth := strings.Count(path, ".") + 1
	return "{" + strings.ReplaceAll(path, ".", ": {") + ": " + value + strings.Repeat("}", depth)
}

var labelled = regexp.MustCompile(`(?i)(labels|annotations)$`)

// TestChartKeys: whatever labels and annotations the values have, no key is twice in a map, and the selectors match.
func TestChartKeys(t *testing.T) {
	const keys = `{app.kubernetes.io/name: a, app.kubernetes.io/instance: b, app.kubernetes.io/version: c, app.kubernetes.io/managed-by: d,
  helm.sh/chart: e, kubectl.kubernetes.io/default-container: f, severity: g}`
	values := []string{good(t, "everything")}
	for path, value := range defaults(t) {
		if _, ok := value.(map[string]any); ok && labelled.MatchString(path) {
			values = append(values, at(path, keys))
		}
	}
	if len(values) < 8 {
		t.Fatalf("only %d maps", len(values)-1)
	}
	for _, kind := range []string{"ServiceMonitor", "PodMonitor"} {
		found := rendered(t, "exporter", append(values, at("monitor.kind", kind))...)
		for _, list := range found {
			for _, o := range list {
				if version := field(o, "metadata", "labels", "app.kubernetes.io/version"); o["kind"] == kind && version != "c" {
					t.Errorf("%s: the version is %v", kind, version)
				}
			}
		}
		set := found["StatefulSet"][0]
		labels := field(set, "spec", "template", "metadata", "labels").(map[string]any)
		for label, value := range field(found["Service"][0], "spec", "selector").(map[string]any) {
			if labels[label] != value || field(set, "spec", "selector", "matchLabels", label) != value {
				t.Errorf("the selector %s=%v does not match %v", label, value, labels)
			}
		}
		pod := field(set, "spec", "template", "spec")
		for _, list := range []any{field(pod, "containers", "env"), field(pod, "volumes"), field(pod, "containers", "volumeMounts")} {
			seen := map[any]bool{}
			for _, item := range list.([]any) {
				if name := field(item, "name"); seen[name] {
					t.Errorf("%v is there twice", name)
				} else {
					seen[name] = true
				}
			}
		}
	}
}

// TestChartNames: Kubernetes accepts every name and label, whatever the release and the overrides are.
func TestChartNames(t *testing.T) {
	long := strings.Repeat("abcdefghi-", 7)[:69] + "z"
	overrides := []string{
		"nameOverride: " + long, `nameOverride: "1234"`, "nameOverride: idaas.exporter",
		"fullnameOverride: " + long, `fullnameOverride: "true"`, "fullnameOverride: idaas.exporter",
	}
	cases := map[string][]string{"1234": overrides}
	for _, release := range []string{"exporter", "true", "null", "idaas.exporter", "1.5", strings.Repeat("abcde-", 8) + "abcde"} {
		cases[release] = nil
	}
	for release, overrides := range cases {
		for _, override := range append(overrides, "") {
			found := rendered(t, release, good(t, "everything"), override, `{secret: {name: "true"}, priorityClassName: "1234"}`)
			found["Deployment"] = rendered(t, release, good(t, "oidc"), override, `{serviceAccount: {name: "1234"}}`)["Deployment"]
			if len(found) < 9 {
				t.Fatalf("only %d kinds", len(found))
			}
			for kind, list := range found {
				for _, o := range list {
					checkNames(t, fmt.Sprintf("release %s, %q: %s", release, override, kind), o)
				}
			}
		}
	}
}

var names = []string{"name", "claimName", "secretName", "serviceName", "serviceAccountName", "priorityClassName"}

// checkNames reports the names and labels in an object that Kubernetes refuses.
func checkNames(t *testing.T, where string, o any) {
	t.Helper()
	if items, ok := o.([]any); ok {
		for _, item := range items {
			checkNames(t, where, item)
		}
	}
	object, _ := o.(map[string]any)
	if name, ok := field(object, "metadata", "name").(string); ok {
		faults := validation.IsDNS1123Subdomain(name)
		if object["kind"] == "Service" {
			faults = validation.IsDNS1035Label(name)
		}
		if faults != nil {
			t.Errorf("%s: name %q: %v", where, name, faults)
		}
	}
	for key, value := range object {
		if _, ok := value.(string); slices.Contains(names, key) && !ok {
			t.Errorf("%s: %s is %v (%T)", where, key, value, value)
		}
		labels, _ := value.(map[string]any)
		for label, value := range labels {
			if text, ok := value.(string); strings.HasPrefix(label, "app.kubernetes.io/") && (!ok || validation.IsValidLabelValue(text) != nil) {
				t.Errorf("%s: label %s is %v (%T)", where, label, value, value)
			}
		}
		checkNames(t, where, value)
	}
}

// TestChartNull: null for any value is as good as no value, and what Kubernetes requires has its default.
func TestChartNull(t *testing.T) {
	refused := map[string]string{ // by one of the fixtures
		"targets":       "targets: no target: name at least one consumer",
		"oidc.audience": "oidc.audience: oidc.enabled needs the audience",
		"settings":      "settings.IDAAS_DOMAIN: the domain of the instance is missing",
	}
	kept := []string{
		"image", "image.repository", "image.pullPolicy", "service", "service.port", "shards", "state", "state.persistence",
		"state.persistence.size", "oidc.expirationSeconds", "monitor.jobLabel", "monitor.scheme",
	}
	want, err := template(t, "exporter", chart, good(t, "real"))
	if err != nil {
		t.Fatal(err)
	}
	all := defaults(t)
	for _, path := range kept {
		if _, ok := all[path]; !ok {
			t.Errorf("no %s", path)
		}
	}
	for path := range all {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			for _, base := range []string{"everything", "oidc"} {
				text, err := template(t, "exporter", chart, good(t, base), at(path, "null"))
				if message := refused[path]; err != nil && (message == "" || !strings.Contains(err.Error(), message)) {
					t.Fatalf("%s: %v", base, err)
				}
				objects(t, text)
			}
			if slices.Contains(kept, path) {
				if got, err := template(t, "exporter", chart, good(t, "real"), at(path, "null")); got != want {
					t.Errorf("not as without it: %v\n%s", err, got)
				}
			}
		})
	}
}

// TestChartAsPart: as a part of another chart, whose values have null, too.
func TestChartAsPart(t *testing.T) {
	dir := t.TempDir()
	e2e.WriteFile(t, dir+"/Chart.yaml", "{apiVersion: v2, name: all, version: 1.0.0}")
	e2e.Command(t, nil, "cp", "-r", "--parents", "deploy/helm", dir)
	e2e.Command(t, nil, "mkdir", dir+"/charts")
	e2e.Command(t, nil, "mv", dir+"/deploy/helm", dir+"/charts/idaas-token-exporter")
	e2e.WriteFile(t, dir+"/values.yaml",
		"idaas-token-exporter: {demo: true, monitor: null, image: {tag: null}, service: {annotations: null}, podLabels: {a: null}}")
	text, err := template(t, "exporter", dir, "idaas-token-exporter: {resources: null, securityContext: null}")
	if err != nil {
		t.Fatal(err)
	}
	found := objects(t, text)["Deployment"]
	if len(found) != 1 || field(found[0], "spec", "template", "spec", "containers", "securityContext") != nil {
		t.Errorf("%v", found)
	}
}

// TestChartPolicy: the exporter is scraped by those in `from` and by helm test, and reaches what is in `to`.
func TestChartPolicy(t *testing.T) {
	found := rendered(t, "exporter", good(t, "everything"))
	const want = `
ingress:
  - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
    ports: [{port: metrics}]
  - from: [{podSelector: {matchLabels: {app.kubernetes.io/name: helm-test, app.kubernetes.io/instance: exporter}}}]
    ports: [{port: metrics}]
egress:
  - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
  - {to: [{ipBlock: {cidr: 100.64.0.0/10}}], ports: [{port: 443}]}
  - {to: [{ipBlock: {cidr: 100.100.100.200/32}}], ports: [{port: 80}]}
`
	var rules map[string]any
	if err := yaml.Unmarshal([]byte(want), &rules); err != nil {
		t.Fatal(err)
	}
	spec := field(found["NetworkPolicy"][0], "spec")
	for _, way := range []string{"ingress", "egress"} {
		if got := field(spec, way); !reflect.DeepEqual(got, rules[way]) {
			t.Errorf("%s is %v, not %v", way, got, rules[way])
		}
	}
	tester := field(found["Pod"][0], "metadata", "labels").(map[string]any)
	admitted := field(spec.(map[string]any)["ingress"].([]any)[1], "from", "podSelector", "matchLabels")
	if !reflect.DeepEqual(any(tester), admitted) {
		t.Errorf("helm test has the labels %v, admitted are %v", tester, admitted)
	}
	if served := field(found["Service"][0], "spec", "selector", "app.kubernetes.io/name"); served == tester["app.kubernetes.io/name"] {
		t.Error("the Service selects the pod of helm test")
	}
}

// TestChartTargets: the exporter accepts the targets file. No server is there, so that its exit code is not 0.
func TestChartTargets(t *testing.T) {
	for _, name := range []string{"oidc", "real", "everything"} {
		maps := rendered(t, "exporter", good(t, name))["ConfigMap"]
		file := filepath.Join(t.TempDir(), "targets.yaml")
		for _, o := range maps {
			if text, ok := field(o, "data", "targets.yaml").(string); ok {
				e2e.WriteFile(t, file, text)
			}
		}
		const nowhere = "http://127.0.0.1:1"
		_, err := e2e.Try(t, []string{
			"IDAAS_TARGETS_FILE=" + file, "IDAAS_INSTANCE_ID=idaas_x", "IDAAS_ENDPOINT=" + nowhere, "IDAAS_TOKEN_ENDPOINT=" + nowhere + "/token",
			"IDAAS_MANAGEMENT_ENDPOINT=" + nowhere, "IDAAS_CLIENT_ID=a", "IDAAS_ACCESS_TOKEN=b", "IDAAS_REQUEST_RETRIES=0",
			"ALIBABA_CLOUD_ACCESS_KEY_ID=c", "ALIBABA_CLOUD_ACCESS_KEY_SECRET=d",
		}, e2e.Exporter(t), "check")
		if err == nil || !strings.Contains(err.Error(), "exit status 1\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var examples = regexp.MustCompile("(?s)<!-- values: ([^\n]*) -->\n *```yaml\n(.*?)\n *```")

// TestChartExamples: the chart accepts the values in deploy/README.md.
func TestChartExamples(t *testing.T) {
	found := examples.FindAllStringSubmatch(e2e.ReadFile(t, e2e.Root+"/deploy/README.md"), -1)
	if len(found) < 5 {
		t.Fatalf("only %d examples", len(found))
	}
	for _, example := range found {
		rendered(t, "exporter", good(t, "real"), "secret: {name: null}", example[2])
	}
}
