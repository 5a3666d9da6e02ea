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

// command runs a program to its end and returns its standard output; a failure ends the test.
func command(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	out, err := try(t, env, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func try(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...) // not by the test's context, which has ended when a cleanup runs
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = root
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

func lookPath(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// engine is buildah and podman with images and containers of their own, in the folder of the tools.
type engine struct {
	dir string
	env []string
}

var newEngine = sync.OnceValues(func() (*engine, error) {
	dir, err := filepath.Abs(root + "/.tools/containers")
	if err != nil {
		return nil, err
	}
	e := &engine{dir, []string{
		"CONTAINERS_CONF=" + dir + "/containers.conf", "CONTAINERS_STORAGE_CONF=" + dir + "/storage.conf",
		"BUILDAH_ISOLATION=chroot", "BUILDAH_FORMAT=docker",
	}}
	return e, writeFiles(dir, map[string]string{
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

// writeFiles makes the folder, and the files in it.
func writeFiles(dir string, files map[string]string) error {
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

func containers(t *testing.T) *engine {
	t.Helper()
	e, err := newEngine()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *engine) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	return strings.TrimSpace(command(t, e.env, name, args...))
}

// has says whether there is such an image.
func (e *engine) has(t *testing.T, image string) bool {
	t.Helper()
	_, err := try(t, e.env, "podman", "image", "exists", image)
	return err == nil
}

// add makes an image of files, each at its path in it, without a registry.
func (e *engine) add(t *testing.T, image string, files map[string]string, config ...string) {
	t.Helper()
	c := e.run(t, "buildah", "from", "scratch")
	defer e.run(t, "buildah", "rm", c)
	for path, file := range files {
		e.run(t, "buildah", "copy", "-q", "--chown", "65534:65534", c, file, path)
	}
	e.run(t, "buildah", append(append([]string{"config"}, config...), c)...)
	e.run(t, "buildah", "commit", "-q", c, image)
}

// addServer makes what stands in for the image of a server: the program that the end-to-end tests have, and its libraries.
func (e *engine) addServer(t *testing.T, image, name, data string) {
	t.Helper()
	files := withLibraries(t, tool(t, name))
	files["/bin/"+name], files[data] = tool(t, name), t.TempDir()
	e.add(t, image, files, "--user", "65534", "--workingdir", data, "--entrypoint", fmt.Sprintf("[%q]", "/bin/"+name))
}

// withLibraries returns what a program needs to start, each file at its own path.
func withLibraries(t *testing.T, program string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, word := range strings.Fields(command(t, nil, "ldd", program)) {
		if strings.HasPrefix(word, "/") {
			files[word] = word
		}
	}
	return files
}

// addGo makes what stands in for the official image of Go: this machine's Go and busybox. No registry can be relied on here.
func (e *engine) addGo(t *testing.T, image string) {
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
	goroot := strings.TrimSpace(command(t, nil, "go", "env", "GOROOT"))
	e.add(t, image, map[string]string{
		"/bin": bin, "/bin/busybox": lookPath(t, "busybox"), "/usr/local/go": goroot, "/tmp": t.TempDir(),
		"/etc/ssl/certs/ca-certificates.crt": "/etc/ssl/certs/ca-certificates.crt",
	}, "--env", "PATH=/usr/local/go/bin:/bin", "--env", "GOTOOLCHAIN=local", "--env", "GOCACHE=/cache/build", "--env", "GOMODCACHE=/cache/modules")
}

// builder prepares what builds the Dockerfile for an architecture, and returns the options with which buildah does: its
// builder sees the caches of this machine's Go.
func (e *engine) builder(t *testing.T, arch string) []string {
	t.Helper()
	base := builderImage(t)
	native := "localhost/go-" + runtime.GOARCH
	e.addGo(t, native)
	// buildah takes the builder's architecture for that of the image to be built, BuildKit does not.
	if !e.has(t, base+"-"+arch) {
		c := e.run(t, "buildah", "from", native)
		defer e.run(t, "buildah", "rm", c)
		e.run(t, "buildah", "config", "--arch", arch, c)
		e.run(t, "buildah", "commit", "-q", c, base+"-"+arch)
	}
	e.run(t, "buildah", "tag", base+"-"+arch, base)
	options := []string{"bud", "--pull-never", "--platform", "linux/" + arch}
	for inside, outside := range map[string]string{"/cache/build": "GOCACHE", "/cache/modules": "GOMODCACHE"} {
		options = append(options, "-v", strings.TrimSpace(command(t, nil, "go", "env", outside))+":"+inside)
	}
	return options
}

func (e *engine) buildExporter(t *testing.T, arch string) (image string) {
	t.Helper()
	image = "localhost/exporter:" + arch
	e.run(t, "buildah", append(e.builder(t, arch), "-f", "deploy/Dockerfile", "--build-arg", "VERSION=v0.0.0-e2e", "-t", image, ".")...)
	return image
}

// builderImage is the one that the Dockerfile names.
func builderImage(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(readFile(t, root+"/deploy/Dockerfile")) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "FROM" && strings.HasPrefix(fields[1], "--platform") {
			return fields[2]
		}
	}
	t.Fatal("the Dockerfile names no builder")
	return ""
}
