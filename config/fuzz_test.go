package config

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

const planted = "hush-5f0c2d9e"

// checkFaults reports faults without a name or with the secret.
func checkFaults(t *testing.T, faults Faults) {
	t.Helper()
	for _, f := range faults {
		if f.Name == "" || f.Problem == "" {
			t.Errorf("%+v", f)
		}
	}
	if strings.Contains(faults.Error(), planted) {
		t.Error(faults)
	}
}

func checkSchedule(t *testing.T, next func(time.Time) time.Time) {
	t.Helper()
	now := time.Date(2026, 3, 28, 23, 59, 59, 500_000_000, time.UTC)
	for range 3 {
		due := next(now)
		if !due.After(now) {
			t.Fatalf("due at %v after %v", due, now)
		}
		now = due
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("host:8443", "https://host", "host/token", "oidc", "@every 90s", "1h,1d", "1h30m", "0.5", "a:b,c:d", ":9877")
	f.Add("", "http://localhost:1/", "http://[::1]:2/t", "private_key_jwt", "CRON_TZ=Asia/Shanghai 0 3 * * 1", "90m", "7d", "1e2", "urn:a:b",
		"[::1]:0")
	f.Add("<domain>", "http://host", "ftp://host/%zz#?", "PKCS7", "0 0 30 2 *", "1d,24h", "-1h", "NaN", "none", "9877")
	f.Add("a b", "host:", "host", "", "", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, domain, endpoint, tokenEndpoint, method, schedule, windows, timeout, rate, targets, address string) {
		if strings.Contains(domain+endpoint+tokenEndpoint+method+schedule+windows+timeout+rate+targets+address, planted) {
			t.Skip()
		}
		rest := []string{
			"IDAAS_DOMAIN=" + domain, "IDAAS_INSTANCE_ID=i", "IDAAS_ENDPOINT=" + endpoint, "IDAAS_ACCESS_TOKEN=" + planted,
			"IDAAS_POLL_SCHEDULE=" + schedule, "IDAAS_EXPIRING_WITHIN=" + windows, "IDAAS_POLL_TIMEOUT=" + timeout, "IDAAS_RATE_LIMIT=" + rate,
			"IDAAS_TARGETS=" + targets, "IDAAS_LISTEN_ADDRESS=" + address,
		}
		checkFaults(t, faultsOf(t, append(rest[:len(rest):len(rest)], "IDAAS_AUTH_METHOD="+method, "IDAAS_CLIENT_SECRET="+planted,
			"IDAAS_CLIENT_SECRET_FILE=f",
			"IDAAS_TOKEN_ENDPOINT=https://"+planted+"@"+tokenEndpoint, "IDAAS_X"+method+"="+planted)))
		c, err := load(append(rest, "IDAAS_TOKEN_ENDPOINT="+tokenEndpoint))
		if err != nil {
			faults, ok := errors.AsType[Faults](err)
			if !ok || len(faults) == 0 || c != nil {
				t.Fatalf("%v, %v", c, err)
			}
			checkFaults(t, faults)
			return
		}
		checkSchedule(t, c.Schedule.Next)
		if len(c.Windows) == 0 || len(c.Targets) == 0 || c.PollTimeout <= 0 || !(c.RateLimit > 0) {
			t.Errorf("%+v", c)
		}
		for _, base := range []string{c.Domain, c.Endpoint} {
			if again, err := poller.ParseEndpoint(base, false); base != "" && (err != nil || again != base) {
				t.Errorf("%q: %q, %v", base, again, err)
			}
		}
	})
}

func FuzzSchedule(f *testing.F) {
	for _, spec := range []string{
		"*/5 * * * *", "@every 90s", "@every 1.5h", "TZ=UTC", "CRON_TZ=Asia/Shanghai @daily", "TZ=Europe/Berlin 30 2 29 2 *", "0 0 30 2 *",
		"@every 292y", "0 0 1-31/40 * SUN", "@reboot",
		"CRON_TZ= 0 3 * * *", "TZ=UTC TZ=UTC", "TZ=Australia/Lord_Howe */7 * 28-31 * *", "CRON_TZ=Local @every 1ms",
		"TZ=Africa/Cairo * 0-22 * * *",
	} {
		f.Add(spec)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		if schedule, err := parseSchedule(spec); err == nil {
			checkSchedule(t, schedule.Next)
		}
	})
}

func FuzzTargetsFile(f *testing.F) {
	for _, text := range []string{
		"targets:\n- consumer: a\n  alias: b\n  credential_providers: [p, q]\n  expiring_within: [5m, 15m]\n",
		"targets: [{consumer: a, credential_providers: &p [p]}, {consumer: b, credential_providers: *p}]",
		"targets: [{consumer: a, credential_providers: all}, {consumer: a, credential_providers: {type: jwt, match: ^p}}, {consumer: b, " +
			"credential_providers: [p]}]", "targets: &t\n- *t\n", "targets:\n- {<<: {consumer: a}, credential_providers: [p]}\n", "---\n---\n",
		"targets: [{consumers: all, credential_providers: [p]}, {consumers: {match: y, identity: agent}, credential_providers: all}, " +
			"{consumer: w, alias: y, credential_providers: none}]",
		"\xff", "a: &a [*a]", "? [a]\n: b\n", "!!binary x", "targets: {}",
		"{\n\t\"targets\": [{\"consumer\": \"\\ud83d\\ude42\\\\ud83d\", \"credential_providers\": [\"p\"]}]}", `{"targets": ["\ud83d"]}`,
		"targets:\n# \x00",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := Config{TargetsFile: "targets.yaml", ConsumerLabel: "hash", Windows: []poller.Window{window("1h", time.Hour)}}
		w, err := c.watchlist(data, nil)
		if faults, ok := errors.AsType[Faults](err); ok {
			checkFaults(t, faults)
			return
		}
		if len(w.pairs) == 0 {
			t.Error("neither a target nor a fault")
		}
		resolved, _ := w.Resolve(listsOf([]poller.Listed{{Identifier: "p", Type: "jwt"}, {Identifier: "q"}, {Identifier: "r", Type: "oauth"}},
			[]poller.Listed{{Identifier: "x", Type: "agent", Name: "y"}, {Identifier: "y"}, {Identifier: "z", Name: "x\n"}}))
		targets := resolved.Targets
		seen := make(map[[2]string]bool)
		for _, target := range targets {
			key := [2]string{target.Label, target.Provider}
			bad := poller.CheckIdentifier(target.Provider)
			if target.Consumer == "" || target.Label == "" || bad != nil || len(target.Windows) == 0 || seen[key] {
				t.Errorf("%+v", target)
			}
			seen[key] = true
		}
	})
}

func FuzzVendorFile(f *testing.F) {
	for _, text := range []string{
		camelCase, snakeCase, "", "{", "[]", "null", `{"issuer": "/", "clientId": 1}`,
		`{"authnConfiguration": {"authnMethod": "PKCS7", "identityType": "HUMAN"}}`,
		`{"tokenEndpoint": "https://a@b/<c>", "httpConfiguration": {"unsafeIgnoreSslCert": true}}`, "{\"a\": 1,\n\"a\": 2}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		given := map[string]string{"MY_SECRET": planted, "IDAAS_MY_KEY": planted, "MY_TOKEN_FILE": planted}
		var top map[string]any
		if json.Unmarshal(data, &top) != nil {
			return
		}
		v := fromVendor("client-config.json: ", top, given)
		if len(v.values) != len(v.places) {
			t.Errorf("%+v", v)
		}
		checkFaults(t, slices.Concat(v.faults, v.unset))
		for name, text := range v.values {
			if text == "" || !slices.ContainsFunc(settings(), func(s setting) bool { return s.name == name }) {
				t.Errorf("%s=%q", name, text)
			}
		}
		maps.Copy(given, v.values)
		c := new(Config)
		checkFaults(t, c.parse(given))
		checkFaults(t, c.check(given))
	})
}
