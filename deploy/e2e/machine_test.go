package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is a small Debian with systemd in a container, with nothing but loopback for a network.
type machine struct {
	root    string
	nspwn   *exec.Cmd
	network // of its process 1
}

// newMachine boots a fresh copy, which is gone when the test ends.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{root: filepath.Join(t.TempDir(), "machine")}
	found, err := filepath.Glob(root + "/.tools/machine-*")
	if err != nil || len(found) != 1 {
		t.Fatalf("not one machine: %v (%v): run make -C deploy/e2e tools", found, err)
	}
	source, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	command(t, nil, "cp", "-a", "--reflink=auto", source, m.root)
	m.boot(t)
	t.Cleanup(func() { m.shutDown(t) })
	return m
}

func (m *machine) boot(t *testing.T) {
	t.Helper()
	// systemd takes SIGRTMIN+4 for "power off".
	m.nspwn = exec.Command("systemd-nspawn", "--quiet", "--boot", "--directory", m.root, "--machine", "e2e-"+fmt.Sprint(os.Getpid()), "--register=no",
		"--keep-unit", "--kill-signal=SIGRTMIN+4", "--console=read-only", "--private-network")
	console := &logFile{}
	m.nspwn.Stdout, m.nspwn.Stderr = console, console
	if err := m.nspwn.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "boot", func() error {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", m.nspwn.Process.Pid))
		if err != nil || len(strings.Fields(string(children))) != 1 {
			return fmt.Errorf("no process 1: %q %w\n%s", children, err, console.tail())
		}
		m.network = network(strings.Fields(string(children))[0])
		state, err := m.try(t, "systemctl", "is-system-running")
		if s := strings.TrimSpace(state); s != "running" && s != "degraded" {
			return fmt.Errorf("%s %w\n%s", s, err, console.tail())
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
	inside := []string{"-t", string(m.network), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--", "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive"}
	return try(t, nil, "nsenter", append(inside, args...)...)
}

// run runs a command in the machine.
func (m *machine) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := m.try(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}
