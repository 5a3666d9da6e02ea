package rules

import (
	"fmt"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/prometheus/prometheus/promql/parser"
)

// TestShortenedRulesAreTheShippedRules: nothing but times differs, and no time was left out.
func TestShortenedRulesAreTheShippedRules(t *testing.T) {
	for _, file := range RuleFiles(t) {
		shipped := e2e.ReadFile(t, file)
		long, short := ParseRules(t, shipped), ParseRules(t, Shorten(shipped))
		if len(long) != len(short) {
			t.Fatalf("%s: %d rules became %d", file, len(long), len(short))
		}
		for i := range long {
			l, s := long[i], short[i]
			name := l.Alert + l.Record
			if s.For*Factor != l.For || s.KeepFiringFor*Factor != l.KeepFiringFor {
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
	e, err := Promql.ParseExpr(expr)
	if err != nil {
		t.Fatal(err)
	}
	return e.String()
}

// lengthen undoes shorten, on the parsed expression instead of the text.
func lengthen(t *testing.T, name, expr string) string {
	t.Helper()
	e, err := Promql.ParseExpr(expr)
	if err != nil {
		t.Fatal(err)
	}
	parser.Inspect(e, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.MatrixSelector:
			n.Range *= Factor
		case *parser.VectorSelector:
			n.OriginalOffset *= Factor
		case *parser.SubqueryExpr:
			n.Range, n.Step, n.OriginalOffset = n.Range*Factor, n.Step*Factor, n.OriginalOffset*Factor
		case *parser.NumberLiteral:
			if name == "IDaaSDataStale" && n.Val == 10 {
				n.Val *= Factor
			}
		}
		return nil
	})
	return e.String()
}
