package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Docker is podman's socket, which takes Docker's API, with a network of its own.
type Docker struct {
	*Engine
	Network
	Env []string
}

// StartDocker starts podman's socket in a network of its own; both end with the test.
func StartDocker(t *testing.T) *Docker {
	t.Helper()
	e := Containers(t)
	d := &Docker{Engine: e, Network: NewNetwork(t)}
	socket := filepath.Join(t.TempDir(), "docker.sock")
	// What users call docker is podman here, buildah and Docker Compose.
	bin := t.TempDir()
	script := "#!/bin/sh\ncase $1 in\nbuild) shift; exec buildah " + strings.Join(e.builder(t, runtime.GOARCH), " ") + " \"$@\" ;;\n" +
		"compose) shift; exec docker-compose \"$@\" ;;\n*) exec podman \"$@\" ;;\nesac\n"
	if err := os.WriteFile(bin+"/docker", []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	d.Env = slices.Concat(e.Env, []string{
		"DOCKER_HOST=unix://" + socket, "DOCKER_BUILDKIT=0",
		"PATH=" + bin + ":" + Tool(t, ".") + ":" + os.Getenv("PATH"),
	})
	args := append(d.Enter(), "podman", "system", "service", "--time", "0", "unix://"+socket)
	service, log := exec.Command(args[0], args[1:]...), &LogFile{}
	service.Env = append(os.Environ(), d.Env...)
	service.Stdout, service.Stderr = log, log
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		service.Process.Kill()
		service.Wait()
		if t.Failed() {
			t.Logf("%s", log.Tail())
		}
	})
	Eventually(t, 30*time.Second, "podman's socket", func() error {
		c, err := new(net.Dialer).DialContext(t.Context(), "unix", socket)
		if err == nil {
			c.Close()
		}
		return err
	})
	return d
}

// Run runs a command in the network of d and returns its trimmed output; a failure ends the test.
func (d *Docker) Run(t *testing.T, args ...string) string {
	t.Helper()
	args = append(d.Enter(), args...)
	return strings.TrimSpace(Command(t, d.Env, args[0], args[1:]...))
}
