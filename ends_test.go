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

// child is the exporter as a process.
type child struct {
	*exec.Cmd
	stderr lockedBuffer
}

func startChild(t *testing.T, environ []string, args ...string) *child {
	t.Helper()
	c := &child{Cmd: exec.CommandContext(t.Context(), os.Args[0], args...)}
	c.Stderr = &c.stderr
	c.Env = append(os.Environ(), append(environ, "TEST_AS_EXPORTER=1", "GORACE=atexit_sleep_ms=0")...)
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

// ended waits for the end and checks how and how soon it came.
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

// Whatever hangs: SIGTERM ends the process within 5 s, a second one at once.
func TestTheEndComesWhateverHangs(t *testing.T) {
	hang := simulator.Fault{Kind: simulator.Hang}
	for name, tt := range map[string]struct {
		args  []string
		code  int
		fault simulator.Fault
		set   func(t *testing.T) string // one more setting
		alone bool                      // it ends without a signal
	}{
		"serve: a silent API":          {nil, 0, hang, nil, false},
		"serve: 101":                   {nil, 0, simulator.Fault{Kind: simulator.SwitchProtocols}, nil, false},
		"serve: the secret":            {nil, 0, hang, func(t *testing.T) string { return "IDAAS_CLIENT_SECRET_FILE=" + pipe(t) }, false},
		"serve: the targets, at start": {nil, 0, hang, func(t *testing.T) string { return "IDAAS_TARGETS_FILE=" + pipe(t) }, false},
		"serve: the state, at start":   {nil, 0, hang, func(t *testing.T) string { return "IDAAS_STATE_FILE=" + pipe(t) }, false},
		"check: 101":                   {[]string{"check"}, 1, simulator.Fault{Kind: simulator.SwitchProtocols, Operation: simulator.Access}, nil, true},
		"check: a silent API":          {[]string{"check"}, 1, hang, nil, false},
		"check: the secret":            {[]string{"check"}, 1, hang, func(t *testing.T) string { return "IDAAS_CLIENT_SECRET_FILE=" + pipe(t) }, false},
		"once: 101":                    {[]string{"once"}, 1, simulator.Fault{Kind: simulator.SwitchProtocols}, nil, true},
		"once: a silent API":           {[]string{"once"}, 1, hang, nil, false},
		"once: the secret":             {[]string{"once"}, 1, hang, func(t *testing.T) string { return "IDAAS_CLIENT_SECRET_FILE=" + pipe(t) }, false},
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
				eventually(t, "its signals are its own", c.handlesSignals)
				// Not the same twice: Go takes two of a kind that come at once for one.
				for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[:signals] {
					c.signal(t, s)
					eventually(t, "the signal arrived", func() bool { return !pending(c.Process.Pid) })
				}
				within := 5 * time.Second
				if signals == 2 {
					within = 2 * time.Second
				}
				c.ended(t, tt.code, within)
			})
		}
	}
}

// status returns a mask of signals in /proc/PID/status, 0 once the process has ended.
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

// handlesSignals reports whether main has begun to care about its signals, the last of which is SIGPIPE.
func (c *child) handlesSignals() bool {
	return status(c.Process.Pid, "SigIgn")&(1<<(syscall.SIGPIPE-1)) != 0
}

// From the first moment on, however long it takes to read the settings, a hangup ends nothing.
func TestAHangupWhileTheSettingsAreRead(t *testing.T) {
	_, environ := startSimulator(t, simulator.Config{})
	targets := pipe(t)
	c := startChild(t, append(environ, "IDAAS_TARGETS_FILE="+targets))
	eventually(t, "its signals are its own", c.handlesSignals)
	c.signal(t, syscall.SIGHUP)
	if err := os.WriteFile(targets, []byte("targets: [{consumer: a, credential_providers: [p]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "listening", func() bool { return listening.MatchString(c.stderr.String()) })
	c.signal(t, syscall.SIGHUP)
	c.signal(t, syscall.SIGTERM)
	c.ended(t, 0, 5*time.Second)
}

// Nobody reads the log any more: that is no reason to end.
func TestALogWithoutAReader(t *testing.T) {
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
	c.Env = append(os.Environ(), append(environ, "IDAAS_TARGETS_FILE="+file, "TEST_AS_EXPORTER=1", "GORACE=atexit_sleep_ms=0")...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var said []byte
	for !listening.Match(said) {
		part := make([]byte, 1000)
		n, err := reader.Read(part)
		if said = append(said, part[:n]...); err != nil {
			t.Fatal(err, string(said))
		}
	}
	writer.Close()
	reader.Close()
	url := "http://" + string(listening.FindSubmatch(said)[1])
	if err := os.WriteFile(file, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		answer, err := http.Post(url+"/-/reload", "", nil)
		if err != nil {
			t.Fatal("with the first line of its log it was gone: ", err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusBadRequest {
			t.Errorf("reload: %d", answer.StatusCode)
		}
	}
	c.signal(t, syscall.SIGTERM)
	c.ended(t, 0, 5*time.Second)
}

// What net/http says of bytes that come unasked may be an access token, or what was sent: it is not shown.
func TestBytesThatComeUnasked(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			sim, environ := startSimulator(t, simulator.Config{})
			sim.Add("a", "p", simulator.Token{ID: "t"})
			server := httptest.NewServer(unasked(sim))
			defer server.Close()
			c := startChild(t, append(environ, "IDAAS_ENDPOINT="+server.URL, "IDAAS_TOKEN_ENDPOINT="+server.URL+simulator.TokenPath, "IDAAS_TARGETS=a:p",
				"IDAAS_LOG_LEVEL=debug", "IDAAS_LOG_FORMAT="+format, "IDAAS_POLL_SCHEDULE=@every 1s"))
			eventually(t, "the library's message", func() bool { return strings.Contains(c.stderr.String(), "Unsolicited response") })
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

// unasked serves sim, and after each answer sends another with the secret, on the same connection.
func unasked(sim http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		made := httptest.NewRecorder()
		sim.ServeHTTP(made, r)
		conn, out, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprintf(out, "HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%s", made.Code, made.Body.Len(), made.Body.String())
		_ = out.Flush()
		time.Sleep(20 * time.Millisecond) // until it is idle, as likely as not
		fmt.Fprintf(out, "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"access_token\": %q}", secret)
		_ = out.Flush()
		_, _ = io.Copy(io.Discard, conn)
	}
}
