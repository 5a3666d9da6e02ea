package config

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// go test ./config -run TestReadme -update rewrites the table in README.md between its two markers.
var update = flag.Bool("update", false, "rewrite the table of settings in README.md")

func TestReadme(t *testing.T) {
	const path, begin, end = "../README.md", "<!-- settings -->\n", "<!-- /settings -->"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, foundBegin := strings.Cut(string(data), begin)
	table, after, foundEnd := strings.Cut(rest, end)
	if !foundBegin || !foundEnd {
		t.Fatalf("%s lacks the lines %s and %s", path, begin, end)
	}
	table = strings.Trim(table, "\n") + "\n"
	if table == markdownTable() {
		return
	}
	if !*update {
		t.Fatalf("the table in %s is outdated; run go test ./config -run TestReadme -update", path)
	}
	if err := os.WriteFile(path, []byte(before+begin+"\n"+markdownTable()+"\n"+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestMarkdownTable(t *testing.T) {
	table := markdownTable()
	for _, row := range []string{
		"| variable | default | meaning |\n|---|---|---|\n",
		"| `IDAAS_SCOPE` | `urn:cloud:idaas:pam\\|authentication_token:read` | scope of the requested access token; accepts a text |\n",
		"| `IDAAS_POLL_CONCURRENCY` | `4` | number of targets walked at the same time; accepts a whole number from `1` to `1000` |\n",
		"| `IDAAS_PRIVATE_KEY_ID` | – | key id (`kid`) in the assertion of `private_key_jwt`; accepts a text |\n",
		"| `IDAAS_LOG_FORMAT` | `text` | format of the log; accepts `text`, `json` |\n",
	} {
		if !strings.Contains(table, row) {
			t.Errorf("missing row: %s", row)
		}
	}
}

func TestHelp(t *testing.T) {
	var b strings.Builder
	Help(&b)
	text := b.String()
	for _, command := range []string{"serve ", "demo ", "check [-json] ", "once [FILE] ", "version ", "help "} {
		if !strings.Contains(text, "\n  "+command) {
			t.Errorf("no command %s", command)
		}
	}
	for line := range strings.Lines(text) {
		if utf8.RuneCountInString(line) > 101 {
			t.Errorf("wider than 100 columns: %s", line)
		}
	}
	for _, s := range settings() {
		if s.help == "" || s.accepts == "" {
			t.Errorf("%s lacks help or accepts", s.name)
		}
		if strings.Count(s.help, "'")%2+strings.Count(s.accepts, "'")%2 > 0 {
			t.Errorf("%s: a ' marks code, it is no apostrophe", s.name)
		}
		if !strings.Contains(text, s.name) || !strings.Contains(text, s.fallback) {
			t.Errorf("%s or its default is missing", s.name)
		}
	}
	if strings.Contains(text, "(default )") {
		t.Error("an empty default")
	}
	want := "IDAAS_POLL_SCHEDULE  (default @every 5m)\n    " +
		"when targets without a poll_schedule are polled; a time that a clock change skips " +
		"or repeats is\n      scheduled once\n    accepts five cron fields"
	if !strings.Contains(text, want) {
		t.Errorf("no %q in:\n%s", want, text)
	}
}

// All settings in the documents exist.
func TestDocumentsNameSettings(t *testing.T) {
	files := []string{"../README.md", "../.github/SECURITY.md"}
	for _, pattern := range []string{"../deploy/*/*.md", "../deploy/*/*.yaml", "../dashboards/*"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(found), err)
		}
		files = append(files, found...)
	}
	known := map[string]bool{}
	for _, s := range settings() {
		known[s.name] = true
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bIDAAS_[A-Z0-9_]+[A-Z]`).FindAllString(string(text), -1) {
			if !known[name] {
				t.Errorf("%s speaks of %s, which is no setting", file, name)
			}
		}
	}
}

// markdownTable returns the table of all settings.
func markdownTable() string {
	var b strings.Builder
	b.WriteString("| variable | default | meaning |\n|---|---|---|\n")
	for _, s := range settings() {
		row := fmt.Sprintf("¦ '%s' ¦ '%s' ¦ %s; accepts %s ¦\n", s.name, s.fallback, s.help, s.accepts)
		b.WriteString(strings.NewReplacer("''", "–", "'", "`", "|", `\|`, "¦", "|").Replace(row))
	}
	return b.String()
}
