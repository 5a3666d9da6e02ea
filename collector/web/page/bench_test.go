package page

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// many returns a snapshot of 5,000 targets with 200 tokens each.
func many(now time.Time) *poller.Snapshot {
	s := &poller.Snapshot{Schedules: []poller.Timing{{Last: now.Add(-time.Minute), Next: now.Add(4 * time.Minute), Interval: 5 * time.Minute}}}
	windows := []poller.Window{
		{Label: "1h", Duration: time.Hour}, {Label: "1d", Duration: day}, {Label: "7d", Duration: 7 * day}, {Label: "30d", Duration: 30 * day},
	}
	for i := range 5000 {
		c := &poller.Census{
			Expired: 50, Revoked: 20, Lifetime: (30 * day).Milliseconds(), Reported: 270, ReadAt: now.Add(-time.Minute), History: steady(now),
		}
		for j := range 200 {
			c.Expirations = append(c.Expirations, now.Add(time.Duration((j+1)*(i%7+1))*time.Hour).UnixMilli())
		}
		for j := range 10 {
			id := fmt.Sprintf("atntkn_01kbd571eadf0db21ae%06d%02d", i, j)
			c.Soonest = append(c.Soonest, poller.Expiry{ID: id, Type: "jwt", Issued: now.UnixMilli(), Expires: c.Expirations[j]})
		}
		target := poller.Target{Label: fmt.Sprintf("consumer-%04d", (i*7919)%5000), Provider: fmt.Sprintf("provider_%d", i%9), Windows: windows}
		s.Readings = append(s.Readings, &poller.Reading{Target: target, Census: c})
	}
	return s
}

func BenchmarkFiveThousandTargets(b *testing.B) {
	s := many(time.Now())
	page, api := New(Config{Snapshot: func() *poller.Snapshot { return s }})
	for _, bb := range []struct {
		name, path string
		handler    http.Handler
	}{
		{"page", "/", page},
		{"search", "/?q=consumer-49&sort=name", page},
		{"last page", "/?offset=4950&sort=next", page},
		{"JSON, 50", "/?limit=50&sort=last", api},
		{"JSON, all", "/", api},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				w := httptest.NewRecorder()
				bb.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, bb.path, nil))
				if w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
				b.ReportMetric(float64(w.Body.Len()), "bytes")
			}
		})
	}
}
