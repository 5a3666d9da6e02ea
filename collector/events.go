package collector

import (
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Walked observes the duration of a complete walk, or counts a failed one.
func (e *events) Walked(took time.Duration, failed poller.Reason) {
	if failed == "" {
		e.pollDuration.Observe(took.Seconds())
	} else {
		e.pollFailures.WithLabelValues(string(failed)).Inc()
	}
}

// LiveFallback counts a live walk whose counts did not add up.
func (e *events) LiveFallback() { e.fallbacks.Inc() }

// The following are those of idaas.Events.

func (e *events) Request(operation, code string, took time.Duration) {
	e.requests.WithLabelValues(operation, code).Inc()
	e.requestDuration.WithLabelValues(operation).Observe(took.Seconds())
}

func (e *events) Retry()     { e.retries.Inc() }
func (e *events) Throttled() { e.throttled.Inc() }

func (e *events) Waited(cause string, d time.Duration) {
	e.wait.WithLabelValues(cause).Add(d.Seconds())
}

func (e *events) AccessToken(expires time.Time) {
	e.tokenExpiration.WithLabelValues().Set(float64(expires.UnixMilli()) / 1000)
}

func (e *events) AccessTokenFailed(r poller.Reason) {
	e.tokenFailures.WithLabelValues(string(r)).Inc()
}

func (e *events) PageSize(n int)       { e.pageSize.WithLabelValues().Set(float64(n)) }
func (e *events) Skew(d time.Duration) { e.skew.WithLabelValues().Set(d.Seconds()) }

func (e *events) Instance(id, endpoint string) {
	e.instance.Reset()
	e.instance.WithLabelValues(id, endpoint).Set(1)
}

// Reloaded records a load of the targets; err is nil if it succeeded.
func (e *events) Reloaded(err error) { e.record(e.reload, err) }

// StateSaved records a write of the state file; err is nil if it succeeded.
func (e *events) StateSaved(err error) { e.record(e.state, err) }

// Discovered records that a list was read; err is nil if it is in use.
func (e *events) Discovered(list poller.List, err error) { e.record(e.discovery[list], err) }

// NotDiscovering removes the metrics of a list that is not needed.
func (e *events) NotDiscovering(list poller.List) {
	e.discovery[list].ok.Reset()
	e.discovery[list].when.Reset()
}

func (e *events) record(o outcome, err error) {
	if err != nil {
		o.ok.WithLabelValues().Set(0)
		return
	}
	o.ok.WithLabelValues().Set(1)
	o.when.WithLabelValues().Set(float64(e.now().UnixMilli()) / 1000)
}
