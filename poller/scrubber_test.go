package poller

import (
	"encoding/base64"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// encodings write one character.
var encodings = []func(rune) string{
	func(r rune) string { return string(r) },
	func(r rune) string { return bytesAs("%%%02X", r) },
	func(r rune) string { return bytesAs("%%%02x", r) },
	func(r rune) string { return fmt.Sprintf("&#%d;", r) },
	func(r rune) string { return fmt.Sprintf("&#%020d;", r) },
	func(r rune) string { return fmt.Sprintf("&#x%x;", r) },
	func(r rune) string { return fmt.Sprintf("&#X%07X;", r) },
	func(r rune) string { return html.EscapeString(string(r)) },
	func(r rune) string { return units(`\u%04x`, r) },
	func(r rune) string { return units(`\u%04X`, r) },
	func(r rune) string { return unquoted(strconv.QuoteToASCII(string(r))) },
	func(r rune) string { return strings.ReplaceAll(unquoted(strconv.Quote(string(r))), "/", `\/`) },
	func(r rune) string { return url.QueryEscape(string(r)) },
	func(r rune) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(string(r)) },
	func(r rune) string { return string(unicode.ToUpper(r)) },
}

func unquoted(s string) string { return s[1 : len(s)-1] }

func bytesAs(format string, r rune) (out string) {
	for _, b := range []byte(string(r)) {
		out += fmt.Sprintf(format, b)
	}
	return out
}

func units(format string, r rune) (out string) {
	for _, u := range utf16.Encode([]rune{r}) {
		out += fmt.Sprintf(format, u)
	}
	return out
}

// encode writes each character by one of encodings, as the bytes of plan choose. A character that starts an encoding is written as itself
// only where no other is encoded so.
func encode(text string, plan []byte) string {
	var kinds, out strings.Builder
	plan = append([]byte{0}, plan...)
	for _, choice := range plan[1:] {
		for _, r := range `a\"&/~` {
			if written := encodings[int(choice)%len(encodings)](r); written != string(r) {
				kinds.WriteString(written[:1])
			}
		}
	}
	n := 0
	for _, r := range text {
		n++
		written := encodings[int(plan[n%len(plan)])%len(encodings)](r)
		if itself := map[rune]string{'%': "%25", '&': "&amp;", '\\': `\\`, '~': "~0"}[r]; written == string(r) && itself != "" &&
			strings.ContainsRune(kinds.String(), r) {
			written = itself
		}
		out.WriteString(written)
	}
	return out.String()
}

var escaped = regexp.MustCompile(`(?i)(%[0-9a-f]{2})+|(\\u[0-9a-f]{4})+|\\.`)

// decoded reads a text as if all of it were encoded, once.
func decoded(text string) string {
	return html.UnescapeString(escaped.ReplaceAllStringFunc(text, func(s string) string {
		if plain, err := url.PathUnescape(s); err == nil && s[0] == '%' {
			return plain
		}
		if plain, err := strconv.Unquote(`"` + s + `"`); err == nil {
			return plain
		}
		return strings.TrimPrefix(s, `\`)
	}))
}

// has reports whether a text contains a secret, in any encoding.
func has(text, secret string) bool {
	for range levels + 1 {
		if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
			return true
		}
		text = decoded(text)
	}
	return false
}

func TestSecretIsHiddenInAnyEncoding(t *testing.T) {
	long := strings.Repeat("0123456789abcdef-", 20)
	for _, tt := range []struct{ secret, text string }{
		{"CI-Runner@Example.com", "CI-Runner&#64;Example.com"},
		{"CI-Runner@Example.com", "ci-runner&#0000000064;example.com"},
		{"CI-Runner@Example.com", "CI-Runner&#x40;Example&#X2E;com"},
		{"CI-Runner@Example.com", "CI-Runner&#64Example.com"},
		{"CI-Runner@Example.com", "CI-Runner&commat;Example&period;com"},
		{"CI-Runner@Example.com", "%43%49%2d%52unner%40Example%2ecom"},
		{"CI-Runner@Example.com", "%43I-R&#117;\\u006Ener%2540Example.com"},
		{"CI-Runner@Example.com", "CI-Runner%u0040Example.com"},
		{"CI-Runner@Example.com", "CI-Runner%26%2364%3BExample.com"},
		{"CI-Runner@Example.com", "CI-Runner&amp;#64;Example.com"},
		{"CI-Runner@Example.com", "CI-Runner&#38;#64;Example.com"},
		{"CI-Runner@Example.com", `CI-Runner\\u0040Example.com`},
		{"CI-Runner@Example.com", `CI-Runner\x40Example.com`},
		{"CI-Runner@Example.com", "CI-Runner%%34%30Example.com"},
		{"a b/c", "a+b%2fc"},
		{"a+b", "a b"},
		{"a b", "a\nb"},
		{"a b", `a\nb`},
		{"a/b~c", "a~1b~0c"},
		{"日本\U0001f600", `\u65e5%E6%9C%AC\uD83D\uDE00`},
		{"日本\U0001f600", `%25E6%2597%25A5&#26412;\\ud83d\\ude00`},
		{"日本\U0001f600", `\u65e5\u672c\U0001f600`},
		{"söme", "s%F6me"},
		{"abc", "YWJj"},
		{"Ã¤", `\u00c3\u00a4`},
		{"a@b", `A\U0040B`},
		{"a@b", `A\X40B`},
		{"Söme", "s\u00d6ME"},
		{"50%25&amp;\\u0040", "50%25&amp;\\u0040"},
		{"50%25&amp;\\u0040", "50%2525&amp;amp;\\\\u0040"},
		{"%%%&&&\\\\\\", "%25%%25&&amp;&\\\\\\\\\\\\"},
		{"client secret", base64.StdEncoding.EncodeToString([]byte("client secret"))[:17]},
		{"client secret", base64.RawURLEncoding.EncodeToString([]byte("client secret~"))[:17]},
		{"client secret", base64.StdEncoding.EncodeToString([]byte("xclient secret"))[2:18]},
		{"client secret", base64.StdEncoding.EncodeToString([]byte("xyclient secret"))[3:20]},
		{long, long[:40]},
		{long, long[:8] + "…"},
		{long, long[:8] + "..."},
		{long, "…" + long[300:]},
	} {
		s := Scrubber{}.Hide("another", "[another]").Hide(tt.secret, "[secret]")
		want := "x [secret] y"
		if strings.HasSuffix(tt.text, "…") || strings.HasSuffix(tt.text, "...") {
			want = "x [secret]" + strings.TrimPrefix(tt.text, long[:8]) + " y"
		} else if strings.HasPrefix(tt.text, "…") {
			want = "x …[secret] y"
		}
		if got := s.Clean("x " + tt.text + " y"); got != want {
			t.Errorf("%q in %q is shown as %q, want %q", tt.secret, tt.text, got, want)
		}
	}
}

func TestEveryMixOfEncodingsIsHidden(t *testing.T) {
	const secret = `ä%4&#6;\u00/"+ z@K~` + "\U0001f600"
	s := Scrubber{}.Hide(secret, "[secret]")
	for first := range encodings {
		for second := range encodings {
			for _, third := range []int{0, 1, 5, 8, 11} {
				text := encode(encode(encode(secret, []byte{byte(first)}), []byte{byte(second), byte(third)}), []byte{byte(third), 0})
				if got := s.Clean("x " + text + " y"); got != "x [secret] y" {
					t.Fatalf("%d %d %d: %q is shown as %q", first, second, third, text, got)
				}
			}
		}
	}
}

func TestOtherTextsStay(t *testing.T) {
	s := Scrubber{}.Hide("app_ngtkgrr5ea5g5eao6z4", "billing").Hide("client secret", "[secret]")
	for _, text := range []string{
		"403 Forbidden: app_ngtkgrr5ea5g5eao6z is not yours", "50%&more \\ ~2 %zz &#; &#x; &nosuchname; \\u12 \\x %u00",
		"client  secret, clientsecret", "%", "&", `\`, "~", "&#", "%E", `\ud83d`, "%C3", "\ufffd",
	} {
		if got := s.Clean(text); got != text {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
}

// A secret of any size is hidden within limits of time and memory, and a text that is cut does not show its start.
func TestLongSecretsAndTexts(t *testing.T) {
	secret := strings.Repeat("0123456789+/abcdefgh", 150_000)
	s := Scrubber{}.Hide(secret, "[secret]")
	for _, text := range []string{
		secret, "x" + secret[:1<<20], url.QueryEscape(secret), strings.Repeat("x", 190) + secret,
		base64.StdEncoding.EncodeToString([]byte(secret)),
	} {
		if got := s.Clean(text); strings.Contains(got, "01234") || strings.Contains(got, "MDEy") || utf8.RuneCountInString(got) > 201 {
			t.Errorf("shown: %.300q", got)
		}
	}
	for _, text := range []string{
		"&#" + strings.Repeat("0", 1<<20), strings.Repeat("%", 1<<16), strings.Repeat("&", 1<<16),
		strings.Repeat(`\`, 1<<16), strings.Repeat("%25", 1<<16), "%" + strings.Repeat("%25", 1<<16),
	} {
		s.Clean(text)
	}
}

func FuzzScrubber(f *testing.F) {
	f.Add("CI-Runner@Example.com", "no consumer ", " here", []byte{0, 3}, []byte{}, []byte{})
	f.Add("a+b c", "%", "41", []byte{1, 2}, []byte{5}, []byte{8})
	f.Add(`p%4&#6"\u00`, `\`, ";", []byte{3, 4, 5, 6}, []byte{8, 9}, []byte{1})
	f.Fuzz(func(t *testing.T, secret, before, after string, first, second, third []byte) {
		if secret = strings.TrimSpace(secret); len(secret) < 4 || !utf8.ValidString(secret+before+after) ||
			strings.ContainsFunc(secret+before+after, func(r rune) bool { return !unicode.IsPrint(r) }) ||
			has(before+"[...]"+after, secret) || has("[...]", secret) {
			return
		}
		text := before + encode(encode(encode(secret, first), second), third) + after
		if got := (Scrubber{}).Hide(secret, "[...]").Clean(text); has(got, secret) {
			t.Errorf("%q in %q is shown in %q", secret, text, got)
		}
	})
}

func BenchmarkScrubber(b *testing.B) {
	token := strings.Repeat("eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.", 30)
	text := "AccessDenied: the consumer CI-Runner&#64;Example.com, %E5%87%AD%E8%AF%81 is not known here; " +
		strings.Repeat("some text of the API, ", 10)
	for _, size := range []int{0, 4 << 10, 60 << 10} {
		text := text + strings.Repeat("y", size)
		b.Run(strconv.Itoa(len(text)), func(b *testing.B) {
			s := Scrubber{}.Hide("CI-Runner@Example.com", "ci").Hide("client secret",
				"[secret]").Hide(base64.StdEncoding.EncodeToString([]byte("app:client secret")), "[secret]").
				Hide(token, "[access token]")
			b.ReportAllocs()
			for b.Loop() {
				s.Clean(text)
			}
		})
	}
}
