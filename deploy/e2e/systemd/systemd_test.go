package systemd

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/simulator"
)

const (
	service = "idaas-token-exporter.service"
	metrics = "http://127.0.0.1:9877/metrics"
)

// TestSystemd installs the deb on a machine with systemd and lives with it: a crash, a reload, a reboot, an upgrade, its end.
func TestSystemd(t *testing.T) {
	older, newer := e2e.Snapshot(t, "0.9.0"), e2e.Snapshot(t, "0.9.1")
	m := newMachine(t)
	world := newWorld(t, m)
	install(t, m, older)
	if state, _ := m.try(t, "systemctl", "is-active", service); strings.TrimSpace(state) != "inactive" {
		t.Errorf("the service is %s before it has settings", state)
	}
	// verify says of a misspelt key what it does, but succeeds.
	if out := m.run(t, "sh", "-c", "systemd-analyze verify "+service+" 2>&1"); out != "" {
		t.Error(out)
	}
	const exposure = "15" // in tenths
	t.Log(lastLine(m.run(t, "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold="+exposure,
		"/lib/systemd/system/"+service)))

	// Without settings it ends at once and stays so.
	if out, err := m.try(t, "systemctl", "start", service); err != nil {
		t.Error(err, out)
	}
	e2e.Eventually(t, 30*time.Second, "end", func() error {
		const want = "Result=exit-code\nNRestarts=0\nExecMainStatus=78\nActiveState=failed"
		if got := m.run(t, "systemctl", "show", "-p", "ActiveState,NRestarts,ExecMainStatus,Result", service); got != want {
			return fmt.Errorf("%s", got)
		}
		return nil
	})

	edit(t, m, "env", "IDAAS_DOMAIN="+world.address+"\nIDAAS_CLIENT_ID=exporter\nIDAAS_POLL_SCHEDULE=@every 1s\n"+
		"IDAAS_RATE_LIMIT=100\nIDAAS_REQUEST_RETRIES=0\n")
	edit(t, m, "client-secret", "not a secret\n")
	edit(t, m, "targets.yaml", "targets:\n  - {consumer: billing, credential_providers: [orders_jwt]}\n")
	m.run(t, "systemctl", "enable", "--now", service)
	const (
		billing = `idaas_authentication_tokens{consumer="billing",credential_provider="orders_jwt"} 1`
		billed  = `idaas_state_last_write_successful 1`
	)
	sees(t, m, billing, billed, "\nprocess_start_time_seconds ")
	checkConfined(t, m)

	edit(t, m, "targets.yaml", "targets:\n  - {consumer: billing, credential_providers: [orders_jwt, crm_oauth]}\n")
	m.run(t, "systemctl", "reload", service)
	const crm = `idaas_authentication_tokens{consumer="billing",credential_provider="crm_oauth"} 1`
	sees(t, m, billing, crm)
	seen := time.Now()
	e2e.Eventually(t, 30*time.Second, "state", func() error {
		text, err := m.Get(t.Context(), metrics)
		if err != nil {
			return err
		}
		// A file begun after that has the new target.
		if written := e2e.Value(text, "idaas_state_last_write_success_timestamp_seconds"); !(written >= float64(seen.Unix()+2)) {
			return fmt.Errorf("the state is older than the new target")
		}
		return nil
	})

	// From here on what is shown comes from the state.
	world.close()
	m.run(t, "systemctl", "kill", "--kill-whom=main", "--signal=KILL", service)
	e2e.Eventually(t, 30*time.Second, "restart", func() error {
		if n := m.run(t, "systemctl", "show", "-P", "NRestarts", service); n != "1" {
			return fmt.Errorf("%s restarts", n)
		}
		return nil
	})
	sees(t, m, billing, crm)
	m.shutDown(t)
	m.boot(t)
	sees(t, m, billing, crm, `version="0.9.0"`)

	install(t, m, newer)
	sees(t, m, billing, crm, `version="0.9.1"`)
	if !strings.Contains(m.run(t, "cat", "/etc/idaas-token-exporter/env"), world.address) {
		t.Error("the upgrade took the settings away")
	}
	m.run(t, "dpkg", "--purge", "idaas-token-exporter")
	if left := m.run(t, "find", "/etc", "/lib", "/usr", "/var/lib", "/run", "-xdev", "-name", "*idaas-token-exporter*"); left != "" {
		t.Errorf("after the purge there are still:\n%s", left)
	}
	if state, _ := m.try(t, "systemctl", "is-active", service); strings.TrimSpace(state) != "inactive" {
		t.Errorf("after the purge the service is %s", state)
	}
}

// TestUnitOfOldSystemd: what the unit needs is in systemd 239, and its first lines name everything newer. "PrivateMounts" and
// what else is older than 240 needs no word.
func TestUnitOfOldSystemd(t *testing.T) {
	unit := e2e.ReadFile(t, e2e.Root+"/deploy/systemd/idaas-token-exporter.service")
	about, body, _ := strings.Cut(unit, "[Unit]\n")
	since := map[string][]string{
		"242": {"ProtectHostname", "RestrictSUIDSGID"}, "244": {"ProtectKernelLogs"}, "245": {"ProtectClock"}, "247": {"ProtectProc"},
	}
	old := strings.Fields(`Description Documentation Wants After ExecStart ExecStartPre ExecReload Restart RestartSec
		RestartPreventExitStatus TimeoutStopSec
		Environment EnvironmentFile RuntimeDirectory RuntimeDirectoryMode DynamicUser StateDirectory StateDirectoryMode UMask NoNewPrivileges
		CapabilityBoundingSet AmbientCapabilities ProtectSystem ProtectHome PrivateMounts PrivateTmp PrivateDevices
		PrivateUsers ProtectControlGroups
		ProtectKernelModules ProtectKernelTunables LockPersonality MemoryDenyWriteExecute RemoveIPC RestrictAddressFamilies RestrictNamespaces
		RestrictRealtime SystemCallArchitectures SystemCallFilter SystemCallErrorNumber WantedBy`)
	for _, line := range regexp.MustCompile(`(?m)^(\w+)=`).FindAllStringSubmatch(body, -1) {
		known := slices.Contains(old, line[1])
		for version, names := range since {
			known = known || slices.Contains(names, line[1]) && strings.Contains(about, "before "+version+" "+strings.Join(names, " and "))
		}
		if !known {
			t.Errorf("%s: since which version, and what happens before that?", line[1])
		}
	}
	for _, specifier := range regexp.MustCompile(`%.`).FindAllString(body, -1) {
		if specifier != "%S" && specifier != "%t" {
			t.Errorf("%s needs a newer systemd", specifier)
		}
	}
}

// TestRPM installs the rpm in a folder of its own.
func TestRPM(t *testing.T) {
	dist := e2e.Snapshot(t, "0.9.1")
	folder := t.TempDir()
	rpm := e2e.One(t, dist+"/*_"+runtime.GOARCH+".rpm")
	e2e.Command(t, nil, "rpm", "--root", folder, "--initdb")
	e2e.Command(t, nil, "rpm", "--root", folder, "-i", "--nodeps", "--noscripts", "--ignoreos", rpm)
	e2e.Command(t, nil, "rpm", "--root", folder, "-V", "--nodeps", "idaas-token-exporter")
	for _, path := range []string{"usr/bin/idaas-token-exporter", "usr/lib/systemd/system/" + service, "etc/idaas-token-exporter/env"} {
		if !e2e.Exists(filepath.Join(folder, path)) {
			t.Errorf("the rpm has no /%s", path)
		}
	}
	if scripts := e2e.Command(t, nil, "rpm", "-qp", "--scripts", rpm); !strings.Contains(scripts, "systemctl disable --now "+service) {
		t.Errorf("its removal leaves the service enabled:\n%s", scripts)
	}
}

// install installs the deb of a snapshot.
func install(t *testing.T, m *machine, dist string) {
	t.Helper()
	e2e.Command(t, nil, "cp", e2e.One(t, dist+"/*_"+runtime.GOARCH+".deb"), m.root+"/root/exporter.deb")
	m.run(t, "dpkg", "-i", "/root/exporter.deb")
}

// edit changes a file of the package, as an administrator would: the rights stay.
func edit(t *testing.T, m *machine, name, text string) {
	t.Helper()
	path := filepath.Join(m.root, "etc/idaas-token-exporter", name)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if public := name == "targets.yaml"; before.Mode().Perm()&0o044 != 0 != public {
		t.Errorf("%s has the rights %v", name, before.Mode())
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sees waits for lines in what the service exposes.
func sees(t *testing.T, m *machine, lines ...string) {
	t.Helper()
	e2e.Eventually(t, 30*time.Second, "scrape", func() error {
		text, err := m.Get(t.Context(), metrics)
		if err != nil {
			journal, _ := m.try(t, "journalctl", "-n", "20", "-u", service)
			return fmt.Errorf("%w\n%s", err, journal)
		}
		for _, line := range lines {
			if !strings.Contains(text, line) {
				return fmt.Errorf("no %s", line)
			}
		}
		return nil
	})
}

// checkConfined: what the unit asks for is really in force, and root alone reads the secret.
func checkConfined(t *testing.T, m *machine) {
	t.Helper()
	pid := m.run(t, "systemctl", "show", "-P", "MainPID", service)
	status := m.run(t, "cat", "/proc/"+pid+"/status")
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"} {
		if !strings.Contains(status, want) {
			t.Errorf("not %q:\n%s", want, status)
		}
	}
	if strings.Contains(status, "Uid:\t0\t") {
		t.Error("it runs as root")
	}
	if environ := m.run(t, "cat", "/proc/"+pid+"/environ"); strings.Contains(environ, "not a secret") {
		t.Error("the secret is in its environment")
	}
}

// world is a simulated IDaaS on the machine's loopback.
type world struct {
	address string
	close   func()
}

func newWorld(t *testing.T, m *machine) *world {
	t.Helper()
	sim := simulator.New(simulator.Config{Clients: []simulator.Client{{ID: "exporter", Secret: "not a secret"}}})
	for _, provider := range []string{"orders_jwt", "crm_oauth"} {
		sim.Add("billing", provider, simulator.Token{ID: provider, Created: time.Now(), Expires: time.Now().Add(time.Hour)})
	}
	l := m.Listen(t, "127.0.0.1:0")
	server := &http.Server{Handler: sim}
	go server.Serve(l)
	w := &world{address: "http://" + l.Addr().String(), close: func() {
		server.Close()
		sim.Close()
	}}
	t.Cleanup(w.close)
	return w
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
