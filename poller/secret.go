package poller

import (
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"
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

// UnmarshalText takes text as the secret, whatever it is. The error names a character that no secret has, such as one that an editor or a
// web page has slipped in unseen, and nothing else of text.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	for _, r := range s.Reveal() {
		switch {
		case r == '\n' || r == '\r':
			return errors.New("a line break in it, which no secret has")
		case r == utf8.RuneError:
			return errors.New("bytes in it that are no UTF-8, which no secret has")
		case !unicode.IsPrint(r):
			return fmt.Errorf("the invisible character %U in it, which no secret has", r)
		}
	}
	return nil
}

// Format prints a fixed text for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText returns a fixed text, for JSON, YAML and slog alike.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
