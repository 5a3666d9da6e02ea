package release

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

var pinned = regexp.MustCompile(`^[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)

// TestWorkflows: the workflows and scripts are valid, run nothing that can change under them, and have no right they were not given.
func TestWorkflows(t *testing.T) {
	shellcheck := e2e.LookPath(t, "shellcheck")
	files, err := filepath.Glob(e2e.Root + "/.github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal("no workflows", err)
	}
	e2e.RunTool(t, nil, e2e.Tool(t, "actionlint"), append([]string{"-shellcheck=" + shellcheck}, files...)...)
	for _, file := range files {
		text := e2e.ReadFile(t, file)
		if !strings.Contains(text, "\npermissions: {}\n") {
			t.Errorf("%s has rights that it did not ask for", file)
		}
		for line := range strings.Lines(text) {
			_, action, found := strings.Cut(line, "uses: ")
			if action = strings.TrimSpace(action); found && !strings.HasPrefix(action, "./") && !pinned.MatchString(action) {
				t.Errorf("%s: %s has no digest, or does not say which version it is", file, action)
			}
		}
	}
	for _, pattern := range []string{"/deploy/*/*.sh", "/.ci/run"} {
		scripts, err := filepath.Glob(e2e.Root + pattern)
		if err != nil || len(scripts) == 0 {
			t.Fatal("no scripts", err)
		}
		e2e.RunTool(t, nil, shellcheck, scripts...)
	}
}
