package e2e

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

var snapshots sync.Map // version → func() (string, error)

// Snapshot returns a folder with what a release of this tree would be, if it had that version.
func Snapshot(t *testing.T, version string) string {
	t.Helper()
	build, _ := snapshots.LoadOrStore(version, sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "idaas-e2e-release-")
		if err != nil {
			return "", err
		}
		temporary = append(temporary, dir)
		tools, err := filepath.Abs(Root + "/.tools/bin")
		if err != nil {
			return "", err
		}
		// One process at a time: they share a folder.
		lock, err := os.OpenFile(Root+"/.tools/dist.lock", os.O_CREATE|os.O_RDWR, 0o600)
		if err == nil {
			defer lock.Close()
			err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
		}
		if err != nil {
			return "", err
		}
		// Images need a registry, signatures an identity; image_test.go builds the Dockerfile.
		env := []string{"PATH=" + tools + ":" + os.Getenv("PATH"), "SNAPSHOT=" + version}
		if _, err := Try(t, env, tools+"/goreleaser", "release", "--snapshot", "--clean", "--skip=docker,sign", "--config", "deploy/goreleaser.yaml"); err != nil {
			return "", err
		}
		_, err = Try(t, nil, "cp", "-a", ".tools/dist/.", dir)
		return dir, err
	}))
	dir, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
