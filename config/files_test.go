package config

import (
	"encoding/pem"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// The fault names the invisible character in a secret, but does not show the secret.
func TestSecretsWithUnseenCharacters(t *testing.T) {
	for _, name := range []string{"IDAAS_CLIENT_SECRET", "IDAAS_ACCESS_TOKEN"} {
		for text, want := range map[string]string{
			"hush\nhush": "a line break", "hu\x00sh": "the invisible character U+0000", "hu\ufeffsh": "the invisible character U+FEFF",
			"hu\u200bsh": "the invisible character U+200B", "hush\xff": "bytes in it that are no UTF-8",
			"hush\ufffd": "bytes in it that are no UTF-8",
		} {
			faults := faultsOf(t, append(without(minimal(), name), name+"="+text))
			if len(faults) != 1 || faults[0].Name != name || !strings.HasPrefix(faults[0].Problem, want) || strings.Contains(faults.Error(),
				"hu\u200bsh") || strings.Contains(faults.Error(), "hush") {
				t.Errorf("%q: %v", text, faults)
			}
		}
	}
	if got := mustLoad(t, minimal("IDAAS_CLIENT_SECRET=\ufeff hü sh\n")).ClientSecret.Reveal(); got != "hü sh" {
		t.Errorf("%q", got)
	}
}

// A leading byte order mark is ignored; an endless file is a fault.
func TestFilesAsPeopleHaveThem(t *testing.T) {
	t.Chdir(t.TempDir())
	der, err := newCA()
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, text := range map[string]string{
		"client-config.json": `{"scope": "file"}`, "ca.pem": string(certificate),
		"targets.yaml": "targets: [{consumer: a, credential_providers: [p]}]", "web.yml": "basic_auth_users: {a: b}",
	} {
		if err := os.WriteFile(file, []byte("\ufeff"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings := []string{
		"CLOUD_IDAAS_CONFIG_PATH=client-config.json", "IDAAS_CA_FILE=ca.pem", "IDAAS_TARGETS_FILE=targets.yaml",
		"IDAAS_WEB_CONFIG_FILE=web.yml",
	}
	c := mustLoad(t, minimal(settings...))
	if c.Scope != "file" || c.RootCAs == nil || len(c.Targets) != 2 || !strings.Contains(strings.Join(c.Warnings, ""), "probes") {
		t.Errorf("%+v", c)
	}
	for i, setting := range settings[:3] {
		name, _, _ := strings.Cut(setting, "=")
		endless := slices.Replace(slices.Clone(settings), i, i+1, name+"=/dev/zero")
		if faults := faultsOf(t, minimal(endless...)); len(faults) != 1 || faults[0].Name != name || !strings.Contains(faults[0].Problem,
			"read /dev/zero: longer than 16777216 bytes") {
			t.Errorf("%s: %v", name, faults)
		}
	}
}

func TestAWebConfigurationThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		c, err := Load(minimal("IDAAS_WEB_CONFIG_FILE=w.yml"), func(string) error { <-release; return nil })
		if c != nil || err == nil || !strings.HasPrefix(err.Error(), `IDAAS_WEB_CONFIG_FILE="w.yml": check w.yml: timed out after 5s; `+
			`accepted: `) {
			t.Errorf("%v, %v", c, err)
		}
	})
}
