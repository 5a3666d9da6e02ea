package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// Prometheus is a running Prometheus.
type Prometheus struct {
	*Process
	Address string
}

// StartPrometheus returns a Prometheus that is ready; it ends with the test.
func StartPrometheus(t testing.TB, configFile string, flags ...string) *Prometheus {
	t.Helper()
	p := &Prometheus{Address: FreeAddress(t)}
	p.Process = Start(t, nil, Tool(t, "prometheus"), slices.Concat([]string{
		"--config.file=" + configFile,
		"--storage.tsdb.path=" + filepath.Join(t.TempDir(), "data"),
		"--web.listen-address=" + p.Address,
	}, flags)...)
	WaitFor(t, "http://"+p.Address+"/-/ready")
	return p
}

// Api asks the HTTP API of Prometheus.
func (p *Prometheus) Api(ctx context.Context, path string, query url.Values, into any) error {
	body, err := Get(ctx, "http://"+p.Address+"/api/v1/"+path+"?"+query.Encode())
	if err != nil {
		return err
	}
	answer := struct {
		Data any `json:"data"`
	}{into}
	return json.Unmarshal([]byte(body), &answer)
}

// sample is one series of an instant query; Value is NaN for a native histogram.
type sample struct {
	Labels map[string]string
	Value  float64
}

// Vector is the result of a query as the API sends it.
type Vector struct {
	Result []struct {
		Metric    map[string]string  `json:"metric"`
		Value     [2]json.RawMessage `json:"value"`
		Values    []json.RawMessage  `json:"values"`
		Histogram []json.RawMessage  `json:"histogram"`
	} `json:"result"`
}

// Query evaluates an expression now.
func (p *Prometheus) Query(ctx context.Context, expr string) ([]sample, error) {
	var v Vector
	if err := p.Api(ctx, "query", url.Values{"query": {expr}}, &v); err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	var samples []sample
	for _, r := range v.Result {
		s := sample{Labels: r.Metric}
		var text string
		if err := json.Unmarshal(r.Value[1], &text); err == nil {
			if s.Value, err = strconv.ParseFloat(text, 64); err != nil {
				return nil, err
			}
		}
		samples = append(samples, s)
	}
	return samples, nil
}

// Number evaluates an expression that has one series, or none: then it is an error.
func (p *Prometheus) Number(ctx context.Context, expr string) (float64, error) {
	samples, err := p.Query(ctx, expr)
	if err == nil && len(samples) != 1 {
		err = fmt.Errorf("%s: %d series, not one", expr, len(samples))
	}
	if err != nil {
		return 0, err
	}
	return samples[0].Value, nil
}
