package check

import (
	"net/http"
	"strings"
	"testing"
	"time"

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

// Whether live walks can be trusted is found out, whatever an instance does with what they ask.
func TestLiveWalkIsComparedWithTheFullOne(t *testing.T) {
	now := time.Now()
	dead := []simulator.Token{{ID: "e", Expires: now.Add(-time.Hour)}, {ID: "r1", Revoked: true}, {ID: "r2", Revoked: true, Expires: now.Add(-time.Hour)}}
	for _, tt := range []struct {
		name   string
		config simulator.Config
		wrap   []func(http.Handler) http.Handler
		dead   []simulator.Token
		status Status
		detail string
	}{
		{"as documented", simulator.Config{}, nil, dead, OK, "the same as the full walk for 2 of 2 targets, with 8 requests instead of 2"},
		{"nothing dead", simulator.Config{}, nil, nil, Warning, "that shows nothing"},
		{"no totalCount", simulator.Config{OmitTotalCount: true}, nil, dead, Failed, "no totalCount"},
		{"revoked is ignored", simulator.Config{}, []func(http.Handler) http.Handler{without("revoked")}, dead, Failed, "the count of revoked tokens: it contains other tokens"},
		{"expired is ignored", simulator.Config{}, []func(http.Handler) http.Handler{without("expired")}, dead, Failed, "it lists revoked or expired tokens as active"},
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
			if last.Step != stepLive || last.Status != tt.status || !strings.Contains(last.Detail, tt.detail) || (last.Advice == "") != (tt.status == OK) {
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
