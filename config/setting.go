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

// misspelt returns the IDAAS_ variables, in any case, that are no settings, each with the nearest setting; what Kubernetes injects
// for a service whose name begins with idaas is left out.
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
		nearest := slices.MinFunc(all, func(a, b setting) int { return distance(upper, a.name) - distance(upper, b.name) }).name
		if nearest != name {
			faults = append(faults, Fault{Name: name, Problem: "not a setting; did you mean " + nearest + "?"})
		}
	}
	return faults
}

// distance counts the bytes of a and b beside the beginning and the end that they share.
func distance(a, b string) int {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return len(a) + len(b)
}
