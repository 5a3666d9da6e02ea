package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

// machine is a small Debian with systemd in a container, with nothing but loopback for a network.
type machine struct {
	root        string
	nspwn       *exec.Cmd
	e2e.Network // of its process 1
}

// newMachine boots a fresh copy, which is gone when the test ends.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{root: filepath.Join(t.TempDir(), "machine")}
	found, err := filepath.Glob(e2e.Root + "/.tools/machine-*")
	if err != nil || len(found) != 1 {
		t.Fatalf("not one machine: %v (%v): run make e2e-systemd", found, err)
	}
	source, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	e2e.Command(t, nil, "cp", "-a", "--reflink=auto", source, m.root)
	m.boot(t)
	t.Cleanup(func() { m.shutDown(t) })
	return m
}

func (m *machine) boot(t *testing.T) {
	t.Helper()
	// systemd takes SIGRTMIN+4 for "power off".
	m.nspwn = exec.Command("systemd-nspawn", "--quiet", "--boot", "--directory", m.root,
		"--machine", "e2e-"+fmt.Sprint(os.Getpid()), "--register=no",
		"--keep-unit", "--kill-signal=SIGRTMIN+4", "--console=read-only", "--private-network")
	console := &e2e.LogFile{}
	m.nspwn.Stdout, m.nspwn.Stderr = console, console
	if err := m.nspwn.Start(); err != nil {
		t.Fatal(err)
	}
	e2e.Eventually(t, time.Minute, "boot", func() error {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", m.nspwn.Process.Pid))
		if err != nil || len(strings.Fields(string(children))) != 1 {
			return fmt.Errorf("no process 1: %q %w\n%s", children, err, console.Tail())
		}
		m.Network = e2e.Network(strings.Fields(string(children))[0])
		state, err := m.try(t, "systemctl", "is-system-running")
		if s := strings.TrimSpace(state); s != "running" && s != "degraded" {
			return fmt.Errorf("%s %w\n%s", s, err, console.Tail())
		}
		return nil
	})
}

// shutDown powers the machine off, if it is on.
func (m *machine) shutDown(t *testing.T) {
	t.Helper()
	if m.nspwn == nil {
		return
	}
	m.nspwn.Process.Signal(syscall.SIGTERM) // nspawn passes the kill signal on
	late := time.AfterFunc(time.Minute, func() { m.nspwn.Process.Kill() })
	if err := m.nspwn.Wait(); err != nil || !late.Stop() {
		t.Error("the machine did not power off: ", err)
	}
	m.nspwn = nil
}

func (m *machine) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	inside := []string{
		"-t", string(m.Network), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--",
		"/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive",
	}
	return e2e.Try(t, nil, "nsenter", append(inside, args...)...)
}

// Run runs a command in the machine.
func (m *machine) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.try(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}
