package config

import (
	"slices"
	"testing"
)

// A demo must never reach, or send a secret to, the instance that its environment is meant for.
func TestWithoutConnection(t *testing.T) {
	got := WithoutConnection([]string{
		"PATH=/bin", "IDAAS_LISTEN_ADDRESS=:1", "IDAAS_ENDPOINT=https://real", "IDAAS_CLIENT_SECRET=x", "IDAAS_TARGETS=a:b",
		"IDAAS_ACCESS_TOKEN_FILE=/x", "IDAAS_LOG_LEVEL=debug",
	})
	if want := []string{"PATH=/bin", "IDAAS_LISTEN_ADDRESS=:1", "IDAAS_LOG_LEVEL=debug"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
