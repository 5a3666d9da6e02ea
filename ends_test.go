package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// child is the exporter in a child process.
type child struct {
	*exec.Cmd
	stderr lockedBuffer
}

// testShutdownTimeout replaces shutdownTimeout in a child process, so that a test of it takes less time.
const testShutdownTimeout = time.Second

func childEnviron(environ ...string) []string {
	return append(os.Environ(), append(environ, "TEST_AS_EXPORTER=1", "GORACE=atexit_sleep_ms=0")...)
}

func startChild(t *testing.T, environ []string, args ...string) *child {
	t.Helper()
	c := &child{Cmd: exec.CommandContext(t.Context(), os.Args[0], args...)}
	c.Stderr = &c.stderr
	c.Env = childEnviron(environ...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *child) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := c.Process.Signal(s); err != nil {
		t.Fatal(err, c.stderr.String())
	}
}

// ended waits for the exit and checks its code and how long it took.
func (c *child) ended(t *testing.T, code int, within time.Duration) {
	t.Helper()
	began := time.Now()
	_ = c.Wait()
	if got := c.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d\n%s", got, code, c.stderr.String())
	}
	if d := time.Since(began); d > within {
		t.Errorf("it took %v to end\n%s", d, c.stderr.String())
	}
}

func pipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// SIGTERM ends the process within the shutdown timeout, whatever hangs; a second signal ends it at once.
func TestShutdownWhileSomethingHangs(t *testing.T) {
	if shutdownTimeout >= 5*time.Second {
		t.Errorf("the shutdown takes up to %v", shutdownTimeout)
	}
	hang := simulator.Fault{Kind: simulator.Hang}
	for name, tt := range map[string]struct {
		args  []string
		code  int
		fault simulator.Fault
		set   func(t *testing.T) string // an additional setting
		alone bool                      // it exits without a signal
	}{
		"serve: a silent API":          {nil, 0, hang, nil, false},
		"serve: 101":                   {nil, 0, simulator.Fault{Kind: simulator.SwitchProtocols}, nil, false},
		"serve: the secret":            {nil, 0, hang, func(t *testing.T) string { return "IDAAS_CLIENT_SECRET_FILE=" + pipe(t) }, false},
		"serve: the targets, at start": {nil, 0, hang, func(t *testing.T) string { return "IDAAS_TARGETS_FILE=" + pipe(t) }, false},
		"serve: the state, at start":   {nil, 0, hang, func(t *testing.T) string { return "IDAAS_STATE_FILE=" + pipe(t) }, false},
		"check: 101": {
			[]string{"check"},
			1,
			simulator.Fault{Kind: simulator.SwitchProtocols, Operation: simulator.Access},
			nil, true,
		},
		"check: a silent API": {[]string{"check"}, 1, hang, nil, false},
		"check: the secret": {
			[]string{"check"},
			1, hang, func(t *testing.T) string { return "IDAAS_CLIENT_SECRET_FILE=" + pipe(t) },
			false,
		},
		"once: 101":          {[]string{"once"}, 1, simulator.Fault{Kind: simulator.SwitchProtocols}, nil, true},
		"once: a silent API": {[]string{"once"}, 1, hang, nil, false},
		"once: the secret": {
			[]string{"once"},
			1, hang, func(t *testing.T) string { return "IDAAS_CLIENT_SECRET_FILE=" + pipe(t) },
			false,
		},
	} {
		for _, signals := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, %d signals", name, signals), func(t *testing.T) {
				t.Parallel()
				sim, environ := startSimulator(t, simulator.Config{})
				sim.Inject(tt.fault)
				environ = append(environ, "IDAAS_TARGETS=a:p", "IDAAS_REQUEST_TIMEOUT=1h")
				if tt.set != nil {
					setting := tt.set(t)
					if strings.Contains(setting, "SECRET_FILE") {
						environ = append(environ, "IDAAS_CLIENT_SECRET=")
					}
					environ = append(environ, setting)
				}
				c := startChild(t, environ, tt.args...)
				if tt.alone {
					c.ended(t, tt.code, 20*time.Second)
					return
				}
				eventually(t, "the process handles signals", c.handlesSignals)
				// Two different signals, because two pending signals of one kind are delivered once.
				for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[:signals] {
					c.signal(t, s)
					eventually(t, "the signal arrived", func() bool { return !pending(c.Process.Pid) })
				}
				c.ended(t, tt.code, testShutdownTimeout*time.Duration(2-signals)+2*time.Second)
			})
		}
	}
}

// status returns a mask of signals in /proc/PID/status, 0 after the process has exited.
func status(pid int, field string) uint64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if strings.Contains(string(text), "State:\tZ") {
		return 0
	}
	_, after, _ := strings.Cut(string(text), field+":\t")
	mask, _, _ := strings.Cut(after, "\n")
	n, _ := strconv.ParseUint(mask, 16, 64)
	return n
}

func pending(pid int) bool { return status(pid, "ShdPnd")|status(pid, "SigPnd") != 0 }

// handlesSignals reports whether main has set up its signals; SIGPIPE is the last.
func (c *child) handlesSignals() bool {
	return status(c.Process.Pid, "SigIgn")&(1<<(syscall.SIGPIPE-1)) != 0
}

// SIGHUP does not end the process while it reads its settings.
func TestSIGHUPWhileSettingsAreRead(t *testing.T) {
	_, environ := startSimulator(t, simulator.Config{})
	targets := pipe(t)
	c := startChild(t, append(environ, "IDAAS_TARGETS_FILE="+targets))
	eventually(t, "the process handles signals", c.handlesSignals)
	c.signal(t, syscall.SIGHUP)
	if err := os.WriteFile(targets, []byte("targets: [{consumer: a, credential_providers: [p]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "listening", func() bool { return listening.MatchString(c.stderr.String()) })
	c.signal(t, syscall.SIGHUP)
	c.signal(t, syscall.SIGTERM)
	c.ended(t, 0, 5*time.Second)
}

// The process continues after the reader of its log has exited.
func TestLogWithoutReader(t *testing.T) {
	_, environ := startSimulator(t, simulator.Config{})
	file := filepath.Join(t.TempDir(), "targets.yaml")
	if err := os.WriteFile(file, []byte("targets: [{consumer: a, credential_providers: [p]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.CommandContext(t.Context(), os.Args[0])}
	c.Stderr = writer
	c.Env = childEnviron(append(environ, "IDAAS_TARGETS_FILE="+file)...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var logged []byte
	for !listening.Match(logged) {
		part := make([]byte, 1000)
		n, err := reader.Read(part)
		if logged = append(logged, part[:n]...); err != nil {
			t.Fatal(err, string(logged))
		}
	}
	writer.Close()
	reader.Close()
	url := "http://" + string(listening.FindSubmatch(logged)[1])
	if err := os.WriteFile(file, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		resp, err := http.Post(url+"/-/reload", "", nil)
		if err != nil {
			t.Fatal("the process exited at the first line of its log: ", err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("reload: %d", resp.StatusCode)
		}
	}
	c.signal(t, syscall.SIGTERM)
	c.ended(t, 0, 5*time.Second)
}

// net/http logs the unsolicited bytes of a connection. They may contain an access token, so they are not shown.
func TestUnsolicitedBytes(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			sim, environ := startSimulator(t, simulator.Config{})
			sim.Add("a", "p", simulator.Token{ID: "t"})
			server := httptest.NewServer(unsolicited(sim))
			defer server.Close()
			c := startChild(t, append(environ, "IDAAS_ENDPOINT="+server.URL, "IDAAS_TARGETS=a:p",
				"IDAAS_LOG_LEVEL=debug", "IDAAS_LOG_FORMAT="+format, "IDAAS_POLL_SCHEDULE=@every 1s"))
			eventually(t, "the message of the library", func() bool { return strings.Contains(c.stderr.String(), "Unsolicited response") })
			c.signal(t, syscall.SIGTERM)
			c.ended(t, 0, 5*time.Second)
			text := c.stderr.String()
			if strings.Contains(text, secret) || strings.Contains(text, "HTTP/1.1") {
				t.Errorf("shown:\n%s", text)
			}
			for line := range strings.Lines(text) {
				if format == "json" && !strings.HasPrefix(line, "{") {
					t.Errorf("no JSON: %s", line)
				}
			}
		})
	}
}

// unsolicited serves sim. After each response it sends another one with the secret on the same, now idle, connection.
func unsolicited(sim http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		response := httptest.NewRecorder()
		sim.ServeHTTP(response, r)
		conn, out, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprintf(out, "HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%s", response.Code, response.Body.Len(), response.Body.String())
		_ = out.Flush()
		time.Sleep(20 * time.Millisecond) // so that the client has usually put it into its pool; the test waits for a poll where it has
		fmt.Fprintf(out, "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"access_token\": %q}", secret)
		_ = out.Flush()
		_, _ = io.Copy(io.Discard, conn)
	}
}
