package witness

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

// TestWitnessProviders has both clients list the credential providers, over several pages: they must find the same, by the same
// requests, but for what witnessDifferences has.
func TestWitnessProviders(t *testing.T) {
	w := newWitnessed(t)
	env := w.giveRAM("the-token-of-a-session")
	w.serve(t, simulator.Client{Secret: witnessSecret}, 0)
	for i := range 230 {
		w.sim.SetProvider(simulator.Provider{Identifier: fmt.Sprintf("provider-%03d", i), Type: []string{"jwt", "oauth"}[i%2], Disabled: i%23 == 0})
	}
	var answer struct {
		Total int
		Found [][3]string
	}
	w.python(t, env, map[string]any{"do": "providers", "endpoint": strings.TrimPrefix(w.server.URL, "https://"), "instance": "idaas_witness"}, &answer)
	theirs := w.sent()
	if want := 230 + 1; answer.Total != want || len(answer.Found) != want {
		t.Errorf("the vendor's client finds %d, and is told of %d, want %d", len(answer.Found), answer.Total, want)
	}

	targets := filepath.Join(t.TempDir(), "targets.yaml")
	e2e.WriteFile(t, targets, "targets: [{consumer: anybody, credential_providers: all}]\n")
	text := w.once(t, append(env, "IDAAS_CA_FILE="+w.trusted, "IDAAS_TARGETS_FILE="+targets, "IDAAS_RATE_LIMIT=1000", "IDAAS_AUTH_METHOD=client_secret_post",
		"IDAAS_CLIENT_SECRET="+witnessSecret, "CLOUD_IDAAS_CONFIG_PATH="+w.vendorFile(t, map[string]string{"authnMethod": "CLIENT_SECRET_POST"})))
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
	for _, p := range answer.Found {
		watched := strings.Contains(text, fmt.Sprintf("idaas_authentication_tokens{consumer=\"anybody\",credential_provider=%q} ", p[0]))
		if watched != (p[2] == "enabled") {
			t.Errorf("%s: watched is %v", p, watched)
		}
	}
}
