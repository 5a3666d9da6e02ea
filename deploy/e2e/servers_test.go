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

// prometheus is a running Prometheus.
type prometheus struct {
	*process
	address string
}

func startPrometheus(t testing.TB, configFile string, flags ...string) *prometheus {
	t.Helper()
	p := &prometheus{address: freeAddress(t)}
	p.process = start(t, nil, tool(t, "prometheus"), slices.Concat([]string{
		"--config.file=" + configFile,
		"--storage.tsdb.path=" + filepath.Join(t.TempDir(), "data"),
		"--web.listen-address=" + p.address,
	}, flags)...)
	waitFor(t, "http://"+p.address+"/-/ready")
	return p
}

// startAlertmanager returns the address of a running Alertmanager.
func startAlertmanager(t testing.TB, configFile string) string {
	t.Helper()
	address := freeAddress(t)
	start(t, nil, tool(t, "alertmanager"),
		"--config.file="+configFile,
		"--storage.path="+filepath.Join(t.TempDir(), "data"),
		"--web.listen-address="+address,
		"--cluster.listen-address=", // without it there is a second listener, on every interface
	)
	waitFor(t, "http://"+address+"/-/ready")
	return address
}

// api asks the HTTP API of Prometheus.
func (p *prometheus) api(ctx context.Context, path string, query url.Values, into any) error {
	body, err := get(ctx, "http://"+p.address+"/api/v1/"+path+"?"+query.Encode())
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

type vector struct {
	Result []struct {
		Metric    map[string]string  `json:"metric"`
		Value     [2]json.RawMessage `json:"value"`
		Values    []json.RawMessage  `json:"values"`
		Histogram []json.RawMessage  `json:"histogram"`
	} `json:"result"`
}

// query evaluates an expression now.
func (p *prometheus) query(ctx context.Context, expr string) ([]sample, error) {
	var v vector
	if err := p.api(ctx, "query", url.Values{"query": {expr}}, &v); err != nil {
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

// number evaluates an expression that has one series, or none: then it is an error.
func (p *prometheus) number(ctx context.Context, expr string) (float64, error) {
	samples, err := p.query(ctx, expr)
	if err == nil && len(samples) != 1 {
		err = fmt.Errorf("%s: %d series, not one", expr, len(samples))
	}
	if err != nil {
		return 0, err
	}
	return samples[0].Value, nil
}

// alert is an alert as Prometheus knows it.
type alert struct {
	Labels map[string]string `json:"labels"`
	State  string            `json:"state"`
}

func (p *prometheus) alerts(ctx context.Context) ([]alert, error) {
	var data struct {
		Alerts []alert `json:"alerts"`
	}
	err := p.api(ctx, "alerts", nil, &data)
	return data.Alerts, err
}
