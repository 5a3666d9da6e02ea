package timeline

import (
	"flag"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"time"
)

var (
	update = flag.Bool("update", false, "write the golden timelines anew")
	show   = flag.Bool("show", false, "print the timelines")
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The first call starts a goroutine for good: not in a bubble.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	// When a rule is evaluated depends on the name of its file.
	if err := os.Chdir("../../prometheus"); err != nil {
		panic(err)
	}
	// The RAM credentials of scenarios with lists.
	for name, value := range map[string]string{"ID": "key", "SECRET": "ram-secret"} {
		if err := os.Setenv("ALIBABA_CLOUD_ACCESS_KEY_"+name, value); err != nil {
			panic(err)
		}
	}
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

const (
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * hour
)

// TestScenarios compares each timeline with the one reviewed; with -short only those of at most 5 hours.
func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		if testing.Short() && s.Lasts > 5*hour {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			transitions, got := Run(t, s)
			if s.Check != nil {
				hiding, err := readInhibitions("alertmanager.yaml")
				if err != nil {
					t.Fatal(err)
				}
				s.Check(t, transitions, hiding.Route)
			}
			if *show {
				t.Log("\n" + got)
			}
			golden(t, filepath.Join("../e2e/timeline/testdata", s.Name+".txt"), got)
		})
	}
}

// golden compares a text with the file that was reviewed.
func golden(t *testing.T, file, got string) {
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("not the text of %s:\n%s", file, got)
	}
}

var scenarios = slices.Concat(renewals, revocations, outages, exporters, scrapes, schedules, liveWalks, watching)
