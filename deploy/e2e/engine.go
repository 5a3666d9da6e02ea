package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Command runs a program to its end and returns its standard output; a failure ends the test.
func Command(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	out, err := Try(t, env, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Try runs a program in the folder of the repository and returns its standard output; the error has all that it printed.
func Try(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...) // not by the test's context, which has ended when a cleanup runs
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = Root
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// LookPath returns the path of a program of the system; a missing one ends the test.
func LookPath(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Engine is buildah and podman with images and containers of their own, in the folder of the tools.
type Engine struct {
	dir string
	Env []string
}

var newEngine = sync.OnceValues(func() (*Engine, error) {
	dir, err := filepath.Abs(Root + "/.tools/containers")
	if err != nil {
		return nil, err
	}
	e := &Engine{dir, []string{
		"CONTAINERS_CONF=" + dir + "/containers.conf", "CONTAINERS_STORAGE_CONF=" + dir + "/storage.conf",
		"BUILDAH_ISOLATION=chroot", "BUILDAH_FORMAT=docker",
	}}
	return e, WriteFiles(dir, map[string]string{
		// What works without systemd and with the limits of a container, too.
		"containers.conf": `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "` + dir + `/networks"
`,
		"storage.conf": fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", dir+"/storage", dir+"/run") +
			"[storage.options.overlay]\nskip_mount_home = \"true\"\n", // or a mount stays when the tests have ended
	})
})

// WriteFiles makes the folder, and the files in it.
func WriteFiles(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Containers returns the engine that all tests share.
func Containers(t *testing.T) *Engine {
	t.Helper()
	e, err := newEngine()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Run runs buildah or podman and returns its trimmed output; a failure ends the test.
func (e *Engine) Run(t *testing.T, name string, args ...string) string {
	t.Helper()
	return strings.TrimSpace(Command(t, e.Env, name, args...))
}

// has says whether there is such an image.
func (e *Engine) has(t *testing.T, image string) bool {
	t.Helper()
	_, err := Try(t, e.Env, "podman", "image", "exists", image)
	return err == nil
}

// Add makes an image of files, each at its path in it, without a registry.
func (e *Engine) Add(t *testing.T, image string, files map[string]string, config ...string) {
	t.Helper()
	c := e.Run(t, "buildah", "from", "scratch")
	defer e.Run(t, "buildah", "rm", c)
	for path, file := range files {
		e.Run(t, "buildah", "copy", "-q", "--chown", "65534:65534", c, file, path)
	}
	e.Run(t, "buildah", append(append([]string{"config"}, config...), c)...)
	e.Run(t, "buildah", "commit", "-q", c, image)
}

// AddServer makes what stands in for the image of a server: the program that the end-to-end tests have, and its libraries.
func (e *Engine) AddServer(t *testing.T, image, name, data string) {
	t.Helper()
	files := WithLibraries(t, Tool(t, name))
	files["/bin/"+name], files[data] = Tool(t, name), t.TempDir()
	e.Add(t, image, files, "--user", "65534", "--workingdir", data, "--entrypoint", fmt.Sprintf("[%q]", "/bin/"+name))
}

// WithLibraries returns what a program needs to start, each file at its own path.
func WithLibraries(t *testing.T, program string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, word := range strings.Fields(Command(t, nil, "ldd", program)) {
		if strings.HasPrefix(word, "/") {
			files[word] = word
		}
	}
	return files
}

// addGo makes what stands in for the official image of Go: this machine's Go and busybox. No registry can be relied on here.
func (e *Engine) addGo(t *testing.T, image string) {
	t.Helper()
	if e.has(t, image) {
		return
	}
	bin := t.TempDir()
	for _, applet := range []string{"sh", "mkdir", "cp", "chown"} {
		if err := os.Symlink("busybox", filepath.Join(bin, applet)); err != nil {
			t.Fatal(err)
		}
	}
	goroot := strings.TrimSpace(Command(t, nil, "go", "env", "GOROOT"))
	e.Add(t, image, map[string]string{
		"/bin": bin, "/bin/busybox": LookPath(t, "busybox"), "/usr/local/go": goroot, "/tmp": t.TempDir(),
		"/etc/ssl/certs/ca-certificates.crt": "/etc/ssl/certs/ca-certificates.crt",
	}, "--env", "PATH=/usr/local/go/bin:/bin", "--env", "GOTOOLCHAIN=local",
		"--env", "GOCACHE=/cache/build", "--env", "GOMODCACHE=/cache/modules")
}

// builder prepares what builds the Dockerfile for an architecture, and returns the options with which buildah does: its
// builder sees the caches of this machine's Go.
func (e *Engine) builder(t *testing.T, arch string) []string {
	t.Helper()
	base := BuilderImage(t)
	native := "localhost/go-" + runtime.GOARCH
	e.addGo(t, native)
	// buildah takes the builder's architecture for that of the image to be built, BuildKit does not.
	if !e.has(t, base+"-"+arch) {
		c := e.Run(t, "buildah", "from", native)
		defer e.Run(t, "buildah", "rm", c)
		e.Run(t, "buildah", "config", "--arch", arch, c)
		e.Run(t, "buildah", "commit", "-q", c, base+"-"+arch)
	}
	e.Run(t, "buildah", "tag", base+"-"+arch, base)
	options := []string{"bud", "--pull-never", "--platform", "linux/" + arch}
	for inside, outside := range map[string]string{"/cache/build": "GOCACHE", "/cache/modules": "GOMODCACHE"} {
		options = append(options, "-v", strings.TrimSpace(Command(t, nil, "go", "env", outside))+":"+inside)
	}
	return options
}

// BuildExporter builds the Dockerfile for an architecture and returns the name of the image.
func (e *Engine) BuildExporter(t *testing.T, arch string) (image string) {
	t.Helper()
	image = "localhost/exporter:" + arch
	e.Run(t, "buildah", append(e.builder(t, arch), "-f", "deploy/Dockerfile", "--build-arg", "VERSION=v0.0.0-e2e", "-t", image, ".")...)
	return image
}

// BuilderImage is the one that the Dockerfile names.
func BuilderImage(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(ReadFile(t, Root+"/deploy/Dockerfile")) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "FROM" && strings.HasPrefix(fields[1], "--platform") {
			return fields[2]
		}
	}
	t.Fatal("the Dockerfile names no builder")
	return ""
}
