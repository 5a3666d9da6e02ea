// Package config turns the environment and the targets file into typed, valid settings, or into the list of all their
// faults, and is the one source of the help text and of the README's table.
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
	"github.com/robfig/cron/v3"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
	"github.com/idaas-exporter/idaas-token-exporter/poller/disk"
)

// Config is every setting, parsed and valid: its users need not check anything again. Load fills it and nothing
// changes it afterwards, so it may be shared between goroutines. The tags are the manual: name, default, what is
// accepted (oneof, range or accepts) and meaning, and whether it is part of the connection to an IDaaS.
type Config struct {
	// Domain, Endpoint and TokenEndpoint are URLs without a trailing slash, or empty if they are to be discovered.
	Domain        string `env:"IDAAS_DOMAIN" connection:"true" accepts:"'[https://]host[:port]' without a path; 'http://' for loopback only" help:"domain of the IDaaS instance; what is unset of the next three is discovered from it"`
	InstanceID    string `env:"IDAAS_INSTANCE_ID" connection:"true" accepts:"letters, digits and . - _" help:"id of the IDaaS instance ('idaas_…')"`
	Endpoint      string `env:"IDAAS_ENDPOINT" connection:"true" accepts:"'[https://]host[:port]' without a path; 'http://' for loopback only" help:"base URL of the developer API"`
	TokenEndpoint string `env:"IDAAS_TOKEN_ENDPOINT" connection:"true" accepts:"'[https://]host[:port]/path'; 'http://' for loopback only" help:"OAuth 2.0 token endpoint; unused with a ready access token"`
	Network       string `env:"IDAAS_NETWORK" connection:"true" envDefault:"internet" oneof:"internet vpc" help:"from where a discovered developer API is reached"`

	AuthMethod string `env:"IDAAS_AUTH_METHOD" connection:"true" envDefault:"client_secret_post" oneof:"client_secret_basic client_secret_post client_secret_jwt private_key_jwt oidc pkcs7 pca ram" help:"how the machine client authenticates; unused with a ready access token"`
	ClientID   string `env:"IDAAS_CLIENT_ID" connection:"true" accepts:"a text" help:"id of the machine client"`
	// A secret is given as such or as a file, which need not exist yet and is to be read at each use.
	ClientSecret     poller.Secret `env:"IDAAS_CLIENT_SECRET" connection:"true" accepts:"a text" help:"secret of the machine client"`
	ClientSecretFile string        `env:"IDAAS_CLIENT_SECRET_FILE" connection:"true" accepts:"a path" help:"file with the secret of the machine client, read again at each use"`
	// PrivateKey comes from the variable that the vendor file names, Certificate and CertificateChain from the file itself.
	PrivateKey              poller.Secret `env:"-"`
	Certificate             poller.Secret `env:"-"`
	CertificateChain        poller.Secret `env:"-"`
	PrivateKeyFile          string        `env:"IDAAS_PRIVATE_KEY_FILE" connection:"true" accepts:"the path of a PEM file" help:"private key of the machine client for 'private_key_jwt' and 'pca', read again at each use"`
	PrivateKeyID            string        `env:"IDAAS_PRIVATE_KEY_ID" connection:"true" accepts:"a text" help:"id of that key, if the assertion of 'private_key_jwt' is to name it ('kid')"`
	OIDCTokenFile           string        `env:"IDAAS_OIDC_TOKEN_FILE" connection:"true" envDefault:"/var/run/secrets/kubernetes.io/serviceaccount/token" accepts:"a path" help:"token for 'oidc', read again at each use; 'ALIBABA_CLOUD_OIDC_TOKEN_FILE' before the default"`
	FederatedCredentialName string        `env:"IDAAS_FEDERATED_CREDENTIAL_NAME" connection:"true" accepts:"a text" help:"name of the federated credential of the machine client, for 'oidc', 'pkcs7' and 'pca'"`
	PKCS7File               string        `env:"IDAAS_PKCS7_FILE" connection:"true" accepts:"a path" help:"signed identity document for 'pkcs7', read again at each use; if unset, ECS metadata signs one"`
	CertificateFile         string        `env:"IDAAS_CERTIFICATE_FILE" connection:"true" accepts:"the path of a PEM file" help:"certificate of the private key for 'pca', read again at each use"`
	CertificateChainFile    string        `env:"IDAAS_CERTIFICATE_CHAIN_FILE" connection:"true" accepts:"the path of a PEM file" help:"certificates between that one and the root, read again at each use"`
	ManagementEndpoint      string        `env:"IDAAS_MANAGEMENT_ENDPOINT" connection:"true" accepts:"'[https://]host[:port]' without a path; 'http://' for loopback only" help:"base URL of the management API; by default the one in the region of 'IDAAS_ENDPOINT'"`
	AccessToken             poller.Secret `env:"IDAAS_ACCESS_TOKEN" connection:"true" accepts:"a text" help:"a ready access token instead of a machine client"`
	AccessTokenFile         string        `env:"IDAAS_ACCESS_TOKEN_FILE" connection:"true" accepts:"a path" help:"file with a ready access token, read again at each use"`
	Scope                   string        `env:"IDAAS_SCOPE" connection:"true" envDefault:"urn:cloud:idaas:pam|authentication_token:read" accepts:"a text" help:"scope of the requested access token"`
	// VendorFile and CAFile have been read; RootCAs is nil without the latter.
	VendorFile string         `env:"CLOUD_IDAAS_CONFIG_PATH" connection:"true" accepts:"the path of a 'client-config.json'" help:"configuration of the vendor SDKs; fills what the variables above leave unset"`
	CAFile     string         `env:"IDAAS_CA_FILE" connection:"true" accepts:"the path of a PEM file" help:"root certificates to trust beside those of the system"`
	RootCAs    *x509.CertPool `env:"-"`

	// InlineTargets and TargetsFile are as given; a Reloader reads them again.
	InlineTargets string `env:"IDAAS_TARGETS" connection:"true" accepts:"'consumerId:credentialProviderIdentifier', comma separated, split at the last colon" help:"what to watch"`
	TargetsFile   string `env:"IDAAS_TARGETS_FILE" connection:"true" accepts:"the path of a YAML file" help:"more to watch, with aliases and windows; adds to 'IDAAS_TARGETS'"`
	ConsumerLabel string `env:"IDAAS_CONSUMER_LABEL" envDefault:"id" oneof:"id hash" help:"how a consumer without an alias is shown: its id, or 12 hex digits of the SHA-256 of the id"`

	// Schedule comes due at most once a second, and always again.
	Schedule        cron.Schedule `env:"IDAAS_POLL_SCHEDULE" envDefault:"@every 5m" accepts:"five cron fields, '@hourly' and the like, '@every 90s' (at least 1s); 'CRON_TZ=Zone' may lead" help:"when every target is walked; a fixed time that the clocks skip or show twice comes due once"`
	PollTimeout     time.Duration `env:"IDAAS_POLL_TIMEOUT" envDefault:"1h" accepts:"a duration such as '90s', '1h30m' or '7d'," range:"1ms 1y" help:"longest walk of one target: a guard against endless lists, not a pace"`
	PollConcurrency int           `env:"IDAAS_POLL_CONCURRENCY" envDefault:"4" accepts:"a whole number" range:"1 1000" help:"targets walked at once"`
	Walk            string        `env:"IDAAS_WALK" envDefault:"full" oneof:"full live" help:"'full' lists all tokens; 'live' the active ones, and counts the rest by 'totalCount'"`
	PageSize        int           `env:"IDAAS_PAGE_SIZE" envDefault:"100" accepts:"a whole number" range:"1 1000" help:"tokens per page; falls back to 20 with a warning when the API refuses it"`
	RateLimit       float64       `env:"IDAAS_RATE_LIMIT" envDefault:"3" accepts:"a number" range:"0.001 1000" help:"API requests per second of the whole deployment, fractions allowed; each shard takes its part"`
	RequestTimeout  time.Duration `env:"IDAAS_REQUEST_TIMEOUT" envDefault:"10s" accepts:"a duration" range:"1ms 1h" help:"longest HTTP request"`
	RequestRetries  int           `env:"IDAAS_REQUEST_RETRIES" envDefault:"4" accepts:"a whole number" range:"0 20" help:"how often a failed HTTP request is tried again"`
	// Windows has at least one, in the order written, no two equally long; Targets carry it or their own.
	Windows      []poller.Window `env:"IDAAS_EXPIRING_WITHIN" envDefault:"1h,1d,7d,30d" accepts:"durations such as '90m' or '7d', comma separated, no two equal" help:"windows in which tokens about to expire are counted; the label shows them as written"`
	AtRisk       poller.Before   `env:"IDAAS_AT_RISK_BEFORE" envDefault:"20%,7d" accepts:"a part of the lifetime and at most how long, such as '20%,7d'" help:"how long before the end of its last token a target without a known rhythm of renewals is at risk"`
	AboutToEnd   poller.Before   `env:"IDAAS_ABOUT_TO_END_BEFORE" envDefault:"5%,1d" accepts:"the same" help:"how long before the end of its last token a target is about to end"`
	LostAfter    time.Duration   `env:"IDAAS_LOST_AFTER" envDefault:"10m" accepts:"a duration" range:"1s 1y" help:"how long a continuous consumer may be without a token before it is lost"`
	MaxStaleness time.Duration   `env:"IDAAS_MAX_STALENESS" envDefault:"0" accepts:"a duration" range:"0 10y" help:"age at which the token series of a target not read since are dropped; 0 keeps them"`
	StateFile    string          `env:"IDAAS_STATE_FILE" connection:"true" accepts:"a path" help:"file that keeps what was read across restarts; each process needs its own"`
	ShardIndex   int             `env:"IDAAS_SHARD_INDEX" envDefault:"0" accepts:"'auto', the number at the end of the host name, or one" range:"0 999" help:"which share of the targets this process polls, counted from 0"`
	ShardCount   int             `env:"IDAAS_SHARD_COUNT" envDefault:"1" accepts:"a whole number" range:"1 1000" help:"processes that share the targets; all are given the same ones"`

	// The addresses have a numeric port.
	ListenAddress string     `env:"IDAAS_LISTEN_ADDRESS" envDefault:":9877" accepts:"'[host]:port'" help:"address of the metrics and of all other pages"`
	ProbeAddress  string     `env:"IDAAS_PROBE_ADDRESS" accepts:"'[host]:port', not that of the metrics" help:"a second, plain listener with only the two health endpoints"`
	WebConfigFile string     `env:"IDAAS_WEB_CONFIG_FILE" accepts:"the path of an exporter-toolkit web configuration" help:"TLS and basic auth of that address"`
	LogLevel      slog.Level `env:"IDAAS_LOG_LEVEL" envDefault:"info" oneof:"debug info warn error" help:"least severe messages logged"`
	LogFormat     string     `env:"IDAAS_LOG_FORMAT" envDefault:"text" oneof:"text json" help:"form of the log"`

	// Targets are this process's share, possibly none, of those given one by one: IDAAS_TARGETS first, then the file, in the order written.
	Targets []poller.Target `env:"-"`
	Watch   Watchlist       `env:"-"`
	// Warnings are sentences about settings that are legal but probably not meant.
	Warnings []string `env:"-"`

	read     string                  `env:"-"` // what the targets file was like when Targets were read from it
	checkWeb func(file string) error `env:"-"`
}

// Load parses environ, a list of NAME=value as os.Environ returns it, and reads the files that it names for targets,
// root certificates and the vendor's settings; secrets in files are left alone. Blanks around a value and a byte order mark in front are
// dropped and an empty variable is an unset one. The error is of type Faults and lists everything that is wrong; checkWeb says what is
// wrong with the file of IDAAS_WEB_CONFIG_FILE.
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
	for name, text := range map[string]*poller.Secret{
		"IDAAS_PRIVATE_KEY_FILE": &c.PrivateKey, "IDAAS_CERTIFICATE_FILE": &c.Certificate, "IDAAS_CERTIFICATE_CHAIN_FILE": &c.CertificateChain,
	} {
		// What the vendor file gives for these is the PEM itself, not a path.
		*text = poller.NewSecret(vendor.values[name])
		delete(vendor.values, name)
	}
	maps.Copy(given, vendor.values)
	given["IDAAS_OIDC_TOKEN_FILE"] = cmp.Or(given["IDAAS_OIDC_TOKEN_FILE"], given["ALIBABA_CLOUD_OIDC_TOKEN_FILE"])
	if given["IDAAS_SHARD_INDEX"] == "auto" {
		host, _ := os.Hostname()
		given["IDAAS_SHARD_INDEX"] = hostNumber(host)
	}
	faults := slices.Concat(vendor.faults, c.parse(given), c.check(), checkProxies(environ))
	data, read, err := c.readTargetsFile()
	c.read = read
	c.Watch, err = c.watchlist(data, err)
	c.Targets, _ = c.Watch.Targets(nil)
	inTargets, _ := errors.AsType[Faults](err)
	var wrong, unused Faults
	for _, f := range faults {
		list := &wrong
		if vendor.places[f.Name] != "" && !c.uses(f.Name) {
			list, f.Problem = &unused, f.Problem+"; ignored, because it is not used"
		}
		f.Name = cmp.Or(vendor.places[f.Name], f.Name)
		*list = append(*list, f)
	}
	wrong = append(wrong, inTargets...)
	unknown := misspelt(environ)
	if len(wrong) > 0 {
		// These are the likely cause of a missing setting.
		return nil, slices.Concat(wrong, vendor.unset, unknown)
	}
	c.Warnings = c.warnings(time.Now())
	for _, f := range append(unused, unknown...) {
		c.Warnings = append(c.Warnings, f.String())
	}
	return c, nil
}

// parse fills the fields from what is given by the name of a setting and checks what can be judged one setting at a time.
func (c *Config) parse(given map[string]string) Faults {
	failed, _ := errors.AsType[env.AggregateError](env.ParseWithOptions(c, env.Options{
		Environment: given,
		FuncMap: map[reflect.Type]env.ParserFunc{
			reflect.TypeFor[time.Duration]():   func(s string) (any, error) { return parseDuration(s) },
			reflect.TypeFor[cron.Schedule]():   func(s string) (any, error) { return parseSchedule(s) },
			reflect.TypeFor[[]poller.Window](): func(s string) (any, error) { return parseWindows(s) },
			reflect.TypeFor[poller.Before]():   func(s string) (any, error) { return parseBefore(s) },
		},
	}))
	// The errors of env name the field.
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
			field.SetZero() // or the targets would be shared out among a billion shards
		case value != "" && field.Kind() == reflect.String:
			var text string
			if text, err = c.normalize(s.name, value); err == nil {
				field.SetString(text)
			}
			value = value[max(strings.LastIndex(value, "@"), 0):] // user and password are not shown
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
			return "", errors.New("what stands between < and > is to be filled in")
		}
		return poller.ParseEndpoint(text, name == "IDAAS_TOKEN_ENDPOINT")
	case "IDAAS_INSTANCE_ID":
		return text, poller.CheckIdentifier(text)
	case "IDAAS_WEB_CONFIG_FILE":
		// What reads it knows no bounds.
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
	maxFile    = 16 << 20        // bytes that are read of any file
	webTimeout = 5 * time.Second // for the look at a web configuration
	maxWindows = 32              // bounds the series of one target
)

// parseDuration reads Prometheus' syntax.
func parseDuration(text string) (time.Duration, error) {
	d, err := model.ParseDuration(text)
	return time.Duration(d), err
}

// parseWindows reads a comma separated list; the error names everything wrong in it.
func parseWindows(text string) ([]poller.Window, error) {
	labels := splitList(text)
	if len(labels) == 0 || len(labels) > maxWindows {
		return nil, fmt.Errorf("not 1 to %d windows", maxWindows)
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
			problems = append(problems, label+" is no time at all")
		case same >= 0:
			problems = append(problems, label+" is as long as "+windows[same].Label)
		default:
			windows = append(windows, poller.Window{Label: label, Duration: d})
		}
	}
	if problems != nil {
		return nil, errors.New(strings.Join(problems, ", "))
	}
	return windows, nil
}

// splitList returns the trimmed items of a comma separated list; empty ones, as after a trailing comma, are dropped.
func splitList(text string) []string {
	items := strings.Split(text, ",")
	for i, item := range items {
		items[i] = strings.TrimSpace(item)
	}
	return slices.DeleteFunc(items, func(item string) bool { return item == "" })
}
