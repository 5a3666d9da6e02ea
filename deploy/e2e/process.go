// Package e2e has what the end-to-end tests share: processes, containers, networks, and the servers under test.
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Poll is the time between two looks at a condition.
const Poll = 100 * time.Millisecond

// Root is the folder of the repository.
var Root = func() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}()

// Tool returns the path of a program that `make tools` installs.
func Tool(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("E2E_TOOLS")
	if dir == "" {
		dir = Root + "/.tools/bin"
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%s is not there (%v): run the make target of this part, or let E2E_TOOLS name the folder that holds it", name, err)
	}
	return path
}

// RunTool runs a program to its end and returns what it said.
func RunTool(t testing.TB, stdin io.Reader, name string, args ...string) string {
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
	temporary = append(temporary, dir)
	built := filepath.Join(dir, "idaas-token-exporter")
	build := exec.Command("go", "build", "-o", built, ".")
	build.Dir = Root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return built, nil
})

// Exporter returns the path of the program under test, built once for each package.
func Exporter(t testing.TB) string {
	t.Helper()
	binary, err := exporterBinary()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// temporary are folders that Main removes.
var temporary []string

// Main runs the tests of a package and removes what they shared.
func Main(m *testing.M) int {
	code := m.Run()
	for _, dir := range temporary {
		os.RemoveAll(dir)
	}
	return code
}

// Process is a server that a test started.
type Process struct {
	name string
	Cmd  *exec.Cmd
	log  *LogFile
	Done chan struct{}
	Err  error // of Wait; valid once done is closed
}

// Start starts a server that is stopped, at the latest, when the test ends.
func Start(t testing.TB, env []string, name string, args ...string) *Process {
	t.Helper()
	p := &Process{name: filepath.Base(name), Cmd: exec.Command(name, args...), log: &LogFile{}, Done: make(chan struct{})}
	p.Cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	p.Cmd.Stdout, p.Cmd.Stderr = p.log, p.log
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.Err = p.Cmd.Wait()
		close(p.Done)
	}()
	t.Cleanup(func() {
		p.Stop(t)
		if t.Failed() {
			t.Logf("the last lines of %s:\n%s", p.name, p.log.Tail())
		}
	})
	return p
}

// Stop ends the server and reports an end that was not its own decision.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	p.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.Done:
	case <-time.After(20 * time.Second):
		t.Errorf("%s does not end", p.name)
		p.Cmd.Process.Kill()
		<-p.Done
	}
	if p.Err != nil {
		t.Errorf("%s ended with %v", p.name, p.Err)
	}
}

// LogFile keeps the end of what a process writes.
type LogFile struct {
	mu   sync.Mutex
	text []byte
}

// Write appends b; it never fails.
func (l *LogFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	if len(l.text) > 1<<20 {
		l.text = bytes.Clone(l.text[len(l.text)-1<<16:])
	}
	return len(b), nil
}

// Tail returns the last 4000 bytes.
func (l *LogFile) Tail() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.text[max(0, len(l.text)-4000):])
}

// FreeAddress returns a loopback address without a listener. Another process that takes it before its use makes the test fail.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Eventually waits until check returns nil.
func Eventually(t testing.TB, within time.Duration, what string, check func() error) {
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
		case <-time.After(Poll):
		}
	}
}

// Get returns the body of a 200 answer.
func Get(ctx context.Context, url string, accept ...string) (string, error) {
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

// WaitFor waits up to a minute until url responds with 200.
func WaitFor(t testing.TB, url string) {
	t.Helper()
	Eventually(t, time.Minute, url, func() error {
		_, err := Get(t.Context(), url)
		return err
	})
}

// ReadFile returns the text of a file; an error ends the test.
func ReadFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// WriteFile writes a file that only its owner can read; an error ends the test.
func WriteFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Exists reports whether there is a file or folder at path.
func Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// One returns the only path that matches pattern; none or several end the test.
func One(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %d files (%v)", pattern, len(found), err)
	}
	return found[0]
}

// Value is that of a series without labels, NaN if there is none.
func Value(exposition, series string) float64 {
	for line := range strings.Lines(exposition) {
		if number, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			if v, err := strconv.ParseFloat(number, 64); err == nil {
				return v
			}
		}
	}
	return math.NaN()
}
