package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
)

func TestLocation(t *testing.T) {
	const needed = ": required; set it or IDAAS_DOMAIN"
	for _, c := range []struct {
		given string
		want  []string
	}{
		{"", []string{"IDAAS_INSTANCE_ID" + needed, "IDAAS_ENDPOINT" + needed, "IDAAS_TOKEN_ENDPOINT" + needed}},
		{"IDAAS_INSTANCE_ID=i IDAAS_TOKEN_ENDPOINT=h/t", []string{"IDAAS_ENDPOINT" + needed}},
		{"IDAAS_INSTANCE_ID=i IDAAS_ENDPOINT=h", []string{"IDAAS_TOKEN_ENDPOINT" + needed}},
		{"IDAAS_INSTANCE_ID=i IDAAS_ENDPOINT=h IDAAS_ACCESS_TOKEN=a", nil},
		{"IDAAS_ACCESS_TOKEN=a", []string{"IDAAS_INSTANCE_ID" + needed, "IDAAS_ENDPOINT" + needed}},
		{"IDAAS_DOMAIN=d", nil},
		{"IDAAS_DOMAIN=d IDAAS_ENDPOINT=h", nil},
		{"IDAAS_INSTANCE_ID=i IDAAS_ENDPOINT=eiam-developerapi.cn-hangzhou.aliyuncs.com IDAAS_AUTH_METHOD=ram", nil},
	} {
		environ := append(strings.Fields(c.given), "IDAAS_CLIENT_ID=c", "IDAAS_CLIENT_SECRET=s", "IDAAS_TARGETS=a:b")
		if c.want != nil {
			wantFaults(t, faultsOf(t, environ), c.want...)
			continue
		}
		mustLoad(t, environ)
	}
}

func TestCredentials(t *testing.T) {
	const tokenInstead = ", unless IDAAS_ACCESS_TOKEN or IDAAS_ACCESS_TOKEN_FILE is set"
	for _, c := range []struct {
		more string
		want []string
	}{
		{"", []string{
			"IDAAS_CLIENT_ID: required by client_secret_post" + tokenInstead,
			"IDAAS_CLIENT_SECRET: required by client_secret_post; set it or IDAAS_CLIENT_SECRET_FILE",
		}},
		{
			"IDAAS_CLIENT_ID=a IDAAS_CLIENT_SECRET=hush IDAAS_CLIENT_SECRET_FILE=b",
			[]string{"IDAAS_CLIENT_SECRET: set together with IDAAS_CLIENT_SECRET_FILE; remove one"},
		},
		{
			"IDAAS_ACCESS_TOKEN=hush IDAAS_ACCESS_TOKEN_FILE=b",
			[]string{"IDAAS_ACCESS_TOKEN: set together with IDAAS_ACCESS_TOKEN_FILE; remove one"},
		},
		{"IDAAS_CLIENT_SECRET=hush", []string{"IDAAS_CLIENT_ID: required by client_secret_post" + tokenInstead}},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=client_secret_basic", []string{"IDAAS_CLIENT_SECRET: required by client_secret_basic; set it " +
			"or IDAAS_CLIENT_SECRET_FILE"}},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=client_secret_jwt", []string{"IDAAS_CLIENT_SECRET: required by client_secret_jwt; set it or " +
			"IDAAS_CLIENT_SECRET_FILE"}},
		{
			"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=private_key_jwt IDAAS_CLIENT_SECRET=hush",
			[]string{"IDAAS_PRIVATE_KEY_FILE: required by private_key_jwt"},
		},
		{"IDAAS_AUTH_METHOD=private_key_jwt IDAAS_PRIVATE_KEY_FILE=/missing", []string{"IDAAS_CLIENT_ID: required by private_key_jwt" +
			tokenInstead}},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=oidc IDAAS_CLIENT_SECRET=hush", []string{"IDAAS_FEDERATED_CREDENTIAL_NAME: required by oidc"}},
		{"IDAAS_AUTH_METHOD=oidc IDAAS_FEDERATED_CREDENTIAL_NAME=f", []string{"IDAAS_CLIENT_ID: required by oidc" + tokenInstead}},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=pkcs7 IDAAS_CLIENT_SECRET=hush", []string{"IDAAS_FEDERATED_CREDENTIAL_NAME: required by pkcs7"}},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=pca IDAAS_CLIENT_SECRET=hush", []string{
			"IDAAS_PRIVATE_KEY_FILE: required by pca", "IDAAS_CERTIFICATE_FILE: required by pca", "IDAAS_CERTIFICATE_CHAIN_FILE: required by pca",
			"IDAAS_FEDERATED_CREDENTIAL_NAME: required by pca",
		}},
		{"IDAAS_CLIENT_ID=a IDAAS_CLIENT_SECRET_FILE=/missing", nil},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=client_secret_jwt IDAAS_CLIENT_SECRET=hush", nil},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=private_key_jwt IDAAS_PRIVATE_KEY_FILE=/missing IDAAS_CLIENT_SECRET=hush", nil},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=oidc IDAAS_FEDERATED_CREDENTIAL_NAME=f", nil},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=pkcs7 IDAAS_FEDERATED_CREDENTIAL_NAME=f", nil},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=pca IDAAS_FEDERATED_CREDENTIAL_NAME=f IDAAS_PRIVATE_KEY_FILE=/k IDAAS_CERTIFICATE_FILE=/c " +
			"IDAAS_CERTIFICATE_CHAIN_FILE=/ch", nil},
		{"IDAAS_ACCESS_TOKEN=hush", nil},
		{"IDAAS_ACCESS_TOKEN_FILE=/missing", nil},
		{"IDAAS_ACCESS_TOKEN=hush IDAAS_CLIENT_ID=a IDAAS_CLIENT_SECRET=hush", nil},
		{"IDAAS_ACCESS_TOKEN=hush IDAAS_AUTH_METHOD=oidc", nil},
		{"IDAAS_AUTH_METHOD=ram", []string{"IDAAS_CLIENT_ID: required by ram" + tokenInstead}},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=ram", nil},
		{
			"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=ram IDAAS_ENDPOINT=own.example.com",
			[]string{"IDAAS_MANAGEMENT_ENDPOINT: required by ram, because IDAAS_ENDPOINT contains no region"},
		},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=ram IDAAS_ENDPOINT=own.example.com IDAAS_MANAGEMENT_ENDPOINT=other.example.com", nil},
		{"IDAAS_CLIENT_ID=a IDAAS_AUTH_METHOD=ram IDAAS_ENDPOINT=eiam-developerapi-sg.vpc-proxy.aliyuncs.com", nil},
	} {
		environ := append(strings.Fields(c.more), "IDAAS_DOMAIN=d", "IDAAS_TARGETS=a:b")
		if c.want != nil {
			wantFaults(t, faultsOf(t, environ), c.want...)
			continue
		}
		mustLoad(t, environ)
	}
}

// Each setting that an authentication method needs exists, and so do the settings in the advice of check.
func TestAuthMethodsNameSettings(t *testing.T) {
	known := map[string]bool{}
	for _, s := range settings() {
		known[s.name] = true
	}
	for _, m := range auth.Methods {
		for _, name := range regexp.MustCompile(`\bIDAAS_\w+`).FindAllString(strings.Join(append(m.Needs, m.Credential), " "), -1) {
			if !known[name] {
				t.Errorf("%s: %s is not a setting", m.Name, name)
			}
		}
	}
}

func TestOIDCTokenFile(t *testing.T) {
	const ack = "ALIBABA_CLOUD_OIDC_TOKEN_FILE=/ack"
	for given, want := range map[string]string{
		"":                                  "/var/run/secrets/kubernetes.io/serviceaccount/token",
		ack:                                 "/ack",
		ack + " IDAAS_OIDC_TOKEN_FILE=/own": "/own",
		"ALIBABA_CLOUD_OIDC_TOKEN_FILE=":    "/var/run/secrets/kubernetes.io/serviceaccount/token",
	} {
		if got := mustLoad(t, minimal(strings.Fields(given)...)).OIDCTokenFile; got != want {
			t.Errorf("%s: %s, want %s", given, got, want)
		}
	}
}

func newCA() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	return x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
}

func TestCAFile(t *testing.T) {
	der, err := newCA()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for name, data := range map[string][]byte{
		"good.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), "der.pem": der, "empty.pem": nil,
		"key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := mustLoad(t, minimal("IDAAS_CA_FILE=good.pem"))
	system, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	if c.RootCAs.Equal(system) {
		t.Error("the certificate was not added")
	}
	if system.AddCert(ca); !c.RootCAs.Equal(system) {
		t.Error("not the system's certificates and the one of the file")
	}
	if mustLoad(t, minimal()).RootCAs != nil {
		t.Error("certificates without a file")
	}
	for name, problem := range map[string]string{
		"der.pem": "contains no certificate", "empty.pem": "contains no certificate", "key.pem": "contains no certificate",
		"missing.pem": "open missing.pem: no such file or directory",
	} {
		wantFaults(t, faultsOf(t, minimal("IDAAS_CA_FILE="+name)), `IDAAS_CA_FILE="`+name+`": `+problem+"; accepted: the path of a PEM file")
	}
}

// The demo never connects, or sends a secret, to the instance of the environment.
func TestWithoutConnection(t *testing.T) {
	kept := []string{
		"PATH=/bin", "IDAAS_LISTEN_ADDRESS=:1", "IDAAS_WEB_CONFIG_FILE=w", "IDAAS_LOG_LEVEL=debug", "IDAAS_LOG_FORMAT=json",
		"IDAAS_CONSUMER_LABEL=hash", "IDAAS_POLL_SCHEDULE=@daily", "IDAAS_POLL_TIMEOUT=1h", "IDAAS_POLL_CONCURRENCY=1", "IDAAS_PAGE_SIZE=1",
		"IDAAS_RATE_LIMIT=1", "IDAAS_REQUEST_TIMEOUT=1s", "IDAAS_REQUEST_RETRIES=1", "IDAAS_EXPIRING_WITHIN=1h",
		"IDAAS_MAX_STALENESS=1h", "IDAAS_SHARD_INDEX=auto", "IDAAS_SHARD_COUNT=2", "IDAAS_PROBE_ADDRESS=:2",
	}
	environ := slices.Clone(kept)
	for _, name := range strings.Fields(`DOMAIN INSTANCE_ID ENDPOINT TOKEN_ENDPOINT NETWORK AUTH_METHOD CLIENT_ID
		CLIENT_SECRET CLIENT_SECRET_FILE
		PRIVATE_KEY_FILE PRIVATE_KEY_ID OIDC_TOKEN_FILE PKCS7_FILE CERTIFICATE_FILE CERTIFICATE_CHAIN_FILE FEDERATED_CREDENTIAL_NAME
		ACCESS_TOKEN ACCESS_TOKEN_FILE SCOPE CA_FILE TARGETS TARGETS_FILE STATE_FILE`) {
		environ = append(environ, "IDAAS_"+name+"=x")
	}
	if got := WithoutConnection(append(environ, "CLOUD_IDAAS_CONFIG_PATH=/x")); !slices.Equal(got, kept) {
		t.Errorf("%q", got)
	}
}

func TestHostNumber(t *testing.T) {
	for host, want := range map[string]string{
		"exporter-2": "2", "exporter-0": "0", "exporter-012": "012", "exporter10": "10", "7": "7", "exporter-3.exporter.ns.svc": "3",
		"exporter": "auto on exporter", "exporter-2a": "auto on exporter-2a", "": "auto on ", "a.b-1": "auto on a",
	} {
		if got := hostNumber(host); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

func TestShards(t *testing.T) {
	const accepted = "; accepted: auto, the number at the end of the host name, or one from 0 to 999"
	c := mustLoad(t, minimal("IDAAS_SHARD_INDEX=2", "IDAAS_SHARD_COUNT=3", "IDAAS_RATE_LIMIT=6"))
	if c.ShardIndex != 2 || c.ShardCount != 3 || c.ShareOfRate() != 2 {
		t.Errorf("%d of %d, %g", c.ShardIndex, c.ShardCount, c.ShareOfRate())
	}
	wantFaults(t, faultsOf(t, minimal("IDAAS_SHARD_INDEX=3", "IDAAS_SHARD_COUNT=3")),
		"IDAAS_SHARD_INDEX: 3 is not less than IDAAS_SHARD_COUNT, 3")
	wantFaults(t, faultsOf(t, minimal("IDAAS_SHARD_INDEX=1")), "IDAAS_SHARD_INDEX: 1 is not less than IDAAS_SHARD_COUNT, 1")
	for index, problem := range map[string]string{
		"-1": "out of range", "1000": "out of range", "AUTO": "invalid syntax",
		"auto on exporter": "invalid syntax",
	} {
		wantFaults(t, faultsOf(t, minimal("IDAAS_SHARD_COUNT=1000", "IDAAS_SHARD_INDEX="+index)),
			"IDAAS_SHARD_INDEX="+strconv.Quote(index)+": "+problem+accepted)
	}
	// A large count would take hours to hash.
	for _, count := range []string{"0", "-1", "1001", "2147483647"} {
		wantFaults(t, faultsOf(t, minimal("IDAAS_SHARD_COUNT="+count)), "IDAAS_SHARD_COUNT="+strconv.Quote(count)+": out of range; "+
			"accepted: a whole number from 1 to 1000")
	}
}

func TestShardOfTheHost(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	environ := minimal("IDAAS_SHARD_INDEX=auto", "IDAAS_SHARD_COUNT=1000")
	if index, err := strconv.Atoi(hostNumber(host)); err != nil || index > 999 {
		if faults := faultsOf(t, environ); len(faults) != 1 || faults[0].Name != "IDAAS_SHARD_INDEX" || faults[0].Value != hostNumber(host) {
			t.Error(faults)
		}
	} else if c := mustLoad(t, environ); c.ShardIndex != index {
		t.Errorf("%d on %s", c.ShardIndex, host)
	}
}

// TestShares checks that each target belongs to one process, and that each process checks all targets.
func TestShares(t *testing.T) {
	environ := minimal("IDAAS_SHARD_COUNT=3", "IDAAS_TARGETS=a:p,b:p,c:p,d:p,a:q,b:q,c:q,d:q")
	all := mustLoad(t, append(slices.Clone(environ), "IDAAS_SHARD_COUNT=1")).Targets
	held := 0
	for _, index := range []string{"0", "1", "2"} {
		c := mustLoad(t, append(environ, "IDAAS_SHARD_INDEX="+index))
		held += len(c.Targets)
		same := func(a, b poller.Target) bool { return a.Key() == b.Key() }
		if want := poller.Share(all, c.ShardIndex, 3); len(c.Targets) == len(all) || !slices.EqualFunc(c.Targets, want, same) {
			t.Errorf("%s: %v, want %v", index, c.Targets, want)
		}
		wantFaults(t, faultsOf(t, minimal("IDAAS_SHARD_COUNT=3", "IDAAS_SHARD_INDEX="+index, "IDAAS_TARGETS=a:p,a:p")),
			`IDAAS_TARGETS item 2="p": duplicate of the target at IDAAS_TARGETS item 1`)
	}
	if held != len(all) || len(all) != 8 {
		t.Errorf("%d of %d", held, len(all))
	}
	empty := 0
	for _, index := range []string{"0", "1"} {
		if len(mustLoad(t, minimal("IDAAS_SHARD_COUNT=2", "IDAAS_SHARD_INDEX="+index)).Targets) == 0 {
			empty++
		}
	}
	if empty != 1 {
		t.Errorf("%d of two shares of one target are empty", empty)
	}
}

func TestProbeAddress(t *testing.T) {
	for listen, probes := range map[string][]string{
		":9877": {":9878", ":0", "127.0.0.1:9878", "[::1]:0"}, ":0": {":0"}, "127.0.0.1:0": {"127.0.0.1:0"},
	} {
		for _, probe := range probes {
			if c := mustLoad(t, minimal("IDAAS_LISTEN_ADDRESS="+listen, "IDAAS_PROBE_ADDRESS="+probe)); c.ProbeAddress != probe {
				t.Errorf("%q", c.ProbeAddress)
			}
		}
	}
	for _, probe := range []string{":9877", "127.0.0.1:9877"} {
		wantFaults(t, faultsOf(t, minimal("IDAAS_PROBE_ADDRESS="+probe)), "IDAAS_PROBE_ADDRESS: "+probe+" has the port of "+
			"IDAAS_LISTEN_ADDRESS; use another one")
	}
	if faults := faultsOf(t, minimal("IDAAS_LISTEN_ADDRESS=9877", "IDAAS_PROBE_ADDRESS=9877")); len(faults) != 2 {
		t.Error(faults)
	}
}

func TestWarnings(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"users.yml": "basic_auth_users: {alice: $2y$10$x}", "nobody.yml": "basic_auth_users: {}\ntls_server_config: {cert_file: c}",
		"broken.yml":   "basic_auth_users: [",
		"requires.yml": "tls_server_config: {client_auth_type: RequireAndVerifyClientCert}",
		"any.yml":      "tls_server_config:\n  client_auth_type: \"RequireAnyClientCert\"",
		"given.yml":    "tls_server_config: {client_auth_type: VerifyClientCertIfGiven}",
		"odd.yml":      "tls_server_config: 1\nbasic_auth_users: {alice: 1}",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const (
		rate = "IDAAS_RATE_LIMIT: one request for each poll of 4 targets is "
		old  = "IDAAS_MAX_STALENESS: "
		web  = "IDAAS_WEB_CONFIG_FILE: health probes without authentication fail; set IDAAS_PROBE_ADDRESS for them"
	)
	for given, want := range map[string]string{
		"": "",
		// Four requests take 4 s, so an interval of 3 s is too short.
		"RATE_LIMIT=1 POLL_SCHEDULE=@every_4s":   "",
		"RATE_LIMIT=1 POLL_SCHEDULE=@every_3s":   rate + "1.333 per second, but the limit is 1; increase the limit or poll less often",
		"RATE_LIMIT=0.001":                       rate + "0.01333 per second, but the limit is 0.001; increase the limit or poll less often",
		"RATE_LIMIT=0.001 POLL_SCHEDULE=@weekly": "",
		"MAX_STALENESS=0":                        "",
		"MAX_STALENESS=15m":                      "",
		"MAX_STALENESS=14m59s": old + "14m59s is less than three poll intervals of 5m0s, which are used " +
			"instead; increase it or set it to 0",
		"MAX_STALENESS=2h59m POLL_SCHEDULE=@hourly": old + "2h59m0s is less than three poll intervals of 1h0m0s, which are used " +
			"instead; increase it or set it to 0",
		"MAX_STALENESS=10y POLL_SCHEDULE=@every_9y": old + "87600h0m0s is less than three poll intervals of 78840h0m0s, which " +
			"are used instead; increase it or set it to 0",
		"MAX_STALENESS=3h POLL_SCHEDULE=@hourly":     "",
		"WEB_CONFIG_FILE=users.yml":                  web,
		"WEB_CONFIG_FILE=requires.yml":               web,
		"WEB_CONFIG_FILE=any.yml":                    web,
		"WEB_CONFIG_FILE=odd.yml":                    web,
		"WEB_CONFIG_FILE=users.yml PROBE_ADDRESS=:1": "",
		"WEB_CONFIG_FILE=nobody.yml":                 "",
		"WEB_CONFIG_FILE=given.yml":                  "",
		"WEB_CONFIG_FILE=broken.yml":                 "",
		"WEB_CONFIG_FILE=missing.yml":                "",
	} {
		environ := minimal("IDAAS_TARGETS=a:p,b:p,c:p,d:p")
		for _, pair := range strings.Fields(given) {
			environ = append(environ, "IDAAS_"+strings.ReplaceAll(pair, "every_", "every "))
		}
		if got := strings.Join(mustLoad(t, environ).Warnings, "\n"); got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", given, got, want)
		}
	}
}

// TestWarningsOfAShare checks that a process counts only its own requests.
func TestWarningsOfAShare(t *testing.T) {
	for index := range 2 {
		c := mustLoad(t, minimal("IDAAS_TARGETS=a:p,b:p,c:p,d:p", "IDAAS_SHARD_COUNT=2", "IDAAS_RATE_LIMIT=1", "IDAAS_POLL_SCHEDULE=@every 4s",
			"IDAAS_SHARD_INDEX="+strconv.Itoa(index)))
		if warned := len(c.Warnings) > 0; warned != (len(c.Targets) > 2) {
			t.Errorf("%d: %d targets, %q", index, len(c.Targets), c.Warnings)
		}
	}
}
