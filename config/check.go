package config

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
)

// check returns the faults of settings that depend on each other. The map has the values by setting.
func (c *Config) check(set map[string]string) Faults {
	var faults Faults
	require := func(satisfied bool, name, problem string) {
		if !satisfied {
			faults = append(faults, Fault{Name: name, Problem: problem})
		}
	}
	tooHigh := fmt.Sprintf("%d is not less than IDAAS_SHARD_COUNT, %d", c.ShardIndex, c.ShardCount)
	require(c.ShardIndex < c.ShardCount || c.ShardCount == 0, "IDAAS_SHARD_INDEX", tooHigh)
	_, port, _ := net.SplitHostPort(c.ListenAddress)
	_, probePort, _ := net.SplitHostPort(c.ProbeAddress)
	different := port != probePort || strings.Trim(port, "0") == ""
	require(different, "IDAAS_PROBE_ADDRESS", c.ProbeAddress+" has the port of IDAAS_LISTEN_ADDRESS; use another one")

	const noDomain = "required; set it or IDAAS_DOMAIN"
	require(c.Domain+c.InstanceID != "", "IDAAS_INSTANCE_ID", noDomain)
	require(c.Domain+c.Endpoint != "", "IDAAS_ENDPOINT", noDomain)
	require(c.ClientSecret.Empty() || c.ClientSecretFile == "", "IDAAS_CLIENT_SECRET",
		"set together with IDAAS_CLIENT_SECRET_FILE; remove one")
	require(c.AccessToken.Empty() || c.AccessTokenFile == "", "IDAAS_ACCESS_TOKEN", "set together with IDAAS_ACCESS_TOKEN_FILE; remove one")
	if c.ready() {
		return faults
	}
	require(c.Domain+c.TokenEndpoint != "" || c.AuthMethod == auth.RAM, "IDAAS_TOKEN_ENDPOINT", noDomain)
	required := "required by " + c.AuthMethod
	require(c.ClientID != "", "IDAAS_CLIENT_ID", required+", unless IDAAS_ACCESS_TOKEN or IDAAS_ACCESS_TOKEN_FILE is set")
	for _, need := range auth.MethodOf(c.AuthMethod).Needs {
		name, file, _ := strings.Cut(need, "|")
		switch {
		case name == "IDAAS_MANAGEMENT_ENDPOINT":
			require(c.manageable(), name, required+", because IDAAS_ENDPOINT contains no region")
		case file != "":
			require(set[name]+set[file] != "", name, required+"; set it or "+file)
		default:
			require(set[name] != "", name, required)
		}
	}
	return faults
}

// ready reports whether a ready access token, or a file with one, is set.
func (c *Config) ready() bool { return !c.AccessToken.Empty() || c.AccessTokenFile != "" }

// uses reports whether a setting is used with the values of the others.
func (c *Config) uses(setting string) bool {
	switch byRAM := c.AuthMethod == auth.RAM && !c.ready(); setting {
	case "IDAAS_TOKEN_ENDPOINT":
		return !byRAM && !c.ready()
	case "IDAAS_MANAGEMENT_ENDPOINT":
		return byRAM || c.Watch.discovers() != ""
	}
	return true
}

// manageable reports whether the endpoint of the management API is known or discovered later.
func (c *Config) manageable() bool {
	return c.Endpoint == "" || c.ManagementEndpoint+auth.ManagementEndpoint(c.Endpoint) != ""
}

// hostNumber returns the number at the end of host without its domain, or a text for the fault.
func hostNumber(host string) string {
	host, _, _ = strings.Cut(host, ".")
	return cmp.Or(host[len(strings.TrimRight(host, "0123456789")):], "auto on "+host)
}

// warnings returns the settings that are valid but suspicious.
func (c *Config) warnings(now time.Time) []string {
	warnings := c.TooSlow(c.Targets, now)
	longest := slices.Max(slices.Collect(maps.Keys(c.byInterval(c.Targets, now))))
	if c.MaxStaleness > 0 && c.MaxStaleness/3 < longest {
		warnings = append(warnings, fmt.Sprintf("IDAAS_MAX_STALENESS: %v is less than three poll intervals of %v, "+
			"which are used instead; increase it or set it to 0", c.MaxStaleness, longest))
	}
	if c.WebConfigFile != "" && c.ProbeAddress == "" && authenticates(c.WebConfigFile) {
		warnings = append(warnings, "IDAAS_WEB_CONFIG_FILE: health probes without authentication fail; set IDAAS_PROBE_ADDRESS for them")
	}
	return warnings
}

// byInterval returns the number of targets by the time between their next two polls, which may be 0 for IDAAS_POLL_SCHEDULE.
func (c *Config) byInterval(targets []poller.Target, now time.Time) map[time.Duration]int {
	schedules := map[poller.Schedule]int{c.Schedule: 0}
	for i := range targets {
		schedules[cmp.Or(targets[i].Schedule, c.Schedule)]++
	}
	counts := make(map[time.Duration]int)
	for s, n := range schedules {
		due := s.Next(now)
		counts[s.Next(due).Sub(due)] += n
	}
	return counts
}

// TooSlow returns a warning if one request for each poll of targets is too much for the rate limit.
func (c *Config) TooSlow(targets []poller.Target, now time.Time) []string {
	rate := 0.0
	for interval, n := range c.byInterval(targets, now) {
		rate += float64(n) / interval.Seconds()
	}
	if rate <= c.ShareOfRate() {
		return nil
	}
	return []string{fmt.Sprintf("IDAAS_RATE_LIMIT: one request for each poll of %d targets is %.4g per second, but the limit is %.4g; "+
		"increase the limit or poll less often", len(targets), rate, c.ShareOfRate())}
}

// authenticates reports whether the web configuration at path requires authentication. It does not validate the file.
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
		err = errors.New("contains no certificate")
	}
	return err
}

// ShareOfRate returns the requests per second of this process.
func (c *Config) ShareOfRate() float64 { return c.RateLimit / float64(c.ShardCount) }

// WithoutConnection returns environ without targets, proxies and settings of a connection to an IDaaS, as the demo needs it.
func WithoutConnection(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains(proxyVariables, name) ||
			slices.ContainsFunc(settings(), func(s setting) bool { return s.name == name && s.Tag.Get("connection") == "true" })
	})
}
