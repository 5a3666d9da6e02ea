package config

import (
	_ "embed" // the usage
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Fault is one thing wrong with the settings. Name is the variable, or file:line in a file; Value is empty when nothing
// was given or when it must not be shown; Problem says what is wrong, and what is accepted.
type Fault struct{ Name, Value, Problem string }

// String returns the fault in one line; the value is quoted, so that it cannot break the line.
func (f Fault) String() string {
	if f.Value == "" {
		return f.Name + ": " + f.Problem
	}
	return fmt.Sprintf("%s=%q: %s", f.Name, f.Value, f.Problem)
}

// Faults is everything found wrong at once; as an error it is never empty.
type Faults []Fault

// Error lists the faults, one per line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// setting is one field of Config, with what its tags say; a ' in help and accepts marks code.
type setting struct {
	reflect.StructField
	name, fallback, help, accepts string
	oneOf                         []string
}

func settings() []setting {
	var all []setting
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		tag := f.Tag.Get
		if tag("env") == "-" {
			continue
		}
		s := setting{StructField: f, name: tag("env"), fallback: tag("envDefault"), help: tag("help"), accepts: tag("accepts")}
		if s.oneOf = strings.Fields(tag("oneof")); len(s.oneOf) > 0 {
			s.accepts = "'" + strings.Join(s.oneOf, "', '") + "'"
		}
		if lowest, highest, bounded := strings.Cut(tag("range"), " "); bounded {
			s.accepts += " from '" + lowest + "' to '" + highest + "'"
		}
		all = append(all, s)
	}
	return all
}

func (s setting) fault(value, problem string) Fault {
	return Fault{s.name, value, problem + "; accepted: " + strings.ReplaceAll(s.accepts, "'", "")}
}

//go:embed help.txt
var usage string

// Help writes the commands, and every setting with its default, meaning and what it accepts, for a terminal of 100
// columns.
func Help(w io.Writer) {
	var b strings.Builder
	b.WriteString(usage)
	for _, s := range settings() {
		if len(s.accepts) > 100 {
			end := strings.LastIndex(s.accepts[:100], ", ") + 1
			s.accepts = s.accepts[:end] + "\n   " + s.accepts[end:]
		}
		fmt.Fprintf(&b, "%s  (default %s)\n    %s\n    accepts %s\n", s.name, s.fallback, s.help, s.accepts)
	}
	_, _ = io.WriteString(w, strings.NewReplacer("  (default )", "", "'", "").Replace(b.String()))
}

// inRange compares value with the range of s; a setting without one has no bounds.
func (s setting) inRange(value reflect.Value) bool {
	lowest, highest, bounded := strings.Cut(s.Tag.Get("range"), " ")
	if !bounded {
		return true
	}
	number := value.Convert(reflect.TypeFor[float64]()).Float()
	// This way round, because NaN is in no range.
	return number >= bound(lowest) && number <= bound(highest)
}

// bound reads one end of a range, as nanoseconds if it is of durations.
func bound(text string) float64 {
	if d, err := parseDuration(text); err == nil {
		return float64(d)
	}
	number, _ := strconv.ParseFloat(text, 64)
	return number
}

// meant is what people call settings, as regular expressions for words of a name, most special first.
var meant = []struct{ words, name string }{
	{`NO_PROXY`, "NO_PROXY"},
	{`\w*PROXY`, "HTTPS_PROXY"},
	{`INTERVAL|PERIOD|FREQUENCY|CRON|SCHEDULE`, "IDAAS_POLL_SCHEDULE"},
	{`PROBES?|HEALTH\w*`, "IDAAS_PROBE_ADDRESS"},
	{`PORT|LISTEN\w*|BIND`, "IDAAS_LISTEN_ADDRESS"},
	{`TOKEN_(\w+_)?UR[IL]`, "IDAAS_TOKEN_ENDPOINT"},
	{`UR[IL]`, "IDAAS_ENDPOINT"},
	{`^TOKEN$|BEARER\w*`, "IDAAS_ACCESS_TOKEN"},
	{`APP_ID|APPLICATION_ID`, "IDAAS_CLIENT_ID"},
	{`^SECRET|APP_SECRET|PASSWORD`, "IDAAS_CLIENT_SECRET"},
	{`^KEY|KEY_FILE|KEY_PATH`, "IDAAS_PRIVATE_KEY_FILE"},
	{`CA|CA\w*CERTS?|(ROOT|CA)_\w+`, "IDAAS_CA_FILE"},
	{`^CERTS?|^CERTIFICATE$`, "IDAAS_CERTIFICATE_FILE"},
	{`TLS|WEB|BASIC_AUTH`, "IDAAS_WEB_CONFIG_FILE"},
	{`^CONFIG_PATH`, "CLOUD_IDAAS_CONFIG_PATH"},
	{`WORKERS|THREADS|PARALLEL\w*|CONCURREN\w*`, "IDAAS_POLL_CONCURRENCY"},
	{`^TIMEOUT|(HTTP|API)_TIMEOUT`, "IDAAS_REQUEST_TIMEOUT"},
	{`RETRY|RETRIES`, "IDAAS_REQUEST_RETRIES"},
	{`QPS|RPS|RATE`, "IDAAS_RATE_LIMIT"},
	{`PAGE\w*|MAX_RESULTS|BATCH`, "IDAAS_PAGE_SIZE"},
	{`WINDOWS?|THRESHOLDS?|EXPIR\w*`, "IDAAS_EXPIRING_WITHIN"},
	{`STALE\w*`, "IDAAS_MAX_STALENESS"},
	{`STATE|CACHE`, "IDAAS_STATE_FILE"},
	{`SHARDS|REPLICAS`, "IDAAS_SHARD_COUNT"},
	{`DEBUG|VERBOS\w+|LEVEL|LOGLEVEL`, "IDAAS_LOG_LEVEL"},
}

// suggestion returns the setting that the name of a variable, in upper case, stands for; empty: none is near.
func suggestion(name string, all []setting) string {
	rest := strings.TrimPrefix(name, "IDAAS_")
	nearest := slices.MinFunc(all, func(a, b setting) int { return distance(name, a.name) - distance(name, b.name) }).name
	if name == nearest {
		return nearest
	}
	for _, m := range meant {
		if regexp.MustCompile(`(^|_)(` + m.words + `)(_|$)`).MatchString(rest) {
			return m.name
		}
	}
	if distance(name, nearest) > len(rest)/3 {
		return ""
	}
	return nearest
}

// misspelt returns the IDAAS_ variables, in any case, that are no settings, each with the setting that it may stand for; what
// Kubernetes injects for a service whose name begins with idaas is left out.
func misspelt(environ []string) Faults {
	injected := regexp.MustCompile(`^\w*_SERVICE_(HOST|PORT\w*)=|^\w*_PORT(=\w+://|_\d+_(TCP|UDP|SCTP))`)
	all := settings()
	var faults Faults
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		upper := strings.ToUpper(name)
		ours := strings.HasPrefix(upper, "IDAAS_") || slices.ContainsFunc(all, func(s setting) bool { return s.name == upper })
		if !ours || strings.TrimSpace(value) == "" || injected.MatchString(pair) {
			continue
		}
		switch nearest := suggestion(upper, all); nearest {
		case name:
		case "":
			faults = append(faults, Fault{Name: name, Problem: "not a setting; the command help lists all settings"})
		default:
			faults = append(faults, Fault{Name: name, Problem: "not a setting; did you mean " + nearest + "?"})
		}
	}
	return faults
}

// distance counts the bytes to insert, remove or replace between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := left
			if a[i] != b[j] {
				replaced++
			}
			left = row[j+1]
			row[j+1] = min(replaced, left+1, row[j]+1)
		}
	}
	return row[len(b)]
}
