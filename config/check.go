package config

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

func (c *Config) check() Faults {
	var faults Faults
	require := func(satisfied bool, name, problem string) {
		if !satisfied {
			faults = append(faults, Fault{Name: name, Problem: problem})
		}
	}
	notBelow := fmt.Sprintf("%d is not below IDAAS_SHARD_COUNT, which is %d", c.ShardIndex, c.ShardCount)
	require(c.ShardIndex < c.ShardCount || c.ShardCount == 0, "IDAAS_SHARD_INDEX", notBelow)
	_, port, _ := net.SplitHostPort(c.ListenAddress)
	_, probePort, _ := net.SplitHostPort(c.ProbeAddress)
	apart := port != probePort || strings.Trim(port, "0") == ""
	require(apart, "IDAAS_PROBE_ADDRESS", c.ProbeAddress+" has the port of IDAAS_LISTEN_ADDRESS: use another")

	const noDomain = "required: set it or IDAAS_DOMAIN"
	require(c.Domain+c.InstanceID != "", "IDAAS_INSTANCE_ID", noDomain)
	require(c.Domain+c.Endpoint != "", "IDAAS_ENDPOINT", noDomain)
	require(c.ClientSecret.Empty() || c.ClientSecretFile == "", "IDAAS_CLIENT_SECRET", "given together with IDAAS_CLIENT_SECRET_FILE: keep one")
	require(c.AccessToken.Empty() || c.AccessTokenFile == "", "IDAAS_ACCESS_TOKEN", "given together with IDAAS_ACCESS_TOKEN_FILE: keep one")
	if c.ready() {
		return faults
	}
	require(c.Domain+c.TokenEndpoint != "" || c.AuthMethod == "ram", "IDAAS_TOKEN_ENDPOINT", noDomain)
	needs := c.AuthMethod + " needs it"
	require(c.ClientID != "", "IDAAS_CLIENT_ID", needs+", unless there is IDAAS_ACCESS_TOKEN or IDAAS_ACCESS_TOKEN_FILE")
	switch c.AuthMethod {
	case "client_secret_basic", "client_secret_post", "client_secret_jwt":
		require(!c.ClientSecret.Empty() || c.ClientSecretFile != "", "IDAAS_CLIENT_SECRET", needs+", or IDAAS_CLIENT_SECRET_FILE")
	case "private_key_jwt":
		require(!c.PrivateKey.Empty() || c.PrivateKeyFile != "", "IDAAS_PRIVATE_KEY_FILE", needs)
	case "pca":
		require(!c.PrivateKey.Empty() || c.PrivateKeyFile != "", "IDAAS_PRIVATE_KEY_FILE", needs)
		require(!c.Certificate.Empty() || c.CertificateFile != "", "IDAAS_CERTIFICATE_FILE", needs)
		require(!c.CertificateChain.Empty() || c.CertificateChainFile != "", "IDAAS_CERTIFICATE_CHAIN_FILE", needs)
		fallthrough
	case "oidc", "pkcs7":
		require(c.FederatedCredentialName != "", "IDAAS_FEDERATED_CREDENTIAL_NAME", needs)
	case "ram":
		require(c.manageable(), "IDAAS_MANAGEMENT_ENDPOINT", needs+", as IDAAS_ENDPOINT tells no region")
	}
	return faults
}

// ready reports whether there is a ready access token, or a file for it.
func (c *Config) ready() bool { return !c.AccessToken.Empty() || c.AccessTokenFile != "" }

// uses reports whether the other settings leave a use for this one.
func (c *Config) uses(setting string) bool {
	switch byRAM := c.AuthMethod == "ram" && !c.ready(); setting {
	case "IDAAS_TOKEN_ENDPOINT":
		return !byRAM && !c.ready()
	case "IDAAS_MANAGEMENT_ENDPOINT":
		return byRAM || c.Watch.Discovers()
	}
	return true
}

// manageable reports whether it is known, or yet to be discovered, where the management API is.
func (c *Config) manageable() bool {
	return c.Endpoint == "" || c.ManagementEndpoint+poller.ManagementEndpoint(c.Endpoint) != ""
}

// hostNumber returns the number at the end of host, its domain aside, or what a fault is to show.
func hostNumber(host string) string {
	host, _, _ = strings.Cut(host, ".")
	return cmp.Or(host[len(strings.TrimRight(host, "0123456789")):], "auto on "+host)
}

// warnings returns what is legal but probably not meant, at a start now.
func (c *Config) warnings(now time.Time) []string {
	warnings := c.TooSlow(len(c.Targets), now)
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	interval := c.interval(now)
	if c.MaxStaleness > 0 && c.MaxStaleness/3 < interval {
		warn("IDAAS_MAX_STALENESS: %v is under three times the %v between polls, so that a slow or failed one drops series: "+
			"raise it or set it to 0", c.MaxStaleness, interval)
	}
	if c.WebConfigFile != "" && c.ProbeAddress == "" && authenticates(c.WebConfigFile) {
		warn("IDAAS_WEB_CONFIG_FILE: probes that do not authenticate will fail: give them a listener with IDAAS_PROBE_ADDRESS")
	}
	for i, item := range splitList(c.InlineTargets) {
		consumer := strings.TrimSpace(item[:strings.LastIndex(item, ":")])
		if !strings.ContainsFunc(consumer, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(";；，、", r) }) {
			continue
		}
		if c.ConsumerLabel == "hash" {
			item = "[hidden]"
		}
		warn("IDAAS_TARGETS item %d, %q, is one target whose consumer has a blank or a ; in it: if several are meant, separate them by commas", i+1, item)
	}
	return warnings
}

// interval is the time between the next two polls.
func (c *Config) interval(now time.Time) time.Duration {
	due := c.Schedule.Next(now)
	return c.Schedule.Next(due).Sub(due)
}

// TooSlow returns a warning if a cycle of that many targets must outlast the schedule.
func (c *Config) TooSlow(targets int, now time.Time) []string {
	interval, cycle := c.interval(now), float64(targets)/c.ShareOfRate()
	if cycle <= interval.Seconds() {
		return nil
	}
	return []string{fmt.Sprintf("IDAAS_RATE_LIMIT: one request for each of %d targets takes %.0fs at %.4g per second, but IDAAS_POLL_SCHEDULE is due again after %v: "+
		"raise the limit or poll less often", targets, cycle, c.ShareOfRate(), interval)}
}

// authenticates reports whether the web configuration at path lets in nobody unknown; whether it is right is not judged.
func authenticates(path string) bool {
	var web struct {
		Users map[string]any `yaml:"basic_auth_users"`
		TLS   map[string]any `yaml:"tls_server_config"`
	}
	data, _ := disk.Read(context.Background(), path, maxFile)
	_ = yaml.Unmarshal(data, &web)
	return len(web.Users) > 0 || strings.HasPrefix(fmt.Sprint(web.TLS["client_auth_type"]), "Require")
}

func (c *Config) readRootCAs(path string) error {
	data, err := disk.Read(context.Background(), path, maxFile)
	if err == nil {
		c.RootCAs, err = x509.SystemCertPool()
	}
	if err == nil && !c.RootCAs.AppendCertsFromPEM(data) {
		err = errors.New("no certificate in it")
	}
	return err
}

// ShareOfRate is this process's part of RateLimit.
func (c *Config) ShareOfRate() float64 { return c.RateLimit / float64(c.ShardCount) }

// WithoutConnection returns environ without the settings and proxies that lead to an IDaaS and say what to watch there: what is
// left suits a demo.
func WithoutConnection(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains(proxyVariables, name) ||
			slices.ContainsFunc(settings(), func(s setting) bool { return s.name == name && s.Tag.Get("connection") == "true" })
	})
}
