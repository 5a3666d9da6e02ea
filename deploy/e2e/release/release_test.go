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
		bill := e2e.ReadFile(t, e2e.One(t, dist+"/*_linux_"+arch+".cdx.json"))
		if err := json.Unmarshal([]byte(bill), &bom); err != nil || len(bom.Components) < 10 {
			t.Errorf("%d components in the bill of materials (%v)", len(bom.Components), err)
		}
		listed := e2e.Command(t, nil, "tar", "-tzf", e2e.One(t, dist+"/*_linux_"+arch+".tar.gz"))
		for _, file := range []string{
			"idaas-token-exporter", "LICENSE", "README.md",
			"deploy/prometheus/rules.yaml", "deploy/systemd/idaas-token-exporter.service", "dashboards/idaas-tokens.json",
		} {
			if !strings.Contains("\n"+listed, "\n"+file+"\n") {
				t.Errorf("the archive has no %s:\n%s", file, listed)
			}
		}
	}
}

// TestReproducible: the same commit makes the same files, in another folder, at another time, with another umask, host name and time zone.
func TestReproducible(t *testing.T) {
	first := e2e.Snapshot(t, "0.9.1")
	second, err := e2e.Release(t, "0.9.1", "umask 077; hostname other", []string{"TZ=Asia/Shanghai"}, "unshare", "--uts")
	if err != nil {
		t.Fatal(err)
	}
	want, got := e2e.ReadFile(t, first+"/checksums.txt"), e2e.ReadFile(t, second+"/checksums.txt")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		listed := e2e.Command(t, nil, "tar", "-tvzf", e2e.One(t, second+"/*_linux_"+arch+".tar.gz"))
		for line := range strings.Lines(listed) {
			if !strings.HasPrefix(line, "-rw-r--r-- root/root ") && !strings.HasPrefix(line, "-rwxr-xr-x root/root ") {
				t.Errorf("not for every user: %s", line)
			}
		}
	}
}
