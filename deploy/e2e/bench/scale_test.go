package bench

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

const (
	// perTarget is how many series the exporter exposes of a target, none of whose facts is unknown.
	perTarget = 17
	// briskly is how many requests a second it sends while it is scraped: thirty times what a quota of 200 a minute allows.
	briskly = 100
)

// plainGauges are as many const gauges as the exporter has series, whose values cost nothing to find.
type plainGauges struct {
	series int
	descs  []*client.Desc
}

func (p plainGauges) Describe(ch chan<- *client.Desc) {
	for _, d := range p.descs {
		ch <- d
	}
}

func (p plainGauges) Collect(ch chan<- client.Metric) {
	for n := range p.series {
		ch <- client.MustNewConstMetric(p.descs[n%perTarget], client.GaugeValue, 1764000000, numbered(n/perTarget), provider)
	}
}

// constGauges serves plain gauges until it is killed.
func constGauges(address string) func() error {
	return func() error {
		series, err := strconv.Atoi(os.Getenv("E2E_SERIES"))
		plain := plainGauges{series: series}
		for i := range perTarget {
			name := fmt.Sprintf("plain_authentication_tokens_of_a_kind_%02d", i)
			plain.descs = append(plain.descs, client.NewDesc(name, "Plain.", []string{"consumer", "credential_provider"}, nil))
		}
		registry := client.NewRegistry()
		registry.MustRegister(plain)
		if err == nil {
			err = http.ListenAndServe(address, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
		}
		return err
	}
}

// startExporter starts one that polls every target, and what more is set.
func startExporter(b *testing.B, api, token string, targets, rate int, more ...string) (p *e2e.Process, listen string) {
	b.Helper()
	var yaml strings.Builder
	yaml.WriteString("targets:\n")
	for n := range targets {
		fmt.Fprintf(&yaml, "  - {consumer: %s, credential_providers: [%s]}\n", numbered(n), provider)
	}
	file := filepath.Join(b.TempDir(), "targets.yaml")
	e2e.WriteFile(b, file, yaml.String())
	listen = e2e.FreeAddress(b)
	return e2e.Start(b, append([]string{
		"IDAAS_INSTANCE_ID=idaas_simulator", "IDAAS_ENDPOINT=http://" + api, "IDAAS_ACCESS_TOKEN=" + token, "IDAAS_TARGETS_FILE=" + file,
		"IDAAS_RATE_LIMIT=" + strconv.Itoa(rate), "IDAAS_REQUEST_TIMEOUT=1m", "IDAAS_LISTEN_ADDRESS=" + listen, "IDAAS_LOG_LEVEL=warn",
	}, more...), e2e.Exporter(b)), listen
}

// scrapes returns how long scrapes of a process took, the CPU time of each and its allocations, if it tells them.
func scrapes(b *testing.B, p *e2e.Process, listen string, n int) (took []time.Duration, cpu time.Duration, allocations float64) {
	b.Helper()
	mallocs := func(text string) float64 {
		found := regexp.MustCompile(`(?m)^go_memstats_mallocs_total (\S+)$`).FindStringSubmatch(text)
		if found == nil {
			return 0
		}
		v, _ := strconv.ParseFloat(found[1], 64)
		return v
	}
	var first, last string
	var before cost
	for i := range n + 1 { // the first also makes what the later ones use again
		began := time.Now()
		text, err := e2e.Get(b.Context(), "http://"+listen+"/metrics")
		if err != nil {
			b.Fatal(err)
		}
		if last = text; i == 0 {
			first, before = text, costOf(b, p)
			continue
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took, (costOf(b, p).cpu - before.cpu) / time.Duration(n), (mallocs(last) - mallocs(first)) / float64(n)
}

// BenchmarkScrape scrapes over HTTP: at rest and while every target is walked again, beside a process of as many const gauges.
// Ratios are of CPU time at rest, and of the median.
func BenchmarkScrape(b *testing.B) {
	for _, size := range []struct{ targets, tokens, rate, scrapes int }{
		{1, 1_000_000, briskly, 500}, {5000, 200, briskly, 20}, {5000, 200, fastest, 20},
	} {
		b.Run(fmt.Sprint(size.targets, "×", size.tokens, "/", size.rate), func(b *testing.B) {
			schedule := "@every 2m" // so that there is a rest between
			if testing.Short() {
				schedule, size.rate = "@every 3s", fastest
				size.targets, size.tokens, size.scrapes = min(size.targets, 50), min(size.tokens, 1000), 3
			}
			for b.Loop() {
				sim, api, token := million(b, size.targets, size.tokens, 1)
				p, listen := startExporter(b, api, token, size.targets, size.rate, "IDAAS_POLL_SCHEDULE="+schedule)
				read := fmt.Sprintf("idaas_poll_duration_seconds_count %d\n", size.targets)
				e2e.Eventually(b, 10*time.Minute, "a full read", func() error {
					text, err := e2e.Get(b.Context(), "http://"+listen+"/metrics")
					if err == nil && !strings.Contains(text, read) {
						err = errors.New("not yet")
					}
					return err
				})
				requests := sim.Requests(simulator.List)
				rest, cpu, allocations := scrapes(b, p, listen, size.scrapes)
				text, err := e2e.Get(b.Context(), "http://"+listen+"/metrics")
				if err != nil {
					b.Fatal(err)
				}
				series := strings.Count("\n"+text, "\n") - strings.Count("\n"+text, "\n#") - 1
				e2e.Eventually(b, 2*time.Minute, "the next walks", func() error {
					if sim.Requests(simulator.List) <= requests {
						return errors.New("not yet")
					}
					return nil
				})
				busy, _, _ := scrapes(b, p, listen, size.scrapes)
				p.Stop(b)
				other := e2e.FreeAddress(b)
				plain := e2e.Start(b, []string{
					"E2E_PEER=gauges", "E2E_PAGES=1", "E2E_ADDRESS=" + other, "E2E_SERIES=" + strconv.Itoa(series),
				}, os.Args[0])
				e2e.Eventually(b, time.Minute, "the gauges", func() error { _, err := e2e.Get(b.Context(), "http://"+other+"/metrics"); return err })
				const ms = 1e3
				_, plainCPU, _ := scrapes(b, plain, other, size.scrapes)
				plain.Cmd.Process.Kill()
				<-plain.Done
				plain.Err = nil
				b.ReportMetric(rest[len(rest)/2].Seconds()*ms, "ms-p50")
				b.ReportMetric(rest[len(rest)*99/100].Seconds()*ms, "ms-p99")
				b.ReportMetric(cpu.Seconds()*ms, "CPU-ms/scrape")
				b.ReportMetric(allocations, "allocs/scrape")
				b.ReportMetric(float64(series), "series")
				b.ReportMetric(float64(busy[len(busy)/2])/float64(rest[len(rest)/2]), "×rest-while-walking")
				if plainCPU > 0 {
					b.ReportMetric(float64(cpu)/float64(plainCPU), "×gauges")
				}
			}
		})
	}
}

// BenchmarkShards reads ten thousand targets of five million tokens once, in four processes that share a rate limit.
func BenchmarkShards(b *testing.B) {
	targets, tokens, shards := 10_000, 500, 4
	if testing.Short() {
		targets = 40
	}
	for b.Loop() {
		sim, api, token := million(b, targets, tokens, 1)
		begin := time.Now()
		var all []*e2e.Process
		var listens []string
		for i := range shards {
			p, listen := startExporter(b, api, token, targets, fastest, "IDAAS_POLL_SCHEDULE=@yearly",
				"IDAAS_SHARD_COUNT="+strconv.Itoa(shards), "IDAAS_SHARD_INDEX="+strconv.Itoa(i))
			all, listens = append(all, p), append(listens, listen)
		}
		e2e.Eventually(b, 20*time.Minute, "a full read", func() error {
			if n, want := sim.Requests(simulator.List), targets*tokens/pageSize; n < want {
				return fmt.Errorf("%d of %d requests", n, want)
			}
			return nil
		})
		b.ReportMetric(time.Since(begin).Seconds(), "s/cycle")
		b.ReportMetric(float64(sim.Requests(simulator.List)), "requests")
		read := 0
		for i, p := range all {
			e2e.Eventually(b, time.Minute, "the end of the walks", func() error {
				text, err := e2e.Get(b.Context(), "http://"+listens[i]+"/metrics")
				if err == nil && !strings.Contains(text, "\nidaas_poll_targets_in_progress 0\n") {
					err = errors.New("not yet")
				}
				if err == nil {
					read += strings.Count(text, "\nidaas_poll_success{")
				}
				return err
			})
			now := costOf(b, p)
			b.ReportMetric(now.peak, fmt.Sprint("MiB-peak-", i))
			b.ReportMetric(now.cpu.Seconds(), fmt.Sprint("CPU-s-", i))
		}
		if read != targets {
			b.Errorf("%d targets were read of %d", read, targets)
		}
		for _, p := range all {
			p.Stop(b)
		}
	}
}
