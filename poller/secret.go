package poller

import (
	"fmt"
	"io"
)

const hidden = "[secret]"

// Secret is a text that no print verb, JSON or log shows, also not inside other values; Reveal returns it.
// The zero Secret is empty.
type Secret struct {
	// A pointer, because fmt calls no method on unexported fields and would print a plain string there.
	text *string
}

// NewSecret returns a Secret that holds text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the text itself, for the one place that must send it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty reports whether there is no text.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// UnmarshalText takes text as the secret.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// Format prints a fixed text for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText returns a fixed text, for JSON, YAML and slog alike.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
