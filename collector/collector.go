package collector

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Config of a Collector.
type Config struct {
	RateLimit              float64       // requests per second of this process
	MaxStaleness           time.Duration // age of a census, at least three intervals, after which token series are dropped; 0: never
	ShardIndex, ShardCount int
}

// Collector is a prometheus.Collector of all idaas_ metrics except the build info, and records events, among them those of idaas.Events.
// All methods are safe for concurrent use, and none waits for a walk.
type Collector struct {
	*events
	snapshot     func() *poller.Snapshot
	maxStaleness time.Duration
}

// New returns a Collector that calls snapshot at each scrape. Every counter starts at 0.
func New(c Config, snapshot func() *poller.Snapshot) *Collector {
	e := newEvents(c)
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
	return &Collector{events: e, snapshot: snapshot, maxStaleness: c.MaxStaleness}
}

// Describe sends every description.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		ch <- d
	}
	c.registry.Describe(ch)
}

// Collect sends the facts of one snapshot, computed for one moment.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s, now := c.snapshot(), c.now()
	for _, r := range s.Readings {
		send := sender{ch, prometheus.MakeLabelPairs(tokens, []string{r.Target.Label, r.Target.Provider})}
		send.walks(r)
		every := s.Interval(r)
		send.gauge(targetInterval, every.Seconds())
		status := r.Status(now, every)
		send.gauge(state, 1, &dto.LabelPair{Name: &stateLabel, Value: new(string(status.State))})
		send.timestamp(stateSince, status.Since)
		if r.Census != nil && (!r.Target.Found || status.State != poller.Empty) {
			stale := c.maxStaleness > 0 && now.Sub(r.Census.ReadAt) > max(c.maxStaleness, 3*every)
			send.facts(r, status, now, stale)
		}
	}
	send := sender{ch: ch}
	send.gauge(pollTargets, float64(len(s.Readings)))
	send.gauge(inProgress, float64(s.InProgress))
	if s.Unwatched != nil {
		send.gauge(unwatched, float64(len(s.Unwatched)))
	}
	for i := range s.Schedules {
		send.schedule(&s.Schedules[i], now)
	}
	c.registry.Collect(ch)
}

// sender sends series, with the labels of a target if it has one.
type sender struct {
	ch     chan<- prometheus.Metric
	target []*dto.LabelPair
}

// series is a gauge that shares the labels of its target. Const metrics copy them: a scrape then allocates three times as often
// and takes 1.5 times as long.
type series struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair
	value  float64
	gauge  dto.Gauge
}

func (s *series) Desc() *prometheus.Desc { return s.desc }

func (s *series) Write(m *dto.Metric) error {
	m.Label, m.Gauge = s.labels, &s.gauge
	return nil
}

// gauge sends a series. Other labels have names that sort after those of the target.
func (s sender) gauge(d *prometheus.Desc, v float64, others ...*dto.LabelPair) {
	m := &series{desc: d, labels: append(s.target[:len(s.target):len(s.target)], others...), value: v}
	m.gauge.Value = &m.value
	s.ch <- m
}

// timestamp sends Unix milliseconds as seconds, unless they are 0: unknown.
func (s sender) timestamp(d *prometheus.Desc, ms int64) {
	if ms > 0 {
		s.gauge(d, float64(ms)/1000)
	}
}

// walks sends the results of the walks of a target.
func (s sender) walks(r *poller.Reading) {
	switch {
	case r.Failure != nil:
		s.gauge(pollSuccess, 0)
		s.gauge(pollError, 1, &dto.LabelPair{Name: &reason, Value: new(string(r.Failure.Reason))})
	case r.Attempted():
		s.gauge(pollSuccess, 1)
	}
	if c := r.Census; c != nil {
		s.timestamp(lastSuccess, c.ReadAt.UnixMilli())
		if c.Reported >= 0 {
			s.gauge(reported, float64(c.Reported))
		}
	}
}

// facts sends the census of a target at now, and the causes of its state. A stale one has no token series: unknown is not zero.
func (s sender) facts(r *poller.Reading, status poller.Status, now time.Time, stale bool) {
	c, at := r.Census, r.Census.At(now)
	s.timestamp(lastActive, at.LastActive)
	if i := c.Info; i != nil {
		s.ch <- prometheus.MustNewConstMetric(targetInfo, prometheus.GaugeValue, 1,
			r.Target.Label, r.Target.Provider, i.ProviderID, i.TokenType, i.ConsumerType)
	}
	if stale {
		return
	}
	s.gauge(tokens, float64(at.Total))
	s.gauge(active, float64(at.Active))
	s.gauge(expired, float64(at.Expired))
	s.gauge(revoked, float64(at.Revoked))
	for i := range r.Target.Windows {
		w := &r.Target.Windows[i]
		s.gauge(expiring, float64(at.Expiring(w.Duration)), &dto.LabelPair{Name: &within, Value: &w.Label})
	}
	s.gauge(withoutExpiration, float64(at.NeverExpiring))
	s.timestamp(earliest, at.Earliest)
	s.timestamp(latest, at.Latest)
	s.timestamp(lifetime, c.Lifetime)
	s.timestamp(newestIssue, c.NewestIssue)
	s.timestamp(historyStart, status.HistoryStart)
	if status.UsualPause >= 0 {
		s.gauge(usualPause, float64(status.UsualPause)/1000)
	}
	s.timestamp(nextExpected, status.NextExpected)
	s.timestamp(renewalExpected, status.RenewalExpected)
}

// schedule sends where one schedule stands.
func (s sender) schedule(t *poller.Timing, now time.Time) {
	label := &dto.LabelPair{Name: &scheduleLabel, Value: &t.Schedule.Text}
	lagging := time.Duration(0)
	if !t.Oldest.IsZero() {
		lagging = max(0, now.Sub(t.Oldest))
	}
	s.gauge(lastCycle, float64(t.Last.UnixMilli())/1000, label)
	s.gauge(nextCycle, float64(t.Next.UnixMilli())/1000, label)
	s.gauge(interval, t.Next.Sub(t.Last).Seconds(), label)
	s.gauge(lag, lagging.Seconds(), label)
	s.gauge(scheduleTargets, float64(t.Targets), label)
	s.ch <- prometheus.MustNewConstMetric(cycles, prometheus.CounterValue, float64(t.Cycles), t.Schedule.Text)
	s.ch <- prometheus.MustNewConstMetric(skipped, prometheus.CounterValue, float64(t.Skipped), t.Schedule.Text)
}

// WriteText gathers g and writes the text format atomically into file or, if that is empty, into w.
func WriteText(g prometheus.Gatherer, file string, w io.Writer) error {
	if info, err := os.Lstat(file); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: only a regular file can be replaced", file)
	}
	if file != "" {
		return prometheus.WriteToTextfile(file, g)
	}
	families, err := g.Gather()
	for _, f := range families {
		if _, encodeErr := expfmt.MetricFamilyToText(w, f); encodeErr != nil {
			return errors.Join(err, encodeErr) // one error, not one for each family
		}
	}
	return err
}

// Distinct removes go_memstats_alloc_bytes, whose name in OpenMetrics is also that of the counter go_memstats_alloc_bytes_total.
// go_memstats_heap_alloc_bytes has the same value.
func Distinct(g prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := g.Gather()
		return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "go_memstats_alloc_bytes" }), err
	})
}
