package collector

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Config of a Collector.
type Config struct {
	RateLimit    float64       // requests per second of this process
	MaxStaleness time.Duration // age of a census from which its target's token series are dropped; 0: they are kept

	ShardIndex, ShardCount int
}

// Collector is a prometheus.Collector of all idaas_ metrics but the build info. Its other methods tell it what
// happens; they and Collect are safe for concurrent use, and none waits for a walk.
type Collector struct {
	snapshot     func() *poller.Snapshot
	now          func() time.Time
	maxStaleness time.Duration
	events       *events
}

// New returns a Collector that asks snapshot at each scrape. Every counter is there from the start, at 0.
func New(c Config, snapshot func() *poller.Snapshot) *Collector {
	e := newEvents()
	e.rateLimit.WithLabelValues().Set(c.RateLimit)
	e.shards.WithLabelValues().Set(float64(c.ShardCount))
	e.shardIndex.WithLabelValues(strconv.Itoa(c.ShardIndex)).Set(1)
	for _, r := range poller.Reasons() {
		e.pollFailures.WithLabelValues(string(r))
		e.tokenFailures.WithLabelValues(string(r))
	}
	for _, op := range []string{"list", "token", "discovery"} {
		e.requests.WithLabelValues(op, "200")
		e.requests.WithLabelValues(op, "error")
		e.requestDuration.WithLabelValues(op)
	}
	for _, cause := range []string{"limiter", "hint", "backoff"} {
		e.wait.WithLabelValues(cause)
	}
	return &Collector{snapshot: snapshot, now: time.Now, maxStaleness: c.MaxStaleness, events: e}
}

// Describe sends every description.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		ch <- d
	}
	c.events.Describe(ch)
}

// Collect sends the facts of one snapshot, judged at one moment.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s, now := c.snapshot(), c.now()
	send := sender(ch)
	for _, r := range s.Readings {
		send.walks(r)
		if r.Census != nil {
			send.facts(r, now, c.maxStaleness > 0 && now.Sub(r.Census.ReadAt) > c.maxStaleness)
		}
	}
	send.gauge(pollTargets, float64(len(s.Readings)))
	send.gauge(inProgress, float64(s.InProgress))
	if !s.LastCycle.IsZero() {
		send.known(lastCycle, s.LastCycle.UnixMilli())
		send.known(nextCycle, s.NextCycle.UnixMilli())
		send.gauge(interval, s.NextCycle.Sub(s.LastCycle).Seconds())
	}
	c.events.Collect(ch)
}

type sender chan<- prometheus.Metric

func (ch sender) gauge(d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// known sends Unix milliseconds as seconds, unless they are unknown.
func (ch sender) known(d *prometheus.Desc, ms int64, labels ...string) {
	if ms > 0 {
		ch.gauge(d, float64(ms)/1000, labels...)
	}
}

// walks sends how the walks of one target went.
func (ch sender) walks(r *poller.Reading) {
	consumer, provider := r.Target.Label, r.Target.Provider
	switch {
	case r.Failure != nil:
		ch.gauge(pollSuccess, 0, consumer, provider)
		ch.gauge(pollError, 1, consumer, provider, string(r.Failure.Reason))
	case r.Attempted():
		ch.gauge(pollSuccess, 1, consumer, provider)
	}
	if c := r.Census; c != nil {
		ch.known(lastSuccess, c.ReadAt.UnixMilli(), consumer, provider)
		if c.Reported >= 0 {
			ch.gauge(reported, float64(c.Reported), consumer, provider)
		}
	}
}

// facts sends the census of one target as it stands now. What a stale one cannot tell any more is left out: unknown is
// not zero.
func (ch sender) facts(r *poller.Reading, now time.Time, stale bool) {
	consumer, provider := r.Target.Label, r.Target.Provider
	c, at := r.Census, r.Census.At(now)
	ch.known(lastActive, at.LastActive, consumer, provider)
	if i := c.Info; i != nil {
		ch.gauge(targetInfo, 1, consumer, provider, i.ProviderID, i.TokenType, i.ConsumerType)
	}
	if stale {
		return
	}
	ch.gauge(tokens, float64(at.Total), consumer, provider)
	ch.gauge(active, float64(at.Active), consumer, provider)
	ch.gauge(expired, float64(at.Expired), consumer, provider)
	ch.gauge(revoked, float64(at.Revoked), consumer, provider)
	for _, w := range r.Target.Windows {
		ch.gauge(expiring, float64(at.Expiring(w.Duration)), consumer, provider, w.Label)
	}
	ch.gauge(withoutExpiration, float64(at.NeverExpiring), consumer, provider)
	ch.known(earliest, at.Earliest, consumer, provider)
	ch.known(latest, at.Latest, consumer, provider)
	ch.known(lifetime, c.Lifetime, consumer, provider)
	ch.known(newestIssue, c.NewestIssue, consumer, provider)
}

// WriteText writes what g gathers in the text format: atomically into file or, if that is empty, into w.
func WriteText(g prometheus.Gatherer, file string, w io.Writer) error {
	if info, err := os.Lstat(file); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is there and no regular file, which alone can be replaced", file)
	}
	if file != "" {
		return prometheus.WriteToTextfile(file, g)
	}
	families, err := g.Gather()
	for _, f := range families {
		if _, encodeErr := expfmt.MetricFamilyToText(w, f); encodeErr != nil {
			return errors.Join(err, encodeErr) // once, not for each family
		}
	}
	return err
}

// Distinct leaves out of what g gathers the one family of Go's runtime that OpenMetrics would have twice: it calls the
// counter go_memstats_alloc_bytes_total by the name of this gauge, which go_memstats_heap_alloc_bytes equals.
func Distinct(g prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := g.Gather()
		return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "go_memstats_alloc_bytes" }), err
	})
}
