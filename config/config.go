// Package config parses the environment and the targets file into typed, valid settings, or returns all their faults. It is the
// source of the help text and of the settings table in the README.
package config

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/prometheus/common/model"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

// Config has all settings, parsed and valid. Load fills it and nothing changes it afterwards, so goroutines may share it.
// The tags have the name, the default, what is accepted (oneof, range), and whether a setting belongs to the connection to an
// IDaaS; settings.txt has what is accepted in words, and the description.
type Config struct {
	// Domain, Endpoint and TokenEndpoint are URLs without a trailing slash; an empty one is discovered.
	Domain        string `env:"IDAAS_DOMAIN" connection:"true"`
	InstanceID    string `env:"IDAAS_INSTANCE_ID" connection:"true"`
	Endpoint      string `env:"IDAAS_ENDPOINT" connection:"true"`
	TokenEndpoint string `env:"IDAAS_TOKEN_ENDPOINT" connection:"true"`
	Network       string `env:"IDAAS_NETWORK" connection:"true" envDefault:"internet" oneof:"internet vpc"`

	AuthMethod string `env:"IDAAS_AUTH_METHOD" connection:"true" envDefault:"client_secret_post"`
	ClientID   string `env:"IDAAS_CLIENT_ID" connection:"true"`
	// A secret file may not exist yet; its users read it at each use.
	ClientSecret     poller.Secret `env:"IDAAS_CLIENT_SECRET" connection:"true"`
	ClientSecretFile string        `env:"IDAAS_CLIENT_SECRET_FILE" connection:"true"`

	OIDCTokenFile string `env:"IDAAS_OIDC_TOKEN_FILE" connection:"true" envDefault:"/var/run/secrets/kubernetes.io/serviceaccount/token"`

	// PrivateKey is in the variable that the vendor file names; Certificate and CertificateChain are in the vendor file.
	PrivateKey              poller.Secret `env:"-"`
	Certificate             poller.Secret `env:"-"`
	CertificateChain        poller.Secret `env:"-"`
	PrivateKeyFile          string        `env:"IDAAS_PRIVATE_KEY_FILE" connection:"true"`
	PrivateKeyID            string        `env:"IDAAS_PRIVATE_KEY_ID" connection:"true"`
	FederatedCredentialName string        `env:"IDAAS_FEDERATED_CREDENTIAL_NAME" connection:"true"`
	PKCS7File               string        `env:"IDAAS_PKCS7_FILE" connection:"true"`
	CertificateFile         string        `env:"IDAAS_CERTIFICATE_FILE" connection:"true"`
	CertificateChainFile    string        `env:"IDAAS_CERTIFICATE_CHAIN_FILE" connection:"true"`
	ManagementEndpoint      string        `env:"IDAAS_MANAGEMENT_ENDPOINT" connection:"true"`
	AccessToken             poller.Secret `env:"IDAAS_ACCESS_TOKEN" connection:"true"`
	AccessTokenFile         string        `env:"IDAAS_ACCESS_TOKEN_FILE" connection:"true"`
	Scope                   string        `env:"IDAAS_SCOPE" connection:"true" envDefault:"urn:cloud:idaas:pam|authentication_token:read"`
	// VendorFile and CAFile are already read; RootCAs is nil without CAFile.
	VendorFile string         `env:"CLOUD_IDAAS_CONFIG_PATH" connection:"true"`
	CAFile     string         `env:"IDAAS_CA_FILE" connection:"true"`
	RootCAs    *x509.CertPool `env:"-"`

	// A Reloader reads InlineTargets and TargetsFile again.
	InlineTargets string `env:"IDAAS_TARGETS" connection:"true"`
	TargetsFile   string `env:"IDAAS_TARGETS_FILE" connection:"true"`
	ConsumerLabel string `env:"IDAAS_CONSUMER_LABEL" envDefault:"id" oneof:"id name hash"`

	// Schedule has times at least 1 s apart. Targets have this one or their own.
	Schedule        poller.Schedule `env:"IDAAS_POLL_SCHEDULE" envDefault:"@every 5m"`
	PollTimeout     time.Duration   `env:"IDAAS_POLL_TIMEOUT" envDefault:"1h" range:"1ms 1y"`
	PollConcurrency int             `env:"IDAAS_POLL_CONCURRENCY" envDefault:"4" range:"1 1000"`
	Walk            string          `env:"IDAAS_WALK" envDefault:"full" oneof:"full live"`
	PageSize        int             `env:"IDAAS_PAGE_SIZE" envDefault:"100" range:"1 1000"`
	RateLimit       float64         `env:"IDAAS_RATE_LIMIT" envDefault:"3" range:"0.001 1000"`
	RequestTimeout  time.Duration   `env:"IDAAS_REQUEST_TIMEOUT" envDefault:"10s" range:"1ms 1h"`
	RequestRetries  int             `env:"IDAAS_REQUEST_RETRIES" envDefault:"4" range:"0 20"`
	// Windows is not empty, and no two are equal. Targets have these windows or their own.
	Windows      []poller.Window `env:"IDAAS_EXPIRING_WITHIN" envDefault:"1h,1d,7d,30d"`
	AtRisk       poller.Before   `env:"IDAAS_AT_RISK_BEFORE" envDefault:"20%,7d"`
	AboutToEnd   poller.Before   `env:"IDAAS_ABOUT_TO_END_BEFORE" envDefault:"5%,1d"`
	LostAfter    time.Duration   `env:"IDAAS_LOST_AFTER" envDefault:"10m" range:"1s 1y"`
	MaxStaleness time.Duration   `env:"IDAAS_MAX_STALENESS" envDefault:"0" range:"0 10y"`
	StateFile    string          `env:"IDAAS_STATE_FILE" connection:"true"`
	ShardIndex   int             `env:"IDAAS_SHARD_INDEX" envDefault:"0" range:"0 999"`
	ShardCount   int             `env:"IDAAS_SHARD_COUNT" envDefault:"1" range:"1 1000"`

	// The addresses have a numeric port.
	ListenAddress string     `env:"IDAAS_LISTEN_ADDRESS" envDefault:":9877"`
	ProbeAddress  string     `env:"IDAAS_PROBE_ADDRESS"`
	WebConfigFile string     `env:"IDAAS_WEB_CONFIG_FILE"`
	LogLevel      slog.Level `env:"IDAAS_LOG_LEVEL" envDefault:"info" oneof:"debug info warn error"`
	LogFormat     string     `env:"IDAAS_LOG_FORMAT" envDefault:"text" oneof:"text json"`

	// Targets are the share of this process, possibly none, of the targets whose consumer and provider are named: first
	// IDAAS_TARGETS, then the file.
	Targets []poller.Target `env:"-"`
	Watch   Watchlist       `env:"-"`
	// Warnings describe settings that are valid but suspicious.
	Warnings []string `env:"-"`

	added       []byte                  `env:"-"` // by AddTargets
	fingerprint string                  `env:"-"` // of the targets file that Targets were read from
	checkWeb    func(file string) error `env:"-"`
}

// Load parses environ, a list of NAME=value, and reads the targets file, the root certificates and the vendor file; files with secrets
// are not read. Spaces around a value and a leading byte order mark are removed; an empty variable is unset. The error has type Faults
// and has all faults. checkWeb returns why the file of IDAAS_WEB_CONFIG_FILE is invalid.
func Load(environ []string, checkWeb func(file string) error) (*Config, error) {
	given := make(map[string]string)
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if value = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(value), "\ufeff")); value != "" {
			given[name] = value
		}
	}
	c := &Config{checkWeb: checkWeb}
	vendor := readVendorFile(given)
	maps.Copy(given, vendor.values)
	set := maps.Clone(given)
	for name, text := range map[string]*poller.Secret{
		"IDAAS_PRIVATE_KEY_FILE": &c.PrivateKey, "IDAAS_CERTIFICATE_FILE": &c.Certificate, "IDAAS_CERTIFICATE_CHAIN_FILE": &c.CertificateChain,
	} {
		if pem := vendor.values[name]; pem != "" { // not a path
			*text = poller.NewSecret(pem)
			delete(given, name)
		}
	}
	given["IDAAS_OIDC_TOKEN_FILE"] = cmp.Or(given["IDAAS_OIDC_TOKEN_FILE"], given["ALIBABA_CLOUD_OIDC_TOKEN_FILE"])
	if given["IDAAS_SHARD_INDEX"] == "auto" {
		host, _ := os.Hostname()
		given["IDAAS_SHARD_INDEX"] = hostNumber(host)
	}
	faults := slices.Concat(vendor.faults, c.parse(given), c.check(set), checkProxies(environ))
	data, fingerprint, err := c.readTargetsFile()
	c.fingerprint = fingerprint
	c.Watch, err = c.watchlist(data, err)
	named, _ := c.Watch.Resolve(&poller.Lists{})
	c.Targets = named.Targets
	targetFaults, _ := errors.AsType[Faults](err)
	var fatal, warnings Faults
	for _, f := range faults {
		list := &fatal
		if vendor.places[f.Name] != "" && !c.uses(f.Name) {
			list, f.Problem = &warnings, f.Problem+"; ignored, because it is unused"
		}
		f.Name = cmp.Or(vendor.places[f.Name], f.Name)
		*list = append(*list, f)
	}
	fatal = append(fatal, targetFaults...)
	unknown := unknownVariables(environ)
	if len(fatal) > 0 {
		// An unset or unknown variable is the probable cause of a missing setting.
		return nil, slices.Concat(fatal, vendor.unset, unknown)
	}
	c.Warnings = c.warnings(time.Now())
	for _, f := range append(warnings, unknown...) {
		c.Warnings = append(c.Warnings, f.String())
	}
	return c, nil
}

// parse sets the fields from the values by setting, and returns the faults of single settings.
func (c *Config) parse(given map[string]string) Faults {
	failed, _ := errors.AsType[env.AggregateError](env.ParseWithOptions(c, env.Options{
		Environment: given,
		FuncMap: map[reflect.Type]env.ParserFunc{
			reflect.TypeFor[time.Duration]():   func(s string) (any, error) { return parseDuration(s) },
			reflect.TypeFor[poller.Schedule](): func(s string) (any, error) { return parseSchedule(s) },
			reflect.TypeFor[[]poller.Window](): func(s string) (any, error) { return parseWindows(s) },
			reflect.TypeFor[poller.Before]():   func(s string) (any, error) { return parseBefore(s) },
		},
	}))
	// The errors of env have the name of the field.
	errs := make(map[string]error)
	for _, err := range failed.Errors {
		if parse, ok := errors.AsType[env.ParseError](err); ok {
			errs[parse.Name] = parse.Err
		}
	}
	var faults Faults
	for _, s := range settings() {
		value, field, err := given[s.name], reflect.ValueOf(c).Elem().FieldByIndex(s.Index), errs[s.Name]
		if number, ok := errors.AsType[*strconv.NumError](err); ok {
			err = number.Err
		}
		switch {
		case value != "" && len(s.oneOf) > 0 && !slices.Contains(s.oneOf, value):
			err = errors.New("unknown")
		case err == nil && !s.inRange(field):
			err = errors.New("out of range")
			field.SetZero() // do not distribute the targets among a billion shards
		case value != "" && field.Kind() == reflect.String:
			var text string
			if text, err = c.normalize(s.name, value); err == nil {
				field.SetString(text)
			}
			value = value[max(strings.LastIndex(value, "@"), 0):] // without user and password
		case s.Type == reflect.TypeFor[poller.Secret]():
			value = ""
		}
		if err != nil {
			faults = append(faults, s.fault(value, err.Error()))
		}
	}
	return faults
}

func (c *Config) normalize(name, text string) (string, error) {
	switch name {
	case "IDAAS_DOMAIN", "IDAAS_ENDPOINT", "IDAAS_TOKEN_ENDPOINT", "IDAAS_MANAGEMENT_ENDPOINT":
		if strings.ContainsAny(text, "<>") {
			return "", errors.New("a placeholder between < and >; replace it")
		}
		return poller.ParseEndpoint(text, name == "IDAAS_TOKEN_ENDPOINT")
	case "IDAAS_INSTANCE_ID":
		return text, poller.CheckIdentifier(text)
	case "IDAAS_WEB_CONFIG_FILE":
		// The toolkit reads it without limits.
		return disk.Do(context.Background(), webTimeout, "check", text, func() (string, error) { return text, c.checkWeb(text) })
	case "IDAAS_CA_FILE":
		return text, c.readRootCAs(text)
	case "IDAAS_LISTEN_ADDRESS", "IDAAS_PROBE_ADDRESS":
		_, port, _ := net.SplitHostPort(text)
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return "", errors.New("not an address with a port number from 0 to 65535")
		}
	}
	return text, nil
}

const (
	maxFile    = 16 << 20        // bytes of a file
	webTimeout = 5 * time.Second // to check the web configuration
	maxWindows = 32              // limits the series of a target
)

// parseDuration parses the syntax of Prometheus.
func parseDuration(text string) (time.Duration, error) {
	d, err := model.ParseDuration(text)
	return time.Duration(d), err
}

// parseWindows parses a comma separated list; the error has all faults.
func parseWindows(text string) ([]poller.Window, error) {
	labels := splitList(text)
	if len(labels) == 0 || len(labels) > maxWindows {
		return nil, fmt.Errorf("not a list of 1 to %d windows", maxWindows)
	}
	var windows []poller.Window
	var problems []string
	for _, label := range labels {
		d, err := parseDuration(label)
		same := slices.IndexFunc(windows, func(w poller.Window) bool { return w.Duration == d })
		switch {
		case err != nil:
			problems = append(problems, err.Error())
		case d == 0:
			problems = append(problems, label+" is zero")
		case same >= 0:
			problems = append(problems, label+" is equal to "+windows[same].Label)
		default:
			windows = append(windows, poller.Window{Label: label, Duration: d})
		}
	}
	if problems != nil {
		return nil, errors.New(strings.Join(problems, ", "))
	}
	return windows, nil
}

// splitList returns the trimmed, non-empty items of a comma separated list.
func splitList(text string) []string {
	items := strings.Split(text, ",")
	for i, item := range items {
		items[i] = strings.TrimSpace(item)
	}
	return slices.DeleteFunc(items, func(item string) bool { return item == "" })
}
