package prometheus

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e/rules"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql/parser"
)

// catalogue holds the labels of every metric that there is.
type catalogue map[string]map[string]bool

func (c catalogue) add(metric string, names ...string) {
	if c[metric] == nil {
		// Prometheus adds these two.
		c[metric] = map[string]bool{"job": true, "instance": true, labels.MetricName: true}
	}
	for _, name := range names {
		c[metric][name] = true
	}
}

// exposition adds what a scrape in this format brings.
func (c catalogue) exposition(text, contentType string) error {
	p, err := textparse.New([]byte(text), contentType, labels.NewSymbolTable(), textparse.ParserOptions{FallbackContentType: "text/plain"})
	if err != nil {
		return err
	}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if entry == textparse.EntrySeries {
			var set labels.Labels
			p.Labels(&set)
			var names []string
			set.Range(func(l labels.Label) { names = append(names, l.Name) })
			metric := set.Get(labels.MetricName)
			c.add(metric, names...)
			// Every classic histogram of ours is a native one, too.
			if native, ok := strings.CutSuffix(metric, "_bucket"); ok {
				c.add(native, without(names, []string{labels.BucketLabel})...)
			}
		}
	}
}

func (c catalogue) knows(label string) bool {
	for _, names := range c {
		if names[label] {
			return true
		}
	}
	return false
}

// selected returns the labels of the metrics with a selector's name.
func (c catalogue) selected(n *parser.VectorSelector) (map[string]bool, bool) {
	has, found := map[string]bool{}, false
	for _, m := range n.LabelMatchers {
		if m.Name != labels.MetricName {
			continue
		}
		for metric, names := range c {
			if m.Matches(metric) {
				found = true
				maps.Copy(has, names)
			}
		}
	}
	return has, found
}

// missing lists what an expression uses and nothing has.
func (c catalogue) missing(expr string) (faults []string) {
	e, err := rules.Promql.ParseExpr(expr)
	if err != nil {
		return []string{err.Error()}
	}
	unknown := func(names []string) {
		for _, name := range names {
			if !c.knows(name) {
				faults = append(faults, "no metric has the label "+name)
			}
		}
	}
	parser.Inspect(e, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			has, ok := c.selected(n)
			if !ok {
				faults = append(faults, fmt.Sprintf("there is no metric %s", n))
				break
			}
			for _, m := range n.LabelMatchers {
				if !has[m.Name] {
					faults = append(faults, fmt.Sprintf("%s has no label %s", n.Name, m.Name))
				}
			}
		case *parser.AggregateExpr:
			if n.Without { // names labels that some have and others lack, on purpose
				unknown(without(n.Grouping, targetLabels))
			} else {
				unknown(without(n.Grouping, targetLabels))
			}
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				unknown(without(n.VectorMatching.MatchingLabels, targetLabels))
				unknown(without(n.VectorMatching.Include, targetLabels))
			}
		}
		return nil
	})
	slices.Sort(faults)
	return slices.Compact(faults)
}

// targetLabels are given by the service discovery of some, or by rules; schedule is for exporters with several.
var targetLabels = []string{"instance", "pod", "node", "host", "cluster", "region", "env", "namespace", "schedule", "shards"}

// knownMetrics is what a running demo exposes, and what an exporter in trouble would.
func knownMetrics(t *testing.T, demo string) catalogue {
	t.Helper()
	c := catalogue{}
	c.add("up")
	for _, text := range []string{demo, e2e.ReadFile(t, e2e.Root+"/collector/testdata/everything.prom")} {
		if err := c.exposition(text, "text/plain"); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func without(list, others []string) (rest []string) {
	for _, s := range list {
		if !slices.Contains(others, s) {
			rest = append(rest, s)
		}
	}
	return rest
}

// checkRules: rules ask for metrics and labels that exist, or that rules record.
func checkRules(t *testing.T, known catalogue) {
	known = recorded(t, known)
	for _, file := range rules.RuleFiles(t) {
		for _, r := range rules.ParseRules(t, e2e.ReadFile(t, file)) {
			for _, fault := range known.missing(r.Expr) {
				t.Error(fmt.Sprint(r.Alert, r.Record, ": ", fault))
			}
		}
	}
}

// recorded adds what the rules record, and Prometheus' own series of alerts.
func recorded(t *testing.T, known catalogue) catalogue {
	known = maps.Clone(known)
	names := []string{"consumer", "credential_provider", "namespace", "pod", "reason", "within", "state", "shard_index"}
	known.add("idaas:threshold:old") // of a rule file of a former version
	known.add("ALERTS", append(names, "alertname", "alertstate", "severity")...)
	known.add("ALERTS_FOR_STATE", append(names, "alertname", "severity")...)
	for _, file := range rules.RuleFiles(t) {
		for _, r := range rules.ParseRules(t, e2e.ReadFile(t, file)) {
			if r.Record != "" {
				known.add(r.Record, names...)
			}
		}
	}
	return known
}
