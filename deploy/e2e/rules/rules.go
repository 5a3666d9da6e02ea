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
	seconds   = regexp.MustCompile(`(record: \S+_seconds\n(?:[ \t]*labels: .*\n)?[ \t]*expr: vector\()(\d+)\)`)
)

// Shorten is the one substitution between what is shipped and what the story runs: in the text of a rule file or a
// configuration, every duration (15m) and every threshold in seconds becomes its sixtieth part. Ratios and counts stay.
func Shorten(text string) string {
	text = durations.ReplaceAllStringFunc(text, func(d string) string {
		long, err := model.ParseDuration(d)
		if err != nil {
			return d
		}
		return model.Duration(time.Duration(long) / Factor).String()
	})
	return seconds.ReplaceAllStringFunc(text, func(s string) string {
		part := seconds.FindStringSubmatch(s)
		n, _ := strconv.ParseFloat(part[2], 64)
		return fmt.Sprintf("%s%g)", part[1], n/Factor)
	})
}

// RuleFiles returns the shipped rule files and overrides.
func RuleFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"rules*.yaml", "overrides*.yaml"} {
		found, err := filepath.Glob(e2e.Root + "/deploy/prometheus/" + pattern)
		if err != nil || found == nil {
			t.Fatalf("%s: no rule files (%v)", pattern, err)
		}
		files = append(files, found...)
	}
	return files
}

// Promql parses PromQL as Prometheus does by default.
var Promql = parser.NewParser(parser.Options{})

// ParseRules returns the rules of all groups in text; a fault ends the test.
func ParseRules(t *testing.T, text string) []rulefmt.Rule {
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
