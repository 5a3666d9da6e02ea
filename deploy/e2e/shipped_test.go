package e2e

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestTools lets the vendors' own tools judge the rules, their tests and the example configurations.
func TestTools(t *testing.T) {
	t.Parallel()
	dir := root + "/deploy/prometheus/"
	promtool := tool(t, "promtool")
	runTool(t, nil, promtool, append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, ruleFiles(t)...)...)
	runTool(t, nil, promtool, "check", "config", dir+"prometheus.yaml")
	runTool(t, nil, tool(t, "amtool"), "check-config", dir+"alertmanager.yaml")
	runTool(t, nil, promtool, append([]string{"test", "rules"}, ruleTests(t)...)...)
}

func ruleTests(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(root + "/deploy/prometheus/tests/*.yaml")
	if err != nil || files == nil {
		t.Fatal("no rule tests", err)
	}
	return files
}

// TestEveryAlert: each has a test in which it fires, and a runbook; there is no runbook without an alert.
func TestEveryAlert(t *testing.T) {
	tested := map[string]bool{}
	for _, file := range ruleTests(t) {
		var content struct {
			Tests []struct {
				Alerts []struct {
					Name   string `yaml:"alertname"`
					Firing []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		if err := yaml.Unmarshal([]byte(readFile(t, file)), &content); err != nil {
			t.Fatal(file, err)
		}
		for _, test := range content.Tests {
			for _, a := range test.Alerts {
				tested[a.Name] = tested[a.Name] || len(a.Firing) > 0
			}
		}
	}
	runbooks := map[string]bool{}
	found, err := filepath.Glob(root + "/deploy/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		runbooks[strings.TrimSuffix(filepath.Base(file), ".md")] = true
	}
	for _, file := range ruleFiles(t) {
		for _, r := range parseRules(t, readFile(t, file)) {
			if r.Alert == "" {
				continue
			}
			if !tested[r.Alert] {
				t.Errorf("%s has no test in which it fires", r.Alert)
			}
			want := "deploy/runbooks/" + r.Alert + ".md"
			if link, ok := ours(r.Annotations["runbook_url"]); !ok || link != filepath.Join(root, want) || !runbooks[r.Alert] {
				t.Errorf("%s: its runbook_url does not lead to %s, or that is not there", r.Alert, want)
			}
			delete(runbooks, r.Alert)
		}
	}
	delete(runbooks, "README")
	for _, name := range slices.Sorted(maps.Keys(runbooks)) {
		t.Errorf("the runbook of %s has no alert", name)
	}
}

var (
	mdLink    = regexp.MustCompile(`\]\(<?([^)>\s]+)>?\)`)
	mdHeading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notAnchor = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
	mdCode    = regexp.MustCompile("(?ms)^\\s*```.*?^\\s*```|`[^`\n]*`")
)

// TestLinks: no Markdown file of the repository leads nowhere in it.
func TestLinks(t *testing.T) {
	checked := 0
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == ".tools" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(file) != ".md" {
			return nil
		}
		for _, m := range mdLink.FindAllStringSubmatch(mdCode.ReplaceAllString(readFile(t, file), ""), -1) {
			checked++
			if fault := deadLink(t, file, m[1]); fault != "" {
				t.Errorf("%s: %s: %s", file, m[1], fault)
			}
		}
		return nil
	})
	if err != nil || checked == 0 {
		t.Error("no links were checked", err)
	}
}

func deadLink(t *testing.T, file, link string) string {
	target, ok := ours(link)
	if !ok {
		if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
			return ""
		}
		target, _, _ = strings.Cut(link, "#")
		if target == "" {
			target = file
		} else {
			target = filepath.Join(filepath.Dir(file), target)
		}
	}
	if !exists(target) {
		return "there is no such file"
	}
	_, anchor, found := strings.Cut(link, "#")
	if !found || filepath.Ext(target) != ".md" {
		return ""
	}
	for _, h := range mdHeading.FindAllStringSubmatch(readFile(t, target), -1) {
		if anchor == strings.ReplaceAll(notAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-") {
			return ""
		}
	}
	return "there is no such heading"
}

// checkRules: rules ask for metrics and labels that exist, or that rules record.
func checkRules(t *testing.T, known catalogue) {
	known = recorded(t, known)
	for _, file := range ruleFiles(t) {
		for _, r := range parseRules(t, readFile(t, file)) {
			for _, fault := range known.missing(r.Expr) {
				t.Error(fmt.Sprint(r.Alert, r.Record, ": ", fault))
			}
		}
	}
}

// recorded adds what the rules record, and Prometheus' own series of alerts.
func recorded(t *testing.T, known catalogue) catalogue {
	known = maps.Clone(known)
	names := []string{"consumer", "credential_provider", "namespace", "pod", "reason", "within"}
	known.add("ALERTS", append(names, "alertname", "alertstate", "severity")...)
	for _, file := range ruleFiles(t) {
		for _, r := range parseRules(t, readFile(t, file)) {
			if r.Record != "" {
				known.add(r.Record, names...)
			}
		}
	}
	return known
}
