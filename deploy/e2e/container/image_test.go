package container

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

const maxImage = 25e6 // bytes

// hardened is how README says that the image is run.
var hardened = []string{"--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"}

// TestImage builds the image for both architectures, looks at what is in it, and runs the one that can run here.
func TestImage(t *testing.T) {
	e := e2e.Containers(t)
	t.Cleanup(func() { e.Run(t, "podman", "image", "prune", "--force") }) // those of earlier builds
	if want := "golang:" + strings.TrimPrefix(runtime.Version(), "go") + "-"; !strings.Contains(e2e.BuilderImage(t), want) {
		t.Errorf("the Dockerfile builds with %s, this is Go %s", e2e.BuilderImage(t), runtime.Version())
	}
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		image := e.BuildExporter(t, arch)
		t.Run("contents of "+arch, func(t *testing.T) { checkContents(t, e, image, arch, machine) })
	}
	image := "localhost/exporter:" + runtime.GOARCH
	t.Run("demo without a network", func(t *testing.T) {
		name := runDetached(t, e, image, []string{"--network", "none"}, "demo")
		e2e.Eventually(t, 30*time.Second, "walks", func() error { return logged(t, e, name, "all targets attempted") })
		checkEnd(t, e, name)
	})
	t.Run("demo on the host's network", func(t *testing.T) { checkDemo(t, e, image) })
	t.Run("check and once", func(t *testing.T) { checkOnce(t, e, image) })
}

func checkContents(t *testing.T, e *e2e.Engine, image, arch string, machine elf.Machine) {
	var inspected []struct {
		Architecture string
		Size         int64
		Config       struct {
			User, Healthcheck any
			Entrypoint        []string
			Labels            map[string]string
		}
	}
	if err := json.Unmarshal([]byte(e.Run(t, "podman", "image", "inspect", image)), &inspected); err != nil {
		t.Fatal(err)
	}
	i := inspected[0]
	t.Logf("%s: %.1f MB", arch, float64(i.Size)/1e6)
	if i.Architecture != arch || i.Size > maxImage || i.Config.User != "65532:65532" || i.Config.Healthcheck != nil ||
		!slices.Equal(i.Config.Entrypoint, []string{"/idaas-token-exporter"}) {
		t.Errorf("%+v", i)
	}
	for _, label := range []string{"title", "description", "source", "documentation", "licenses", "version", "revision"} {
		if i.Config.Labels["org.opencontainers.image."+label] == "" {
			t.Errorf("no label %s", label)
		}
	}
	name := e.Run(t, "podman", "create", image)
	defer e.Run(t, "podman", "rm", name)
	files := untar(t, e2e.Command(t, e.Env, "podman", "export", name))
	ours := []string{"etc/ssl/certs/ca-certificates.crt", "idaas-token-exporter"}
	engines := []string{".dockerenv", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf", "run/.containerenv"}
	for path := range files {
		if !slices.Contains(ours, path) && !slices.Contains(engines, path) {
			t.Errorf("%s is in the image, too", path)
		}
	}
	if !bytes.Contains(files[ours[0]], []byte("BEGIN CERTIFICATE")) {
		t.Error("no root certificates")
	}
	binary, err := elf.NewFile(bytes.NewReader(files[ours[1]]))
	if err != nil {
		t.Fatal(err, slices.Collect(maps.Keys(files)))
	}
	if binary.Machine != machine || binary.Section(".interp") != nil {
		t.Errorf("the program is for %v, dynamic: %v", binary.Machine, binary.Section(".interp") != nil)
	}
}

func untar(t *testing.T, archive string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if files[h.Name], err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// runDetached starts a hardened container that is gone when the test ends.
func runDetached(t *testing.T, e *e2e.Engine, image string, options []string, args ...string) string {
	t.Helper()
	name := e.Run(t, "podman", slices.Concat([]string{"run", "-d"}, hardened, options, []string{image}, args)...)
	t.Cleanup(func() { e.Run(t, "podman", "rm", "-f", name) })
	return name
}

func logged(t *testing.T, e *e2e.Engine, name, text string) error {
	cmd := exec.Command("podman", "logs", name)
	cmd.Env = append(cmd.Environ(), e.Env...)
	out, err := cmd.CombinedOutput()
	if err == nil && !bytes.Contains(out, []byte(text)) {
		err = fmt.Errorf("%q is not in the log:\n%s", text, out)
	}
	return err
}

// checkEnd: as process 1, too, the exporter ends by itself when it is asked to.
func checkEnd(t *testing.T, e *e2e.Engine, name string) {
	t.Helper()
	began := time.Now()
	e.Run(t, "podman", "stop", "-t", "20", name)
	if code := e.Run(t, "podman", "inspect", "-f", "{{.State.ExitCode}}", name); code != "0" {
		t.Errorf("exit code %s after SIGTERM and %v", code, time.Since(began).Round(time.Second))
	}
}

func checkDemo(t *testing.T, e *e2e.Engine, image string) {
	address := e2e.FreeAddress(t)
	name := runDetached(t, e, image, []string{"--network", "host", "-e", "IDAAS_LISTEN_ADDRESS=" + address}, "demo")
	e2e.WaitFor(t, "http://"+address+"/-/ready")
	text, err := e2e.Get(t.Context(), "http://"+address+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, `idaas_authentication_tokens{consumer="billing"`) {
		t.Error("no tokens")
	}
	memory := e2e.Value(text, "process_resident_memory_bytes")
	t.Logf("memory of the demo: %.1f MB", memory/1e6)
	if !(memory < 64e6) {
		t.Error("that is too much")
	}
	checkEnd(t, e, name)
}

func checkOnce(t *testing.T, e *e2e.Engine, image string) {
	sim := simulator.New(simulator.Config{Clients: []simulator.Client{{ID: "exporter", Secret: "not a secret"}}})
	sim.Add("billing", "orders_jwt", simulator.Token{ID: "one", Created: time.Now(), Expires: time.Now().Add(time.Hour)})
	api := httptest.NewServer(sim)
	t.Cleanup(sim.Close)
	t.Cleanup(api.Close)
	secrets := t.TempDir()
	e2e.WriteFile(t, secrets+"/secret", "not a secret")
	e2e.Command(t, nil, "chown", "-R", "65532", secrets)
	run := func(args ...string) string {
		return e.Run(t, "podman", slices.Concat([]string{"run", "--rm", "--network", "host"}, hardened, []string{
			"-v", secrets + ":/run/secrets:ro", "-e", "IDAAS_DOMAIN=" + api.URL, "-e", "IDAAS_CLIENT_ID=exporter",
			"-e", "IDAAS_CLIENT_SECRET_FILE=/run/secrets/secret", "-e", "IDAAS_TARGETS=billing:orders_jwt",
			"-e", "IDAAS_POLL_SCHEDULE=CRON_TZ=Asia/Shanghai 0 8 * * *", image,
		}, args)...)
	}
	if out := run("check"); !strings.Contains(out, "orders_jwt") {
		t.Errorf("check says nothing of the target:\n%s", out)
	}
	const want = `idaas_authentication_tokens_active{consumer="billing",credential_provider="orders_jwt"} 1`
	if out := run("once"); !strings.Contains(out, want) {
		t.Errorf("once does not say %s:\n%s", want, out)
	}
}
