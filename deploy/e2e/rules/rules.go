// Package rules reads the shipped rule files and shortens their times; its tests check them with promtool.
package rules

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// Factor by which the story runs faster than the shipped files say: a minute takes a second.
const Factor = 60

var (
	durations = regexp.MustCompile(`\b\d+(?:ms|[smhdwy])\b`)
	seconds   = regexp.MustCompile(`(?m) \+ (\d{3,})$`)
)

// Shorten is the one substitution between what is shipped and what the story runs: in the text of a rule file or a
// configuration, every duration (15m) and every sum with seconds becomes its sixtieth part. Ratios and counts stay.
func Shorten(text string) string {
	text = durations.ReplaceAllStringFunc(text, func(d string) string {
		long, err := model.ParseDuration(d)
		if err != nil {
			return d
		}
		return model.Duration(time.Duration(long) / Factor).String()
	})
	return seconds.ReplaceAllStringFunc(text, func(s string) string {
		n, _ := strconv.ParseFloat(seconds.FindStringSubmatch(s)[1], 64)
		return fmt.Sprintf(" + %g", n/Factor)
	})
}

// RuleFiles returns the shipped rule files.
func RuleFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(e2e.Root + "/deploy/prometheus/rules*.yaml")
	if err != nil || files == nil {
		t.Fatal("no rule files", err)
	}
	return files
}

// Promql parses PromQL as Prometheus does by default.
var Promql = parser.NewParser(parser.Options{})

// ParseRules returns the rules of all groups in text; a fault ends the test.
func ParseRules(t testing.TB, text string) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.Parse([]byte(text), false, model.UTF8Validation, Promql, slog.New(slog.DiscardHandler))
	if errs != nil {
		t.Fatal(errs)
	}
	var rules []rulefmt.Rule
	for _, g := range groups.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules
}
