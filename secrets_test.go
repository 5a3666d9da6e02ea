package main

import (
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// No fault of the API shows a secret or an access token in the metrics or in the log at level debug.
func TestNoFaultShowsASecret(t *testing.T) {
	for _, operation := range []string{simulator.List, simulator.Access} {
		for _, kind := range simulator.AllFaults() {
			t.Run(operation+" "+kind.String(), func(t *testing.T) {
				t.Parallel()
				sim, environ := startSimulator(t, simulator.Config{})
				sim.Add("a", "p", simulator.Token{ID: "1"})
				sim.Inject(simulator.Fault{Operation: operation, Kind: kind})
				_, stdout, stderr := command(t, append(environ, "IDAAS_TARGETS=a:p", "IDAAS_LOG_LEVEL=debug", "IDAAS_REQUEST_TIMEOUT=500ms",
					"IDAAS_POLL_TIMEOUT=2s"), "once")
				secrets := []string{secret}
				for _, r := range sim.Log() {
					if r.AccessToken != "" {
						secrets = append(secrets, r.AccessToken)
					}
				}
				for _, s := range secrets {
					if strings.Contains(stdout+stderr, s) {
						t.Errorf("%q is shown in\n%s%s", s, stderr, stdout)
					}
				}
				if !strings.Contains(stdout, "idaas_poll_success") {
					t.Errorf("no metrics:\n%s", stdout)
				}
			})
		}
	}
}
