package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
	"github.com/idaas-exporter/idaas-token-exporter/poller/state"
)

// stable is the part of an exposition that a restart does not change. The history starts 35 days ago, so it moves with time.
func stable(t *testing.T, r *running) string {
	t.Helper()
	_, text := r.get("/metrics")
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if regexp.MustCompile(`^idaas_(authentication_tokens|target_info|poll_(success|error|last_success|reported))`).MatchString(line) &&
			!strings.Contains(line, "history_start") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func TestARestartWithoutTheAPIShowsEverySeriesWithItsAge(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	file := filepath.Join(t.TempDir(), "state")
	environ = append(environ, "IDAAS_TARGETS=a:p,b:p,c:p", "IDAAS_STATE_FILE="+file)
	sim.Add("a", "p", simulator.Token{ID: "1"}, simulator.Token{ID: "2", Revoked: true})
	sim.Add("b", "p")
	repair := sim.Inject(simulator.Fault{Operation: simulator.List, Consumer: "c", Kind: simulator.Status, Status: 403})
	r := start(t, nil, environ...)
	r.attempted()
	before := stable(t, r)
	if code := r.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}

	repair()
	sim.Inject(simulator.Fault{Kind: simulator.Hang})
	again := start(t, nil, environ...)
	if status, _ := again.get("/-/ready"); status != http.StatusOK {
		t.Errorf("ready: %d at once after a restore", status)
	}
	if got := stable(t, again); got != before || !strings.Contains(got, `idaas_poll_error{consumer="c"`) {
		t.Errorf("before:\n%s\nafter:\n%s", before, got)
	}
	if !strings.Contains(again.stderr.String(), "failing before start failing=1") {
		t.Error("the log of the new process lacks the targets that failed before the restart")
	}
	again.stop()

	if err := os.Truncate(file, 100); err != nil {
		t.Fatal(err)
	}
	damaged := start(t, nil, environ...)
	if got := stable(t, damaged); strings.Contains(got, "authentication_tokens") {
		t.Errorf("restored from a damaged file:\n%s", got)
	}
	if log := damaged.stderr.String(); strings.Count(log, "state file not restored") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

func TestReload(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	for _, c := range []string{"a", "b", "c"} {
		sim.Add(c, "p", simulator.Token{ID: c})
	}
	file := filepath.Join(t.TempDir(), "targets.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const one = "targets:\n- consumer: %s\n  credential_providers: [p]\n"
	write(fmt.Sprintf(one, "a"))
	r := start(t, nil, append(environ, "IDAAS_TARGETS_FILE="+file)...)
	r.attempted()
	post := func() (int, string) {
		resp, err := http.Post(r.url+"/-/reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text := make([]byte, 1000)
		n, _ := resp.Body.Read(text)
		return resp.StatusCode, string(text[:n])
	}
	shows := func(consumer string) bool { _, ok := r.scrape().counts(consumer, "p"); return ok }

	write(fmt.Sprintf(one, "b") + "- consumr: c\n")
	before := stable(t, r)
	if status, text := post(); status != http.StatusBadRequest || !strings.Contains(text, "targets.yaml:4") || !strings.Contains(text,
		"consumr") {
		t.Errorf("a typo: %d %s", status, text)
	}
	if ok, _ := r.scrape().value("idaas_config_last_reload_successful"); ok != 0 || stable(t, r) != before {
		t.Errorf("a bad reload changed something, or does not show: %v", ok)
	}

	write(fmt.Sprintf(one, "b"))
	if status, text := post(); status != http.StatusOK || shows("a") {
		t.Errorf("%d %s; the removed target shows: %v", status, text, shows("a"))
	}
	eventually(t, "the new target is read right away", func() bool { return shows("b") })

	write(fmt.Sprintf(one, "c"))
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "reloaded at SIGHUP", func() bool { return shows("c") && !shows("b") })
	if ok, _ := r.scrape().value("idaas_config_last_reload_successful"); ok != 1 {
		t.Error("the good reload does not show")
	}
}

func TestThreeShardsShowEachTargetOnce(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	var targets []string
	for i := range 30 {
		consumer := fmt.Sprint("consumer-", i)
		sim.Add(consumer, "p", simulator.Token{ID: consumer})
		targets = append(targets, consumer+":p")
	}
	environ = append(environ, "IDAAS_TARGETS="+strings.Join(targets, ","), "IDAAS_SHARD_COUNT=3", "IDAAS_RATE_LIMIT=300")
	seen := map[string]int{}
	for shard := range 3 {
		r := start(t, nil, append(environ, fmt.Sprint("IDAAS_SHARD_INDEX=", shard))...)
		r.attempted()
		e := r.scrape()
		for _, m := range e["idaas_authentication_tokens"].GetMetric() {
			seen[m.GetLabel()[0].GetValue()]++
		}
		if v, _ := e.value("idaas_api_rate_limit"); v != 100 {
			t.Errorf("shard %d sends %v requests per second, want its third of 300", shard, v)
		}
		if v, ok := e.value("idaas_shard_index", "shard_index", fmt.Sprint(shard)); v != 1 || !ok {
			t.Errorf("shard %d: idaas_shard_index is wrong", shard)
		}
	}
	for consumer, n := range seen {
		if n != 1 {
			t.Errorf("%s is shown by %d shards", consumer, n)
		}
	}
	if len(seen) != 30 {
		t.Errorf("%d of 30 targets are shown", len(seen))
	}
}

func TestProbeListener(t *testing.T) {
	_, environ := startSimulator(t, simulator.Config{})
	r := start(t, nil, append(environ, "IDAAS_TARGETS=a:p", "IDAAS_PROBE_ADDRESS=127.0.0.1:0")...)
	eventually(t, "both listeners", func() bool { return len(listening.FindAllString(r.stderr.String(), -1)) == 2 })
	answers := map[int]int{}
	for _, m := range listening.FindAllStringSubmatch(r.stderr.String(), -1) {
		r.url = "http://" + m[1]
		if status, _ := r.get("/-/healthy"); status != http.StatusOK {
			t.Errorf("%s: healthy: %d", m[1], status)
		}
		status, _ := r.get("/metrics")
		answers[status]++
	}
	if answers[http.StatusOK] != 1 || answers[http.StatusNotFound] != 1 {
		t.Errorf("/metrics: %v, want it on one of the two only", answers)
	}
}

func TestCheck(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	sim.Add("a", "p", simulator.Token{ID: "1"})
	environ = append(environ, "IDAAS_TARGETS=a:p", "IDAAS_LOG_LEVEL=debug")
	code, stdout, stderr := command(t, environ, "check")
	if code != 0 || !strings.Contains(stdout, "a at p") || !strings.HasPrefix(stderr,
		"checking 1 targets with at most 1000 requests per second\n") || strings.Contains(stdout+stderr, secret) {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = command(t, append(environ, "IDAAS_CLIENT_SECRET=wrong-4711"), "check", "-json")
	if code != 1 || !strings.HasPrefix(stdout, "{") || !strings.Contains(stdout, "IDAAS_CLIENT_SECRET") || strings.Contains(stdout, "4711") {
		t.Errorf("wrong secret: exit code %d\n%s", code, stdout)
	}
}

func TestOnceKeepsState(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	path := filepath.Join(t.TempDir(), "state")
	// Of this schedule, no time passes between two commands.
	environ = append(environ, "IDAAS_TARGETS=a:p", "IDAAS_STATE_FILE="+path, "IDAAS_POLL_SCHEDULE=@every 10y")
	sim.Add("a", "p", simulator.Token{ID: "1"})
	if code, _, stderr := command(t, environ, "once"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	sim.Remove("1")
	if code, stdout, _ := command(t, environ, "once"); code != 0 || sim.Requests(simulator.List) != 1 {
		t.Errorf("exit code %d, %d requests\n%s", code, sim.Requests(simulator.List), stdout)
	} else if counts, _ := parse(t, stdout).counts("a", "p"); counts.Total != 1 {
		t.Errorf("before a scheduled time: %+v", counts)
	}
	age(t, path, environ)
	_, stdout, _ := command(t, append(environ, "IDAAS_POLL_SCHEDULE=@every 1h"), "once")
	e := parse(t, stdout)
	counts, _ := e.counts("a", "p")
	if _, known := e.value("idaas_authentication_tokens_last_active_timestamp_seconds", "consumer", "a"); !known || counts.Total != 0 {
		t.Errorf("%+v; the end of the last active token is known: %v", counts, known)
	}
}

// age makes a state file 2 hours older.
func age(t *testing.T, path string, environ []string) {
	t.Helper()
	file := state.File{Path: path, Instance: " " + strings.TrimPrefix(environ[1], "IDAAS_ENDPOINT=") + " idaas_test"}
	restored, err := file.Load()
	if err != nil || len(restored.Readings) == 0 {
		t.Fatalf("%d readings, %v", len(restored.Readings), err)
	}
	var s poller.Snapshot
	for _, r := range restored.Readings {
		r.Census.ReadAt = r.Census.ReadAt.Add(-2 * time.Hour)
		s.Readings = append(s.Readings, r)
	}
	if err := file.Save(&s); err != nil {
		t.Fatal(err)
	}
}

// An interrupted poll fails and does not replace the file, even if data was restored.
func TestOnceInterrupted(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{})
	file := filepath.Join(t.TempDir(), "idaas.prom")
	path := filepath.Join(t.TempDir(), "state")
	environ = append(environ, "IDAAS_TARGETS=a:p", "IDAAS_STATE_FILE="+path)
	sim.Add("a", "p", simulator.Token{ID: "1"})
	if code, _, stderr := command(t, environ, "once", file); code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	age(t, path, environ)
	sim.Inject(simulator.Fault{Operation: simulator.List, Kind: simulator.Hang})
	ctx, cancel := context.WithCancel(t.Context())
	walks := sim.Requests(simulator.List)
	go func() {
		for sim.Requests(simulator.List) == walks {
			runtime.Gosched()
		}
		cancel()
	}()
	var stderr lockedBuffer
	if code := run(ctx, []string{"once", file}, environ, io.Discard, &stderr); code != 1 || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("the file was written: %v", err)
	}
}
