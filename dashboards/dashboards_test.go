// Package dashboards holds the two Grafana dashboards and, in its tests, what they are made from.
package dashboards

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the dashboards instead of comparing them")

func TestDashboardsAreCurrent(t *testing.T) {
	for _, d := range []dashboard{tokens(), exporter()} {
		var made bytes.Buffer
		encoder := json.NewEncoder(&made)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(d); err != nil {
			t.Fatal(err)
		}
		file := d.UID + ".json"
		if *update {
			if err := os.WriteFile(file, made.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if kept, err := os.ReadFile(file); err != nil || !bytes.Equal(kept, made.Bytes()) {
			t.Errorf("%s is not what the package makes (%v): run go test ./dashboards -update", file, err)
		}
	}
}

func TestPanelsAreComplete(t *testing.T) {
	for _, d := range []dashboard{tokens(), exporter()} {
		titles := map[string]bool{}
		for _, p := range d.Panels {
			if titles[p.Title] {
				t.Errorf("%s: two panels are called %q", d.UID, p.Title)
			}
			titles[p.Title] = true
			if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
				t.Errorf("%s: panel %q lacks a description or a query", d.UID, p.Title)
			}
			for _, q := range p.Targets {
				if rate := strings.Contains(q.Expr, "$__rate_interval"); rate != (q.Interval == scrapeInterval) {
					t.Errorf("%s: panel %q, query %s: interval %q", d.UID, p.Title, q.RefID, q.Interval)
				}
			}
		}
	}
}
