package timeline

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestReadme keeps what README.md of the rules shows as measured: a timeline, and the lead of each alert. It runs when all
// scenarios have.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown, err := os.ReadFile("../e2e/timeline/testdata/renewal_stops.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct{ place, text string }{
		{"(?s)```\n# .*?```\n", "```\n" + string(shown) + "```\n"},
		{`(?m)^\| \d+ (min|h|d) \| \d+ (min|h|d).*\n(\| \d.*\n)*`, leads(t)},
	} {
		place := regexp.MustCompile(part.place)
		if n := len(place.FindAll(readme, -1)); n != 1 {
			t.Fatalf("README.md has %d places like %s", n, part.place)
		}
		readme = place.ReplaceAllLiteral(readme, []byte(part.text))
	}
	golden(t, "README.md", string(readme))
}

// leads measures how long before the end each alert fires, for common lifetimes and rhythms.
func leads(t *testing.T) string {
	type kind struct{ lifetime, rhythm time.Duration }
	short := []kind{{15 * minute, 10 * minute}, {2 * hour, hour}, {day, 12 * hour}, {day, 19*hour + 12*minute}, {7 * day, day}}
	long := []kind{{30 * day, 7 * day}, {90 * day, 30 * day}, {90 * day, 83 * day}}
	var b strings.Builder
	measure := func(kinds []kind, end, evaluate time.Duration) { // of every last token
		transitions, _ := Run(t, Scenario{Lasts: end + 4*hour, Scrape: coarse, Evaluate: evaluate, Play: func(w *World) {
			for i, k := range kinds {
				name := fmt.Sprintf("kind_%d:provider", i)
				w.Target(name)
				last := end - k.lifetime
				first := last
				for first > last-12*k.rhythm || first > 12*hour { // a week of history, and a known reserve
					first -= k.rhythm
				}
				w.Renew(name, k.lifetime, first, k.rhythm, last)
			}
			w.Exporter("exporter:9877", "IDAAS_POLL_SCHEDULE=@every "+max(evaluate, 5*minute).String())
		}})
		for i, k := range kinds {
			fmt.Fprintf(&b, "| %s | %s |", spell(k.lifetime), spell(k.rhythm))
			for _, alert := range []string{"TokensNotRenewed", "TokensAboutToEnd", "TokensLost"} {
				cell := "–"
				for _, tr := range transitions {
					if tr.Firing && tr.Alert == "IDaaS"+alert && tr.Subject == fmt.Sprintf("kind_%d/provider", i) {
						if missed := epoch.Add(end - k.lifetime + k.rhythm); tr.At.Before(missed) {
							t.Errorf("%s fires before a renewal was missed, at lifetime %v", alert, k.lifetime)
						}
						cell = spell(tr.At.Sub(epoch.Add(end)).Abs().Truncate(time.Minute))
					}
				}
				fmt.Fprintf(&b, " %s |", cell)
			}
			b.WriteString("\n")
		}
	}
	measure(short, 8*day, coarse)
	measure(long, 40*day, hour) // an hour is good enough
	return b.String()
}

// spell is a duration as people say it.
func spell(d time.Duration) string {
	var parts []string
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{day, "d"}, {hour, "h"}, {minute, "min"}} {
		if n := d / unit.of; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, unit.name))
			d -= n * unit.of
		}
	}
	return cmp.Or(strings.Join(parts, " "), "0 min")
}
