package release

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

// TestRelease looks at what a release would be.
func TestRelease(t *testing.T) {
	e2e.Command(t, nil, e2e.Tool(t, "goreleaser"), "check", "deploy/goreleaser.yaml")
	dist := e2e.Snapshot(t, "0.9.1")
	e2e.Command(t, nil, "sh", "-c", "cd "+dist+" && sha256sum --check --strict checksums.txt")
	checksums := e2e.ReadFile(t, dist+"/checksums.txt")
	for _, arch := range []string{"amd64", "arm64"} {
		for _, kind := range []string{".tar.gz", ".deb", ".rpm", ".cdx.json"} {
			if name := filepath.Base(e2e.One(t, dist+"/*_linux_"+arch+kind)); !strings.Contains(checksums, name) {
				t.Errorf("no checksum of %s", name)
			}
		}
		var bom struct {
			Components []struct{ Name string }
		}
		if err := json.Unmarshal([]byte(e2e.ReadFile(t, e2e.One(t, dist+"/*_linux_"+arch+".cdx.json"))), &bom); err != nil || len(bom.Components) < 10 {
			t.Errorf("%d components in the bill of materials (%v)", len(bom.Components), err)
		}
		listed := e2e.Command(t, nil, "tar", "-tzf", e2e.One(t, dist+"/*_linux_"+arch+".tar.gz"))
		for _, file := range []string{"idaas-token-exporter", "LICENSE", "README.md", "deploy/prometheus/rules.yaml", "deploy/systemd/idaas-token-exporter.service", "dashboards/idaas-tokens.json"} {
			if !strings.Contains("\n"+listed, "\n"+file+"\n") {
				t.Errorf("the archive has no %s:\n%s", file, listed)
			}
		}
	}
}
