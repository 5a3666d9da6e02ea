package main

import (
	"bufio"
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// command runs a command and returns its exit code and output.
func command(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, environ, &out, &err)
	return code, out.String(), err.String()
}

func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string // parts
	}{
		{[]string{"version"}, 0, "idaas-token-exporter, version", ""},
		{[]string{"--version"}, 0, "idaas-token-exporter, version", ""},
		{[]string{"help"}, 0, "IDAAS_POLL_SCHEDULE", ""},
		{[]string{"-h"}, 0, "once [FILE]", ""},
		{[]string{"--help"}, 0, "(default @every 5m)", ""},
		{[]string{"severe"}, 64, "", `unknown command "severe": the commands are serve`},
		{[]string{"serve", "now"}, 64, "", `serve does not take "now"`},
		{[]string{"once", "a", "b"}, 64, "", `once does not take "a b"`},
		{[]string{"once", "-h"}, 64, "", `once does not take "-h"`},
		{[]string{"check", "--json"}, 64, "", `check does not take "--json"`},
		{[]string{"demo", "now"}, 64, "", `demo does not take "now"`},
		{nil, 78, "", "IDAAS_INSTANCE_ID"},
		{[]string{"check"}, 78, "", "IDAAS_INSTANCE_ID"},
		{[]string{"once"}, 78, "", "IDAAS_INSTANCE_ID"},
	} {
		code, stdout, stderr := command(t, nil, tt.args...)
		if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%q: exit code %d\n%s%s", tt.args, code, stdout, stderr)
		}
	}
}

func TestBadSettingsAreAllNamedAndNoSecretIs(t *testing.T) {
	code, stdout, stderr := command(t, []string{
		"IDAAS_INSTANCE_ID=idaas_test", "IDAAS_ENDPOINT=http://example.com", "IDAAS_TOKEN_ENDPOINT=https://user:" + secret + "@x/y",
		"IDAAS_CLIENT_SECRET=" + secret, "IDAAS_CLIENT_SECRET_FILE=/x", "IDAAS_ACCESS_TOKEN=" + secret, "IDAAS_ACCESS_TOKEN_FILE=/x",
		"IDAAS_POLL_SCHEDULE=0 0 30 2 *", "IDAAS_PAGE_SIZE=many", "IDAAS_TARGETS=nothing", "IDAAS_EXPIRING_WITHIN=1d,24h", "IDAAS_POLL_TIMEOT=1h",
	})
	if code != 78 || stdout != "" || strings.Contains(stderr, secret) {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, name := range []string{
		"IDAAS_ENDPOINT", "IDAAS_TOKEN_ENDPOINT", "IDAAS_CLIENT_SECRET", "IDAAS_ACCESS_TOKEN", "IDAAS_POLL_SCHEDULE",
		"IDAAS_PAGE_SIZE", "IDAAS_TARGETS", "IDAAS_EXPIRING_WITHIN", "IDAAS_POLL_TIMEOUT?",
	} {
		if !strings.Contains(stderr, name) {
			t.Errorf("%s is not named in\n%s", name, stderr)
		}
	}
}

func TestBadWebConfigFile(t *testing.T) {
	_, environ := startSimulator(t, simulator.Config{})
	code, _, stderr := command(t, append(environ, "IDAAS_TARGETS=a:p", "IDAAS_WEB_CONFIG_FILE=/nowhere.yml"))
	if code != 78 || !strings.Contains(stderr, "IDAAS_WEB_CONFIG_FILE") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

func TestAddressInUse(t *testing.T) {
	_, environ := startSimulator(t, simulator.Config{})
	r := start(t, nil, append(environ, "IDAAS_TARGETS=a:p")...)
	code, _, stderr := command(t, append(environ, "IDAAS_TARGETS=a:p", "IDAAS_LISTEN_ADDRESS="+strings.TrimPrefix(r.url, "http://")))
	if code != 1 || !strings.Contains(stderr, "address already in use") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// A live walk has the same metrics with fewer requests; check reports that before.
func TestLiveWalks(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	environ = append(environ, "IDAAS_TARGETS=a:p", "IDAAS_PAGE_SIZE=10", "IDAAS_RATE_LIMIT=1000")
	for i := range 100 {
		sim.Add("a", "p", simulator.Token{Revoked: i > 5})
	}
	for walk, requests := range map[string]int{"full": 10, "live": 5} {
		before := sim.Requests(simulator.List)
		code, stdout, stderr := command(t, append(environ, "IDAAS_WALK="+walk), "once")
		if code != 0 {
			t.Fatalf("%s: exit code %d\n%s", walk, code, stderr)
		}
		if a, _ := parse(t, stdout).counts("a", "p"); a.Total != 100 || a.Active != 6 || a.Revoked != 94 {
			t.Errorf("%s: %+v", walk, a)
		}
		if got := sim.Requests(simulator.List) - before; got != requests {
			t.Errorf("%s: %d requests, want %d", walk, got, requests)
		}
		_, stdout, _ = command(t, append(environ, "IDAAS_WALK="+walk), "check")
		if got := strings.Contains(stdout, "the same as the full walk for 1 of 1 targets"); got != (walk == "live") {
			t.Errorf("%s:\n%s", walk, stdout)
		}
	}
}

func TestOnce(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	environ = append(environ, "IDAAS_TARGETS=a:p,b:p")
	sim.Add("a", "p", simulator.Token{ID: "1"})
	code, stdout, stderr := command(t, environ, "once")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, and what cron would mail:\n%s", code, stderr)
	}
	e := parse(t, stdout)
	if a, _ := e.counts("a", "p"); a.Total != 1 {
		t.Errorf("a: %+v", a)
	}
	for name := range e {
		if !strings.HasPrefix(name, "idaas_") {
			t.Errorf("%s is not ours", name)
		}
	}

	sim.Inject(simulator.Fault{Operation: simulator.List, Consumer: "b", Kind: simulator.HTML})
	file := filepath.Join(t.TempDir(), "idaas.prom")
	code, stdout, stderr = command(t, environ, "once", file)
	if code != 1 || stdout != "" || !strings.Contains(stderr, "reason=malformed") {
		t.Errorf("with a failing target: exit code %d\n%s%s", code, stdout, stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if failed, _ := parse(t, string(text)).value("idaas_poll_error", "consumer", "b", "reason", "malformed"); failed != 1 {
		t.Errorf("the failure is not in the file:\n%s", text)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v: node_exporter must be able to read it", info.Mode(), err)
	}
	if code, _, _ := command(t, environ, "once", filepath.Join(file, "below")); code != 1 {
		t.Errorf("a file that cannot be written: exit code %d", code)
	}
	link := file + ".link"
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := command(t, environ, "once", link); code != 1 || !strings.Contains(stderr, "not a regular file") {
		t.Errorf("a special file such as /dev/stdout would be replaced: exit code %d\n%s", code, stderr)
	}
}

// The series that exist from the start are those that count later: operations and causes have one name each.
func TestOperationsAndCausesAreThoseShownFromTheStart(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	sim.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Throttle, TimeLeft: 10 * time.Millisecond, Times: 1})
	sim.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Status, Times: 1})
	domain := strings.Replace(environ[1], "IDAAS_ENDPOINT", "IDAAS_DOMAIN", 1)
	environ = append(environ[3:], domain, "IDAAS_TARGETS=a:p", "IDAAS_REQUEST_RETRIES=4") // the domain replaces instance id and endpoints
	sim.Add("a", "p")
	_, stdout, stderr := command(t, environ, "once")
	e := parse(t, stdout)
	for metric, want := range map[string]int{"idaas_api_request_duration_seconds": 3, "idaas_api_wait_seconds_total": 3} {
		if got := len(e[metric].GetMetric()); got != want {
			t.Errorf("%s: %d series, want %d", metric, got, want)
		}
	}
	for _, operation := range []string{"list", "token", "discovery"} {
		if v, _ := e.value("idaas_api_requests_total", "operation", operation, "code", "200"); v == 0 {
			t.Errorf("%s was not counted\n%s", operation, stderr)
		}
	}
	for _, cause := range []string{"hint", "backoff"} {
		if v, _ := e.value("idaas_api_wait_seconds_total", "cause", cause); v == 0 {
			t.Errorf("waiting for %s was not counted\n%s", cause, stderr)
		}
	}
}

// The log has colours on a terminal, unless the environment disables them.
func TestColour(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	for _, tt := range []struct {
		environ []string
		colour  bool
	}{
		{nil, true},
		{[]string{"NO_COLOR="}, true},
		{[]string{"NO_COLORS=1"}, true},
		{[]string{"NO_COLOR=1"}, false},
		{[]string{"NO_COLOR=0"}, false},
		{[]string{"TERM=dumb"}, false},
		{[]string{"TERM=dumber"}, true},
	} {
		if got := colour(terminal, tt.environ); got != tt.colour {
			t.Errorf("%v: %v", tt.environ, got)
		}
	}
	if colour(&bytes.Buffer{}, nil) {
		t.Error("colour for what is no terminal")
	}
}

// check logs when it waits for the API.
func TestCheckSaysWhatItWaitsFor(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	sim.Add("a", "p", simulator.Token{ID: "t"})
	sim.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Throttle, AcsAfter: 50 * time.Millisecond, Times: 1})
	code, stdout, stderr := command(t, append(environ, "IDAAS_TARGETS=a:p", "IDAAS_REQUEST_RETRIES=1"), "check")
	if code != 0 || !strings.Contains(stderr, "requests paused by the API requested=50ms pause=50ms") {
		t.Errorf("%d\n%s%s", code, stdout, stderr)
	}
}

func TestDemoShowsEveryMetric(t *testing.T) {
	golden, err := os.Open(filepath.Join("collector", "testdata", "everything.prom"))
	if err != nil {
		t.Fatal(err)
	}
	defer golden.Close()
	r := start(t, []string{"demo"}, "IDAAS_LISTEN_ADDRESS=127.0.0.1:0", "IDAAS_RATE_LIMIT=1000", "IDAAS_CLIENT_SECRET_FILE=/of/the/real/one",
		"IDAAS_ENDPOINT=https://real.example.com")
	r.attempted()
	e := r.scrape()
	missing := map[string]bool{}
	for lines := bufio.NewScanner(golden); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); fields[1] == "HELP" && e[fields[2]] == nil {
			missing[fields[2]] = true
		}
	}
	// These exist only while a target fails, with a state file, and with discovery.
	maps.DeleteFunc(missing, func(name string, _ bool) bool {
		return regexp.MustCompile("^idaas_(poll_error|state_last_write|provider_discovery)").MatchString(name)
	})
	if len(missing) > 0 {
		t.Errorf("the demo does not show %v", slices.Sorted(maps.Keys(missing)))
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes", "idaas_token_exporter_build_info"} {
		if e[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
	if v, _ := e.value("idaas_authentication_tokens_active", "consumer", "billing", "credential_provider", "crm_oauth"); v != 1 {
		t.Errorf("billing has %v active tokens at crm_oauth", v)
	}

	_, text := r.get("/api/v1/targets?consumer=billing&credential_provider=crm_oauth")
	for _, want := range []string{
		`"state":"ok"`, `"tokens":2,"active":1,"expired":1,"revoked":0`, `"30d":0`, `"id":"atntkn_`,
		`"type":"oauth_access_token"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the JSON lacks %s:\n%s", want, text)
		}
	}
}
