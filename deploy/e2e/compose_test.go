package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// docker is podman's socket, which takes Docker's API, with a network of its own.
type docker struct {
	*engine
	network
	env []string
}

func startDocker(t *testing.T) *docker {
	t.Helper()
	e := containers(t)
	d := &docker{engine: e, network: newNetwork(t)}
	socket := filepath.Join(t.TempDir(), "docker.sock")
	// What users call docker is podman here, buildah and Docker Compose.
	bin := t.TempDir()
	script := "#!/bin/sh\ncase $1 in\nbuild) shift; exec buildah " + strings.Join(e.builder(t, runtime.GOARCH), " ") + " \"$@\" ;;\n" +
		"compose) shift; exec docker-compose \"$@\" ;;\n*) exec podman \"$@\" ;;\nesac\n"
	if err := os.WriteFile(bin+"/docker", []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	d.env = slices.Concat(e.env, []string{
		"DOCKER_HOST=unix://" + socket, "DOCKER_BUILDKIT=0",
		"PATH=" + bin + ":" + filepath.Dir(tool(t, "docker-compose")) + ":" + os.Getenv("PATH"),
	})
	args := append(d.enter(), "podman", "system", "service", "--time", "0", "unix://"+socket)
	service, log := exec.Command(args[0], args[1:]...), &logFile{}
	service.Env = append(os.Environ(), d.env...)
	service.Stdout, service.Stderr = log, log
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		service.Process.Kill()
		service.Wait()
		if t.Failed() {
			t.Logf("%s", log.tail())
		}
	})
	eventually(t, 30*time.Second, "podman's socket", func() error {
		c, err := new(net.Dialer).DialContext(t.Context(), "unix", socket)
		if err == nil {
			c.Close()
		}
		return err
	})
	return d
}

func (d *docker) run(t *testing.T, args ...string) string {
	t.Helper()
	args = append(d.enter(), args...)
	return strings.TrimSpace(command(t, d.env, args[0], args[1:]...))
}

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

// TestCompose starts the demo with Prometheus and Alertmanager, and waits for the alert of the target that is lost in it.
func TestCompose(t *testing.T) {
	var file composeFile
	if err := yaml.Unmarshal([]byte(readFile(t, root+"/deploy/compose/compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	checkComposeRights(t, file)
	e := containers(t)
	e.addServer(t, file.Services["prometheus"].Image, "prometheus", "/prometheus")
	e.addServer(t, file.Services["alertmanager"].Image, "alertmanager", "/alertmanager")
	// No Grafana can be had here.
	e.add(t, file.Services["grafana"].Image, map[string]string{"/bin/busybox": lookPath(t, "busybox")}, "--entrypoint", `["/bin/busybox", "sleep", "1000"]`)
	e.run(t, "podman", "tag", e.buildExporter(t, runtime.GOARCH), "ghcr.io/idaas-exporter/idaas-token-exporter:latest")
	t.Parallel() // from here on it waits, mostly
	d := startDocker(t)

	// The demo loses a target two and a half minutes after its start; the shipped rules would wait for half an hour.
	dir := t.TempDir()
	command(t, nil, "cp", "-r", "--parents", "deploy/compose", "deploy/prometheus", "dashboards", dir)
	for _, name := range []string{"rules.yaml", "prometheus.yaml", "alertmanager.yaml"} {
		path := filepath.Join(dir, "deploy/prometheus", name)
		text := shorten(readFile(t, path))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	compose := []string{"docker-compose", "-f", dir + "/deploy/compose/compose.yaml"}
	settings := dir + "/deploy/compose/.env"
	writeFile(t, settings, readFile(t, root+"/deploy/compose/example.env"))
	if real := d.run(t, append(compose, "config", "idaas-token-exporter")...); !strings.Contains(real, "- serve\n") || !strings.Contains(real, "IDAAS_DOMAIN: example.aliyunidaas.com\n") ||
		!strings.Contains(real, "source: /etc/idaas-token-exporter/client-secret\n") {
		t.Errorf("the example file does not lead to an instance:\n%s", real)
	}
	if err := os.Remove(settings); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.run(t, append(compose, "down", "--volumes", "--timeout", "10")...) })
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(d.run(t, append(compose, "logs", "--tail", "20")...))
		}
	})
	block := exec.Command("nsenter", append(d.enter()[1:], "sh", "-euc", quickStart(t, "compose"))...)
	block.Dir, block.Env = dir, append(os.Environ(), d.env...)
	if out, err := block.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	eventually(t, time.Minute, "the exporter", func() error {
		_, err := d.get(t.Context(), "http://127.0.0.1:9877/-/ready")
		return err
	})
	eventually(t, 5*time.Minute, "the alert", func() error {
		text, err := d.get(t.Context(), "http://127.0.0.1:9093/api/v2/alerts")
		if err != nil {
			return err
		}
		var alerts []struct{ Labels map[string]string }
		if err := json.Unmarshal([]byte(text), &alerts); err != nil {
			return err
		}
		for _, a := range alerts {
			if a.Labels["alertname"] == "IDaaSTokensLost" && a.Labels["consumer"] == "nightly-report" {
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
		if !s.ReadOnly || s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.Security, []string{"no-new-privileges:true"}) {
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
	dir := root + "/deploy/compose/grafana/"
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
		if err := yaml.Unmarshal([]byte(readFile(t, dir+name)), into); err != nil {
			t.Fatal(err)
		}
	}
	if s := sources.Datasources; len(s) != 1 || s[0].Type != "prometheus" || s[0].URL != "http://prometheus:9090" {
		t.Errorf("%+v", s)
	}
	var file composeFile
	if err := yaml.Unmarshal([]byte(readFile(t, root+"/deploy/compose/compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	mounted := map[string]string{}
	for _, v := range file.Services["grafana"].Volumes {
		if parts := strings.Split(fmt.Sprint(v), ":"); strings.HasPrefix(parts[0], ".") {
			mounted[parts[1]] = filepath.Join(root, "deploy/compose", parts[0])
			if !exists(mounted[parts[1]]) {
				t.Errorf("%s is not there", parts[0])
			}
		}
	}
	if p := dashboards.Providers; len(p) != 1 || p[0].Type != "file" || !exists(filepath.Join(mounted[p[0].Options.Path], "idaas-tokens.json")) {
		t.Errorf("%+v", p)
	}
}
