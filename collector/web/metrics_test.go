package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// A request without a response after 30 s gets status 503; the health endpoints need no slot.
func TestRequestsWithoutASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := plain()
		release := make(chan struct{})
		c.Gatherer = blocking(release)
		all, _ := handlers(t, c)

		blocked := make(chan *httptest.ResponseRecorder, 1)
		go func() { blocked <- ask(all, "GET", "/metrics") }()
		synctest.Wait()
		for _, path := range []string{"/metrics", "/", "/api/v1/targets"} {
			since := time.Now()
			w := ask(all, "GET", path)
			if w.Code != 503 || time.Since(since) != maxWait || !strings.Contains(w.Body.String(), "busy: timed out after 30s") {
				t.Errorf("%s: %d %s after %v", path, w.Code, w.Body, time.Since(since))
			}
		}
		for _, path := range []string{"/-/healthy", "/-/ready"} {
			if w := ask(all, "GET", path); w.Code != 200 {
				t.Errorf("%s: %d, want 200", path, w.Code)
			}
		}
		// A client that closes its connection leaves the queue.
		gone, leave := context.WithCancel(t.Context())
		leave()
		since := time.Now()
		all.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(gone, "GET", "/metrics", nil))
		if time.Since(since) != 0 {
			t.Errorf("a client that closed its connection: after %v", time.Since(since))
		}

		waiting := make(chan *httptest.ResponseRecorder)
		go func() { waiting <- ask(all, "GET", "/metrics") }()
		synctest.Wait()
		close(release)
		if w := <-blocked; w.Code != 200 {
			t.Errorf("with the slot: %d, want 200", w.Code)
		}
		if w := <-waiting; w.Code != 200 {
			t.Errorf("after the slot is free: %d, want 200", w.Code)
		}
	})
}

// Accept headers of Prometheus with and without native histograms.
const (
	acceptNative = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6," + acceptText
	acceptText   = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4," +
		"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)

// histogram returns a configuration with one histogram, classic and native.
func histogram() Config {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "idaas_test_seconds", Help: "For the test.", Buckets: []float64{1}, NativeHistogramBucketFactor: 1.1,
	})
	h.Observe(0.5)
	registry := prometheus.NewRegistry()
	registry.MustRegister(h)
	c := plain()
	c.Gatherer = registry
	return c
}

func TestFormats(t *testing.T) {
	all, _ := handlers(t, histogram())
	for _, tt := range []struct {
		name, accept, encoding string
		contentType            string
		end                    string // of the exposition
	}{
		{"a browser", "text/html,*/*;q=0.8", "", "text/plain; version=0.0.4", "idaas_test_seconds_count 1\n"},
		{"no header", "", "", "text/plain; version=0.0.4", "idaas_test_seconds_count 1\n"},
		{"OpenMetrics", acceptText, "", "application/openmetrics-text; version=1.0.0", "# EOF\n"},
		{"OpenMetrics, gzip", acceptText, "gzip", "application/openmetrics-text; version=1.0.0", "# EOF\n"},
		{"text, gzip", "text/plain", "gzip", "text/plain; version=0.0.4", "idaas_test_seconds_count 1\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := ask(all, "GET", "/metrics", "Accept", tt.accept, "Accept-Encoding", tt.encoding)
			if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, tt.contentType) {
				t.Errorf("Content-Type %q, want %q", got, tt.contentType)
			}
			if body := decompressed(t, w, tt.encoding); !strings.HasSuffix(body, tt.end) {
				t.Errorf("does not end in %q:\n%s", tt.end, body)
			}
		})
	}
}

func TestNativeHistogramInProtobuf(t *testing.T) {
	all, _ := handlers(t, histogram())
	for _, encoding := range []string{"", "gzip"} {
		w := ask(all, "GET", "/metrics", "Accept", acceptNative, "Accept-Encoding", encoding)
		format := expfmt.ResponseFormat(w.Header())
		if format.FormatType() != expfmt.TypeProtoDelim {
			t.Fatalf("Content-Type %q, want delimited protobuf", w.Header().Get("Content-Type"))
		}
		var family dto.MetricFamily
		if err := expfmt.NewDecoder(strings.NewReader(decompressed(t, w, encoding)), format).Decode(&family); err != nil {
			t.Fatal(err)
		}
		h := family.GetMetric()[0].GetHistogram()
		if family.GetName() != "idaas_test_seconds" || len(h.GetPositiveSpan()) == 0 || len(h.GetBucket()) == 0 {
			t.Errorf("%v, want a histogram with native and classic buckets", &family)
		}
	}
}

func decompressed(t *testing.T, w *httptest.ResponseRecorder, encoding string) string {
	t.Helper()
	if got := w.Header().Get("Content-Encoding"); got != encoding {
		t.Fatalf("Content-Encoding %q, want %q", got, encoding)
	}
	if encoding == "" {
		return w.Body.String()
	}
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestFailedGatheringIsLogged(t *testing.T) {
	var log bytes.Buffer
	c := plain()
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	c.Gatherer = prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return nil, errors.New("two series alike") })
	all, _ := handlers(t, c)
	if w := ask(all, "GET", "/metrics"); w.Code != 500 {
		t.Errorf("%d, want 500", w.Code)
	}
	for _, want := range []string{"level=ERROR", "two series alike"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log %q lacks %q", log.String(), want)
		}
	}
}
