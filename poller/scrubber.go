package poller

import (
	"encoding/base64"
	"html"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxText = 200 // characters of a text from outside that are shown
	levels  = 3   // nested encodings that are decoded
	partly  = 32  // characters of a secret that are hidden even if the rest is missing
	cutOff  = 4   // the same, next to a "…" of a text that was cut
)

// Scrubber hides secrets, in any usual encoding, and control characters in texts from outside. The zero Scrubber hides no secret. It is
// immutable and safe for concurrent use.
type Scrubber struct{ secrets []hiding }

// hiding is one secret.
type hiding struct {
	shown string
	forms func() []string // folded; computed at the first use
}

// Hide returns a Scrubber that also replaces secret by shown.
func (s Scrubber) Hide(secret, shown string) Scrubber {
	if secret == "" || secret == shown {
		return s
	}
	return Scrubber{append(slices.Clip(s.secrets), hiding{shown, sync.OnceValue(func() []string { return forms(secret) })})}
}

// And returns a Scrubber that also hides what other hides.
func (s Scrubber) And(other Scrubber) Scrubber {
	return Scrubber{append(slices.Clip(s.secrets), other.secrets...)}
}

// forms returns the folded secret and its base64 at each alignment, without the characters that depend on other text.
func forms(secret string) []string {
	all := []string{strings.Map(fold, secret)}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			text := encoding.EncodeToString(append(make([]byte, before, before+len(secret)), secret...))
			text = strings.Map(fold, text[(8*before+5)/6:8*(before+len(secret))/6])
			if len(text) >= 4 && !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	return all
}

// fold maps equivalent characters to one: upper and lower case, and all kinds of blanks, including + in a query.
func fold(r rune) rune {
	switch {
	case 'A' <= r && r <= 'Z':
		return r + 'a' - 'A'
	case r == '+' || !unicode.IsPrint(r):
		return ' '
	case r < utf8.RuneSelf:
		return r
	}
	least := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		least = min(least, other)
	}
	if least < utf8.RuneSelf {
		return fold(least)
	}
	return least
}

// Clean returns text as one line of at most 200 printable characters, without what is hidden.
func (s Scrubber) Clean(text string) string { return s.clean(text, maxText) }

func (s Scrubber) clean(text string, most int) string {
	odd := func(r rune) bool { return (r < ' ' || r > '~') && (r == utf8.RuneError || !unicode.IsPrint(r)) }
	if len(s.secrets) == 0 && len(text) <= most && !strings.ContainsFunc(text, odd) { // fast path, for the fields of tokens
		return strings.TrimSpace(text)
	}
	var out strings.Builder
	n := 0
	show := func(part string) {
		for _, r := range part {
			if n++; n > most {
				return
			}
			if !unicode.IsPrint(r) {
				r = ' '
			}
			out.WriteRune(r)
		}
	}
	first := make([]reading, 0, 2*levels)
	for at := 0; at < len(text) && n <= most; {
		first = readings(first[:0], text, at, levels)
		shown, end := s.find(text, at, first)
		if end == 0 {
			_, size := utf8.DecodeRuneInString(text[at:])
			shown, end = text[at:at+size], at+size
		}
		show(shown)
		at = end
	}
	if n > most {
		out.WriteString("…")
	}
	return strings.TrimSpace(out.String())
}

// find returns the end of the longest secret in text that begins at at, and its replacement. first are the readings at at.
func (s Scrubber) find(text string, at int, first []reading) (shown string, end int) {
	for _, secret := range s.secrets {
		for _, form := range secret.forms() {
			for start := range form {
				if e := begins(text, form[start:], at, first); e > end {
					shown, end = secret.shown, e
				}
				if !strings.HasSuffix(text[:at], "…") || len(form)-start <= cutOff {
					break
				}
			}
		}
	}
	return shown, end
}

// begins returns the end of a form in text that begins at at, which may be cut; 0: there is none.
func begins(text, form string, at int, first []reading) int {
	start, _ := utf8.DecodeRuneInString(form)
	if !slices.ContainsFunc(first, func(c reading) bool { return fold(c.char) == start }) {
		return 0 // fast path
	}
	var buffer [2 * levels]reading
	var here, next [2 * levels]int
	ends, n := append(here[:0], at), 0
	for _, want := range form {
		after := next[:0]
		for _, from := range ends {
			if n > 0 {
				first = readings(buffer[:0], text, from, levels)
			}
			for _, c := range first {
				if fold(c.char) == want && !slices.Contains(after, c.end) {
					after = append(after, c.end)
				}
			}
		}
		if end := slices.Max(ends); len(after) == 0 {
			if n >= partly || n >= cutOff && (strings.HasPrefix(text[end:], "…") || strings.HasPrefix(text[end:], "...")) {
				return end
			}
			return 0
		}
		n++
		ends = append(ends[:0], after...)
	}
	return slices.Max(ends)
}

// reading is a decoded character, and the end of its encoding in the text.
type reading struct {
	char rune
	end  int
}

// readings appends to out the characters that begin in text at at: the one there, and those that an encoding there means.
func readings(out []reading, text string, at, level int) []reading {
	r, size := utf8.DecodeRuneInString(text[at:])
	if size == 0 {
		return out
	}
	if out = append(out, reading{r, at + size}); level == 0 || !starts(r) {
		return out
	}
	var buffer [2 * levels]reading
	add := func(c reading) {
		if c.end > 0 && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	for _, c := range readings(buffer[:0], text, at, level-1) {
		add(decode(text, c, level-1))
		if c.char == '\\' {
			for _, second := range readings(nil, text, c.end, level-1) {
				if second.char == c.char {
					add(second)
				}
			}
		}
	}
	return out
}

// starts reports whether an encoding can start with r; the one of JSON pointers starts with a tilde.
func starts(r rune) bool { return r == '%' || r == '&' || r == '\\' || r == '~' }

// pick returns the first reading at at that ok accepts; end 0: none.
func pick(text string, at, level int, ok func(rune) bool) reading {
	if r, size := utf8.DecodeRuneInString(text[at:]); size > 0 && ok(r) {
		return reading{r, at + size}
	} else if !starts(r) {
		return reading{}
	}
	for _, c := range readings(nil, text, at, level) {
		if ok(c.char) {
			return c
		}
	}
	return reading{}
}

// skip returns the position after one of chars, in any encoding; 0: another character is there.
func skip(text string, at, level int, chars string) int {
	return pick(text, at, level, func(r rune) bool { return strings.ContainsRune(chars, r) }).end
}

// decode returns the character of an encoding that starts with c; end 0: there is no encoding.
func decode(text string, c reading, level int) reading {
	next := pick(text, c.end, level, func(r rune) bool { return !starts(r) })
	switch {
	case c.char == '&' && next.char == '#':
		base, at := rune(10), next.end
		if x := skip(text, at, level, "xX"); x > 0 {
			base, at = 16, x
		}
		n, end := number(text, at, level, base, 1, len(text))
		if end > 0 {
			end = max(end, skip(text, end, level, ";"))
		}
		return reading{n, end}
	case c.char == '&':
		return named(text, c.end, level)
	case c.char == '~' && (next.char == '0' || next.char == '1'):
		return reading{rune("~/"[next.char-'0']), next.end}
	case c.char == '~':
	case c.char == '%' || strings.ContainsRune("uUxX", next.char):
		return byUnits(text, c, level)
	case strings.ContainsRune("abfnrtv", next.char):
		return reading{' ', next.end}
	case unicode.IsPunct(next.char) || unicode.IsSymbol(next.char):
		return next
	}
	return reading{}
}

// byUnits decodes a character in units of UTF-8 (%40, \x40), UTF-16 (\u0040, %u0040) or UTF-32 (\U00000040).
func byUnits(text string, c reading, level int) reading {
	n, end := unit(text, c, level)
	var bytes []byte
	if skip(text, c.end, level, "uU") == 0 {
		bytes = append(bytes, byte(n))
	}
	for next, at := unitAfter(text, end, level, c.char); at > 0; next, at = unitAfter(text, at, level, c.char) {
		if both := utf16.DecodeRune(n, next); both != utf8.RuneError {
			return reading{both, at}
		}
		if len(bytes) == 0 || utf8.FullRune(bytes) {
			break
		}
		bytes = append(bytes, byte(next))
		if r, size := utf8.DecodeRune(bytes); size == len(bytes) {
			return reading{r, at}
		}
	}
	return reading{n, end} // of Latin-1, if it is no UTF-8
}

// unit decodes the unit with that start.
func unit(text string, start reading, level int) (n rune, end int) {
	if u := skip(text, start.end, level, "uU"); u > 0 {
		if n, end = number(text, u, level, 16, 8, 8); end > 0 && n <= unicode.MaxRune {
			return n, end
		}
		return number(text, u, level, 16, 4, 4)
	}
	at := start.end
	if start.char == '\\' {
		at = skip(text, at, level, "xX")
	}
	return number(text, at, level, 16, 2, 2)
}

// unitAfter decodes a unit that is not the first of a character; end 0: there is none.
func unitAfter(text string, at, level int, start rune) (n rune, end int) {
	for _, c := range readings(nil, text, at, level) {
		if n, end = unit(text, c, level); c.char == start && end > 0 && (n>>6 == 0x80>>6 || n>>10 == 0xdc00>>10) {
			return n, end
		}
	}
	return 0, 0
}

// named decodes an HTML reference by name, after its &.
func named(text string, at, level int) reading {
	for name := "&"; len(name) <= 32; { // the longest name has 32 bytes
		c := pick(text, at, level, func(r rune) bool { return r == ';' || unicode.IsLetter(r) || unicode.IsDigit(r) })
		if c.end == 0 {
			break
		}
		name, at = name+string(c.char), c.end
		for _, spelling := range []string{name, strings.ToLower(name)} {
			if meant := []rune(html.UnescapeString(spelling)); c.char == ';' && len(meant) == 1 {
				return reading{meant[0], at}
			}
		}
	}
	return reading{}
}

// number decodes a number of least to most digits; end 0: there is none.
func number(text string, at, level int, base rune, least, most int) (n rune, end int) {
	if at == 0 {
		return 0, 0
	}
	for count := range most {
		c := pick(text, at, level, func(r rune) bool { return digit(r) < base })
		if c.end == 0 && count < least {
			return 0, 0
		}
		if c.end == 0 {
			break
		}
		n, at = min(n*base+digit(c.char), unicode.MaxRune+1), c.end
	}
	return n, at
}

func digit(r rune) rune {
	switch {
	case '0' <= r && r <= '9':
		return r - '0'
	case 'a' <= r|0x20 && r|0x20 <= 'f':
		return r | 0x20 - 'a' + 10
	}
	return 99
}
