package rules

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

// TestRhythmTable: README.md of the rules has the table of TestRhythm in poller. RHYTHM names a file with its output, to write it anew.
func TestRhythmTable(t *testing.T) {
	file := e2e.Root + "/deploy/prometheus/README.md"
	place := regexp.MustCompile(`(?s)<!-- rhythm -->\n.*<!-- /rhythm -->`)
	readme := e2e.ReadFile(t, file)
	if log := os.Getenv("RHYTHM"); log != "" {
		var table strings.Builder
		for line := range strings.Lines(e2e.ReadFile(t, log)) {
			if row := strings.TrimSpace(line); strings.HasPrefix(row, "|") {
				table.WriteString(row + "\n")
			}
		}
		readme = place.ReplaceAllLiteralString(readme, "<!-- rhythm -->\n"+table.String()+"<!-- /rhythm -->")
		if err := os.WriteFile(file, []byte(readme), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if rows := strings.Count(place.FindString(readme), "\n| "); rows < 30 {
		t.Errorf("the table of false alarms has %d rows", rows)
	}
}
