package auth

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A file that does not come back fails every method when its context is over, and is named. All else is tested by the access
// tokens that the simulator gives.
func TestCredentialsInAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := Credential{File: pipe}
	for _, method := range Methods {
		if method.complete == nil {
			continue
		}
		identity := Identity{Method: method.Name, ClientID: "app_exporter", Secret: file, PrivateKey: file, IDToken: file, Document: file}
		if _, err := identity.Grant(ctx, "idaas_x", "https://x/token", nil); err == nil || !strings.Contains(err.Error(), pipe) {
			t.Errorf("%s: %v", method.Name, err)
		}
	}
}
