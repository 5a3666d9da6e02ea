package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
	"github.com/idaas-exporter/idaas-token-exporter/poller/state"
)

func TestMain(m *testing.M) {
	if os.Getenv("TEST_AS_EXPORTER") != "" {
		shutdownTimeout = testShutdownTimeout
		main()
	}
	goleak.VerifyTestMain(m)
}

// A process that gets SIGTERM at a random moment exits with 0 within 5 s, and its state file is complete or absent.
func TestSIGTERMAtAnyMoment(t *testing.T) {
	sim, environ := startSimulator(t, simulator.Config{MaxPageSize: 1000})
	end := time.Now().Add(time.Hour)
	for _, consumer := range []string{"a", "b", "c"} {
		sim.Generate(consumer, "p", 5_000, func(i int) simulator.Token {
			return simulator.Token{ID: consumer + fmt.Sprint(i), Expires: end.Add(time.Duration(i) * time.Second)}
		})
	}
	file := state.File{Path: filepath.Join(t.TempDir(), "state")}
	for _, pair := range environ {
		if endpoint, ok := strings.CutPrefix(pair, "IDAAS_ENDPOINT="); ok {
			file.Instance = " " + endpoint + " idaas_test"
		}
	}
	restored := 0
	for round := range 5 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		var stderr lockedBuffer
		cmd.Stderr = &stderr
		cmd.Env = childEnviron(append(environ, "IDAAS_TARGETS=a:p,b:p,c:p", "IDAAS_STATE_FILE="+file.Path,
			"IDAAS_POLL_SCHEDULE=@every 1s", "IDAAS_PAGE_SIZE=1000")...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "listening", func() bool { return listening.MatchString(stderr.String()) })
		if round%2 == 1 { // else usually before the first save
			eventually(t, "a state was saved", func() bool { _, err := os.Stat(file.Path); return err == nil })
		}
		time.Sleep(rand.N(300 * time.Millisecond))
		began := time.Now()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || !strings.Contains(stderr.String(), "stopped") {
			t.Errorf("%v\n%s", err, stderr.String())
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("it took %v to end", d)
		}
		kept, err := file.Load()
		if err != nil {
			t.Fatal(err)
		}
		if kept.Readings != nil {
			restored++
		}
		for key, r := range kept.Readings {
			if r.Census != nil && len(r.Census.Expirations) != 5_000 {
				t.Errorf("%v: %d tokens in the file", key, len(r.Census.Expirations))
			}
		}
	}
	if restored == 0 {
		t.Error("no state was ever written")
	}
}
