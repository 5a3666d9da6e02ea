package bench

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// mixed are the schedules of BenchmarkMixed, each with its share of the targets in percent.
var mixed = []struct {
	text   string
	share  int
	hourly int // requests of a target
}{{"@every 1m", 2, 60}, {"@every 5m", 8, 12}, {"@every 15m", 20, 4}, {"@hourly", 40, 1}, {"@every 2h", 30, 0}}

// writeSizes replaces the table between begin and the end mark in the file SIZING, if it is set.
func writeSizes(b *testing.B, begin, table string) {
	b.Helper()
	file := os.Getenv("SIZING")
	if file == "" {
		return
	}
	text, err := os.ReadFile(file)
	before, rest, found := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, sizingEnd)
	if err != nil || !found || !ended {
		b.Fatal(file, "has no place for the table", err)
	}
	e2e.WriteFile(b, file, before+begin+"\n"+table+sizingEnd+after)
}

// BenchmarkMixed starts a process with targets of one token and five schedules, with a state file, and restarts it. It measures the
// first read of all, /metrics, the page, a reload, and the restart.
func BenchmarkMixed(b *testing.B) {
	const begin = "<!-- made by make -C deploy/e2e sizing: schedules -->"
	table := "| targets | requests an hour | least rate limit | first read at 1,000/s | reload | page | scrape | state file | " +
		"ready after a restart | memory, at most | CPU |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|\n"
	for _, targets := range []int{1_000, 5_000, 50_000} {
		b.Run(fmt.Sprint(targets), func(b *testing.B) {
			if testing.Short() && targets > 1_000 {
				b.Skip("short")
			}
			for b.Loop() {
				table += mixedOnce(b, targets)
			}
		})
	}
	writeSizes(b, begin, table)
}

// mixedOnce returns a row of the table.
func mixedOnce(b *testing.B, targets int) string {
	sim, api, token := million(b, targets, 1, 1)
	var yaml strings.Builder
	yaml.WriteString("targets:\n")
	hourly, n := 0.0, 0
	for i, schedule := range mixed {
		count := targets * schedule.share / 100
		if i == len(mixed)-1 {
			hourly += float64(count) / 2
		}
		hourly += float64(count * schedule.hourly)
		for range count {
			fmt.Fprintf(&yaml, "  - {consumer: %s, credential_providers: [%s], poll_schedule: '%s'}\n", numbered(n), provider, schedule.text)
			n++
		}
	}
	dir, listen := b.TempDir(), e2e.FreeAddress(b)
	file, state := filepath.Join(dir, "targets.yaml"), filepath.Join(dir, "state")
	e2e.WriteFile(b, file, yaml.String())
	environ := []string{
		"IDAAS_INSTANCE_ID=idaas_simulator", "IDAAS_ENDPOINT=http://" + api, "IDAAS_ACCESS_TOKEN=" + token, "IDAAS_TARGETS_FILE=" + file,
		fmt.Sprint("IDAAS_RATE_LIMIT=", fastest), "IDAAS_REQUEST_TIMEOUT=1m", "IDAAS_LISTEN_ADDRESS=" + listen, "IDAAS_LOG_LEVEL=warn",
		"IDAAS_STATE_FILE=" + state,
	}
	timed := func(do func() error) time.Duration {
		begun := time.Now()
		e2e.Eventually(b, 5*time.Minute, "a response", do)
		return time.Since(begun)
	}
	get := func(path string) func() error {
		return func() error { _, err := e2e.Get(b.Context(), "http://"+listen+path); return err }
	}
	p := e2e.Start(b, environ, e2e.Exporter(b))
	first := timed(func() error {
		// Not by scrapes, which have costs.
		if sim.Requests(simulator.List) < targets {
			return errors.New("not all were requested")
		}
		text, err := e2e.Get(b.Context(), "http://"+listen+"/metrics")
		if err == nil && strings.Count(text, "\nidaas_poll_success{") < targets {
			err = errors.New("not all were read")
		}
		return err
	})
	reload := timed(func() error {
		resp, err := http.Post("http://"+listen+"/-/reload", "", nil)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return errors.Join(err, resp.Body.Close())
	})
	page, scrape := timed(get("/")), timed(get("/metrics"))
	ours := costOf(b, p)
	p.Stop(b)
	info, err := os.Stat(state)
	if err != nil {
		b.Fatal(err)
	}
	p = e2e.Start(b, environ, e2e.Exporter(b))
	ready := timed(get("/-/ready"))
	p.Stop(b)
	seconds := func(d time.Duration) string { return fmt.Sprintf("%.2g s", d.Seconds()) }
	return fmt.Sprintf("| %d | %.0f | %.0f/s | %s | %s | %s | %s | %.0f kB | %s | %.0f MiB | %.0f s |\n", targets,
		hourly, math.Ceil(hourly/3600), seconds(first), seconds(reload),
		seconds(page), seconds(scrape), float64(info.Size())/1e3, seconds(ready), ours.peak, ours.cpu.Seconds())
}
