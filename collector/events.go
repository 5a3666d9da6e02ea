package collector

import (
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// Walked observes the duration of a complete walk, or counts a failed one.
func (c *Collector) Walked(took time.Duration, failed poller.Reason) {
	if failed == "" {
		c.events.pollDuration.Observe(took.Seconds())
	} else {
		c.events.pollFailures.WithLabelValues(string(failed)).Inc()
	}
}

// LiveFallback counts a live walk whose counts did not add up.
func (c *Collector) LiveFallback() { c.events.fallbacks.Inc() }

// Request counts an HTTP attempt of the API.
func (c *Collector) Request(operation, code string, took time.Duration) {
	c.events.requests.WithLabelValues(operation, code).Inc()
	c.events.requestDuration.WithLabelValues(operation).Observe(took.Seconds())
}

// Retry counts a retried request.
func (c *Collector) Retry() { c.events.retries.Inc() }

// Throttled counts a throttled request.
func (c *Collector) Throttled() { c.events.throttled.Inc() }

// Waited adds waiting time before a request.
func (c *Collector) Waited(cause string, d time.Duration) {
	c.events.wait.WithLabelValues(cause).Add(d.Seconds())
}

// AccessToken sets the expiration of the exporter's access token.
func (c *Collector) AccessToken(expires time.Time) {
	c.events.tokenExpiration.WithLabelValues().Set(float64(expires.UnixMilli()) / 1000)
}

// AccessTokenFailed counts a failed request for an access token.
func (c *Collector) AccessTokenFailed(r poller.Reason) {
	c.events.tokenFailures.WithLabelValues(string(r)).Inc()
}

// PageSize sets the requested tokens per page.
func (c *Collector) PageSize(n int) { c.events.pageSize.WithLabelValues().Set(float64(n)) }

// Skew sets the Date of the server minus the local time.
func (c *Collector) Skew(d time.Duration) { c.events.skew.WithLabelValues().Set(d.Seconds()) }

// Instance sets the IDaaS instance and the developer API in use.
func (c *Collector) Instance(id, endpoint string) {
	c.events.instance.Reset()
	c.events.instance.WithLabelValues(id, endpoint).Set(1)
}

// Reloaded records a load of the targets; err is nil if it succeeded.
func (c *Collector) Reloaded(err error) { c.record(c.events.reload, err) }

// StateSaved records a write of the state file; err is nil if it succeeded.
func (c *Collector) StateSaved(err error) { c.record(c.events.state, err) }

// Discovered records that a list was read; err is nil if it is in use.
func (c *Collector) Discovered(list poller.List, err error) { c.record(c.events.discovery[list], err) }

// NotDiscovering removes the metrics of a list that is not needed.
func (c *Collector) NotDiscovering(list poller.List) {
	c.events.discovery[list].ok.Reset()
	c.events.discovery[list].when.Reset()
}

func (c *Collector) record(o outcome, err error) {
	if err != nil {
		o.ok.WithLabelValues().Set(0)
		return
	}
	o.ok.WithLabelValues().Set(1)
	o.when.WithLabelValues().Set(float64(c.now().UnixMilli()) / 1000)
}
