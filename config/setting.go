package config

import (
	_ "embed" // the texts
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/idaas-exporter/idaas-token-exporter/poller/idaas/auth"
)

// Fault is one fault in the settings. Name is the variable, or file:line; Value is empty if unset or secret; Problem has the reason
// and what is accepted.
type Fault struct{ Name, Value, Problem string }

// String returns the fault as one line with the value quoted.
func (f Fault) String() string {
	if f.Value == "" {
		return f.Name + ": " + f.Problem
	}
	return fmt.Sprintf("%s=%q: %s", f.Name, f.Value, f.Problem)
}

// Faults are all faults found; as an error it is not empty.
type Faults []Fault

// Error returns the faults, one per line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

//go:embed help.txt
var usage string

// texts has a block for each setting: its name, what is accepted, and on the next line the description.
//
//go:embed settings.txt
var texts string

// setting is one field of Config. In help and accepts, code is between '.
type setting struct {
	reflect.StructField
	name, fallback, help, accepts string
	oneOf                         []string
}

func settings() []setting {
	described := make(map[string]setting)
	for block := range strings.SplitSeq(strings.TrimSpace(texts), "\n\n") {
		head, help, _ := strings.Cut(block, "\n")
		name, accepts, _ := strings.Cut(head, ":")
		described[name] = setting{name: name, help: help, accepts: strings.TrimSpace(accepts)}
	}
	var all []setting
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		s, ok := described[f.Tag.Get("env")]
		if !ok {
			continue
		}
		s.StructField, s.fallback, s.oneOf = f, f.Tag.Get("envDefault"), strings.Fields(f.Tag.Get("oneof"))
		if f.Name == "AuthMethod" {
			for _, m := range auth.Methods {
				s.oneOf = append(s.oneOf, m.Name)
			}
		}
		if len(s.oneOf) > 0 {
			s.accepts = "'" + strings.Join(s.oneOf, "', '") + "'"
		}
		if lowest, highest, bounded := strings.Cut(f.Tag.Get("range"), " "); bounded {
			s.accepts += " from '" + lowest + "' to '" + highest + "'"
		}
		all = append(all, s)
	}
	return all
}

func (s setting) fault(value, problem string) Fault {
	return Fault{s.name, value, problem + "; accepted: " + strings.ReplaceAll(s.accepts, "'", "")}
}

// Help writes the commands and all settings for a terminal with 100 columns.
func Help(w io.Writer) {
	var b strings.Builder
	b.WriteString(usage)
	for _, s := range settings() {
		fmt.Fprintf(&b, "%s  (default %s)\n    %s\n    %s\n", s.name, s.fallback, wrap(s.help), wrap("accepts "+s.accepts))
	}
	_, _ = io.WriteString(w, strings.NewReplacer("  (default )", "", "'", "").Replace(b.String()))
}

func wrap(text string) string {
	if len(text) <= 96 {
		return text
	}
	end := strings.LastIndex(text[:96], " ")
	return text[:end] + "\n      " + wrap(text[end+1:])
}

// inRange reports whether value is in the range of s, if s has one.
func (s setting) inRange(value reflect.Value) bool {
	lowest, highest, bounded := strings.Cut(s.Tag.Get("range"), " ")
	if !bounded {
		return true
	}
	number := value.Convert(reflect.TypeFor[float64]()).Float()
	// NaN is in no range.
	return number >= bound(lowest) && number <= bound(highest)
}

// bound returns one end of a range; for a duration in nanoseconds.
func bound(text string) float64 {
	if d, err := parseDuration(text); err == nil {
		return float64(d)
	}
	number, _ := strconv.ParseFloat(text, 64)
	return number
}

// synonyms has lines with a setting and a regular expression for words in variables of that meaning, most specific first.
//
//go:embed synonyms.txt
var synonyms string

// suggestion returns the setting with the same meaning or a similar name as a variable in upper case; empty if there is none.
func suggestion(name string, all []setting) string {
	rest := strings.TrimPrefix(name, "IDAAS_")
	nearest := slices.MinFunc(all, func(a, b setting) int { return distance(name, a.name) - distance(name, b.name) }).name
	if name == nearest {
		return nearest
	}
	for line := range strings.Lines(synonyms) {
		meant, words, _ := strings.Cut(strings.TrimSpace(line), " ")
		if regexp.MustCompile(`(^|_)(` + words + `)(_|$)`).MatchString(rest) {
			return meant
		}
	}
	if distance(name, nearest) > len(rest)/3 {
		return ""
	}
	return nearest
}

// unknownVariables returns a fault for each variable with the prefix IDAAS_, in upper or lower case, that is not a setting. It ignores
// the variables that Kubernetes sets for a service whose name begins with idaas.
func unknownVariables(environ []string) Faults {
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

// distance returns the Levenshtein distance of a and b in bytes.
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
