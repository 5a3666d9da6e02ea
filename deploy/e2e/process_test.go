package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	root = "../.." // of the repository
	poll = 100 * time.Millisecond
)

// tool returns the path of a program that `make tools` installs.
func tool(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("E2E_TOOLS")
	if dir == "" {
		dir = root + "/.tools/bin"
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%s is not there (%v): run make -C deploy/e2e tools, or let E2E_TOOLS name the folder that holds it", name, err)
	}
	return path
}

// runTool runs a program to its end and returns what it said.
func runTool(t testing.TB, stdin io.Reader, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = stdin
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

// exporterBinary is the program under test: a fresh build, or what E2E_EXPORTER names.
var exporterBinary = sync.OnceValues(func() (string, error) {
	if binary := os.Getenv("E2E_EXPORTER"); binary != "" {
		return filepath.Abs(binary)
	}
	dir, err := os.MkdirTemp("", "idaas-e2e-")
	if err != nil {
		return "", err
	}
	built = filepath.Join(dir, "idaas-token-exporter")
	build := exec.Command("go", "build", "-o", built, ".")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return built, nil
})

var built string // by exporterBinary

func exporter(t testing.TB) string {
	t.Helper()
	binary, err := exporterBinary()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func TestMain(m *testing.M) {
	if peer := os.Getenv("E2E_PEER"); peer != "" {
		os.Exit(runPeer(peer))
	}
	code := m.Run()
	if built != "" {
		os.RemoveAll(filepath.Dir(built))
	}
	for _, dir := range made {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// process is a server that a test started.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *logFile
	done chan struct{}
	err  error // of Wait; valid once done is closed
}

// start starts a server that is stopped, at the latest, when the test ends.
func start(t testing.TB, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{name: filepath.Base(name), cmd: exec.Command(name, args...), log: &logFile{}, done: make(chan struct{})}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("the last lines of %s:\n%s", p.name, p.log.tail())
		}
	})
	return p
}

// stop ends the server and reports an end that was not its own decision.
func (p *process) stop(t testing.TB) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		t.Errorf("%s does not end", p.name)
		p.cmd.Process.Kill()
		<-p.done
	}
	if p.err != nil {
		t.Errorf("%s ended with %v", p.name, p.err)
	}
}

// logFile keeps the end of what a process writes.
type logFile struct {
	mu   sync.Mutex
	text []byte
}

func (l *logFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	if len(l.text) > 1<<20 {
		l.text = bytes.Clone(l.text[len(l.text)-1<<16:])
	}
	return len(b), nil
}

func (l *logFile) tail() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.text[max(0, len(l.text)-4000):])
}

// freeAddress is a loopback address that nobody listens on. Whoever takes it between now and its use makes the test fail.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// eventually waits until check returns nil.
func eventually(t testing.TB, within time.Duration, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	began := time.Now()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %v", what, time.Since(began).Round(time.Second), err)
		case <-time.After(poll):
		}
	}
}

// get returns the body of a 200 answer.
func get(ctx context.Context, url string, accept ...string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	for _, a := range accept {
		req.Header.Add("Accept", a)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return string(body), err
}

func waitFor(t testing.TB, url string) {
	t.Helper()
	eventually(t, time.Minute, url, func() error {
		_, err := get(t.Context(), url)
		return err
	})
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
