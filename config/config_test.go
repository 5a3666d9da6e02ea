package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// minimal is the shortest environment that loads.
func minimal(more ...string) []string {
	return append([]string{
		"IDAAS_INSTANCE_ID=idaas_abc",
		"IDAAS_ENDPOINT=eiam.example.com",
		"IDAAS_TOKEN_ENDPOINT=https://login.example.com/api/v2/token",
		"IDAAS_CLIENT_ID=app_1",
		"IDAAS_CLIENT_SECRET=hush-hush",
		"IDAAS_TARGETS=app_2:github",
	}, more...)
}

func window(label string, d time.Duration) poller.Window {
	return poller.Window{Label: label, Duration: d}
}

func without(environ []string, name string) []string {
	return slices.DeleteFunc(environ, func(pair string) bool { return strings.HasPrefix(pair, name+"=") })
}

// load treats only the web configuration bad.yml as invalid.
func load(environ []string) (*Config, error) {
	return Load(environ, func(file string) error {
		if file == "bad.yml" {
			return errors.New("bad")
		}
		return nil
	})
}

func mustLoad(t *testing.T, environ []string) *Config {
	t.Helper()
	c, err := load(environ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// faultsOf returns the faults of an invalid environment.
func faultsOf(t *testing.T, environ []string) Faults {
	t.Helper()
	c, err := load(environ)
	faults, ok := errors.AsType[Faults](err)
	if !ok || c != nil {
		t.Fatalf("Load = %v, %v; want Faults only", c, err)
	}
	return faults
}

func wantFaults(t *testing.T, got Faults, want ...string) {
	t.Helper()
	if text := strings.Join(want, "\n"); got.Error() != text {
		t.Errorf("faults:\n%v\nwant:\n%s", got, text)
	}
}

func TestDefaults(t *testing.T) {
	c := mustLoad(t, minimal())
	if schedule := c.Schedule; schedule.Text != "@every 5m" || schedule.Calendar != multiples(300_000) {
		t.Errorf("Schedule = %v", schedule)
	}
	c.Schedule, c.checkWeb, c.Watch = poller.Schedule{}, nil, Watchlist{}
	windows := []poller.Window{window("1h", time.Hour), window("1d", 24*time.Hour), window("7d", 7*24*time.Hour), window("30d",
		30*24*time.Hour)}
	const day = 24 * time.Hour
	thresholds := poller.Thresholds{
		AtRisk: poller.Before{Part: 0.2, Most: 7 * day}, AboutToEnd: poller.Before{Part: 0.05, Most: day}, LostAfter: 10 * time.Minute,
	}
	want := Config{
		InstanceID: "idaas_abc", Endpoint: "https://eiam.example.com", TokenEndpoint: "https://login.example.com/api/v2/token",
		Network: "internet", AuthMethod: "client_secret_post", ClientID: "app_1",
		OIDCTokenFile: "/var/run/secrets/kubernetes.io/serviceaccount/token", Scope: "urn:cloud:idaas:pam|authentication_token:read",
		InlineTargets: "app_2:github", ConsumerLabel: "id",
		PollTimeout: time.Hour, PollConcurrency: 4, Walk: "full", PageSize: 100, RateLimit: 3,
		RequestTimeout: 10 * time.Second, RequestRetries: 4, Windows: windows,
		AtRisk: thresholds.AtRisk, AboutToEnd: thresholds.AboutToEnd, LostAfter: thresholds.LostAfter,
		ShardCount: 1, ListenAddress: ":9877", LogLevel: slog.LevelInfo, LogFormat: "text",
		Targets: []poller.Target{{Consumer: "app_2", Provider: "github", Label: "app_2", Windows: windows, Thresholds: thresholds}},
	}
	if got := c.ClientSecret.Reveal(); got != "hush-hush" {
		t.Errorf("ClientSecret = %q", got)
	}
	c.ClientSecret = poller.Secret{}
	if got, want := fmt.Sprintf("%+v", *c), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEverySettingIsRead(t *testing.T) {
	c := mustLoad(t, []string{
		"IDAAS_DOMAIN=HTTPS://abc.example.com:8443/", "IDAAS_NETWORK=vpc", "IDAAS_PRIVATE_KEY_FILE=/key", "IDAAS_PRIVATE_KEY_ID=k1",
		"IDAAS_OIDC_TOKEN_FILE=/oidc", "IDAAS_FEDERATED_CREDENTIAL_NAME=f",
		"IDAAS_PKCS7_FILE=/document", "IDAAS_CERTIFICATE_FILE=/certificate", "IDAAS_CERTIFICATE_CHAIN_FILE=/chain",
		"IDAAS_INSTANCE_ID=idaas_abc", "IDAAS_ENDPOINT=http://localhost:1", "IDAAS_TOKEN_ENDPOINT=http://[::1]:2/token",
		"IDAAS_AUTH_METHOD=client_secret_basic", "IDAAS_CLIENT_ID=me", "IDAAS_CLIENT_SECRET_FILE=/secret",
		"IDAAS_ACCESS_TOKEN_FILE=/token", "IDAAS_SCOPE=a b", "IDAAS_TARGETS=a:b", "IDAAS_CONSUMER_LABEL=hash",
		"IDAAS_POLL_SCHEDULE=@every 1d", "IDAAS_POLL_TIMEOUT=1h30m", "IDAAS_POLL_CONCURRENCY=1000", "IDAAS_WALK=live", "IDAAS_PAGE_SIZE=1",
		"IDAAS_RATE_LIMIT=0.5", "IDAAS_REQUEST_TIMEOUT=90s", "IDAAS_REQUEST_RETRIES=0", "IDAAS_EXPIRING_WITHIN= 90m , 7d,",
		"IDAAS_MAX_STALENESS=3d", "IDAAS_STATE_FILE=/state", "IDAAS_SHARD_INDEX=1", "IDAAS_SHARD_COUNT=1000", "IDAAS_PROBE_ADDRESS=:0",
		"IDAAS_LISTEN_ADDRESS=[::1]:0", "IDAAS_WEB_CONFIG_FILE=/web.yml", "IDAAS_LOG_LEVEL=debug", "IDAAS_LOG_FORMAT=json",
	})
	got := fmt.Sprint(c.Domain, c.Network, c.PrivateKeyFile, c.PrivateKeyID, c.OIDCTokenFile, c.FederatedCredentialName, c.PKCS7File,
		c.CertificateFile, c.CertificateChainFile, c.Endpoint, c.TokenEndpoint, c.AuthMethod, c.ClientID, c.ClientSecretFile, c.AccessTokenFile,
		c.Scope,
		c.Schedule, c.PollTimeout, c.PollConcurrency, c.Walk, c.PageSize, c.RateLimit, c.RequestTimeout, c.RequestRetries, c.Windows,
		c.ListenAddress, c.WebConfigFile, c.LogLevel, c.LogFormat,
		c.ConsumerLabel, c.MaxStaleness, c.StateFile, c.ShardIndex, c.ShardCount, c.ProbeAddress)
	want := fmt.Sprint("https://abc.example.com:8443", "vpc", "/key", "k1", "/oidc", "f", "/document", "/certificate", "/chain",
		"http://localhost:1", "http://[::1]:2/token", "client_secret_basic", "me", "/secret", "/token", "a b",
		c.Schedule, 90*time.Minute, 1000, "live", 1, 0.5, 90*time.Second, 0,
		[]poller.Window{window("90m", 90*time.Minute), window("7d", 7*24*time.Hour)},
		"[::1]:0", "/web.yml", slog.LevelDebug, "json",
		"hash", 72*time.Hour, "/state", 1, 1000, ":0")
	if got != want || c.Schedule.Text != "@every 1d" {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(c.Warnings) > 0 {
		t.Error(c.Warnings)
	}
}

// TestEnvironmentOnly checks that the environment of the process is ignored.
func TestEnvironmentOnly(t *testing.T) {
	t.Setenv("IDAAS_PAGE_SIZE", "7")
	if c := mustLoad(t, minimal()); c.PageSize != 100 {
		t.Errorf("PageSize = %d", c.PageSize)
	}
}

func TestEmptyIsUnset(t *testing.T) {
	var empty []string
	for _, s := range settings() {
		if !slices.ContainsFunc(minimal(), func(pair string) bool { return strings.HasPrefix(pair, s.name+"=") }) {
			empty = append(empty, s.name+"= ")
		}
	}
	got, want := mustLoad(t, minimal(empty...)), mustLoad(t, minimal())
	got.ClientSecret, want.ClientSecret = poller.Secret{}, poller.Secret{}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	wantFaults(t, faultsOf(t, append(without(minimal(), "IDAAS_CLIENT_SECRET"), "IDAAS_CLIENT_SECRET=")),
		"IDAAS_CLIENT_SECRET: required by client_secret_post; set it or IDAAS_CLIENT_SECRET_FILE")
}

func TestAllFaultsAtOnce(t *testing.T) {
	faults := faultsOf(t, []string{
		"IDAAS_ENDPOINT=https://x/y", "IDAAS_POLL_TIMEOUT=5 minutes", "IDAAS_PAGE_SIZE=many", "IDAAS_RATE_LIMIT=NaN",
		"IDAAS_LOG_LEVEL=verbose", "IDAAS_CLIENT_SECRET=hush-hush", "IDAAS_CLIENT_SECRET_FILE=f", "IDAAS_TARGETS=x",
		"IDAAS_INSTANCE_IDD=i", "IDAAS_WEB_CONFIG_FILE=bad.yml",
	})
	wantFaults(t, faults,
		`IDAAS_ENDPOINT="https://x/y": a path is not allowed; accepted: [https://]host[:port] without a path; http:// for loopback only`,
		`IDAAS_POLL_TIMEOUT="5 minutes": unknown unit " minutes" in duration "5 minutes"; accepted: a duration such as 90s, 1h30m or 7d, `+
			`from 1ms to 1y`,
		`IDAAS_PAGE_SIZE="many": invalid syntax; accepted: a whole number from 1 to 1000`,
		`IDAAS_RATE_LIMIT="NaN": out of range; accepted: a number from 0.001 to 1000`,
		`IDAAS_WEB_CONFIG_FILE="bad.yml": bad; accepted: the path of an exporter-toolkit web configuration`,
		`IDAAS_LOG_LEVEL="verbose": unknown; accepted: debug, info, warn, error`,
		`IDAAS_INSTANCE_ID: required; set it or IDAAS_DOMAIN`,
		`IDAAS_CLIENT_SECRET: set together with IDAAS_CLIENT_SECRET_FILE; remove one`,
		`IDAAS_TOKEN_ENDPOINT: required; set it or IDAAS_DOMAIN`,
		`IDAAS_CLIENT_ID: required by client_secret_post, unless IDAAS_ACCESS_TOKEN or IDAAS_ACCESS_TOKEN_FILE is set`,
		`IDAAS_TARGETS item 1="x": contains no colon; accepted: consumerId:credentialProviderIdentifier`,
		`IDAAS_INSTANCE_IDD: not a setting; did you mean IDAAS_INSTANCE_ID?`,
	)
}

func TestRefusedValues(t *testing.T) {
	for name, values := range map[string][]string{
		"IDAAS_DOMAIN":         {"a.example.com/x", "http://a.example.com", "<name>.aliyunidaas.com"},
		"IDAAS_INSTANCE_ID":    {"a/b", "..", "ü"},
		"IDAAS_NETWORK":        {"VPC", "intranet"},
		"IDAAS_TOKEN_ENDPOINT": {"https://a.example.com/api/v2/<authorizationServerId>/oauth2/token"},
		"IDAAS_AUTH_METHOD":    {"none", "PKCS7", "CLIENT_SECRET_POST", "client_secret_basic client_secret_post"},
		"IDAAS_CONSUMER_LABEL": {"alias"},
		"IDAAS_POLL_SCHEDULE": {
			"* * * *", "TZ=UTC", "CRON_TZ=UTC", "TZ=Nowhere @daily", "0 0 30 2 *", ", * * * *", "@every 10ms", "@every 999ms", "@every -1h",
			"@every 0", "@every 11y", "@every", "@reboot", "soon",
			"CRON_TZ= 0 3 * * *", "TZ= @daily", "CRON_TZ= Europe/Berlin 0 3 * * *", "CRON_TZ=UTC @every 1ms", "TZ=UTC\t@every 999ms",
			"TZ=UTC CRON_TZ=UTC", "TZ=Nowhere @every 1m",
		},
		"IDAAS_POLL_TIMEOUT":     {"0", "0s", "-1h", "1.5h", "60", "2y"},
		"IDAAS_POLL_CONCURRENCY": {"0", "-1", "1001", "2.5", "99999999999999999999"},
		"IDAAS_WALK":             {"Live", "both", "0"},
		"IDAAS_PAGE_SIZE":        {"0", "1001", "1e2"},
		"IDAAS_RATE_LIMIT":       {"0", "-1", "1001", "Inf", "-Inf", "nan", "fast"},
		"IDAAS_REQUEST_TIMEOUT":  {"0", "-1s", "2h"},
		"IDAAS_REQUEST_RETRIES":  {"-1", "21"},
		"IDAAS_EXPIRING_WITHIN":  {"1d,24h", "0", "1h,0s", "-1h", "1h 2h", ",", "1h,,x", strings.Repeat("1h,", 33)},
		"IDAAS_LISTEN_ADDRESS":   {"9877", ":http", ":65536", "::1:9877", ":-1"},
		"IDAAS_MAX_STALENESS":    {"-1h", "11y", "1.5h", "never"},
		"IDAAS_SHARD_INDEX":      {"-1", "1000", "two", "0.5"},
		"IDAAS_SHARD_COUNT":      {"0", "1001", "many"},
		"IDAAS_PROBE_ADDRESS":    {"9878", ":http", ":65536"},
		"IDAAS_LOG_LEVEL":        {"INFO", "info+1"},
		"IDAAS_LOG_FORMAT":       {"logfmt"},
	} {
		for _, value := range values {
			faults := faultsOf(t, append(without(minimal(), name), name+"="+value))
			if len(faults) != 1 || faults[0].Name != name || faults[0].Value != value || !strings.Contains(faults[0].Problem, "; accepted: ") {
				t.Errorf("%s=%q: %+v", name, value, faults)
			}
		}
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	environ := minimal("IDAAS_ACCESS_TOKEN=hush-hush", "IDAAS_CLIENT_SECRETS=hush-hush",
		"IDAAS_TOKEN_ENDPOINT=https://me:hush-hush@host/token")
	if c := mustLoad(t, without(environ, "IDAAS_TOKEN_ENDPOINT")); strings.Contains(fmt.Sprintf("%+v %#v %s", c, c, c.Warnings), "hush") {
		t.Error("shown in the settings or a warning")
	}
	for _, endpoint := range []string{
		"https://me:hush@host/token", "me:hush@host/token", "https://me:hush#@host/token", "https://me:hush%@host/", "http://hush@h:x/t",
		"ftp://a:hush@b@c/d",
	} {
		faults := faultsOf(t, minimal("IDAAS_CLIENT_SECRET_FILE=f", "IDAAS_TOKEN_ENDPOINT="+endpoint))
		if len(faults) != 2 || strings.Contains(faults.Error(), "hush") {
			t.Errorf("%s: %v", endpoint, faults)
		}
	}
}

func TestUnknownVariables(t *testing.T) {
	c := mustLoad(t, minimal(
		"IDAAS_POLL_TIMEOUTS=1h", "IDAAS_LISTEN_PORT=80", "IDAAS_EMPTY=", "IDASS_SCOPE=x", "HOME=/",
		"IDAAS_PORT=tcp://10.0.0.1:9877", "IDAAS_SERVICE_HOST=10.0.0.1", "IDAAS_TOKEN_EXPORTER_SERVICE_HOST=10.0.0.1",
		"IDAAS_TOKEN_EXPORTER_SERVICE_PORT=9877", "IDAAS_TOKEN_EXPORTER_SERVICE_PORT_METRICS=9877",
		"IDAAS_TOKEN_EXPORTER_PORT=tcp://10.0.0.1:9877", "IDAAS_TOKEN_EXPORTER_PORT_9877_TCP=tcp://10.0.0.1:9877",
		"IDAAS_TOKEN_EXPORTER_PORT_9877_TCP_PROTO=tcp", "IDAAS_TOKEN_EXPORTER_PORT_9877_TCP_PORT=9877",
		"IDAAS_TOKEN_EXPORTER_PORT_9877_TCP_ADDR=10.0.0.1", "IDAAS_0_SERVICE_HOST=10.0.0.2", "idaas_domain=d", "Idaas_Page_Sise=7",
		"cloud_idaas_config_path=/c", "my_idaas_domain=d", "IDAAS_REGION=r",
	))
	want := []string{
		"IDAAS_POLL_TIMEOUTS: not a setting; did you mean IDAAS_POLL_TIMEOUT?",
		"IDAAS_LISTEN_PORT: not a setting; did you mean IDAAS_LISTEN_ADDRESS?",
		"idaas_domain: not a setting; did you mean IDAAS_DOMAIN?",
		"Idaas_Page_Sise: not a setting; did you mean IDAAS_PAGE_SIZE?",
		"cloud_idaas_config_path: not a setting; did you mean CLOUD_IDAAS_CONFIG_PATH?",
		"IDAAS_REGION: not a setting; the command help lists all settings",
	}
	if !slices.Equal(c.Warnings, want) {
		t.Errorf("got %q, want %q", c.Warnings, want)
	}
}

func TestSuggestions(t *testing.T) {
	all := settings()
	for name, want := range map[string]string{
		"POLL_INTERVAL": "IDAAS_POLL_SCHEDULE", "INTERVAL_SECONDS": "IDAAS_POLL_SCHEDULE", "CRON": "IDAAS_POLL_SCHEDULE",
		"POLL_SCHEDUL": "IDAAS_POLL_SCHEDULE", "PORT": "IDAAS_LISTEN_ADDRESS",
		"TOKEN_EXPORTER_PORT": "IDAAS_LISTEN_ADDRESS", "LISTEN": "IDAAS_LISTEN_ADDRESS", "PROBE_PORT": "IDAAS_PROBE_ADDRESS",
		"PROXY": "HTTPS_PROXY", "HTTP_PROXY": "HTTPS_PROXY", "HTTPSPROXY": "HTTPS_PROXY",
		"PROXY_URL": "HTTPS_PROXY", "NO_PROXY": "NO_PROXY", "URL": "IDAAS_ENDPOINT", "API_URL": "IDAAS_ENDPOINT",
		"TOKEN_URL": "IDAAS_TOKEN_ENDPOINT", "TOKEN": "IDAAS_ACCESS_TOKEN", "SECRET": "IDAAS_CLIENT_SECRET",
		"SECRET_FILE": "IDAAS_CLIENT_SECRET", "APP_ID": "IDAAS_CLIENT_ID", "WORKERS": "IDAAS_POLL_CONCURRENCY",
		"TIMEOUT": "IDAAS_REQUEST_TIMEOUT", "MAX_RETRIES": "IDAAS_REQUEST_RETRIES",
		"PAGE_LIMIT": "IDAAS_PAGE_SIZE", "QPS": "IDAAS_RATE_LIMIT", "CA_CERT": "IDAAS_CA_FILE", "CA_BUNDLE": "IDAAS_CA_FILE",
		"TLS_CERT": "IDAAS_WEB_CONFIG_FILE", "LOGLEVEL": "IDAAS_LOG_LEVEL", "DEBUG": "IDAAS_LOG_LEVEL",
		"STATE_DIR": "IDAAS_STATE_FILE", "CONFIG_PATH": "CLOUD_IDAAS_CONFIG_PATH", "TARGTE": "IDAAS_TARGETS",
		"CLINT_SECRT": "IDAAS_CLIENT_SECRET", "DOMIAN": "IDAAS_DOMAIN", "POLL_TIMEOUTS": "IDAAS_POLL_TIMEOUT",
		"FOO": "", "REGION": "", "USER": "", "MODE": "", "LOG_FILE": "", "NAME": "", "ENABLED": "", "": "",
	} {
		if got := suggestion("IDAAS_"+name, all); got != want {
			t.Errorf("IDAAS_%s: did you mean %q? Want %q", name, got, want)
		}
	}
	names := []string{"HTTPS_PROXY", "NO_PROXY"}
	for _, s := range all {
		names = append(names, s.name)
		for _, typo := range []string{s.name + "X", s.name[:7] + s.name[8:]} {
			if got := suggestion(typo, all); got != s.name && !strings.Contains(typo, "CA_") {
				t.Errorf("%s: did you mean %q?", typo, got)
			}
		}
	}
	for line := range strings.Lines(synonyms) {
		if name, words, _ := strings.Cut(line, " "); words == "" || !slices.Contains(names, name) {
			t.Errorf("%s is not a setting", name)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"", "abc", 3}, {"abc", "abc", 0}, {"abcd", "abd", 1}, {"xbc", "bc", 1}, {
		"ab",
		"ba", 2,
	}, {"aa", "aaa", 1}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestReloadReadsTheFileAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "targets.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("targets: [{consumer: a, credential_providers: [p]}]")
	c := mustLoad(t, minimal("IDAAS_TARGETS_FILE="+path))
	if len(c.Targets) != 2 || c.Targets[0].Consumer != "app_2" || c.Targets[1].Consumer != "a" {
		t.Fatalf("Targets = %v", c.Targets)
	}
	write("targets: [{consumer: a, credential_providers: [p, q]}]")
	if targets, err := c.LoadTargets(); err != nil || len(targets) != 3 || len(c.Targets) != 2 {
		t.Errorf("LoadTargets = %v, %v; Targets = %v", targets, err, c.Targets)
	}
	write("targets: [{consumer: a, credential_providers: [p, p]}]")
	if targets, err := c.LoadTargets(); err == nil || targets != nil {
		t.Errorf("LoadTargets = %v, %v", targets, err)
	}
}
