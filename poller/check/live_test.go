package check

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

func without(parameter string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query := r.URL.Query()
			query.Del(parameter)
			r.URL.RawQuery = query.Encode()
			next.ServeHTTP(w, r)
		})
	}
}

// The comparison detects whether live walks are correct, for each API behaviour.
func TestLiveWalkIsCompared(t *testing.T) {
	now := time.Now()
	dead := []simulator.Token{
		{ID: "e", Expires: now.Add(-time.Hour)},
		{ID: "r1", Revoked: true},
		{ID: "r2", Revoked: true, Expires: now.Add(-time.Hour)},
	}
	for _, tt := range []struct {
		name   string
		config simulator.Config
		wrap   []func(http.Handler) http.Handler
		dead   []simulator.Token
		status Status
		detail string
	}{
		{"as documented", simulator.Config{}, nil, dead, OK, "the same as the full walk for 2 of 2 targets, with 8 requests instead of 2"},
		{"nothing dead", simulator.Config{}, nil, nil, Warning, "but none has an expired or revoked token"},
		{"no totalCount", simulator.Config{OmitTotalCount: true}, nil, dead, Failed, "no totalCount"},
		{
			"revoked is ignored",
			simulator.Config{},
			[]func(http.Handler) http.Handler{without("revoked")},
			dead, Failed,
			"the count of revoked tokens: it contains other tokens",
		},
		{
			"expired is ignored",
			simulator.Config{},
			[]func(http.Handler) http.Handler{without("expired")},
			dead, Failed,
			"it lists revoked or expired tokens as active",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.config, tt.wrap...)
			w.Config.Live = true
			for i, target := range w.Config.Targets {
				target.Consumer += "_live"
				w.Config.Targets[i] = target
				all := append([]simulator.Token{{ID: "a", Expires: now.Add(time.Hour)}}, tt.dead...)
				for j := range all {
					all[j].ID = target.Consumer + all[j].ID
				}
				w.Add(target.Consumer, target.Provider, all...)
			}
			report := Run(t.Context(), w.Config)
			last := report.Findings[len(report.Findings)-1]
			if last.Step != stepLive || last.Status != tt.status || !strings.Contains(last.Detail, tt.detail) ||
				(last.Advice == "") != (tt.status == OK) {
				t.Errorf("%+v", last)
			}
			w.Config.Live = false
			for _, f := range Run(t.Context(), w.Config).Findings {
				if f.Step == stepLive {
					t.Errorf("compared though nobody asked: %+v", f)
				}
			}
		})
	}
}

// inMemory is a transport to an API in the same bubble.
type inMemory struct{ http.Handler }

func (h inMemory) RoundTrip(r *http.Request) (response *http.Response, err error) {
	if r = r.Clone(r.Context()); r.Body == nil {
		r.Body = http.NoBody
	}
	defer func() {
		if recover() != nil {
			response, err = nil, cmp.Or(r.Context().Err(), io.ErrUnexpectedEOF)
		}
	}()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// A comparison ends after 100 pages or at the timeout, whatever number the API returns, and reports its progress.
func TestComparisonEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		latency, timeout time.Duration
		all, endless     bool
		status           Status
		detail           string
		requests, lines  int // at most; at least
	}{
		"short":        {0, time.Hour, false, false, OK, "the same as the full walk for 1 of 1 targets", 12, 0},
		"slow":         {12 * time.Second, time.Hour, false, false, OK, "the same as the full walk", 12, 7},
		"endless":      {0, time.Hour, false, true, Warning, "not compared: no target was read that has at most 100 pages", 110, 0},
		"slow endless": {3 * time.Second, time.Minute, false, true, Failed, "not finished within 1m0s", 30, 5},
		"all":          {3 * time.Second, time.Minute, true, true, Failed, "not finished within 1m0s", 40, 7},
	} {
		t.Run(name, func(t *testing.T) {
			user := simulator.RAMUser{AccessKeyID: "LTAI-check", AccessKeySecret: "planted-ram-secret"}
			c := newRAMWorld(t, user, nil).Config
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)))
				config := simulator.Config{Clients: []simulator.Client{{ID: testClient}}, Latency: tt.latency, BaseURL: c.Client.Endpoint}
				n := 10
				if tt.endless {
					n, config.Total = 1<<30, simulator.OfPage
				}
				sim, expires := simulator.New(simulator.WithRAM(config, user)), time.Now().Add(time.Hour)
				defer sim.Close()
				c.Targets = c.Targets[1:] // whose consumer is hidden
				for _, target := range append(slices.Clone(c.Targets), poller.Target{Consumer: "app_all", Provider: "new_jwt"}) {
					sim.Generate(target.Consumer, target.Provider, n, func(i int) simulator.Token {
						return simulator.Token{ID: fmt.Sprint(target.Consumer, i), Revoked: i%2 == 0, Expires: expires}
					})
				}
				if tt.all {
					c.Watch = watch{given: c.Targets}
				}
				var progress strings.Builder
				c.Live, c.Timeout, c.Progress = true, tt.timeout, &progress
				c.Client.Transport, c.Client.PageSize, c.Client.Timeout, c.Client.RateLimit = inMemory{sim}, 10, time.Minute, 1e6
				start := time.Now()
				report := Run(t.Context(), c)
				last := report.Findings[len(report.Findings)-1]
				if last.Step != stepLive || last.Status != tt.status || !strings.Contains(last.Detail, tt.detail) {
					t.Errorf("%+v", report.Findings)
				}
				if n := sim.Requests(simulator.List); n > tt.requests {
					t.Errorf("%d requests, want %d at most", n, tt.requests)
				}
				lines := strings.Count(progress.String(), "\n")
				if want := int(time.Since(start) / (10 * time.Second)); lines < tt.lines || lines > want || want-lines > 1 {
					t.Errorf("%d lines in %v:\n%s", lines, time.Since(start), &progress)
				}
				compared := strings.Contains(progress.String(), "comparing walks of target 1 of ")
				if strings.Contains(progress.String(), testPerson) || tt.lines > 0 && !compared {
					t.Errorf("progress:\n%s", &progress)
				}
			})
		})
	}
}
