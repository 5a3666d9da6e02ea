package systemd

import (
	"runtime"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

func TestQuickStartSystemd(t *testing.T) {
	m := newMachine(t)
	e2e.Command(t, nil, "cp", e2e.One(t, e2e.Snapshot(t, "0.9.1")+"/*_"+runtime.GOARCH+".deb"), m.root+"/root/")
	if err := e2e.WriteFiles(m.root+"/usr/bin", map[string]string{"sudo": "#!/bin/sh\nexec \"$@\"\n"}); err != nil {
		t.Fatal(err)
	}
	m.run(t, "chmod", "+x", "/usr/bin/sudo")
	m.run(t, "sh", "-euc", "cd\n"+e2e.QuickStart(t, "systemd"))
	sees(t, m, `idaas_authentication_tokens{consumer="billing"`)
	if !strings.Contains(m.run(t, "systemctl", "is-enabled", service), "enabled") {
		t.Error("it would not start with the machine")
	}
}
