package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var snapshots sync.Map // version → func() (string, error)

// snapshot returns a folder with what a release of this tree would be, if it had that version.
func snapshot(t *testing.T, version string) string {
	t.Helper()
	build, _ := snapshots.LoadOrStore(version, sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "idaas-e2e-release-")
		if err != nil {
			return "", err
		}
		made = append(made, dir)
		tools, err := filepath.Abs(root + "/.tools/bin")
		if err != nil {
			return "", err
		}
		// Images need a registry, signatures an identity; image_test.go builds the Dockerfile.
		env := []string{"PATH=" + tools + ":" + os.Getenv("PATH"), "SNAPSHOT=" + version}
		if _, err := try(t, env, tools+"/goreleaser", "release", "--snapshot", "--clean", "--skip=docker,sign", "--config", "deploy/goreleaser.yaml"); err != nil {
			return "", err
		}
		_, err = try(t, nil, "cp", "-a", ".tools/dist/.", dir)
		return dir, err
	}))
	dir, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var made []string // folders to remove at the end

// TestRelease looks at what a release would be.
func TestRelease(t *testing.T) {
	command(t, nil, tool(t, "goreleaser"), "check", "deploy/goreleaser.yaml")
	dist := snapshot(t, "0.9.1")
	command(t, nil, "sh", "-c", "cd "+dist+" && sha256sum --check --strict checksums.txt")
	checksums := readFile(t, dist+"/checksums.txt")
	for _, arch := range []string{"amd64", "arm64"} {
		for _, kind := range []string{".tar.gz", ".deb", ".rpm", ".cdx.json"} {
			if name := filepath.Base(one(t, dist+"/*_linux_"+arch+kind)); !strings.Contains(checksums, name) {
				t.Errorf("no checksum of %s", name)
			}
		}
		var bom struct {
			Components []struct{ Name string }
		}
		if err := json.Unmarshal([]byte(readFile(t, one(t, dist+"/*_linux_"+arch+".cdx.json"))), &bom); err != nil || len(bom.Components) < 10 {
			t.Errorf("%d components in the bill of materials (%v)", len(bom.Components), err)
		}
		listed := command(t, nil, "tar", "-tzf", one(t, dist+"/*_linux_"+arch+".tar.gz"))
		for _, file := range []string{"idaas-token-exporter", "LICENSE", "README.md", "deploy/prometheus/rules.yaml", "deploy/systemd/" + service, "dashboards/idaas-tokens.json"} {
			if !strings.Contains("\n"+listed, "\n"+file+"\n") {
				t.Errorf("the archive has no %s:\n%s", file, listed)
			}
		}
	}
}
