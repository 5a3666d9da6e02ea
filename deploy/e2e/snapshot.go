package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

var snapshots sync.Map // version → func() (string, error)

// Snapshot returns a folder with what a release of this tree would be, if it had that version.
func Snapshot(t *testing.T, version string) string {
	t.Helper()
	build, _ := snapshots.LoadOrStore(version, sync.OnceValues(func() (string, error) { return Release(t, version, "umask 022", nil) }))
	dir, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Release builds a snapshot after a shell command, and returns its folder. The environment has more variables, and the shell may be run
// by another program.
func Release(t *testing.T, version, before string, env []string, by ...string) (string, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "idaas-e2e-release-")
	if err != nil {
		return "", err
	}
	temporary = append(temporary, dir)
	// The last commit, with the tracked files as they are now. Images need a registry, signatures an identity; image_test.go builds the
	// Dockerfile.
	script := before + `; git clone -q . "$0"; git ls-files -z | xargs -0 cp --parents -t "$0"; cd "$0"
		goreleaser release --snapshot --skip=docker,sign --config deploy/goreleaser.yaml`
	env = append(env, "PATH="+filepath.Dir(Tool(t, "goreleaser"))+":"+os.Getenv("PATH"), "SNAPSHOT="+version)
	_, err = Try(t, env, "env", slices.Concat(by, []string{"sh", "-euc", script, dir})...)
	return dir + "/.tools/dist", err
}
