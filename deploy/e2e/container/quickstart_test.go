package container

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

// The other quick starts are run by TestCompose and TestChart.

func TestQuickStartContainer(t *testing.T) {
	d := e2e.StartDocker(t)
	args := append(d.Enter(), "sh", "-euc", e2e.QuickStart(t, "container"))
	block, log := exec.Command(args[0], args[1:]...), &e2e.LogFile{}
	block.Dir, block.Env = e2e.Root, append(os.Environ(), d.Env...)
	block.Stdout, block.Stderr = log, log
	if err := block.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- block.Wait() }()
	t.Cleanup(func() {
		d.Run(t, "podman", "rm", "--force", "--filter", "ancestor=localhost/idaas-token-exporter")
		<-ended
		if t.Failed() {
			t.Logf("%s", log.Tail())
		}
	})
	e2e.Eventually(t, 5*time.Minute, "the demo", func() error {
		_, err := d.Get(t.Context(), "http://127.0.0.1:9877/-/ready")
		return err
	})
	d.Run(t, "podman", "kill", "--signal", "TERM", d.Run(t, "podman", "ps", "--quiet", "--filter", "ancestor=localhost/idaas-token-exporter"))
	e2e.Eventually(t, 30*time.Second, "its end", func() error {
		if err := block.Process.Signal(syscall.Signal(0)); err == nil {
			return os.ErrDeadlineExceeded
		}
		return nil
	})
}
