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
const head = `import type * as g from 'SCHEMA';
type Plain<T> = unknown extends T ? T
  : T extends string ? ` + "`${T}`" + `
  : T extends number ? T | (` + "`${T}`" + ` extends ` + "`${infer N extends number}`" + ` ? N : never)
  : { [K in keyof T]: Plain<T[K]> };
interface Query extends g.DataQuery {
  expr: string;
  editorMode: 'code';
  format: 'time_series' | 'table';
  instant?: boolean;
  range?: boolean;
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

// typescript is a dashboard as constants of the types it should have in a version of @grafana/schema.
func typescript(t *testing.T, d dashboard, schema string) string {
	t.Helper()
	type members = map[string]json.RawMessage
	var whole struct{ Panels []members }
	var rest members
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
	panels := whole.Panels
	for _, p := range whole.Panels {
		var folded []members
		if err := json.Unmarshal(p["panels"], &folded); p["panels"] != nil && err != nil {
			t.Fatal(err)
		}
		panels = append(panels, folded...)
	}
	for i, p := range panels {
		var kind, title string
		for member, into := range map[string]*string{"type": &kind, "title": &title} {
			if err := json.Unmarshal(p[member], into); err != nil {
				t.Fatal(d.file, err)
			}
		}
		name := fmt.Sprint("panel", i)
		if kind == "row" {
			declare(name, "g.RowPanel", p)
			continue
		}
		options, ok := optionTypes[kind]
		if !ok {
			t.Fatalf("%s: panel %q: the test does not know the type %s", d.UID, title, kind)
		}
		if !imported[kind] {
			fmt.Fprintf(&out, "import type * as %[1]s from 'SCHEMA/dist/esm/raw/composable/%[1]s/panelcfg/x/%[2]sPanelCfg_types.genEXT';\n",
				options.folder, options.name)
			imported[kind] = true
		}
		declare(name+"_options", "Partial<"+options.folder+".Options>", p["options"])
		var fields struct {
			Defaults  struct{ Custom json.RawMessage }
			Overrides []struct {
				Properties []struct {
					ID    string
					Value any
				}
			}
		}
		if err := json.Unmarshal(p["fieldConfig"], &fields); err != nil {
			t.Fatal(err)
		}
		if fields.Defaults.Custom != nil {
			own := "Record<string, never>"
			if options.fields {
				own = "Partial<" + options.folder + ".FieldConfig>"
			}
			declare(name+"_fields", own, fields.Defaults.Custom)
		}
		for j, o := range fields.Overrides {
			standard, custom := map[string]any{}, map[string]any{}
			for _, property := range o.Properties {
				if id, ok := strings.CutPrefix(property.ID, "custom."); ok {
					custom[id] = property.Value
				} else {
					standard[property.ID] = property.Value
				}
			}
			declare(fmt.Sprint(name, "_override", j), "Partial<g.FieldConfig>", standard)
			if len(custom) > 0 {
				declare(fmt.Sprint(name, "_custom", j), "Partial<"+options.folder+".FieldConfig>", custom)
			}
		}
		declare(name+"_queries", "Query[]", p["targets"])
		declare(name, "g.Panel", p)
	}
	delete(rest, "panels")
	declare("dashboard", "Dashboard", rest)
	suffix := map[string]string{"schema-11": ".js"}[schema]
	return strings.NewReplacer("SCHEMA", schema, "genEXT", "gen"+suffix).Replace(head + out.String())
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
	mistakes := [][2]string{
		{`"gridPos"`, `"gridPosition"`}, {`"legendFormat"`, `"legend"`}, {`"absolute"`, `"absolut"`}, {`"custom.width"`, `"custom.with"`},
		{`"noValue"`, `"novalue"`}, {`"cellHeight"`, `"cellheight"`},
	}
	for i, d := range dashboards(t) {
		for version, schema := range map[string]string{"11": "schema-11", "13": "@grafana/schema"} {
			right[d.UID+version] = typescript(t, d, schema)
			for j, m := range mistakes {
				if wrongly := d; i == 0 {
					wrongly.text = strings.Replace(d.text, m[0], m[1], 1)
					wrong[fmt.Sprint("mistake", j, "_", version)] = typescript(t, wrongly, schema)
				}
			}
		}
	}
	if out := check(right); out != "" {
		t.Error(out)
	}
	out := check(wrong)
	for _, m := range mistakes {
		m[1] = strings.Replace(m[1], "custom.", "", 1)
		if !strings.Contains(out, m[1]) && !strings.Contains(out, strings.ReplaceAll(m[1], `"`, "'")) {
			t.Errorf("tsc finds nothing wrong with %s:\n%s", m[1], out)
		}
	}
}
