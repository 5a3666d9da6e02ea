package witness

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// list has the vendor's client and the exporter read a list, with these entries of the targets file. The requests must be equal, but
// for what witnessDifferences has. It returns what the vendor's client found and the metrics of the exporter.
func (w *witnessed) list(t *testing.T, env []string, list, entries string, total int) (found [][4]string, metrics string) {
	t.Helper()
	var answer struct {
		Total int
		Found [][4]string
	}
	endpoint := strings.TrimPrefix(w.server.URL, "https://")
	w.python(t, env, map[string]any{"do": list, "endpoint": endpoint, "instance": "idaas_witness"}, &answer)
	theirs := w.sent()
	if answer.Total != total || len(answer.Found) != total {
		t.Errorf("the vendor's client finds %d of a total of %d, want %d", len(answer.Found), answer.Total, total)
	}
	targets := filepath.Join(t.TempDir(), "targets.yaml")
	e2e.WriteFile(t, targets, "targets: ["+entries+"]\n")
	metrics = w.once(t, append(env, "IDAAS_CA_FILE="+w.trusted, "IDAAS_TARGETS_FILE="+targets, "IDAAS_RATE_LIMIT=1000",
		"IDAAS_CONSUMER_LABEL=id", "IDAAS_AUTH_METHOD=client_secret_post", "IDAAS_CLIENT_SECRET="+witnessSecret,
		"CLOUD_IDAAS_CONFIG_PATH="+w.vendorFile(t, map[string]string{"authnMethod": "CLIENT_SECRET_POST"})))
	var ours []*sentRequest
	for _, r := range w.sent() {
		if r.kind() == "signed" {
			ours = append(ours, r)
		}
	}
	if len(ours) != len(theirs) || len(ours) != 3 {
		t.Errorf("%d requests, the vendor's client sends %d, want 3", len(ours), len(theirs))
	}
	w.compare(t, theirs, ours, map[string]bool{})
	return answer.Found, metrics
}

// TestWitnessProviders: both clients list the same credential providers, over several pages.
func TestWitnessProviders(t *testing.T) {
	w := newWitnessed(t)
	env := w.giveRAM("the-token-of-a-session")
	w.serve(t, simulator.Client{Secret: witnessSecret}, 0)
	for i := range 230 {
		w.sim.SetProvider(simulator.Provider{
			Identifier: fmt.Sprintf("provider-%03d", i), Type: []string{"jwt", "oauth"}[i%2], Disabled: i%23 == 0,
		})
	}
	found, text := w.list(t, env, "providers", "{consumer: anybody, credential_providers: all}", 230+1)
	for _, p := range found {
		watched := strings.Contains(text, fmt.Sprintf("idaas_target_state{consumer=\"anybody\",credential_provider=%q,", p[0]))
		if watched != (p[3] == "enabled") {
			t.Errorf("%s: watched is %v", p, watched)
		}
	}
}

// TestWitnessApplications: both clients list the same applications, over several pages.
func TestWitnessApplications(t *testing.T) {
	w := newWitnessed(t)
	env := w.giveRAM("the-token-of-a-session")
	w.serve(t, simulator.Client{Secret: witnessSecret}, 0)
	for i := range 250 {
		w.sim.SetApplication(simulator.Application{
			ID: fmt.Sprintf("app_%03d", i), Name: fmt.Sprintf("prod 应用 %d", i), Identity: []string{"application", "agent"}[i%2], Disabled: i%25 == 0,
		})
	}
	w.sim.SetProvider(simulator.Provider{Identifier: "listed"})
	found, text := w.list(t, env, "applications", "{consumers: {match: '^prod 应用', identity: agent}, credential_providers: [listed]}", 240)
	for _, a := range found {
		watched := strings.Contains(text, fmt.Sprintf("idaas_poll_success{consumer=%q,credential_provider=\"listed\"} 1", a[0]))
		if watched != (a[2] == "agent") || !strings.HasPrefix(a[1], "prod 应用 ") || a[3] != "enabled" {
			t.Errorf("%s: watched is %v", a, watched)
		}
	}
	if !strings.Contains(text, "idaas_consumers_unwatched 120\n") {
		t.Error("the unwatched")
	}
}
