package compose

import (
	"encoding/json"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

var (
	oldest   = regexp.MustCompile(`Needs Docker Compose (\S+) or later`)
	readable = regexp.MustCompile(`make the files readable: (chmod .*)`)
)

// TestComposeFile: the oldest version that compose.yaml names and the newest one accept it, and containers can read what they mount:
// with SELinux, and in a checkout that only its owner can read.
func TestComposeFile(t *testing.T) {
	text := e2e.ReadFile(t, e2e.Root+"/deploy/compose/compose.yaml")
	version, command := oldest.FindStringSubmatch(text), readable.FindStringSubmatch(text)
	if version == nil || command == nil {
		t.Fatal("no version or no command")
	}
	old := e2e.Tool(t, "../oldest/docker-compose")
	if is := strings.TrimSpace(e2e.Command(t, nil, old, "version", "--short")); is != version[1] {
		t.Errorf("compose.yaml needs %s, tested is %s", version[1], is)
	}
	dir := t.TempDir()
	e2e.Command(t, nil, "sh", "-euc", "umask 077; git ls-files -z deploy dashboards | xargs -0 cp --parents -t $0; cd $0; "+command[1], dir)
	for _, tool := range []string{old, e2e.Tool(t, "docker-compose")} {
		var file struct {
			Services map[string]struct {
				Volumes []struct {
					Type, Source string
					Bind         struct {
						SELinux        string
						CreateHostPath bool `json:"create_host_path"`
					}
				}
			}
		}
		config := e2e.Command(t, nil, tool, "-f", dir+"/deploy/compose/compose.yaml", "config", "--format", "json")
		if err := json.Unmarshal([]byte(config), &file); err != nil {
			t.Fatal(err)
		}
		mounts := 0
		for name, s := range file.Services {
			for _, v := range s.Volumes {
				if v.Type != "bind" {
					continue
				}
				mounts++
				// Without create_host_path, Compose uses an interface of Docker that has no labels.
				if v.Bind.SELinux != "z" || !v.Bind.CreateHostPath {
					t.Errorf("%s: SELinux does not allow %s: %+v", name, v.Source, v.Bind)
				}
				checkReadable(t, v.Source)
			}
		}
		if len(file.Services) != 4 || mounts != 6 {
			t.Errorf("%d services, %d mounts", len(file.Services), mounts)
		}
	}
}

// checkReadable reports the files of a mount that another user cannot read.
func checkReadable(t *testing.T, source string) {
	t.Helper()
	err := filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if want := fs.FileMode(0o004); err == nil && (info.Mode()&want == 0 || d.IsDir() && info.Mode()&0o001 == 0) {
			t.Errorf("other users cannot read %s: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
