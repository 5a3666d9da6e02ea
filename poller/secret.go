package poller

import (
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"
)

const hidden = "[secret]"

// Secret is a text that is hidden by fmt, JSON and logs, also inside other values. Reveal returns it. The zero Secret is empty.
type Secret struct {
	text *string // fmt calls no method of unexported fields, and would print a string
}

// NewSecret returns a Secret with text.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty reports whether there is no text.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// UnmarshalText sets the secret to text. The error names a character that no secret has, for example an invisible one that was copied
// from a web page, and contains nothing else of text.
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
