package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// LoadTargets reads the targets as a start or a reload does.
func (c *Config) LoadTargets() ([]poller.Target, error) {
	data, _, err := c.readTargetsFile()
	w, err := c.watchlist(data, err)
	resolved, _ := w.Resolve(&poller.Lists{})
	targets := resolved.Targets
	return targets, err
}

// fileTargets loads text as the targets file, and inline targets.
func fileTargets(t *testing.T, hash bool, inline, text string) ([]poller.Target, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("targets.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Config{InlineTargets: inline, TargetsFile: "targets.yaml", ConsumerLabel: "id"}
	if hash {
		c.ConsumerLabel = "hash"
	}
	return c.LoadTargets()
}

func TestInlineTargets(t *testing.T) {
	c := mustLoad(t, minimal("IDAAS_TARGETS= urn:a:b : p-1 ,\nme@example.com:q_.2,"))
	got := fmt.Sprintf("%q %q %q %q %d", c.Targets[0].Consumer, c.Targets[0].Provider, c.Targets[1].Consumer, c.Targets[1].Provider,
		len(c.Targets))
	if want := `"urn:a:b" "p-1" "me@example.com" "q_.2" 2`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	long := strings.Repeat("x", 65)
	wantFaults(t, faultsOf(t, minimal("IDAAS_TARGETS=none,:p,a:,a:p/q,a\x00b:p,a\xff:p,a:p, a : p,b:"+long+","+strings.Repeat("y", 513)+":p")),
		`IDAAS_TARGETS item 1="none": contains no colon; accepted: consumerId:credentialProviderIdentifier`,
		`IDAAS_TARGETS item 2: consumer is not a text of 1 to 512 bytes without control characters`,
		`IDAAS_TARGETS item 3: not an identifier of 1 to 64 letters, digits and . - _`,
		`IDAAS_TARGETS item 4="p/q": not an identifier of 1 to 64 letters, digits and . - _`,
		`IDAAS_TARGETS item 5: consumer is not a text of 1 to 512 bytes without control characters`,
		`IDAAS_TARGETS item 6: consumer is not a text of 1 to 512 bytes without control characters`,
		`IDAAS_TARGETS item 9="`+long+`": not an identifier of 1 to 64 letters, digits and . - _`,
		`IDAAS_TARGETS item 10: consumer is not a text of 1 to 512 bytes without control characters`,
		`IDAAS_TARGETS item 8="p": duplicate of the target at IDAAS_TARGETS item 7`,
	)
	wantFaults(t, faultsOf(t, without(minimal(), "IDAAS_TARGETS")), "IDAAS_TARGETS: no target; set it or IDAAS_TARGETS_FILE")
	wantFaults(t, faultsOf(t, minimal("IDAAS_TARGETS=,")), "IDAAS_TARGETS: no target; set it or IDAAS_TARGETS_FILE")
}

func TestTargetsFile(t *testing.T) {
	text := "\ufeff" + strings.ReplaceAll(`# what we watch
targets:
  - consumer: app_ngtkgrr5ea5g5eao6z4
    alias: billing
    credential_providers: [github_oauth, orders_jwt]
  - consumer: ci-runner@example.com
    credential_providers: &all
      - orders_jwt
    expiring_within: [5m, 15m]
  - consumer: 0123
    credential_providers: *all
  - consumer: app_ngtkgrr5ea5g5eao6z4
    credential_providers: [third]
`, "\n", "\r\n")
	targets, err := fileTargets(t, false, "app_ngtkgrr5ea5g5eao6z4:inline", text)
	if err != nil {
		t.Fatal(err)
	}
	own := []poller.Window{window("5m", 5*time.Minute), window("15m", 15*time.Minute)}
	want := []poller.Target{
		{Consumer: "app_ngtkgrr5ea5g5eao6z4", Provider: "inline", Label: "billing", Windows: nil},
		{Consumer: "app_ngtkgrr5ea5g5eao6z4", Provider: "github_oauth", Label: "billing", Windows: nil},
		{Consumer: "app_ngtkgrr5ea5g5eao6z4", Provider: "orders_jwt", Label: "billing", Windows: nil},
		{Consumer: "ci-runner@example.com", Provider: "orders_jwt", Label: "ci-runner@example.com", Windows: own},
		{Consumer: "0123", Provider: "orders_jwt", Label: "0123", Windows: nil},
		{Consumer: "app_ngtkgrr5ea5g5eao6z4", Provider: "third", Label: "billing", Windows: nil},
	}
	if fmt.Sprint(targets) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", targets, want)
	}
}

// JSON is accepted as YAML.
func TestTargetsFileInJSON(t *testing.T) {
	for escaped, want := range map[string]string{`\u00e9\"\u005c`: `é"\`, "🙂": "🙂"} {
		text := "{\r\n  \"targets\": [\n    {\"consumer\":\"" + escaped +
			"\", \"alias\": \"a\",\n     \"credential_providers\":[\"p\"]}\n  ]\n}\n"
		targets, err := fileTargets(t, false, "", text)
		if err != nil || len(targets) != 1 || targets[0].Consumer != want {
			t.Errorf("%s: %v, %v", escaped, targets, err)
		}
	}
	targets, err := fileTargets(t, false, "", `targets: [{consumer: \ud83d\ude42, credential_providers: ['p']}]`)
	if err != nil || targets[0].Consumer != `\ud83d\ude42` {
		t.Errorf("plain text in YAML: %v, %v", targets, err)
	}
}

func TestConsumerLabel(t *testing.T) {
	// printf a | sha256sum | cut -c -12
	targets, err := fileTargets(t, true, "a:p", "targets: [{consumer: b, alias: bee, credential_providers: [p]}]")
	if err != nil || targets[0].Label != "ca978112ca1b" || targets[1].Label != "bee" {
		t.Errorf("%v, %v", targets, err)
	}
}

func TestTargetsFileFaults(t *testing.T) {
	for name, c := range map[string]struct {
		inline, text string
		want         []string
	}{
		"many at once": {"", `targets:
  - consumer: a
    credential_provider: [p]
  - credential_providers: [p, p/q]
    alias: [x]
  - consumer: b
    credential_providers: []
    expiring_within: [1h, 60m,
      0s, never]
    owner: me
`, []string{
			`targets.yaml:3="credential_provider": unknown key; accepted: credential_providers, consumer, consumers, alias, expiring_within, ` +
				`at_risk_before, about_to_end_before, lost_after, poll_schedule`,
			`targets.yaml:2: credential_providers is missing`,
			`targets.yaml:4: neither consumer nor consumers`,
			`targets.yaml:5: alias is not a text of 1 to 512 bytes without control characters`,
			`targets.yaml:4="p/q": not an identifier of 1 to 64 letters, digits and . - _`,
			`targets.yaml:10="owner": unknown key; accepted: credential_providers, consumer, consumers, alias, expiring_within, at_risk_before, ` +
				`about_to_end_before, lost_after, poll_schedule`,
			`targets.yaml:8: 60m is equal to 1h, 0s is zero, not a valid duration string: "never"`,
			`targets.yaml:7: credential_providers is neither all nor none, it is not a list with at least one item`,
		}},
		"pair twice": {"a:p", `targets:
  - consumer: a
    credential_providers: [p, q]
  - consumer: a
    credential_providers:
      - r
      - q
`, []string{
			`targets.yaml:3="p": duplicate of the target at IDAAS_TARGETS item 1`,
			`targets.yaml:7="q": duplicate of the target at targets.yaml:3`,
		}},
		"shared shown consumer": {"", `targets:
  - {consumer: a, alias: b, credential_providers: [p, q]}
  - {consumer: b, credential_providers: [p]}
  - {consumer: c, alias: b, credential_providers: [q, r]}
`, []string{
			`targets.yaml:3="p": the consumer at targets.yaml:2 is also shown as "b"`,
			`targets.yaml:4="q": the consumer at targets.yaml:2 is also shown as "b"`,
		}},
		"two aliases": {"", `targets:
  - {consumer: a, alias: b, credential_providers: [p]}
  - {consumer: a, alias: c, credential_providers: [q]}
`, []string{`targets.yaml:3="c": the consumer has the alias "b" at targets.yaml:2`}},
		"duplicate keys": {"", "targets:\n- consumer: a\n  consumer: b\n  credential_providers: [p]\ntargets: []\n", []string{
			`targets.yaml:5: duplicate key targets`,
			`targets.yaml:3: duplicate key consumer`,
		}},
		"nulls": {"", "targets:\n- \n- consumer:\n  alias: ~\n  credential_providers: [p, ]\n- consumer: a\n  credential_providers:\n  - \n " +
			" - p\n", []string{
			`targets.yaml:2: not a mapping with the keys credential_providers, consumer, consumers, alias, expiring_within, at_risk_before, ` +
				`about_to_end_before, lost_after, poll_schedule`,
			`targets.yaml:3: consumer is not a text of 1 to 512 bytes without control characters`,
			`targets.yaml:4: alias is not a text of 1 to 512 bytes without control characters`,
			`targets.yaml:8: credential provider is not a text of 1 to 512 bytes without control characters`,
		}},
		"types": {"", "targets:\n- a\n- consumer: {a: b}\n  credential_providers: p\n  expiring_within: 1h\n- consumer: aGk=\n  " +
			"credential_providers: [[p]]\n  alias: \"\"\n", []string{
			`targets.yaml:2: not a mapping with the keys credential_providers, consumer, consumers, alias, expiring_within, at_risk_before, ` +
				`about_to_end_before, lost_after, poll_schedule`,
			`targets.yaml:3: consumer is not a text of 1 to 512 bytes without control characters`,
			`targets.yaml:5: expiring_within is not a list with at least one item`,
			`targets.yaml:4: credential_providers is neither all nor none, it is not a list with at least one item`,
			`targets.yaml:8: alias is not a text of 1 to 512 bytes without control characters`,
			`targets.yaml:7: credential provider is not a text of 1 to 512 bytes without control characters`,
		}},
		"control characters": {
			"", "targets:\n- consumer: \"a\\0\"\n  credential_providers: [p]\n",
			[]string{`targets.yaml:2: consumer is not a text of 1 to 512 bytes without control characters`},
		},
		"invalid UTF-8": {"", "targets:\n- consumer: a\xff\n", []string{`targets.yaml: line 2: not valid UTF-8`}},
		"UTF-16": {
			"", "\xff\xfet\x00",
			[]string{`IDAAS_TARGETS_FILE="targets.yaml": read targets.yaml: UTF-16 text: save it as UTF-8`},
		},
		"control character": {
			"", "targets:\n- consumer: a\n  credential_providers: [p]\n# \x1b\n" + strings.Repeat("# long\n", 9999),
			[]string{`targets.yaml: line 4: the control character U+001B`},
		},
		"deep in the file": {"", "targets:\n- consumer: a\n  credential_providers: [p]\n" + strings.Repeat("# long\n", 9999) +
			"- consumer: \u0080", []string{`targets.yaml: line 10003: the control character U+0080`}},
		"NUL": {"", "\x00", []string{`targets.yaml: line 1: the control character U+0000`}},
		"halves in YAML": {
			"", "targets:\n- consumer: \"\\ud83d\\ude42\"\n  credential_providers: [p]\n",
			[]string{`targets.yaml: line 2: found invalid Unicode character escape code`},
		},
		"faults in JSON": {"", "{\n\"targets\": [\n {\"consumer\": \"a\",\n  \"credential_providers\": [\"p\", " +
			"\"p/q\"], \"consumer\": 1}\n]\n}\n", []string{
			`targets.yaml:4: duplicate key consumer`,
			`targets.yaml:4="p/q": not an identifier of 1 to 64 letters, digits and . - _`,
		}},
		"syntax": {
			"", "targets:\n- consumer: a\n  alias: b: c\n",
			[]string{`targets.yaml: line 3: mapping values are not allowed in this context`},
		},
		"tab":           {"", "targets:\n\t- consumer: a\n", []string{`targets.yaml: line 2: found character that cannot start any token`}},
		"unknown alias": {"", "targets: *nothing\n", []string{`targets.yaml: unknown anchor 'nothing' referenced`}},
		"two documents": {
			"", "targets:\n- {consumer: a, credential_providers: [p]}\n---\ntargets: []\n",
			[]string{`targets.yaml: line 3: more than one document`},
		},
		"broken second": {
			"", "targets:\n- {consumer: a, credential_providers: [p]}\n---\n]\n",
			[]string{`targets.yaml: line 3: did not find expected node content`},
		},
		"empty":               {"a:p", "", []string{`targets.yaml: empty file`}},
		"only comments":       {"a:p", "# nothing\n", []string{`targets.yaml: empty file`}},
		"no targets":          {"", "credential_providers: {p: {lost_after: 1h}}\n", []string{`targets.yaml:1: targets is missing`}},
		"empty targets":       {"a:p", "targets: []\n", []string{`targets.yaml:1: targets is not a list with at least one item`}},
		"null targets":        {"a:p", "targets:\n", []string{`targets.yaml:1: targets is not a list with at least one item`}},
		"a list at top level": {"a:p", "- consumer: a\n", []string{`targets.yaml:1: not a mapping with the keys targets, credential_providers`}},
		"own thresholds": {"a:p", "credential_providers:\n  p: {lost_after: 0s, at_risk_before: 20%}\n  p/q: {about_to_end_before: " +
			"'101%,1d', poll: x}\n  q: [lost_after]\n  r: {at_risk_before: '0%,1d', lost_after:  }\n", []string{
			`targets.yaml:2="20%": at_risk_before: not a percentage above 0 and a duration; accepted: '20%,7d'`,
			`targets.yaml:2="0s": lost_after: out of range; accepted: a duration from 1s to 1y`,
			`targets.yaml:3="p/q": not an identifier of 1 to 64 letters, digits and . - _`,
			`targets.yaml:3="poll": unknown key; accepted: expiring_within, at_risk_before, about_to_end_before, lost_after, poll_schedule`,
			`targets.yaml:3="101%,1d": about_to_end_before: not a percentage above 0 and a duration; accepted: '20%,7d'`,
			`targets.yaml:4: not a mapping with the keys expiring_within, at_risk_before, about_to_end_before, lost_after, poll_schedule`,
			`targets.yaml:5="0%,1d": at_risk_before: not a percentage above 0 and a duration; accepted: '20%,7d'`,
			`targets.yaml:5: lost_after is not a text of 1 to 512 bytes without control characters`,
		}},
		"schedules": {"a:p", "credential_providers:\n  p: {poll_schedule: 5 4 * *}\n  q: {poll_schedule: '@every 1ms'}\n" +
			"  r: {poll_schedule: [x]}\n  s: {poll_schedule: \"0 0 30 2 *\"}\n  t: {poll_schedule: reboot}\n", []string{
			`targets.yaml:2="5 4 * *": poll_schedule: expected exactly 5 fields, found 4: [5 4 * *]; put it in quotes` + schedules,
			`targets.yaml:3="@every 1ms": poll_schedule: not every 1s to 10y` + schedules,
			`targets.yaml:4: poll_schedule is not a text of 1 to 512 bytes without control characters`,
			`targets.yaml:5="0 0 30 2 *": poll_schedule: never scheduled` + schedules,
			`targets.yaml:6="reboot": poll_schedule: expected exactly 5 fields, found 1: [reboot]; put it in quotes` + schedules,
		}},
		"too many schedules": {"a:p", "credential_providers:\n" + providers(51), []string{
			`targets.yaml:52="51 * * * *": poll_schedule: more than 50 schedules` + schedules,
		}},
		"windows": {
			"", "targets:\n- consumer: a\n  credential_providers: [p]\n  expiring_within: []\n",
			[]string{`targets.yaml:4: expiring_within is not a list with at least one item`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			targets, err := fileTargets(t, false, c.inline, c.text)
			faults, _ := errors.AsType[Faults](err)
			if targets != nil {
				t.Errorf("targets: %v", targets)
			}
			wantFaults(t, faults, c.want...)
		})
	}
}

// TestFaultsKeepPseudonyms checks that a consumer id is not shown if only its hash may be.
func TestFaultsKeepPseudonyms(t *testing.T) {
	_, err := fileTargets(t, true, "alice,alice:p,alice:p,alice:/", `targets:
  - {consumer: alice, credential_providers: [p, ""]}
  - {consumer: alice, alias: x, credential_providers: [q]}
  - {consumer: alice, alias: y, credential_providers: [q]}
  - {consumer: bob, alias: x, credential_providers: [q]}
`)
	if faults, _ := errors.AsType[Faults](err); len(faults) != 8 || strings.Contains(err.Error(), "alice") || strings.Contains(err.Error(),
		"bob") {
		t.Errorf("%d faults:\n%v", len(faults), err)
	}
}

func TestTargetsFileUnreadable(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	faults := faultsOf(t, minimal("IDAAS_TARGETS_FILE="+missing))
	if len(faults) != 1 || faults[0].Name != "IDAAS_TARGETS_FILE" || faults[0].Value != missing {
		t.Errorf("%v", faults)
	}
}

// TestAliasBomb checks that aliases cannot multiply a file without limit.
func TestAliasBomb(t *testing.T) {
	for name, item := range map[string]string{"good": "p%d", "bad": "p/%d"} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			b.WriteString("targets:\n- consumer: a\n  credential_providers: &all\n")
			for i := range 5_000 {
				fmt.Fprintf(&b, "  - "+item+"\n", i)
			}
			for i := range 5_000 {
				fmt.Fprintf(&b, "- {consumer: c%d, credential_providers: *all}\n", i)
			}
			_, err := fileTargets(t, false, "", b.String())
			if err == nil || !strings.Contains(err.Error(), "ignored from here") {
				t.Error("read to the end")
			}
		})
	}
}

// A misplaced consumer id is not shown if consumers are hashed.
func TestHashedConsumersAreNotShownInFaults(t *testing.T) {
	for _, text := range []string{
		"targets: [{consumer: a, credential_providers: [alice@example.com]}]",
		"targets: [{consumer: a, credential_providers: [p], alice@example.com: [x]}]",
	} {
		if _, err := fileTargets(t, true, "github_oauth:alice@example.com,alice@example.com", text); err == nil || strings.Contains(err.Error(),
			"alice") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Merge keys and keys for anchors, as in Compose files.
func TestMergeKeysAndKeysForAnchors(t *testing.T) {
	const base = "x-base: &base\n  credential_providers: [p, q]\n  expiring_within: [5m]\n  x-note: any\nx-other: &other " +
		"{credential_providers: [r], alias: ann}\ntargets:\n"
	for _, tt := range []struct{ name, text, want string }{
		{"merged", base + "- {consumer: a, <<: *base}\n- {<<: *base, consumer: b}", "a a p [5m]; a a q [5m]; b b p [5m]; b b q [5m]"},
		{"own values win", base + "- {<<: *base, consumer: a, credential_providers: [s]}", "a a s [5m]"},
		{"the first of a list wins", base + "- {<<: [*base, *other], consumer: a}", "a ann p [5m]; a ann q [5m]"},
		{"the other way round", base + "- {<<: [*other, *base], consumer: a}", "a ann r [5m]"},
		{"inline", "targets: [{<<: {consumer: a}, credential_providers: [p]}]", "a a p []"},
		{"twice", base + "- {<<: *other, <<: *base, consumer: a}", "a ann r [5m]"},
		{"of a merged one", "x-a: &a {alias: x}\nx-b: &b {<<: *a, credential_providers: [p]}\ntargets: [{<<: *b, consumer: a}]", "a x p []"},
		{"ignored everywhere", "x-1: {targets: 1}\ntargets: [{x-2: [], consumer: a, credential_providers: [p]}]\nx-: ~", "a a p []"},
		{"a circle", "x-a: &a {<<: *a, consumer: a}\ntargets: [{<<: *a, credential_providers: [p]}]", "a a p []"},
		{"at the top", "x-a: &a {targets: [{consumer: a, credential_providers: [p]}]}\n<<: *a", "a a p []"},
		{"defaults of providers", "x-a: &a {lost_after: 5m}\ncredential_providers: {x-p: {<<: *a, expiring_within: [6m]}}\ntargets: " +
			"[{consumer: a, credential_providers: [x-p]}]", "a a x-p [6m]"},
		{"in the providers", "x-a: &a {match: '^p'}\ntargets: [{consumer: a, credential_providers: {<<: *a, match: '^q'}}]", ""},

		{
			"unknown key, once", "x-a: &a {alais: x, credential_providers: [p]}\ntargets:\n- {<<: *a, consumer: a}\n- {<<: *a, consumer: b}",
			`targets.yaml:1="alais": unknown key; accepted: credential_providers, consumer, consumers, alias, ` + strings.Join(ownKeys, ", "),
		},
		{
			"no mapping", "targets:\n- {<<: 1, consumer: a, credential_providers: [p]}",
			"targets.yaml:2: not a mapping with the keys credential_providers, consumer, consumers, alias, " + strings.Join(ownKeys, ", "),
		},
		{"nothing required merged", "targets:\n- {<<: {alias: x}, consumer: a}", "targets.yaml:2: credential_providers is missing"},
		{
			"a text", "targets:\n- {'<<': {consumer: a}, consumer: a, credential_providers: [p]}",
			`targets.yaml:2="<<": unknown key; accepted: credential_providers, consumer, consumers, alias, ` + strings.Join(ownKeys, ", "),
		},
		{"not x-", "targets: []\nX-a: 1\nxa: 1", `targets.yaml:2="X-a": unknown key; accepted: targets, credential_providers
targets.yaml:3="xa": unknown key; accepted: targets, credential_providers
targets.yaml:1: targets is not a list with at least one item`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			targets, err := fileTargets(t, false, "", tt.text)
			var got []string
			for _, target := range targets {
				var windows []string
				for _, w := range target.Windows {
					windows = append(windows, w.Label)
				}
				got = append(got, fmt.Sprintf("%s %s %s %v", target.Consumer, target.Label, target.Provider, windows))
			}
			if err != nil {
				got = []string{err.Error()}
			}
			if shown := strings.Join(got, "; "); shown != tt.want {
				t.Errorf("got  %s\nwant %s", shown, tt.want)
			}
		})
	}
}
