package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

func both() []dashboard { return []dashboard{tokens(), exporter()} }

// all are the panels of a dashboard, those in folded rows too.
func (d dashboard) all() (list []*panel) {
	for _, p := range d.Panels {
		list = append(append(list, p), p.Panels...)
	}
	return list
}

func TestFilesAreCurrent(t *testing.T) {
	total := 0
	for _, d := range both() {
		total += len(d.encode())
		if file, err := os.ReadFile(d.file()); err != nil || !bytes.Equal(file, d.encode()) {
			t.Errorf("%s is not current (%v): run go run ./dashboards", d.file(), err)
		}
	}
	if total > 130_000 {
		t.Errorf("the dashboards have %d bytes, over 130,000", total)
	}
}

func TestPanels(t *testing.T) {
	for _, d := range both() {
		titles := map[string]bool{}
		for _, p := range d.all() {
			if titles[p.Title] {
				t.Errorf("%s: two panels are called %q", d.UID, p.Title)
			}
			titles[p.Title] = true
			if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0 || p.FieldConfig.Defaults["noValue"] == nil) {
				t.Errorf("%s: panel %q lacks a description, a query or a text for no value", d.UID, p.Title)
			}
			for _, q := range p.Targets {
				if len(q.Expr) >= 200 {
					t.Errorf("%s: panel %q, query %s has %d characters", d.UID, p.Title, q.RefID, len(q.Expr))
				}
				// Counters change once per poll: over less than three polls of the default schedule a rate is 0 or too high.
				if rate := strings.Contains(q.Expr, "rate("); rate != (q.Interval == perPoll) || strings.Contains(q.Expr,
					"[") && rate && !strings.Contains(q.Expr, "[$__rate_interval]") {
					t.Errorf("%s: panel %q, query %s: interval %q", d.UID, p.Title, q.RefID, q.Interval)
				}
			}
		}
	}
}

// TestMissingIsPurple: neither a state that is not known nor missing data is green, and a paused target is not red.
func TestMissingIsPurple(t *testing.T) {
	for _, s := range states {
		if s.name == "unknown" != (s.color == "purple") || s.color == "green" != (s.name == "ok") || s.name == "paused" && s.color != "blue" {
			t.Errorf("%s is %s", s.name, s.color)
		}
	}
	for _, d := range both() {
		for _, p := range d.all() {
			if p.Type == "stat" && p.FieldConfig.Defaults["color"].(object)["mode"] == "thresholds" {
				if first := p.FieldConfig.Defaults["thresholds"].(object)["steps"].([]object)[0]; first["color"] == "green" {
					t.Errorf("%s: %q is green without a value", d.UID, p.Title)
				}
			}
		}
	}
}

// Widths of the columns in a window of 1600 pixels, and of 1000.
func TestWidths(t *testing.T) {
	const padding = 13 // of a cell, with its border
	for _, d := range both() {
		for _, p := range d.all() {
			if p.Type != "table" || p.Title == "Targets by provider and state" {
				continue
			}
			total := 0
			for _, o := range p.FieldConfig.Overrides {
				name := o["matcher"].(object)["options"].(string)
				width := value(o, "custom.width").(int)
				total += width
				if need := textWidth(name) + padding; width < need {
					t.Errorf("%s, %s: the header %q needs %d, not %d", d.UID, p.Title, name, need, width)
				}
				switch value(o, "unit") {
				case "dtdhms":
					if need := textWidth("99 d 23:59:59") + padding; width < need {
						t.Errorf("%s, %s: times in %q need %d, not %d", d.UID, p.Title, name, need, width)
					}
				case "dateTimeFromNow":
					if need := textWidth("in 22 hours") + padding; width < need {
						t.Errorf("%s, %s: times in %q need %d, not %d", d.UID, p.Title, name, need, width)
					}
				}
				if name == "Consumer" || name == "Provider" {
					need := idsWidth() + padding
					if value(o, "links") != nil {
						need += 12
					}
					if width < need {
						t.Errorf("%s, %s: ids of 40 letters in %q need %d, not %d", d.UID, p.Title, name, need, width)
					}
				}
			}
			if room := 1576*p.GridPos.W/24 - 24; total > room { // without side menu
				t.Errorf("%s, %s: the columns need %d of %d", d.UID, p.Title, total, room)
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

// advance has the widths of letters in Inter Medium at 14 pixels, the font of Grafana's tables, with its letter spacing of 0.15.
var advance = map[rune]float64{
	'a': 7.95, 'b': 8.65, 'c': 8.08, 'd': 8.65, 'e': 8.22, 'f': 5.31, 'g': 8.67, 'h': 8.42, 'i': 3.53, 'j': 3.53, 'k': 7.83, 'l': 3.53,
	'm': 12.43, 'n': 8.42, 'o': 8.46, 'p': 8.65, 'q': 8.65, 'r': 5.41, 's': 7.54, 't': 4.76, 'u': 8.42, 'v': 8.05, 'w': 11.61, 'x': 7.8,
	'y': 8.05, 'z': 7.83, '0': 9.04, '1': 5.81, '2': 8.63, '3': 8.78, '4': 9.19, '5': 8.65, '6': 8.82, '7': 8, '8': 8.81, '9': 8.82,
	'_': 6.48, '-': 6.47, '@': 13.75, '.': 4.25, ':': 4.25, ' ': 3.73, '!': 4.3,
}

func textWidth(text string) int {
	width := 0.0
	for _, r := range text {
		if w, ok := advance[r]; ok {
			width += w + 0.15
		} else {
			width += 10.5 // capitals
		}
	}
	return int(width + 1)
}

// idsWidth is the width that is enough for 999 of 1,000 ids of 40 letters.
func idsWidth() int {
	random := rand.New(rand.NewPCG(1, 2))
	widths := make([]int, 10_000)
	for i := range widths {
		id := []byte("app_")
		for len(id) < 40 {
			id = append(id, "abcdefghijklmnopqrstuvwxyz234567"[random.IntN(32)])
		}
		widths[i] = textWidth(string(id))
	}
	slices.Sort(widths)
	return widths[len(widths)*999/1000]
}
