package bench

import (
	"os"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

func TestMain(m *testing.M) {
	if peer := os.Getenv("E2E_PEER"); peer != "" {
		os.Exit(runPeer(peer))
	}
	os.Exit(e2e.Main(m))
}
