package compose

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e/rules"
	"go.yaml.in/yaml/v3"
)

type composeFile struct {
	Services map[string]struct {
		Image      string
		ReadOnly   bool     `yaml:"read_only"`
		CapDrop    []string `yaml:"cap_drop"`
		Privileged bool
		Security   []string `yaml:"security_opt"`
		Ports      []string
		Volumes    []any
	}
}

// TestCompose starts the demo with Prometheus and Alertmanager, and waits for an alert of the demo to arrive.
func TestCompose(t *testing.T) {
	var file composeFile
	if err := yaml.Unmarshal([]byte(e2e.ReadFile(t, e2e.Root+"/deploy/compose/compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	checkComposeRights(t, file)
	e := e2e.Containers(t)
	e.AddServer(t, file.Services["prometheus"].Image, "prometheus", "/prometheus")
	e.AddServer(t, file.Services["alertmanager"].Image, "alertmanager", "/alertmanager")
	// No Grafana can be had here.
	e.Add(t, file.Services["grafana"].Image, map[string]string{"/bin/busybox": e2e.LookPath(t, "busybox")},
		"--entrypoint", `["/bin/busybox", "sleep", "1000"]`)
	e.Run(t, "podman", "tag", e.BuildExporter(t, runtime.GOARCH), "ghcr.io/idaas-exporter/idaas-token-exporter:latest")
	t.Parallel() // from here on it waits, mostly
	d := e2e.StartDocker(t)

	// The shipped rules would wait for minutes.
	dir := t.TempDir()
	e2e.Command(t, nil, "cp", "-r", "--parents", "deploy/compose", "deploy/prometheus", "dashboards", dir)
	for _, name := range []string{"rules.yaml", "prometheus.yaml", "alertmanager.yaml"} {
		path := filepath.Join(dir, "deploy/prometheus", name)
		text := rules.Shorten(e2e.ReadFile(t, path))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	compose := []string{"docker-compose", "-f", dir + "/deploy/compose/compose.yaml"}
	settings := dir + "/deploy/compose/.env"
	e2e.WriteFile(t, settings, e2e.ReadFile(t, e2e.Root+"/deploy/compose/example.env"))
	real := d.Run(t, append(compose, "config", "idaas-token-exporter")...)
	if !strings.Contains(real, "- serve\n") ||
		!strings.Contains(real, "IDAAS_DOMAIN: example.aliyunidaas.com\n") ||
		!strings.Contains(real, "source: /etc/idaas-token-exporter/client-secret\n") {
		t.Errorf("the example file does not lead to an instance:\n%s", real)
	}
	if err := os.Remove(settings); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Run(t, append(compose, "down", "--volumes", "--timeout", "10")...) })
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(d.Run(t, append(compose, "logs", "--tail", "20")...))
		}
	})
	block := exec.Command("nsenter", append(d.Enter()[1:], "sh", "-euc", e2e.QuickStart(t, "compose"))...)
	block.Dir, block.Env = dir, append(os.Environ(), d.Env...)
	if out, err := block.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	e2e.Eventually(t, time.Minute, "the exporter", func() error {
		_, err := d.Get(t.Context(), "http://127.0.0.1:9877/-/ready")
		return err
	})
	e2e.Eventually(t, 5*time.Minute, "the alert", func() error {
		text, err := d.Get(t.Context(), "http://127.0.0.1:9093/api/v2/alerts")
		if err != nil {
			return err
		}
		var alerts []struct{ Labels map[string]string }
		if err := json.Unmarshal([]byte(text), &alerts); err != nil {
			return err
		}
		for _, a := range alerts {
			if a.Labels["alertname"] == "IDaaSTokensNeverExpire" && a.Labels["consumer"] == "ai-support-agent" {
				return nil
			}
		}
		return fmt.Errorf("%s", text)
	})
}

// checkComposeRights: no service has more than it needs, and none is reached from elsewhere.
func checkComposeRights(t *testing.T, file composeFile) {
	t.Helper()
	for name, s := range file.Services {
		if !s.ReadOnly || s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) ||
			!slices.Equal(s.Security, []string{"no-new-privileges:true"}) {
			t.Errorf("%s has rights: %+v", name, s)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s listens at %s", name, port)
			}
		}
		if strings.HasSuffix(s.Image, ":latest") {
			t.Errorf("%s takes whatever is the latest image", name)
		}
	}
	if len(file.Services) != 4 {
		t.Errorf("%d services", len(file.Services))
	}
}

// TestGrafanaProvisioning: what Grafana is given leads to files and servers that are there.
func TestGrafanaProvisioning(t *testing.T) {
	dir := e2e.Root + "/deploy/compose/grafana/"
	var sources struct {
		Datasources []struct{ Type, Access, URL string }
	}
	var dashboards struct {
		Providers []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	for name, into := range map[string]any{"datasources.yaml": &sources, "dashboards.yaml": &dashboards} {
		if err := yaml.Unmarshal([]byte(e2e.ReadFile(t, dir+name)), into); err != nil {
			t.Fatal(err)
		}
	}
	if s := sources.Datasources; len(s) != 1 || s[0].Type != "prometheus" || s[0].URL != "http://prometheus:9090" {
		t.Errorf("%+v", s)
	}
	var file composeFile
	if err := yaml.Unmarshal([]byte(e2e.ReadFile(t, e2e.Root+"/deploy/compose/compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	mounted := map[string]string{}
	for _, v := range file.Services["grafana"].Volumes {
		if parts := strings.Split(fmt.Sprint(v), ":"); strings.HasPrefix(parts[0], ".") {
			mounted[parts[1]] = filepath.Join(e2e.Root, "deploy/compose", parts[0])
			if !e2e.Exists(mounted[parts[1]]) {
				t.Errorf("%s is not there", parts[0])
			}
		}
	}
	if p := dashboards.Providers; len(p) != 1 || p[0].Type != "file" ||
		!e2e.Exists(filepath.Join(mounted[p[0].Options.Path], "idaas-tokens.json")) {
		t.Errorf("%+v", p)
	}
}
