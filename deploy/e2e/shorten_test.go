package e2e

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// factor by which the story runs faster than the shipped files say: a minute takes a second.
const factor = 60

var (
	durations = regexp.MustCompile(`\b\d+(?:ms|[smhdwy])\b`)
	seconds   = regexp.MustCompile(`(record: \S+_seconds\n(?:[ \t]*labels: .*\n)?[ \t]*expr: vector\()(\d+)\)`)
)

// shorten is the one substitution between what is shipped and what the story runs: in the text of a rule file or a
// configuration, every duration (15m) and every threshold in seconds becomes its sixtieth part. Ratios and counts stay.
func shorten(text string) string {
	text = durations.ReplaceAllStringFunc(text, func(d string) string {
		long, err := model.ParseDuration(d)
		if err != nil {
			return d
		}
		return model.Duration(time.Duration(long) / factor).String()
	})
	return seconds.ReplaceAllStringFunc(text, func(s string) string {
		part := seconds.FindStringSubmatch(s)
		n, _ := strconv.ParseFloat(part[2], 64)
		return fmt.Sprintf("%s%g)", part[1], n/factor)
	})
}

func ruleFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"rules*.yaml", "overrides*.yaml"} {
		found, err := filepath.Glob(root + "/deploy/prometheus/" + pattern)
		if err != nil || found == nil {
			t.Fatalf("%s: no rule files (%v)", pattern, err)
		}
		files = append(files, found...)
	}
	return files
}

var promql = parser.NewParser(parser.Options{})

func parseRules(t *testing.T, text string) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.Parse([]byte(text), false, model.UTF8Validation, promql, slog.New(slog.DiscardHandler))
	if errs != nil {
		t.Fatal(errs)
	}
	var rules []rulefmt.Rule
	for _, g := range groups.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules
}

// TestShortenedRulesAreTheShippedRules: nothing but times differs, and no time was left out.
func TestShortenedRulesAreTheShippedRules(t *testing.T) {
	for _, file := range ruleFiles(t) {
		shipped := readFile(t, file)
		long, short := parseRules(t, shipped), parseRules(t, shorten(shipped))
		if len(long) != len(short) {
			t.Fatalf("%s: %d rules became %d", file, len(long), len(short))
		}
		for i := range long {
			l, s := long[i], short[i]
			name := l.Alert + l.Record
			if s.For*factor != l.For || s.KeepFiringFor*factor != l.KeepFiringFor {
				t.Errorf("%s: for %v and %v became %v and %v", name, l.For, l.KeepFiringFor, s.For, s.KeepFiringFor)
			}
			if fmt.Sprint(l.Labels, l.Annotations) != fmt.Sprint(s.Labels, s.Annotations) {
				t.Errorf("%s: its labels or annotations changed", name)
			}
			if again := lengthen(t, name, s.Expr); again != normal(t, l.Expr) {
				t.Errorf("%s: shortened and lengthened again it is not the shipped expression:\n%s\n%s", name, normal(t, l.Expr), again)
			}
		}
	}
}

func normal(t *testing.T, expr string) string {
	t.Helper()
	e, err := promql.ParseExpr(expr)
	if err != nil {
		t.Fatal(err)
	}
	return e.String()
}

// lengthen undoes shorten, on the parsed expression instead of the text.
func lengthen(t *testing.T, name, expr string) string {
	t.Helper()
	e, err := promql.ParseExpr(expr)
	if err != nil {
		t.Fatal(err)
	}
	parser.Inspect(e, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.MatrixSelector:
			n.Range *= factor
		case *parser.VectorSelector:
			n.OriginalOffset *= factor
		case *parser.SubqueryExpr:
			n.Range, n.Step, n.OriginalOffset = n.Range*factor, n.Step*factor, n.OriginalOffset*factor
		case *parser.NumberLiteral:
			if strings.HasSuffix(name, "_seconds") && strings.Contains(name, "threshold") {
				n.Val *= factor
			}
		}
		return nil
	})
	return e.String()
}

// shortened writes the shortened form of a shipped file into dir, with further replacements.
func shortened(t *testing.T, dir, file string, replace ...string) string {
	t.Helper()
	text := shorten(readFile(t, root+"/deploy/prometheus/"+file))
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("%s: there is no %s to replace", file, replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	path := filepath.Join(dir, file)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
