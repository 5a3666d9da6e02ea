// Checks dashboards with Grafana's own packages, and computes what their panels show.
// Argument: @grafana/data or an alias of it. Input: {dashboards: [...], results: {uid: {panel id: {refId: Prometheus result}}}}.
// Output: {faults: [...], shown: {uid: {title: [[cell, ...], ...]}}}.
// Nothing is computed without results.
'use strict';

// The packages expect a browser.
const nothing = new Proxy(function () {}, {
  get: (_, key) => (key === Symbol.toPrimitive ? () => '' : nothing), apply: () => nothing, construct: () => nothing,
});
globalThis.window ??= globalThis;
for (const name of ['navigator', 'document', 'history', 'location', 'localStorage', 'addEventListener', 'matchMedia']) {
  globalThis[name] ??= nothing;
}
console.warn = () => {};

const { lastValueFrom } = require('rxjs');
const g = require(process.argv[2]);
const theme = g.createTheme();
// Some have two names. The newest Grafana loads them by a function.
const transformers = new Map(Object.values(g.standardTransformers)
  .map(({ name, ...t }) => [t.id, { id: t.id, name, transformation: Object.assign(() => ({ name, ...t }), t) }]));
g.standardTransformersRegistry.setInit(() => [...transformers.values()]);

const faults = [];
const units = new Set(g.getValueFormats().flatMap((c) => c.submenu.map((f) => f.value)));
const knownUnit = (unit) => units.has(unit) || /^(prefix|suffix|time|si|count|currency|bool):/.test(unit);
const mappingTypes = new Set(Object.values(g.MappingType));

// mapped are the results of a value mapping.
const mapped = (m) => (m.type === 'value' ? Object.values(m.options) : [m.options.result]);

// properties returns the options of a field as one object: of the panel, then of the overrides that match its name.
function properties(panel, name) {
  const { defaults, overrides } = panel.fieldConfig;
  const all = { ...defaults };
  for (const o of overrides) {
    if (o.matcher.options === name) {
      for (const p of o.properties) {
        all[p.id] = p.value;
      }
    }
  }
  return all;
}

function checkPanel(where, panel) {
  const fault = (text) => faults.push(`${where}: ${text}`);
  const { defaults, overrides } = panel.fieldConfig;
  const check = (options) => {
    if (options.unit !== undefined && !knownUnit(options.unit)) {
      fault(`there is no unit ${options.unit}`);
    }
    for (const m of options.mappings ?? []) {
      if (!mappingTypes.has(m.type)) {
        fault(`there is no value mapping of type ${m.type}`);
      }
    }
    if (options.color && !g.fieldColorModeRegistry.getIfExists(options.color.mode)) {
      fault(`there is no color mode ${options.color.mode}`);
    }
    const colors = [
      ...(options.thresholds?.steps ?? []).map((s) => s.color), ...(options.mappings ?? []).flatMap((m) => mapped(m)).map((r) => r.color),
      options.color?.fixedColor,
    ];
    for (const color of colors.filter((c) => c && !/^(#|text$)/.test(c))) {
      if (theme.visualization.getColorByName(color) === color) {
        fault(`there is no color ${color}`);
      }
    }
  };
  check(defaults);
  for (const o of overrides) {
    if (!g.fieldMatchers.getIfExists(o.matcher.id)) {
      fault(`there is no matcher ${o.matcher.id}`);
    }
    check(Object.fromEntries(o.properties.map((p) => [p.id, p.value])));
  }
  const reducers = [...(panel.options?.reduceOptions?.calcs ?? []), ...(panel.options?.legend?.calcs ?? [])];
  for (const t of panel.transformations ?? []) {
    if (!g.standardTransformersRegistry.getIfExists(t.id)) {
      fault(`there is no transformation ${t.id}`);
    }
    reducers.push(...(t.options.reducers ?? []), ...(t.options.reduce ? [t.options.reduce.reducer] : []),
      ...Object.values(t.options.fields ?? {}).flatMap((f) => f.aggregations));
    for (const f of t.options.filters ?? []) {
      if (!g.valueMatchers.getIfExists(f.config.id)) {
        fault(`there is no filter ${f.config.id}`);
      }
    }
  }
  for (const r of reducers) {
    if (!g.fieldReducers.getIfExists(r)) {
      fault(`there is no calculation ${r}`);
    }
  }
}

const legend = (format, labels) => (format ?? '').replace(/{{(\w+)}}/g, (_, name) => labels[name] ?? '');
const samples = (s) => s.values ?? [s.value];

// frames are those of Grafana's data source for Prometheus.
function frames(panel, results) {
  const tables = panel.targets.filter((t) => t.format === 'table').length;
  return panel.targets.flatMap((t) => {
    const result = results[t.refId] ?? [];
    if (t.format !== 'table') {
      return result.map((s) => ({
        refId: t.refId,
        length: samples(s).length,
        fields: [
          { name: 'Time', type: 'time', config: {}, values: samples(s).map((v) => v[0] * 1000) },
          {
            name: 'Value', type: 'number', labels: s.metric, config: { displayNameFromDS: legend(t.legendFormat, s.metric) },
            values: samples(s).map((v) => +v[1]),
          },
        ],
      }));
    }
    const labels = [...new Set(result.flatMap((s) => Object.keys(s.metric).sort()))];
    return [{
      refId: t.refId,
      length: result.length,
      fields: [
        { name: 'Time', type: 'time', config: {}, values: result.map((s) => s.value[0] * 1000) },
        ...labels.map((name) => ({ name, type: 'string', config: {}, values: result.map((s) => s.metric[name] ?? '') })),
        { name: tables > 1 ? `Value #${t.refId}` : 'Value', type: 'number', config: {}, values: result.map((s) => +s.value[1]) },
      ],
    }];
  });
}

// texts are the cells of a table with its header, or the name and last value of each series.
function texts(panel, data) {
  const cell = (frame, field, value) => {
    const name = g.getFieldDisplayName(field, frame, data);
    const options = properties(panel, name);
    const config = { ...field.config, unit: options.unit, mappings: options.mappings, noValue: options.noValue };
    return g.formattedValueToString(g.getDisplayProcessor({ field: { ...field, config }, theme })(value));
  };
  const name = (frame, field) => {
    const name = g.getFieldDisplayName(field, frame, data);
    return properties(panel, name).displayName ?? name;
  };
  if (panel.type === 'table') {
    const frame = data[0];
    if (!frame || frame.length === 0) {
      return [];
    }
    const rows = [frame.fields.map((f) => name(frame, f))];
    for (let i = 0; i < frame.length; i++) {
      rows.push(frame.fields.map((f) => cell(frame, f, f.values[i])));
    }
    return rows;
  }
  return data.map((frame) => {
    const field = frame.fields.find((f) => f.type === 'number');
    return [name(frame, field), cell(frame, field, field.values[frame.length - 1])];
  });
}

async function main() {
  const input = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  const shown = {};
  for (const d of input.dashboards) {
    shown[d.uid] = {};
    for (const panel of d.panels.flatMap((p) => [p, ...(p.panels ?? [])]).filter((p) => p.type !== 'row')) {
      checkPanel(`${d.uid}, ${panel.title}`, panel);
      if (!input.results || faults.length > 0) {
        continue;
      }
      const data = await lastValueFrom(g.transformDataFrame(panel.transformations ?? [], frames(panel, input.results[d.uid][panel.id])));
      shown[d.uid][panel.title] = texts(panel, data);
    }
  }
  process.stdout.write(JSON.stringify({ faults: faults.length ? faults : null, shown }));
}

main();
