package prometheus

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/idaas-exporter/idaas-token-exporter/deploy/e2e"
)

// optionTypes are where @grafana/schema keeps the options of each kind of panel, and whether it has fields of its own.
var optionTypes = map[string]struct {
	folder, name string
	fields       bool
}{
	"stat":       {"stat", "Stat", false},
	"table":      {"table", "Table", true},
	"timeseries": {"timeseries", "TimeSeries", true},
}

// head: JSON knows no enums, so that an enum stands for its values. Nothing is cast: a cast would hide unknown fields.
const head = `import type * as g from '@grafana/schema';
type Plain<T> = unknown extends T ? T
  : T extends string ? ` + "`${T}`" + `
  : T extends number ? T | (` + "`${T}`" + ` extends ` + "`${infer N extends number}`" + ` ? N : never)
  : { [K in keyof T]: Plain<T[K]> };
interface Query extends g.DataQuery {
  expr: string;
  editorMode: 'code';
  format: 'time_series' | 'table';
  instant: boolean;
  range: boolean;
  legendFormat?: string;
  interval?: string;
}
interface Annotation extends g.AnnotationQuery {
  expr: string;
  step: string;
  titleFormat: string;
  textFormat: string;
  tagKeys: string;
}
interface Dashboard extends Omit<g.Dashboard, 'annotations'> {
  annotations: { list: Annotation[] };
}
`

// typescript is a dashboard as constants of the types it should have.
func typescript(t *testing.T, d dashboard) string {
	t.Helper()
	var whole struct {
		Panels []map[string]json.RawMessage
	}
	var rest map[string]json.RawMessage
	for _, into := range []any{&whole, &rest} {
		if err := json.Unmarshal([]byte(d.text), into); err != nil {
			t.Fatal(d.file, err)
		}
	}
	var out strings.Builder
	imported := map[string]bool{}
	declare := func(name, kind string, value any) {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "export const %s: Plain<%s> = %s;\n", name, kind, text)
	}
	for i, p := range whole.Panels {
		kind := d.Panels[i].Type
		name := fmt.Sprint("panel", d.Panels[i].ID)
		if kind == "row" {
			declare(name, "g.RowPanel", p)
			continue
		}
		o, ok := optionTypes[kind]
		if !ok {
			t.Fatalf("%s: panel %q: the test does not know the type %s", d.UID, d.Panels[i].Title, kind)
		}
		if !imported[kind] {
			fmt.Fprintf(&out, "import type * as %s from '@grafana/schema/dist/esm/raw/composable/%s/panelcfg/x/%sPanelCfg_types.gen';\n", o.folder, o.folder, o.name)
			imported[kind] = true
		}
		declare(name+"_options", "Partial<"+o.folder+".Options>", p["options"])
		var fields struct {
			Defaults struct{ Custom json.RawMessage }
		}
		if err := json.Unmarshal(p["fieldConfig"], &fields); err != nil {
			t.Fatal(err)
		}
		if fields.Defaults.Custom != nil {
			own := "Record<string, never>"
			if o.fields {
				own = "Partial<" + o.folder + ".FieldConfig>"
			}
			declare(name+"_fields", own, fields.Defaults.Custom)
		}
		declare(name+"_queries", "Query[]", p["targets"])
		declare(name, "g.Panel", p)
	}
	delete(rest, "panels")
	declare("dashboard", "Dashboard", rest)
	return head + out.String()
}

// TestDashboardsTypes: every field of a dashboard is one that Grafana's own types have.
func TestDashboardsTypes(t *testing.T) {
	t.Parallel()
	modules := e2e.Tool(t, "../grafana/node_modules")
	dir := t.TempDir()
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	args := []string{ // of node
		filepath.Join(modules, "typescript/bin/tsc"), "--noEmit", "--skipLibCheck", "--strict", "--preserveSymlinks",
		"--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler",
	}
	check := func(files map[string]string) string {
		list := args
		for name, text := range files {
			file := filepath.Join(dir, name+".ts")
			e2e.WriteFile(t, file, text)
			list = append(list, file)
		}
		out, err := exec.CommandContext(t.Context(), "node", list...).CombinedOutput()
		if err != nil && len(out) == 0 {
			t.Fatal(err)
		}
		return string(out)
	}
	right, wrong := map[string]string{}, map[string]string{}
	mistakes := [][2]string{{`"gridPos"`, `"gridPosition"`}, {`"legendFormat"`, `"legend"`}, {`"absolute"`, `"absolut"`}}
	for i, d := range dashboards(t) {
		right[d.UID] = typescript(t, d)
		if i == 0 {
			shipped := d.text
			for j, m := range mistakes {
				d.text = strings.Replace(shipped, m[0], m[1], 1)
				wrong[fmt.Sprint("mistake", j)] = typescript(t, d)
			}
		}
	}
	if out := check(right); out != "" {
		t.Error(out)
	}
	out := check(wrong)
	for _, m := range mistakes {
		if !strings.Contains(out, m[1]) && !strings.Contains(out, strings.ReplaceAll(m[1], `"`, "'")) {
			t.Errorf("tsc finds nothing wrong with %s:\n%s", m[1], out)
		}
	}
}
