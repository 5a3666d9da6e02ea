package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

var quickStarts = regexp.MustCompile("<!-- quickstart: (\\w+) -->\n```sh\n([^`]*)```\n")

// quickStart returns the commands that README.md gives for a way to start; those in Chinese are the same.
func quickStart(t *testing.T, way string) string {
	t.Helper()
	var found []string
	for _, file := range []string{"README.md", "README.zh-CN.md"} {
		for _, m := range quickStarts.FindAllStringSubmatch(readFile(t, root+"/"+file), -1) {
			if m[1] == way {
				found = append(found, m[2])
			}
		}
	}
	if len(found) != 2 || found[0] != found[1] {
		t.Fatalf("not the same in both languages: %q", found)
	}
	return found[0]
}

// The other quick starts are run by TestCompose and TestChart.

func TestQuickStartContainer(t *testing.T) {
	d := startDocker(t)
	args := append(d.enter(), "sh", "-euc", quickStart(t, "container"))
	block, log := exec.Command(args[0], args[1:]...), &logFile{}
	block.Dir, block.Env = root, append(os.Environ(), d.env...)
	block.Stdout, block.Stderr = log, log
	if err := block.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- block.Wait() }()
	t.Cleanup(func() {
		d.run(t, "podman", "rm", "--all", "--force")
		<-ended
		if t.Failed() {
			t.Logf("%s", log.tail())
		}
	})
	eventually(t, 5*time.Minute, "the demo", func() error {
		_, err := d.get(t.Context(), "http://127.0.0.1:9877/-/ready")
		return err
	})
	d.run(t, "podman", "kill", "--signal", "TERM", "--all")
	eventually(t, 30*time.Second, "its end", func() error {
		if err := block.Process.Signal(syscall.Signal(0)); err == nil {
			return os.ErrDeadlineExceeded
		}
		return nil
	})
}

func TestQuickStartSystemd(t *testing.T) {
	m := newMachine(t)
	command(t, nil, "cp", one(t, snapshot(t, "0.9.1")+"/*_"+runtime.GOARCH+".deb"), m.root+"/root/")
	if err := writeFiles(m.root+"/usr/bin", map[string]string{"sudo": "#!/bin/sh\nexec \"$@\"\n"}); err != nil {
		t.Fatal(err)
	}
	m.run(t, "chmod", "+x", "/usr/bin/sudo")
	m.run(t, "sh", "-euc", "cd\n"+quickStart(t, "systemd"))
	sees(t, m, `idaas_authentication_tokens{consumer="billing"`)
	if !strings.Contains(m.run(t, "systemctl", "is-enabled", service), "enabled") {
		t.Error("it would not start with the machine")
	}
}

// TestChineseAlerts: the table for the home market has every alert, as severe as it is.
func TestChineseAlerts(t *testing.T) {
	text := readFile(t, root+"/README.zh-CN.md")
	for _, r := range parseRules(t, readFile(t, root+"/deploy/prometheus/rules.yaml")) {
		if row := "| " + r.Alert + " | " + r.Labels["severity"] + " | "; r.Alert != "" && !strings.Contains(text, row) {
			t.Errorf("there is no %q", row)
		}
	}
}
