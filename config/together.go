package config

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// ShareOfRate is this process's part of RateLimit.
func (c *Config) ShareOfRate() float64 { return c.RateLimit / float64(c.ShardCount) }

// autoShard puts a number in the place of "auto".
func autoShard(given map[string]string) Faults {
	const name = "IDAAS_SHARD_INDEX"
	if given[name] != "auto" {
		return nil
	}
	host, err := os.Hostname()
	if given[name] = hostNumber(host); given[name] != "" {
		return nil
	}
	problem := fmt.Sprintf("the host name %q does not end in a number", host)
	if err != nil {
		problem = err.Error()
	}
	return Faults{{Name: name, Value: "auto", Problem: problem}}
}

// hostNumber returns the digits at the end of host, without its domain.
func hostNumber(host string) string {
	host, _, _ = strings.Cut(host, ".")
	return host[len(strings.TrimRight(host, "0123456789")):]
}

// checkTogether returns what cannot be judged one setting at a time, beside the connection.
func (c *Config) checkTogether() Faults {
	var faults Faults
	if c.ShardIndex >= c.ShardCount && c.ShardCount > 0 {
		problem := fmt.Sprintf("not below IDAAS_SHARD_COUNT, which is %d", c.ShardCount)
		faults = append(faults, lookup("IDAAS_SHARD_INDEX").fault(fmt.Sprint(c.ShardIndex), problem))
	}
	host, port, _ := net.SplitHostPort(c.ListenAddress)
	probeHost, probePort, _ := net.SplitHostPort(c.ProbeAddress)
	overlap := host == probeHost || host == "" || probeHost == ""
	if port == probePort && strings.Trim(port, "0") != "" && overlap {
		faults = append(faults, lookup("IDAAS_PROBE_ADDRESS").fault(c.ProbeAddress, "taken by IDAAS_LISTEN_ADDRESS"))
	}
	return faults
}

// warnings returns what is legal but probably not meant, at a start now.
func (c *Config) warnings(now time.Time) []string {
	var warnings []string
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }

	due := c.Schedule.Next(now)
	interval := c.Schedule.Next(due).Sub(due)
	if cycle := float64(len(c.Targets)) / c.ShareOfRate(); cycle > interval.Seconds() {
		warn("IDAAS_RATE_LIMIT: one request for each of %d targets takes %.0fs at %g per second, but IDAAS_POLL_SCHEDULE is due again after %v: "+
			"raise the limit or poll less often", len(c.Targets), cycle, c.ShareOfRate(), interval)
	}
	if c.MaxStaleness > 0 && c.MaxStaleness/3 < interval {
		warn("IDAAS_MAX_STALENESS: %v is under three times the %v between polls, so that a slow or failed one drops series: raise it or set it to 0",
			c.MaxStaleness, interval)
	}
	if c.WebConfigFile != "" && c.ProbeAddress == "" && asksWho(c.WebConfigFile) {
		warn("IDAAS_WEB_CONFIG_FILE: probes that cannot authenticate will fail: give them a listener of their own with IDAAS_PROBE_ADDRESS")
	}
	return warnings
}

// asksWho reports whether the web configuration at path lets nobody in unknown; whether it is right is for others to judge.
func asksWho(path string) bool {
	var web struct {
		Users map[string]any `yaml:"basic_auth_users"`
		TLS   struct {
			ClientAuth string `yaml:"client_auth_type"`
		} `yaml:"tls_server_config"`
	}
	data, _ := readFile(path, 1<<20)
	_ = yaml.Unmarshal(data, &web)
	return len(web.Users) > 0 || strings.HasPrefix(web.TLS.ClientAuth, "Require")
}
