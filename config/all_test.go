package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// shownTargets returns targets as "label@provider".
func shownTargets(targets []poller.Target) string {
	var texts []string
	for _, t := range targets {
		texts = append(texts, t.Label+"@"+t.Provider)
	}
	return strings.Join(texts, " ")
}

var testProviders = []poller.Listed{
	{Identifier: "dev-jwt", Type: "jwt"}, {Identifier: "prod-jwt", Type: "jwt"}, {Identifier: "prod-oauth", Type: "oauth"},
}

// listsOf has all that is listed in one belief each.
func listsOf(providers, applications []poller.Listed) *poller.Lists {
	known := func(items []poller.Listed) poller.Belief {
		b := poller.Belief{}
		for _, item := range items {
			if b.Known == nil {
				b.Known = make(map[string]poller.Listed)
			}
			b.Known[item.Identifier] = item
		}
		return b
	}
	return &poller.Lists{Providers: known(providers), Applications: known(applications)}
}

// found returns the targets of c with these providers.
func found(t *testing.T, c *Config, providers []poller.Listed) []poller.Target {
	t.Helper()
	resolved, err := c.Watch.Resolve(listsOf(providers, nil))
	if err != nil {
		t.Fatal(err)
	}
	return resolved.Targets
}

// all returns a Config with text as its targets file.
func all(t *testing.T, text string, more ...string) *Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "targets.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return mustLoad(t, append(more, "IDAAS_DOMAIN=d", "IDAAS_ACCESS_TOKEN=a", "IDAAS_TARGETS_FILE="+path))
}

func TestAllProviders(t *testing.T) {
	for name, tt := range map[string]struct {
		file string
		more []string
		want string
	}{
		"all":                      {"targets: [{consumer: a, credential_providers: all}]", nil, "a@dev-jwt a@prod-jwt a@prod-oauth"},
		"of a type":                {"targets: [{consumer: a, credential_providers: {type: oauth}}]", nil, "a@prod-oauth"},
		"that match":               {"targets: [{consumer: a, credential_providers: {match: '^prod-'}}]", nil, "a@prod-jwt a@prod-oauth"},
		"of a type and that match": {"targets: [{consumer: a, credential_providers: {type: jwt, match: '^prod-'}}]", nil, "a@prod-jwt"},
		"none that matches":        {"targets: [{consumer: a, credential_providers: {match: '^test-'}}]", nil, ""},
		"an alias":                 {"targets: [{consumer: a, alias: b, credential_providers: all}]", nil, "b@dev-jwt b@prod-jwt b@prod-oauth"},
		"hashed": {
			"targets: [{consumer: a, credential_providers: {type: oauth}}]",
			[]string{"IDAAS_CONSUMER_LABEL=hash"},
			"ca978112ca1b@prod-oauth",
		},
		"beside one that is given": {"targets: [{consumer: a, credential_providers: all}, {consumer: a, credential_providers: [prod-jwt, " +
			"other]}]", nil, "a@prod-jwt a@other a@dev-jwt a@prod-oauth"},
		"beside one in a variable": {
			"targets: [{consumer: a, credential_providers: all}]",
			[]string{"IDAAS_TARGETS=a:prod-jwt,b:prod-jwt"},
			"a@prod-jwt b@prod-jwt a@dev-jwt a@prod-oauth",
		},
		"in two ways": {"targets: [{consumer: a, credential_providers: {type: jwt}}, {consumer: a, credential_providers: " +
			"{match: prod}}]", nil, "a@dev-jwt a@prod-jwt a@prod-oauth"},
		"of two consumers": {
			"targets: [{consumer: a, credential_providers: {type: oauth}}, {consumer: b, credential_providers: all}]",
			nil, "a@prod-oauth b@dev-jwt b@prod-jwt b@prod-oauth",
		},
		"one that is called all": {"targets: [{consumer: a, credential_providers: [all]}]", nil, "a@all"},
		"by an anchor": {"targets: [{consumer: a, credential_providers: &p {type: oauth}}, {consumer: b, credential_providers: " +
			"*p}]", nil, "a@prod-oauth b@prod-oauth"},
	} {
		t.Run(name, func(t *testing.T) {
			c := all(t, tt.file, tt.more...)
			if got := shownTargets(found(t, c, testProviders)); got != tt.want {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
			if want := !strings.Contains(tt.file, "[all]"); c.Watch.Needs(poller.Providers) != want || c.Watch.Needs(poller.Applications) {
				t.Errorf("needs the providers: %v", !want)
			}
		})
	}
}

func TestAllProvidersWindows(t *testing.T) {
	c := all(t, "targets: [{consumer: a, credential_providers: all, expiring_within: [5m]}, {consumer: a, credential_providers: [prod-jwt]}]")
	for _, target := range found(t, c, testProviders) {
		want := []poller.Window{window("5m", 5*time.Minute)}
		if target.Provider == "prod-jwt" {
			want = c.Windows
		}
		if !slices.Equal(target.Windows, want) {
			t.Errorf("%s: %v", target.Provider, target.Windows)
		}
	}
}

// All shards find the same targets; each one returns its share.
func TestAllProvidersShards(t *testing.T) {
	var providers []poller.Listed
	for i := range 100 {
		providers = append(providers, poller.Listed{Identifier: fmt.Sprint("p", i)})
	}
	total := 0
	for index := range 3 {
		c := all(t, "targets: [{consumer: a, credential_providers: all}]", "IDAAS_SHARD_COUNT=3", fmt.Sprint("IDAAS_SHARD_INDEX=", index))
		n := len(found(t, c, providers))
		if total += n; n < 15 || n > 55 {
			t.Errorf("shard %d has %d", index, n)
		}
	}
	if total != len(providers) {
		t.Errorf("%d targets in all", total)
	}
}

// An older state file has providers without a type: they match every type.
func TestAllProvidersOfUnknownType(t *testing.T) {
	c := all(t, "targets: [{consumer: a, credential_providers: {type: jwt, match: '^p'}}, {consumer: b, credential_providers: {type: oauth}}]")
	if got, want := shownTargets(found(t, c, []poller.Listed{{Identifier: "p"}, {Identifier: "q"}})), "a@p b@p b@q"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// More than maxTargets discovered targets are an error on every shard.
func TestAllProvidersOfManyTargets(t *testing.T) {
	text := "targets:\n- {consumer: named, credential_providers: [p]}\n"
	for i := range 999 {
		text += fmt.Sprintf("- {consumer: c%d, credential_providers: all}\n", i)
	}
	var providers []poller.Listed
	for i := range 101 {
		providers = append(providers, poller.Listed{Identifier: fmt.Sprint("p", i)})
	}
	for _, shards := range []int{1, 2} {
		c := all(t, text, fmt.Sprint("IDAAS_SHARD_COUNT=", shards))
		if got := len(found(t, c, providers[:100])); got < 99_901/shards/2 || got > 99_901 {
			t.Errorf("%d targets of %d shards", got, shards)
		}
		const want = "more than 100000 targets with the discovered consumers and credential providers; accepted: up to 100000"
		if _, err := c.Watch.Resolve(listsOf(providers, nil)); err == nil || err.Error() != want {
			t.Errorf("%d shards: %v", shards, err)
		}
	}
}

func TestIdle(t *testing.T) {
	c := all(t, "targets:\n- {consumer: a, credential_providers: all}\n- {consumer: a, credential_providers: {match: '^x'}}\n"+
		"- {consumer: b, credential_providers: {type: oauth, match: dev}}\n- {consumer: c, credential_providers: [dev-jwt]}\n"+
		"- {consumer: a, credential_providers: {type: oauth}}\n")
	var lines []string
	for _, at := range c.Watch.Idle(poller.Providers, testProviders) {
		lines = append(lines, at[strings.LastIndex(at, ":"):])
	}
	if got := strings.Join(lines, ""); got != ":3:4" {
		t.Errorf("lines %s", got)
	}
}

func TestAllProvidersFaults(t *testing.T) {
	for file, want := range map[string][]string{
		"{consumer: a, credential_providers: every}": {`targets.yaml:2: ` +
			`credential_providers is neither all nor none, it is not a list with at least one item`},
		"{consumer: a, credential_providers: {type: saml}}": {`targets.yaml:2="saml": unknown ` +
			`type; accepted: jwt, oauth`},
		"{consumer: a, credential_providers: {type: }}": {`targets.yaml:2: type is not a ` +
			`text of 1 to 512 bytes without control characters`},
		"{consumer: a, credential_providers: {match: '('}}": {"targets.yaml:2: error parsing " +
			"regexp: missing closing ): `(`; accepted: a regular expression (RE2)"},
		"{consumer: a, credential_providers: {name: x}}": {`targets.yaml:2="name": unknown ` +
			`key; accepted: type, match`},
		"{credential_providers: all}": {`targets.yaml:2: neither consumer nor consumers`},
		"{consumer: a, alias: x, credential_providers: all}\n- {consumer: x, credential_providers: [p]}": {`targets.yaml:3="p": the ` +
			`consumer at targets.yaml:2 is also shown as "x"`},
		"{consumer: x, credential_providers: [p]}\n- {consumer: a, alias: x, credential_providers: all}": {`targets.yaml:2="p": the ` +
			`consumer at targets.yaml:3 is also shown as "x"`},
		"{consumer: a, alias: x, credential_providers: all}\n- {consumer: x, credential_providers: all}": {`targets.yaml:3: the consumer at ` +
			`targets.yaml:2 is also shown as "x"`},
	} {
		_, err := fileTargets(t, false, "", "targets:\n- "+file+"\n")
		faults, ok := errors.AsType[Faults](err)
		if !ok {
			t.Errorf("%s: no fault", file)
			continue
		}
		wantFaults(t, faults, want...)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("targets.yaml", []byte("targets: [{consumer: a, credential_providers: all}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantFaults(t, faultsOf(t, []string{
		"IDAAS_DOMAIN=d", "IDAAS_ENDPOINT=own.example.com", "IDAAS_ACCESS_TOKEN=a",
		"IDAAS_TARGETS_FILE=targets.yaml",
	}),
		"IDAAS_MANAGEMENT_ENDPOINT: required by targets.yaml:1, because IDAAS_ENDPOINT contains no region")
}

func TestTooSlow(t *testing.T) {
	c := mustLoad(t, minimal("IDAAS_RATE_LIMIT=2"))
	targets := make([]poller.Target, 600)
	if got := c.TooSlow(targets, time.Now()); got != nil {
		t.Error(got)
	}
	hourly, err := parseSchedule("@hourly")
	if err != nil {
		t.Fatal(err)
	}
	want := "IDAAS_RATE_LIMIT: one request for each poll of 960 targets is 2.1 per second, but the limit is 2; increase the limit or poll " +
		"less often"
	targets = append(targets, slices.Repeat([]poller.Target{{Schedule: hourly}}, 360)...)
	if got := c.TooSlow(targets, time.Now()); len(got) != 1 || got[0] != want {
		t.Error(got)
	}
}
