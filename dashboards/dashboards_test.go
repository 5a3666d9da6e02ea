// Package dashboards holds the two Grafana dashboards and, in its tests, what they are made from.
package dashboards

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"slices"
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

// TestNothingIsCut: what a reader goes by is whole in a window of 1000 pixels.
func TestNothingIsCut(t *testing.T) {
	for _, d := range []dashboard{tokens(), exporter()} {
		for _, p := range d.Panels {
			if p.Type == "stat" && p.GridPos.W == 4 && len(p.Title) > len("Not watched") {
				t.Errorf("%s: the title %q is cut", d.UID, p.Title)
			}
			if p.Type != "table" {
				continue
			}
			for _, o := range p.FieldConfig.Overrides {
				name := o["matcher"].(object)["options"].(string)
				width, least := value(o, "custom.width"), value(o, "custom.minWidth")
				if slices.Contains([]string{"Provider", "Consumer", "Alert", "Instance"}, name) && (width != nil || least != nameWidth) {
					t.Errorf("%s, %s: the column %q may be cut: width %v, at least %v", d.UID, p.Title, name, width, least)
				}
				if width == nil && least == nil {
					t.Errorf("%s, %s: the column %q has no width", d.UID, p.Title, name)
				}
				need := 8*len(name) + 16
				for _, by := range p.Options["sortBy"].([]object) {
					if by["displayName"] == name {
						need += 14 // the arrow
					}
				}
				if width != nil && width.(int) < need {
					t.Errorf("%s, %s: the header %q needs %d, not %v", d.UID, p.Title, name, need, width)
				}
				if unit := value(o, "unit"); unit == "dtdhmss" && width.(int) < len("365 d 00:00:00")*8 {
					t.Errorf("%s, %s: times are cut in column %q: %v", d.UID, p.Title, name, width)
				}
			}
		}
	}
}

// value of an override's property.
func value(override object, id string) any {
	for _, p := range override["properties"].([]object) {
		if p["id"] == id {
			return p["value"]
		}
	}
	return nil
}

// TestUnknownIsSaid: a value that is not there says so in its own color, and an empty table what that means.
func TestUnknownIsSaid(t *testing.T) {
	for _, d := range []dashboard{tokens(), exporter()} {
		for _, p := range d.Panels {
			if p.Type == "row" {
				continue
			}
			defaults := p.FieldConfig.Defaults
			said, none := defaults["noValue"].(string)
			switch p.Type {
			case "stat":
				maps, err := json.Marshal(defaults["mappings"])
				if err != nil || none || !bytes.Contains(maps, []byte(`"match":"null","result":{"color":"purple","index":0,"text":"no data"}`)) {
					t.Errorf("%s, %s: no value is shown as %q %s (%v)", d.UID, p.Title, said, maps, err)
				}
			case "table":
				if said == "" || strings.HasSuffix(p.Description, emptyWhenWell) == (said == nothingHere) {
					t.Errorf("%s, %s: an empty table says %q", d.UID, p.Title, said)
				}
				for _, o := range p.FieldConfig.Overrides {
					if value(o, "noValue") != "-" {
						t.Errorf("%s, %s: empty cells say %q: %v", d.UID, p.Title, said, o)
					}
				}
			default:
				if said != unknown {
					t.Errorf("%s, %s: no data is %q", d.UID, p.Title, said)
				}
			}
			if first := defaults["thresholds"].(object)["steps"].([]object)[0]; first["color"] == "green" && first["value"] != nil {
				t.Errorf("%s, %s: the base has a value: %v", d.UID, p.Title, first)
			}
			if follows := p.asks("$provider"); follows == strings.Contains(p.Description, notChosen) {
				t.Errorf("%s, %s: follows Provider: %v, and says: %s", d.UID, p.Title, follows, p.Description)
			}
		}
	}
}

// TestWindowsByLength: every window is asked for once, the shorter first.
func TestWindowsByLength(t *testing.T) {
	in := regexp.MustCompile(`within=~"(.*?)"`)
	asked := windows("%s")
	last := -1
	for _, window := range strings.Fields("30s 5m 15m 90m 240m 1h 1h30m 6h 12h 72h 100h 1d 3d 7d 9d 14d 30d 90d 180d 365d 1000d") {
		var by []int
		for i, q := range asked {
			if regexp.MustCompile("^(?:" + in.FindStringSubmatch(q.expr)[1] + ")$").MatchString(window) {
				by = append(by, i)
			}
		}
		if len(by) != 1 || by[0] < last {
			t.Fatalf("%s is asked for by %v, after %d", window, by, last)
		}
		last = by[0]
	}
}

// TestBlindIsNotWell: a table that shows trouble only does not look as if all were well when nothing is scraped, or, of what the
// recording rules say, when they are not loaded.
func TestBlindIsNotWell(t *testing.T) {
	for _, d := range []dashboard{tokens(), exporter()} {
		for _, p := range d.Panels {
			if p.Type != "table" || !strings.HasSuffix(p.Description, emptyWhenWell) || p.Title == "Shards that are not watched" {
				continue
			}
			if ruled := p.asks("idaas:") || p.asks("ALERTS"); !p.asks("absent(") || ruled && !p.asks("absent(idaas:") {
				t.Errorf("%s, %s: without data it says %q", d.UID, p.Title, p.FieldConfig.Defaults["noValue"])
			}
		}
	}
}
